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

// A patience is how long a transport waits for what no request bounds: one that has
// timed out leaves behind it what others may make use of.
type patience struct {
	// dial is for reaching an address, and then again for agreeing on TLS with it. A
	// dial goes on when the request that wanted it has given up.
	dial time.Duration
	// write is how long a connection of HTTP/2 may take no byte. It is shared, and
	// closed for nobody's timeout: what is stuck in it stays there, with its body.
	write time.Duration
	// silence is how long nothing may come from a connection of HTTP/2 until it is
	// asked for a sign of life, and sign is how long that may take. Until then
	// requests go to one that is lost.
	silence, sign time.Duration
}

var usualPatience = patience{dial: 15 * time.Second, write: 10 * time.Second, silence: 30 * time.Second, sign: 10 * time.Second}

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
	return newTransport(guard, idlePerHost, proxy, &tls.Config{MinVersion: tls.VersionTLS12}, usualPatience)
}

// newTransport is NewTransport with the TLS that is spoken to receivers and to the
// proxy.
func newTransport(guard *security.OutboundGuard, idlePerHost int, proxy *url.URL, config *tls.Config, wait patience) *http.Transport {
	dialer := guard.Dialer()
	dialer.Timeout = wait.dial
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    wait.dial,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // an answer is kept as it came, and cannot swell
		TLSClientConfig:        config.Clone(),
		HTTP2: &http.HTTP2Config{
			// What comes and is not read yet is held: up to 4 MiB of each answer, if
			// nothing is said here.
			MaxReceiveBufferPerStream:     maxRead,
			MaxReceiveBufferPerConnection: 1 << 20,
			SendPingTimeout:               wait.silence,
			PingTimeout:                   wait.sign,
			WriteByteTimeout:              wait.write,
		},
	}
	if proxy == nil {
		return t
	}
	address := *proxy
	plain := &net.Dialer{Timeout: wait.dial}
	t.DialContext = plain.DialContext // it is only the proxy that is dialled
	if address.Scheme == "https" {
		// The transport would greet the proxy with the certificates that are for
		// the receiver.
		t.DialContext = (&tls.Dialer{NetDialer: plain, Config: config}).DialContext
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
