package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// dieWithParent has the kernel kill the process when the test ends without
// having done so, as it does when it runs out of time.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// running returns the processes that run the program.
func running(t *testing.T, program string) (processes []int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		// That of a process which is gone, or is another's, cannot be read.
		if target, err := os.Readlink(link); err == nil && target == program {
			process, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			if err != nil {
				t.Fatal(err)
			}
			processes = append(processes, process)
		}
	}
	return processes
}
