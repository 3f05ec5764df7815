package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
	"github.com/pintle/pintle/storage/storagetest"
)

func schema(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func open(t testing.TB, path string) (*sqlite.Store, error) {
	t.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Options{Path: path, Schema: schema(t), Synchronous: "full"})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		path := filepath.Join(t.TempDir(), "pintle.db")
		return func(t *testing.T) webhook.Store {
			s, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

func TestFileIsReadableByItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space & ?%20.db")
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutSetting(context.Background(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", filepath.Base(name), info.Mode())
		}
	}
}

func TestSecondOpenIsRefusedUntilTheFirstIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	first, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path); !errors.Is(err, dbfile.ErrInUse) {
		t.Fatalf("second open: %v, want ErrInUse", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path); err != nil {
		t.Fatalf("open after close: %v", err)
	}
}

func TestForeignFilesAreRefusedUntouched(t *testing.T) {
	dir := t.TempDir()
	make := func(name string, statements ...string) string {
		path := filepath.Join(dir, name)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, statement := range statements {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database\n", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("SQLite"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		text:                                "not a SQLite database",
		short:                               "not a SQLite database",
		make("other", `CREATE TABLE a (b)`): "not Pintle's",
		make("newer", `CREATE TABLE a (b)`, `PRAGMA application_id = 1347310668`, `PRAGMA user_version = 99`): "newer Pintle",
	}
	for path, want := range tests {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, want)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(before) != string(after) {
			t.Errorf("%s was changed", filepath.Base(path))
		}
	}
}

func TestAnyoneMayReadTheFileWithPlainSQL(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Millisecond)
	sub := webhook.Subscriber{ID: s.IDs().Subscriber(now), URL: "https://example.com", Secret: "s3cret", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: now, UpdatedAt: now}
	if err := s.PutSubscriber(ctx, sub); err != nil {
		t.Fatal(err)
	}
	e := webhook.Event{ID: s.IDs().Event(now), Source: "inbound", Type: "a.b", Timestamp: 7, Data: []byte(`{"x": 1}`), ReceivedAt: now}
	d := webhook.NewDelivery{ID: s.IDs().Delivery(now), SubscriberID: sub.ID}
	if _, err := s.Accept(ctx, []webhook.Accept{{Event: e, Deliveries: []webhook.NewDelivery{d}}}); err != nil {
		t.Fatal(err)
	}
	attempt := webhook.Attempt{DeliveryID: d.ID, Number: 1, StartedAt: now, Outcome: webhook.HTTPStatus, Code: 500, ResponseBody: []byte("oops")}
	if err := s.Record(ctx, []webhook.Result{{Attempt: attempt, DueAt: now, State: webhook.Pending, Spent: 1, NextAttemptAt: now}}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var id, subscriber, event, request, response string
	var code, attempts, created int64
	err = db.QueryRow(`SELECT id, subscriber_id, event, request_body, response_code, response_body, attempts, created_at FROM webhook_logs`).
		Scan(&id, &subscriber, &event, &request, &code, &response, &attempts, &created)
	if err != nil {
		t.Fatal(err)
	}
	if id != string(attempt.ID()) || subscriber != string(sub.ID) || event != "a.b" || request != string(e.Body()) ||
		code != 500 || response != "oops" || attempts != 1 || created != now.UnixMilli() {
		t.Errorf("webhook_logs has %s %s %s %s %d %s %d %d", id, subscriber, event, request, code, response, attempts, created)
	}
	var url, secret, events string
	var active bool
	if err := db.QueryRow(`SELECT id, client_id, url, secret, events, active FROM webhook_subscribers`).Scan(&id, &subscriber, &url, &secret, &events, &active); err != nil {
		t.Fatal(err)
	}
	if id != string(sub.ID) || url != sub.URL || secret != "s3cret" || events != `["*"]` || !active {
		t.Errorf("webhook_subscribers has %s %s %s %s %v", id, url, secret, events, active)
	}
}

// Where a table has no rowid, SQLite up to 3.40 looks for a column behind the key at
// the wrong place, and its integrity check finds faults that are none.
func TestKeysOfTablesWithoutRowidComeFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	upgrade(t, path)
	late := rows(t, path, `SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c WHERE t.schema = 'main' AND t.wr
		AND c.pk = 0 AND c.cid < (SELECT max(k.cid) FROM pragma_table_info(t.name) k WHERE k.pk > 0)`)
	if len(late) > 0 {
		t.Errorf("columns before the end of the key: %q", late)
	}
}

func TestLogsShowWhatWasSent(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Millisecond)
	sub := webhook.Subscriber{ID: s.IDs().Subscriber(now), URL: "https://example.com", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: now, UpdatedAt: now}
	if err := s.PutSubscriber(ctx, sub); err != nil {
		t.Fatal(err)
	}
	d := webhook.NewDelivery{ID: s.IDs().Delivery(now), SubscriberID: sub.ID}
	e := webhook.Event{ID: s.IDs().Event(now), Source: "inbound", Type: "a.b", Data: []byte(`1`), ReceivedAt: now}
	if _, err := s.Accept(ctx, []webhook.Accept{{Event: e, Deliveries: []webhook.NewDelivery{d}}}); err != nil {
		t.Fatal(err)
	}
	for i, result := range []webhook.Result{
		{Attempt: webhook.Attempt{Outcome: webhook.Transformation, Error: "out of time"}},
		{Attempt: webhook.Attempt{Outcome: webhook.HTTPStatus, Code: 500}, Body: []byte(`{"n":1}`)},
		{Attempt: webhook.Attempt{Outcome: webhook.Timeout}},
	} {
		result.Attempt.DeliveryID, result.Attempt.Number, result.Attempt.StartedAt = d.ID, i+1, now
		result.DueAt, result.NextAttemptAt, result.State = now, now, webhook.Pending
		if err := s.Record(ctx, []webhook.Result{result}); err != nil {
			t.Fatal(err)
		}
	}
	got := rows(t, path, `SELECT attempts, outcome, request_body FROM webhook_logs ORDER BY attempts`)
	if want := []string{`1|transform|NULL`, `2|http_status|{"n":1}`, `3|timeout|{"n":1}`}; !slices.Equal(got, want) {
		t.Errorf("logs are %q, want %q", got, want)
	}
}

func TestCrashWhileCreatingLeavesAFileThatOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	// What a crash before the first commit leaves: an empty file.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path); err != nil {
		t.Fatal(err)
	}
}

func TestEachCommitIsTold(t *testing.T) {
	writes := 0
	s, err := sqlite.Open(context.Background(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "pintle.db"), Schema: schema(t), Synchronous: "full",
		OnCommit: func(n int, took time.Duration) {
			writes += n
			if took <= 0 {
				t.Errorf("a commit took %v", took)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.PutSetting(context.Background(), "a", "b"); err != nil {
			t.Error(err)
		}
	}
	if err := s.RemoveSubscriber(context.Background(), s.IDs().Subscriber(time.Now()), time.Now()); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("removal of nobody: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if writes != 3 {
		t.Errorf("%d writes were told, want the 3 that were committed", writes)
	}
}
