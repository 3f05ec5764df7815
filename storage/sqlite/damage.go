package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pintle/pintle/app/webhook"
)

// ErrDamaged says that the file, or what stands beside it, is not as Pintle left it.
var ErrDamaged = errors.New("the database is damaged")

// checkLog refuses the write-ahead log of another database, which somebody has left
// beside this one: SQLite takes any log that is whole in itself, and would mix both.
// What it goes by is the name of the installation, which is in the log of all but the
// shortest lives, since each question whether the appliance is ready writes it.
func checkLog(ctx context.Context, path string) error {
	if size, err := fileSize(path + "-wal"); err != nil || size == 0 {
		return err
	}
	without, err := installationIn(ctx, path, "immutable=1")
	if err != nil {
		// The file alone need not make sense: a crash can have come while the log was
		// being moved into it.
		return nil
	}
	with, err := installationIn(ctx, path)
	if err != nil {
		return err
	}
	if with != without {
		return fmt.Errorf("%w: its write-ahead log, %s-wal, is that of another one; both were left as they are", ErrDamaged, path)
	}
	return nil
}

func installationIn(ctx context.Context, path string, parameters ...string) (name string, err error) {
	db, err := sql.Open("sqlite", dsn(path, append(parameters, "mode=ro", "_pragma=busy_timeout(10000)")...))
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = 'installation'`).Scan(&name)
	return name, translate(err)
}

// checkLength refuses a file that is shorter than it says. With a write-ahead log it
// may be: what is missing is there.
func checkLength(path string) error {
	if size, err := fileSize(path + "-wal"); err != nil || size > 0 {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// Where the two counters differ an old version of SQLite wrote last, and knew
	// nothing of a length.
	if string(header[24:28]) != string(header[92:96]) {
		return nil
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 65_536
	}
	if want := int64(binary.BigEndian.Uint32(header[28:])) * page; info.Size() < want {
		return fmt.Errorf("%w: it was cut, and %d of its %d bytes are missing; it was left as it is", ErrDamaged, want-info.Size(), want)
	}
	return nil
}

// syncFailed reports whether the error is that what was written could not be made
// durable.
func syncFailed(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_IOERR_FSYNC || e.Code() == sqlite3.SQLITE_IOERR_DIR_FSYNC)
}

var errLogIsRead = errors.New("the write-ahead log cannot be renewed: somebody reads it")

// renewFound renews the log that a life before has left: what it could not write may
// be there only as long as the machine runs. A disk that has no room for it in the file
// is no reason not to start, nor is a reader from outside, such as a replicator, who is
// not waited for long.
func (w *writer) renewFound(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA busy_timeout = %d`, readerPatience)); err != nil {
		return err
	}
	w.suspect = true
	err := translate(w.renewLog())
	if errors.Is(err, webhook.ErrStorageFull) || errors.Is(err, errLogIsRead) {
		w.suspect, err = false, nil
	}
	_, restored := w.conn.ExecContext(ctx, `PRAGMA busy_timeout = `+busyTimeout)
	return errors.Join(err, restored)
}

// renewLog begins a new write-ahead log after a sync of it has failed. The kernel has
// then given up what it could not write, and does not say so again: on ext4 what is
// written to the same place later, and synced without an error, can still be gone
// after a restart of the machine. What was acknowledged is moved from the log into the
// file, and the log's place on the disk is given back. Nothing is acknowledged before.
func (w *writer) renewLog() error {
	if !w.suspect {
		return nil
	}
	before, err := fileSize(w.path)
	if err != nil {
		return err
	}
	var busy, frames, moved int
	err = w.conn.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(truncate)`).Scan(&busy, &frames, &moved)
	if err == nil && busy != 0 {
		err = errLogIsRead
	}
	if err != nil {
		return errors.Join(err, w.giveBack(before))
	}
	w.suspect = false
	return nil
}

// giveBack shortens the file to what it was before a log was moved into it in vain,
// for the same reason. What was behind that is still in the log, where it is read.
func (w *writer) giveBack(size int64) error {
	now, err := fileSize(w.path)
	if err != nil || now <= size {
		return err
	}
	return os.Truncate(w.path, size)
}
