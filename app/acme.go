package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// acmeRequestTimeout bounds one request to the authority. An order is a
	// dozen of them.
	acmeRequestTimeout = 30 * time.Second
	// acmeEvery is how often certificates are looked at that are there.
	acmeEvery = time.Hour
	// acmeLate is the part of a certificate's life that is left when it should
	// have been renewed long ago: renewal is due when a third is left.
	acmeLate = 6
)

// acmeRetries are the waits after an order that failed; the last one repeats.
// Authorities refuse those who fail more than some five times an hour.
func acmeRetries() []time.Duration {
	return []time.Duration{2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
}

// acmeCertificates are certificates that an authority gives by ACME (RFC 8555),
// and renews. The proof that a name is ours is TLS-ALPN-01 (RFC 8737), a
// handshake on the very listener that they are for, so that no second port is
// needed. Account, keys and certificates are kept in the store.
//
// Only Watch places orders. A handshake is answered from what is there: strangers
// decide how many of those come, and an authority bounds orders by the week.
type acmeCertificates struct {
	domains []string
	manager *autocert.Manager
	logger  *slog.Logger
	// ended is over when Watch is, and so is every request to the authority.
	ended context.Context
	end   context.CancelFunc

	mu     sync.Mutex
	ready  map[string]bool  // the domains whose certificate is there
	faults map[string]error // what is wrong, by domain
}

// newACME asks nobody yet; see Watch.
func newACME(c config.Inbound, store webhook.Store, version string, logger *slog.Logger) *acmeCertificates {
	m := &acmeCertificates{logger: logger, ready: map[string]bool{}, faults: map[string]error{}}
	for _, domain := range c.ACMEDomains {
		m.domains = append(m.domains, hostKey(domain))
	}
	m.ended, m.end = context.WithCancel(context.Background())
	m.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      acmeCache{store, logger},
		HostPolicy: autocert.HostWhitelist(m.domains...),
		Email:      c.ACMEEmail,
		Client: &acme.Client{
			DirectoryURL: c.ACMEDirectory,
			HTTPClient:   &http.Client{Transport: endedBy{m.ended, http.DefaultTransport}, Timeout: acmeRequestTimeout},
			UserAgent:    "pintle/" + version,
		},
	}
	return m
}

// hostKey writes a name as certificates are looked up by it.
func hostKey(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// TLS returns a configuration for the listener. The protocols besides that of
// the proof are left to whoever serves on it.
func (m *acmeCertificates) TLS() *tls.Config {
	return &tls.Config{GetCertificate: m.certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto}}
}

// certificate answers a handshake.
func (m *acmeCertificates) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hostKey(hello.ServerName)
	if name == "" {
		// Probes that go by the address name nobody.
		name = m.domains[0]
	}
	if !slices.Contains(m.domains, name) {
		// To have none at all is answered by the alert unrecognized_name.
		return nil, nil
	}
	proof := slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto})
	if !proof && !m.isReady(name) {
		return nil, fmt.Errorf("there is no certificate for %s yet", name)
	}
	return m.manager.GetCertificate(helloFor(name, hello.SupportedProtos))
}

// helloFor is the same for all clients but for what it is for: the library would
// order a second certificate, of RSA, for each that does not name a cipher suite
// of ECDSA, such as those that speak TLS 1.3 only.
func helloFor(name string, protocols []string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: name, SupportedProtos: protocols, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	}
}

func (m *acmeCertificates) isReady(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready[name]
}

// Watch gets each certificate, from the store or else by an order, and then
// watches over their renewal, until the context ends. The listener must be
// served meanwhile, for the proof.
func (m *acmeCertificates) Watch(ctx context.Context) {
	defer m.end()
	defer context.AfterFunc(ctx, m.end)()
	retries := acmeRetries()
	for failures := 0; ; {
		wait := acmeEvery
		if m.visit(ctx) {
			failures = 0
		} else {
			wait = retries[min(failures, len(retries)-1)]
			failures++
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// visit looks at every certificate, and reports whether all are there.
func (m *acmeCertificates) visit(ctx context.Context) bool {
	all := true
	for _, domain := range m.domains {
		if ctx.Err() != nil {
			return false
		}
		certificate, err := m.manager.GetCertificate(helloFor(domain, nil))
		if ctx.Err() != nil {
			return false
		}
		fault := err
		if err == nil {
			fault = late(certificate, time.Now())
		}
		m.mu.Lock()
		fresh := err == nil && !m.ready[domain]
		known := m.faults[domain]
		m.ready[domain] = m.ready[domain] || err == nil
		m.faults[domain] = fault
		m.mu.Unlock()
		all = all && err == nil
		switch {
		case fault != nil && (known == nil || known.Error() != fault.Error()):
			m.logger.Warn("certificate is not as it should be", "domain", domain, "error", fault)
		case fresh:
			m.logger.Info("certificate is in force", "domain", domain, "not_after", certificate.Leaf.NotAfter)
		}
	}
	return all
}

// late says that a certificate should have been renewed. The library tries that
// by itself every half hour to hour, and tells nobody when it fails.
func late(certificate *tls.Certificate, now time.Time) error {
	leaf := certificate.Leaf
	if left := leaf.NotAfter.Sub(now); left > leaf.NotAfter.Sub(leaf.NotBefore)/acmeLate {
		return nil
	}
	return fmt.Errorf("it expires at %s and could not be renewed", leaf.NotAfter.UTC().Format(time.RFC3339))
}

// Err says which certificates are missing or late, and why; nil: none.
func (m *acmeCertificates) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, domain := range m.domains {
		switch fault := m.faults[domain]; {
		case fault != nil:
			errs = append(errs, fmt.Errorf("certificate of %s: %w", domain, fault))
		case !m.ready[domain]:
			errs = append(errs, fmt.Errorf("certificate of %s: it is being ordered", domain))
		}
	}
	return errors.Join(errs...)
}

// An acmeCache keeps what the library would forget in the settings of the store,
// so that it is in the one file with all else.
type acmeCache struct {
	store  webhook.Store
	logger *slog.Logger
}

func acmeSetting(key string) string { return "acme:" + key }

// Get implements [autocert.Cache].
func (c acmeCache) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := c.store.Setting(ctx, acmeSetting(key))
	if errors.Is(err, webhook.ErrNotFound) || err == nil && value == "" {
		return nil, autocert.ErrCacheMiss
	}
	return []byte(value), err
}

// Put implements [autocert.Cache]. The library drops the error of keeping a
// certificate, so it is logged here: the next start will order another one.
func (c acmeCache) Put(ctx context.Context, key string, data []byte) error {
	err := c.store.PutSetting(ctx, acmeSetting(key), string(data))
	if err != nil {
		c.logger.Warn("what was got by ACME is not kept", "name", key, "error", err)
		return err
	}
	c.logger.Debug("kept what was got by ACME", "name", key)
	return nil
}

// Delete implements [autocert.Cache]. Settings are not deleted; one without a
// value is missing to Get.
func (c acmeCache) Delete(ctx context.Context, key string) error {
	return c.store.PutSetting(ctx, acmeSetting(key), "")
}

// endedBy makes requests that do not outlive a context, whatever context they
// have of their own.
type endedBy struct {
	ended context.Context
	next  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (e endedBy) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	forget := context.AfterFunc(e.ended, cancel)
	context.AfterFunc(r.Context(), func() { forget() })
	return e.next.RoundTrip(r.WithContext(ctx))
}
