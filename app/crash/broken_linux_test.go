package crash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is a user who may do less than root.
const nobody = 65534

// asNobody has the processes of the scene run as a user whom modes of files bind, if
// this test itself is root's. The files are given to that user.
func (s *scene) asNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	s.prepare = func(cmd *exec.Cmd) { cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody} }
	for _, dir := range []string{filepath.Dir(s.config), filepath.Dir(s.database)} {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(names, dir) {
			if err := os.Chown(name, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestReadOnlyFileIsRefusedUntouched(t *testing.T) {
	base := crashed(t, 10)
	for name, modes := range map[string]struct{ file, dir os.FileMode }{
		"file": {0o400, 0o700}, "directory": {0o600, 0o500}, "both": {0o400, 0o500},
	} {
		t.Run(name, func(t *testing.T) {
			s := base.elsewhere(t)
			s.asNobody(t)
			dir := filepath.Dir(s.database)
			before := digests(t, dir)
			if err := errors.Join(os.Chmod(s.database, modes.file), os.Chmod(dir, modes.dir)); err != nil {
				t.Fatal(err)
			}
			s.refused(t, "permission denied")
			if after := digests(t, dir); !maps.Equal(before, after) {
				t.Errorf("the files were %v, and are %v", before, after)
			}
			if err := errors.Join(os.Chmod(s.database, 0o600), os.Chmod(dir, 0o700)); err != nil {
				t.Fatal(err)
			}
			a := s.start(t)
			a.ready(t)
			s.remembered(t, "", 1000)
			a.stop(t)
		})
	}
}

// TestDirectoryThatBecomesReadOnlyHurtsNothing takes away the right to make files
// while the appliance has all open that it needs.
func TestDirectoryThatBecomesReadOnlyHurtsNothing(t *testing.T) {
	s := newScene(t, openDir(t))
	s.asNobody(t)
	a := s.begin(t)
	s.accept(t, "before", 5, 1000)
	if err := os.Chmod(filepath.Dir(s.database), 0o500); err != nil {
		t.Fatal(err)
	}
	s.accept(t, "after", 20, 20_000)
	s.arrived(t)
	nonePending(t, s.installation)
	if err := os.Chmod(filepath.Dir(s.database), 0o700); err != nil {
		t.Fatal(err)
	}
	a.stop(t)
	checkIntegrity(t, s.database)
}

// A breakage has system calls of the appliance fail, by way of strace: a static
// binary asks no library that could be replaced.
type breakage struct {
	cmd *exec.Cmd
	log string
}

// breaks begins the breakage: the calls for the database, its write-ahead log, or the
// file by which room is looked for fail with the error, until it is mended.
func (a *appliance) breaks(t *testing.T, calls, fault string) *breakage {
	t.Helper()
	return a.breaksFor(t, calls, fault, a.database, a.database+"-wal", a.database+"-room")
}

func (a *appliance) breaksFor(t *testing.T, calls, fault string, files ...string) *breakage {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed, which has system calls fail")
	}
	b := &breakage{log: filepath.Join(t.TempDir(), "strace")}
	args := []string{"-f", "-o", b.log, "-p", strconv.Itoa(a.cmd.Process.Pid), "-e", "trace=" + calls, "-e", "inject=" + calls + ":error=" + fault}
	for _, file := range files {
		args = append(args, "-P", file)
	}
	b.cmd = exec.Command(strace, args...)
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	dieWithParent(b.cmd)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	attached := make(chan bool, 1)
	var said bytes.Buffer
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			fmt.Fprintln(&said, lines.Text())
			if strings.Contains(lines.Text(), "attached") {
				attached <- true
				break
			}
		}
		close(attached)
		for lines.Scan() { // it must not wait for room
		}
	}()
	t.Cleanup(func() { b.mend(t) })
	select {
	case ok := <-attached:
		if !ok {
			b.cmd.Wait()
			b.cmd = nil
			t.Skipf("strace may not attach here: %s", &said)
		}
	case <-time.After(answerWithin):
		t.Fatal("strace does not attach")
	}
	return b
}

// mend ends the breakage, and returns how many calls have failed.
func (b *breakage) mend(t *testing.T) (failed int) {
	t.Helper()
	if b.cmd == nil {
		return 0
	}
	if err := b.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = b.cmd.Wait() // it reports the signal
	b.cmd = nil
	log, err := os.ReadFile(b.log)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(log, []byte("(INJECTED)"))
}

// TestNothingIsAcknowledgedThatTheDiskRefused has the system calls fail that write
// the file or make it durable.
func TestNothingIsAcknowledgedThatTheDiskRefused(t *testing.T) {
	for name, c := range map[string]struct {
		calls, fault string
		status       int
		error, says  string
	}{
		"sync fails":                         {"fsync,fdatasync", "EIO", http.StatusInternalServerError, "internal_error", "the disk has failed to make durable"},
		"write fails":                        {"pwrite64,write", "EIO", http.StatusInternalServerError, "internal_error", "the disk has failed to write"},
		"write to what has become read-only": {"pwrite64,write,fsync,fdatasync,ftruncate", "EROFS", http.StatusInternalServerError, "internal_error", "the disk has failed to write"},
		// SQLite takes these for a broken disk, and tells no more.
		"sync finds no room": {"fsync,fdatasync", "ENOSPC", http.StatusInsufficientStorage, "storage_full", "storage is full"},
		"quota is used up":   {"pwrite64,write", "EDQUOT", http.StatusInsufficientStorage, "storage_full", "storage is full"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newScene(t, dir)
			a := s.begin(t)
			s.accept(t, "before", 10, 1000)
			s.arrived(t)
			nonePending(t, s.installation)
			s.inbox.close()
			s.accept(t, "open", 5, 1000)
			// As the disk has it for sure, should it lose what it could not sync.
			synced := t.TempDir()
			copyDatabase(t, dir, synced)

			b := a.breaks(t, c.calls, c.fault)
			for n := range 10 {
				if r := s.post(t, fmt.Sprintf("broken-%d", n), 1000); r.status != c.status || r.Error != c.error || (r.header.Get("Retry-After") != "") != (c.status == http.StatusInsufficientStorage) {
					t.Errorf("answer %d %s: %s", r.status, r.Error, r.Message)
				}
			}
			s.inbox.open()
			s.arrived(t) // what was acknowledged before goes out all the same
			s.notReady(t, c.says)
			failed := b.mend(t)
			t.Logf("%d system calls have failed", failed)
			if failed == 0 {
				t.Error("no system call has failed")
			}

			until(t, arriveWithin, "events to be accepted again", func() bool { return s.post(t, "first", 1000).status == http.StatusOK })
			s.accept(t, "broken", 10, 1000)
			s.arrived(t)
			nonePending(t, s.installation)
			if n := s.repeats(); n > 0 {
				t.Errorf("%d deliveries came again", n)
			}
			a.kill()
			again := s.start(t)
			again.ready(t)
			s.remembered(t, "", 1000)
			again.stop(t)
			checkIntegrity(t, s.database)

			// And had the power gone while it was broken:
			lost := &scene{installation: install(t, s.binary, synced), inbox: s.inbox, promised: map[string]string{}}
			for _, key := range s.keys[:15] {
				lost.promised[key] = s.promised[key]
				lost.keys = append(lost.keys, key)
			}
			last := lost.start(t)
			last.ready(t)
			lost.remembered(t, "", 1000)
			last.stop(t)
			checkIntegrity(t, lost.database)
		})
	}
}

// TestLogKeepsWhatTheFileDidNotTake has syncs of the file fail, and those of its
// write-ahead log not: what is accepted is safe there, but cannot be moved.
func TestLogKeepsWhatTheFileDidNotTake(t *testing.T) {
	dir := t.TempDir()
	s := newScene(t, dir)
	a := s.begin(t)
	s.accept(t, "before", 5, 1000)
	s.arrived(t)
	synced, err := os.ReadFile(s.database)
	if err != nil {
		t.Fatal(err)
	}
	b := a.breaksFor(t, "fsync,fdatasync", "EIO", s.database)
	// The log is moved every 16 MiB, and to begin anew from 32 on.
	const events, size = 400, 100_000
	s.accept(t, "broken", events, size)
	s.arrived(t)
	nonePending(t, s.installation)
	words := []string{"cannot take what its write-ahead log", "the disk has failed to make durable"}
	var text string
	until(t, arriveWithin, "/readyz to say it", func() bool {
		var status int
		status, text = s.readiness(t)
		return status == http.StatusOK && strings.Contains(text, words[0]) && strings.Contains(text, words[1])
	})
	t.Logf("degraded: %s", strings.TrimSpace(text))
	if log := s.logEnd(); !strings.Contains(log, "move the write-ahead log into the file: the disk has failed to make durable") {
		t.Error("the log does not say it")
	}
	info, err := os.Stat(s.database + "-wal")
	if err != nil || info.Size() < events*size {
		t.Errorf("the write-ahead log does not have all that was accepted: %v, %v", info, err)
	}
	s.keys = s.keys[5:]

	// The power goes, and of the file there is what was synced.
	lost := t.TempDir()
	copyDatabase(t, dir, lost)
	if err := os.WriteFile(filepath.Join(lost, "pintle.db"), synced, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(lost, "pintle.db-shm")); err != nil {
		t.Fatal(err)
	}
	again := &scene{installation: install(t, s.binary, lost), inbox: s.inbox, promised: s.promised, keys: s.keys}
	last := again.start(t)
	last.ready(t)
	again.remembered(t, "", size)
	last.stop(t)
	checkIntegrity(t, again.database)

	// Or the disk is mended.
	if failed := b.mend(t); failed == 0 {
		t.Error("no sync has failed")
	}
	until(t, arriveWithin, "the log to be moved", func() bool {
		_, text := s.readiness(t)
		return !strings.Contains(text, words[0])
	})
	a.kill()
	a = s.start(t)
	a.ready(t)
	s.remembered(t, "", size)
	if n := s.repeats(); n > 0 {
		t.Errorf("%d deliveries came again", n)
	}
	a.stop(t)
	checkIntegrity(t, s.database)
}
