package sqlite

import (
	"context"
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
	err := dbfile.Translate(w.renewLog())
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
	before, err := dbfile.Size(w.path)
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
	now, err := dbfile.Size(w.path)
	if err != nil || now <= size {
		return err
	}
	return os.Truncate(w.path, size)
}
