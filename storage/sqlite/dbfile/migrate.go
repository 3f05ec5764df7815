package dbfile

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// upgrade brings a file of an older version to the newest schema, after copying
// it. Each step is one transaction that also sets the version, so a crash
// leaves a file that the next start goes on with.
func upgrade(ctx context.Context, path string, onUpgrade func(from, to int, copied string)) error {
	version, err := storedVersion(ctx, path)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if err := known(version); err != nil || version == schemaVersion {
		return err
	}
	db, err := sql.Open("sqlite", DSN(path, "_pragma=busy_timeout(10000)", "_txlock=immediate"))
	if err != nil {
		return err
	}
	defer db.Close()
	// The pragmas and the transactions share one connection.
	db.SetMaxOpenConns(1)
	copied := fmt.Sprintf("%s.v%d-%s.backup", path, version, time.Now().UTC().Format("20060102T150405Z"))
	if err := backup(ctx, db, path+".backup.partial", copied); err != nil {
		return fmt.Errorf("copy the database before its upgrade: %w", Translate(err))
	}
	if onUpgrade != nil {
		onUpgrade(version, schemaVersion, copied)
	}
	for from := version; version < schemaVersion; {
		version++
		if err := migrate(ctx, db, version); err != nil {
			err = fmt.Errorf("upgrade to schema %d: %w", version, Translate(err))
			if version == from+1 {
				// The file is as it was. Whoever starts us again and again must
				// not get a copy each time, until the disk is full.
				return errors.Join(err, os.Remove(copied))
			}
			return fmt.Errorf("%w (a copy of the database as it was is %s)", err, copied)
		}
	}
	// The header of the file tells the version to whoever looks without SQLite.
	_, err = db.ExecContext(ctx, `PRAGMA wal_checkpoint(truncate)`)
	return err
}

// storedVersion reads the version with SQLite: the header of the file may be
// behind the write-ahead log.
func storedVersion(ctx context.Context, path string) (version int, err error) {
	db, err := sql.Open("sqlite", DSN(path, "mode=ro", "_pragma=busy_timeout(10000)"))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version)
	return version, err
}

// backup writes a consistent copy of the database, write-ahead log included,
// that only the owner can read. Under its name there is never half a copy: that
// is the partial file, which a crash leaves and the next backup overwrites.
func backup(ctx context.Context, db *sql.DB, partial, to string) error {
	// SQLite fills an empty file that exists, and its mode stays.
	if err := os.WriteFile(partial, nil, 0o600); err != nil {
		return err
	}
	defer os.Remove(partial)
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, partial); err != nil {
		return err
	}
	if err := syncFile(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, to); err != nil {
		return err
	}
	return syncFile(filepath.Dir(to))
}

// syncFile makes a file, or the names in a directory, durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func migrate(ctx context.Context, db *sql.DB, version int) error {
	names, err := fs.Glob(migrations, fmt.Sprintf("migrations/%04d-*.sql", version))
	if err != nil || len(names) != 1 {
		return errors.Join(err, fmt.Errorf("%d migrations to this schema", len(names)))
	}
	text, err := migrations.ReadFile(names[0])
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return err
	}
	if version == 4 {
		if err := migrateFingerprints(ctx, tx); err != nil {
			return err
		}
	}
	if err := checkForeignKeys(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, version)); err != nil {
		return err
	}
	return tx.Commit()
}

// checkForeignKeys fails if a row points to one that is not there. SQLite tells
// so in rows, and not by an error.
func checkForeignKeys(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `PRAGMA foreign_key_check`)
	if err != nil {
		return Translate(err)
	}
	defer rows.Close()
	var (
		table, parent, first string
		rowid                sql.NullInt64
		key, broken          int
	)
	for ; rows.Next(); broken++ {
		if err := rows.Scan(&table, &rowid, &parent, &key); err != nil {
			return Translate(err)
		}
		if broken == 0 {
			first = fmt.Sprintf("%s row %d names no row of %s", table, rowid.Int64, parent)
		}
	}
	if err := rows.Err(); err != nil || broken == 0 {
		return Translate(err)
	}
	return fmt.Errorf("%d broken references, the first: %s", broken, first)
}
