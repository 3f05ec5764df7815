package sender

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

// A forwarder is an HTTP proxy that connects everything to one address, whatever
// it is asked for.
type forwarder struct {
	to     string
	refuse bool

	mu    sync.Mutex
	asked []string // the method and the host
	auth  []string
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked, f.auth = append(f.asked, r.Method+" "+r.Host), append(f.auth, r.Header.Get("Proxy-Authorization"))
	f.mu.Unlock()
	if f.refuse {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	there, err := net.Dial("tcp", f.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer here.Close()
	io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	pump(here, there)
}

// pump carries bytes both ways until either end is closed.
func pump(one, other net.Conn) {
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{one, other}, {other, one}} {
		both.Go(func() {
			io.Copy(way[0], way[1])
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestProxyIsUsedWhereItIsConfigured(t *testing.T) {
	authority := certify(t, nil, nil)
	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	receiver := secure(t, &tls.Config{Certificates: []tls.Certificate{certify(t, &authority, func(c *x509.Certificate) { c.DNSNames = []string{"receiver.test"} }).tls()}},
		sandbox.NewReceiver(sandbox.ReceiverOptions{}))
	f := &forwarder{to: parse(t, receiver).Host}
	proxy := httptest.NewServer(f)
	defer proxy.Close()
	address := parse(t, proxy.URL)
	address.User = url.UserPassword("me", "hush")
	// The guard allows nothing that is not public, and so not the proxy either.
	guard := security.NewOutboundGuard(nil)
	guard.Resolver = answers(t, map[string]string{"public.test": "93.184.216.34", "private.test": "10.0.0.1"})
	transport := NewTransport(guard, 1, address)
	transport.TLSClientConfig.RootCAs = roots
	for _, tt := range []struct {
		url     string
		outcome webhook.Outcome
		asked   string
	}{
		{"https://receiver.test/", webhook.OK, "CONNECT receiver.test:443"}, // a name that only the proxy resolves
		{"http://public.test/hook", webhook.OK, "POST public.test"},
		{"http://93.184.216.34/hook", webhook.OK, "POST 93.184.216.34"},
		{"http://private.test/", webhook.Blocked, ""},
		{"https://private.test/", webhook.Blocked, ""},
		{"http://10.0.0.1/", webhook.Blocked, ""},
		{"http://127.0.0.1:" + address.Port() + "/", webhook.Blocked, ""},
		{"http://localhost/", webhook.Blocked, ""},
		{"http://2130706433/", webhook.Blocked, ""},
		{"https://[::ffff:169.254.169.254]/", webhook.Blocked, ""},
	} {
		f.asked, f.auth = nil, nil
		got := send(t, Options{Transport: transport}, &webhook.Subscriber{URL: tt.url, Secret: "s"}).Attempt
		if got.Outcome != tt.outcome || strings.Contains(got.Error, "hush") || strings.Join(f.asked, ", ") != tt.asked {
			t.Errorf("%s: the attempt is %s %q, and the proxy was asked for %q, want %s and %q", tt.url, got.Outcome, got.Error, f.asked, tt.outcome, tt.asked)
		}
		if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:hush")); len(f.auth) > 0 && f.auth[0] != want {
			t.Errorf("%s: the proxy was given %q", tt.url, f.auth[0])
		}
	}
	token := send(t, Options{Transport: transport}, client(func(s *webhook.Subscriber) {
		s.URL, s.OAuth2.TokenURL = "http://public.test/", "http://private.test/token"
	})).Attempt
	if token.Outcome != webhook.Blocked {
		t.Errorf("a token endpoint behind the proxy: %+v", token)
	}
	f.refuse = true
	got := send(t, Options{Transport: transport}, &webhook.Subscriber{URL: "https://receiver.test/", Secret: "s"}).Attempt
	if got.Outcome != webhook.Connect || !strings.Contains(got.Error, "the proxy answered 403") {
		t.Errorf("a proxy that refuses: %+v", got)
	}
	proxy.Close()
	if got := send(t, Options{Transport: transport}, &webhook.Subscriber{URL: "https://receiver.test/", Secret: "s"}).Attempt; got.Outcome != webhook.Connect {
		t.Errorf("a proxy that is gone: %+v", got)
	}
}

// TestCertificateIsNotForTheProxy has the proxy speak TLS, and ask for one.
func TestCertificateIsNotForTheProxy(t *testing.T) {
	authority := certify(t, nil, nil)
	me := certify(t, &authority, nil)
	shown := -1
	receiver := secure(t, &tls.Config{Certificates: []tls.Certificate{certify(t, &authority, nil).tls()}, ClientAuth: tls.RequireAnyClientCert},
		sandbox.NewReceiver(sandbox.ReceiverOptions{}))
	f := &forwarder{to: parse(t, receiver).Host}
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = len(r.TLS.PeerCertificates)
		f.ServeHTTP(w, r)
	}))
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{certify(t, &authority, nil).tls()}, ClientAuth: tls.RequestClientCert}
	proxy.StartTLS()
	defer proxy.Close()
	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	transport := newTransport(loopback(), 1, parse(t, proxy.URL), &tls.Config{RootCAs: roots}, usualPatience)
	got := send(t, Options{Transport: transport}, &webhook.Subscriber{URL: "https://127.0.0.1/", Secret: "s", TLS: webhook.ClientTLS{
		Cert: me.certPEM(), Key: me.keyPEM(t), CA: authority.certPEM(),
	}}).Attempt
	if got.Outcome != webhook.OK || shown != 0 {
		t.Errorf("%d certificates were shown to the proxy; the attempt is %+v", shown, got)
	}
}

func TestProxyMaySpeakSOCKS(t *testing.T) {
	receiver := misbehaving(t, sandbox.Faults{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var proxy sync.WaitGroup
	defer proxy.Wait()
	defer l.Close()
	asked := ""
	proxy.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		hello := make([]byte, 3) // version 5, one method, no authentication
		io.ReadFull(r, hello)
		conn.Write([]byte{5, 0})
		request := make([]byte, 5) // version 5, connect, 0, a name, its length
		io.ReadFull(r, request)
		name := make([]byte, int(request[4])+2)
		io.ReadFull(r, name)
		asked = string(name[:len(name)-2])
		there, err := net.Dial("tcp", parse(t, receiver).Host)
		if err != nil {
			return
		}
		defer there.Close()
		conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		pump(conn, there)
	})
	guard := security.NewOutboundGuard(nil)
	guard.Resolver = answers(t, nil)
	got := send(t, Options{Transport: NewTransport(guard, 1, parse(t, "socks5://"+l.Addr().String()))}, &webhook.Subscriber{URL: "http://receiver.test/", Secret: "s"})
	if got.Attempt.Outcome != webhook.OK || asked != "receiver.test" {
		t.Errorf("asked for %q; the attempt is %+v", asked, got.Attempt)
	}
}
