package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

func sizeOf(t *testing.T, file string) int64 {
	t.Helper()
	size, err := dbfile.Size(file)
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// TestLogOfAFailedSyncIsRenewedBeforeAnyCommit holds that nothing is committed to a
// write-ahead log whose sync has failed, nor to one that a life before has left.
func TestLogOfAFailedSyncIsRenewedBeforeAnyCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, path, 0)
	to := put(t, s)
	for i := range 20 {
		if _, err := s.Accept(t.Context(), []webhook.Accept{large(s, fmt.Sprint(i), 50_000, to)}); err != nil {
			t.Fatal(err)
		}
	}
	before := sizeOf(t, path+"-wal")
	if err := s.writer.do("fail", func(*transaction) error { s.writer.suspect = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.PutSetting(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if after := sizeOf(t, path+"-wal"); after >= before/2 {
		t.Errorf("the log has %d bytes, and had %d", after, before)
	}
	events, err := s.Events(t.Context(), webhook.EventFilter{}, webhook.Page{Limit: 100})
	if err != nil || len(events.Items) != 20 {
		t.Errorf("%d events, %v", len(events.Items), err)
	}

	// As a kill leaves it: another process opens a copy.
	copied := filepath.Join(t.TempDir(), "pintle.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(copied+suffix, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if sizeOf(t, copied+"-wal") == 0 {
		t.Fatal("the copy has no log")
	}
	openBounded(t, copied, 0)
	if size := sizeOf(t, copied+"-wal"); size > 0 {
		t.Errorf("the log that was found has %d bytes still", size)
	}
}

// TestFileGivesBackWhatALogWasMovedIntoInVain holds that the file gets no shorter than
// it was before.
func TestFileGivesBackWhatALogWasMovedIntoInVain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 3*dbfile.PageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &writer{path: path}
	for _, c := range []struct{ before, after int64 }{{4 * dbfile.PageSize, 3 * dbfile.PageSize}, {2 * dbfile.PageSize, 2 * dbfile.PageSize}} {
		if err := w.giveBack(c.before); err != nil || sizeOf(t, path) != c.after {
			t.Errorf("given back to %d: %d bytes, %v", c.before, sizeOf(t, path), err)
		}
	}
}

// TestReaderFromOutsideDoesNotKeepAStartUp, such as one that replicates the file, whose
// view of it lasts.
func TestReaderFromOutsideDoesNotKeepAStartUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, path, 0)
	to := put(t, s)
	reader, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	tx, err := reader.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM events`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(t.Context(), []webhook.Accept{large(s, "1", 50_000, to)}); err != nil {
		t.Fatal(err)
	}
	// Its error is that the log cannot be emptied.
	_ = s.Close()
	begun := time.Now()
	s = openBounded(t, path, 0)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the start took %s", took)
	}
	if _, err := s.Accept(t.Context(), []webhook.Accept{large(s, "2", 50_000, to)}); err != nil {
		t.Error(err)
	}
}

// TestReaderOfTheNewestStateCostsNothing: all of the log can be moved into the file then,
// which grows by it, and only the log cannot begin anew.
func TestReaderOfTheNewestStateCostsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, path, 0)
	to := put(t, s)
	for i := range 20 {
		if _, err := s.Accept(t.Context(), []webhook.Accept{large(s, fmt.Sprint(i), 50_000, to)}); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	tx, err := reader.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	count := func() (n int) {
		t.Helper()
		if err := tx.QueryRow(`SELECT count(*) FROM events WHERE data LIKE '%x%'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 20 {
		t.Fatalf("%d events", n)
	}
	// As at a start; the writer is idle.
	s.writer.suspect = true
	if _, err := s.writer.conn.ExecContext(t.Context(), `PRAGMA busy_timeout = 100`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(t.Context(), []webhook.Accept{large(s, "refused", 50_000, to)}); !errors.Is(err, errLogIsRead) {
		t.Errorf("a commit on a log that may be lost: %v", err)
	}
	if n := count(); n != 20 {
		t.Errorf("the reader sees %d events", n)
	}
	must(t, tx.Rollback())
	if _, err := s.Accept(t.Context(), []webhook.Accept{large(s, "last", 50_000, to)}); err != nil {
		t.Error(err)
	}
	must(t, s.Close())
	must(t, dbfile.Verify(t.Context(), path))
	s = openBounded(t, path, 0)
	if events := kept(t, s); len(events) != 21 {
		t.Errorf("%d events are there, want 21", len(events))
	}
}
