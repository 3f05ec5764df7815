package sender

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// recording keeps the last request that it answers.
type recording struct {
	header map[string][]string // the names as they were written
	body   string
}

func (r *recording) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	r.header, r.body = request.Header, string(body)
	return reply(200, ""), nil
}

func TestSignaturesAreThoseOfTheScheme(t *testing.T) {
	old, fresh := webhook.Secret("whsec_b2xk"), webhook.Secret("whsec_ZnJlc2g=")
	for _, signing := range []webhook.Signing{"", webhook.SigningPlain, webhook.SigningStripe} {
		r := &recording{}
		s := &webhook.Subscriber{URL: "https://example.com", Signing: signing, Secret: fresh, OldSecrets: []webhook.OldSecret{
			{Secret: old, Until: time.Now().Add(time.Hour)}, {Secret: "ended", Until: time.Now().Add(-time.Hour)},
		}}
		if got := send(t, Options{Transport: r}, s); got.Attempt.Outcome != webhook.OK {
			t.Fatalf("%+v", got.Attempt)
		}
		message := signature.Message{Header: http.Header{}, Body: []byte(r.body)}
		for name, values := range r.header {
			for _, value := range values {
				message.Header.Add(name, value)
			}
		}
		scheme := webhook.SchemeAgent
		if signing == webhook.SigningStripe {
			scheme = webhook.SchemeStripe
			message.Header.Set("Stripe-Signature", message.Header.Get("X-Agent-Signature"))
		}
		for secret, schemes := range map[webhook.Secret][]webhook.Scheme{
			fresh: {scheme, webhook.SchemeStandard}, old: {webhook.SchemeStandard}, "ended": nil,
		} {
			for _, known := range []webhook.Scheme{scheme, webhook.SchemeStandard} {
				v, err := signature.NewVerifier(known, webhook.SignatureForm{}, []webhook.Secret{secret})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := v.Verify(message); (err == nil) != slices.Contains(schemes, known) {
					t.Errorf("%q: %s under %s: %v", signing, known, secret.Reveal(), err)
				}
			}
		}
	}
}

func TestStripeSignatureIsOfTheTimeThatIsSent(t *testing.T) {
	r := &recording{}
	s := &webhook.Subscriber{URL: "https://example.com", Signing: webhook.SigningStripe, Secret: "hush"}
	send(t, Options{Transport: r}, s)
	seconds := r.header["webhook-timestamp"][0]
	if got := r.header["X-Agent-Signature"][0]; !strings.HasPrefix(got, "t="+seconds+",v1=") {
		t.Errorf("at %s the signature is %s", seconds, got)
	}
}

// TestBodyOfAnotherAttemptIsSentAgain has a transform that would make another one.
func TestBodyOfAnotherAttemptIsSentAgain(t *testing.T) {
	event := work(&webhook.Subscriber{}).Job.Event
	for _, tt := range []struct {
		name string
		job  webhook.Job
		want string
	}{
		{"transformed", webhook.Job{Body: []byte(`{"made":1}`)}, `{"made":1}`},
		{"transformed, of which nothing was sent", webhook.Job{Body: []byte(`{"made":1}`), Attempts: 1, LastOutcome: webhook.Transformation}, `{"made":1}`},
		{"sent as it came", webhook.Job{Attempts: 1, LastOutcome: webhook.HTTPStatus}, string(event.Body())},
		{"cut short", webhook.Job{Attempts: 1, LastOutcome: webhook.Interrupted}, string(event.Body())},
	} {
		r := &recording{}
		s := &webhook.Subscriber{URL: "https://example.com", Secret: "s", Transform: "{other: 1}"}
		w := Work{Subscriber: s, Target: NewTarget(s), Job: &tt.job}
		w.Job.Event = event
		sender := New(Options{Transport: r, Timeout: time.Second, Transforms: []webhook.Transform{{Events: []webhook.Pattern{"*"}, Expression: "1"}}})
		got := sender.Send(t.Context(), w)
		if got.Attempt.Outcome != webhook.OK || r.body != tt.want || got.Body != nil {
			t.Errorf("%s: %s was sent, want %s; %+v", tt.name, r.body, tt.want, got)
		}
		if want := signature.SignAgent("s", []byte(tt.want)); r.header["X-Agent-Signature"][0] != want {
			t.Errorf("%s: the signature is of another body", tt.name)
		}
	}
}

func TestExpressionsThatNobodyRunsFailTheAttempt(t *testing.T) {
	for name, change := range map[string]func(*webhook.Subscriber, *Work){
		"transform": func(s *webhook.Subscriber, _ *Work) { s.Transform = "." },
		"filter":    func(s *webhook.Subscriber, w *Work) { s.Filter, w.Job.Unjudged = ".", true },
	} {
		r := &recording{}
		s := &webhook.Subscriber{URL: "https://example.com", Secret: "s"}
		w := work(s)
		change(s, &w)
		got := New(Options{Transport: r, Timeout: time.Second}).Send(t.Context(), w)
		if got.Attempt.Outcome != webhook.Transformation || got.Attempt.Error == "" || got.Attempt.RequestHeader != "" || r.header != nil || got.Rejected {
			t.Errorf("%s: %+v", name, got)
		}
		if got.Unjudged != w.Job.Unjudged {
			t.Errorf("%s: it is taken for judged", name)
		}
	}
}

func TestTransformsForAllEventsComeFirst(t *testing.T) {
	sender := New(Options{Transforms: []webhook.Transform{
		{Events: []webhook.Pattern{"order.*"}, Expression: "order"},
		{Events: []webhook.Pattern{"*"}, Expression: "all"},
		{Events: []webhook.Pattern{"user.*", "order.created"}, Expression: "either"},
		{Events: []webhook.Pattern{"user.*"}, Expression: "user"},
		{Events: []webhook.Pattern{"user.*", "**"}, Expression: "all too"},
	}})
	got := sender.expressions(&webhook.Event{Type: "order.created"}, &webhook.Subscriber{Transform: "own"})
	if want := []transform.Expression{
		{Name: "transforms[1]", Source: "all"}, {Name: "transforms[4]", Source: "all too"},
		{Name: "transforms[0]", Source: "order"}, {Name: "transforms[2]", Source: "either"}, {Name: "transform", Source: "own"},
	}; !slices.Equal(got, want) {
		t.Errorf("the transforms are %v, want %v", got, want)
	}
	sender.SetTransforms(nil)
	if got := sender.expressions(&webhook.Event{Type: "order.created"}, &webhook.Subscriber{}); got != nil {
		t.Errorf("transforms that were taken away are %v", got)
	}
}

func TestBasicAuthenticationIsSentAndNotKept(t *testing.T) {
	r := &recording{}
	s := &webhook.Subscriber{URL: "https://example.com", Secret: "s", Basic: webhook.BasicAuth{Username: "Aladdin", Password: "open sesame"}}
	got := send(t, Options{Transport: r}, s)
	if auth := r.header["Authorization"]; len(auth) != 1 || auth[0] != "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==" { // RFC 7617 section 2
		t.Errorf("sent %q", auth)
	}
	shown := maps.Collect(got.Attempt.RequestHeader.All())
	if shown["Authorization"] != "***" || strings.Contains(string(got.Attempt.RequestHeader), "QWxh") {
		t.Errorf("kept %q", got.Attempt.RequestHeader)
	}
}
