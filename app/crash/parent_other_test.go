//go:build !linux

package crash

import "os/exec"

// dieWithParent does nothing: this system has no such thing.
func dieWithParent(*exec.Cmd) {}
