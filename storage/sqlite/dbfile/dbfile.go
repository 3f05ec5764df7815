// Package dbfile knows the file in which everything is kept: how it is told from
// others, made, brought to the newest schema, examined, copied and replaced. What
// is in its tables is the business of package sqlite, which opens what is prepared
// here; the tests are there too, since it takes a store to make files worth a test.
package dbfile

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"

	sqlitedriver "modernc.org/sqlite"

	"github.com/pintle/pintle/app/webhook"
)

const (
	applicationID = 1347310668 // "PNTL", as schema.sql sets it
	schemaVersion = 4          // as schema.sql sets it

	// PageSize is that of new files, in bytes, as it is SQLite's own choice. In pages of
	// 8 KiB the life of an event takes as long, and a quarter more is written.
	PageSize = 4096
	// Incremental is what SQLite calls it when free pages can be given back.
	Incremental = 2
)

// lockByDescriptor asks for locks that belong to a descriptor, before any file is
// opened. By default SQLite's locks are the process's, which loses them as soon as it
// closes any descriptor of the file, as a copy and an inspection do; another program
// that then closes the file takes itself for the last one, and removes the log under us.
// Where there are no others, on anything but Linux, it stays as it is.
var lockByDescriptor = sync.OnceFunc(func() { _, _ = sqlitedriver.OFDLocking(true) })

// A Preparation says how a file is prepared.
type Preparation struct {
	// Schema is schema.sql, for a file that is new.
	Schema string
	// Sealer opens the secrets in the file; nil: they must not be sealed.
	Sealer webhook.Sealer
	// OnUpgrade, if not nil, is told before a file of an older schema is
	// upgraded, which can take a while, where its copy is.
	OnUpgrade func(from, to int, copied string)
}

// Prepare makes the file one of the newest schema, be it there or not, and reports
// whether it is new. It refuses, without touching it, a file that is not Pintle's,
// that a newer version has written, that is damaged as can be seen at once, or whose
// secrets cannot be opened. The caller has the file for itself; see [Lock].
func Prepare(ctx context.Context, path string, p Preparation) (fresh bool, err error) {
	if _, err := finishRestore(path); err != nil {
		return false, fmt.Errorf("finish a restore that was cut short: %w", err)
	}
	fresh, err = inspect(path)
	if err != nil {
		return false, fmt.Errorf("open database %s: %w", path, err)
	}
	if fresh {
		if err := create(ctx, path, p.Schema); err != nil {
			return true, fmt.Errorf("create database %s: %w", path, err)
		}
		return true, nil
	}
	err = errors.Join(checkLength(path), checkLog(ctx, path))
	if err == nil {
		err = admit(ctx, path, p.Sealer)
	}
	if err == nil {
		err = upgrade(ctx, path, p.OnUpgrade)
	}
	if err != nil {
		return false, fmt.Errorf("open database %s: %w", path, err)
	}
	return false, nil
}

// inspect reads the header of the file, and creates the file if it does not
// exist. It reports whether the file is empty.
func inspect(path string) (empty bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return inspectHeader(f)
}

// inspectHeader refuses a file that is not ours, which must not be opened with
// SQLite. It reports whether the file is empty.
func inspectHeader(f io.Reader) (empty bool, err error) {
	header := make([]byte, 100)
	switch n, err := io.ReadFull(f, header); {
	case n == 0 && errors.Is(err, io.EOF):
		return true, nil
	case errors.Is(err, io.ErrUnexpectedEOF) || err == nil && string(header[:16]) != "SQLite format 3\x00":
		return false, errors.New("this is not a SQLite database; it was left as it is")
	case err != nil:
		return false, err
	}
	version, application := binary.BigEndian.Uint32(header[60:]), binary.BigEndian.Uint32(header[68:])
	if application != applicationID {
		return false, errors.New("this database is not Pintle's; it was left as it is")
	}
	return false, known(int(version))
}

// known refuses a version of the schema that this program cannot read.
func known(version int) error {
	switch {
	case version > schemaVersion:
		return fmt.Errorf("this database was written by a newer Pintle (schema %d, this one knows %d); it was left as it is", version, schemaVersion)
	case version < 1:
		return fmt.Errorf("this database has the unknown schema %d; it was left as it is", version)
	}
	return nil
}

// create fills an empty file. It does so before the file has a write-ahead log,
// in one transaction of the old kind: after a crash the file is either still
// empty or complete, header included.
func create(ctx context.Context, path, schema string) error {
	db, err := sql.Open("sqlite", DSN(path, "_pragma=busy_timeout(10000)", fmt.Sprintf("_pragma=auto_vacuum(%d)", Incremental)))
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("apply schema: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ('installation', ?)`, webhook.NewInstance()); err != nil {
		return fmt.Errorf("name the installation: %w", err)
	}
	return tx.Commit()
}

// DSN names the file to the driver, with what of its parameters is to be set. Whoever
// opens a file in this process does so by it.
func DSN(path string, parameters ...string) string {
	lockByDescriptor()
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(parameters, "&")
}

// Size is how large a file is, in bytes; zero of one that is not there.
func Size(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
