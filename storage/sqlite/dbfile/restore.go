package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	// restoredMark stands in the name of a file that is to be the database, before
	// the time, and replacedMark in the name of what was it.
	restoredMark = ".restored-"
	replacedMark = ".replaced-"
	stampForm    = "20060102T150405.000Z"
)

// parts are what a database consists of: the write-ahead log and its index go with
// the file, since to another file they are poison.
func parts() []string { return []string{"-shm", "-wal", ""} }

// Locate follows links to the name that the file itself has, be it there or not.
// SQLite does so too: the write-ahead log is beside that one, and two names must not
// make two locks.
func Locate(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if to, err := os.Readlink(path); err == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		return Locate(to)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path, nil // whoever opens it says that the folder is missing
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// Lock takes the file for this process, be it there or not. It returns
// [ErrInUse] where another one has it.
func Lock(path string) (*flock.Flock, error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock database: %w", err)
	case !locked:
		return nil, fmt.Errorf("open database %s: %w", path, ErrInUse)
	}
	return lock, nil
}

// A Claim is the right to replace a file, which nobody opens as a store meanwhile.
type Claim struct {
	path string
	lock *flock.Flock
}

// Seize takes the file, be it there or not, for as long as it is replaced. It
// returns [ErrInUse] where another process has it, and refuses what is not a file.
func Seize(path string) (*Claim, error) {
	path, err := Locate(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	lock, err := Lock(path)
	if err != nil {
		return nil, err
	}
	c := &Claim{path, lock}
	if _, err := finishRestore(path); err != nil {
		return nil, errors.Join(err, c.Release())
	}
	return c, nil
}

// Path is the name that the file itself has: the one to be replaced with must be in
// the same folder.
func (c *Claim) Path() string { return c.path }

// Release gives the file up.
func (c *Claim) Release() error { return c.lock.Unlock() }

// Exists reports whether there is anything to be replaced: the file, or a
// write-ahead log that has lost it.
func (c *Claim) Exists() (bool, error) {
	for _, part := range parts() {
		switch _, err := os.Lstat(c.path + part); {
		case err == nil:
			return true, nil
		case !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	return false, nil
}

// Replace makes a file, in the folder of the one that is claimed, that one. What
// was there is moved aside, and its new name returned; empty: there was nothing.
//
// From the first renaming on it is done, whatever happens: if the process dies, the
// next start does the rest.
func (c *Claim) Replace(from string, now time.Time) (aside string, err error) {
	if err := syncFile(from); err != nil {
		return "", err
	}
	if err := os.Rename(from, c.path+restoredMark+now.UTC().Format(stampForm)); err != nil {
		return "", err
	}
	if err := syncFile(filepath.Dir(c.path)); err != nil {
		return "", err
	}
	return finishRestore(c.path)
}

// finishRestore puts a file that is to be the database in its place, if there is
// one. It returns the name that what was there has now. The caller has the lock.
func finishRestore(path string) (aside string, err error) {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	// Somebody's own pintle.db.restored-test is none of these.
	waiting := slices.IndexFunc(entries, func(e fs.DirEntry) bool {
		stamp, marked := strings.CutPrefix(e.Name(), name+restoredMark)
		_, err := time.Parse(stampForm, stamp)
		return marked && err == nil && e.Type().IsRegular()
	})
	if waiting < 0 {
		return "", nil
	}
	restored := entries[waiting].Name()
	replaced := path + replacedMark + strings.TrimPrefix(restored, name+restoredMark)
	for _, part := range parts() {
		switch err := os.Rename(path+part, replaced+part); {
		case err == nil:
			aside = replaced
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("move the old database aside: %w", err)
		}
	}
	// Before the new file has its name, or a crash could bring an old log back
	// beside it.
	if err := syncFile(dir); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(dir, restored), path); err != nil {
		return "", fmt.Errorf("put the restored database in its place: %w", err)
	}
	return aside, syncFile(dir)
}
