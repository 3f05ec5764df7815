package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin"
	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// A remote is an admin API on the socket beside a database, and the commands
// that find it there. Nothing is delivered: its subscribers are paused.
type remote struct {
	db    string
	store *sqlite.Store
}

func startRemote(t *testing.T) *remote {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{db: filepath.Join(t.TempDir(), "p.db")}
	r.store, err = sqlite.Open(t.Context(), sqlite.Options{Path: r.db, Schema: string(schema), Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	dispatcher := dispatch.New(dispatch.Options{
		Store: r.store, Logger: slog.New(slog.DiscardHandler), Transport: http.DefaultTransport,
		Policy:  webhook.RetryPolicy{Schedule: webhook.DefaultSchedule()},
		Timeout: time.Second, Concurrency: 1, MaxInFlight: 1, Expressions: transform.New(transform.Options{}),
	})
	if err := dispatcher.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", r.db+".sock")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: admin.New(admin.Options{
		Store: r.store, Dispatcher: dispatcher, Logger: slog.New(slog.DiscardHandler), Version: "test",
	}).Socket}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		<-served
		dispatcher.Stop(context.Background())
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// run runs a command and returns both its outputs.
func (r *remote) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, notes bytes.Buffer
	root := newRoot(Build{})
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(append([]string{"--db", r.db, "--server", ""}, args...))
	root.SetIn(strings.NewReader("yes\n")) // no terminal, so nobody may take it for an answer
	root.SetOut(&out)
	root.SetErr(&notes)
	err = root.ExecuteContext(t.Context())
	return out.String(), notes.String(), err
}

// must runs a command that is to succeed and returns its standard output.
func (r *remote) must(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := r.run(t, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// add adds a paused subscriber and returns it.
func (r *remote) add(t *testing.T, args ...string) api.Subscriber {
	t.Helper()
	out := r.must(t, append([]string{"subscribers", "add", "https://a.example/", "--active=false", "-o", "json"}, args...)...)
	var s api.Subscriber
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return s
}

// deaden makes a dead letter.
func (r *remote) deaden(t *testing.T) webhook.DeliveryID {
	t.Helper()
	var p api.Published
	if err := json.Unmarshal([]byte(r.must(t, "publish", "order.created", "-o", "json")), &p); err != nil {
		t.Fatal(err)
	}
	id := p.Deliveries[0].ID
	d, err := webhook.FindDelivery(t.Context(), r.store, id)
	if err != nil {
		t.Fatal(err)
	}
	err = r.store.Record(t.Context(), []webhook.Result{{DueAt: d.NextAttemptAt, State: webhook.Dead, Attempt: webhook.Attempt{
		DeliveryID: id, Number: 1, StartedAt: time.Now(), Outcome: webhook.HTTPStatus, Code: 500,
		ResponseBody: []byte("\x1b]0;owned\x07no such table"),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSubscriberIsGivenEverythingUnlessToldOtherwise(t *testing.T) {
	r := startRemote(t)
	s := r.add(t)
	if len(s.Events) != 1 || s.Events[0] != "*" || !strings.HasPrefix(s.Secret, webhook.SecretPrefix) {
		t.Errorf("got %+v", s)
	}
}

func TestNothingIsRemovedReplayedOrPurgedUnconfirmed(t *testing.T) {
	r := startRemote(t)
	s := r.add(t)
	dead := r.deaden(t)
	for _, args := range [][]string{
		{"subscribers", "remove", string(s.ID)},
		{"subscribers", "rm", string(s.ID)},
		{"dead", "replay", "--all"},
		{"dead", "replay", string(dead)},
		{"dead", "replay", "order"},
		{"dead", "purge", "--all"},
		{"events", "replay", "--all"},
	} {
		out, _, err := r.run(t, args...)
		var h *hinted
		if exitStatus(err) != exitUsage || !errors.As(err, &h) || !strings.Contains(h.hint, "--yes") || out != "" {
			t.Errorf("%v: got %v and %q", args, err, out)
		}
	}
	if out := r.must(t, "dead", "list", "-o", "json"); strings.Count(out, "\n") != 1 {
		t.Errorf("dead letters are now\n%s", out)
	}
	if out := r.must(t, "dead", "replay", "--all", "--dry-run", "-o", "json"); out != `{"matched":1,"replayed":0}`+"\n" {
		t.Errorf("counted %s", out)
	}
	if out := r.must(t, "dead", "replay", string(dead), "--yes", "-o", "json"); out != `{"matched":1,"replayed":1}`+"\n" {
		t.Errorf("replayed %s", out)
	}
	r.must(t, "subscribers", "rm", string(s.ID), "--yes")
	if out := r.must(t, "subscribers", "list", "-o", "json"); out != "" {
		t.Errorf("still there: %s", out)
	}
}

func TestTextFromOutsideReachesTheTerminalHarmless(t *testing.T) {
	r := startRemote(t)
	s := r.add(t, "--description", "evil\x1b[2J\u202e\u009b")
	dead := r.deaden(t)
	for _, args := range [][]string{
		{"subscribers", "list"}, {"subscribers", "show", string(s.ID)}, {"deliveries", "show", string(dead)},
		{"subscribers", "list", "-o", "json"}, {"deliveries", "show", string(dead), "-o", "json"},
	} {
		out := r.must(t, args...)
		if strings.ContainsAny(out, "\x1b\x07\u202e\u009b") {
			t.Errorf("%v: got %q", args, out)
		}
	}
	if out := r.must(t, "deliveries", "show", string(dead)); !strings.Contains(out, `\x1b]0;owned\ano such table`) {
		t.Errorf("the answer of the receiver is hidden:\n%s", out)
	}
	if _, _, err := r.run(t, "events", "show", "evt_\x1b[2J"); err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %q", err)
	}
}

func TestListShowsAsManyAsAskedAndSaysThatThereAreMore(t *testing.T) {
	r := startRemote(t)
	for range 3 {
		r.must(t, "publish", "a.b")
	}
	for _, c := range []struct {
		args  []string
		lines int
		note  bool
	}{
		{[]string{"--limit", "2"}, 3, true}, // one for the headings
		{[]string{"--limit", "2", "--quiet"}, 3, false},
		{[]string{"--limit", "2", "-o", "json"}, 2, false},
		{[]string{"--all"}, 4, false},
		{[]string{"--type", "c.d"}, 1, false},
		{[]string{"--type", "c.d", "-o", "json"}, 0, false},
	} {
		out, notes, err := r.run(t, append([]string{"events", "list"}, c.args...)...)
		if err != nil || strings.Count(out, "\n") != c.lines || (notes != "") != c.note {
			t.Errorf("%v: got %v\n%s%s", c.args, err, out, notes)
		}
	}
}

func TestWrongUsageIsToldFromWorkThatFailed(t *testing.T) {
	r := startRemote(t)
	for _, c := range []struct {
		status int
		args   string
	}{
		{exitUsage, "subscribers"},
		{exitUsage, "subscribers add"},
		{exitUsage, "subscribers add http://a --url http://b"},
		{exitUsage, "subscribers add http://a --timeout soon"},
		{exitUsage, "subscribers add http://a --schedule 1s,x"},
		{exitUsage, "subscribers add http://a --header X-A"},
		{exitUsage, "events list --limit 0"},
		{exitUsage, "events list --limit 3 --all"},
		{exitUsage, "deliveries list --state lost"},
		{exitUsage, "deliveries list --outcome bad"},
		{exitUsage, "deliveries list --code 7"},
		{exitUsage, "dead replay"},
		{exitUsage, "dead replay dlv_1 --all"},
		{exitUsage, "dead replay dlv_1 --code 500"},
		{exitUsage, "dead replay timeout --all"},
		{exitUsage, "dead replay --all --rate -1"},
		{exitUsage, "dead purge"},
		{exitUsage, "events replay"},
		{exitUsage, "events replay evt_1 --rate 3 --yes"},
		{exitUsage, "subscribers edit sub_1"},
		{exitUsage, "subscribers rotate-secret sub_1 --overlap -1h"},
		{exitUsage, "subscribers rotate-secret sub_1 --secret="},
		{exitUsage, "tail --kind gap"},
		{exitUsage, "tokens create x"},
		{exitUsage, "tokens create x --role root"},
		{exitUsage, "tui"},
		{exitUsage, "dead replay --code 500 --all"},
		{exitUsage, "publish bad!type"},
		{exitUsage, "publish a.b {bad"},
		{exitUsage, "--server localhost:1 events list"},
		{exitFailed, "subscribers add ftp://a"},
		{exitFailed, "subscribers show sub_nothing"},
		{exitFailed, "events show evt_nothing"},
		{exitFailed, "deliveries resend dlv_nothing"},
		{exitFailed, "dead replay dlv_nothing --yes"},
		{exitFailed, "deliveries cancel dlv_nothing"},
		{exitFailed, "events replay evt_nothing --yes"},
		{exitFailed, "subscribers edit sub_nothing --timeout 3s"},
		{exitFailed, "subscribers test sub_nothing"},
		{exitFailed, "tokens revoke tok_nothing"},
		{exitUsage, "events list --since yesterday"},
		{exitUsage, "events list colour:red"},
		{exitDone, "dead replay --all --yes"},
	} {
		if _, _, err := r.run(t, strings.Fields(c.args)...); exitStatus(err) != c.status {
			t.Errorf("%s: exit status %d, want %d (%v)", c.args, exitStatus(err), c.status, err)
		}
	}
}

func TestValueOfAFlagThatCannotBeReadSaysWhatItShouldBe(t *testing.T) {
	for args, want := range map[string]string{
		"send a.b --timestamp soon":      `--timestamp is a whole number, not "soon"`,
		"verify x --tolerance 5":         `--tolerance is a duration such as 5s or 2m, not "5"`,
		"send a.b --count 2 --rate fast": `--rate is a number, not "fast"`,
		"events list --limit few":        `--limit is a whole number, not "few"`,
		"serve --dev=maybe":              `--dev is true or false, not "maybe"`,
	} {
		var h *hinted
		err := runCommand(t, strings.Fields(args)...)
		if exitStatus(err) != exitUsage || !errors.As(err, &h) || err.Error() != want || !strings.HasSuffix(h.hint, "--help") {
			t.Errorf("%s: got %v, want %s", args, err, want)
		}
	}
}

func TestMissingApplianceIsAFailureWithTheNextStep(t *testing.T) {
	r := &remote{db: filepath.Join(t.TempDir(), "p.db")}
	_, _, err := r.run(t, "events", "list")
	var h *hinted
	if exitStatus(err) != exitFailed || !errors.As(err, &h) || !strings.Contains(h.hint, "pintle serve") {
		t.Errorf("got %v", err)
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" || c.RunE == nil {
			t.Errorf("%s: help %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		for _, below := range c.Commands() {
			check(below)
		}
	}
	check(newRoot(Build{}))
}

func TestWrongUsageSaysTheNextStep(t *testing.T) {
	r := &remote{}
	for args, want := range map[string]string{
		"serv":             "did you mean pintle serve?",
		"subscriber list":  "did you mean pintle subscribers?",
		"subscribers lst":  "did you mean pintle subscribers list?",
		"nothing-like-it":  "see pintle --help",
		"events show":      "see pintle events show --help",
		"events list --no": "see pintle events list --help",
		"completion fis":   "did you mean pintle completion fish?",
		"dead":             "see pintle dead --help",
	} {
		_, _, err := r.run(t, strings.Fields(args)...)
		var h *hinted
		if exitStatus(err) != exitUsage || !errors.As(err, &h) || h.hint != want {
			t.Errorf("%s: got %#v, want the hint %q", args, err, want)
		}
	}
}

func TestManualPageWritesFlagsAsTheyAreTyped(t *testing.T) {
	page := (&remote{}).must(t, "man")
	if !strings.Contains(page, `\fB-o\fP, \fB--output\fP`) || strings.Contains(page, `\fB--o `) {
		t.Error("--output is not there as it is typed")
	}
}
