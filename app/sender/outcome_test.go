package sender

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// TestMain makes the test the child of the pools that it uses. Otherwise the
// environment names a proxy that is not there, for all tests: net/http reads it once.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == transform.WorkerCommand {
		os.Exit(transform.Serve())
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		os.Setenv(name, "http://127.0.0.1:1")
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		os.Unsetenv(name)
	}
	goleak.VerifyTestMain(m)
}

// loopback allows what runs on this machine.
func loopback() *security.OutboundGuard {
	return security.NewOutboundGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
}

// misbehaving serves a receiver of the sandbox and returns its URL.
func misbehaving(t *testing.T, faults sandbox.Faults) string {
	t.Helper()
	if err := faults.Validate(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sandbox.NewReceiver(sandbox.ReceiverOptions{Faults: faults}))
	t.Cleanup(server.Close)
	return server.URL
}

// raw serves a receiver that is given each connection once the request's header
// has come, and returns its URL.
func raw(t *testing.T, answer func(conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	t.Cleanup(func() { l.Close(); connections.Wait() })
	connections.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					answer(conn)
				}
			})
		}
	})
	return "http://" + l.Addr().String()
}

// A pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (p pair) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key, Leaf: p.cert}
}

// certify makes a certificate; without an issuer it vouches for itself.
func certify(t *testing.T, issuer *pair, change func(*x509.Certificate)) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: issuer == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}

// secure serves over TLS and returns its URL.
func secure(t *testing.T, config *tls.Config, handler http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS, server.EnableHTTP2 = config, true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// TestEveryOutcomeIsReached calls receivers that misbehave in every way that the
// sandbox knows, and some more.
func TestEveryOutcomeIsReached(t *testing.T) {
	const timeout = 300 * time.Millisecond
	authority := certify(t, nil, nil)
	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	healthy := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	serve := func(change func(*x509.Certificate)) string {
		return secure(t, &tls.Config{Certificates: []tls.Certificate{certify(t, &authority, change).tls()}}, healthy)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	selfSigned := certify(t, nil, func(c *x509.Certificate) { c.IsCA = false })
	tlsPort := serve(nil)

	tests := []struct {
		name    string
		url     string
		outcome webhook.Outcome
		code    int
		error   string // that it contains
	}{
		{"healthy", misbehaving(t, sandbox.Faults{}), webhook.OK, 200, ""},
		{"no content", misbehaving(t, sandbox.Faults{Status: 204}), webhook.OK, 204, ""},
		{"healthy over TLS", tlsPort, webhook.OK, 200, ""},
		{"server error", misbehaving(t, sandbox.Faults{Status: 500}), webhook.HTTPStatus, 500, ""},
		{"gone", misbehaving(t, sandbox.Faults{Status: 410}), webhook.HTTPStatus, 410, ""},
		{"redirect", misbehaving(t, sandbox.Faults{Status: 302, Location: "http://169.254.169.254/"}), webhook.HTTPStatus, 302, ""},
		{"redirect to keep the method", misbehaving(t, sandbox.Faults{Status: 308, Location: "/elsewhere"}), webhook.HTTPStatus, 308, ""},
		{"delay", misbehaving(t, sandbox.Faults{Delay: timeout / 10}), webhook.OK, 200, ""},
		{"delay beyond the timeout", misbehaving(t, sandbox.Faults{Delay: 10 * timeout}), webhook.Timeout, 0, "deadline"},
		{"hang", misbehaving(t, sandbox.Faults{Hang: true}), webhook.Timeout, 0, "deadline"},
		{"reset", misbehaving(t, sandbox.Faults{Reset: true}), webhook.Reset, 0, "reset"},
		{"garbage", misbehaving(t, sandbox.Faults{Garbage: true}), webhook.Reset, 0, "malformed"},
		{"huge header", misbehaving(t, sandbox.Faults{HeaderSize: 1 << 20}), webhook.TooLarge, 0, "header"},
		{"huge body", misbehaving(t, sandbox.Faults{BodySize: 1 << 30}), webhook.OK, 200, ""},
		{"huge body of a failure", misbehaving(t, sandbox.Faults{Status: 500, BodySize: 1 << 30}), webhook.HTTPStatus, 500, ""},
		{"slow body", misbehaving(t, sandbox.Faults{BodySize: 1000, BodyTime: 10 * timeout}), webhook.OK, 200, "read the answer"},
		{"early close", raw(t, func(net.Conn) {}), webhook.Reset, 0, "EOF"},
		{"early close of the header", raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nServer: x\r\n") }), webhook.Reset, 0, "EOF"},
		{"early close of the body", raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort") }), webhook.OK, 200, "read the answer"},
		{"flood of informational answers", raw(t, func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); err != nil {
					return
				}
			}
		}), webhook.TooLarge, 0, "header"},
		{"header that never ends", raw(t, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X: y\r\n"); err != nil {
					return
				}
			}
		}), webhook.TooLarge, 0, "header"},
		{"status of no such kind", raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 042 Odd\r\n\r\n") }), webhook.HTTPStatus, 42, ""},
		{"switching protocols", raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") }), webhook.HTTPStatus, 101, ""},
		{"plain HTTP on a port of TLS", strings.Replace(tlsPort, "https:", "http:", 1), webhook.HTTPStatus, 400, ""},
		{"TLS on a port of plain HTTP", strings.Replace(misbehaving(t, sandbox.Faults{}), "http:", "https:", 1), webhook.TLS, 0, "tls"},
		{"certificate of nobody", secure(t, &tls.Config{Certificates: []tls.Certificate{selfSigned.tls()}}, healthy), webhook.TLS, 0, "unknown authority"},
		{"expired certificate", serve(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), webhook.TLS, 0, "expired"},
		{"certificate of another", serve(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.test"} }), webhook.TLS, 0, "127.0.0.1"},
		{"old TLS", secure(t, &tls.Config{Certificates: []tls.Certificate{certify(t, &authority, nil).tls()}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, healthy), webhook.TLS, 0, "version"},
		{"large header over HTTP/2", secure(t, &tls.Config{Certificates: []tls.Certificate{certify(t, &authority, nil).tls()}},
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for i := range 34 {
					w.Header().Set(fmt.Sprintf("X-Padding-%d", i), strings.Repeat("0", 1000))
				}
			})), webhook.TooLarge, 0, "header"},
		{"refused", "http://" + closed.Addr().String(), webhook.Connect, 0, "refused"},
		{"no such name", "http://nowhere.invalid/", webhook.DNS, 0, "nowhere.invalid"},
		{"private address", "http://10.0.0.1/", webhook.Blocked, 0, `"10.0.0.1/32"`},
		{"metadata", "http://[::ffff:169.254.169.254]/latest/", webhook.Blocked, 0, `"169.254.169.254/32"`},
		{"name of a private address", "http://private.test/", webhook.Blocked, 0, `"192.168.0.1/32"`},
	}
	guard := loopback()
	guard.Resolver = answers(t, map[string]string{"private.test": "192.168.0.1"})
	transport := NewTransport(guard, 1, nil)
	transport.TLSClientConfig.RootCAs = roots
	sender := New(Options{Transport: transport, Timeout: timeout, UserAgent: "test"})
	defer sender.CloseIdleConnections()
	seen := map[webhook.Outcome]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			started := time.Now()
			got := sender.Send(t.Context(), work(&webhook.Subscriber{URL: tt.url, Secret: "s"})).Attempt
			took := time.Since(started)
			runtime.ReadMemStats(&after)
			if got.Outcome != tt.outcome || got.Code != tt.code || !strings.Contains(got.Error, tt.error) || tt.error == "" && got.Error != "" {
				t.Errorf("the attempt is %s %d %q, want %s %d %q", got.Outcome, got.Code, got.Error, tt.outcome, tt.code, tt.error)
			}
			if took > 10*timeout || len(got.ResponseBody) > maxKept || len(got.ResponseHeader) > maxBlock || len(got.Error) > maxError+len("…") {
				t.Errorf("it took %s and kept %d, %d and %d bytes", took, len(got.ResponseHeader), len(got.ResponseBody), len(got.Error))
			}
			// What the receivers allocate, in this process too, is more than we do.
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 16<<20 {
				t.Errorf("it took %d bytes of memory", bytes)
			}
			seen[got.Outcome] = true
		})
	}
	// The others are those that no receiver causes.
	seen[webhook.Transformation], seen[webhook.Interrupted] = true, true
	for _, o := range webhook.Outcomes() {
		if !seen[o] {
			t.Errorf("no receiver leads to %s", o)
		}
	}
}

// answers resolves names to IPv4 addresses, and knows no others.
func answers(t *testing.T, known map[string]string) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		var server sync.WaitGroup
		t.Cleanup(server.Wait)
		server.Go(func() {
			defer there.Close()
			serveDNS(there, known)
		})
		return here, nil
	}}
}

func TestRetryAfterIsHeardInBothForms(t *testing.T) {
	for _, faults := range []sandbox.Faults{
		{Status: 503, RetryAfter: 90 * time.Second},
		{Status: 429, RetryAfter: 90 * time.Second, RetryAfterDate: true},
	} {
		got := send(t, Options{Transport: NewTransport(loopback(), 1, nil)}, &webhook.Subscriber{URL: misbehaving(t, faults), Secret: "s"})
		if got.RetryAfter < 85*time.Second || got.RetryAfter > 91*time.Second || got.Attempt.Code != faults.Status {
			t.Errorf("%+v: the receiver is left alone for %s", faults, got.RetryAfter)
		}
	}
}

func TestHugeRetryAfterIsTheLongest(t *testing.T) {
	for _, value := range []string{"3601", "9223372036854775808", "99999999999999999999", "Sat, 01 Jan 9999 00:00:00 GMT"} {
		if got := retryAfter(value, time.Now()); got != webhook.MaxRetryAfter {
			t.Errorf("%s is %s, want %s", value, got, webhook.MaxRetryAfter)
		}
	}
}

func TestStopCutsAnAttemptShort(t *testing.T) {
	stopping := errors.New("stopping")
	arrived := make(chan struct{})
	receiver := raw(t, func(conn net.Conn) {
		close(arrived)
		io.Copy(io.Discard, conn)
	})
	ctx, stop := context.WithCancelCause(t.Context())
	go func() {
		<-arrived
		stop(stopping)
	}()
	sender := New(Options{Transport: NewTransport(loopback(), 1, nil), Timeout: time.Minute})
	defer sender.CloseIdleConnections()
	if got := sender.Send(ctx, work(&webhook.Subscriber{URL: receiver, Secret: "s"})).Attempt; got.Outcome != webhook.Interrupted || got.Error != "stopping" {
		t.Errorf("the attempt is %+v", got)
	}
}

// TestEnvironmentNamesNoProxy has a receiver be called whatever TestMain says. Its
// name is not local: for local ones net/http reads no variables.
func TestEnvironmentNamesNoProxy(t *testing.T) {
	if proxy, err := http.ProxyFromEnvironment(httptest.NewRequest(http.MethodPost, "http://receiver.test/", nil)); proxy == nil {
		t.Fatalf("the environment names no proxy: this test proves nothing; %v", err)
	}
	receiver, err := url.Parse(misbehaving(t, sandbox.Faults{}))
	if err != nil {
		t.Fatal(err)
	}
	guard := loopback()
	guard.Resolver = answers(t, map[string]string{"receiver.test": "127.0.0.1"})
	got := send(t, Options{Transport: NewTransport(guard, 1, nil)}, &webhook.Subscriber{URL: "http://receiver.test:" + receiver.Port(), Secret: "s"})
	if got.Attempt.Outcome != webhook.OK || got.Attempt.RemoteAddr != receiver.Host {
		t.Errorf("the attempt is %+v", got.Attempt)
	}
}

func TestErrorsOfTheTransportHaveAnOutcome(t *testing.T) {
	for want, errs := range map[webhook.Outcome][]error{
		webhook.Connect: {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, &net.OpError{Op: "proxyconnect", Err: errors.New("x")},
			&net.OpError{Op: "socks connect", Err: errors.New("x")}, &proxyError{"407 x"}, &tokenError{"x"}},
		webhook.Reset:   {syscall.EPIPE, &net.OpError{Op: "read", Err: syscall.ECONNRESET}, io.EOF, errors.New("anything else")},
		webhook.TLS:     {&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, &materialError{errors.New("x")}, x509.HostnameError{Certificate: &x509.Certificate{}}},
		webhook.Timeout: {context.DeadlineExceeded, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}, &net.DNSError{IsTimeout: true}},
		webhook.DNS:     {&net.DNSError{IsNotFound: true}},
		webhook.Blocked: {&net.OpError{Op: "dial", Err: fmt.Errorf("%w: x", security.ErrBlocked)}},
	} {
		for _, err := range errs {
			if got := outcomeOf(t.Context(), t.Context(), err); got != want {
				t.Errorf("%T %v is %s, want %s", err, err, got, want)
			}
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "90", " 90 ", "-1", "1.5", "99999999999999999999", "Sat, 01 Jan 2000 00:01:30 GMT",
		"Saturday, 01-Jan-00 00:01:30 GMT", "Sat Jan  1 00:01:30 2000", "Fri, 31 Dec 1999 23:59:59 GMT", "Sat, 01 Jan 9999 00:00:00 GMT"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		if wait := retryAfter(value, now); wait < 0 || wait > webhook.MaxRetryAfter {
			t.Errorf("%q is %s", value, wait)
		}
	})
}
