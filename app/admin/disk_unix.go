//go:build unix

package admin

import "syscall"

// freeBytes is what the disk that holds the file has left; zero if that cannot
// be told.
func freeBytes(file string) int64 {
	var disk syscall.Statfs_t
	if syscall.Statfs(file, &disk) != nil {
		return 0
	}
	return int64(disk.Bavail) * int64(disk.Bsize)
}
