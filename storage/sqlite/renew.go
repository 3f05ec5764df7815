package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

var errLogIsRead = errors.New("the write-ahead log cannot be renewed: somebody reads it")

// explain finds out whether what the disk has failed to write had no room. SQLite sees
// that only where a write says ENOSPC: where a quota is used up it says EDQUOT, and
// where a volume was promised more than there is the sync says it.
func (w *writer) explain(err error) error {
	if !dbfile.SyncFailed(err) && !dbfile.WriteFailed(err) {
		return err
	}
	if none := w.mover.try(); errors.Is(none, syscall.ENOSPC) || errors.Is(none, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w: %w", webhook.ErrStorageFull, none, err)
	}
	return err
}

// tried is how many bytes are written to see whether there is room: more than the
// page on which a write of SQLite's may have failed.
const tried = 64 << 10

// try writes a file beside the database, and removes it.
func (m *mover) try() error {
	f, err := os.OpenFile(m.path+"-room", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, tried))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// A mover moves the write-ahead log into the file, which the writer and the
// checkpointer do, one at a time.
type mover struct {
	path string
	file *os.File // closed last: with it go all locks of the process, where they are not a descriptor's
	mu   sync.Mutex
	// suspect says that a sync has failed, so that of what was moved from this log
	// into the file before nobody knows what is there.
	suspect bool
}

// move runs a checkpoint. SQLite syncs the log, writes the pages, syncs the file, and
// only then holds the log for moved; but what it moves while something is written it
// holds for moved without a sync, and leaves that to the one that moves the rest.
func (m *mover) move(ctx context.Context, conn rower, mode string) (busy bool, log logState, err error) {
	before, err := dbfile.Size(m.path)
	if err != nil {
		return false, log, err
	}
	log, busy, err = checkpoint(ctx, conn, mode)
	m.suspect = m.suspect || dbfile.SyncFailed(err)
	if inVain(err) {
		err = errors.Join(err, m.giveBack(before))
	}
	return busy, log, err
}

// flush has the kernel write what was moved without a sync, so that the one in which
// the log begins anew, for which the writer waits, has little to do.
func (m *mover) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.file.Sync()
	m.suspect = m.suspect || err != nil
	return err
}

// inVain reports whether the error is that of a checkpoint which has moved nothing that
// is read from the file now. After any other, or where somebody was in its way, that is
// not sure.
func inVain(err error) bool {
	var e *sqlitedriver.Error
	return dbfile.SyncFailed(err) || dbfile.WriteFailed(err) || errors.As(err, &e) && e.Code() == sqlite3.SQLITE_FULL
}

// giveBack shortens the file to what it was before a log was moved into it in vain,
// for the reason that renewLog has. What was behind that is still in the log, where it
// is read.
func (m *mover) giveBack(size int64) error {
	now, err := dbfile.Size(m.path)
	if err != nil || now <= size {
		return err
	}
	return os.Truncate(m.path, size)
}

func (m *mover) suspects() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspect
}

// rower is a [sql.DB] or a [sql.Conn].
type rower interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func checkpoint(ctx context.Context, conn rower, mode string) (log logState, busy bool, err error) {
	err = conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &log.pages, &log.moved)
	return log, busy, err
}

// move moves the log into the file. After a sync that has failed it begins with what
// was moved before.
func (w *writer) move(mode string) (busy bool, log logState, err error) {
	// A disk that is full is no reason: what is moved may be what makes room.
	if err := w.settle(); err != nil && !errors.Is(err, webhook.ErrStorageFull) {
		return false, log, err
	}
	w.mover.mu.Lock()
	defer w.mover.mu.Unlock()
	if w.mover.suspect {
		if err := w.logAgain(); err != nil {
			return false, log, fmt.Errorf("write to the log again what was moved from it: %w", err)
		}
		w.mover.suspect = false
	}
	return w.mover.move(context.Background(), w.conn, mode)
}

// logAgain writes to the log again the pages that were moved from it and have not
// changed since, as the log has them. The next checkpoint so writes all of them to the
// file once more: it would sync them no more than the kernel does, which says once that
// it has lost a page.
func (w *writer) logAgain() (err error) {
	log, _, err := checkpoint(context.Background(), w.conn, "noop")
	if err != nil || log.moved <= 0 {
		return err
	}
	// There are no locks on the log that closing it could release.
	f, err := os.Open(w.mover.path + "-wal")
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 32)
	if _, err := f.ReadAt(header, 0); err != nil {
		return err
	}
	data := make([]byte, binary.BigEndian.Uint32(header[8:]))
	const head = 24 // bytes before each page, which begin with its number
	at := func(frame int) int64 { return int64(len(header)) + int64(frame-1)*int64(head+len(data)) }
	last := map[uint32]int{}
	for frame := 1; frame <= log.pages; frame++ {
		var number [4]byte
		if _, err := f.ReadAt(number[:], at(frame)); err != nil {
			return err
		}
		last[binary.BigEndian.Uint32(number[:])] = frame
	}
	if err := w.sync(true); err != nil {
		return err
	}
	tx := &transaction{w}
	if _, err := tx.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	for number, frame := range last {
		if frame > log.moved {
			continue
		}
		_, err := f.ReadAt(data, at(frame)+head)
		if err == nil {
			_, err = tx.exec(`UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?`, data, number)
		}
		if err != nil {
			w.rollback(tx)
			return err
		}
	}
	if _, err := tx.exec(`COMMIT`); err != nil {
		w.suspect = w.suspect || dbfile.SyncFailed(err)
		w.rollback(tx)
		return err
	}
	return nil
}

// renewFound renews the log that a life before has left: what it could not write may
// be there only as long as the machine runs. A disk that has no room for it in the file
// is no reason not to start, nor is a reader from outside, such as a replicator, who is
// not waited for long.
func (w *writer) renewFound(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA busy_timeout = %d`, readerPatience)); err != nil {
		return err
	}
	w.suspect = true
	err := w.explain(dbfile.Translate(w.renewLog()))
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
	busy, _, err := w.move("truncate")
	if err == nil && busy {
		err = errLogIsRead
	}
	w.suspect = err != nil
	return err
}

// moveLast moves the log into the file before the last connection is closed, which
// does so too, and then removes the log. What cannot be moved since somebody reads the
// log stays in it.
func (w *writer) moveLast() error {
	_, err := w.conn.ExecContext(context.Background(), fmt.Sprintf(`PRAGMA busy_timeout = %d`, readerPatience))
	if err != nil {
		return err
	}
	_, _, err = w.move("truncate")
	if w.mover.suspects() {
		_, _, again := w.move("passive")
		err = errors.Join(err, again)
	}
	return err
}
