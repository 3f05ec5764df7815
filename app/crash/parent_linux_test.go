package crash

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the process when the test ends without
// having done so, as it does when it runs out of time.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
