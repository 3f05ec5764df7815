package crash

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A device is a file system on a block device that can be made to fail. Its journal
// is on another one, which does not, as on a volume that was promised more room than
// there is: what it is full for is the files.
type device struct{ zram, dir string }

// newDevice makes the device, for the test only.
func newDevice(t *testing.T) *device {
	t.Helper()
	disk := smallDisk(t, 32<<20)
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Skipf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	image := filepath.Join(disk, "journal")
	run("truncate", "-s", "16M", image)
	run("mke2fs", "-q", "-F", "-b", "4096", "-O", "journal_dev", image)
	loop := run("losetup", "--show", "-f", image)
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", loop).CombinedOutput(); err != nil {
			t.Errorf("losetup -d: %v\n%s", err, out)
		}
	})
	number, err := os.ReadFile("/sys/class/zram-control/hot_add")
	if err != nil {
		t.Skipf("there is no zram here, a device whose room can be bounded: %v", err)
	}
	d := &device{zram: "zram" + strings.TrimSpace(string(number)), dir: t.TempDir()}
	t.Cleanup(func() {
		if err := os.WriteFile("/sys/class/zram-control/hot_remove", number, 0); err != nil {
			t.Error(err)
		}
	})
	d.set(t, "disksize", "64M")
	run("mkfs.ext4", "-q", "-b", "4096", "-J", "device="+loop, "-E", "lazy_itable_init=0", "/dev/"+d.zram)
	d.mount(t)
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, 0); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *device) set(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/sys/block/"+d.zram+"/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// fail has the device take nothing more, and mend ends that.
func (d *device) fail(t *testing.T) { d.set(t, "mem_limit", "4096") }
func (d *device) mend(t *testing.T) { d.set(t, "mem_limit", "0") }

func (d *device) mount(t *testing.T) {
	t.Helper()
	if err := syscall.Mount("/dev/"+d.zram, d.dir, "ext4", 0, "errors=continue"); err != nil {
		t.Skipf("the device cannot be mounted here: %v", err)
	}
}

// again unmounts and mounts the device, so that only what is on it counts, and
// nothing that the kernel has kept in memory though it could not write it.
func (d *device) again(t *testing.T) {
	t.Helper()
	if err := syscall.Unmount(d.dir, 0); err != nil {
		t.Fatal(err)
	}
	d.mount(t)
}

// TestNothingRestsOnASyncThatFailed has the device fail beneath the file system, which accepts
// what is written to it and cannot keep it.
func TestNothingRestsOnASyncThatFailed(t *testing.T) {
	d := newDevice(t)
	s := newScene(t, d.dir)
	a := s.begin(t)
	s.accept(t, "before", 20, 1000)
	s.arrived(t)
	nonePending(t, s.installation)
	d.fail(t)
	refused := 0
	for n := range 400 {
		r := s.post(t, fmt.Sprintf("failing-%d", n), 20_000)
		switch r.status {
		case http.StatusOK:
		case http.StatusInternalServerError, http.StatusInsufficientStorage:
			if refused++; refused == 1 {
				t.Logf("after %d events the answer is %d %s", n, r.status, r.Error)
			}
		default:
			t.Fatalf("answer %d %s: %s", r.status, r.Error, r.Message)
		}
		if refused == 20 {
			break
		}
	}
	if refused == 0 {
		t.Fatal("no sync has failed")
	}
	s.notReady(t, "check: ")

	// The power goes: what the device has is what there is.
	a.kill()
	d.mend(t)
	d.again(t)
	a = s.start(t)
	a.ready(t)
	for _, key := range append([]string(nil), s.keys...) {
		size := 20_000
		if strings.HasPrefix(key, "before") {
			size = 1000
		}
		if r := s.post(t, key, size); r.Status != "duplicate" {
			t.Errorf("%s, acknowledged before, got the answer %d %s%s", key, r.status, r.Status, r.Error)
		}
	}
	s.arrived(t)
	nonePending(t, s.installation)

	// And it may fail and recover while the appliance runs.
	d.fail(t)
	until(t, arriveWithin, "a sync to fail again", func() bool {
		return s.post(t, fmt.Sprintf("again-%d", len(s.keys)), 20_000).status != http.StatusOK
	})
	d.mend(t)
	until(t, arriveWithin, "events to be accepted again", func() bool { return s.post(t, "first", 20_000).status == http.StatusOK })
	s.accept(t, "after", 20, 20_000)
	s.arrived(t)
	nonePending(t, s.installation)
	a.kill()
	d.again(t)
	a = s.start(t)
	a.ready(t)
	s.remembered(t, "after", 20_000)
	// It may be killed while the device fails, and go on without the power going: what
	// the kernel could not write, it still shows to the next.
	d.fail(t)
	until(t, arriveWithin, "a sync to fail once more", func() bool {
		return s.post(t, fmt.Sprintf("more-%d", len(s.keys)), 20_000).status != http.StatusOK
	})
	a.kill()
	d.mend(t)
	a = s.start(t)
	a.ready(t)
	s.accept(t, "last", 20, 20_000)
	a.kill()
	d.again(t)
	a = s.start(t)
	a.ready(t)
	s.remembered(t, "last", 20_000)
	s.arrived(t)
	a.stop(t)
	checkIntegrity(t, s.database)
}
