//go:build !linux

package crash

import (
	"os/exec"
	"testing"
)

// dieWithParent does nothing: this system has no such thing.
func dieWithParent(*exec.Cmd) {}

// running returns nothing: only Linux shows it as files.
func running(*testing.T, string) []int { return nil }
