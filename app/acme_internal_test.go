package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

func openStore(t *testing.T, path string) webhook.Store {
	t.Helper()
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	store, err := storage.Open(t.Context(), storage.Options{Path: path, Schema: string(schema), Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// issue makes a certificate for the name or address, signed by itself, with its
// key, as the library keeps it.
func issue(t *testing.T, name string, life time.Duration) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

// keep puts what issue made where the library looks for it.
func keep(t *testing.T, store webhook.Store, key string, pair []byte) {
	t.Helper()
	if err := store.PutSetting(t.Context(), "acme:"+key, string(pair)); err != nil {
		t.Fatal(err)
	}
}

// serveTLS serves on an address of its own, as the inbound endpoint is.
func serveTLS(t *testing.T, l net.Listener, config *tls.Config) (stop func()) {
	t.Helper()
	server := inboundServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }), config)
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	return func() {
		// Unlike Close, this waits for the connection that lingers after it refused a header.
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWhatComesByACMEIsKeptInTheOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	store := openStore(t, path)
	cache := acmeCache{store, slog.New(slog.DiscardHandler)}
	get := func(key, want string) {
		t.Helper()
		got, err := cache.Get(t.Context(), key)
		if want == "" && (got != nil || !errors.Is(err, autocert.ErrCacheMiss)) || want != "" && (string(got) != want || err != nil) {
			t.Errorf("%s is %q, %v; want %q", key, got, err, want)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	get("a.example", "")
	check(cache.Delete(t.Context(), "a.example"))
	get("a.example", "")
	check(cache.Put(t.Context(), "a.example", []byte("first")))
	check(cache.Put(t.Context(), "a.example+rsa", []byte("other")))
	check(cache.Put(t.Context(), "a.example", []byte("second")))
	get("a.example", "second")
	check(store.Close())

	store = openStore(t, path)
	defer store.Close()
	cache.store = store
	get("a.example", "second")
	get("a.example+rsa", "other")
	check(cache.Delete(t.Context(), "a.example"))
	get("a.example", "")
	if _, err := store.Setting(t.Context(), "a.example+rsa"); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("it is kept under a name that could be another setting's: %v", err)
	}
}

func TestHandshakesAreAnsweredFromWhatIsThereAndForListedNamesOnly(t *testing.T) {
	var asked atomic.Int32
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer authority.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	store := openStore(t, filepath.Join(t.TempDir(), "pintle.db"))
	defer store.Close()
	m := newACME(config.Inbound{ACMEDomains: []string{"A.example", "late.example"}, ACMEDirectory: authority.URL}, store, "test", slog.New(slog.DiscardHandler))
	defer m.end()
	keep(t, store, "a.example", issue(t, "a.example", 90*24*time.Hour))
	keep(t, store, "a.example+token", issue(t, "a.example", time.Hour))
	keep(t, store, "other.example", issue(t, "other.example", 90*24*time.Hour)) // from an older configuration

	l := listen(t)
	defer serveTLS(t, l, m.TLS())()
	dial := func(name string, c *tls.Config) (tls.ConnectionState, error) {
		t.Helper()
		c.ServerName, c.InsecureSkipVerify = name, true
		conn, err := tls.Dial("tcp", l.Addr().String(), c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.ConnectionState(), nil
	}
	if _, err := dial("a.example", &tls.Config{}); err == nil {
		t.Error("there was a handshake before any certificate was looked for")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("a handshake made %d requests to the authority", n)
	}
	if m.visit(t.Context()) {
		t.Error("all certificates are there, though the authority gives none")
	}
	before := asked.Load()
	if before == 0 {
		t.Error("the authority was not asked for what is missing")
	}
	if err := m.Err(); err == nil || !strings.Contains(err.Error(), "late.example") || strings.Contains(err.Error(), "a.example") {
		t.Errorf("the error is %v", err)
	}
	for _, tt := range []struct {
		name   string
		config *tls.Config
		ok     bool
		says   string
	}{
		{"a.example", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, true, "h2"},
		{"A.EXAMPLE", &tls.Config{MaxVersion: tls.VersionTLS12}, true, ""},
		{"a.example", &tls.Config{MinVersion: tls.VersionTLS13}, true, ""},
		{"a.example", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false, "protocol version"},
		{"a.example", &tls.Config{NextProtos: []string{acme.ALPNProto}}, true, acme.ALPNProto},
		{"late.example", &tls.Config{}, false, "internal error"},
		{"other.example", &tls.Config{}, false, "unrecognized name"},
		{"other.example", &tls.Config{NextProtos: []string{acme.ALPNProto}}, false, "unrecognized name"},
		{"x.a.example", &tls.Config{}, false, "unrecognized name"},
		{"", &tls.Config{}, true, ""},
	} {
		state, err := dial(tt.name, tt.config)
		switch {
		case (err == nil) != tt.ok:
			t.Errorf("%s %v: %v, want success %v", tt.name, tt.config.NextProtos, err, tt.ok)
		case err == nil && (state.NegotiatedProtocol != tt.says || state.PeerCertificates[0].DNSNames[0] != "a.example"):
			t.Errorf("%s: protocol %q, certificate of %v", tt.name, state.NegotiatedProtocol, state.PeerCertificates[0].DNSNames)
		case err != nil && !strings.Contains(err.Error(), tt.says):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	if err := m.manager.HostPolicy(t.Context(), "other.example"); err == nil {
		t.Error("the policy lets an order for a name that is not listed through")
	}
	if n := asked.Load(); n != before {
		t.Errorf("handshakes made %d requests to the authority", n-before)
	}
}

func TestStopCutsAnOrder(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	authority := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	}))
	defer authority.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer close(release)
	store := openStore(t, filepath.Join(t.TempDir(), "pintle.db"))
	defer store.Close()
	var log bytes.Buffer
	m := newACME(config.Inbound{ACMEDomains: []string{"a.example"}, ACMEDirectory: authority.URL}, store, "test", slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Watch(ctx)
	}()
	<-asked
	if err := m.Err(); err == nil || !strings.Contains(err.Error(), "being ordered") {
		t.Errorf("during the order the error is %v", err)
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
	if log.Len() > 0 {
		t.Errorf("a stop is logged as a fault: %s", &log)
	}
}

// TestFailedOrdersAreRepeatedRarelyAndLoggedOnce asks an authority that is not
// there for a day.
func TestFailedOrdersAreRepeatedRarelyAndLoggedOnce(t *testing.T) {
	store := openStore(t, filepath.Join(t.TempDir(), "pintle.db"))
	defer store.Close()
	var log bytes.Buffer
	var orders int
	synctest.Test(t, func(t *testing.T) {
		m := newACME(config.Inbound{ACMEDomains: []string{"a.example"}, ACMEDirectory: "http://authority.example/"}, store, "test", slog.New(slog.NewTextHandler(&log, nil)))
		m.manager.Cache = nothingKept{}
		m.manager.Client.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			orders++
			return nil, errors.New("nobody is there")
		})}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		m.Watch(ctx)
		if err := m.Err(); err == nil || !strings.Contains(err.Error(), "nobody is there") {
			t.Errorf("the error is %v", err)
		}
	})
	if orders < 24 || orders > 30 {
		t.Errorf("the authority was asked %d times in a day", orders)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("that was logged %d times:\n%s", n, &log)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// nothingKept is a cache for fake time, in which the real file, whose goroutines
// are outside, cannot be waited for.
type nothingKept struct{}

func (nothingKept) Get(context.Context, string) ([]byte, error) { return nil, autocert.ErrCacheMiss }
func (nothingKept) Put(context.Context, string, []byte) error   { return nil }
func (nothingKept) Delete(context.Context, string) error        { return nil }

func TestCertificateThatWasNotRenewedIsSaidToBeLate(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]bool{60 * 24 * time.Hour: false, 29 * 24 * time.Hour: false, 14 * 24 * time.Hour: true, -time.Hour: true} {
		c := &tls.Certificate{Leaf: &x509.Certificate{NotBefore: now.Add(left - 90*24*time.Hour), NotAfter: now.Add(left)}}
		if err := late(c, now); (err != nil) != want {
			t.Errorf("%v before its end: %v, want late %v", left, err, want)
		}
	}
}
