package suites

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
)

// certificate makes files of a certificate for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pintle"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, bytes []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
}

// TestHTTP2IsHeldToTheSameRules sends over TLS what is refused without.
func TestHTTP2IsHeldToTheSameRules(t *testing.T) {
	cert, key := certificate(t)
	a := start(t, fmt.Sprintf("[inbound]\nsecret = %q\ntls_cert = %q\ntls_key = %q\n", senderSecret.Reveal(), cert, key), nil)
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	many := http.Header{}
	for n := range 101 {
		many.Set(fmt.Sprintf("X-Field-%d", n), "x")
	}
	for _, row := range []struct {
		name   string
		body   string
		header http.Header
		status int
		is     string
	}{
		{"a good one", event(0), nil, 200, "received"},
		{"another type", event(1), http.Header{"Content-Type": {"text/plain"}}, 415, "unsupported_media_type"},
		{"too large", strings.Repeat(" ", 1<<20+1), nil, 413, "payload_too_large"},
		{"wrongly signed", event(2), http.Header{"X-Agent-Signature": {"sha256=00"}}, 401, "invalid_signature"},
		{"more than 100 header fields", event(3), many, 431, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.InboundURL(inboundPath), strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Agent-Signature", signature.SignAgent(senderSecret, []byte(row.body)))
		for name, values := range row.header {
			req.Header[name] = values
		}
		response, err := transport.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.ProtoMajor != 2 || response.StatusCode != row.status || !bytes.Contains(body, []byte(row.is)) {
			t.Errorf("%s: %s %d %s %v", row.name, response.Proto, response.StatusCode, body, err)
		}
	}
	if stored := a.events(t); len(stored) != 1 {
		t.Errorf("%d events are stored", len(stored))
	}
}

// TestTLSIsNotWeakened: neither an old version nor plain text is spoken there.
func TestTLSIsNotWeakened(t *testing.T) {
	cert, key := certificate(t)
	a := start(t, fmt.Sprintf("[inbound]\nsecret = %q\ntls_cert = %q\ntls_key = %q\n", senderSecret.Reveal(), cert, key), nil)
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: answerWithin}, "tcp", a.inbound, old)
	if err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	body := event(0)
	if got := a.post(t, message{body: body, header: []string{signed(body)}}); got.status != http.StatusBadRequest {
		t.Errorf("plain text: %d %s", got.status, got.body)
	}
}
