package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

const (
	fuzzSecret = "whsec_dGhpcyBpcyB0aGUgc2VjcmV0IG9mIHRoZSBmdXp6"
	fuzzTime   = 1731602712
	// maxKept bounds each text that is kept of a request: a header has its
	// last line whole.
	maxKept = maxHead + 2*maxValue + len(": ")
)

// lastEvent is a publisher that never fails.
type lastEvent struct{ webhook.Event }

func (p *lastEvent) Publish(_ context.Context, e webhook.Event, _ webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error) {
	p.Event = e
	return webhook.Accepted{ID: "evt_1", Type: e.Type, ReceivedAt: time.Unix(fuzzTime, 0)}, nil, nil
}

// fuzzSources are one for each scheme, at the path that is its name.
func fuzzSources() []webhook.Source {
	var all []webhook.Source
	for _, scheme := range webhook.Schemes() {
		s := webhook.Source{
			Name: string(scheme), Path: "/" + string(scheme), Scheme: scheme, Secrets: []webhook.Secret{"another-secret", fuzzSecret},
			Enabled: true, ValidateSignature: true, MaxClockSkew: 5 * time.Minute, MaxBody: 4096, EventPrefix: "of",
			AllowIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("::/1")},
		}
		if scheme == webhook.SchemeHMAC {
			s.Form = webhook.SignatureForm{Header: "X-Mac", Algorithm: "sha1", Encoding: "base64", Prefix: "v0=", Template: "{id}/{timestamp}/{body}",
				TimestampHeader: "X-When", IDHeader: "X-Which"}
		}
		all = append(all, s)
	}
	return all
}

// FuzzVisit sends requests of all kinds to a source of each scheme. Nothing
// panics; what is taken is stored byte for byte; and what is kept of the
// rest is short, in UTF-8 without control characters, and without the secret,
// wherever a sender has put that.
func FuzzVisit(f *testing.F) {
	const body = `{"event":"order.created","type":"order.created","timestamp":1731602712,"data":{"id":"A1"},"signature":"{secret}"}`
	for i := range webhook.Schemes() {
		f.Add(uint8(i), true, "POST", "", "application/json", "127.0.0.1:80", "X-GitHub-Event", "push", "X-Shopify-Topic", "orders/create", []byte(body))
		f.Add(uint8(i), false, "POST", "", "application/x+json; charset=UTF-8", "10.0.0.1:80", "X-Agent-Signature", "{secret}", "X-Forwarded-For", "2001:db8::1, {secret}", []byte(body))
		f.Add(uint8(i), true, "POST", "", "application/json", "[fe80::1%eth0]:80", "X-Mac", "v0={secret}", "Idempotency-Key", "{secret}\x1b[31m\u009b31m\u2028", []byte(body))
	}
	f.Add(uint8(6), true, "POST", "", "application/json", "127.0.0.1:80", "A", "\xff", "", "", []byte(`{"type":"url_verification","challenge":"\u003cx>"}`))
	f.Add(uint8(0), false, "PO\x7fST", "/\u009b{secret}", "application/json", "", "Signature\xc2", strings.Repeat("é", 300), "X-Gitlab-Token", "x", []byte(" "))
	g, err := New(Options{Logger: slog.New(slog.DiscardHandler)},
		Rules{Sources: fuzzSources(), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		f.Fatal(err)
	}
	g.keeper.searches = rate.NewLimiter(rate.Inf, 0)
	f.Fuzz(func(t *testing.T, which uint8, sign bool, method, path, mediaType, remote, name, value, otherName, other string, body []byte) {
		scheme := webhook.Schemes()[int(which)%len(webhook.Schemes())]
		source := g.rules.Load().byPath["/"+string(scheme)]
		clear := strings.NewReplacer("{secret}", fuzzSecret)
		body = []byte(clear.Replace(string(body)))
		r := &http.Request{
			Method: method, Host: clear.Replace(other), RemoteAddr: remote, URL: &url.URL{Path: source.Path}, Header: http.Header{},
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		}
		if path != "" {
			r.URL.Path = clear.Replace(path)
		}
		if scheme != webhook.SchemeNone && sign {
			if header, err := signature.Sign(scheme, source.Form, fuzzSecret, "msg_1", fuzzTime, body); err == nil {
				r.Header = header
			}
		}
		r.Header.Set("Content-Type", mediaType)
		r.Header.Add(name, clear.Replace(value))
		r.Header.Add(otherName, clear.Replace(other))
		events := &lastEvent{}
		g.o.Publisher = events
		v := &visit{g: g, rules: g.rules.Load(), r: r, now: time.Unix(fuzzTime, 0), share: share{memory: g.memory}}
		w := httptest.NewRecorder()
		original := bytes.Clone(body)
		result, err := v.receive(w)
		v.share.release()
		if err != nil {
			why := rejectionOf(err)
			if why.reason == internalError {
				t.Fatal("it panicked")
			}
			checkKept(t, v.rejection(why))
			why.write(w, "rej_1")
			var answer answer
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !slices.Contains(webhook.RejectionCodes(), answer.Error) {
				t.Fatalf("answered %q", w.Body)
			}
			return
		}
		switch tells := strings.Contains(value+other, "{secret}"); {
		case scheme != webhook.SchemeNone && !sign && !(scheme == webhook.SchemeGitLab && tells):
			t.Fatalf("taken without a signature: %v %q", r.Header, body)
		case result.challenge != "":
			var answer map[string]string
			if result.write(w); json.Unmarshal(w.Body.Bytes(), &answer) != nil || answer["challenge"] != result.challenge || len(result.challenge) > maxChallenge {
				t.Fatalf("the challenge %q is answered with %q", result.challenge, w.Body)
			}
			return
		}
		want := original
		if scheme == webhook.SchemeAgent {
			var members map[string]json.RawMessage
			if err := json.Unmarshal(original, &members); err != nil {
				t.Fatalf("took %q: %v", original, err)
			}
			want = members["data"]
		}
		e := events.Event
		if !bytes.Equal(e.Data, want) || !json.Valid(e.Data) || !utf8.Valid(e.Data) {
			t.Fatalf("stored %q of %q", e.Data, want)
		}
		if !webhook.ValidType(e.Type) || e.Timestamp <= 0 || e.SenderKey != "" && !webhook.ValidSenderID(e.SenderKey) {
			t.Fatalf("stored as %q at %d, by the name %q", e.Type, e.Timestamp, e.SenderKey)
		}
		result.write(w)
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("answered %q", w.Body)
		}
	})
}

// checkKept looks at all texts that are kept of a request.
func checkKept(t *testing.T, r webhook.Rejection) {
	t.Helper()
	for field, text := range map[string]string{
		"message": r.Message, "rule": r.Rule, "expected": r.Expected, "diagnosis": r.Diagnosis, "event type": r.EventType,
		"sender key": r.SenderKey, "method": r.Method, "path": r.Path, "header": strings.ReplaceAll(r.Header, "\n", " "),
	} {
		switch {
		case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
			t.Fatalf("the %s has what is not to be shown: %q", field, text)
		case len(text) > maxKept:
			t.Fatalf("the %s has %d bytes", field, len(text))
		case strings.Contains(text, strings.TrimPrefix(fuzzSecret, webhook.SecretPrefix)[:12]):
			t.Fatalf("the %s tells the secret: %q", field, text)
		}
	}
}

func TestWhatIsKeptIsShortAndEndsNoLine(t *testing.T) {
	for text, want := range map[string]string{
		"a\x1b[1m\x7f": "a�[1m�", "\u009b31m\u0085é": "�31m�é", "a\u2028b\u2029\xff": "a�b��", strings.Repeat("é", 20): "éééé…",
	} {
		if got := cut(text, 12); got != want {
			t.Errorf("%q is kept as %q, want %q", text, got, want)
		}
	}
}

// FuzzPayload holds what is read from a payload against encoding/json: the body
// is the data as it came, and the type, the id and the time are what stands at
// the names, if that is fit to be stored.
func FuzzPayload(f *testing.F) {
	for _, seed := range []struct{ names, header, body string }{
		{"type", "", `{"type":"a.b"}`}, {"a.b", "x", `{"a":{"b":1731602712},"c":[]}`}, {"a", "2026-01-02T03:04:05.678+09:00", `{"a":"2026-01-02T03:04:05Z"}`},
		{"a.b.c", "é", `{"a":{"b":{"c":"1731602712000"},"b":{}}}`}, {"", "-1", `{"":"\ud800"}`}, {".", "", `{"":{"":1e9}}`}, {"a", "", ` [{"a":1}]`},
		{"\u00e9", "", `{"\u00e9":"9223372036854775807"}`}, {"a", "", `{"a":"0000-01-01T00:00:00Z"}`}, {"a", "", `{"a":"x","\u0061":"y"}`}, {"a", "", " "},
	} {
		for i := range 3 {
			f.Add(uint8(i), seed.names, seed.header, []byte(seed.body))
		}
	}
	schemes := []webhook.Scheme{webhook.SchemeNone, webhook.SchemeGitLab, webhook.SchemeSlack}
	f.Fuzz(func(t *testing.T, which uint8, names, header string, body []byte) {
		if len(bytes.TrimSpace(body)) == 0 {
			return // refused before
		}
		s := webhook.Source{Scheme: schemes[int(which)%len(schemes)], TypeFrom: webhook.Place("body:" + names), IDFrom: webhook.Place("body:" + names)}
		if which&8 != 0 {
			s.TypeFrom = "const:t"
		}
		if which&16 != 0 {
			s.TimeFrom, s.IDFrom = s.IDFrom, "header:X-Id"
		}
		v := &visit{source: &source{Source: s, places: placesOf(&s)}, body: body,
			r: &http.Request{Header: http.Header{"X-Id": {header}}}, now: time.Unix(fuzzTime, 0)}
		original := bytes.Clone(body)
		read, err := v.read()
		if !bytes.Equal(original, body) {
			t.Fatal("the body was altered")
		}
		if err != nil {
			rejectionOf(err)
			return
		}
		e, key := v.event(read)
		if !bytes.Equal(e.Data, original) || !json.Valid(original) || !utf8.Valid(original) {
			t.Fatalf("stores %q of %q", e.Data, original)
		}
		if !webhook.ValidType(e.Type) || e.Timestamp <= 0 || e.SenderKey != "" && !webhook.ValidSenderID(e.SenderKey) || key == (webhook.DedupeKey{}) {
			t.Fatalf("stores %q at %d, by the name %q", e.Type, e.Timestamp, e.SenderKey)
		}
		want := at(original, strings.Split(names, "."))
		if strings.ContainsRune(want, utf8.RuneError) {
			return // encoding/json puts that in place of half a surrogate pair
		}
		if strings.HasPrefix(string(s.TypeFrom), inBody) && s.Scheme != webhook.SchemeGitLab && e.Type != want {
			t.Fatalf("the type at %q of %q is %q, want %q", names, original, e.Type, want)
		}
		switch id, isID := e.SenderKey, s.TimeFrom == ""; {
		case isID && id != want, !isID && id != header:
			t.Fatalf("the id at %q of %q and %q is %q", names, original, header, id)
		}
		if seconds, err := strconv.ParseInt(want, 10, 64); s.TimeFrom != "" && err == nil && e.Timestamp != seconds && e.Timestamp != seconds/1000 {
			t.Fatalf("the time at %q of %q is %d", names, original, e.Timestamp)
		}
	})
}

// at finds the string or number at the names as encoding/json does.
func at(body []byte, names []string) string {
	for _, name := range names {
		var members map[string]json.RawMessage
		if json.Unmarshal(body, &members) != nil {
			return ""
		}
		body = members[name]
	}
	var text string
	if json.Unmarshal(body, &text) == nil {
		return text
	}
	var number json.Number
	if len(body) > 0 && body[0] != '"' && json.Unmarshal(body, &number) == nil {
		return number.String()
	}
	return ""
}

// FuzzMediaType: what is taken for JSON in UTF-8 is so called, and nothing else
// is said of it.
func FuzzMediaType(f *testing.F) {
	for _, seed := range []string{"application/json", "Application/CloudEvents+JSON ; charset=\"utf-8\"", "application/json;charset=utf-16", "text/json", "application/json; charset*=utf-8''utf-8",
		"+json", "a/+json;charset*0=ut;charset*1=f-8", "application/json, text/html", "application/json;;", "application/json; charset", "\x00/json"} {
		f.Add(seed, "", uint8(1))
	}
	f.Add("application/json", "gzip", uint8(1))
	f.Add("application/json", "", uint8(2))
	f.Fuzz(func(t *testing.T, mediaType, encoding string, times uint8) {
		header := http.Header{"Content-Encoding": {encoding}}
		for range times % 4 {
			header.Add("Content-Type", mediaType)
		}
		if checkMediaType(header) != nil {
			return
		}
		essence, _, _ := strings.Cut(mediaType, ";")
		essence = strings.ToLower(strings.TrimSpace(essence))
		if essence != "application/json" && !strings.HasSuffix(essence, "+json") || encoding != "" || times%4 != 1 {
			t.Fatalf("%q %q, %d times, is taken", mediaType, encoding, times%4)
		}
		_, parameters, _ := mime.ParseMediaType(mediaType)
		if charset, ok := parameters["charset"]; ok && strings.ToLower(charset) != "utf-8" {
			t.Fatalf("%q is taken", mediaType)
		}
	})
}
