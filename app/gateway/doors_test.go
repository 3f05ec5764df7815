package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/gateway"
	"github.com/pintle/pintle/app/webhook"
)

// kept keeps refused requests for a test.
type kept struct {
	mu   sync.Mutex
	list []webhook.Rejection
}

func (k *kept) keep(_ context.Context, rejections []webhook.Rejection) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, rejections...)
	return nil
}

func (k *kept) last(t *testing.T) webhook.Rejection {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.list) == 0 {
		t.Fatal("nothing was kept")
	}
	return k.list[len(k.list)-1]
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestOnlyListedAddressesComeIn(t *testing.T) {
	good := body(time.Now().Unix(), `1`)
	for _, tt := range []struct {
		name      string
		allow     []netip.Prefix
		proxies   []netip.Prefix
		forwarded []string
		status    int
	}{
		{"listed", prefixes("127.0.0.0/8"), nil, nil, 200},
		{"not listed", prefixes("10.0.0.0/8", "::1/128"), nil, nil, 403},
		{"a claim of a stranger", prefixes("10.0.0.0/8"), nil, []string{"10.0.0.1"}, 403},
		{"a claim of a stranger changes nothing", prefixes("127.0.0.0/8"), nil, []string{"10.0.0.1"}, 200},
		{"behind a proxy", prefixes("10.0.0.0/8"), prefixes("127.0.0.1/32"), []string{"10.0.0.1"}, 200},
		{"behind a proxy, by another", prefixes("10.0.0.0/8"), prefixes("127.0.0.1/32"), []string{"10.0.0.1, 192.0.2.7"}, 403},
		{"behind two proxies", prefixes("10.0.0.0/8"), prefixes("127.0.0.1/32", "192.0.2.0/24"), []string{"10.0.0.1, 192.0.2.7"}, 200},
		{"behind a proxy, in two lines", prefixes("10.0.0.0/8"), prefixes("127.0.0.1/32"), []string{"10.0.0.1", "192.0.2.7"}, 403},
		{"behind a proxy, nonsense", prefixes("10.0.0.0/8"), prefixes("127.0.0.1/32"), []string{"10.0.0.1, unknown"}, 403},
		{"IPv4 in IPv6", prefixes("10.0.0.0/8"), prefixes("127.0.0.1/32"), []string{"::ffff:10.0.0.1"}, 200},
	} {
		server, _ := newServer(t, func(s *setup) { s.source.AllowIPs, s.proxies = tt.allow, tt.proxies })
		status, answer, _ := post(t, server, good, header("X-Forwarded-For", tt.forwarded...))
		if status != tt.status || status == 403 && answer["error"] != "ip_not_allowed" {
			t.Errorf("%s: %d %v, want %d", tt.name, status, answer, tt.status)
		}
	}
}

func TestAddressIsCheckedBeforeTheBodyIsRead(t *testing.T) {
	server, _ := newServer(t, func(s *setup) { s.source.AllowIPs = prefixes("10.0.0.0/8") })
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /webhook/inbound HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 403 {
		t.Errorf("status %d, want 403 and no 100", response.StatusCode)
	}
}

func TestOneAddressMayNotAskTooOften(t *testing.T) {
	server, p := newServer(t, func(s *setup) { s.source.RateLimit, s.proxies = 2, prefixes("127.0.0.1/32") })
	statuses := map[string]int{}
	for i := range 6 {
		for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
			status, answer, head := post(t, server, body(time.Now().Unix(), fmt.Sprint(i, client == "192.0.2.1")[:1]), header("X-Forwarded-For", client), header("Idempotency-Key", client+fmt.Sprint(i)))
			statuses[fmt.Sprint(client, status)]++
			if status == 429 && (answer["error"] != "rate_limited" || head.Get("Retry-After") == "" || head.Get("Retry-After") == "0") {
				t.Errorf("%v %v", answer, head)
			}
		}
	}
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		if statuses[client+"200"] < 2 || statuses[client+"429"] < 2 {
			t.Errorf("answered %v", statuses)
		}
	}
	if len(p.events) != statuses["192.0.2.1200"]+statuses["192.0.2.2200"] {
		t.Errorf("%d events", len(p.events))
	}
}

func TestTooManyHeaderFieldsAreRefused(t *testing.T) {
	server, _ := newServer(t)
	many := func(n int) func(*http.Request) {
		return func(r *http.Request) {
			for i := range n {
				r.Header.Add("X-Many", fmt.Sprint(i))
			}
		}
	}
	good := body(time.Now().Unix(), `1`)
	if status, answer, _ := post(t, server, good, many(101)); status != 431 || answer["error"] != "too_many_headers" {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer, _ := post(t, server, good, many(90)); status != 200 {
		t.Errorf("%d %v", status, answer)
	}
}

func TestARefusalIsKeptUnderTheIDOfItsAnswer(t *testing.T) {
	now := time.Now().Unix()
	good := body(now, `1`)
	for _, tt := range []struct {
		name   string
		body   string
		change []func(*http.Request)
		want   func(webhook.Rejection) bool
	}{
		{"no source", good, []func(*http.Request){func(r *http.Request) { r.URL.Path = "/x\ny" }}, func(r webhook.Rejection) bool {
			return r.Check == webhook.CheckPath && r.Source == "" && r.Path == "/x�y" && r.Skew == nil && r.BodyDigest == ""
		}},
		{"wrong signature", good, []func(*http.Request){header("X-Agent-Signature", "sha256="+strings.Repeat("ab", 32))}, func(r webhook.Rejection) bool {
			return r.Check == webhook.CheckSignature && strings.Contains(r.Expected, "X-Agent-Signature") && r.Diagnosis != "" &&
				r.Skew != nil && *r.Skew > -5 && *r.Skew <= 0 && r.EventType == "order.created" && r.BodySize == int64(len(good)) && len(r.BodyDigest) == 64 &&
				strings.Contains(r.Rule, "inbound.validate_signature")
		}},
		{"too old", body(now-412, `1`), nil, func(r webhook.Rejection) bool {
			return r.Check == webhook.CheckWindow && *r.Skew <= -412 && *r.Skew > -420 && strings.Contains(r.Rule, "inbound.max_clock_skew = 5m")
		}},
		{"sender key", good, []func(*http.Request){header("Idempotency-Key", "mine"), header("X-Agent-Signature")}, func(r webhook.Rejection) bool {
			return r.SenderKey == "mine" && r.Code == "missing_signature"
		}},
		{"too large", body(now, `"`+strings.Repeat("x", 64<<10)+`"`), nil, func(r webhook.Rejection) bool {
			return r.Check == webhook.CheckSize && strings.Contains(r.Rule, "inbound.max_body") && r.BodySize == 0
		}},
	} {
		var k kept
		server, _ := newServer(t, func(s *setup) { s.Keep = k.keep })
		status, answer, _ := post(t, server, tt.body, tt.change...)
		r := k.last(t)
		if string(r.ID) != answer["request_id"] || r.Status != status || r.Code != answer["error"] || r.Message != answer["message"] ||
			r.Client.String() != "127.0.0.1" || r.Peer != r.Client || r.Method != "POST" || time.Since(r.At) > time.Minute || !tt.want(r) {
			t.Errorf("%s: %v, kept %+v", tt.name, answer, r)
		}
	}
}

func TestWhatIsKeptHoldsNoSecrets(t *testing.T) {
	var k kept
	server, _ := newServer(t, func(s *setup) {
		s.Keep = k.keep
		s.source.Scheme = webhook.SchemeHMAC
		s.source.Form = webhook.SignatureForm{Header: "X-Mac", Algorithm: "sha256", Encoding: "hex", Template: "{body}"}
	})
	// It is signed rightly and refused for its type, so that its signature is
	// worth something.
	text := `{"x":1}`
	full := hexMAC(secret, text)
	post(t, server, text, headers("X-Mac", full, "Authorization", "Bearer hush", "Cookie", "a=hush", "X-Api-Key", "hush", "X-Gitlab-Token", "hush",
		"X-Fine", "shown", "X-Long", strings.Repeat("l", 5000), "X-Odd", "\xff", "User-Agent", "test")...)
	r := k.last(t)
	for _, absent := range []string{"hush", full, secret, "\xff", strings.Repeat("l", 300)} {
		if strings.Contains(fmt.Sprintf("%+v", r), absent) {
			t.Errorf("%q stands in %s", absent, r.Header)
		}
	}
	for _, present := range []string{"X-Fine: shown\n", "Authorization: ***\n", "User-Agent: test", "X-Mac: " + full[:8], "Host: 127.0.0.1"} {
		if !strings.Contains(r.Header, present) {
			t.Errorf("%q does not stand in %s", present, r.Header)
		}
	}
}

func TestASecretInPlaceOfASignatureIsNotKept(t *testing.T) {
	var k kept
	server, _ := newServer(t, func(s *setup) { s.Keep = k.keep })
	for _, wrong := range []string{secret, "sha256=" + secret, `"` + secret + `"`, secret[:12]} {
		post(t, server, body(time.Now().Unix(), `1`), headers("X-Agent-Signature", wrong, "X-Other", wrong, "X-Hmac-Secret", "hush", "X-Signature-Token", "hush")...)
		if kept := fmt.Sprintf("%+v", k.last(t)); strings.Contains(kept, secret[:8]) || strings.Contains(kept, "hush") {
			t.Errorf("%s: kept %s", wrong, kept)
		}
	}
	post(t, server, "{}", func(r *http.Request) { r.URL.Path = "/webhook/" + secret })
	if r := k.last(t); strings.Contains(r.Path, secret) {
		t.Errorf("kept the path %s", r.Path)
	}
}

func TestAFloodOfRefusalsIsKeptWithinBounds(t *testing.T) {
	var k kept
	server, _ := newServer(t, func(s *setup) { s.Keep = k.keep })
	ids := map[string]bool{}
	for range 300 {
		_, answer, _ := post(t, server, "null")
		ids[fmt.Sprint(answer["request_id"])] = true
	}
	if n := len(k.list); n < 100 || n > 110 {
		t.Fatalf("%d of 300 were kept", n)
	}
	for _, r := range k.list {
		if !ids[string(r.ID)] {
			t.Errorf("%s was no answer's", r.ID)
		}
	}
	if len(ids) != len(k.list) {
		t.Errorf("%d ids were answered and %d can be looked up", len(ids), len(k.list))
	}
	// Another reason is another matter.
	post(t, server, "")
	if r := k.last(t); r.Code != "empty_body" {
		t.Errorf("kept last: %+v", r)
	}
}

func TestTheCauseOfWrongSignaturesIsLookedForWithinBounds(t *testing.T) {
	var k kept
	server, _ := newServer(t, func(s *setup) { s.Keep = k.keep })
	good := body(time.Now().Unix(), `1`)
	searched := 0
	for range 90 {
		post(t, server, good, header("X-Agent-Signature", sign(good+"\n")))
		if strings.Contains(k.last(t).Diagnosis, "newline") {
			searched++
		}
	}
	if searched < 20 || searched > 60 {
		t.Errorf("the cause of %d of 90 was found", searched)
	}
	if r := k.last(t); !strings.Contains(r.Diagnosis, "too many") {
		t.Errorf("the last one says %q", r.Diagnosis)
	}
}

func TestStrayRequestsHideNoSenders(t *testing.T) {
	var k kept
	server, _ := newServer(t, func(s *setup) { s.Keep, s.proxies = k.keep, prefixes("127.0.0.1/32") })
	for i := range 1100 {
		post(t, server, "null", header("X-Forwarded-For", fmt.Sprintf("192.0.%d.%d", i>>8, i&255)), func(r *http.Request) { r.URL.Path = "/wp-login.php" })
	}
	if n := len(k.list); n < 200 || n > 250 {
		t.Errorf("%d of 1100 were kept", n)
	}
	_, answer, _ := post(t, server, "null", header("X-Forwarded-For", "198.51.100.1"))
	if r := k.last(t); string(r.ID) != answer["request_id"] {
		t.Errorf("answered %v, kept last %+v", answer, r)
	}
}

func TestProxyThatIsNotTrustedIsTheDiagnosis(t *testing.T) {
	var k kept
	server, _ := newServer(t, func(s *setup) { s.Keep, s.source.AllowIPs = k.keep, prefixes("10.0.0.0/8") })
	post(t, server, body(time.Now().Unix(), `1`), header("X-Forwarded-For", "10.0.0.1"))
	if r := k.last(t); !strings.Contains(r.Diagnosis, "trusted_proxies") || !strings.Contains(r.Rule, "inbound.allow_ips") {
		t.Errorf("kept %+v", r)
	}
}

func TestRulesAreReplacedWhileRequestsComeIn(t *testing.T) {
	p := &published{ids: webhook.NewIDs("0123456789", 0), first: map[webhook.DedupeKey]webhook.Accepted{}}
	source := func(path string, secrets ...webhook.Secret) gateway.Rules {
		return gateway.Rules{Sources: []webhook.Source{{
			Name: "inbound", Path: path, Scheme: webhook.SchemeAgent, Secrets: secrets, Enabled: true, ValidateSignature: true, MaxBody: 1 << 10,
		}}}
	}
	var s setup
	server, _ := newServer(t, func(made *setup) { s = *made })
	server.Close()
	s.Publisher = p
	g, err := gateway.New(s.Options, source("/a", "one"))
	if err != nil {
		t.Fatal(err)
	}
	request := func(path string) int {
		r, err := http.NewRequest("POST", path, strings.NewReader(body(time.Now().Unix(), `1`)))
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Agent-Signature", sign(body(time.Now().Unix(), `1`)))
		w := &recorder{header: http.Header{}}
		g.ServeHTTP(w, r)
		return w.status
	}
	if got := request("/a"); got != 401 {
		t.Errorf("the first rules: %d", got)
	}
	if err := g.Use(source("/b", "one", secret)); err != nil {
		t.Fatal(err)
	}
	if a, b := request("/a"), request("/b"); a != 404 || b != 200 {
		t.Errorf("the second rules: %d and %d", a, b)
	}
	bad := source("/c")
	bad.Sources[0].Scheme, bad.Sources[0].Secrets = webhook.SchemeStandard, []webhook.Secret{"whsec_%%%"}
	if g.Use(bad) == nil {
		t.Error("a secret that is no key was taken")
	}
	if got := request("/b"); got != 200 {
		t.Errorf("after rules that were refused: %d", got)
	}
}

type recorder struct {
	bytes.Buffer
	header http.Header
	status int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(200)
	return r.Buffer.Write(b)
}

func TestBodiesOfAnySizeUpToTheLimitAreReadWhole(t *testing.T) {
	server, p := newServer(t, func(s *setup) { s.source.MaxBody = 1 << 20 })
	for _, size := range []int{1, 16 << 10, 16<<10 + 1, 64 << 10, 1<<20 - 200} {
		for _, chunked := range []bool{false, true} {
			data := `"` + strings.Repeat("x", size) + `"`
			status, answer, _ := post(t, server, body(time.Now().Unix(), data), func(r *http.Request) {
				if chunked {
					r.ContentLength = -1
				}
			}, header("Idempotency-Key", fmt.Sprint(size, chunked)))
			if status != 200 || string(p.last(t).Data) != data {
				t.Errorf("%d bytes, chunked %v: %d %v", size, chunked, status, answer)
			}
		}
	}
}

func TestACutChunkedBodyIsNotTakenForAWholeOne(t *testing.T) {
	server, p := newServer(t, as(webhook.SchemeNone))
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /webhook/inbound HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"type\":\"a\"}\r\n")
	conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	conn.Close()
	if len(p.events) > 0 || !bytes.Contains(answer, []byte(" 400 ")) {
		t.Errorf("%d events, answered %s", len(p.events), answer)
	}
}

func TestReadyzTellsWhatIsDegraded(t *testing.T) {
	server, _ := newServer(t, func(s *setup) { s.Degraded = func() []string { return []string{"the ASN database is old"} } })
	response, err := http.Get(server.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status   string
		Warnings []string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != 200 || answer.Status != "ready" || len(answer.Warnings) != 1 {
		t.Errorf("%d %+v %v", response.StatusCode, answer, err)
	}
}

// A busy publisher answers nobody until it is done.
type busy struct {
	came chan bool
	done chan bool
}

func (b busy) Publish(context.Context, webhook.Event, webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error) {
	b.came <- true
	<-b.done
	return webhook.Accepted{}, nil, nil
}

func TestOneAddressDoesNotTakeThePlacesOfAll(t *testing.T) {
	const perAddress = 1024
	b := busy{make(chan bool), make(chan bool)}
	var s setup
	newServer(t, func(made *setup) { s = *made })
	s.Publisher = b
	g, err := gateway.New(s.Options, gateway.Rules{Sources: []webhook.Source{s.source}, TrustedProxies: prefixes("192.0.2.9/32")})
	if err != nil {
		t.Fatal(err)
	}
	text := body(time.Now().Unix(), `1`)
	signature := sign(text)
	post := func(address string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/webhook/inbound", strings.NewReader(text))
		r.RemoteAddr = address
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Agent-Signature", signature)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w
	}
	var all sync.WaitGroup
	for range perAddress {
		all.Go(func() { post("192.0.2.1:1") })
		<-b.came
	}
	if w := post("192.0.2.1:2"); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"overloaded"`) {
		t.Errorf("one more is answered %d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, other := range []string{"192.0.2.2:1", "192.0.2.9:1"} {
		all.Go(func() { post(other) })
		<-b.came
	}
	close(b.done)
	all.Wait()
	all.Go(func() { post("192.0.2.1:3") })
	<-b.came // there is room again
	all.Wait()
}
