package sender

import (
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A trace learns from the transport where the time of a request goes. Its hooks
// run in many goroutines, some of them after the request has ended: of several
// addresses that are dialled at a time the slower ones go on in the background.
// A transport need not call any of them.
type trace struct {
	hooks httptrace.ClientTrace

	mu           sync.Mutex
	dns          span
	connect, tls span
	wait         span
	// connected says that one of the dials has succeeded.
	connected bool
	// reused says that the connection was there before the request.
	reused bool
	remote string
}

// A span is a part of a request.
type span struct{ begin, end time.Time }

// took is how long the span was. One that has begun lasts until now: whoever
// gives a request up wants to see what it was waiting for.
func (s span) took(now time.Time) time.Duration {
	if s.begin.IsZero() {
		return 0
	}
	if s.end.IsZero() {
		s.end = now
	}
	return max(s.end.Sub(s.begin), 0)
}

func newTrace() *trace {
	t := &trace{}
	t.hooks = httptrace.ClientTrace{
		DNSStart:             t.dnsStart,
		DNSDone:              t.dnsDone,
		ConnectStart:         t.connectStart,
		ConnectDone:          t.connectDone,
		TLSHandshakeStart:    t.tlsStart,
		TLSHandshakeDone:     t.tlsDone,
		GotConn:              t.gotConn,
		WroteRequest:         t.wroteRequest,
		GotFirstResponseByte: t.firstByte,
	}
	return t
}

func (t *trace) dnsStart(httptrace.DNSStartInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dns = span{begin: time.Now()}
}

func (t *trace) dnsDone(httptrace.DNSDoneInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dns.end = time.Now()
}

// connectStart counts from the first of the dials.
func (t *trace) connectStart(string, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.connect.begin.IsZero() {
		t.connect.begin = time.Now()
	}
}

// connectDone counts to the first dial that succeeds, or else to the last.
func (t *trace) connectDone(_, _ string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.connected {
		t.connect.end, t.connected = time.Now(), err == nil
	}
}

func (t *trace) tlsStart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tls = span{begin: time.Now()}
}

func (t *trace) tlsDone(tls.ConnectionState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tls.end = time.Now()
}

// gotConn may come again, when an idle connection turns out to be lost.
func (t *trace) gotConn(info httptrace.GotConnInfo) {
	remote := info.Conn.RemoteAddr().String()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remote, t.reused, t.wait = remote, info.Reused, span{}
}

func (t *trace) wroteRequest(info httptrace.WroteRequestInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if info.Err == nil {
		t.wait.begin = time.Now()
	}
}

// firstByte may come before the request is written, if the receiver does not
// read all of it.
func (t *trace) firstByte() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wait.end = time.Now()
}

// tell writes down what is known now, when the request has ended.
func (t *trace) tell(a *webhook.Attempt, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.RemoteAddr = t.remote
	a.Timing.Wait = t.wait.took(now)
	if !t.reused {
		a.Timing.DNS, a.Timing.Connect, a.Timing.TLS = t.dns.took(now), t.connect.took(now), t.tls.took(now)
	}
}
