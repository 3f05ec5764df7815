package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/pintle/pintle/app/config"
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

// adminTLS reads the certificate of the admin listener, and the names in it;
// nil: there is none.
func adminTLS(c config.Admin) (_ *tls.Config, names []string, err error) {
	if c.TLSCert == "" {
		return nil, nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read admin.tls_cert and admin.tls_key: %w", err)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		return nil, nil, fmt.Errorf("read admin.tls_cert: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, leaf.DNSNames, nil
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
