package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

// sealing looks at the keys, and whether they open the database.
func sealing(ctx context.Context, c *config.Config) []Finding {
	l := list{check: "sealing"}
	path := c.Storage.Path
	keys, err := c.Keyring()
	switch {
	case errors.Is(err, security.ErrExposed):
		l.add(Fault, "chmod 600 "+c.Storage.EncryptionKeyFile, "%v", err)
		return l.findings
	case err != nil:
		l.add(Fault, "see storage.encryption_key and storage.encryption_key_file", "%v", err)
		return l.findings
	}
	var sealer webhook.Sealer
	if keys != nil {
		sealer = keys
	}
	info, err := storage.Inspect(ctx, path)
	if err != nil || info.Schema == 0 {
		return nil // the check of the database says so
	}
	err = info.Opens(sealer)
	switch {
	case errors.Is(err, storage.ErrSealed):
		l.add(Fault, "set storage.encryption_key or storage.encryption_key_file to the key that they were sealed with", "%s: %v", path, err)
	case err != nil:
		return nil // as above: it is damaged
	case info.Sealed:
		l.add(OK, "", "the secrets in %s are sealed, and the key opens them", path)
	case keys != nil:
		l.add(OK, "", "the secrets in %s are not sealed yet: the next start does it", path)
	default:
		l.add(OK, "", "the secrets in %s are not sealed: there is no storage.encryption_key", path)
	}
	if keys != nil {
		for _, copied := range storage.UnsealedCopies(path) {
			l.add(Warning, "remove it when it is not needed any more", "%s, from before an upgrade, has secrets that are not sealed", copied)
		}
	}
	return l.findings
}

// proxy looks whether the proxy is there. What it lets through is its own affair.
func proxy(ctx context.Context, c *config.Config) []Finding {
	l := list{check: "proxy"}
	u := c.Outbound.ProxyURL()
	if u == nil {
		return nil
	}
	port := map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme]
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		l.add(Fault, "start it, or set outbound.proxy: without it nothing is delivered", "%s cannot be reached: %v", address, reason(err))
		return l.findings
	}
	_ = connection.Close() // nothing was said
	l.add(OK, "", "%s accepts connections", address)
	return l.findings
}

// expressions runs one, in a process of its own as the appliance does.
func expressions(ctx context.Context, c *config.Config) []Finding {
	l := list{check: "expressions"}
	pool := transform.New(transform.Options{
		Workers: 1, Timeout: c.Outbound.TransformTimeout, Memory: c.Outbound.TransformMemory, MaxOutput: int(c.Outbound.TransformMaxOutput),
	})
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	begun := time.Now()
	body, err := pool.Transform(ctx, "", []transform.Expression{{Name: ".", Source: "."}}, transform.Input{Body: []byte(`{}`)})
	if err == nil && string(body) != "{}" {
		err = fmt.Errorf("it made %.40q of {}", body)
	}
	if err != nil {
		l.add(Fault, "filters and transforms fail so; see what limits this user has for processes and memory, and outbound.transform_memory", "the process that runs them does not answer: %v", err)
		return l.findings
	}
	l.add(OK, "", "the process that runs filters and transforms was started and answered within %s", time.Since(begun).Round(time.Millisecond))
	return l.findings
}

// subscribers looks for those whose deliveries fail or wait, or soon will.
func subscribers(ctx context.Context, c *config.Config, now time.Time) []Finding {
	l := list{check: "subscribers"}
	info, err := storage.Inspect(ctx, c.Storage.Path)
	if err != nil || info.Schema != info.Newest {
		return nil // the check of the database says so
	}
	all, err := storage.Subscribers(ctx, c.Storage.Path)
	if err != nil {
		l.add(Fault, "", "%v", err)
		return l.findings
	}
	for i := range all {
		l.judge(&all[i], c.Outbound.Hold, now)
	}
	if len(l.findings) == 0 && len(all) > 0 {
		l.add(OK, "", "none of %d needs attention", len(all))
	}
	return l.findings
}

func (l *list) judge(s *webhook.Subscriber, hold webhook.HoldPolicy, now time.Time) {
	name := fmt.Sprintf("%s (%s)", s.ID, s.Name())
	edit := "pintle subscribers edit " + string(s.ID)
	for _, e := range []struct {
		flag, source string
		check        func(string) error
	}{{"filter", s.Filter, transform.Check}, {"transform", s.Transform, transform.Check}, {"ordered", s.Ordered, checkPath}} {
		if e.source == "" {
			continue
		}
		if err := e.check(e.source); err != nil {
			l.add(Fault, edit+" --"+e.flag, "%s: its %s is not one that this version knows: %v", name, e.flag, err)
		}
	}
	if end, known := certificateEnd(s.TLS.Cert); known && end.Sub(now) < certificateSoon {
		severity, verb := Warning, "expires"
		if !end.After(now) {
			severity, verb = Fault, "expired"
		}
		l.add(severity, edit+" --tls-cert=… --tls-key=…", "%s: its client certificate %s at %s", name, verb, end.UTC().Format(time.RFC3339))
	}
	since := s.FailingSince.UTC().Format(time.RFC3339)
	switch {
	case !s.Active && !s.FailingSince.IsZero():
		l.add(Warning, "pintle subscribers resume "+string(s.ID)+", when it works again", "%s was paused after an outage since %s", name, since)
	case !s.Active && strings.Contains(s.PausedReason, "410 Gone"):
		l.add(Warning, "remove it, or resume it with pintle subscribers resume "+string(s.ID), "%s was paused: %s", name, s.PausedReason)
	case hold.Holds(s):
		l.add(Warning, "pintle subscribers show "+string(s.ID), "%s has been failing since %s; its deliveries wait", name, since)
	case !s.FailingSince.IsZero():
		l.add(Warning, "pintle subscribers show "+string(s.ID), "%s has been failing since %s", name, since)
	}
}

func checkPath(source string) error {
	if source == webhook.OrderedStrictly {
		return nil
	}
	_, err := transform.ParsePath(source)
	return err
}

// certificateEnd is when the first certificate of a text in PEM expires, if it has
// one.
func certificateEnd(text string) (end time.Time, known bool) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return end, false
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return end, false
	}
	return certificate.NotAfter, true
}
