// Package interop lets other people's libraries verify what package signature
// signs, and sign what it verifies: the senders and receivers that Pintle meets
// are built on them.
package interop

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	hooksgithub "github.com/go-playground/webhooks/v6/github"
	hooksgitlab "github.com/go-playground/webhooks/v6/gitlab"
	"github.com/google/go-github/v88/github"
	"github.com/slack-go/slack"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripe "github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// id is that of the messages, where the scheme signs one.
const id = "msg_p5jXN8AQM9LWM0D4loKWxJek"

// bodies are what is signed: none of them survives a library that reads it and
// writes it again.
func bodies() []string {
	return []string{
		`{"event":"order.created","timestamp":1731602712,"data":{"order_id":"A12345"}}`,
		"{ \"z\": 1.0,\r\n\t\"a\": \"\\u00e9 é <&> \\/ 日本\" }\n",
		`{}`,
	}
}

// A judge is a library that verifies.
type judge struct {
	name   string
	scheme webhook.Scheme
	secret webhook.Secret
	// verify returns an error unless the library believes the request.
	verify func(secret string, header http.Header, body []byte) error
}

func judges() []judge {
	whsec, plain := webhook.NewSecret(), webhook.Secret("It's a Secret to Everybody")
	return []judge{
		{"standard-webhooks", webhook.SchemeStandard, whsec, func(secret string, header http.Header, body []byte) error {
			w, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				return err
			}
			return w.Verify(body, header)
		}},
		{"svix", webhook.SchemeStandard, whsec, func(secret string, header http.Header, body []byte) error {
			w, err := svix.NewWebhook(secret)
			if err != nil {
				return err
			}
			return w.Verify(body, header)
		}},
		{"svix, in its own spelling", webhook.SchemeStandard, whsec, func(secret string, header http.Header, body []byte) error {
			w, err := svix.NewWebhook(secret)
			if err != nil {
				return err
			}
			return w.Verify(body, spelled(header, "Webhook-", "Svix-"))
		}},
		{"stripe-go", webhook.SchemeStripe, whsec, func(secret string, header http.Header, body []byte) error {
			return stripe.ValidatePayload(body, header.Get("Stripe-Signature"), secret)
		}},
		{"go-github", webhook.SchemeGitHub, plain, func(secret string, header http.Header, body []byte) error {
			return github.ValidateSignature(header.Get("X-Hub-Signature-256"), body, []byte(secret))
		}},
		{"go-github, the agent scheme", webhook.SchemeAgent, whsec, func(secret string, header http.Header, body []byte) error {
			return github.ValidateSignature(header.Get("X-Agent-Signature"), body, []byte(secret))
		}},
		{"slack-go", webhook.SchemeSlack, plain, func(secret string, header http.Header, body []byte) error {
			v, err := slack.NewSecretsVerifier(header, secret)
			if err != nil {
				return err
			}
			if _, err := v.Write(body); err != nil {
				return err
			}
			return v.Ensure()
		}},
		{"go-playground/webhooks, github", webhook.SchemeGitHub, plain, func(secret string, header http.Header, body []byte) error {
			hook, err := hooksgithub.New(hooksgithub.Options.Secret(secret))
			if err != nil {
				return err
			}
			_, err = hook.Parse(request(header, "X-GitHub-Event", "ping", body), hooksgithub.PingEvent)
			return err
		}},
	}
}

// request is the body as a receiver gets it, with one more header.
func request(header http.Header, name, value string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
	r.Header = header.Clone()
	r.Header.Set(name, value)
	return r
}

// spelled returns the header with the beginnings of its names replaced.
func spelled(header http.Header, from, to string) http.Header {
	other := http.Header{}
	for name, values := range header {
		other[strings.Replace(name, from, to, 1)] = values
	}
	return other
}

func TestLibrariesVerifyWhatWeSign(t *testing.T) {
	for _, j := range judges() {
		t.Run(j.name, func(t *testing.T) {
			for _, body := range bodies() {
				header, err := signature.Sign(j.scheme, webhook.SignatureForm{}, j.secret, id, time.Now().Unix(), []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				if err := j.verify(j.secret.Reveal(), header, []byte(body)); err != nil {
					t.Errorf("%q: %v", body, err)
				}
				if err := j.verify(j.secret.Reveal(), header, []byte(body+" ")); err == nil {
					t.Errorf("%q: another body is believed: this test proves nothing", body)
				}
			}
		})
	}
}

func TestLibrariesFindOurSignatureInALongList(t *testing.T) {
	old, fresh, body, now := webhook.NewSecret(), webhook.NewSecret(), []byte(bodies()[0]), time.Now().Unix()
	header, err := signature.Sign(webhook.SchemeStandard, webhook.SignatureForm{}, fresh, id, now, body)
	if err != nil {
		t.Fatal(err)
	}
	header.Set("webhook-signature", signature.SignStandard(id, now, body, fresh, old))
	for _, j := range judges() {
		if j.scheme != webhook.SchemeStandard {
			continue
		}
		for _, secret := range []webhook.Secret{old, fresh} {
			if err := j.verify(secret.Reveal(), header, body); err != nil {
				t.Errorf("%s: %v", j.name, err)
			}
		}
	}
}

func TestGitLabLibraryTakesOurToken(t *testing.T) {
	hook, err := hooksgitlab.New(hooksgitlab.Options.Secret("token"))
	if err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[webhook.Secret]error{"token": nil, "other": hooksgitlab.ErrGitLabTokenVerificationFailed} {
		header, err := signature.Sign(webhook.SchemeGitLab, webhook.SignatureForm{}, secret, "", 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hook.Parse(request(header, "X-Gitlab-Event", "Push Hook", []byte("{}")), hooksgitlab.PushEvents); err != want {
			t.Errorf("%s: got %v, want %v", secret.Reveal(), err, want)
		}
	}
}

// TestWeVerifyWhatLibrariesSign has those libraries that can sign do so.
func TestWeVerifyWhatLibrariesSign(t *testing.T) {
	secret, at := webhook.NewSecret(), time.Unix(1731602712, 0)
	stamped := func(prefix, value string) http.Header {
		header := http.Header{}
		header.Set(prefix+"id", id)
		header.Set(prefix+"timestamp", "1731602712")
		header.Set(prefix+"signature", value)
		return header
	}
	for _, c := range []struct {
		name   string
		scheme webhook.Scheme
		sign   func(body []byte) (http.Header, error)
		want   signature.Proof
	}{
		{"standard-webhooks", webhook.SchemeStandard, func(body []byte) (http.Header, error) {
			w, err := standardwebhooks.NewWebhook(secret.Reveal())
			if err != nil {
				return nil, err
			}
			value, err := w.Sign(id, at, body)
			return stamped("webhook-", value), err
		}, signature.Proof{Timestamp: at.Unix(), ID: id}},
		{"svix", webhook.SchemeStandard, func(body []byte) (http.Header, error) {
			w, err := svix.NewWebhook(secret.Reveal())
			if err != nil {
				return nil, err
			}
			value, err := w.Sign(id, at, body)
			return stamped("svix-", value), err
		}, signature.Proof{Timestamp: at.Unix(), ID: id}},
		{"stripe-go", webhook.SchemeStripe, func(body []byte) (http.Header, error) {
			signed := stripe.GenerateTestSignedPayload(&stripe.UnsignedPayload{Payload: body, Secret: secret.Reveal(), Timestamp: at})
			return http.Header{"Stripe-Signature": {signed.Header}}, nil
		}, signature.Proof{Timestamp: at.Unix()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := signature.NewVerifier(c.scheme, webhook.SignatureForm{}, []webhook.Secret{secret})
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range bodies() {
				header, err := c.sign([]byte(body))
				if err != nil {
					t.Fatal(err)
				}
				if proof, err := v.Verify(signature.Message{Header: header, Body: []byte(body)}); err != nil || proof != c.want {
					t.Errorf("%q: %+v, %v", body, proof, err)
				}
				if _, err := v.Verify(signature.Message{Header: header, Body: []byte(body + " ")}); err == nil {
					t.Errorf("%q: another body verifies", body)
				}
			}
		})
	}
}
