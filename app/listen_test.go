package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app"
	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/webhook"
)

// running starts an appliance and returns it with the client on its socket.
func running(t *testing.T, c *config.Config) (*app.App, *client.Client) {
	t.Helper()
	a, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := client.New(client.Options{Socket: c.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		trusted.Close()
		stop(t, a)
	})
	return a, trusted
}

func TestAdminListenerTakesTokensMadeOnTheSocket(t *testing.T) {
	a, trusted := running(t, configure(t))
	made, err := trusted.CreateToken(t.Context(), api.NewToken{Name: "test", Role: webhook.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	remote, err := client.New(client.Options{Server: a.AdminURL(), Token: made.Token})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	stats, err := remote.Stats(t.Context())
	if err != nil || stats.Role != webhook.Viewer || stats.InboundURL != a.InboundURL("/webhook/inbound") || stats.StartedAt.IsZero() {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if err := trusted.RevokeToken(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if _, err := remote.Stats(t.Context()); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("with a token revoked on the socket: %v", err)
	}
}

func TestAdminListenerCanBeOff(t *testing.T) {
	a, trusted := running(t, configure(t, "admin.listen="))
	if a.AdminURL() != "" {
		t.Errorf("it is at %s", a.AdminURL())
	}
	if err := trusted.Alive(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAdminPortThatIsTakenFailsTheStartAndHoldsNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := configure(t, "admin.listen="+taken.Addr().String())
	if _, err := start(t, c); err == nil || !strings.Contains(err.Error(), "admin listener") {
		t.Fatalf("started on a port that is taken: %v", err)
	}
	c.Admin.Listen = "127.0.0.1:0"
	running(t, c)
}

// certify writes a certificate for the name, signed by itself, and its key.
func certify(t *testing.T, name string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", encoded), roots
}

func TestAdminListenerSpeaksTLSUnderTheNamesOfItsCertificate(t *testing.T) {
	cert, key, roots := certify(t, "pintle.example")
	a, _ := running(t, configure(t, "admin.tls_cert="+cert, "admin.tls_key="+key))
	if !strings.HasPrefix(a.AdminURL(), "https://127.0.0.1:") {
		t.Fatalf("it is at %s", a.AdminURL())
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for host, want := range map[string]int{"pintle.example": 200, "other.example": 403} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", a.AdminURL()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want || response.ProtoMajor != 2 {
			t.Errorf("%s: %s over HTTP/%d, want %d", host, response.Status, response.ProtoMajor, want)
		}
	}
	old := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11}}
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.AdminURL()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := old.RoundTrip(r); err == nil {
		response.Body.Close()
		t.Error("it speaks TLS 1.1")
	}

	c := configure(t, "admin.tls_cert="+key, "admin.tls_key="+key)
	if a, err := start(t, c); err == nil || !strings.Contains(err.Error(), "admin.tls_cert") {
		if err == nil {
			stop(t, a)
		}
		t.Errorf("with a file that holds no certificate: %v", err)
	}
}

func TestSocketIsAloneInItsPlaceAndGoneAfterTheStop(t *testing.T) {
	c := configure(t)
	a, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	names := func() (list []string) {
		entries, err := os.ReadDir(filepath.Dir(c.Socket()))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := e.Name(); strings.HasPrefix(name, "s") || strings.HasSuffix(name, ".sock") {
				list = append(list, name)
			}
		}
		return list
	}
	if got := names(); len(got) != 1 || got[0] != "pintle.db.sock" {
		t.Errorf("while it runs there is %v", got)
	}
	stop(t, a)
	if got := names(); len(got) != 0 {
		t.Errorf("it leaves %v behind", got)
	}
}

func TestStopEndsOpenTails(t *testing.T) {
	c := configure(t)
	a, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := client.New(client.Options{Socket: c.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	defer trusted.Close()
	defer http.DefaultClient.CloseIdleConnections()
	// Requests are refused until the tail, whose beginning only the appliance
	// sees, tells of one.
	begun := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for {
			select {
			case <-begun:
				return
			default:
				response, err := http.Post(a.InboundURL("/webhook/inbound"), "text/plain", nil)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
			}
		}
	})
	stopped := false
	for h, err := range trusted.Tail(t.Context(), api.TailQuery{}) {
		switch {
		case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Errorf("the tail ended with %v", err)
		case err == nil && !stopped:
			if h.Kind != api.KindRejection || h.Error != "unsupported_media_type" || h.Status != 415 || h.RequestID == "" {
				t.Errorf("the tail tells %+v", h)
			}
			close(begun)
			sender.Wait()
			stop(t, a) // within its five seconds
			stopped = true
		}
	}
	if !stopped {
		t.Error("the tail told nothing")
		stop(t, a)
	}
}

func TestSandboxPostsToTheInboundEndpointAndMetricsTellOfIt(t *testing.T) {
	a, trusted := running(t, configure(t))
	samples, err := trusted.Samples(t.Context())
	if err != nil || len(samples) < 5 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, s := range samples {
		if !webhook.ValidType(s.Event) || !json.Valid(s.Data) {
			t.Errorf("sample %+v", s)
		}
	}
	send := func(s api.SandboxSend) api.SandboxAnswer {
		t.Helper()
		s.Event, s.Data = samples[0].Event, samples[0].Data
		answer, err := trusted.SandboxSend(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	first := send(api.SandboxSend{IdempotencyKey: "k"})
	if first.Status != 200 || first.EventID == "" || first.Duplicate || first.DurationMS <= 0 {
		t.Errorf("sent: %+v", first)
	}
	if again := send(api.SandboxSend{IdempotencyKey: "k", Signing: "body"}); !again.Duplicate || again.EventID != first.EventID {
		t.Errorf("sent again: %+v", again)
	}
	if wrong := send(api.SandboxSend{Signing: "wrong"}); wrong.Status != 401 || wrong.Error != "invalid_signature" || wrong.Message == "" {
		t.Errorf("signed wrong: %+v", wrong)
	}
	if late := send(api.SandboxSend{Skew: api.Duration(-time.Hour)}); late.Status != 422 || late.Error != "invalid_timestamp" {
		t.Errorf("an hour late: %+v", late)
	}

	made, err := trusted.CreateToken(t.Context(), api.NewToken{Name: "prometheus", Role: webhook.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.AdminURL()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+made.Token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`webhook_inbound_total{result="received",source="inbound"} 1`,
		`webhook_inbound_total{result="duplicate",source="inbound"} 1`,
		`webhook_inbound_total{result="invalid_signature",source="inbound"} 1`,
		`webhook_inbound_total{result="invalid_timestamp",source="inbound"} 1`,
		"webhook_inbound_duration_seconds_count 4",
		"webhook_queue_depth 0",
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("the metrics lack %q", line)
		}
	}
	if strings.Contains(string(text), "webhook_commit_batch_size_count 0") {
		t.Error("no commit was counted")
	}
}
