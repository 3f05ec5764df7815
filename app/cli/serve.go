package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
	"github.com/pintle/pintle/tui/text"
)

func newServe(g *globals) *cobra.Command {
	var dev bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the appliance",
		Long: "Run the appliance: receive, store and deliver events, until SIGINT or SIGTERM.\n" +
			"It then takes nothing more in, finishes the deliveries in flight and keeps the\n" +
			"rest for the next start. A second signal cuts that short. SIGHUP reads the\n" +
			"configuration again, and the log says what has changed only for the next start.\n\n" +
			"Without any configuration it makes pintle.db and an inbound secret, which is\n" +
			"shown once, and listens on 127.0.0.1:8080.",
		Example: "pintle serve\npintle serve --dev\npintle serve --config /etc/pintle/config.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			format := c.Log.Format
			if dev {
				format = "text"
			}
			var level slog.LevelVar
			level.Set(c.Log.Level)
			logger := newLogger(cmd.ErrOrStderr(), &level, format)
			err = g.serve(cmd, c, logger, level.Set, dev)
			if faults := (config.Faults)(nil); errors.As(err, &faults) || errors.Is(err, storage.ErrSealed) {
				return err // a file or a key of the configuration is no good
			}
			return failed(err)
		},
	}
	c.Flags().BoolVar(&dev, "dev", false, "for a developer's machine: deliveries to loopback are allowed, logs are readable")
	return c
}

// gcPercent has the garbage collector run half as often as it does by default.
// The appliance's heap is small, and nearly all of it garbage: that costs some
// megabytes, and gives back a part of the processor's time.
const gcPercent = 200

func (g *globals) serve(cmd *cobra.Command, c *config.Config, logger *slog.Logger, setLevel func(slog.Level), dev bool) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// From here on, so that a reload during the start does not end the process.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	a, err := g.start(ctx, c, logger, setLevel, dev)
	if err != nil {
		return err
	}
	if secret, fresh := a.Secret(); fresh {
		fmt.Fprintf(cmd.OutOrStdout(), "The inbound secret, shown only now: %s\n", secret.Reveal())
	}
	file := c.File
	return wait(ctx, stop, a, logger, hangUps, func() { file = g.reload(ctx, a, file, logger) })
}

// reload reads the configuration again and gives it to the appliance. One that
// has a fault changes nothing, and neither does one without the file that the
// configuration in force is from: another one, or the defaults, would let in
// whom that file keeps out. It returns which file is in force.
func (g *globals) reload(ctx context.Context, a *app.App, file string, logger *slog.Logger) string {
	next, err := g.load()
	if err == nil && file != "" {
		_, err = os.Stat(file)
	}
	var restart []string
	if err == nil {
		restart, err = a.Reload(ctx, next)
	}
	if err != nil {
		logger.Error("configuration not reloaded; the one before stays in force", "error", err)
		return file
	}
	for _, warning := range next.Warnings() {
		logger.Warn(warning)
	}
	logger.Info("configuration reloaded", "config", next.File)
	if len(restart) > 0 {
		logger.Warn("some keys have changed that need a restart; they are as before", "keys", strings.Join(restart, " "))
	}
	return next.File
}

// start starts an appliance on the configured store.
func (g *globals) start(ctx context.Context, c *config.Config, logger *slog.Logger, setLevel func(slog.Level), dev bool) (*app.App, error) {
	keys, err := c.Keyring()
	if errors.Is(err, security.ErrExposed) {
		return nil, hint(err, "chmod 600 %s", c.Storage.EncryptionKeyFile)
	}
	if err != nil {
		return nil, err
	}
	a, err := app.Start(ctx, app.Options{
		Config: c, Version: g.build.Version, Logger: logger, SetLevel: setLevel, Dev: dev,
		Open: func(ctx context.Context, onCommit func(int, time.Duration), expired func() time.Time) (webhook.Store, error) {
			return g.open(ctx, c, keys, logger, onCommit, expired)
		},
	})
	switch {
	case errors.Is(err, storage.ErrInUse):
		return nil, hint(err, "stop the other one, or name another file with --db")
	case errors.Is(err, storage.ErrDamaged):
		return nil, hint(err, "see pintle doctor, or docs/faults.md; keep the file, and put the newest backup in its place")
	case errors.Is(err, storage.ErrSealed) && keys == nil:
		return nil, hint(err, "set storage.encryption_key_file or PINTLE_STORAGE_ENCRYPTION_KEY to the key that it was sealed with")
	case errors.Is(err, storage.ErrSealed):
		return nil, hint(err, "add the key that it was sealed with, behind the newer ones")
	}
	return a, err
}

// open opens the configured store; without keys its secrets are not sealed.
func (g *globals) open(ctx context.Context, c *config.Config, keys *security.Keyring, logger *slog.Logger, onCommit func(int, time.Duration), expired func() time.Time) (webhook.Store, error) {
	o := storage.Options{
		Path: c.Storage.Path, Schema: g.build.Schema, Synchronous: c.Storage.Synchronous, MaxSize: c.Storage.MaxSize, OnCommit: onCommit,
		Expired: expired, OnUpkeep: logUpkeep(logger),
		OnUpgrade: func(from, to int, copied string) {
			logger.Info("upgrading the database", "from", from, "to", to, "copy", copied)
		},
	}
	if keys != nil {
		o.Sealer = keys
	}
	store, err := storage.Open(ctx, o)
	if err != nil || keys == nil {
		return store, err
	}
	logger.Info("the secrets in the database are sealed", "key", keys.Newest())
	for _, copied := range storage.UnsealedCopies(c.Storage.Path) {
		logger.Warn("a copy from before an upgrade has secrets that are not sealed; remove it when it is not needed any more", "copy", copied)
	}
	return store, nil
}

// logUpkeep logs what is done for the database in the background.
func logUpkeep(logger *slog.Logger) func(storage.Upkeep) {
	var mu sync.Mutex
	held := false
	return func(u storage.Upkeep) {
		mu.Lock()
		defer mu.Unlock()
		if u.Err != nil {
			logger.Error("the database is not looked after; it is tried again", "error", u.Err)
		}
		if u.Events > 0 || u.Returned > 0 {
			logger.Debug("old events are gone", "events", u.Events, "returned_bytes", u.Returned)
		}
		switch {
		case u.LogHeld && !held:
			logger.Warn("another program reads the database, so that its write-ahead log cannot be emptied; end that", "log_bytes", u.LogBytes)
		case held && !u.LogHeld:
			logger.Info("the write-ahead log can be emptied again", "log_bytes", u.LogBytes)
		}
		held = u.LogHeld
	}
}

// wait runs the appliance until the first signal or fault, and then stops it;
// release lets the second signal through, which cuts the stop short. Meanwhile
// it reloads whenever it is asked to.
func wait(ctx context.Context, release func(), a *app.App, logger *slog.Logger, asked <-chan os.Signal, reload func()) error {
	var fault error
	for running := true; running; {
		select {
		case <-asked:
			reload()
		case <-ctx.Done():
			logger.Info("stopping; a second signal cuts it short")
			running = false
		case fault = <-a.Failed():
			logger.Error("stopping", "error", fault)
			running = false
		}
	}
	hurry, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	release()
	err := errors.Join(fault, a.Stop(hurry))
	logger.Info("stopped")
	return err
}

func newLogger(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		o.ReplaceAttr = visible
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// visible makes visible what JSON does not escape, and a terminal would follow: the
// text handler escapes it by itself.
func visible(_ []string, a slog.Attr) slog.Attr {
	var said string
	switch v := a.Value.Any().(type) {
	case string:
		said = v
	case error:
		said = v.Error()
	}
	if strings.ContainsFunc(said, func(r rune) bool { return r >= 0x7f && !unicode.IsGraphic(r) }) {
		a.Value = slog.StringValue(text.Clean(said))
	}
	return a
}

func newVersion(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "pintle version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.output == "json" {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "{\"version\":%q}\n", g.build.Version)
				return failed(err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "pintle %s\n", g.build.Version)
			return failed(err)
		},
	}
}
