package crash

import (
	"database/sql"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// warns waits until /readyz, which says 200, has a warning with the words, or has none
// any more. The doctor has the same.
func (s *scene) warns(t *testing.T, words string, want bool) {
	t.Helper()
	var text string
	until(t, arriveWithin, "a warning with the words "+words+" to come or go", func() bool {
		var status int
		status, text = s.readiness(t)
		return status == 200 && strings.Contains(text, words) == want
	})
	t.Logf("/readyz says %s", strings.TrimSpace(text))
	out, err := s.command(t.Context(), "doctor")
	if err != nil {
		t.Fatal(err)
	}
	said := false
	for line := range strings.Lines(out) {
		said = said || strings.Contains(line, `"warning"`) && strings.Contains(line, words)
	}
	if said != want {
		t.Errorf("the doctor says it: %t, want %t\n%s", said, want, out)
	}
}

// other opens the database as another program does.
func (s *scene) other(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", s.database+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestProgramThatKeepsTheLogIsNamed(t *testing.T) {
	s := newScene(t, t.TempDir())
	a := s.begin(t)
	s.accept(t, "first", 1, 1000)
	tx, err := s.other(t).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM events`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	const words = "cannot be emptied while another program reads the database"
	s.accept(t, "more", 700, 100_000) // the log may have 64 MiB
	s.warns(t, words, true)
	if !strings.Contains(s.logEnd(), "another program reads the database, so that its write-ahead log cannot be emptied") {
		t.Error("the log does not say it")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	s.warns(t, words, false)
	if info, err := os.Stat(s.database + "-wal"); err != nil || info.Size() > 32<<20 {
		t.Errorf("the log is not emptied: %v, %v", info, err)
	}
	s.arrived(t)
	a.stop(t)
}

// reload changes the configuration by these lines, and has the appliance read it.
func (a *appliance) reload(t *testing.T, more string) {
	t.Helper()
	a.configure(t, more)
	if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// TestRetentionIsReloadedAndSaysWhenItIsNotKeptTo has a trigger, as whoever works on the
// file could leave one behind, keep events from being deleted.
func TestRetentionIsReloadedAndSaysWhenItIsNotKeptTo(t *testing.T) {
	s := newScene(t, t.TempDir())
	a := s.begin(t)
	s.accept(t, "old", 10, 1000)
	s.arrived(t)
	nonePending(t, s.installation)
	finished := time.Now()
	other := s.other(t)
	if _, err := other.Exec(`CREATE TRIGGER keep BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'kept by a trigger'); END`); err != nil {
		t.Fatal(err)
	}
	const words = "storage.retention and storage.max_size may not be kept to"
	s.warns(t, words, false)
	// What was too young at the first look is not looked at again before a minute.
	until(t, arriveWithin, "the events to be older than a second", func() bool { return time.Since(finished) > 1500*time.Millisecond })
	s.retention = "1s"
	a.reload(t, "")
	s.warns(t, words, true)
	if _, err := other.Exec(`DROP TRIGGER keep`); err != nil {
		t.Fatal(err)
	}
	s.warns(t, words, false)
	until(t, arriveWithin, "what is old to go", func() bool {
		// The file is looked after while it is written to, as this does.
		s.readiness(t)
		var n int
		if err := other.QueryRow(`SELECT count(*) FROM events`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	a.stop(t)
	checkIntegrity(t, s.database)
}
