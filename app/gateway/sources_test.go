package gateway_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

func mac(key string, parts ...string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(strings.Join(parts, "")))
	return h.Sum(nil)
}

func hexMAC(key string, parts ...string) string { return hex.EncodeToString(mac(key, parts...)) }

func base64MAC(key string, parts ...string) string {
	return base64.StdEncoding.EncodeToString(mac(key, parts...))
}

// as makes the endpoint one of the scheme, with the secret.
func as(scheme webhook.Scheme, change ...func(*webhook.Source)) func(*setup) {
	return func(s *setup) {
		s.source.Scheme, s.source.Name = scheme, "sender"
		if scheme == webhook.SchemeNone {
			s.source.Secrets = nil
		}
		for _, f := range change {
			f(&s.source)
		}
	}
}

func headers(pairs ...string) []func(*http.Request) {
	changes := []func(*http.Request){header("X-Agent-Signature")}
	for i := 0; i < len(pairs); i += 2 {
		changes = append(changes, header(pairs[i], pairs[i+1]))
	}
	return changes
}

// TestEverySendersLanguageIsUnderstood posts as each sender does, and looks at
// the event that comes of it.
func TestEverySendersLanguageIsUnderstood(t *testing.T) {
	now := time.Now().Unix()
	at := fmt.Sprint(now)
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	standard := func(s *webhook.Source) { s.Secrets = []webhook.Secret{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} }
	const triggered = "2026-01-02T03:04:05.678Z"
	form := webhook.SignatureForm{Header: "X-Mac", Algorithm: "sha256", Encoding: "base64", Prefix: "v0=", Template: "{id}/{timestamp}/{body}", TimestampHeader: "X-When", IDHeader: "X-Which"}
	for _, tt := range []struct {
		name   string
		source func(*setup)
		body   string
		header []string
		want   webhook.Event
	}{
		{"standard", as(webhook.SchemeStandard, standard), `{"type":"invoice.paid","data":{}}`,
			[]string{"webhook-id", "msg_1", "webhook-timestamp", at, "webhook-signature", "v1," + base64MAC(string(key), "msg_1.", at, ".", `{"type":"invoice.paid","data":{}}`)},
			webhook.Event{Type: "invoice.paid", Timestamp: now, SenderKey: "msg_1"}},
		{"standard, an Idempotency-Key that nobody signed does not count", as(webhook.SchemeStandard, standard), `{"type":"invoice.paid","data":{}}`,
			[]string{"Idempotency-Key", "mine", "webhook-id", "msg_2", "webhook-timestamp", at, "webhook-signature", "v1," + base64MAC(string(key), "msg_2.", at, ".", `{"type":"invoice.paid","data":{}}`)},
			webhook.Event{Type: "invoice.paid", Timestamp: now, SenderKey: "msg_2"}},
		{"standard, an id from where the source says", as(webhook.SchemeStandard, standard, func(s *webhook.Source) { s.IDFrom = "body:no" }), `{"type":"a","no":7}`,
			[]string{"webhook-id", "msg_3", "webhook-timestamp", at, "webhook-signature", "v1," + base64MAC(string(key), "msg_3.", at, ".", `{"type":"a","no":7}`)},
			webhook.Event{Type: "a", Timestamp: now, SenderKey: "7"}},
		{"stripe", as(webhook.SchemeStripe), ` {"id":"evt_1","type":"charge.succeeded","created":1731602712}` + "\n",
			[]string{"Stripe-Signature", "t=" + at + ",v1=" + hexMAC(secret, at, ".", ` {"id":"evt_1","type":"charge.succeeded","created":1731602712}`, "\n") + ",v0=00"},
			webhook.Event{Type: "charge.succeeded", Timestamp: 1731602712, SenderKey: "evt_1"}},
		{"github", as(webhook.SchemeGitHub, func(s *webhook.Source) { s.EventPrefix, s.ClientID = "github", "c" }), `{"zen":"é"}`,
			[]string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "72d3162e", "X-Hub-Signature-256", "sha256=" + hexMAC(secret, `{"zen":"é"}`), "X-Hub-Signature", "sha1=00"},
			webhook.Event{Type: "github.push", SenderKey: "72d3162e", ClientID: "c"}},
		{"gitlab", as(webhook.SchemeGitLab, func(s *webhook.Source) { s.EventPrefix = "gitlab:" }), `{"object_kind":"merge_request"}`,
			[]string{"X-Gitlab-Token", secret, "X-Gitlab-Event", "Merge Request Hook", "X-Gitlab-Webhook-UUID", "u1", "X-Gitlab-Event-UUID", "shared"},
			webhook.Event{Type: "gitlab:merge_request", SenderKey: "u1"}},
		{"gitlab, by its header", as(webhook.SchemeGitLab), `{}`,
			[]string{"X-Gitlab-Token", secret, "X-Gitlab-Event", "System Hook", "Idempotency-Key", "k"},
			webhook.Event{Type: "system_hook", SenderKey: "k"}},
		{"shopify", as(webhook.SchemeShopify), `{"id":820982911946154508}`,
			[]string{"X-Shopify-Topic", "orders/create", "X-Shopify-Webhook-Id", "b54557e4", "X-Shopify-Triggered-At", triggered, "X-Shopify-Hmac-Sha256", base64MAC(secret, `{"id":820982911946154508}`)},
			webhook.Event{Type: "orders/create", SenderKey: "b54557e4", Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix()}},
		{"slack", as(webhook.SchemeSlack), `{"type":"event_callback","event":{"type":"app_mention"},"event_id":"Ev1","event_time":1731602712}`,
			[]string{"X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0=" + hexMAC(secret, "v0:", at, ":", `{"type":"event_callback","event":{"type":"app_mention"},"event_id":"Ev1","event_time":1731602712}`)},
			webhook.Event{Type: "app_mention", SenderKey: "Ev1", Timestamp: 1731602712}},
		{"hmac", as(webhook.SchemeHMAC, func(s *webhook.Source) { s.Form = form }), `{"event":"a.b","id":7,"timestamp":1731602712000}`,
			[]string{"X-Which", "n1", "X-When", at, "X-Mac", "v0=" + base64MAC(secret, "n1/", at, "/", `{"event":"a.b","id":7,"timestamp":1731602712000}`)},
			webhook.Event{Type: "a.b", SenderKey: "n1", Timestamp: 1731602712}},
		{"none", as(webhook.SchemeNone), `{"type":"a","id":"a customer's"}`, nil, webhook.Event{Type: "a"}},
		{"none, where the source says", as(webhook.SchemeNone, func(s *webhook.Source) {
			s.TypeFrom, s.IDFrom, s.TimeFrom = "header:X-Kind", "body:meta.no", "body:meta.at"
		}), `{"type":"a","meta":{"no":17,"at":` + at + `}}`, []string{"X-Kind", "b"}, webhook.Event{Type: "b", SenderKey: "17", Timestamp: now}},
		{"none, an array", as(webhook.SchemeNone, func(s *webhook.Source) { s.TypeFrom = "const:batch" }), `[1, {"type":2}]`, nil, webhook.Event{Type: "batch"}},
		{"none, a number", as(webhook.SchemeNone, func(s *webhook.Source) { s.TypeFrom = "const:n" }), `1e400`, nil, webhook.Event{Type: "n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, p := newServer(t, tt.source)
			status, answer, _ := post(t, server, tt.body, headers(tt.header...)...)
			if status != 200 || answer["status"] != "received" || answer["event"] != tt.want.Type {
				t.Fatalf("%d %v", status, answer)
			}
			e := p.last(t)
			if string(e.Data) != tt.body || e.Type != tt.want.Type || e.SenderKey != tt.want.SenderKey || e.ClientID != tt.want.ClientID || e.Source != "sender" {
				t.Errorf("published %+v with the data %s", e, e.Data)
			}
			if want := tt.want.Timestamp; e.Timestamp != want && (want != 0 || e.Timestamp < now || e.Timestamp > now+5) {
				t.Errorf("its time is %d, want %d", e.Timestamp, want)
			}
			if status, answer, _ := post(t, server, tt.body, headers(tt.header...)...); status != 200 || answer["status"] != "duplicate" {
				t.Errorf("again: %d %v", status, answer)
			}
		})
	}
}

func TestEveryLanguageHasItsRefusals(t *testing.T) {
	now := time.Now().Unix()
	old := fmt.Sprint(now - 400)
	at := fmt.Sprint(now)
	none := as(webhook.SchemeNone)
	for _, tt := range []struct {
		name   string
		source func(*setup)
		body   string
		header []string
		status int
		code   string
	}{
		{"no type", none, `{"data":1}`, nil, 400, "invalid_event"},
		{"a type that is none", none, `{"type":"a b"}`, nil, 400, "invalid_event"},
		{"a type of another kind", none, `{"type":["a"]}`, nil, 400, "invalid_event"},
		{"a type that is too long with its prefix", as(webhook.SchemeNone, func(s *webhook.Source) { s.EventPrefix = "p" }), `{"type":"` + strings.Repeat("a", 127) + `"}`, nil, 400, "invalid_event"},
		{"a type that stands twice", none, `{"type":"a","type":"b"}`, nil, 400, "invalid_json"},
		{"a type that stands twice, once escaped", none, `{"type":"a","\u0074ype":"b"}`, nil, 400, "invalid_json"},
		{"a type below that stands twice", as(webhook.SchemeNone, func(s *webhook.Source) { s.TypeFrom = "body:a.b" }), `{"a":{"b":"x","b":"y"}}`, nil, 400, "invalid_json"},
		{"no JSON", none, `{"type":`, nil, 400, "invalid_json"},
		{"65 deep", none, `{"type":"a","x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, nil, 400, "invalid_json"},
		{"two values", none, `{"type":"a"}{}`, nil, 400, "invalid_json"},
		{"no UTF-8", none, "{\"type\":\"a\",\"x\":\"\xff\"}", nil, 400, "invalid_json"},
		{"a BOM", none, "\ufeff{\"type\":\"a\"}", nil, 400, "invalid_json"},
		{"an id that is too long", as(webhook.SchemeNone, func(s *webhook.Source) { s.IDFrom = "body:no" }), `{"type":"a","no":"` + strings.Repeat("x", 129) + `"}`, nil, 400, "invalid_id"},
		{"a time that the source promises", as(webhook.SchemeNone, func(s *webhook.Source) { s.TimeFrom = "body:at" }), `{"type":"a"}`, nil, 400, "invalid_timestamp"},
		{"a time in microseconds", as(webhook.SchemeNone, func(s *webhook.Source) { s.TimeFrom, s.MaxClockSkew = "body:at", 0 }), `{"type":"a","at":1731602712000000}`, nil, 400, "invalid_timestamp"},
		{"a time in the body that is old", as(webhook.SchemeNone, func(s *webhook.Source) { s.TimeFrom = "body:at" }), `{"type":"a","at":` + old + `}`, nil, 422, "invalid_timestamp"},
		{"github, not signed", as(webhook.SchemeGitHub), `{}`, []string{"X-GitHub-Event", "push", "X-Hub-Signature", "sha1=" + hexMAC(secret, `{}`)}, 401, "missing_signature"},
		{"github, another key", as(webhook.SchemeGitHub), `{}`, []string{"X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256=" + hexMAC("x", `{}`)}, 401, "invalid_signature"},
		{"github, without its event", as(webhook.SchemeGitHub), `{"type":"push"}`, []string{"X-Hub-Signature-256", "sha256=" + hexMAC(secret, `{}`)}, 400, "invalid_event"},
		{"gitlab, another token", as(webhook.SchemeGitLab), `{"object_kind":"push"}`, []string{"X-Gitlab-Token", secret + "x"}, 401, "invalid_signature"},
		{"stripe, old", as(webhook.SchemeStripe), `{"type":"a"}`, []string{"Stripe-Signature", "t=" + old + ",v1=" + hexMAC(secret, old, `.{"type":"a"}`)}, 422, "invalid_timestamp"},
		{"stripe, old and not signed", as(webhook.SchemeStripe), `{"type":"a"}`, []string{"Stripe-Signature", "t=" + old + ",v1=" + hexMAC(secret, at, `.{"type":"a"}`)}, 401, "invalid_signature"},
		{"slack, another body", as(webhook.SchemeSlack), `{"type":"b"}`, []string{"X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0=" + hexMAC(secret, "v0:", at, `:{"type":"a"}`)}, 401, "invalid_signature"},
		{"slack, a challenge that nobody signed", as(webhook.SchemeSlack), `{"type":"url_verification","challenge":"c"}`, nil, 401, "missing_signature"},
	} {
		server, p := newServer(t, tt.source)
		status, answer, _ := post(t, server, tt.body, headers(tt.header...)...)
		if status != tt.status || answer["error"] != tt.code {
			t.Errorf("%s: %d %v, want %d %s", tt.name, status, answer, tt.status, tt.code)
		}
		if len(p.events) > 0 {
			t.Errorf("%s: it was published", tt.name)
		}
	}
}

func TestSlackHearsItsChallengeAndNothingIsStored(t *testing.T) {
	server, p := newServer(t, as(webhook.SchemeSlack))
	at := fmt.Sprint(time.Now().Unix())
	text := `{"token":"x","challenge":"3eZbrw1aB\"<","type":"url_verification"}`
	status, answer, head := post(t, server, text, headers("X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0="+hexMAC(secret, "v0:", at, ":", text))...)
	if status != 200 || answer["challenge"] != `3eZbrw1aB"<` || len(answer) != 1 || head.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %v", status, answer, head)
	}
	if len(p.events) > 0 {
		t.Error("it was published")
	}
}

func TestUnverifiedSourcesTakeTheSendersWord(t *testing.T) {
	server, p := newServer(t, as(webhook.SchemeStandard, func(s *webhook.Source) { s.ValidateSignature = false }))
	at := fmt.Sprint(time.Now().Unix())
	if status, answer, _ := post(t, server, `{"type":"a"}`, headers("webhook-id", "m", "webhook-timestamp", at)...); status != 200 || p.last(t).SenderKey != "m" {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer, _ := post(t, server, `{"type":"a"}`, headers("webhook-id", "n", "webhook-timestamp", "1731602712")...); status != 422 {
		t.Errorf("old: %d %v", status, answer)
	}
	if status, answer, _ := post(t, server, `{"type":"a"}`, headers()...); status != 200 {
		t.Errorf("without a time: %d %v", status, answer)
	}
}
