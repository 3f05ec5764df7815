package transform

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// ownProgram is the file that this process runs, even where another has taken
// its place since: both sides of a pipe are of one version.
func ownProgram() (string, error) {
	const program = "/proc/self/exe"
	if _, err := os.Stat(program); err != nil {
		return os.Executable()
	}
	return program, nil
}

// processAttributes have the kernel kill a child when the thread that made it
// ends.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

const (
	// runtimeSpace is what the Go runtime may reserve beside the heap: arenas come
	// in 64 MiB, and the collector and a few threads have tables of their own.
	runtimeSpace = 128 << 20
	// fewFiles is enough for the pipes and what the runtime waits with.
	fewFiles = 16
)

// limitProcess has the kernel bound this process: so many bytes of heap above
// what there is. A bound on processes would bound the threads of this one, and of
// all others of the user.
func limitProcess(heap int64) error {
	if err := closeInherited(); err != nil {
		return err
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("bound the memory: %w", err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(statm)[0]), 10, 64)
	if err != nil {
		return fmt.Errorf("bound the memory: %w", err)
	}
	space := uint64(pages*int64(os.Getpagesize()) + heap + runtimeSpace)
	for resource, most := range map[int]uint64{
		syscall.RLIMIT_AS:     space,
		syscall.RLIMIT_CPU:    lifetimeCPU,
		syscall.RLIMIT_NOFILE: fewFiles,
		syscall.RLIMIT_FSIZE:  0,
		syscall.RLIMIT_CORE:   0,
	} {
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(resource, &limit); err != nil {
			return fmt.Errorf("read limit %d: %w", resource, err)
		}
		// Whoever started the parent may have set a lower one.
		limit.Max = min(limit.Max, most)
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(resource, &limit); err != nil {
			return fmt.Errorf("set limit %d: %w", resource, err)
		}
	}
	return nil
}

// closeInherited closes what the parent had inherited itself, and so passed on:
// whatever this program opens ends where another begins.
func closeInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= 2 {
			continue
		}
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno == 0 && flags&syscall.FD_CLOEXEC == 0 {
			if err := syscall.Close(fd); err != nil {
				return fmt.Errorf("close descriptor %d: %w", fd, err)
			}
		}
	}
	return nil
}
