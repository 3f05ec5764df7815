package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of so many bytes, for the test only.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// ballast fills the disk of the directory to the last byte, and returns the file
// that does.
func ballast(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 4096); ; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return f.Name()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// full posts events until one gets 507, and checks how that is said.
func (s *scene) full(t *testing.T) {
	t.Helper()
	const most = 500
	for n := range most {
		r := s.post(t, fmt.Sprintf("filling-%d", n), 20_000)
		switch {
		case r.status == http.StatusOK:
			continue
		case r.status != http.StatusInsufficientStorage || r.Error != "storage_full" || r.header.Get("Retry-After") == "":
			t.Fatalf("answer on a full disk: %d %s (%s), Retry-After %q", r.status, r.Error, r.Message, r.header.Get("Retry-After"))
		}
		return
	}
	t.Fatalf("the disk took %d events more", most)
}

func TestFullDiskLosesNothingAndRecoversByItself(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	s := newScene(t, dir)
	a := s.begin(t)
	s.inbox.close() // what is accepted now is to be delivered on the full disk
	s.accept(t, "before", 20, 1000)
	file := ballast(t, dir)
	s.full(t)
	acknowledged := len(s.promised)
	s.notReady(t, "storage is full")
	for n := range 20 {
		if r := s.post(t, fmt.Sprintf("full-%d", n), 20_000); r.status != http.StatusInsufficientStorage {
			t.Errorf("event %d on the full disk: answer %d %s: %s", n, r.status, r.Error, r.Message)
		}
	}
	if len(s.promised) != acknowledged {
		t.Errorf("%d events were acknowledged on a full disk", len(s.promised)-acknowledged)
	}
	s.inbox.open()
	s.arrived(t)
	t.Logf("all %d were delivered while the disk was full", len(s.promised))

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until(t, arriveWithin, "events to be accepted again", func() bool { return s.post(t, "first", 20_000).status == http.StatusOK })
	until(t, arriveWithin, "the appliance to be ready again", func() bool { status, _ := s.readiness(t); return status == http.StatusOK })
	s.accept(t, "full", 20, 20_000) // what was refused had not taken its key
	s.arrived(t)
	nonePending(t, s.installation)
	if n := s.repeats(); n > 0 {
		t.Errorf("%d deliveries came again", n)
	}
	a.stop(t)
	checkIntegrity(t, s.database)
}

func TestKillOnAFullDiskLosesNothing(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	s := newScene(t, dir)
	a := s.begin(t)
	s.inbox.close()
	s.accept(t, "before", 20, 1000)
	file := ballast(t, dir)
	s.full(t)
	a.kill()
	s.inbox.open()

	// A start on the full disk either succeeds or says why it does not.
	a = s.start(t)
	s.answers(t, a)
	select {
	case <-a.done:
		t.Logf("on the full disk it does not start:\n%s", s.logEnd())
	default:
		r := s.post(t, "again", 20_000)
		t.Logf("on the full disk it starts, and answers %d %s", r.status, r.Error)
		if r.status != http.StatusInsufficientStorage {
			t.Errorf("answer %d %s: %s", r.status, r.Error, r.Message)
		}
		s.arrived(t)
		a.kill()
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a = s.start(t)
	a.ready(t)
	s.arrived(t)
	s.accept(t, "after", 10, 20_000)
	s.arrived(t)
	nonePending(t, s.installation)
	a.stop(t)
	checkIntegrity(t, s.database)
}
