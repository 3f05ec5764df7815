//go:build linux || darwin || freebsd

package doctor

import "syscall"

// writable reports whether this user may write to the file or folder, without
// trying.
func writable(path string) bool {
	const write = 2 // W_OK of access(2)
	return syscall.Access(path, write) == nil
}
