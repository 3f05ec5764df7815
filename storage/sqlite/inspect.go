package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Info is what is known of a file without opening it as a store.
type Info struct {
	// Schema is the version of the schema that the file has, zero for an empty
	// file, and Newest the one that this program writes.
	Schema, Newest int
	// Bytes is the size of the file, and LogBytes of its write-ahead log.
	Bytes, LogBytes int64
}

// Inspect looks at a file, which may be in use, and changes nothing. It refuses
// what [Open] refuses, and a file that does not exist by [fs.ErrNotExist].
func Inspect(ctx context.Context, path string) (Info, error) {
	info := Info{Newest: schemaVersion}
	f, err := os.Open(path)
	if err != nil {
		return info, err
	}
	defer f.Close()
	empty, err := inspectHeader(f)
	if err != nil {
		return info, err
	}
	if info.Bytes, err = fileSize(path); err != nil {
		return info, err
	}
	if info.LogBytes, err = fileSize(path + "-wal"); err != nil || empty {
		return info, err
	}
	db, err := openAsItIs(path)
	if err != nil {
		return info, err
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&info.Schema); err != nil {
		return info, fmt.Errorf("read the schema's version: %w", translate(err))
	}
	return info, known(info.Schema)
}

// Verify reads the whole file and compares what is in it, save indexes with
// their tables. The error names the first damage.
func Verify(ctx context.Context, path string) error {
	db, err := openAsItIs(path)
	if err != nil {
		return err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check the database: %w", translate(err))
	}
	if verdict != "ok" {
		return fmt.Errorf("check the database: %s", verdict)
	}
	return nil
}

// openAsItIs opens a file for reading. Without a write-ahead log nobody has it
// open, and SQLite is told that it will not change: else it would make the files
// of such a log, and leave them behind.
func openAsItIs(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
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
	return sql.Open("sqlite", dsn(path, parameters...))
}
