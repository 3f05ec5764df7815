package sqlite

import (
	"database/sql"
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
	m := &mover{path: path}
	for _, c := range []struct{ before, after int64 }{{4 * dbfile.PageSize, 3 * dbfile.PageSize}, {2 * dbfile.PageSize, 2 * dbfile.PageSize}} {
		if err := m.giveBack(c.before); err != nil || sizeOf(t, path) != c.after {
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

// TestReaderFromOutsideBesideAStartTakesNothingAway has the reader be where the log of a
// life before ends, so that all of it can be moved and yet it cannot begin anew.
func TestReaderFromOutsideBesideAStartTakesNothingAway(t *testing.T) {
	killed := filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, killed, 0)
	to := put(t, s)
	for i := range 50 {
		accept(t, s, large(s, fmt.Sprint(i), 20_000, to))
	}
	path := filepath.Join(t.TempDir(), "pintle.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(killed + suffix)
		must(t, err)
		must(t, os.WriteFile(path+suffix, content, 0o600))
	}
	reader, err := sql.Open("sqlite", dbfile.DSN(path))
	must(t, err)
	defer reader.Close()
	tx, err := reader.Begin()
	must(t, err)
	defer tx.Rollback()
	var n int
	must(t, tx.QueryRow(`SELECT count(*) FROM events`).Scan(&n))
	s = openBounded(t, path, 0)
	if n := len(kept(t, s)); n != 50 {
		t.Errorf("%d events are kept, want 50", n)
	}
	must(t, tx.Rollback())
	must(t, s.Close())
	must(t, dbfile.Verify(t.Context(), path))
}

// TestKeysStayKnownWhenAMoveFails: it rolls back a transaction of its own only.
func TestKeysStayKnownWhenAMoveFails(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	s.upkeep.close()
	to := put(t, s)
	a := large(s, "1", 100, to)
	accept(t, s, a)
	accept(t, s, large(s, "2", 100, to))
	must(t, s.writer.apart("test", func(*sql.Conn) error { s.writer.rollback(&transaction{s.writer}); return nil }))
	repeated, err := s.Accept(t.Context(), []webhook.Accept{large(s, "2", 100, to)})
	if err != nil || !repeated[0].Duplicate {
		t.Errorf("the repeat is answered with %+v, %v", repeated, err)
	}
}

// TestWhatTheDiskMayHaveLostIsMovedAgain has the file be, after a sync that has failed,
// as it was after the last one that did not: the kernel says once that it has lost what
// was moved, and then holds it for written.
func TestWhatTheDiskMayHaveLostIsMovedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, path, 0)
	to := put(t, s)
	some := func(name string) {
		for i := range 20 {
			accept(t, s, large(s, fmt.Sprint(name, i), 20_000, to))
		}
	}
	some("synced")
	begun, _, err := s.log.begin("truncate", time.Second)
	if err != nil || !begun {
		t.Fatalf("begun %t, %v", begun, err)
	}
	synced, err := os.ReadFile(path)
	must(t, err)
	some("moved")
	reader, err := sql.Open("sqlite", dbfile.DSN(path, "mode=ro"))
	must(t, err)
	defer reader.Close()
	tx, err := reader.Begin()
	must(t, err)
	defer tx.Rollback()
	var n int
	must(t, tx.QueryRow(`SELECT count(*) FROM events`).Scan(&n))
	some("left")
	log, err := s.log.pass()
	if err != nil || log.moved <= 0 || log.moved >= log.pages {
		t.Fatalf("%d of %d pages are moved, %v", log.moved, log.pages, err)
	}
	must(t, tx.Rollback())

	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	t.Cleanup(func() { file.Close() }) // only at the end: it would take away SQLite's locks
	_, err = file.WriteAt(append(synced, make([]byte, sizeOf(t, path)-int64(len(synced)))...), 0)
	must(t, err)
	// A pipe cannot be synced.
	pipe, other, err := os.Pipe()
	must(t, err)
	defer other.Close()
	s.writer.mover.file, pipe = pipe, s.writer.mover.file
	if err := s.writer.mover.flush(); err == nil {
		t.Error("the sync did not fail")
	}
	s.writer.mover.file, pipe = pipe, s.writer.mover.file
	must(t, pipe.Close())
	begun, _, err = s.log.begin("truncate", time.Second)
	if err != nil || !begun || sizeOf(t, path+"-wal") != 0 {
		t.Fatalf("begun %t, %v, and the log has %d bytes", begun, err, sizeOf(t, path+"-wal"))
	}
	must(t, s.Close())
	must(t, dbfile.Verify(t.Context(), path))
	if n := len(kept(t, openBounded(t, path, 0))); n != 60 {
		t.Errorf("%d events are kept, want 60", n)
	}
}
