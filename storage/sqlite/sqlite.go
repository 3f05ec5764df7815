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
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/flock"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

var _ webhook.Store = (*Store)(nil)

const (
	// busyTimeout is how long, in milliseconds, a statement waits for others.
	busyTimeout = "10000"

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

// A Store is an open file.
type Store struct {
	path    string
	lock    *flock.Flock
	ids     *webhook.IDs
	writer  *writer
	readers *pool
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
	path, err := dbfile.Locate(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{path: path, vault: vault{o.Sealer}, lists: make(chan struct{}, lists)}
	if s.lock, err = dbfile.Lock(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.Unlock()
		}
	}()
	fresh, err := dbfile.Prepare(ctx, path, dbfile.Preparation{Schema: o.Schema, Sealer: o.Sealer, OnUpgrade: o.OnUpgrade})
	if err != nil {
		return nil, err
	}
	if err := s.vault.sealAll(ctx, path, fresh); err != nil {
		return nil, fmt.Errorf("seal the secrets in database %s: %w", path, dbfile.Translate(err))
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
	onFault := func(err error) {
		if o.OnUpkeep != nil {
			o.OnUpkeep(Upkeep{LogHeld: s.log.held.Load(), Err: err})
		}
	}
	if s.writer, err = openWriter(ctx, path, o, onFault); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if s.readers, err = openPool(path); err == nil {
		if s.ids, err = s.loadIDs(ctx); err == nil {
			err = s.due.prepare(ctx, s.readers.db)
		}
	}
	if err != nil {
		if s.readers != nil {
			s.readers.db.Close()
		}
		s.writer.close()
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	go s.log.run()
	go s.upkeep.run()
	return s, nil
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
		return nil, fmt.Errorf("read the last id: %w", dbfile.Translate(err))
	}
	return webhook.NewIDs(instance, last), nil
}

// IDs returns the maker of this installation's ids.
func (s *Store) IDs() *webhook.IDs { return s.ids }

// Close commits what waits, empties the write-ahead log and gives the file up.
func (s *Store) Close() error {
	s.upkeep.close()
	err := errors.Join(s.log.close(), s.readers.db.Close(), s.writer.close(), s.lock.Unlock())
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Check returns nil when the file can be written to, and added to.
func (s *Store) Check(context.Context) error {
	spent := false
	err := s.writer.do("check", func(tx *transaction) (err error) {
		if err := tx.touch(); err != nil {
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
		return "", fmt.Errorf("read setting %s: %w", name, dbfile.Translate(err))
	}
	if isSecret(name) {
		if value, err = s.vault.open(dbfile.SettingPlace(name), value); err != nil {
			return "", fmt.Errorf("read setting %s: %w", name, err)
		}
	}
	return value, nil
}

// PutSetting keeps a value under a name.
func (s *Store) PutSetting(_ context.Context, name, value string) error {
	if isSecret(name) {
		value = s.vault.seal(dbfile.SettingPlace(name), value)
	}
	return s.writer.do("put setting", func(tx *transaction) error {
		_, err := tx.exec(`INSERT INTO settings (name, value) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
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
