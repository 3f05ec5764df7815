// Package app is the running appliance: it starts the parts in order and stops
// them in the reverse order. It has no business rules and knows no signals, so
// that a test can run a whole appliance in process.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pintle/pintle/app/admin"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/gateway"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// shutdownTimeout is how long requests may take to end at a stop, and how
	// long after them the deliveries in flight.
	shutdownTimeout = 10 * time.Second
	// readyFor is how long an answer to "is it ready" is believed: asking the
	// disk is not for everybody who can reach the port, as often as they like.
	readyFor = time.Second

	inboundSecret = "inbound_secret" // the name of the setting
)

// Options say what to run. All fields are needed, save Dev.
type Options struct {
	Config  *config.Config
	Version string
	Logger  *slog.Logger
	// Open opens the store that the configuration names.
	Open func(context.Context) (webhook.Store, error)
	// Dev allows deliveries to loopback addresses.
	Dev bool
}

// An App is a running appliance.
type App struct {
	logger  *slog.Logger
	inbound net.Listener
	secret  webhook.Secret
	fresh   bool // the secret was made at this start
	failed  chan error
	stops   []namedStop
}

// A namedStop ends a part that was started.
type namedStop struct {
	name string
	stop func(context.Context) error
}

// Start starts an appliance, and returns when it receives and delivers. If a
// part cannot start, those that were started before it are stopped again.
func Start(ctx context.Context, o Options) (*App, error) {
	a := &App{logger: o.Logger, failed: make(chan error, 2)}
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
	store, err := o.Open(ctx)
	if err != nil {
		return err
	}
	a.onStop("storage", func(context.Context) error { return store.Close() })
	if a.secret, a.fresh, err = loadSecret(ctx, store, c.Inbound.Secret); err != nil {
		return err
	}

	allowed := slices.Clone(c.Outbound.AllowNetworks)
	if o.Dev {
		allowed = append(allowed, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}
	guard := security.NewOutboundGuard(allowed)
	transport := dispatch.NewTransport(guard, c.Outbound.Concurrency)
	dispatcher := dispatch.New(dispatch.Options{
		Store: store, Logger: a.logger, Transport: transport,
		Policy:  webhook.RetryPolicy{Retries: c.Outbound.Retries, Schedule: c.Outbound.Schedule, Jitter: c.Outbound.Jitter},
		Timeout: c.Outbound.Timeout, Concurrency: c.Outbound.Concurrency, MaxInFlight: c.Outbound.MaxInFlight,
		AgentID: c.Outbound.AgentID, UserAgent: c.Outbound.UserAgent,
	})
	if err := dispatcher.Start(ctx); err != nil {
		return err
	}
	a.onStop("dispatcher", func(ctx context.Context) error {
		dispatcher.Stop(ctx)
		transport.CloseIdleConnections()
		return nil
	})

	ready := &readiness{check: store.Check}
	socket, err := listenSocket(c.Socket())
	if err != nil {
		return fmt.Errorf("open admin socket: %w", err)
	}
	a.serve("admin API", socket, &http.Server{
		Handler: admin.New(admin.Options{
			Store: store, Dispatcher: dispatcher, Logger: a.logger, Version: o.Version,
			CheckURL: guard.CheckURL, InboundSecret: func() webhook.Secret { return a.secret }, Ready: ready.ready,
		}),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
	})

	if a.inbound, err = net.Listen("tcp", c.Inbound.Listen); err != nil {
		return fmt.Errorf("open inbound listener: %w", err)
	}
	a.serve("inbound server", a.inbound, &http.Server{
		Handler: gateway.New(gateway.Options{
			Publisher: dispatcher, IDs: store.IDs(), Logger: a.logger,
			Source:  webhook.Source{Name: webhook.SourceInbound, Path: c.Inbound.Path, Secrets: []webhook.Secret{a.secret}},
			Enabled: c.Inbound.Enabled, ValidateSignature: c.Inbound.ValidateSignature,
			MaxClockSkew: c.Inbound.MaxClockSkew, MaxBody: c.Inbound.MaxBody, Ready: ready.ready,
		}),
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  gateway.ReadTimeout,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  time.Minute,
		MaxHeaderBytes:               32 << 10,
		DisableGeneralOptionsHandler: true,
	})
	a.logger.Info("pintle is running", "version", o.Version, "inbound", a.InboundURL(c.Inbound.Path),
		"database", c.Storage.Path, "admin_socket", c.Socket(), "config", c.File)
	return nil
}

// loadSecret returns the secret of the inbound endpoint: the configured one, or
// the one that was made at the first start, which may be this one.
func loadSecret(ctx context.Context, store webhook.Store, configured webhook.Secret) (_ webhook.Secret, fresh bool, err error) {
	if configured != "" {
		return configured, false, nil
	}
	kept, err := store.Setting(ctx, inboundSecret)
	if err == nil {
		return webhook.Secret(kept), false, nil
	}
	if !errors.Is(err, webhook.ErrNotFound) {
		return "", false, err
	}
	secret := webhook.NewSecret()
	if err := store.PutSetting(ctx, inboundSecret, secret.Reveal()); err != nil {
		return "", false, fmt.Errorf("keep inbound secret: %w", err)
	}
	return secret, true, nil
}

// listenSocket opens a Unix socket that only its owner may use. A socket that
// nobody answers on is what a killed process left, and is replaced.
func listenSocket(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s exists and is no socket", path)
		}
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s is in use by another process", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		if len(path) > 100 {
			err = fmt.Errorf("%w (the system bounds the length of the path: set admin.socket to a shorter one)", err)
		}
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// serve runs a server until its stop, which waits for its requests.
func (a *App) serve(name string, l net.Listener, server *http.Server) {
	server.ErrorLog = slog.NewLogLogger(a.logger.With("server", name).Handler(), slog.LevelDebug)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
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
func (a *App) InboundURL(path string) string { return "http://" + a.inbound.Addr().String() + path }

// Secret is that of the inbound endpoint, and fresh whether it was made at
// this start, so that it is to be shown.
func (a *App) Secret() (secret webhook.Secret, fresh bool) { return a.secret, a.fresh }

// readiness answers whether events can be stored, from memory if it was asked
// a moment ago.
type readiness struct {
	check func(context.Context) error

	mu    sync.Mutex
	asked time.Time
	err   error
}

func (r *readiness) ready(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asked) >= readyFor {
		r.err, r.asked = r.check(ctx), time.Now()
	}
	return r.err
}
