package sqlite

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// withoutSync has the syncs of the log fail, by a device in place of it that takes what is
// written and cannot be synced.
func withoutSync(t *testing.T, path string, do func()) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var logs []int
	for _, entry := range open {
		if file, _ := os.Readlink("/proc/self/fd/" + entry.Name()); file == path+"-wal" {
			fd, err := strconv.Atoi(entry.Name())
			must(t, err)
			logs = append(logs, fd)
		}
	}
	if len(logs) == 0 {
		t.Fatal("nobody has the log open")
	}
	kept := map[int]int{}
	for _, fd := range logs {
		kept[fd], err = syscall.Dup(fd)
		must(t, err)
		must(t, syscall.Dup3(int(null.Fd()), fd, 0))
	}
	do()
	for fd, as := range kept {
		must(t, syscall.Dup3(as, fd, 0))
		must(t, syscall.Close(as))
	}
}

// TestSyncThatFailsBeforeAMoveIsTheLogs: what was committed unsynced is lost with it, and
// what is acknowledged behind it would be.
func TestSyncThatFailsBeforeAMoveIsTheLogs(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	s.upkeep.close()
	to := put(t, s)
	accept(t, s, large(s, "before", 50_000, to))
	level := s.writer.level
	within(t, s, func(*transaction) error { s.writer.level = "full"; s.writer.unsynced = true; return nil })
	within(t, s, func(*transaction) error { return nil })
	must(t, s.writer.lazily("lazy", func(tx *transaction) error { return tx.touch() }))
	withoutSync(t, s.path, func() {
		if _, _, err := s.log.begin("passive", 0); !dbfile.SyncFailed(err) {
			t.Errorf("the move ends with %v", err)
		}
	})
	size := sizeOf(t, s.path+"-wal")
	accept(t, s, large(s, "after", 100, to))
	if now := sizeOf(t, s.path+"-wal"); now >= size {
		t.Errorf("the log had %d bytes and has %d: it was not begun anew", size, now)
	}
	within(t, s, func(*transaction) error { s.writer.level = level; return nil })
	if n := len(kept(t, s)); n != 2 {
		t.Errorf("%d events are kept, want 2", n)
	}
}
