package app_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pintle/pintle/app"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configure returns a configuration in a folder of its own, whose name is short
// enough for a Unix socket.
func configure(t *testing.T, set ...string) *config.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "pintle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	set = append([]string{"storage.path=" + filepath.Join(dir, "pintle.db"), "inbound.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"}, set...)
	c, err := config.Load(config.Options{File: file, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t *testing.T, c *config.Config) (*app.App, error) {
	t.Helper()
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	return app.Start(t.Context(), app.Options{
		Config: c, Version: "test", Logger: slog.New(slog.DiscardHandler),
		Open: func(ctx context.Context, onCommit func(int, time.Duration), expired func() time.Time) (webhook.Store, error) {
			return storage.Open(ctx, storage.Options{Path: c.Storage.Path, Schema: string(schema), Synchronous: "normal", OnCommit: onCommit, Expired: expired})
		},
	})
}

func stop(t *testing.T, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestSecretIsMadeOnceAndKept(t *testing.T) {
	c := configure(t)
	a, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	made, fresh := a.Secret()
	stop(t, a)
	if !fresh || !strings.HasPrefix(made.Reveal(), webhook.SecretPrefix) {
		t.Errorf("the first start has the secret %q, fresh %v", made.Reveal(), fresh)
	}
	if a, err = start(t, c); err != nil {
		t.Fatal(err)
	}
	kept, fresh := a.Secret()
	stop(t, a)
	if fresh || kept != made {
		t.Errorf("the second start has another secret, fresh %v", fresh)
	}
	c.Inbound.Secret = "configured"
	if a, err = start(t, c); err != nil {
		t.Fatal(err)
	}
	if s, fresh := a.Secret(); fresh || s != "configured" {
		t.Errorf("the configured secret does not hold: fresh %v", fresh)
	}
	stop(t, a)
}

func TestReloadMakesNoSecretThatNobodySees(t *testing.T) {
	c := configure(t, "inbound.secret=configured")
	a, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, a)
	next := *c
	next.Inbound.Secret = ""
	if _, err := a.Reload(t.Context(), &next); err == nil || !strings.Contains(err.Error(), "inbound.secret") {
		t.Errorf("got %v", err)
	}
	if s, _ := a.Secret(); s != "configured" {
		t.Error("another secret is in force")
	}
}

// TestFailedStartStopsWhatItStarted begins with a port that is taken, the last
// thing that a start needs, and then starts for good: neither the file nor the
// socket may be held.
func TestFailedStartStopsWhatItStarted(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := configure(t, "inbound.listen="+taken.Addr().String())
	if _, err := start(t, c); err == nil || !strings.Contains(err.Error(), "inbound listener") {
		t.Fatalf("started on a port that is taken: %v", err)
	}
	c.Inbound.Listen = "127.0.0.1:0"
	a, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(c.Socket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	response, err := http.Get(strings.TrimSuffix(a.InboundURL(""), "/") + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if response.StatusCode != http.StatusOK {
		t.Errorf("a running appliance is not ready: %d", response.StatusCode)
	}
	if _, err := start(t, c); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("a second appliance on the file: %v, want ErrInUse", err)
	}
	stop(t, a)
}

func TestSocketOfAKilledProcessIsReplacedAndNothingElse(t *testing.T) {
	c := configure(t)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.Socket(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if a, err := start(t, c); err == nil {
		stop(t, a)
		t.Error("a socket that somebody listens on was taken away")
	}
	left.Close()
	a, err := start(t, c)
	if err != nil {
		t.Fatalf("a socket that nobody listens on: %v", err)
	}
	stop(t, a)
	if err := os.WriteFile(c.Socket(), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := start(t, c); err == nil {
		stop(t, a)
		t.Error("a file was taken for a socket")
	}
	if text, _ := os.ReadFile(c.Socket()); string(text) != "precious" {
		t.Error("the file is gone")
	}
}
