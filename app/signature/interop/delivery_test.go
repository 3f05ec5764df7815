package interop

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripe "github.com/stripe/stripe-go/v85/webhook"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/webhook"
)

// delivered is a request as a receiver gets it.
type delivered struct {
	header http.Header
	body   []byte
}

// deliver has a delivery sent over the network.
func deliver(t *testing.T, s webhook.Subscriber, job webhook.Job) delivered {
	t.Helper()
	var got delivered
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = delivered{r.Header, body}
	}))
	defer receiver.Close()
	s.URL = receiver.URL
	guard := security.NewOutboundGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	out := sender.New(sender.Options{Transport: sender.NewTransport(guard, 1, nil), Timeout: 10 * time.Second, UserAgent: "AI-Agent-Webhook/1.0"})
	defer out.CloseIdleConnections()
	answer := out.Send(t.Context(), sender.Work{Job: &job, Subscriber: &s, Target: sender.NewTarget(&s)})
	if answer.Attempt.Outcome != webhook.OK {
		t.Fatalf("the attempt is %+v", answer.Attempt)
	}
	return got
}

// jobs are a delivery of each of the bodies, as data and as what a transform made.
func jobs() []webhook.Job {
	var list []webhook.Job
	for _, body := range bodies() {
		event := &webhook.Event{ID: "evt_2KWPBgLlAfxdpx2AI54pPJ85f4W", Type: "order.created", Timestamp: 1731602712, Data: []byte(body)}
		list = append(list, webhook.Job{Delivery: "dlv_1", Event: event},
			webhook.Job{Delivery: "dlv_1", Event: event, Attempts: 1, LastOutcome: webhook.HTTPStatus, Body: []byte(body)})
	}
	return list
}

func believedByStandardWebhooks(secret webhook.Secret, d delivered) error {
	w, err := standardwebhooks.NewWebhook(secret.Reveal())
	if err != nil {
		return err
	}
	return w.Verify(d.body, d.header)
}

func TestLibrariesVerifyWhatWeDeliver(t *testing.T) {
	secret := webhook.NewSecret()
	for _, job := range jobs() {
		plain := deliver(t, webhook.Subscriber{Secret: secret}, job)
		striped := deliver(t, webhook.Subscriber{Secret: secret, Signing: webhook.SigningStripe}, job)
		want := job.Body
		if want == nil {
			want = job.Event.Body()
		}
		for _, d := range []delivered{plain, striped} {
			if string(d.body) != string(want) {
				t.Errorf("%q was delivered, want %q", d.body, want)
			}
			if err := believedByStandardWebhooks(secret, d); err != nil {
				t.Errorf("standard-webhooks: %q: %v", d.body, err)
			}
			if err := believedByStandardWebhooks(secret, delivered{d.header, append(d.body, ' ')}); err == nil {
				t.Errorf("standard-webhooks: another body is believed")
			}
		}
		header := striped.header.Get("X-Agent-Signature")
		if err := stripe.ValidatePayload(striped.body, header, secret.Reveal()); err != nil {
			t.Errorf("stripe-go: %q: %v", striped.body, err)
		}
		if err := stripe.ValidatePayload(append(striped.body, ' '), header, secret.Reveal()); err == nil {
			t.Error("stripe-go: another body is believed")
		}
	}
}

func TestLibrariesVerifyWithEitherSecretOfARotation(t *testing.T) {
	old, fresh, other := webhook.NewSecret(), webhook.NewSecret(), webhook.NewSecret()
	now := time.Now()
	for _, signing := range []webhook.Signing{webhook.SigningPlain, webhook.SigningStripe} {
		s := webhook.Subscriber{Secret: old, Signing: signing}
		s.Rotate(fresh, now, now.Add(24*time.Hour))
		for _, job := range jobs() {
			d := deliver(t, s, job)
			for _, secret := range []webhook.Secret{old, fresh} {
				if err := believedByStandardWebhooks(secret, d); err != nil {
					t.Errorf("standard-webhooks: %v", err)
				}
			}
			if err := believedByStandardWebhooks(other, d); err == nil {
				t.Error("standard-webhooks: any secret will do")
			}
			if signing != webhook.SigningStripe {
				continue
			}
			if err := stripe.ValidatePayload(d.body, d.header.Get("X-Agent-Signature"), fresh.Reveal()); err != nil {
				t.Errorf("stripe-go with the newest: %v", err)
			}
			if err := stripe.ValidatePayload(d.body, d.header.Get("X-Agent-Signature"), old.Reveal()); err == nil {
				t.Error("stripe-go: the header is signed with the old secret too")
			}
		}
	}
}
