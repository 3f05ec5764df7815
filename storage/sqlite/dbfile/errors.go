package dbfile

import (
	"database/sql"
	"errors"
	"fmt"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pintle/pintle/app/webhook"
)

var (
	// ErrInUse says that another process has the file open.
	ErrInUse = errors.New("the database is in use by another process")
	// ErrSealed says that the file has secrets that are sealed, and that there is
	// no key, or another one.
	ErrSealed = errors.New("the secrets in the database are sealed")
	// ErrDamaged says that the file, or what stands beside it, is not as Pintle left it.
	ErrDamaged = errors.New("the database is damaged")
)

// diskFaults say what the disk was asked for, by SQLite's code.
var diskFaults = map[int]string{
	sqlite3.SQLITE_IOERR_READ: "read", sqlite3.SQLITE_IOERR_SHORT_READ: "read", sqlite3.SQLITE_IOERR_WRITE: "write",
	sqlite3.SQLITE_IOERR_FSYNC: "make durable what was written", sqlite3.SQLITE_IOERR_DIR_FSYNC: "make durable what was written",
	sqlite3.SQLITE_IOERR_TRUNCATE: "shorten a file", sqlite3.SQLITE_IOERR_SHMSIZE: "make room for the index of the log",
}

// Translate gives the errors of the driver the names of the domain.
func Translate(err error) error {
	var e *sqlitedriver.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return webhook.ErrNotFound
	case errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", webhook.ErrStorageFull, err)
	case errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code() == sqlite3.SQLITE_NOTADB):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case errors.As(err, &e) && diskFaults[e.Code()] != "":
		return fmt.Errorf("the disk has failed to %s: %w", diskFaults[e.Code()], err)
	}
	return err
}

// SyncFailed reports whether the error is that what was written could not be made
// durable.
func SyncFailed(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_IOERR_FSYNC || e.Code() == sqlite3.SQLITE_IOERR_DIR_FSYNC)
}

// WriteFailed reports whether the error is that something could not be written.
func WriteFailed(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_IOERR_WRITE
}
