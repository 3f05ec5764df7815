package crash

import (
	"bytes"
	"database/sql"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestReaderThatKeepsTheLogIsToldOf: the write-ahead log cannot be emptied while
// somebody reads an old state of the file, and grows. Whoever runs the appliance is
// told, before the disk is full, and told no more once it is over.
func TestReaderThatKeepsTheLogIsToldOf(t *testing.T) {
	const warning = "write-ahead log"
	s := newScene(t, openDir(t))
	a := s.begin(t)
	db, err := sql.Open("sqlite", "file:"+s.database+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	var events int
	if err := reader.QueryRow(`SELECT count(*) FROM events`).Scan(&events); err != nil {
		t.Fatal(err)
	}
	s.accept(t, "large", 110, 700<<10)
	warned := func() bool {
		status, text := s.readiness(t)
		if status != http.StatusOK {
			t.Fatalf("not ready: %d %s", status, text)
		}
		return strings.Contains(text, warning)
	}
	until(t, arriveWithin, "/readyz to warn", warned)
	if said, err := s.command(t.Context(), "doctor"); err != nil || !strings.Contains(said, warning) {
		t.Errorf("doctor does not warn: %v\n%s", err, said)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	until(t, arriveWithin, "/readyz to stop warning", func() bool { return !warned() })
	if said, err := s.command(t.Context(), "doctor"); err != nil || strings.Contains(said, warning) {
		t.Errorf("doctor still warns: %v\n%s", err, said)
	}
	s.arrived(t)
	a.stop(t)
}

// TestRetentionIsTakenFromTheConfigurationWhileRunning: what has ended goes, and
// what is pending stays, whatever its age.
func TestRetentionIsTakenFromTheConfigurationWhileRunning(t *testing.T) {
	s := newScene(t, openDir(t))
	a := s.begin(t)
	s.accept(t, "old", 20, 100)
	s.arrived(t)
	nonePending(t, s.installation)
	s.inbox.fail(true)
	s.accept(t, "pending", 5, 100)
	kept := func() int {
		t.Helper()
		listed, err := s.command(t.Context(), "events", "list", "--limit", "100")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(listed, "\n")
	}
	if n := kept(); n != 25 {
		t.Fatalf("%d events are kept before, want 25", n)
	}
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("[storage]\n"), []byte("[storage]\nretention = \"1ms\"\n"), 1)
	if err := os.WriteFile(s.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// What is due is looked for whenever something is written, which the attempts are.
	until(t, arriveWithin, "what has ended to go", func() bool { return kept() == 5 })
	s.inbox.fail(false)
	s.arrived(t)
	a.stop(t)
	checkIntegrity(t, s.database)
}
