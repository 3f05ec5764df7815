package dbfile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pintle/pintle/app/webhook"
)

// Info is what is known of a file without opening it as a store.
type Info struct {
	// Schema is the version of the schema that the file has, zero for an empty
	// file, and Newest the one that this program writes.
	Schema, Newest int
	// Sealed says that secrets in it are sealed.
	Sealed bool
	// Installation is the number of the installation whose file it is; empty where
	// it cannot be read.
	Installation string
	check        string // see [SealCheck]
	fault        error  // why it cannot be read
	// Bytes is the size of the file, and LogBytes of its write-ahead log. Of the
	// former, UnusedBytes are used again before it grows.
	Bytes, UnusedBytes, LogBytes int64
	// KeepsUnused says that those are never given back to the file system: the file
	// was made before that was possible.
	KeepsUnused bool
}

// Inspect looks at a file, which may be in use, and changes nothing. It refuses
// what [Prepare] refuses, and a file that does not exist by [fs.ErrNotExist].
func Inspect(ctx context.Context, path string) (Info, error) {
	info := Info{Newest: schemaVersion}
	path, err := Locate(path)
	if err != nil {
		return info, err
	}
	f, err := os.Open(path)
	if err != nil {
		return info, err
	}
	defer f.Close()
	empty, err := inspectHeader(f)
	if err != nil {
		return info, err
	}
	if info.Bytes, err = Size(path); err != nil {
		return info, err
	}
	if info.LogBytes, err = Size(path + "-wal"); err != nil || empty {
		return info, err
	}
	db, err := OpenAsItIs(path)
	if err != nil {
		return info, err
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&info.Schema); err != nil {
		return info, fmt.Errorf("read the schema's version: %w", Translate(err))
	}
	if err := known(info.Schema); err != nil {
		return info, err
	}
	// In a damaged file it may be what cannot be read: Verify says so.
	var mode int
	err = db.QueryRowContext(ctx, `SELECT freelist_count * page_size, auto_vacuum
		FROM pragma_freelist_count, pragma_page_size, pragma_auto_vacuum`).Scan(&info.UnusedBytes, &mode)
	info.KeepsUnused = err == nil && mode != Incremental
	info.check, info.fault = ReadSealCheck(ctx, db)
	info.Sealed = info.check != ""
	if err := db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, Installation).Scan(&info.Installation); err != nil && info.fault == nil {
		info.fault = Translate(err)
	}
	return info, nil
}

// Opens returns [ErrSealed] if secrets in the file are sealed under a key that the
// sealer does not have; nil for a sealer is none.
func (i Info) Opens(sealer webhook.Sealer) error {
	if i.fault != nil {
		return i.fault
	}
	return opens(i.check, sealer)
}

// sealedSince is the first schema that has sealed secrets.
const sealedSince = 4

// UnsealedCopies are the copies of the file that were made before upgrades from
// schemas that sealed nothing: whoever has one has its secrets.
func UnsealedCopies(path string) []string {
	path, err := Locate(path)
	dir, name := filepath.Split(path)
	entries, err2 := os.ReadDir(dir)
	if errors.Join(err, err2) != nil {
		return nil // then nobody finds them here
	}
	var copies []string
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), name+".v")
		digits, _, parted := strings.Cut(rest, "-")
		version, err := strconv.Atoi(digits)
		if ok && parted && err == nil && version < sealedSince && strings.HasSuffix(rest, ".backup") {
			copies = append(copies, dir+entry.Name())
		}
	}
	return copies
}

// Verify reads the whole file and compares what is in it, save indexes with
// their tables. The error names the first damage.
func Verify(ctx context.Context, path string) error {
	db, err := OpenAsItIs(path)
	if err != nil {
		return err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check the database: %w", Translate(err))
	}
	if verdict != "ok" {
		return fmt.Errorf("check the database: %s", verdict)
	}
	return nil
}

// OpenAsItIs opens a file for reading. Without a write-ahead log nobody has it
// open, and SQLite is told that it will not change: else it would make the files
// of such a log, and leave them behind.
func OpenAsItIs(path string) (*sql.DB, error) {
	path, err := Locate(path)
	if err != nil {
		return nil, err
	}
	parameters := []string{"mode=ro", "_pragma=busy_timeout(10000)"}
	switch log, err := os.Stat(path + "-wal"); {
	case errors.Is(err, fs.ErrNotExist) || err == nil && log.Size() == 0:
		if _, err := os.Stat(path + "-shm"); errors.Is(err, fs.ErrNotExist) {
			parameters = append(parameters, "immutable=1")
		}
	case err != nil:
		return nil, err
	}
	return sql.Open("sqlite", DSN(path, parameters...))
}
