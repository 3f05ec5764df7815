package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/config"
)

// pebbleFolder is where `make acme` has built Let's Encrypt's own small authority
// and its name server.
var pebbleFolder = flag.String("pebble", "", "folder of the programs pebble and pebble-challtestsrv")

// pebblePatience is how long the trial waits for each of the others.
const pebblePatience = 30 * time.Second

// A transcript is the output of a program, to be looked at while it grows.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *transcript) count(part string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.b.String(), part)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// TestCertificateComesFromAnAuthority orders from Pebble, which proves the name
// by a handshake with our listener, as Let's Encrypt does.
func TestCertificateComesFromAnAuthority(t *testing.T) {
	if *pebbleFolder == "" {
		t.Skip("make acme runs it")
	}
	dir := t.TempDir()
	// Pebble is reached by HTTPS, and believed because of this variable, as a
	// person with an authority of their own would set it.
	pair := issue(t, "127.0.0.1", time.Hour)
	write(t, filepath.Join(dir, "api.pem"), pair)
	t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "api.pem"))

	first := listen(t)
	address := first.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	directory, management := startPebble(t, dir, port)
	roots := pebbleRoots(t, management)

	c := config.Inbound{ACMEDomains: []string{"pintle.example"}, ACMEEmail: "admin@pintle.example", ACMEDirectory: "https://" + directory.address + "/dir"}
	var serial *big.Int
	for round, l := range []net.Listener{first, nil} {
		if l == nil {
			var err error
			if l, err = net.Listen("tcp", address); err != nil {
				t.Fatal(err)
			}
		}
		before := directory.log.count("calling handler")
		store := openStore(t, filepath.Join(dir, "pintle.db"))
		log := &transcript{}
		m := newACME(c, store, "test", slog.New(slog.NewTextHandler(log, nil)))
		stop := serveTLS(t, l, m.TLS())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.Watch(ctx)
		}()
		begun := time.Now()
		until(t, func() error { return m.Err() }, log, directory.log)
		t.Logf("start %d: a certificate after %v", round+1, time.Since(begun).Round(time.Millisecond))

		leaf, body := get(t, address, roots)
		if body != "HTTP/2.0" || len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != "pintle.example" {
			t.Errorf("start %d: %v answers over %s", round+1, leaf.DNSNames, body)
		}
		switch asked := directory.log.count("calling handler") - before; {
		case round == 0:
			serial = leaf.SerialNumber
			if n := directory.log.count("Issued certificate"); n != 1 {
				t.Errorf("Pebble issued %d certificates", n)
			}
		case leaf.SerialNumber.Cmp(serial) != 0:
			t.Error("the second start has another certificate")
		case asked != 0:
			t.Errorf("the second start made %d requests to the authority", asked)
		}
		cancel()
		<-ended
		stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("start %d logged:\n%s", round+1, log)
	}
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// get makes a request of the listener under the name, and returns the leaf that
// it shows, which must come from the roots.
func get(t *testing.T, address string, roots *x509.CertPool) (*x509.Certificate, string) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: pebblePatience}).Get("https://pintle.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.TLS.PeerCertificates[0], string(body)
}

// A program is a process of the trial.
type program struct {
	address string
	log     *transcript
}

// startPebble starts the authority, which proves names at the port.
func startPebble(t *testing.T, dir, port string) (directory program, management string) {
	t.Helper()
	names, dns, api := freeAddress(t), freeAddress(t), freeAddress(t)
	management = freeAddress(t)
	launch(t, nil, "pebble-challtestsrv", "-dnsserver", dns, "-management", names, "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": api, "managementListenAddress": management,
		"certificate": filepath.Join(dir, "api.pem"), "privateKey": filepath.Join(dir, "api.pem"),
		"httpPort": 1, "tlsPort": json.Number(port),
	}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pebble.json"), settings)
	log := launch(t, []string{"PEBBLE_VA_NOSLEEP=1"}, "pebble", "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", dns)
	return program{api, log}, management
}

// launch starts a program, which the end of the test ends.
func launch(t *testing.T, environment []string, name string, args ...string) *transcript {
	t.Helper()
	log := &transcript{}
	cmd := exec.Command(filepath.Join(*pebbleFolder, name), args...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // with the signal
		if t.Failed() {
			t.Logf("%s said:\n%s", name, log)
		}
	})
	return log
}

// pebbleRoots waits for Pebble, and returns what its certificates come from.
func pebbleRoots(t *testing.T, management string) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	until(t, func() error {
		response, err := (&http.Client{Timeout: pebblePatience}).Get("https://" + management + "/roots/0")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		if block, _ := pem.Decode(b); err == nil && (block == nil || !pool.AppendCertsFromPEM(b)) {
			err = fmt.Errorf("no certificate in %q", b)
		}
		return err
	})
	return pool
}

// until waits for what others do.
func until(t *testing.T, done func() error, logs ...*transcript) {
	t.Helper()
	deadline := time.After(pebblePatience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%v\n%v", err, logs)
		case <-ticker.C:
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}
