package tui

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle/pintle/app"
	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/config"
	receivers "github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

// appliance starts a real one and returns a client of it.
func appliance(t *testing.T) *client.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "pintle") // short enough for a Unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: file, Set: []string{"storage.path=" + filepath.Join(dir, "pintle.db"), "inbound.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), app.Options{
		Config: c, Version: "1.2.3", Logger: slog.New(slog.DiscardHandler), Dev: true,
		Open: func(ctx context.Context, onCommit func(int, time.Duration), expired func() time.Time) (webhook.Store, error) {
			return storage.Open(ctx, storage.Options{Path: c.Storage.Path, Schema: string(schema), Synchronous: "normal", OnCommit: onCommit, Expired: expired})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	admin, err := client.New(client.Options{Socket: c.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return admin
}

// TestFromTheFirstSubscriberToTheReplayOfADeadLetter goes the way of a newcomer
// with nothing but the keyboard, against a real appliance.
func TestFromTheFirstSubscriberToTheReplayOfADeadLetter(t *testing.T) {
	var broken atomic.Bool
	good, bad := receivers.NewReceiver(receivers.ReceiverOptions{}), receivers.NewReceiver(receivers.ReceiverOptions{Faults: receivers.Faults{Status: http.StatusServiceUnavailable}})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			bad.ServeHTTP(w, r)
		} else {
			good.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(receiver.Close)
	admin := appliance(t)
	term := run(t, 120, 40, []string{"TERM=xterm-256color"}, func(o *Options, _ *fake) { o.Client, o.Now = admin, time.Now })

	term.until(t, "nothing is failing")
	term.press(t, "4")
	term.until(t, "No subscribers yet")
	term.press(t, "n")
	term.until(t, "New subscriber")
	term.press(t, receiver.URL+"/hooks\tacme-billing\t*\t")
	term.until(t, "acme-billing")
	term.press(t, "\t\t\t\t\t1s") // the schedule: one retry
	term.press(t, "\x13")
	term.until(t, "whsec_")
	term.press(t, "\r")
	term.until(t, `acme-billing +active`)

	term.press(t, "6")
	term.until(t, `Type `)
	term.press(t, "\x13")
	term.until(t, `✓ (delivered|200)`)
	term.press(t, "1")
	term.until(t, "nothing is failing")
	term.press(t, "3")
	term.until(t, `acme-billing +✓ delivered +200`)

	broken.Store(true)
	term.press(t, "6")
	term.until(t, `Type `)
	term.press(t, "\x0e\x13") // another event, since the same one would be a repeat
	term.until(t, `✗ dead|dead`)
	term.press(t, "5")
	term.until(t, `acme-billing +(HTTP )?503 +1`)
	broken.Store(false)
	term.press(t, "r")
	term.until(t, `Replay 1 dead letter\?`)
	term.press(t, "y\r")
	term.until(t, `1 dead letter is on the way again`)
	term.press(t, "3")
	term.until(t, `acme-billing +✓ delivered +200[^\n]*\n[^\n]*acme-billing +✓ delivered +200`)
}

// TestFromAnEventThatDidNotArriveToWhy asks a real appliance.
func TestFromAnEventThatDidNotArriveToWhy(t *testing.T) {
	receiver := httptest.NewServer(receivers.NewReceiver(receivers.ReceiverOptions{}))
	t.Cleanup(receiver.Close)
	admin := appliance(t)
	for name, pattern := range map[string]webhook.Pattern{"acme-billing": "order.*", "globex-crm": "invoice.*"} {
		s, err := admin.AddSubscriber(t.Context(), api.SubscriberChange{URL: &receiver.URL, Description: &name, Events: &[]webhook.Pattern{pattern}})
		if err != nil {
			t.Fatal(err)
		}
		if name == "globex-crm" {
			if _, err := admin.PauseSubscriber(t.Context(), s.ID, "moving house"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := admin.Publish(t.Context(), api.Publish{Event: "invoice.paid", Data: json.RawMessage("{}")}); err != nil {
		t.Fatal(err)
	}
	term := run(t, 120, 40, []string{"TERM=xterm-256color"}, func(o *Options, _ *fake) { o.Client, o.Now = admin, time.Now })
	term.press(t, "2")
	term.until(t, "invoice.paid")
	term.press(t, "e")
	term.until(t, `globex-crm +◔ waits: active(?s:.*)acme-billing +✗ stops: pattern`)
	term.press(t, "G\r")
	term.until(t, `✗ pattern +STOPS`)
	term.press(t, "\x1bg\r")
	term.until(t, `◔ active +WAITS(?s:.*)story(?s:.*)made`)
}
