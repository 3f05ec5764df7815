// Package sqlite keeps everything in one SQLite file. It is the engine of
// [webhook.Store] that an appliance uses by default.
//
// One goroutine, the writer, owns the one connection that writes. It commits in
// groups: while one transaction is being made durable the next callers queue,
// and the next transaction takes all of them, so that the price of a disk flush
// is shared and nobody waits for more than two. Reads run beside it on
// connections of their own and never block it.
//
// The file belongs to one process at a time, which a lock beside it enforces;
// anyone may read it with SQLite's own tools meanwhile.
package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	sqlitedriver "modernc.org/sqlite" // also registers the driver
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pintle/pintle/app/webhook"
)

var _ webhook.Store = (*Store)(nil)

const (
	applicationID = 1347310668 // "PNTL", as schema.sql sets it
	schemaVersion = 4          // as schema.sql sets it

	// Bodies of about a kilobyte and the rows around them cost least in pages
	// of 8 KiB.
	pageSize = 8192
	// busyTimeout is how long, in milliseconds, a statement waits for others.
	busyTimeout = "10000"
	// incremental is what SQLite calls it when free pages can be given back.
	incremental = 2

	readers = 4
	// lists is how many of those may be busy with lists and statistics, which
	// people ask for and which may take long: what is due must not wait for them.
	lists = readers - 2
)

// Options say how to open a file.
type Options struct {
	// Path is the file. It is created, readable by its owner only, if it does
	// not exist.
	Path string
	// Schema is schema.sql.
	Schema string
	// Synchronous is "full", so that what is stored survives a power cut, or
	// "normal", so that it survives a crash of the process.
	Synchronous string
	// MaxSize bounds what the file holds, in bytes; zero: the disk does. When it
	// holds as much, the oldest events go of which no delivery is pending. While
	// that is not enough, whatever adds to it gets [webhook.ErrStorageFull]; the
	// rest goes on. One transaction may pass the bound.
	MaxSize int64
	// Sealer, if not nil, seals the secrets in the file. What is there unsealed,
	// or sealed under an older key, is sealed anew when the file is opened. A file
	// with sealed secrets cannot be opened without it.
	Sealer webhook.Sealer
	// OnCommit, if not nil, is told of each commit: how many writes shared it,
	// and how long it took. The next commit waits for it to return.
	OnCommit func(writes int, took time.Duration)
	// Expired, if not nil, is asked now and then for the time before which events
	// that are finished go, with all that hangs on them; zero: none does. An event
	// is as old as when it was received, or the last end of one of its
	// deliveries. What is pending never goes, nor a dead letter that holds up
	// what is pending.
	Expired func() time.Time
	// OnUpkeep, if not nil, is told what was done for the file in the background
	// whenever that was anything. It can be called more than once at a time.
	OnUpkeep func(Upkeep)
	// OnUpgrade, if not nil, is told before a file of an older schema is
	// upgraded, which can take a while, where its copy is.
	OnUpgrade func(from, to int, copied string)
}

var (
	// ErrInUse says that another process has the file open.
	ErrInUse = errors.New("the database is in use by another process")
	// ErrSealed says that the file has secrets that are sealed, and that there is
	// no key, or another one.
	ErrSealed = errors.New("the secrets in the database are sealed")
)

// A Store is an open file.
type Store struct {
	path    string
	lock    *flock.Flock
	ids     *webhook.IDs
	writer  *writer
	readers *sql.DB
	lists   chan struct{} // one slot for each list that is being read
	due     dueStatements
	turns   turns
	vault   vault
	log     *checkpointer
	upkeep  *upkeep
}

// Open opens the file and takes it for this process. It refuses, without
// touching it, a file that is not Pintle's or that a newer version has written.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{path: path, vault: vault{o.Sealer}, lists: make(chan struct{}, lists)}
	if s.lock, err = lockFile(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.Unlock()
		}
	}()
	if _, err := finishRestore(path); err != nil {
		return nil, fmt.Errorf("finish a restore that was cut short: %w", err)
	}
	empty, err := inspect(path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if empty {
		if err := create(ctx, path, o.Schema); err != nil {
			return nil, fmt.Errorf("create database %s: %w", path, err)
		}
	} else if err := errors.Join(checkLength(path), checkLog(ctx, path)); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	} else if err := s.vault.admit(ctx, path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	} else if err := upgrade(ctx, path, o.OnUpgrade); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if err := s.vault.sealAll(ctx, path, empty); err != nil {
		return nil, fmt.Errorf("seal the secrets in database %s: %w", path, translate(err))
	}
	if s.log, err = openCheckpointer(s, o); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			s.log.db.Close()
		}
	}()
	s.upkeep = newUpkeep(s, o)
	onCommit := o.OnCommit
	o.OnCommit = func(writes int, took time.Duration) {
		s.log.committed()
		s.upkeep.committed()
		if onCommit != nil {
			onCommit(writes, took)
		}
	}
	if s.writer, err = openWriter(ctx, path, o); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s.readers, err = sql.Open("sqlite", dsn(path, "mode=ro", "_pragma=busy_timeout(10000)", "_pragma=query_only(1)"))
	if err == nil {
		s.readers.SetMaxOpenConns(readers)
		s.readers.SetMaxIdleConns(readers)
		if s.ids, err = s.loadIDs(ctx); err == nil {
			err = s.due.prepare(ctx, s.readers)
		}
	}
	if err != nil {
		s.writer.close()
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	go s.log.run()
	go s.upkeep.run()
	return s, nil
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
	db, err := sql.Open("sqlite", dsn(path, "_pragma=busy_timeout(10000)", fmt.Sprintf("_pragma=page_size(%d)", pageSize),
		fmt.Sprintf("_pragma=auto_vacuum(%d)", incremental)))
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

func dsn(path string, parameters ...string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(parameters, "&")
}

func (s *Store) loadIDs(ctx context.Context) (*webhook.IDs, error) {
	instance, err := s.Setting(ctx, "installation")
	if err != nil {
		return nil, fmt.Errorf("read installation: %w", err)
	}
	var last int64
	err = s.readers.QueryRowContext(ctx, `SELECT max(
		(SELECT coalesce(max(id), 0) FROM events),
		(SELECT coalesce(max(id), 0) FROM deliveries),
		(SELECT coalesce(max(number), 0) FROM webhook_subscribers),
		(SELECT coalesce(max(id), 0) FROM tokens),
		(SELECT coalesce(max(id), 0) FROM rejections))`).Scan(&last)
	if err != nil {
		return nil, fmt.Errorf("read the last id: %w", translate(err))
	}
	return webhook.NewIDs(instance, last), nil
}

// IDs returns the maker of this installation's ids.
func (s *Store) IDs() *webhook.IDs { return s.ids }

// Close commits what waits, empties the write-ahead log and gives the file up.
func (s *Store) Close() error {
	s.upkeep.close()
	err := errors.Join(s.log.close(), s.readers.Close(), s.writer.close(), s.lock.Unlock())
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Check returns nil when the file can be written to, and added to.
func (s *Store) Check(context.Context) error {
	spent := false
	err := s.writer.do("check", func(tx *transaction) (err error) {
		// To set a value to what it is writes nothing, and so would notice nothing.
		var value string
		if err := tx.row(`DELETE FROM settings WHERE name = 'installation' RETURNING value`).Scan(&value); err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO settings (name, value) VALUES ('installation', ?)`, value); err != nil {
			return err
		}
		// That the file is spent fails nobody who shares the commit.
		spent, err = s.writer.full(tx)
		return err
	})
	if err == nil && spent {
		err = fmt.Errorf("check: %w", errSpent)
	}
	return err
}

// Setting returns the value kept under the name.
func (s *Store) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := s.readers.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&value)
	if err != nil {
		return "", fmt.Errorf("read setting %s: %w", name, translate(err))
	}
	if isSecret(name) {
		if value, err = s.vault.open(settingPlace(name), value); err != nil {
			return "", fmt.Errorf("read setting %s: %w", name, err)
		}
	}
	return value, nil
}

// PutSetting keeps a value under a name.
func (s *Store) PutSetting(_ context.Context, name, value string) error {
	if isSecret(name) {
		value = s.vault.seal(settingPlace(name), value)
	}
	return s.writer.do("put setting", func(tx *transaction) error {
		_, err := tx.exec(`INSERT INTO settings (name, value) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
}

// diskFaults say what the disk was asked for, by SQLite's code.
var diskFaults = map[int]string{
	sqlite3.SQLITE_IOERR_READ: "read", sqlite3.SQLITE_IOERR_SHORT_READ: "read", sqlite3.SQLITE_IOERR_WRITE: "write",
	sqlite3.SQLITE_IOERR_FSYNC: "make durable what was written", sqlite3.SQLITE_IOERR_DIR_FSYNC: "make durable what was written",
	sqlite3.SQLITE_IOERR_TRUNCATE: "shorten a file", sqlite3.SQLITE_IOERR_SHMSIZE: "make room for the index of the log",
}

// translate gives the errors of the driver the names of the domain.
func translate(err error) error {
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

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// optional reads a time that may be NULL as the zero time.
func optional(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return fromMillis(ms.Int64)
}
