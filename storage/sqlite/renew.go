package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

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
	err := w.renewLog()
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
	busy, _, err := w.moveLog(context.Background(), w.conn, "truncate")
	if err == nil && busy {
		err = errLogIsRead
	}
	w.suspect = err != nil
	return err
}

// A logState is how many pages the log has, and how many of those are in the file.
type logState struct{ pages, moved int }

// A rower is a [sql.DB] or a [sql.Conn].
type rower interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// checkpoint runs one of the modes of SQLite, and reports whether somebody was in its
// way. With "noop" it only says how it stands.
func checkpoint(ctx context.Context, db rower, mode string) (busy bool, log logState, err error) {
	err = db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &log.pages, &log.moved)
	if err != nil {
		err = fmt.Errorf("move the write-ahead log into the file: %w", dbfile.Translate(err))
	}
	return busy, log, err
}

// moveLog moves the log into the file by a checkpoint. If that fails it shortens the
// file to what it was, for the reason that renewLog has: what was behind that is still
// in the log, where it is read. But once SQLite has noted that it is in the file it is
// read there, as it is when only a reader keeps the log from beginning anew: then no
// byte of it is given back.
func (w *writer) moveLog(ctx context.Context, db rower, mode string) (busy bool, log logState, err error) {
	w.moving.Lock()
	defer w.moving.Unlock()
	size, err := dbfile.Size(w.path)
	if err != nil {
		return false, log, err
	}
	_, before, err := checkpoint(ctx, db, "noop")
	if err != nil {
		return false, log, err
	}
	busy, log, err = checkpoint(ctx, db, mode)
	if err == nil {
		return busy, log, nil
	}
	_, after, unknown := checkpoint(context.WithoutCancel(ctx), db, "noop")
	if unknown == nil && after.moved <= before.moved && after.pages >= before.pages {
		err = errors.Join(err, w.giveBack(size))
	}
	return false, log, err
}

// giveBack shortens the file to a size, if it is longer.
func (w *writer) giveBack(size int64) error {
	now, err := dbfile.Size(w.path)
	if err != nil || now <= size {
		return err
	}
	return os.Truncate(w.path, size)
}
