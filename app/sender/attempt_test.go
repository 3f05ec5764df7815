package sender

import (
	"bufio"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pintle/pintle/app/webhook"
)

// answering answers each request at once, as a proxy or a web framework does.
type answering struct{ header http.Header }

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: a.header, Body: io.NopCloser(strings.NewReader(`{"ok":true}`)), Request: r}, nil
}

// work is a first attempt.
func work(s *webhook.Subscriber) Work {
	return Work{Subscriber: s, Target: NewTarget(s), Job: &webhook.Job{
		Delivery: "dlv_1", Event: &webhook.Event{ID: "evt_1", Type: "order.created", Timestamp: 1731602712, Data: []byte(`{"id":1}`)},
	}}
}

// send makes one attempt with a sender of its own.
func send(t *testing.T, o Options, s *webhook.Subscriber) Answer {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	sender := New(o)
	defer sender.CloseIdleConnections()
	return sender.Send(t.Context(), work(s))
}

// BenchmarkSend measures what an attempt costs beside its transport.
func BenchmarkSend(b *testing.B) {
	sender := New(Options{
		Timeout: 5 * time.Second, UserAgent: "AI-Agent-Webhook/1.0", AgentID: "agent_123",
		Transport: answering{http.Header{
			"Content-Type": {"application/json"}, "Date": {"Thu, 14 Nov 2024 16:45:12 GMT"}, "Server": {"nginx"},
			"Content-Length": {"11"}, "X-Request-Id": {"7f3c2b1a-9d8e-4f5a-b6c7-d8e9f0a1b2c3"}, "Vary": {"Accept-Encoding"},
		}},
	})
	s := &webhook.Subscriber{
		ID: "sub", URL: "https://example.com/hook", Secret: webhook.NewSecret(), Events: []webhook.Pattern{"*"}, Active: true,
		Headers: map[string]string{"X-Api-Key": "k", "X-Tenant": "acme"},
	}
	w := Work{Subscriber: s, Target: NewTarget(s), Job: &webhook.Job{
		Delivery: "dlv_0123456789abcdef0123456789", DueAt: time.Now(),
		Event: &webhook.Event{ID: "evt_0123456789abcdef0123456789", Type: "order.created", Data: []byte(`{"order_id":"A12345"}`)},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if got := sender.Send(b.Context(), w); got.Attempt.Outcome != webhook.OK {
			b.Fatalf("%+v", got)
		}
	}
}

// TestErrorThatQuotesTheReceiverIsBounded has a receiver send no HTTP, which the
// transport quotes in its error, at up to four bytes for one.
func TestErrorThatQuotesTheReceiverIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var receiver sync.WaitGroup
	defer receiver.Wait()
	receiver.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		// An answer to nothing is another error, if it comes early enough.
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			t.Error(err)
		}
		io.WriteString(conn, strings.Repeat("\x01", maxHeader/2)+"\r\n\r\n")
		io.Copy(io.Discard, conn)
	})
	transport := &http.Transport{MaxResponseHeaderBytes: maxHeader}
	defer transport.CloseIdleConnections()
	got := send(t, Options{Transport: transport}, &webhook.Subscriber{URL: "http://" + l.Addr().String(), Secret: "hush"})
	if e := got.Attempt.Error; !strings.Contains(e, "malformed") || len(e) > maxError+len("…") || !utf8.ValidString(e) {
		t.Errorf("an error of %d bytes: %.200s", len(e), e)
	}
}

// FuzzHeaderBlock holds the block of a foreign header to three rules: it has one
// line for each value, sorted by name, and is bounded.
func FuzzHeaderBlock(f *testing.F) {
	f.Add("Server", "nginx", "X-Odd", "a\r\nb: c\x00\x1b[31m\xff\u2028\u009b")
	f.Add("", "", "\n", "\n")
	f.Add("A", strings.Repeat("x", maxBlock), "B", "y")
	f.Add("A: B", strings.Repeat("\xff", maxBlock/2), "B", "é")
	f.Fuzz(func(t *testing.T, one, value, two, other string) {
		header := http.Header{one: {value}}
		header[two] = append(header[two], other)
		block := string(appendHeader(nil, header))
		if len(block) > maxBlock || block != "" && !strings.HasSuffix(block, "\n") || !utf8.ValidString(block) {
			t.Fatalf("a block of %d bytes: %q", len(block), block)
		}
		names := slices.Sorted(maps.Keys(header))
		lines := strings.Count(block, "\n")
		if lines > 2 || len(block) < maxBlock/4 && len(value)+len(other)+len(one)+len(two) < maxBlock/4 && lines != 2 {
			t.Fatalf("%d lines: %q", lines, block)
		}
		if lines > 0 && !strings.HasPrefix(block, oneLine(names[0])+": ") {
			t.Fatalf("%q does not begin with %q", block, names[0])
		}
		for _, r := range strings.ReplaceAll(block, "\n", "") {
			if unicode.IsControl(r) {
				t.Fatalf("%q holds a control character", block)
			}
		}
	})
}

func TestBlockIsCutAtALine(t *testing.T) {
	header := http.Header{"A": {"1"}, "B": {strings.Repeat("x", maxBlock-len("A: 1\n")-len("B: \n")+1)}, "C": {"3"}}
	if got := string(appendHeader(nil, header)); got != "A: 1\n" {
		t.Errorf("the block is %.40q of %d bytes", got, len(got))
	}
}

// TestTraceTellsWhereTheTimeWent plays what a transport calls.
func TestTraceTellsWhereTheTimeWent(t *testing.T) {
	address := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}
	got := func(reused bool) httptrace.GotConnInfo {
		return httptrace.GotConnInfo{Conn: tracedConn{remote: address}, Reused: reused}
	}
	tests := []struct {
		name   string
		play   func(h *httptrace.ClientTrace)
		timing webhook.Timing
		remote string
	}{
		{"nothing is called", func(*httptrace.ClientTrace) {}, webhook.Timing{}, ""},
		{"a new connection", func(h *httptrace.ClientTrace) {
			h.DNSStart(httptrace.DNSStartInfo{})
			time.Sleep(time.Second)
			h.DNSDone(httptrace.DNSDoneInfo{})
			h.ConnectStart("tcp", "")
			time.Sleep(time.Second)
			h.ConnectStart("tcp", "")
			h.ConnectDone("tcp", "", io.EOF)
			time.Sleep(time.Second)
			h.ConnectDone("tcp", "", nil)
			h.TLSHandshakeStart()
			time.Sleep(3 * time.Second)
			h.TLSHandshakeDone(tls.ConnectionState{}, nil)
			h.ConnectDone("tcp", "", io.EOF) // the slower dial, given up
			h.GotConn(got(false))
			h.WroteRequest(httptrace.WroteRequestInfo{})
			time.Sleep(4 * time.Second)
			h.GotFirstResponseByte()
			time.Sleep(time.Second) // the body
		}, webhook.Timing{DNS: time.Second, Connect: 2 * time.Second, TLS: 3 * time.Second, Wait: 4 * time.Second}, "192.0.2.1:443"},
		{"an idle connection, while another is dialled", func(h *httptrace.ClientTrace) {
			h.DNSStart(httptrace.DNSStartInfo{})
			time.Sleep(time.Second)
			h.DNSDone(httptrace.DNSDoneInfo{})
			h.ConnectStart("tcp", "")
			h.GotConn(got(true))
			h.WroteRequest(httptrace.WroteRequestInfo{})
			time.Sleep(time.Second)
			h.GotFirstResponseByte()
		}, webhook.Timing{Wait: time.Second}, "192.0.2.1:443"},
		{"no connection in time", func(h *httptrace.ClientTrace) {
			h.ConnectStart("tcp", "")
			time.Sleep(5 * time.Second)
		}, webhook.Timing{Connect: 5 * time.Second}, ""},
		{"no answer in time", func(h *httptrace.ClientTrace) {
			h.GotConn(got(true))
			h.WroteRequest(httptrace.WroteRequestInfo{})
			time.Sleep(5 * time.Second)
		}, webhook.Timing{Wait: 5 * time.Second}, "192.0.2.1:443"},
		{"an answer before the request was written", func(h *httptrace.ClientTrace) {
			h.GotConn(got(true))
			h.GotFirstResponseByte()
			time.Sleep(time.Second)
			h.WroteRequest(httptrace.WroteRequestInfo{})
		}, webhook.Timing{}, "192.0.2.1:443"},
		{"a lost connection, and another that takes no request", func(h *httptrace.ClientTrace) {
			h.GotConn(got(true))
			h.WroteRequest(httptrace.WroteRequestInfo{})
			time.Sleep(time.Second)
			h.GotConn(got(true))
			h.WroteRequest(httptrace.WroteRequestInfo{Err: io.EOF})
			time.Sleep(time.Second)
		}, webhook.Timing{}, "192.0.2.1:443"},
		{"a lost connection, and another", func(h *httptrace.ClientTrace) {
			h.GotConn(got(true))
			h.WroteRequest(httptrace.WroteRequestInfo{})
			time.Sleep(time.Second)
			h.ConnectStart("tcp", "")
			time.Sleep(2 * time.Second)
			h.ConnectDone("tcp", "", nil)
			h.GotConn(got(false))
			h.WroteRequest(httptrace.WroteRequestInfo{})
			time.Sleep(3 * time.Second)
			h.GotFirstResponseByte()
		}, webhook.Timing{Connect: 2 * time.Second, Wait: 3 * time.Second}, "192.0.2.1:443"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				trace := newTrace()
				tt.play(&trace.hooks)
				var a webhook.Attempt
				trace.tell(&a, time.Now())
				if a.Timing != tt.timing || a.RemoteAddr != tt.remote {
					t.Errorf("told %+v and %q, want %+v and %q", a.Timing, a.RemoteAddr, tt.timing, tt.remote)
				}
			})
		})
	}
}

// TestTraceOutlivesItsRequest is for the race detector.
func TestTraceOutlivesItsRequest(t *testing.T) {
	trace := newTrace()
	h := &trace.hooks
	var hooks sync.WaitGroup
	for _, hook := range []func(){
		func() { h.DNSStart(httptrace.DNSStartInfo{}) }, func() { h.DNSDone(httptrace.DNSDoneInfo{}) },
		func() { h.ConnectStart("tcp", "") }, func() { h.ConnectDone("tcp", "", nil) },
		h.TLSHandshakeStart, func() { h.TLSHandshakeDone(tls.ConnectionState{}, nil) },
		func() { h.GotConn(httptrace.GotConnInfo{Conn: tracedConn{remote: &net.TCPAddr{}}}) },
		func() { h.WroteRequest(httptrace.WroteRequestInfo{}) }, h.GotFirstResponseByte,
	} {
		hooks.Go(hook)
	}
	var a webhook.Attempt
	trace.tell(&a, time.Now())
	hooks.Wait()
}

// TestAttemptTellsOfARealTransport makes sure that the hooks are the ones that
// net/http calls.
func TestAttemptTellsOfARealTransport(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Custom", "yes")
	}))
	defer server.Close()
	transport := server.Client().Transport.(*http.Transport)
	defer transport.CloseIdleConnections()
	sender, w := New(Options{Timeout: 5 * time.Second, Transport: transport}), work(&webhook.Subscriber{URL: server.URL, Secret: "s"})
	for _, reused := range []bool{false, true} {
		got := sender.Send(t.Context(), w).Attempt
		if got.Outcome != webhook.OK || got.RemoteAddr != server.Listener.Addr().String() || got.Timing.Wait <= 0 || got.Timing.DNS != 0 {
			t.Errorf("the attempt is %+v", got)
		}
		if dialled := got.Timing.Connect > 0 && got.Timing.TLS > 0; dialled == reused {
			t.Errorf("reused %v: the timing is %+v", reused, got.Timing)
		}
		if !strings.Contains(string(got.ResponseHeader), "X-Custom: yes\n") {
			t.Errorf("the answer's header is %q", got.ResponseHeader)
		}
	}
}

// tracedConn is a connection of which only the address is asked.
type tracedConn struct {
	net.Conn
	remote net.Addr
}

func (c tracedConn) RemoteAddr() net.Addr { return c.remote }
