//go:build !linux

package transform

import (
	"os"
	"syscall"
)

func ownProgram() (string, error) { return os.Executable() }

// processAttributes are none: a child asks whether its parent is still there.
func processAttributes() *syscall.SysProcAttr { return nil }

// limitProcess leaves the bounds to the watchdog, since not every system bounds
// the address space as it says.
func limitProcess(int64) error { return nil }
