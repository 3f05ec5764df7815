// Package app is the running appliance: it starts the parts in order and stops
// them in the reverse order. It has no business rules and knows no signals, so
// that a test can run a whole appliance in process.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/app/admin"
	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/backup"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/feed"
	"github.com/pintle/pintle/app/gateway"
	"github.com/pintle/pintle/app/metrics"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// shutdownTimeout is how long requests may take to end at a stop, and how
	// long after them the deliveries in flight.
	shutdownTimeout = 10 * time.Second
	// readyFor is how long an answer to "is it ready" is believed: asking the
	// disk is not for everybody who can reach the port, as often as they like.
	readyFor = time.Second
	// adminWriteTimeout is how long an answer of the admin API may take, from
	// the end of its request: that of a replay of very many deliveries too.
	adminWriteTimeout = 5 * time.Minute

	inboundSecret = "inbound_secret" // the name of the setting
)

// Options say what to run. All fields without a stated default are needed, save
// Dev.
type Options struct {
	Config  *config.Config
	Version string
	Logger  *slog.Logger
	// Open opens the store that the configuration names. The store tells
	// onCommit of each commit: how many writes shared it, and how long it took. It
	// asks expired for the time before which finished events go; zero: none does.
	Open func(ctx context.Context, onCommit func(writes int, took time.Duration), expired func() time.Time) (webhook.Store, error)
	// SetLevel changes what is logged; nil: that cannot change.
	SetLevel func(slog.Level)
	// Dev allows deliveries to loopback addresses.
	Dev bool
}

// An App is a running appliance.
type App struct {
	logger   *slog.Logger
	inbound  *inbound
	scheme   string // of the inbound URLs: http or https
	listener net.Listener
	adminURL string
	fresh    bool // the inbound secret was made at this start
	failed   chan error
	stops    []namedStop
}

// A namedStop ends a part that was started.
type namedStop struct {
	name string
	stop func(context.Context) error
}

// Start starts an appliance, and returns when it receives and delivers. If a
// part cannot start, those that were started before it are stopped again.
func Start(ctx context.Context, o Options) (*App, error) {
	a := &App{logger: o.Logger, failed: make(chan error, 3)}
	if err := a.start(ctx, o); err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	return a, nil
}

// start is one straight line on purpose: it is the order of the parts.
func (a *App) start(ctx context.Context, o Options) error {
	c := o.Config
	for _, warning := range c.Warnings() {
		a.logger.Warn(warning)
	}
	started := time.Now()
	counted, live := metrics.New(), feed.New(started)
	var retention retention
	retention.set(c.Storage.Retention)
	store, err := o.Open(ctx, counted.Committed, retention.expired)
	if err != nil {
		return err
	}
	a.onStop("storage", func(context.Context) error { return store.Close() })

	backups := backup.Start(c.Storage.Path, backupPolicy(c), a.logger)
	a.onStop("backups", func(context.Context) error { backups.Stop(); return nil })
	counted.WatchBackups(func() (bool, time.Time, int) {
		status := backups.Status()
		return status.On, status.Last, status.Failures
	})
	backupFault := func() []string {
		if fault := backups.Status().Fault(); fault != "" {
			return []string{fault}
		}
		return nil
	}

	allowed := slices.Clone(c.Outbound.AllowNetworks)
	if o.Dev {
		allowed = append(allowed, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}
	guard := security.NewOutboundGuard(allowed)
	expressions := transform.New(transform.Options{
		Workers: c.Outbound.TransformWorkers, Timeout: c.Outbound.TransformTimeout, Memory: c.Outbound.TransformMemory,
		MaxOutput: int(c.Outbound.TransformMaxOutput), Logger: a.logger, Observe: counted.Evaluated,
	})
	a.onStop("expressions", func(context.Context) error { expressions.Close(); return nil })
	transport := sender.NewTransport(guard, c.Outbound.Concurrency, c.Outbound.ProxyURL())
	dispatcher := dispatch.New(dispatch.Options{
		Store: store, Logger: a.logger, Transport: transport,
		Policy:  webhook.RetryPolicy{Retries: c.Outbound.Retries, Schedule: c.Outbound.Schedule, Jitter: c.Outbound.Jitter},
		Timeout: c.Outbound.Timeout, Concurrency: c.Outbound.Concurrency, MaxInFlight: c.Outbound.MaxInFlight,
		AgentID: c.Outbound.AgentID, UserAgent: c.Outbound.UserAgent,
		Observer: observer{live, counted}, Guard: guard,
		Hold: c.Outbound.Hold, Expressions: expressions, Transforms: c.Transforms,
	})
	if err := dispatcher.Start(ctx); err != nil {
		return err
	}
	a.onStop("dispatcher", func(ctx context.Context) error {
		dispatcher.Stop(ctx)
		transport.CloseIdleConnections()
		return nil
	})

	counted.Watch(store.Stats, dispatcher.Subscribers, dispatcher.Held)

	ready := &readiness{check: store.Check, stats: store.Stats}
	// The admin API tells where the inbound endpoint is, so that its listener is
	// opened first; it is served last, when all the rest is there.
	inboundTLS, err := a.openInbound(ctx, o, gateway.Options{
		Publisher: dispatcher, IDs: store.IDs(), Logger: a.logger, Keep: store.Reject, Ready: ready.ready,
		Observe: observer{live, counted}.received, Degraded: func() []string { return append(backupFault(), ready.degraded()...) },
	}, store, func(c *config.Config) {
		retention.set(c.Storage.Retention)
		dispatcher.SetTransforms(c.Transforms)
		backups.Use(backupPolicy(c))
		if o.SetLevel != nil {
			o.SetLevel(c.Log.Level)
		}
	})
	if err != nil {
		return err
	}
	var (
		adminTLS         *tls.Config
		adminNames       []string
		adminCertificate *watched[*security.Certificate]
	)
	if c.Admin.TLSCert != "" {
		certificate, err := openCertificate("admin", c.Admin.TLSCert, c.Admin.TLSKey, a.logger)
		if err != nil {
			return err
		}
		adminCertificate = watch(certificate)
		a.onStop("admin certificate", func(context.Context) error { adminCertificate.stop(); return nil })
		adminTLS, adminNames = certificate.TLS(), certificate.Names()
	}
	degraded := func() []string {
		return slices.Concat(a.inbound.degraded(), adminCertificate.fault("admin.tls_cert"), backupFault())
	}
	handlers := admin.New(admin.Options{
		Store: store, Dispatcher: dispatcher, Logger: a.logger, Version: o.Version,
		Sources: a.inbound.sources, Expects: expects, Ready: ready.ready,
		Hosts: adminHosts(c.Admin, adminNames), Feed: live, Metrics: counted.Handler(a.logger),
		Sandbox: newSender(a.inboundEndpoint, serverName(c.Inbound)), StartedAt: started,
		InboundURL: a.InboundURL, MaxInFlight: c.Outbound.MaxInFlight,
		Rate: func() api.Rate { return live.Rate(time.Now()) }, DatabasePath: c.Storage.Path, Degraded: func() []string { return append(degraded(), ready.degraded()...) },
		Warnings: func() []string { return append(a.inbound.warnings(), degraded()...) },
	})
	if err := a.serveAdmin(c, handlers, adminTLS); err != nil {
		return err
	}
	a.onStop("live stream", func(context.Context) error { live.Close(); return nil })

	a.serve("inbound server", a.inbound.limitConnections(a.listener, c.Inbound), inboundServer(a.inbound.gateway, inboundTLS))
	a.logger.Info("pintle is running", "version", o.Version, "inbound", a.InboundURL(c.Inbound.Path),
		"sources", len(c.Sources), "database", c.Storage.Path, "admin_socket", c.Socket(), "admin", a.adminURL, "config", c.File)
	return nil
}

// openInbound opens the inbound listener, and says how it speaks TLS; nil: it
// does not.
func (a *App) openInbound(ctx context.Context, o Options, g gateway.Options, store webhook.Store, reloaded func(*config.Config)) (_ *tls.Config, err error) {
	c := o.Config
	if a.inbound, a.fresh, err = openInbound(ctx, c, store, o.Version, g, reloaded); err != nil {
		return nil, err
	}
	a.onStop("watched files", func(context.Context) error { a.inbound.close(); return nil })
	if a.listener, err = net.Listen("tcp", c.Inbound.Listen); err != nil {
		return nil, fmt.Errorf("open inbound listener: %w", err)
	}
	a.onStop("inbound listener", func(context.Context) error {
		if err := a.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	certificates := a.inbound.certificates.get()
	if certificates == nil {
		a.scheme = "http"
		return nil, nil
	}
	a.scheme = "https"
	return a.inbound.tls(certificates.TLS()), nil
}

// backupPolicy says when backups are made.
func backupPolicy(c *config.Config) backup.Policy {
	b := &c.Backup
	return backup.Policy{Directory: b.Directory, Every: b.Every, Keep: b.Keep, Recipients: b.Recipients()}
}

// serverName is the name under which our own listener has a certificate; empty:
// it shows one whatever it is asked for.
func serverName(c config.Inbound) string {
	if len(c.ACMEDomains) == 0 {
		return ""
	}
	return c.ACMEDomains[0]
}

// expects says how the senders of a source sign.
func expects(s webhook.Source) string {
	verifier, err := signature.NewVerifier(s.Scheme, s.Form, s.Secrets)
	if err != nil {
		return "" // it is not in force
	}
	return verifier.Expects()
}

// inboundEndpoint is where the appliance itself posts to, and what it signs with.
func (a *App) inboundEndpoint() (url string, secret webhook.Secret) {
	main := a.inbound.main()
	return a.InboundURL(main.Path), main.Secrets[0]
}

// serveAdmin serves the admin API on its socket and, if it has one, on its
// address.
func (a *App) serveAdmin(c *config.Config, handlers admin.Handlers, certificate *tls.Config) error {
	socket, err := listenSocket(c.Socket())
	if err != nil {
		return fmt.Errorf("open admin socket: %w", err)
	}
	a.serve("admin API", socket, &http.Server{
		Handler:           handlers.Socket,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
	})
	if c.Admin.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", c.Admin.Listen)
	if err != nil {
		return fmt.Errorf("open admin listener: %w", err)
	}
	a.adminURL = "http://" + l.Addr().String()
	if certificate != nil {
		a.adminURL = "https://" + l.Addr().String()
	}
	a.serve("admin listener", l, &http.Server{
		Handler:                      handlers.TCP,
		TLSConfig:                    certificate,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  30 * time.Second,
		WriteTimeout:                 adminWriteTimeout,
		IdleTimeout:                  time.Minute,
		MaxHeaderBytes:               32 << 10,
		DisableGeneralOptionsHandler: true,
	})
	return nil
}

// loadSecret returns the secret of the inbound endpoint: the configured one, or
// the one that was made at the first start, which may be this one.
func loadSecret(ctx context.Context, store webhook.Store, configured webhook.Secret) (_ webhook.Secret, fresh bool, err error) {
	secret, err := knownSecret(ctx, store, configured)
	if !errors.Is(err, webhook.ErrNotFound) {
		return secret, false, err
	}
	secret = webhook.NewSecret()
	if err := store.PutSetting(ctx, inboundSecret, secret.Reveal()); err != nil {
		return "", false, fmt.Errorf("keep inbound secret: %w", err)
	}
	return secret, true, nil
}

// knownSecret returns the configured secret or the one that was made at the first
// start; [webhook.ErrNotFound] if there is neither.
func knownSecret(ctx context.Context, store webhook.Store, configured webhook.Secret) (webhook.Secret, error) {
	if configured != "" {
		return configured, nil
	}
	kept, err := store.Setting(ctx, inboundSecret)
	return webhook.Secret(kept), err
}

// serve runs a server until its stop, which waits for its requests.
func (a *App) serve(name string, l net.Listener, server *http.Server) {
	server.ErrorLog = slog.NewLogLogger(a.logger.With("server", name).Handler(), slog.LevelDebug)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serve := server.Serve
		if server.TLSConfig != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
	a.onStop(name, func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		<-ended
		return err
	})
}

func (a *App) onStop(name string, stop func(context.Context) error) {
	a.stops = append(a.stops, namedStop{name, stop})
}

// Failed tells when a part has ended by itself. The appliance should then be
// stopped.
func (a *App) Failed() <-chan error { return a.failed }

// Stop stops the parts, the last one started first: what comes in, the admin
// API, what goes out, the file. Each is given some seconds; when the context
// ends, no more. Whatever was not delivered is kept and sent after the next
// start.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	for _, s := range slices.Backward(a.stops) {
		ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
		if err := s.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
		cancel()
		a.logger.Debug("stopped", "part", s.name)
	}
	a.stops = nil
	return errors.Join(errs...)
}

// InboundURL is where senders post to the path.
func (a *App) InboundURL(path string) string {
	return (&url.URL{Scheme: a.scheme, Host: a.listener.Addr().String(), Path: path}).String()
}

// AdminURL is where the admin API is for those who come with a token; empty:
// nowhere.
func (a *App) AdminURL() string { return a.adminURL }

// Secret is that of the inbound endpoint, and fresh whether it was made at
// this start, so that it is to be shown.
func (a *App) Secret() (secret webhook.Secret, fresh bool) {
	return a.inbound.main().Secrets[0], a.fresh
}

// Reload replaces the configuration, as far as it can change without a restart,
// and returns the keys that differ and cannot. On error everything stays as it
// was.
func (a *App) Reload(ctx context.Context, next *config.Config) (restart []string, err error) {
	return a.inbound.reload(ctx, next)
}

// An observer tells the live stream and the metrics what happens.
type observer struct {
	live    *feed.Feed
	counted *metrics.Metrics
}

// Accepted is told of each event; see [dispatch.Observer].
func (o observer) Accepted(e *webhook.Event, deliveries int, duplicate bool) {
	o.live.Accepted(e, deliveries, duplicate)
}

// Attempted is told of each attempt; see [dispatch.Observer].
func (o observer) Attempted(e *webhook.Event, s *webhook.Subscriber, r *webhook.Result) {
	o.live.Attempted(e, s, r)
	o.counted.Attempted(e, s, r)
}

// received is told of each inbound request.
func (o observer) received(r gateway.Receipt) {
	o.counted.Received(r.Source, r.Result, r.Took)
	if r.RequestID != "" {
		o.live.Rejected(feed.Rejection{ID: r.RequestID, Source: r.Source, Client: r.Client, Status: r.Status, Code: r.Result, At: r.At})
	}
}

// readiness answers whether events can be stored, from memory if it was asked
// a moment ago.
type readiness struct {
	check func(context.Context) error
	stats func(context.Context, webhook.StatsQuery) (webhook.Stats, error)

	mu       sync.Mutex
	asked    time.Time
	err      error
	warnings []string
}

func (r *readiness) ready(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asked) >= readyFor {
		r.err, r.asked, r.warnings = r.check(ctx), time.Now(), nil
		stats, err := r.stats(ctx, webhook.StatsQuery{})
		if err != nil {
			return r.err
		}
		if stats.LogHeld {
			r.warnings = append(r.warnings, fmt.Sprintf("storage.path has a write-ahead log of %d MB, which cannot be emptied while another program reads the database: end that",
				stats.LogBytes/1e6))
		}
		if stats.LogFault != "" {
			r.warnings = append(r.warnings, fmt.Sprintf("storage.path cannot take what its write-ahead log of %d MB holds, which keeps it: %s", stats.LogBytes/1e6, stats.LogFault))
		}
		if stats.UpkeepFault != "" {
			r.warnings = append(r.warnings, "storage.retention and storage.max_size may not be kept to: "+stats.UpkeepFault)
		}
	}
	return r.err
}

// degraded says what was not as it should be with the store when it was asked
// last.
func (r *readiness) degraded() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.warnings)
}

// retention is how long finished events are kept, in nanoseconds; zero: for ever.
type retention struct{ atomic.Int64 }

func (r *retention) set(d time.Duration) { r.Store(int64(d)) }

// expired is the time before which they go; zero: none does.
func (r *retention) expired() time.Time {
	if d := time.Duration(r.Load()); d > 0 {
		return time.Now().Add(-d)
	}
	return time.Time{}
}
