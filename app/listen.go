package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/gateway"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

// listenSocket opens a Unix socket that only its owner may use. A socket that
// nobody answers on is what a killed process left, and is replaced.
//
// It is made in a directory that only its owner can enter, given its mode, and
// then moved to its place: it is never there with any other. A umask around the
// call would do that too, but is that of the whole process: files that other
// goroutines create meanwhile would get it.
func listenSocket(path string) (_ net.Listener, err error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s exists and is no socket", path)
		}
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s is in use by another process", path)
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "s")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	hidden := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		if len(hidden) > 100 {
			err = fmt.Errorf("%w (the system bounds the length of the path: set admin.socket to a shorter one)", err)
		}
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it will not be where it was made
	if err := errors.Join(os.Chmod(hidden, 0o600), os.Rename(hidden, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socketListener{l, path}, nil
}

// A socketListener takes its socket away when it is closed.
type socketListener struct {
	*net.UnixListener
	path string
}

// Close is called once, by the server.
func (l *socketListener) Close() error {
	return errors.Join(l.UnixListener.Close(), os.Remove(l.path))
}

// certificates are what a TLS listener shows, and what keeps them in force.
type certificates interface {
	// TLS returns a configuration for the listener.
	TLS() *tls.Config
	// Watch renews them until the context ends.
	Watch(ctx context.Context)
	// Err says what is wrong with them, though the old ones may be in force.
	Err() error
}

// inboundCertificates returns those of the inbound listener: from files, or by
// ACME; nil: it speaks plain HTTP.
func inboundCertificates(c config.Inbound, store webhook.Store, version string, logger *slog.Logger) (certificates, error) {
	if len(c.ACMEDomains) > 0 {
		return newACME(c, store, version, logger.With("listener", "inbound")), nil
	}
	if c.TLSCert == "" {
		return nil, nil
	}
	fromFiles, err := openCertificate("inbound", c.TLSCert, c.TLSKey, logger)
	if err != nil {
		return nil, err
	}
	return fromFiles, nil
}

// openCertificate reads the files that tls_cert and tls_key of the section name.
func openCertificate(section, cert, key string, logger *slog.Logger) (*security.Certificate, error) {
	c, err := security.OpenCertificate(cert, key, logger.With("listener", section))
	if err != nil {
		return nil, config.Faults{fmt.Errorf("%s.tls_cert and %s.tls_key: %w", section, section, err)}
	}
	return c, nil
}

// inboundServer returns the server of the inbound endpoint, which is open to
// strangers: every wait has an end, and what one connection can hold is little.
// The TLS configuration may be nil, for plain HTTP; HTTP/2 needs one.
func inboundServer(handler http.Handler, config *tls.Config) *http.Server {
	return &http.Server{
		Handler:                      handler,
		TLSConfig:                    config,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  gateway.ReadTimeout,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  time.Minute,
		MaxHeaderBytes:               32 << 10,
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100, // the least that RFC 9113 section 6.5.2 recommends
			// Of what was sent and not read yet, a connection and each of its
			// streams hold as much; a frame is read whole.
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			MaxReadFrameSize:              64 << 10,
			// ReadHeaderTimeout is for HTTP/1. A frame that does not end is
			// found by a ping that nobody answers.
			SendPingTimeout:  15 * time.Second,
			PingTimeout:      5 * time.Second,
			WriteByteTimeout: 10 * time.Second,
		},
	}
}

// adminHosts are the names under which the admin API is reached.
func adminHosts(c config.Admin, certificate []string) []string {
	hosts := append(certificate, c.Hosts...)
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	return hosts
}
