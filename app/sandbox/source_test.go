package sandbox_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// mac is the HMAC-SHA256 of the parts under the secret of the tests.
func mac(parts ...string) []byte {
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	h.Write([]byte(strings.Join(parts, "")))
	return h.Sum(nil)
}

func TestSendToASourceSpeaksItsScheme(t *testing.T) {
	const at = "1731602712"
	form := webhook.SignatureForm{Header: "X-Mac", Algorithm: "sha256", Encoding: "hex", Prefix: "v0=", Template: "{id}/{timestamp}/{body}", TimestampHeader: "X-When", IDHeader: "X-Which"}
	for _, c := range []struct {
		source webhook.Source
		data   string
		body   string
		header map[string]string
	}{
		{webhook.Source{Scheme: webhook.SchemeGitHub}, `{ "a": 1 }`, `{ "a": 1 }`, map[string]string{
			"X-Github-Event": "push", "X-Github-Delivery": "id-1", "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac(`{ "a": 1 }`)),
		}},
		{webhook.Source{Scheme: webhook.SchemeShopify}, `{}`, `{}`, map[string]string{
			"X-Shopify-Topic": "push", "X-Shopify-Webhook-Id": "id-1", "X-Shopify-Hmac-Sha256": base64.StdEncoding.EncodeToString(mac(`{}`)),
		}},
		{webhook.Source{Scheme: webhook.SchemeGitLab}, `[1]`, `[1]`, map[string]string{
			"X-Gitlab-Event": "push", "Idempotency-Key": "id-1", "X-Gitlab-Token": secret.Reveal(),
		}},
		{webhook.Source{Scheme: webhook.SchemeStripe}, `{"a":1}`, `{"type":"push","id":"id-1","a":1}`, map[string]string{
			"Stripe-Signature": "t=" + at + ",v1=" + hex.EncodeToString(mac(at, ".", `{"type":"push","id":"id-1","a":1}`)),
		}},
		{webhook.Source{Scheme: webhook.SchemeSlack}, `{"type":"mine","event_id":"E"}`, `{"type":"mine","event_id":"E"}`, map[string]string{
			"X-Slack-Request-Timestamp": at, "X-Slack-Signature": "v0=" + hex.EncodeToString(mac("v0:", at, ":", `{"type":"mine","event_id":"E"}`)),
		}},
		{webhook.Source{Scheme: webhook.SchemeHMAC, Form: form, TypeFrom: "header:X-Kind"}, `{}`, `{}`, map[string]string{
			"X-Kind": "push", "X-When": at, "X-Which": "id-1", "X-Mac": "v0=" + hex.EncodeToString(mac("id-1/", at, "/", `{}`)),
		}},
		{webhook.Source{Scheme: webhook.SchemeNone, TypeFrom: "body:kind", IDFrom: "header:X-No"}, ` {"a":1}`, `{"kind":"push","a":1}`, map[string]string{"X-No": "id-1"}},
		{webhook.Source{Scheme: webhook.SchemeNone, TypeFrom: "body:meta.kind"}, `{"a":1}`, `{"a":1}`, nil},
		{webhook.Source{Scheme: webhook.SchemeNone, TypeFrom: "const:x"}, `null`, `null`, nil},
		{webhook.Source{Scheme: webhook.SchemeNone}, ``, `{"type":"push"}`, nil},
	} {
		header, body := post(t, sandbox.Event{Type: "push", ID: "id-1", Timestamp: 1731602712, Data: []byte(c.data)}, sandbox.ToSource(&c.source))
		if string(body) != c.body {
			t.Errorf("%s: body %s, want %s", c.source.Scheme, body, c.body)
		}
		got := map[string]string{}
		for name := range header {
			if name != "Content-Type" && name != "Content-Length" && name != "User-Agent" && name != "Accept-Encoding" {
				got[name] = header.Get(name)
			}
		}
		if diff := cmp.Diff(c.header, got); len(c.header)+len(got) > 0 && diff != "" {
			t.Errorf("%s: %s", c.source.Scheme, diff)
		}
		if header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: header %v", c.source.Scheme, header)
		}
	}
}

func TestSendToAStandardSourceMakesUpAnIDForEachEvent(t *testing.T) {
	source := webhook.Source{Scheme: webhook.SchemeStandard}
	ids := map[string]bool{}
	for range 2 {
		header, body := post(t, sandbox.Event{Type: "a.b", Timestamp: 1731602712}, sandbox.ToSource(&source))
		id := header.Get("Webhook-Id")
		ids[id] = true
		timestamp, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64)
		if err != nil || string(body) != `{"type":"a.b"}` {
			t.Errorf("%v, body %s", err, body)
		}
		if err := signature.VerifyStandard(header.Get("Webhook-Signature"), id, timestamp, body, secret); err != nil {
			t.Error(err)
		}
	}
	if len(ids) != 2 || ids[""] {
		t.Errorf("ids %v", ids)
	}
}

func TestSendToASourceSignsInTheWayAsked(t *testing.T) {
	source := webhook.Source{Scheme: webhook.SchemeGitHub}
	right := "sha256=" + hex.EncodeToString(mac("{}"))
	if header, _ := post(t, sandbox.Event{Type: "push"}, sandbox.ToSource(&source), sandbox.Signed(sandbox.SignNone)); header["X-Hub-Signature-256"] != nil {
		t.Errorf("not signed: %v", header)
	}
	header, _ := post(t, sandbox.Event{Type: "push"}, sandbox.ToSource(&source), sandbox.Signed(sandbox.SignWrong))
	if got := header.Get("X-Hub-Signature-256"); len(got) != len(right) || got == right {
		t.Errorf("wrongly signed: %q", got)
	}
	for _, c := range []struct {
		signing sandbox.Signing
		secret  webhook.Secret
		says    string
	}{{sandbox.SignBody, secret, `"body" is no way of the scheme github`}, {sandbox.SignHeader, "", "github"}} {
		_, err := sandbox.Send(t.Context(), http.DefaultClient, "http://127.0.0.1:1", c.secret, sandbox.Event{}, sandbox.ToSource(&source), sandbox.Signed(c.signing))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.signing, err, c.says)
		}
	}
}

func TestSendToAnAgentSourceSendsTheEnvelope(t *testing.T) {
	source := webhook.Source{Scheme: webhook.SchemeAgent}
	header, body := post(t, sandbox.Event{Type: "a", Timestamp: 5}, sandbox.ToSource(&source))
	if string(body) != `{"event":"a","timestamp":5,"data":{}}` || signature.VerifyAgent(header.Get("X-Agent-Signature"), body, secret) != nil {
		t.Errorf("body %s, header %v", body, header)
	}
}
