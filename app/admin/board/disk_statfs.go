//go:build linux || darwin || freebsd

package board

import "syscall"

// Room is what the disk that holds the file has left, and its size, in bytes;
// zero if that cannot be told.
func Room(file string) (free, size int64) {
	var disk syscall.Statfs_t
	if syscall.Statfs(file, &disk) != nil {
		return 0, 0
	}
	block := int64(disk.Bsize)
	return int64(disk.Bavail) * block, int64(disk.Blocks) * block
}
