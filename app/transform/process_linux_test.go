package transform_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle/pintle/app/transform"
)

func TestAChildDiesWithItsParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self, "parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if killErr := errors.Join(err, parent.Process.Kill()); killErr != nil {
		t.Fatal(killErr)
	}
	_ = parent.Wait() // says that it was killed
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for !ended(pid) {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("the child %d lives on", pid)
		}
	}
}

// ended reports whether the process runs no more; its new parent may not have
// noticed yet.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestAChildHasNothing(t *testing.T) {
	t.Setenv("PINTLE_TRANSFORM_SECRET", "secret")
	// A descriptor that stays open in a child, as one does that came from outside.
	inherited, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	p := newPool(t, transform.Options{Workers: 1})
	if _, err := p.Filter(t.Context(), "owner", "true", input); err != nil {
		t.Fatal(err)
	}
	pid := p.ChildPIDs()[0]
	proc := fmt.Sprintf("/proc/%d/", pid)
	if environ, err := os.ReadFile(proc + "environ"); err != nil || len(environ) > 0 {
		t.Errorf("the environment is %q, %v", environ, err)
	}
	if dir, err := os.Readlink(proc + "cwd"); err != nil || dir != "/" {
		t.Errorf("it works in %s, %v", dir, err)
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, err := os.Readlink(proc + "fd/" + fd.Name())
		if err != nil || !strings.HasPrefix(target, "pipe:") && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/sys/fs/cgroup/") && !(fd.Name() == "2" && target == os.DevNull) {
			t.Errorf("it has %s open as %s, %v", target, fd.Name(), err)
		}
	}
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Max core file size": "0", "Max file size": "0", "Max open files": "16", "Max cpu time": "600"} {
		for line := range strings.Lines(string(limits)) {
			if rest, found := strings.CutPrefix(line, name); found && strings.Fields(rest)[1] != want {
				t.Errorf("%s", line)
			}
		}
	}
	if bounded := regexp.MustCompile(`(?m)^Max address space +\d+ `); !bounded.Match(limits) {
		t.Errorf("its address space has no bound:\n%s", limits)
	}
}
