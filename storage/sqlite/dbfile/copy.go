package dbfile

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	sqlitedriver "modernc.org/sqlite"

	"github.com/pintle/pintle/app/webhook"
)

// copyStep is how many pages are copied at a time, 1 MiB. Each step is flushed
// before the next: a gigabyte that is flushed at the end makes every commit of the
// appliance beside it wait for that flush, by measurement for 400 ms.
const copyStep = 128

// Contents are what a file has, as far as two files can be told apart by it.
type Contents struct {
	// Schema is the version of its schema.
	Schema int
	// Installation is the number of the installation whose file it is.
	Installation string
	// Sealed says that secrets in it are sealed.
	Sealed bool
	// Events is how many there are, and Newest the last one that was accepted, at
	// NewestAt; empty and zero if there is none.
	Events   int64
	Newest   webhook.EventID
	NewestAt time.Time
	// Bytes is the size of the file.
	Bytes int64
}

// Copy writes a consistent copy of a file, which may be in use, into another one,
// which must exist and be empty and whose mode stays. It has all that was committed
// before the call, and reads the copy through before it returns. On error the copy
// is worth nothing.
//
// All of it is read in one transaction: nobody waits for that, but until it is done
// the write-ahead log cannot begin anew and grows by what is written meanwhile.
func Copy(ctx context.Context, path, to string) (Contents, error) {
	was, err := copyPages(ctx, path, to)
	if err != nil {
		return Contents{}, fmt.Errorf("copy the database: %w", Translate(err))
	}
	is, err := Examine(ctx, to)
	if err != nil {
		return Contents{}, fmt.Errorf("examine the copy: %w", err)
	}
	// These two are not read from what is copied: to count takes as long as to copy.
	if was.Bytes, was.Events = is.Bytes, is.Events; was != is {
		return Contents{}, fmt.Errorf("the copy is not what was copied: %+v, and not %+v", is, was)
	}
	return is, nil
}

var errEmpty = errors.New("the file is empty")

// copyPages returns what the source had when the copy was begun.
func copyPages(ctx context.Context, path, to string) (_ Contents, err error) {
	if path, err = Locate(path); err != nil {
		return Contents{}, err
	}
	from, err := os.Open(path)
	if err != nil {
		return Contents{}, err
	}
	defer from.Close()
	if empty, err := inspectHeader(from); err != nil || empty {
		return Contents{}, cmp.Or(err, errEmpty)
	}
	// Never as a file that does not change: an appliance may start meanwhile. Where
	// there is no write-ahead log, SQLite makes one, and who can only read does not
	// remove it.
	mode := "mode=ro"
	if _, err := os.Lstat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		mode = "mode=rw"
	}
	db, err := sql.Open("sqlite", DSN(path, mode, "_pragma=busy_timeout(10000)", "_pragma=query_only(1)"))
	if err != nil {
		return Contents{}, err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return Contents{}, err
	}
	defer conn.Close()
	// The transaction is what keeps a write between two steps from beginning the
	// copy anew.
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Contents{}, err
	}
	defer tx.Rollback()
	contents, err := readContents(ctx, tx)
	if err != nil {
		return Contents{}, err
	}
	copied, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return Contents{}, err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	return contents, conn.Raw(func(driver any) error {
		source, ok := driver.(interface {
			NewBackup(string) (*sqlitedriver.Backup, error)
		})
		if !ok {
			return errors.New("the driver cannot copy")
		}
		// Whoever finds half a copy throws it away: it needs no journal.
		b, err := source.NewBackup(DSN(to, "_pragma=journal_mode(off)", "_pragma=synchronous(off)"))
		if err != nil {
			return err
		}
		return errors.Join(steps(ctx, b, copied), b.Finish(), copied.Sync())
	})
}

// steps copies step by step. It rests for half of the time that each step took, so
// that the disk is there for others too.
func steps(ctx context.Context, b *sqlitedriver.Backup, copied *os.File) error {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rest.C:
		}
		begun := time.Now()
		more, err := b.Step(copyStep)
		if err == nil {
			err = copied.Sync()
		}
		if err != nil || !more {
			return err
		}
		rest.Reset(time.Since(begun) / 2)
	}
}

// Examine reads all of a file, which may be in use, compares what is in it, indexes
// with their tables and references with what they name, and says what it has. It
// changes nothing. The error names the first damage, or why the file is refused.
func Examine(ctx context.Context, path string) (Contents, error) {
	info, err := Inspect(ctx, path)
	if err != nil {
		return Contents{}, err
	}
	if info.Schema == 0 {
		return Contents{}, errEmpty
	}
	db, err := OpenAsItIs(path)
	if err != nil {
		return Contents{}, err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Contents{}, Translate(err)
	}
	defer tx.Rollback()
	var verdict string
	if err := tx.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return Contents{}, fmt.Errorf("it is damaged: %w", Translate(err))
	}
	if verdict != "ok" {
		return Contents{}, fmt.Errorf("it is damaged: %s", verdict)
	}
	if err := checkForeignKeys(ctx, tx); err != nil {
		return Contents{}, fmt.Errorf("it is damaged: %w", err)
	}
	contents, err := readContents(ctx, tx)
	if err != nil {
		return Contents{}, err
	}
	contents.Bytes = info.Bytes
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM events`).Scan(&contents.Events); err != nil {
		return Contents{}, fmt.Errorf("count the events: %w", Translate(err))
	}
	return contents, nil
}

// readContents reads what there is, save how much of it.
func readContents(ctx context.Context, tx *sql.Tx) (c Contents, err error) {
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&c.Schema); err != nil {
		return c, fmt.Errorf("read the schema's version: %w", Translate(err))
	}
	if err := known(c.Schema); err != nil {
		return c, err
	}
	if err := tx.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, Installation).Scan(&c.Installation); err != nil {
		return c, fmt.Errorf("read the installation: %w", Translate(err))
	}
	check, err := ReadSealCheck(ctx, tx)
	if err != nil {
		return c, fmt.Errorf("read whether secrets are sealed: %w", err)
	}
	c.Sealed = check != ""
	var newest, at sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT id, received_at FROM events ORDER BY id DESC LIMIT 1`).Scan(&newest, &at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("read the newest event: %w", Translate(err))
	}
	if newest.Valid {
		c.Newest = webhook.EventID(webhook.NewIDs(c.Installation, 0).Format(webhook.EventPrefix, newest.Int64))
		c.NewestAt = time.UnixMilli(at.Int64).UTC()
	}
	return c, nil
}
