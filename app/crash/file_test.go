package crash

import (
	"bytes"
	"database/sql"
	big "encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// crashed leaves a database with a write-ahead log in the directory, as a kill does,
// and returns its scene.
func crashed(t *testing.T, events int) *scene {
	t.Helper()
	s := newScene(t, t.TempDir())
	a := s.begin(t)
	s.accept(t, "kept", events, 1000)
	s.arrived(t)
	nonePending(t, s.installation)
	a.kill()
	if info, err := os.Stat(s.database + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("the kill left no write-ahead log: %v", err)
	}
	return s
}

// elsewhere is the scene with a copy of its database, which is to be damaged.
func (s *scene) elsewhere(t *testing.T) *scene {
	t.Helper()
	dir := openDir(t)
	copyDatabase(t, filepath.Dir(s.database), dir)
	return &scene{installation: install(t, s.binary, dir), inbox: s.inbox, promised: maps.Clone(s.promised), keys: s.keys}
}

// change changes a file.
func change(t *testing.T, file string, how func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, how(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// frame is the size of a frame of the write-ahead log: its header and a page.
const frame = 24 + 8192

// TestTornLogLosesNothingThatWasSynced damages what a crash may leave of the
// write-ahead log behind the last commit, and what can be made again.
func TestTornLogLosesNothingThatWasSynced(t *testing.T) {
	base := crashed(t, 30)
	for name, damage := range map[string]func(t *testing.T, db string){
		"half a frame behind the last": func(t *testing.T, db string) {
			change(t, db+"-wal", func(wal []byte) []byte { return append(wal, wal[32:32+frame/2]...) })
		},
		"whole frames of an older log behind the last": func(t *testing.T, db string) {
			change(t, db+"-wal", func(wal []byte) []byte {
				old := bytes.Clone(wal[32 : 32+3*frame])
				for i := 0; i < len(old); i += frame {
					big.BigEndian.PutUint32(old[i+8:], 1) // another salt
				}
				return append(wal, old...)
			})
		},
		"garbage behind the last": func(t *testing.T, db string) {
			change(t, db+"-wal", func(wal []byte) []byte { return append(wal, bytes.Repeat([]byte{0xa5, 0x00, 0xff}, 10_000)...) })
		},
		"no index": func(t *testing.T, db string) {
			if err := os.Remove(db + "-shm"); err != nil {
				t.Fatal(err)
			}
		},
		"garbage for an index": func(t *testing.T, db string) {
			change(t, db+"-shm", func(shm []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(shm)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := base.elsewhere(t)
			damage(t, s.database)
			a := s.start(t)
			a.ready(t)
			s.remembered(t, "", 1000)
			s.accept(t, "after", 5, 1000)
			s.arrived(t)
			nonePending(t, s.installation)
			a.stop(t)
			checkIntegrity(t, s.database)
		})
	}
}

// TestCutLogIsAShorterHistory takes the last commits away, as a disk does that says
// what is not so. What was acknowledged last is then gone, which nothing can help;
// but what is left is whole.
func TestCutLogIsAShorterHistory(t *testing.T) {
	base := crashed(t, 30)
	for name, cut := range map[string]func([]byte) []byte{
		"in the middle of a frame": func(wal []byte) []byte { return wal[:len(wal)/2/frame*frame+frame/2] },
		"a byte in the middle": func(wal []byte) []byte {
			wal[len(wal)/2] ^= 1
			return wal
		},
		"all of it": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := base.elsewhere(t)
			change(t, s.database+"-wal", cut)
			s.promised = map[string]string{}
			keys := s.keys
			s.keys = nil
			a := s.start(t)
			a.ready(t)
			gone := 0
			for _, key := range keys {
				r := s.post(t, key, 1000)
				switch {
				case r.status != http.StatusOK:
					t.Fatalf("%s: answer %d %s", key, r.status, r.Error)
				case r.Status == "received":
					gone++
				case gone > 0:
					t.Errorf("%s is known, though one before it is not", key)
				case r.ID != base.promised[key]:
					t.Errorf("%s is known as %s, and was acknowledged as %s", key, r.ID, base.promised[key])
				}
			}
			t.Logf("%d of %d events are gone", gone, len(keys))
			nonePending(t, s.installation)
			a.stop(t)
			checkIntegrity(t, s.database)
		})
	}
}

// TestWrongFileIsRefusedUntouched starts on what is no database of Pintle, or not a
// whole one.
func TestWrongFileIsRefusedUntouched(t *testing.T) {
	whole := crashed(t, 30)
	// An orderly end leaves all in the one file.
	a := whole.start(t)
	a.ready(t)
	a.stop(t)
	database, err := os.ReadFile(whole.database)
	if err != nil {
		t.Fatal(err)
	}
	with := func(how func(db []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			if err := os.WriteFile(file, how(bytes.Clone(database)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, file string)
		says string
	}{
		"a text":       {with(func([]byte) []byte { return []byte(strings.Repeat("This is no database.\n", 100)) }), "not a SQLite database"},
		"a short text": {with(func([]byte) []byte { return []byte("hello\n") }), "not a SQLite database"},
		"the database of another application": {func(t *testing.T, file string) {
			db, err := sql.Open("sqlite", file)
			if err == nil {
				_, err = db.ExecContext(t.Context(), `CREATE TABLE t (x); INSERT INTO t VALUES (1)`)
			}
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}, "not Pintle's"},
		"a directory": {func(t *testing.T, file string) {
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "directory"},
		"that of a newer version": {with(func(db []byte) []byte {
			big.BigEndian.PutUint32(db[60:], 9999)
			return db
		}), "newer Pintle"},
		"one that was cut in half":            {with(func(db []byte) []byte { return db[:len(db)/2/8192*8192] }), "cut"},
		"one that was cut within a page":      {with(func(db []byte) []byte { return db[:len(db)-100] }), "cut"},
		"one of which the header is left":     {with(func(db []byte) []byte { return db[:100] }), "cut"},
		"one whose first page is overwritten": {with(func(db []byte) []byte { return append(db[:100:100], bytes.Repeat([]byte{0xa5}, len(db)-100)...) }), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := &scene{installation: install(t, whole.binary, dir), promised: map[string]string{}}
			c.make(t, s.database)
			before := digests(t, dir)
			s.refused(t, c.says)
			if after := digests(t, dir); !maps.Equal(before, after) {
				t.Errorf("the files were %v, and are %v", before, after)
			}
		})
	}
}

// TestFlippedPageIsFound overwrites one page in the middle of the file: whoever needs
// it is told, and what was acknowledged in spite of it arrives.
func TestFlippedPageIsFound(t *testing.T) {
	base := crashed(t, 100)
	a := base.start(t)
	a.ready(t)
	a.stop(t)
	for _, part := range []float64{0.2, 0.5, 0.8} {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			s := base.elsewhere(t)
			change(t, s.database, func(db []byte) []byte {
				page := int(float64(len(db)/8192)*part) * 8192
				copy(db[page:page+8192], bytes.Repeat([]byte{0xa5}, 8192))
				return db
			})
			dir := filepath.Dir(s.database)
			before := digests(t, dir)
			out, err := s.command(t.Context(), "doctor")
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "malformed") && !strings.Contains(out, "check the database") {
				t.Errorf("doctor ended with %v, want exit status 1, and said:\n%s", err, out)
			}
			if after := digests(t, dir); !maps.Equal(before, after) {
				t.Errorf("doctor changed the files from %v to %v", before, after)
			}
			a := s.start(t)
			s.answers(t, a)
			select {
			case <-a.done:
				if log := s.logEnd(); !strings.Contains(log, "the database is damaged") || !strings.Contains(log, "hint: ") {
					t.Errorf("it ended, and does not say that the file is damaged:\n%s", log)
				}
				t.Log("it does not start, and says why")
				return
			default:
			}
			answers := map[string]int{}
			for n := range 50 {
				r := s.post(t, fmt.Sprintf("after-%d", n), 1000)
				answers[fmt.Sprint(r.status, r.Error)]++
			}
			t.Logf("it starts, and answers %v", answers)
			s.arrived(t)
			a.kill()
		})
	}
}

// TestLogOfAnotherDatabaseIsNotTaken puts the write-ahead log of another file beside
// this one, as somebody does who copies only one of the two.
func TestLogOfAnotherDatabaseIsNotTaken(t *testing.T) {
	one, other := crashed(t, 30), crashed(t, 200)
	s := one.elsewhere(t)
	wal, err := os.ReadFile(other.database + "-wal")
	if err == nil {
		err = os.WriteFile(s.database+"-wal", wal, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(s.database)
	before := digests(t, dir)
	s.refused(t, "is that of another one", "hint: ")
	after := digests(t, dir)
	delete(before, "pintle.db-shm") // it is made anew by whoever reads
	delete(after, "pintle.db-shm")
	if !maps.Equal(before, after) {
		t.Errorf("the files were %v, and are %v", before, after)
	}
	// With its own it goes on.
	copyDatabase(t, filepath.Dir(one.database), dir)
	a := s.start(t)
	a.ready(t)
	s.remembered(t, "", 1000)
	a.stop(t)
	checkIntegrity(t, s.database)
}

// TestReaderAtAStartCostsNothing has another program read the database when the
// appliance is started after a kill: the newest state, so that all of the log can be
// moved into the file, and only the log cannot begin anew.
func TestReaderAtAStartCostsNothing(t *testing.T) {
	s := crashed(t, 100)
	db, err := sql.Open("sqlite", "file:"+s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	count := func() (n int) {
		t.Helper()
		if err := reader.QueryRow(`SELECT count(*) FROM events WHERE data LIKE '%xxx%'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	a := s.start(t)
	a.ready(t)
	s.accept(t, "beside", 10, 1000)
	if now := count(); now != before {
		t.Errorf("the reader saw %d events, and sees %d", before, now)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	s.remembered(t, "", 1000)
	s.arrived(t)
	a.stop(t)
	checkIntegrity(t, s.database)
}
