package security_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/security"
)

// certify makes a certificate for the name, signed by itself, and its key.
func certify(t *testing.T, name string) (chain, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// put writes a file as renewals do: whole, under another name, then moved.
func put(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// shown is the name in the certificate that a listener shows.
func shown(t *testing.T, config *tls.Config) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Server(server, config).Handshake()
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
}

func TestCertificateIsReplacedOnlyByFilesThatFitTogether(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	oldChain, oldKey := certify(t, "old.example")
	newChain, newKey := certify(t, "new.example")
	put(t, certFile, oldChain)
	put(t, keyFile, oldKey)
	var log bytes.Buffer
	c, err := security.OpenCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(c.NotAfter()); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("it expires in %v", left)
	}
	config := c.TLS()
	if config.MinVersion != tls.VersionTLS12 || config.NextProtos != nil {
		t.Errorf("the configuration is %+v", config)
	}
	steps := []struct {
		name   string
		change func()
		shown  string
		fault  string // part of it; empty: none
		logged int    // lines
	}{
		{"nothing", func() {}, "old.example", "", 0},
		{"half replaced", func() { put(t, certFile, newChain) }, "old.example", "private key does not match", 1},
		{"still half replaced", func() {}, "old.example", "private key does not match", 0},
		{"wholly replaced", func() { put(t, keyFile, newKey) }, "new.example", "", 1},
		{"a file that is cut short", func() { put(t, certFile, newChain[:len(newChain)/2]) }, "new.example", "PEM", 1},
		{"an empty file", func() { put(t, certFile, nil) }, "new.example", "PEM", 0},
		{"a missing file", func() {
			if err := os.Remove(certFile); err != nil {
				t.Fatal(err)
			}
		}, "new.example", "no such file", 1},
		{"the same as before", func() { put(t, certFile, newChain) }, "new.example", "", 1},
		{"far too large", func() { put(t, keyFile, make([]byte, 2<<20)) }, "new.example", "too large", 1},
		{"back to the first", func() { put(t, keyFile, oldKey); put(t, certFile, oldChain) }, "old.example", "", 1},
	}
	for _, s := range steps {
		log.Reset()
		s.change()
		err := c.Refresh()
		if s.fault == "" && err != nil || s.fault != "" && (err == nil || !strings.Contains(err.Error(), s.fault)) {
			t.Errorf("%s: %v, want %q", s.name, err, s.fault)
		}
		if kept := c.Err(); (kept == nil) != (err == nil) {
			t.Errorf("%s: afterwards the error is %v", s.name, kept)
		}
		if got := shown(t, config); got != s.shown || !slices.Equal(c.Names(), []string{s.shown, "::1"}) {
			t.Errorf("%s: it shows %s and tells %v, want %s", s.name, got, c.Names(), s.shown)
		}
		if got := strings.Count(log.String(), "\n"); got != s.logged {
			t.Errorf("%s: %d lines were logged, want %d:\n%s", s.name, got, s.logged, &log)
		}
	}
}

func TestCertificateThatIsNotGoodAtTheStartIsRefused(t *testing.T) {
	dir := t.TempDir()
	chain, _ := certify(t, "a.example")
	_, key := certify(t, "b.example")
	put(t, filepath.Join(dir, "cert.pem"), chain)
	put(t, filepath.Join(dir, "key.pem"), key)
	for _, files := range [][2]string{{"cert.pem", "key.pem"}, {"key.pem", "key.pem"}, {"missing", "key.pem"}, {"cert.pem", "missing"}} {
		_, err := security.OpenCertificate(filepath.Join(dir, files[0]), filepath.Join(dir, files[1]), slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%v was taken", files)
		}
	}
}

func TestWatchTakesNewFilesWithinSecondsUntilItEnds(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	replace := func(name string) {
		chain, key := certify(t, name)
		put(t, certFile, chain)
		put(t, keyFile, key)
	}
	synctest.Test(t, func(t *testing.T) {
		replace("a.example")
		c, err := security.OpenCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.Watch(ctx)
		}()
		replace("b.example")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := c.Names()[0]; got != "b.example" {
			t.Errorf("after ten seconds %s is in force", got)
		}
		cancel()
		<-ended
		replace("c.example")
		time.Sleep(10 * time.Second)
		if got := c.Names()[0]; got != "b.example" {
			t.Errorf("after its end %s is in force", got)
		}
	})
}
