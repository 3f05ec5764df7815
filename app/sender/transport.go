package sender

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/pintle/pintle/app/security"
)

// NewTransport returns the transport for deliveries. It calls only what the
// guard allows, verifies TLS and keeps connections. The proxy is the one that was
// configured; nil: there is none. Those that the environment names are never
// asked.
//
// Behind a proxy it is the proxy that resolves names and connects. What the guard
// can still do, it does before each request: it refuses addresses as such, and
// names that resolve here to one that may not be called. It does not see what the
// proxy makes of the name: one that only the proxy resolves, or that resolves to
// something else there or a moment later. Such addresses are for the proxy to
// refuse. The proxy itself may be anywhere, since a person has named it.
func NewTransport(guard *security.OutboundGuard, idlePerHost int, proxy *url.URL) *http.Transport {
	return newTransport(guard, idlePerHost, proxy, &tls.Config{MinVersion: tls.VersionTLS12})
}

// newTransport is NewTransport with the TLS that is spoken to receivers and to the
// proxy.
func newTransport(guard *security.OutboundGuard, idlePerHost int, proxy *url.URL, config *tls.Config) *http.Transport {
	t := &http.Transport{
		DialContext:            guard.Dialer().DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // an answer is kept as it came, and cannot swell
		TLSClientConfig:        config.Clone(),
	}
	if proxy == nil {
		return t
	}
	address := *proxy
	t.DialContext = new(net.Dialer).DialContext // it is only the proxy that is dialled
	if address.Scheme == "https" {
		// The transport would greet the proxy with the certificates that are for
		// the receiver.
		t.DialContext = (&tls.Dialer{Config: config}).DialContext
		if address.Port() == "" {
			address.Host = net.JoinHostPort(address.Hostname(), "443")
		}
		address.Scheme = "http"
	}
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		if err := guard.CheckProxied(r.Context(), r.URL.Hostname()); err != nil {
			return nil, err
		}
		return &address, nil
	}
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
		if response.StatusCode != http.StatusOK {
			return &proxyError{status: response.Status}
		}
		return nil
	}
	return t
}

// A proxyError says that the proxy did not connect to the receiver.
type proxyError struct{ status string }

func (e *proxyError) Error() string { return "the proxy answered " + oneLine(e.status) }

// sameHost reports whether both are URLs of one server.
func sameHost(a, b string) bool {
	one, err := url.Parse(a)
	other, err2 := url.Parse(b)
	return err == nil && err2 == nil && one.Scheme == other.Scheme && one.Host == other.Host
}
