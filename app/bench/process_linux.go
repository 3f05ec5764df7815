package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// dieWithParent has the kernel kill the process when this one ends without
// having done so.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// clockTick is the unit of times in /proc, 1/100 s to every program on all
// platforms of Go.
const clockTick = 10 * time.Millisecond

// readUsage returns what the process has used so far.
func readUsage(pid int) (usage, error) {
	u := usage{known: true}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The second field is the program's name in parentheses, which may hold
	// anything; utime and stime are the 14th and 15th.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("read usage: unexpected form of /proc/%d/stat", pid)
	}
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("read usage: %w", err)
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	for _, entry := range []struct {
		file, key string
		unit      int64
		value     *int64
	}{
		{"status", "VmRSS:", 1 << 10, &u.memory},
		{"status", "VmHWM:", 1 << 10, &u.peak},
		{"io", "write_bytes:", 1, &u.written},
	} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, entry.file))
		if err != nil {
			return usage{}, err
		}
		for line := range bytes.Lines(text) {
			if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == entry.key {
				n, err := strconv.ParseInt(string(fields[1]), 10, 64)
				if err != nil {
					return usage{}, fmt.Errorf("read usage: %w", err)
				}
				*entry.value = n * entry.unit
			}
		}
	}
	return u, nil
}
