package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// emptyFile makes what a copy can be written into.
func emptyFile(t *testing.T) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "copy")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// accept stores an event with so many bytes.
func accept(t *testing.T, s *sqlite.Store, bytes int) webhook.EventID {
	t.Helper()
	id, err := tryToAccept(t.Context(), s, bytes)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func tryToAccept(ctx context.Context, s *sqlite.Store, bytes int) (webhook.EventID, error) {
	now := time.Now()
	id := s.IDs().Event(now)
	_, err := s.Accept(ctx, []webhook.Accept{{
		Event: webhook.Event{ID: id, Source: webhook.SourceInbound, Type: "order.created", Timestamp: now.Unix(), ReceivedAt: now,
			Data: []byte(`"` + strings.Repeat("x", bytes) + `"`)},
		Key: webhook.NewDedupeKey(webhook.SourceInbound, string(id)),
	}})
	return id, err
}

// many is more than several steps of a copy have.
const many = 5 << 20

func TestCopyIsOneMomentWhileEventsAreStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b#?.db")
	store, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, store, many)
	before := accept(t, store, 1)
	// Events are stored from before the copy until after it.
	stop, begun, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			if _, err := tryToAccept(t.Context(), store, 100<<10); err != nil {
				t.Error(err)
			}
			if n == 0 {
				close(begun)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	<-begun
	to := emptyFile(t)
	contents, err := dbfile.Copy(t.Context(), path, to)
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	if contents.Newest <= before || contents.Events < 3 {
		t.Errorf("the copy has %+v: it lacks what was stored before it, up to %s", contents, before)
	}
	if after := accept(t, store, 1); contents.Newest >= after {
		t.Errorf("the copy has %s, which was stored after it", contents.Newest)
	}
	if got, err := dbfile.Examine(t.Context(), to); err != nil || got != contents {
		t.Errorf("it is said to have %+v, and has %+v, %v", contents, got, err)
	}
	if got := names(t, filepath.Dir(to)); strings.Contains(got, " ") {
		t.Errorf("the copy is not one file: %s", got)
	}
	copied, err := open(t, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copied.Event(t.Context(), before); err != nil {
		t.Errorf("an event that was stored before the copy: %v", err)
	}
}

func TestCopyHasWhatOnlyTheLogOfACrashHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	store, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	id := accept(t, store, 1)
	path = crashed(t, path)
	contents, err := dbfile.Copy(t.Context(), path, emptyFile(t))
	if err != nil || contents.Newest != id {
		t.Errorf("the copy has %+v, %v, and not the event %s", contents, err, id)
	}
}

// crashed returns a file as it would be if the process that has it open were dead.
func crashed(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"", "-wal", "-shm"} {
		content, err := os.ReadFile(path + part)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pintle.db"+part), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "pintle.db")
}

func TestCopyLeavesWhatItCopiesAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	mark(t, path, "it")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	beside := names(t, filepath.Dir(path))
	if _, err := dbfile.Copy(t.Context(), path, emptyFile(t)); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Error("it has changed")
	}
	if now := names(t, filepath.Dir(path)); now != beside {
		t.Errorf("there was %s, and now there is %s", beside, now)
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	if _, err := open(t, path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dbfile.Copy(ctx, path, emptyFile(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("the copy ended with %v", err)
	}
}

func TestExaminationFindsWhatIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	store, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		accept(t, store, 4000)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := dbfile.Examine(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	do := func(file, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", file)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		harm func(file string)
	}{
		{"a page of zeros", func(file string) {
			damaged := append([]byte(nil), whole...)
			clear(damaged[len(damaged)-3*8192 : len(damaged)-2*8192])
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file that is cut", func(file string) {
			if err := os.Truncate(file, int64(len(whole))-8192); err != nil {
				t.Fatal(err)
			}
		}},
		{"an index without an entry", func(file string) {
			const rename = `PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, '%s', '%s') WHERE name = 'deliveries_dead'`
			do(file, fmt.Sprintf(rename, "dead''", "cancelled''"))
			do(file, `INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, finished_at) SELECT id, id, 1, 'dead', 1, 1, 1 FROM events`)
			do(file, fmt.Sprintf(rename, "cancelled''", "dead''"))
		}},
		{"a delivery of an event that is not there", func(file string) {
			do(file, `INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, finished_at) VALUES (1, 1, 1, 'dead', 1, 1, 1)`)
		}},
		{"no installation", func(file string) { do(file, `DELETE FROM settings`) }},
	} {
		file := filepath.Join(t.TempDir(), "pintle.db")
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		test.harm(file)
		if got, err := dbfile.Examine(t.Context(), file); err == nil {
			t.Errorf("%s: it was not found: %+v", test.name, got)
		}
		if got, err := dbfile.Copy(t.Context(), file, emptyFile(t)); err == nil {
			t.Errorf("%s: it was copied: %+v", test.name, got)
		}
	}
}

// mark writes into a file which it is.
func mark(t *testing.T, path, name string) {
	t.Helper()
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.PutSetting(t.Context(), "mark", name), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func marked(t *testing.T, path string) string {
	t.Helper()
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	value, err := s.Setting(t.Context(), "mark")
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestARestoreThatIsCutShortIsFinishedByTheNextStart(t *testing.T) {
	const stamp = "20260101T000000.000Z"
	// The parts of the old database that had been moved when the process died.
	for done, moved := range [][]string{{}, {"-shm"}, {"-shm", "-wal"}, {"-shm", "-wal", ""}} {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pintle.db")
			old, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			// It stands in the write-ahead log only, which must not get beside the
			// new file.
			if err := old.PutSetting(t.Context(), "mark", "old"); err != nil {
				t.Fatal(err)
			}
			path = crashed(t, path)
			next := filepath.Join(t.TempDir(), "pintle.db")
			mark(t, next, "new")
			if err := os.Rename(next, path+".restored-"+stamp); err != nil {
				t.Fatal(err)
			}
			for _, part := range moved {
				if err := os.Rename(path+part, path+".replaced-"+stamp+part); err != nil {
					t.Fatal(err)
				}
			}
			if got := marked(t, path); got != "new" {
				t.Errorf("the database is the %s one", got)
			}
			if got := marked(t, path+".replaced-"+stamp); got != "old" {
				t.Errorf("what was moved aside is the %s one", got)
			}
		})
	}
}

func TestARestoreThatIsCutShortIsFinishedBeforeTheNextOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	mark(t, path, "old")
	for _, name := range []string{path + ".restored-20260101T000000.000Z", path + ".next"} {
		mark(t, name, filepath.Ext(name))
		if err := os.Remove(name + ".lock"); err != nil {
			t.Fatal(err)
		}
	}
	claim, err := dbfile.Seize(path)
	if err != nil {
		t.Fatal(err)
	}
	aside, err := claim.Replace(path+".next", time.Now())
	if err := errors.Join(err, claim.Release()); err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(aside, "20260101T000000.000Z") {
		t.Errorf("the one before was not finished: %s", aside)
	}
	for file, want := range map[string]string{path: ".next", aside: ".000Z", path + ".replaced-20260101T000000.000Z": "old"} {
		if got := marked(t, file); got != want {
			t.Errorf("%s is %s, want %s", file, got, want)
		}
	}
}

func TestOnlyARestoreIsTakenForOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pintle.db")
	mark(t, path, "it")
	// A copy that somebody gave a name like that, with its lock, and a folder.
	mark(t, path+".restored-test", "other")
	if err := os.Mkdir(path+".restored-20260101T000000.000Z", 0o700); err != nil {
		t.Fatal(err)
	}
	before := names(t, dir)
	if got := marked(t, path); got != "it" {
		t.Errorf("the database is the %s one", got)
	}
	if after := names(t, dir); after != before {
		t.Errorf("there was %s, and now there is %s", before, after)
	}
}

func TestAFolderIsNotReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := dbfile.Seize(dir); err == nil || !strings.HasSuffix(err.Error(), "data is not a file") {
		t.Errorf("a folder was seized: %v", err)
	}
	if got := names(t, filepath.Dir(dir)); got != "data" {
		t.Errorf("beside it there is %s", got)
	}
}

func TestNothingIsReplacedWhileItIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	store, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dbfile.Seize(path); !errors.Is(err, dbfile.ErrInUse) {
		t.Errorf("an open file was seized: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	claim, err := dbfile.Seize(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path); !errors.Is(err, dbfile.ErrInUse) {
		t.Errorf("a file was opened while it is replaced: %v", err)
	}
	if err := claim.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestALinkToAFileIsThatFile(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "real.db")
	link, absent := filepath.Join(dir, "pintle.db"), filepath.Join(dir, "absent.db")
	for name, to := range map[string]string{link: file, absent: "pintle.db"} {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	// It is made at the end of both links.
	store, err := open(t, absent)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, store, 1)
	for _, name := range []string{file, link, absent} {
		if _, err := open(t, name); !errors.Is(err, dbfile.ErrInUse) {
			t.Errorf("%s was opened twice: %v", filepath.Base(name), err)
		}
		if _, err := dbfile.Seize(name); !errors.Is(err, dbfile.ErrInUse) {
			t.Errorf("%s was seized while it is open: %v", filepath.Base(name), err)
		}
		if info, err := dbfile.Inspect(t.Context(), name); err != nil || info.LogBytes == 0 {
			t.Errorf("%s is said to have no log: %v", filepath.Base(name), err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	claim, err := dbfile.Seize(link)
	if err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(filepath.Dir(claim.Path()), "next.db")
	mark(t, next, "new")
	_, err = claim.Replace(next, time.Now())
	if err := errors.Join(err, claim.Release()); err != nil {
		t.Fatal(err)
	}
	if got := marked(t, file); got != "new" {
		t.Errorf("the file is the %s one", got)
	}
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link leads to %s, %v", to, err)
	}
}

func TestALogWithoutItsFileIsMovedAsideToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	old, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, old, 1)
	path = crashed(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next := path + ".next"
	mark(t, next, "new")
	claim, err := dbfile.Seize(path)
	if err != nil {
		t.Fatal(err)
	}
	if exists, err := claim.Exists(); err != nil || !exists {
		t.Errorf("nothing is there to be replaced: %v", err)
	}
	aside, err := claim.Replace(next, time.Now())
	if err := errors.Join(err, claim.Release()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(aside + "-wal"); err != nil {
		t.Error(err)
	}
	if got := marked(t, path); got != "new" {
		t.Errorf("the database is the %s one", got)
	}
}

func TestAnOlderSchemaIsExaminedAndCopiedAsItIs(t *testing.T) {
	for version, name := range []string{1: "v1.sql", 2: "v2.sql", 3: "v3.sql"} {
		if name == "" {
			continue
		}
		path, to := frozen(t, name), emptyFile(t)
		contents, err := dbfile.Copy(t.Context(), path, to)
		if err != nil || contents.Schema != version || contents.Events == 0 || contents.Newest == "" {
			t.Errorf("%s: the copy has %+v, %v", name, contents, err)
			continue
		}
		if _, err := open(t, to); err != nil {
			t.Errorf("%s: the copy cannot be upgraded: %v", name, err)
		}
	}
}
