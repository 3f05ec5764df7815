package security

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// certificateEvery is how often the files of a certificate are looked at.
	certificateEvery = 5 * time.Second
	// maxPEM bounds a file of a certificate, in bytes. Chains have a few
	// thousand; a wrong path may lead to anything.
	maxPEM = 1 << 20
)

// A Certificate is what a TLS listener shows, read from two PEM files: the chain
// with the leaf first, and the leaf's key. When the files change, the new pair
// comes into force for the next handshake, and no connection is cut. The two are
// never replaced in the same instant, so that a pair that does not fit together,
// or cannot be read, leaves the old one in force.
//
// It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger
	inForce           atomic.Pointer[tls.Certificate]

	mu     sync.Mutex        // held while the files are looked at
	digest [sha256.Size]byte // of the files that are in force
	err    error             // why what was read last is not
}

// OpenCertificate reads a certificate and its key, which must be good.
func OpenCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if _, err := c.look(); err != nil {
		return nil, err
	}
	return c, nil
}

// TLS returns a configuration for a listener that shows the certificate in
// force. The protocols are left to whoever serves on it.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.inForce.Load(), nil },
		MinVersion:     tls.VersionTLS12,
	}
}

// Refresh takes the files if they have changed and fit together. The error says
// why the newest files are not in force; each is logged when it is new.
func (c *Certificate) Refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	replaced, err := c.look()
	switch {
	case err != nil && (c.err == nil || c.err.Error() != err.Error()):
		c.logger.Warn("TLS certificate cannot be renewed, the old one stays in force", "error", err, "not_after", c.NotAfter())
	case replaced, err == nil && c.err != nil:
		c.logger.Info("TLS certificate is in force", "file", c.certFile, "names", c.Names(), "not_after", c.NotAfter())
	}
	c.err = err
	return err
}

// look reads the files and takes them if they are new and good. They are told
// from those in force by what is in them: a time of change can be that of the
// file which one was copied from.
func (c *Certificate) look() (replaced bool, err error) {
	chain, err := readPEM(c.certFile)
	if err != nil {
		return false, fmt.Errorf("read certificate: %w", err)
	}
	key, err := readPEM(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("read key of certificate: %w", err)
	}
	// The key is hashed by itself first, so that no part of one file passes for
	// one of the other.
	inner := sha256.Sum256(key)
	digest := sha256.Sum256(append(inner[:], chain...))
	if c.inForce.Load() != nil && digest == c.digest {
		return false, nil
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return false, fmt.Errorf("take certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.inForce.Store(&pair)
	c.digest = digest
	return true, nil
}

func readPEM(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = errors.New("is too large for a PEM file")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// Watch looks at the files every few seconds until the context ends.
func (c *Certificate) Watch(ctx context.Context) {
	ticker := time.NewTicker(certificateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// What goes wrong is logged there, and asked for with Err.
			_ = c.Refresh()
		}
	}
}

// Err says why the files that were read last are not in force; nil: they are.
func (c *Certificate) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Names returns the DNS names and IP addresses of the certificate in force.
func (c *Certificate) Names() []string {
	leaf := c.inForce.Load().Leaf
	names := slices.Clone(leaf.DNSNames)
	for _, address := range leaf.IPAddresses {
		names = append(names, address.String())
	}
	return names
}

// NotAfter is when the certificate in force expires.
func (c *Certificate) NotAfter() time.Time { return c.inForce.Load().Leaf.NotAfter }
