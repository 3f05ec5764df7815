package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/gateway"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

// inbound is the inbound side of a running appliance, as far as it can change
// while it runs.
type inbound struct {
	logger  *slog.Logger
	store   webhook.Store
	version string
	// reloaded has the other parts take what can change of a new configuration.
	reloaded func(*config.Config)
	gateway  *gateway.Gateway

	// reloading is held while the configuration is replaced.
	reloading sync.Mutex
	// mu guards what follows.
	mu           sync.RWMutex
	config       *config.Config
	secret       webhook.Secret
	asns         *watched[*security.ASNDatabase]
	certificates *watched[certificates] // nil: the listener speaks plain HTTP
}

// A watcher keeps something up to date until the context ends.
type watcher interface {
	Watch(ctx context.Context)
	// Err says why what is newest is not in force.
	Err() error
}

// watched is a watcher at work.
type watched[W watcher] struct {
	what W
	end  context.CancelFunc
	done chan struct{}
}

func watch[W watcher](what W) *watched[W] {
	ctx, end := context.WithCancel(context.Background())
	w := &watched[W]{what, end, make(chan struct{})}
	go func() {
		defer close(w.done)
		what.Watch(ctx)
	}()
	return w
}

// stop ends the watch; of nil it does nothing.
func (w *watched[W]) stop() {
	if w != nil {
		w.end()
		<-w.done
	}
}

// get returns what is watched, and of nil the zero value.
func (w *watched[W]) get() (what W) {
	if w != nil {
		what = w.what
	}
	return what
}

// fault says why what is newest is not in force; empty: it is.
func (w *watched[W]) fault(key string) []string {
	if w == nil {
		return nil
	}
	if err := w.what.Err(); err != nil {
		return []string{fmt.Sprintf("%s is not as it should be: %v", key, err)}
	}
	return nil
}

// openInbound makes the inbound side ready to serve.
func openInbound(ctx context.Context, c *config.Config, store webhook.Store, version string, o gateway.Options, reloaded func(*config.Config)) (_ *inbound, fresh bool, err error) {
	in := &inbound{logger: o.Logger, store: store, version: version, reloaded: reloaded, config: c}
	if in.secret, fresh, err = loadSecret(ctx, store, c.Inbound.Secret); err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	if in.asns, err = openASNs(c.Inbound.ASNDatabase, o.Logger); err != nil {
		return nil, false, err
	}
	if in.certificates, err = openCertificates(c.Inbound, store, version, o.Logger); err != nil {
		return nil, false, err
	}
	others := o.Degraded
	o.Degraded = func() []string { return append(in.degraded(), others()...) }
	if in.gateway, err = gateway.New(o, in.rules(c, in.secret, in.asns)); err != nil {
		return nil, false, err
	}
	return in, fresh, nil
}

// openASNs opens the database, if there is to be one, and watches it.
func openASNs(path string, logger *slog.Logger) (*watched[*security.ASNDatabase], error) {
	if path == "" {
		return nil, nil
	}
	database, err := security.OpenASNDatabase(path, logger)
	if err != nil {
		return nil, config.Faults{fmt.Errorf("inbound.asn_database: %w", err)}
	}
	return watch(database), nil
}

// openCertificates makes those of the listener ready, if it is to have any.
func openCertificates(c config.Inbound, store webhook.Store, version string, logger *slog.Logger) (*watched[certificates], error) {
	made, err := inboundCertificates(c, store, version, logger)
	if err != nil || made == nil {
		return nil, err
	}
	return watch(made), nil
}

func (in *inbound) rules(c *config.Config, secret webhook.Secret, asns *watched[*security.ASNDatabase]) gateway.Rules {
	return gateway.Rules{Sources: c.Endpoints(secret), TrustedProxies: c.Inbound.TrustedProxies, ASNs: asns.get()}
}

// close ends what watches files.
func (in *inbound) close() {
	in.asns.stop()
	in.certificates.stop()
}

// degraded says what is not as it should be although requests are received.
func (in *inbound) degraded() []string {
	in.mu.RLock()
	defer in.mu.RUnlock()
	key := "inbound.tls_cert"
	if len(in.config.Inbound.ACMEDomains) > 0 {
		key = "inbound.acme_domains"
	}
	return append(in.asns.fault("inbound.asn_database"), in.certificates.fault(key)...)
}

// warnings are what the operator should know of the configuration in force.
func (in *inbound) warnings() []string {
	in.mu.RLock()
	defer in.mu.RUnlock()
	return in.config.Warnings()
}

// sources are the endpoints in force.
func (in *inbound) sources() []webhook.Source {
	in.mu.RLock()
	defer in.mu.RUnlock()
	return in.config.Endpoints(in.secret)
}

// main returns the endpoint of the [inbound] section.
func (in *inbound) main() webhook.Source { return in.sources()[0] }

// reload replaces the configuration, as far as it can change while running, and
// returns the keys that differ and cannot. On error everything stays as it was.
func (in *inbound) reload(ctx context.Context, next *config.Config) (restart []string, err error) {
	in.reloading.Lock()
	defer in.reloading.Unlock()
	merged, restart := config.Reload(in.config, next)
	secret, err := knownSecret(ctx, in.store, merged.Inbound.Secret)
	if errors.Is(err, webhook.ErrNotFound) {
		return nil, errors.New("inbound.secret is not set any more, and none was ever made: a start makes one, which it shows")
	}
	if err != nil {
		return nil, err
	}
	was, is := &in.config.Inbound, &merged.Inbound
	asns, certificates := in.asns, in.certificates
	// Whatever of these is left over at the end is not in force.
	defer func() {
		if asns != in.asns {
			asns.stop()
		}
		if certificates != in.certificates {
			certificates.stop()
		}
	}()
	if is.ASNDatabase != was.ASNDatabase {
		if asns, err = openASNs(is.ASNDatabase, in.logger); err != nil {
			return nil, err
		}
	}
	if is.TLSCert != was.TLSCert || is.TLSKey != was.TLSKey {
		if certificates, err = openCertificates(*is, in.store, in.version, in.logger); err != nil {
			return nil, err
		}
	}
	if err := in.gateway.Use(in.rules(merged, secret, asns)); err != nil {
		return nil, err
	}
	in.mu.Lock()
	in.config, in.secret = merged, secret
	asns, in.asns = in.asns, asns
	certificates, in.certificates = in.certificates, certificates
	in.mu.Unlock()
	in.refresh()
	in.reloaded(merged)
	return restart, nil
}

// refresh looks at the files now. One that is no good is told by Err, and the
// last good one stays.
func (in *inbound) refresh() {
	for _, what := range []watcher{in.asns.get(), in.certificates.get()} {
		if file, ok := what.(interface{ Refresh() error }); ok {
			_ = file.Refresh()
		}
	}
}

// tls makes the configuration of the listener show the certificate that is in
// force at each handshake.
func (in *inbound) tls(base *tls.Config) *tls.Config {
	base.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		in.mu.RLock()
		now := in.certificates.what
		in.mu.RUnlock()
		return now.TLS().GetCertificate(hello)
	}
	return base
}

// limitConnections bounds the connections of the inbound listener. Those that
// come through a trusted proxy all have its address, so that the bound of one
// address is not for it.
func (in *inbound) limitConnections(l net.Listener, c config.Inbound) net.Listener {
	report := rate.Sometimes{First: 1, Interval: time.Minute}
	return security.LimitConnections(l, security.ConnectionLimits{
		Total: c.MaxConnections, PerAddress: c.MaxConnectionsPerAddress, Exempt: in.gateway.TrustsProxy,
		OnRefuse: func(conn net.Conn) {
			report.Do(func() {
				in.logger.Warn("too many connections; some are refused", "peer", conn.RemoteAddr(),
					"max_connections", c.MaxConnections, "max_connections_per_address", c.MaxConnectionsPerAddress)
			})
			if len(c.ACMEDomains) == 0 && c.TLSCert == "" {
				// Whoever does not get it sees that the connection is closed. It
				// fits into the buffers of any socket, so nothing waits here.
				_, _ = conn.Write(gateway.OverloadedAnswer())
			}
		},
	})
}
