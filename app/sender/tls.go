package sender

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/pintle/pintle/app/webhook"
)

// maxTransports is how many transports with certificates of their own are kept.
// Beyond that many the one that was not used for the longest time loses its
// connections.
const maxTransports = 1024

// transports are the shared transport, and its copies for subscribers who bring
// something of their own to the handshake. They are kept by what that is, so that
// a lane that is idle for a while finds its connections again.
type transports struct {
	base http.RoundTripper

	mu   sync.Mutex
	kept *simplelru.LRU[[sha256.Size]byte, *http.Transport]
}

func newTransports(base http.RoundTripper) *transports {
	kept, err := simplelru.NewLRU(maxTransports, func(_ [sha256.Size]byte, t *http.Transport) { t.CloseIdleConnections() })
	if err != nil {
		panic(err) // the size is a constant
	}
	return &transports{base: base, kept: kept}
}

// of returns the transport for those who bring this to the handshake.
func (t *transports) of(material *webhook.ClientTLS) (http.RoundTripper, error) {
	if *material == (webhook.ClientTLS{}) {
		return t.base, nil
	}
	key := digest(material.Cert, material.Key.Reveal(), material.CA)
	t.mu.Lock()
	defer t.mu.Unlock()
	if kept, ok := t.kept.Get(key); ok {
		return kept, nil
	}
	base, ok := t.base.(*http.Transport)
	if !ok {
		return nil, &materialError{errors.New("this transport takes no certificates")}
	}
	certificates, authorities, faults := readTLS(material)
	for _, field := range []string{"tls_cert", "tls_key", "tls_ca"} {
		if fault := faults[field]; fault != "" {
			return nil, &materialError{errors.New(field + ": " + fault)}
		}
	}
	own := base.Clone()
	own.TLSClientConfig.Certificates, own.TLSClientConfig.RootCAs = certificates, authorities
	t.kept.Add(key, own)
	return own, nil
}

func (t *transports) closeIdle() {
	if base, ok := t.base.(*http.Transport); ok {
		base.CloseIdleConnections()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, own := range t.kept.Values() {
		own.CloseIdleConnections()
	}
}

// A materialError says that a subscriber's certificates cannot be used.
type materialError struct{ err error }

func (e *materialError) Error() string { return e.err.Error() }

func (e *materialError) Unwrap() error { return e.err }

// CheckTLS says by field what is wrong with what a subscriber brings to the
// handshake, as far as it can be said without one; nil: nothing is. Certificates
// end, so that it looks at the clock.
func CheckTLS(material *webhook.ClientTLS, now time.Time) webhook.FieldsError {
	certificates, _, faults := readTLS(material)
	for _, c := range certificates {
		if now.After(c.Leaf.NotAfter) {
			faults["tls_cert"] = fmt.Sprintf("the certificate has expired on %s", c.Leaf.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return faults
}

// readTLS returns nil for what there is none of.
func readTLS(material *webhook.ClientTLS) ([]tls.Certificate, *x509.CertPool, webhook.FieldsError) {
	faults := webhook.FieldsError{}
	var certificates []tls.Certificate
	var authorities *x509.CertPool
	if material.Cert != "" || material.Key != "" {
		if c, field, err := readPair(material.Cert, material.Key.Reveal()); err != nil {
			faults[field] = err.Error()
		} else {
			certificates = []tls.Certificate{c}
		}
	}
	if material.CA != "" {
		list, err := readCertificates(material.CA)
		if err != nil {
			faults["tls_ca"] = err.Error()
		}
		authorities = x509.NewCertPool()
		for _, c := range list {
			authorities.AddCert(c)
		}
	}
	return certificates, authorities, faults
}

// readPair reads a certificate and its key; the field is the one that an error is
// about.
func readPair(cert, key string) (_ tls.Certificate, field string, err error) {
	chain, err := readCertificates(cert)
	if err != nil {
		return tls.Certificate{}, "tls_cert", err
	}
	block := firstKey(key)
	switch {
	case block == nil:
		return tls.Certificate{}, "tls_key", errors.New("holds no private key in PEM")
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return tls.Certificate{}, "tls_key", errors.New("the key is encrypted: give it without its passphrase, as `openssl pkey -in KEY` writes it")
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return tls.Certificate{}, "tls_key", errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	pair.Leaf = chain[0]
	return pair, "", nil
}

// readCertificates reads all certificates of a text in PEM, of which there must
// be one at least.
func readCertificates(text string) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a block %.40q where certificates belong", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %s", len(list)+1, strings.TrimPrefix(err.Error(), "x509: "))
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("holds no certificate in PEM")
	}
	return list, nil
}

// firstKey returns the first block of a text in PEM that is a private key.
func firstKey(text string) *pem.Block {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
	}
	return nil
}

// digest recognises a list of texts.
func digest(texts ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
