package crash

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestDatabaseStaysLockedAfterABackup has the appliance make a backup, for which it
// opens its own file once more and closes it. Without SQLite's lock another program that
// closes the database takes itself for the last one, and removes the write-ahead log
// with what is acknowledged after.
func TestDatabaseStaysLockedAfterABackup(t *testing.T) {
	s := newScene(t, t.TempDir())
	copies := t.TempDir()
	s.configure(t, fmt.Sprintf("[backup]\ndirectory = %q\nevery = \"1h\"\n", copies))
	a := s.begin(t)
	until(t, arriveWithin, "a backup", func() bool {
		made, err := filepath.Glob(filepath.Join(copies, "*.db"))
		return err == nil && len(made) > 0
	})
	f, err := os.OpenFile(s.database, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The bytes of which each connection locks one or more, as SQLite's os.h has them.
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: 1<<30 + 2, Len: 510}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		t.Fatal(err)
	}
	if lock.Type == syscall.F_UNLCK {
		t.Error("the database is not locked")
	}
	a.stop(t)
}
