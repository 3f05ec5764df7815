package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/gateway"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

const secret = "postern-test-secret"

// published is a publisher that keeps what it is given, and fails if told to.
type published struct {
	ids *webhook.IDs
	err error

	mu     sync.Mutex
	events []webhook.Event
	first  map[webhook.DedupeKey]webhook.Accepted
}

func (p *published) Publish(_ context.Context, e webhook.Event, key webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return webhook.Accepted{}, nil, p.err
	}
	if first, ok := p.first[key]; ok {
		first.Duplicate = true
		return first, nil, nil
	}
	p.events = append(p.events, e)
	accepted := webhook.Accepted{ID: p.ids.Event(time.Now()), Type: e.Type, ReceivedAt: time.Now()}
	p.first[key] = accepted
	return accepted, nil, nil
}

func (p *published) last(t *testing.T) webhook.Event {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 {
		t.Fatal("no event was published")
	}
	return p.events[len(p.events)-1]
}

// A setup is a gateway before it is made.
type setup struct {
	gateway.Options
	source  webhook.Source
	proxies []netip.Prefix
	asns    *security.ASNDatabase
}

func newServer(t *testing.T, change ...func(*setup)) (*httptest.Server, *published) {
	t.Helper()
	p := &published{ids: webhook.NewIDs("0123456789", 0), first: map[webhook.DedupeKey]webhook.Accepted{}}
	s := setup{
		Options: gateway.Options{
			Publisher: p, IDs: p.ids, Logger: slog.New(slog.DiscardHandler),
			Ready: func(context.Context) error { return nil },
		},
		source: webhook.Source{
			Name: "inbound", Path: "/webhook/inbound", Scheme: webhook.SchemeAgent, Secrets: []webhook.Secret{"other", secret},
			Enabled: true, ValidateSignature: true, MaxClockSkew: 5 * time.Minute, MaxBody: 64 << 10,
		},
	}
	for _, f := range change {
		f(&s)
	}
	g, err := gateway.New(s.Options, gateway.Rules{Sources: []webhook.Source{s.source}, TrustedProxies: s.proxies, ASNs: s.asns})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(g)
	server.Config.ReadTimeout = 300 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	return server, p
}

func sign(body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func body(timestamp int64, data string) string {
	return fmt.Sprintf(`{"event":"order.created","timestamp":%d,"data":%s}`, timestamp, data)
}

func post(t *testing.T, server *httptest.Server, body string, change ...func(*http.Request)) (int, map[string]any, http.Header) {
	t.Helper()
	r, err := http.NewRequest("POST", server.URL+"/webhook/inbound", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Agent-Signature", sign(body))
	for _, f := range change {
		f(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if r.Method != "HEAD" {
		if err := json.Unmarshal(raw, &answer); err != nil {
			t.Fatalf("status %d, answer %q: %v", response.StatusCode, raw, err)
		}
	}
	if code, refused := answer["error"].(string); refused && !slices.Contains(webhook.RejectionCodes(), code) {
		t.Errorf("%s is not listed among the codes of refusals", code)
	}
	return response.StatusCode, answer, response.Header
}

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Del(name)
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
}

func TestSignedEventIsAccepted(t *testing.T) {
	server, p := newServer(t)
	now := time.Now().Unix()
	data := `{"b":1, "a" : [1.0e2,"\u00e9\ud800"],"a":null}`
	status, answer, _ := post(t, server, body(now, data))
	if status != 200 || answer["status"] != "received" || answer["event"] != "order.created" || !strings.HasPrefix(answer["id"].(string), "evt_") {
		t.Fatalf("%d %v", status, answer)
	}
	if at := int64(answer["received_at"].(float64)); at < now || at > now+5 {
		t.Errorf("received_at is %d, now is %d", at, now)
	}
	e := p.last(t)
	if e.Type != "order.created" || e.Timestamp != now || string(e.Data) != data || e.Source != "inbound" || e.SenderKey != "" {
		t.Errorf("published %+v", e)
	}
}

// TestEveryRefusalHasItsStatusAndCode is the table of errors of the contract.
func TestEveryRefusalHasItsStatusAndCode(t *testing.T) {
	now := time.Now().Unix()
	good := body(now, `{}`)
	unsigned := header("X-Agent-Signature")
	tests := []struct {
		name   string
		body   string
		change []func(*http.Request)
		status int
		code   string
	}{
		{"GET", "", []func(*http.Request){func(r *http.Request) { r.Method = "GET"; r.Body = nil; r.ContentLength = 0 }}, 405, "method_not_allowed"},
		{"PUT", good, []func(*http.Request){func(r *http.Request) { r.Method = "PUT" }}, 405, "method_not_allowed"},
		{"another path", good, []func(*http.Request){func(r *http.Request) { r.URL.Path = "/webhook/other" }}, 404, "unknown_source"},
		{"a path with a slash more", good, []func(*http.Request){func(r *http.Request) { r.URL.Path = "/webhook/inbound/" }}, 404, "unknown_source"},
		{"two slashes", good, []func(*http.Request){func(r *http.Request) { r.URL.Opaque = "//" + r.URL.Host + "//webhook/inbound" }}, 404, "unknown_source"},
		{"dots", good, []func(*http.Request){func(r *http.Request) { r.URL.Path = "/x/../webhook/inbound" }}, 404, "unknown_source"},
		{"path before method", good, []func(*http.Request){func(r *http.Request) { r.Method = "PUT"; r.URL.Path = "/x" }}, 404, "unknown_source"},
		{"no content type", good, []func(*http.Request){header("Content-Type")}, 415, "unsupported_media_type"},
		{"text", good, []func(*http.Request){header("Content-Type", "text/plain")}, 415, "unsupported_media_type"},
		{"json as a parameter", good, []func(*http.Request){header("Content-Type", "text/plain; x=application/json")}, 415, "unsupported_media_type"},
		{"another charset", good, []func(*http.Request){header("Content-Type", "application/json; charset=utf-16")}, 415, "unsupported_media_type"},
		{"two content types", good, []func(*http.Request){header("Content-Type", "application/json", "text/plain")}, 415, "unsupported_media_type"},
		{"content encoding", good, []func(*http.Request){header("Content-Encoding", "gzip")}, 415, "unsupported_media_type"},
		{"media type before size", strings.Repeat("x", 100<<10), []func(*http.Request){header("Content-Type", "text/plain")}, 415, "unsupported_media_type"},
		{"too large", body(now, `"`+strings.Repeat("x", 64<<10)+`"`), nil, 413, "payload_too_large"},
		{"too large in chunks", body(now, `"`+strings.Repeat("x", 64<<10)+`"`), []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}, 413, "payload_too_large"},
		{"empty", "", nil, 400, "empty_body"},
		{"empty in chunks", " ", []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}, 400, "empty_body"},
		{"white space", " \n\t ", nil, 400, "empty_body"},
		{"no JSON", "{invalid json}", nil, 400, "invalid_json"},
		{"null", "null", nil, 400, "invalid_json"},
		{"an array", "[]", nil, 400, "invalid_json"},
		{"cut short", good[:len(good)-1], nil, 400, "invalid_json"},
		{"something behind", good + "x", nil, 400, "invalid_json"},
		{"two objects", good + good, nil, 400, "invalid_json"},
		{"a BOM", "\ufeff" + good, nil, 400, "invalid_json"},
		{"UTF-16", "\xff\xfe{\x00", nil, 400, "invalid_json"},
		{"no UTF-8 in data", body(now, "\"\xff\""), nil, 400, "invalid_json"},
		{"no UTF-8 in event", `{"event":"` + "\xff" + `","timestamp":1,"data":1}`, nil, 400, "invalid_json"},
		{"event twice", `{"event":"a","event":"b","timestamp":1,"data":1}`, nil, 400, "invalid_json"},
		{"event twice, once escaped", `{"event":"a","\u0065vent":"b","timestamp":1,"data":1}`, nil, 400, "invalid_json"},
		{"data 65 deep", body(now, strings.Repeat("[", 65)+strings.Repeat("]", 65)), nil, 400, "invalid_json"},
		{"an unknown member 65 deep", `{"x":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `,` + good[1:], nil, 400, "invalid_json"},
		{"30000 brackets", strings.Repeat("[", 30000), nil, 400, "invalid_json"},
		{"30000 brackets in data", `{"data":` + strings.Repeat("[", 30000), nil, 400, "invalid_json"},
		{"no event", `{"timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"names are case-sensitive", `{"EVENT":"a","timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"empty event", `{"event":"","timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"event is a number", `{"event":5,"timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"event is null", `{"event":null,"timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"event too long", `{"event":"` + strings.Repeat("a", 129) + `","timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"event with a line break", `{"event":"a\r\nb","timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"event with an escape", `{"event":"a\u001bb","timestamp":1,"data":1}`, nil, 400, "invalid_event"},
		{"no timestamp", `{"event":"a","data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp null", `{"event":"a","timestamp":null,"data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp negative", `{"event":"a","timestamp":-1,"data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp zero", `{"event":"a","timestamp":0,"data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp with a fraction", `{"event":"a","timestamp":1.5,"data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp with an exponent", `{"event":"a","timestamp":1e9,"data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp huge", `{"event":"a","timestamp":99999999999999999999,"data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp true", `{"event":"a","timestamp":true,"data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp a string", `{"event":"a","timestamp":"1731602712","data":1}`, nil, 400, "invalid_timestamp"},
		{"timestamp in milliseconds", body(now*1000, `1`), nil, 400, "invalid_timestamp"},
		{"no data", `{"event":"a","timestamp":1}`, nil, 400, "invalid_data"},
		{"id empty", `{"id":"",` + good[1:], nil, 400, "invalid_id"},
		{"id a number", `{"id":1,` + good[1:], nil, 400, "invalid_id"},
		{"id too long", `{"id":"` + strings.Repeat("a", 129) + `",` + good[1:], nil, 400, "invalid_id"},
		{"id with a line break", `{"id":"a\nb",` + good[1:], nil, 400, "invalid_id"},
		{"two idempotency keys", good, []func(*http.Request){header("Idempotency-Key", "a", "b")}, 400, "invalid_id"},
		{"members before signature", `{"event":"a","timestamp":1}`, []func(*http.Request){unsigned}, 400, "invalid_data"},
		{"no signature", good, []func(*http.Request){unsigned}, 401, "missing_signature"},
		{"another key", good, []func(*http.Request){header("X-Agent-Signature", "sha256="+strings.Repeat("0", 64))}, 401, "invalid_signature"},
		{"no prefix", good, []func(*http.Request){header("X-Agent-Signature", sign(good)[7:])}, 401, "invalid_signature"},
		{"sha1", good, []func(*http.Request){header("X-Agent-Signature", "sha1="+sign(good)[7:])}, 401, "invalid_signature"},
		{"cut short signature", good, []func(*http.Request){header("X-Agent-Signature", sign(good)[:70])}, 401, "invalid_signature"},
		{"empty signature", good, []func(*http.Request){header("X-Agent-Signature", "")}, 401, "invalid_signature"},
		{"another body", good + " ", []func(*http.Request){header("X-Agent-Signature", sign(good))}, 401, "invalid_signature"},
		{"two signatures", good, []func(*http.Request){header("X-Agent-Signature", "sha256=00", sign(good))}, 401, "invalid_signature"},
		{"both headers", good, []func(*http.Request){header("X-Signature", sign(good))}, 401, "invalid_signature"},
		{"a wrong header beside a right body", withSignature(good), []func(*http.Request){header("X-Agent-Signature", "sha256=00")}, 401, "invalid_signature"},
		{"signature in the body is no string", `{"signature":5,` + good[1:], []func(*http.Request){unsigned}, 401, "invalid_signature"},
		{"signature before window", body(1, `1`), []func(*http.Request){header("X-Agent-Signature", "sha256=00")}, 401, "invalid_signature"},
		{"too old", body(now-310, `1`), nil, 422, "invalid_timestamp"},
		{"too new", body(now+310, `1`), nil, 422, "invalid_timestamp"},
		{"far too new", body(99_999_999_999, `1`), nil, 422, "invalid_timestamp"},
	}
	server, p := newServer(t)
	for _, tt := range tests {
		status, answer, head := post(t, server, tt.body, tt.change...)
		if status != tt.status || answer["error"] != tt.code {
			t.Errorf("%s: %d %v, want %d %s", tt.name, status, answer, tt.status, tt.code)
		}
		if len(answer) != 3 || !strings.HasPrefix(fmt.Sprint(answer["request_id"]), "rej_") || fmt.Sprint(answer["message"]) == "" {
			t.Errorf("%s: answer is %v", tt.name, answer)
		}
		if head.Get("Content-Type") != "application/json" || (status == 405) != (head.Get("Allow") == "POST") {
			t.Errorf("%s: header is %v", tt.name, head)
		}
	}
	if len(p.events) > 0 {
		t.Errorf("%d events were published", len(p.events))
	}
}

// withSignature appends the member that signs the body.
func withSignature(body string) string {
	return strings.TrimSuffix(body, "}") + `,"signature":"` + sign(body) + `"}`
}

func TestAcceptedForms(t *testing.T) {
	now := time.Now().Unix()
	good := body(now, `{"order_id":"A12345"}`)
	unsigned := header("X-Agent-Signature")
	tests := []struct {
		name   string
		body   string
		change []func(*http.Request)
	}{
		{"X-Signature", good, []func(*http.Request){unsigned, header("X-Signature", sign(good))}},
		{"upper-case hex", good, []func(*http.Request){header("X-Agent-Signature", "sha256="+strings.ToUpper(sign(good)[7:]))}},
		{"charset", good, []func(*http.Request){header("Content-Type", `application/json; charset="UTF-8"`)}},
		{"another JSON type", good, []func(*http.Request){header("Content-Type", "application/cloudevents+json; x=y")}},
		{"a JSON type of another kind", good, []func(*http.Request){header("Content-Type", "model/gltf+json")}},
		{"in chunks", good, []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}},
		{"at the edge of the window", body(now-298, `1`), nil},
		{"at the other edge", body(now+298, `1`), nil},
		{"data 64 deep", body(now, strings.Repeat("[", 64)+strings.Repeat("]", 64)), nil},
		{"brackets in a string are not depth", body(now, `"`+strings.Repeat(`[\"`, 200)+`"`), nil},
		{"data null", body(now, `null`), nil},
		{"unknown members", `{"x":1,"x":2,"EVENT":"b",` + good[1:], nil},
		{"event at its longest", `{"event":"` + strings.Repeat("a", 128) + good[23:], nil},
		{"every character", `{"event":"Az0._-:/",` + good[25:], nil},
		{"signature in the body, last", withSignature(good), []func(*http.Request){unsigned}},
		{"signature in the body, first", `{"signature":"` + sign(good) + `",` + good[1:], []func(*http.Request){unsigned}},
		{"signature in the body, in the middle", `{"event":"order.created","signature":"` + sign(good) + `",` + good[25:], []func(*http.Request){unsigned}},
		{"a wrong body beside a right header", `{"signature":"sha256=00",` + good[1:], nil},
	}
	server, _ := newServer(t)
	for _, tt := range tests {
		if tt.name == "every character" || tt.name == "event at its longest" {
			if !json.Valid([]byte(tt.body)) {
				t.Fatalf("%s: the test's body is broken: %s", tt.name, tt.body)
			}
		}
		if status, answer, _ := post(t, server, tt.body, tt.change...); status != 200 {
			t.Errorf("%s: %d %v", tt.name, status, answer)
		}
	}
}

func TestSignatureMemberIsCutWithWhatJoinsIt(t *testing.T) {
	now := time.Now().Unix()
	s := func(signed string) string { return `"` + sign(signed) + `"` }
	pretty := fmt.Sprintf("{\n  \"event\": \"a.b\",\n  \"timestamp\": %d,\n  \"data\": {\n    \"signature\": \"inner\"\n  }\n}\n", now)
	spaced := fmt.Sprintf(`{ "event" : "a.b" , "timestamp" : %d , "data" : 1 }`, now)
	tests := map[string]string{
		"pretty, last":   strings.Replace(pretty, "\n  }\n}", "\n  },\n  \"signature\": "+s(pretty)+"\n}", 1),
		"pretty, first":  strings.Replace(pretty, "{\n  \"event\"", "{\n  \"signature\": "+s(pretty)+",\n  \"event\"", 1),
		"pretty, middle": strings.Replace(pretty, ",\n  \"data\"", ",\n  \"signature\": "+s(pretty)+",\n  \"data\"", 1),
		"spaced, last":   strings.Replace(spaced, `: 1 }`, `: 1 , "signature" : `+s(spaced)+` }`, 1),
		"spaced, first":  strings.Replace(spaced, `{ "event"`, `{ "signature" : `+s(spaced)+` , "event"`, 1),
		"spaced, middle": strings.Replace(spaced, `, "data"`, `, "signature" : `+s(spaced)+` , "data"`, 1),
		"escaped name":   strings.Replace(spaced, `: 1 }`, `: 1 , "\u0073ignature" : `+s(spaced)+` }`, 1),
	}
	server, _ := newServer(t)
	for name, body := range tests {
		if status, answer, _ := post(t, server, body, header("X-Agent-Signature")); status != 200 {
			t.Errorf("%s: %d %v\n%s", name, status, answer, body)
		}
	}
}

func TestRepeatAnswersWithTheFirstEvent(t *testing.T) {
	server, p := newServer(t)
	now := time.Now().Unix()
	named := fmt.Sprintf(`{"id":"mine","event":"a.b","timestamp":%d,"data":1}`, now)
	tests := []struct {
		name          string
		first, second string
		change        func(first bool) func(*http.Request)
		key           string
	}{
		{"the same bytes", body(now, `1`), body(now, `1`), nil, ""},
		{"the same id", named, strings.Replace(named, "1}", "2}", 1), nil, "mine"},
		{"Idempotency-Key wins over id", strings.Replace(named, "mine", "x1", 1), strings.Replace(named, "mine", "x2", 1),
			func(bool) func(*http.Request) { return header("Idempotency-Key", "k1") }, "k1"},
		{"webhook-id wins over id", strings.Replace(named, "mine", "x3", 1), strings.Replace(named, "mine", "x4", 1),
			func(bool) func(*http.Request) { return header("webhook-id", "w1") }, "w1"},
	}
	for _, tt := range tests {
		change := func(first bool) []func(*http.Request) {
			if tt.change == nil {
				return nil
			}
			return []func(*http.Request){tt.change(first)}
		}
		before := len(p.events)
		_, first, _ := post(t, server, tt.first, change(true)...)
		status, second, _ := post(t, server, tt.second, change(false)...)
		if status != 200 || second["status"] != "duplicate" || second["id"] != first["id"] || len(p.events) != before+1 {
			t.Errorf("%s: %d %v after %v", tt.name, status, second, first)
		}
		if e := p.last(t); e.SenderKey != tt.key {
			t.Errorf("%s: the key kept is %q, want %q", tt.name, e.SenderKey, tt.key)
		}
	}
}

func TestFaultsOfOursAskToTryAgain(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   string
		retry  bool
	}{
		{fmt.Errorf("accept: %w", webhook.ErrOverloaded), 503, "overloaded", true},
		{fmt.Errorf("accept: %w", webhook.ErrClosed), 503, "overloaded", true},
		{fmt.Errorf("accept: %w", webhook.ErrStorageFull), 507, "storage_full", true},
		{errors.New("secret detail"), 500, "internal_error", false},
	} {
		server, p := newServer(t)
		p.err = tt.err
		status, answer, head := post(t, server, body(time.Now().Unix(), `1`))
		if status != tt.status || answer["error"] != tt.code || (head.Get("Retry-After") != "") != tt.retry || strings.Contains(fmt.Sprint(answer), "detail") {
			t.Errorf("%v: %d %v %v", tt.err, status, answer, head)
		}
	}
}

func TestDisabledAndUnchecked(t *testing.T) {
	server, _ := newServer(t, func(s *setup) { s.source.Enabled = false })
	if status, answer, _ := post(t, server, body(time.Now().Unix(), `1`)); status != 404 || answer["error"] != "inbound_disabled" {
		t.Errorf("disabled: %d %v", status, answer)
	}
	server, _ = newServer(t, func(s *setup) { s.source.ValidateSignature, s.source.MaxClockSkew = false, 0 })
	if status, answer, _ := post(t, server, body(1, `1`), header("X-Agent-Signature")); status != 200 {
		t.Errorf("unchecked: %d %v", status, answer)
	}
}

// TestRefusalIsReadAsItIsMeant: a person reads it in a terminal, as curl shows it.
func TestRefusalIsReadAsItIsMeant(t *testing.T) {
	server, _ := newServer(t)
	response, err := http.Post(server.URL+"/webhook/inbound", "application/json", strings.NewReader(body(time.Now().Unix(), `1`)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if raw, _ := io.ReadAll(response.Body); !bytes.Contains(raw, []byte("sha256=<64 hex digits>")) {
		t.Errorf("%s", raw)
	}
}

func TestProbesAnswer(t *testing.T) {
	server, _ := newServer(t, func(s *setup) { s.Ready = func(context.Context) error { return errors.New("disk on fire") } })
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != want || want == 503 && !bytes.Contains(text, []byte("disk on fire")) {
			t.Errorf("%s: %d %s", path, response.StatusCode, text)
		}
	}
}

func TestSlowBodyIsTimedOut(t *testing.T) {
	server, _ := newServer(t)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /webhook/inbound HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode != 408 || !bytes.Contains(text, []byte(`"request_timeout"`)) {
		t.Errorf("%d %s", response.StatusCode, text)
	}
}

func TestOversizedBodyIsNotAskedFor(t *testing.T) {
	server, _ := newServer(t)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /webhook/inbound HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 413 {
		t.Errorf("status %d, want 413 and no 100", response.StatusCode)
	}
}

func TestCompressedBombIsRefusedUnread(t *testing.T) {
	server, _ := newServer(t)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 1<<20))
	z.Close()
	if status, answer, _ := post(t, server, bomb.String(), header("Content-Encoding", "gzip")); status != 415 {
		t.Errorf("%d %v", status, answer)
	}
}

func TestPanicCostsOneRequestOnly(t *testing.T) {
	server, _ := newServer(t, func(s *setup) { s.Publisher = panicking{} })
	for range 2 {
		if status, answer, _ := post(t, server, body(time.Now().Unix(), `1`)); status != 500 || answer["error"] != "internal_error" {
			t.Errorf("%d %v", status, answer)
		}
	}
}

type panicking struct{}

func (panicking) Publish(context.Context, webhook.Event, webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error) {
	panic("a bug")
}

func TestEachRequestIsObservedWithItsResultAndHealthChecksAreNot(t *testing.T) {
	seen := make(chan gateway.Receipt, 10)
	server, p := newServer(t, func(s *setup) { s.Observe = func(r gateway.Receipt) { seen <- r } })
	last := func() gateway.Receipt {
		t.Helper()
		if len(seen) != 1 {
			t.Fatalf("observed %d times", len(seen))
		}
		r := <-seen
		if r.Source != "inbound" || r.Took <= 0 || r.Took > time.Minute || time.Since(r.At) > time.Minute {
			t.Errorf("observed %+v", r)
		}
		return r
	}
	text := body(time.Now().Unix(), `{}`)
	post(t, server, text)
	if r := last(); r.Result != "received" || r.Status != 200 || r.RequestID != "" {
		t.Errorf("a new event: %+v", r)
	}
	post(t, server, text)
	if r := last(); r.Result != "duplicate" || r.Status != 200 || r.RequestID != "" {
		t.Errorf("a repeat: %+v", r)
	}
	_, answer, _ := post(t, server, text, header("X-Agent-Signature", "sha256=00"))
	if r := last(); r.Result != "invalid_signature" || r.Status != 401 || string(r.RequestID) != answer["request_id"] {
		t.Errorf("a wrong signature: %+v, answered %v", r, answer)
	}
	p.err = webhook.ErrStorageFull
	post(t, server, text)
	if r := last(); r.Result != "storage_full" || r.Status != 507 || r.RequestID == "" {
		t.Errorf("without room: %+v", r)
	}
	response, err := http.Get(server.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if len(seen) > 0 {
		t.Errorf("a health check was observed: %+v", <-seen)
	}
}
