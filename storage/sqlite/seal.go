package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// A vault seals secrets on their way into the file, if it has a sealer.
type vault struct{ sealer webhook.Sealer }

// isSecret reports whether a setting is one.
func isSecret(setting string) bool { return setting != dbfile.Installation }

// seal returns the secret as it is kept. Where there is none, that can be seen.
func (v vault) seal(place, secret string) string {
	if v.sealer == nil || secret == "" {
		return secret
	}
	return v.sealer.Seal(place, secret)
}

// open returns the secret that is kept.
func (v vault) open(place, kept string) (string, error) {
	if v.sealer == nil || !strings.HasPrefix(kept, webhook.SealedPrefix) {
		return kept, nil
	}
	secret, _, err := v.sealer.Open(place, kept)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", place, err)
	}
	return secret, nil
}

func (v vault) sealRow(row *subscriberRow) error {
	if v.sealer == nil {
		return nil
	}
	return row.eachSecret(func(place, secret string) (string, error) { return v.seal(place, secret), nil })
}

func (v vault) openRow(row *subscriberRow) error {
	if v.sealer == nil {
		return nil
	}
	return row.eachSecret(v.open)
}

// sealAll seals what is not sealed, or not under the newest key. It leaves
// nothing of what was there before in the file, nor in its log.
func (v vault) sealAll(ctx context.Context, path string, fresh bool) error {
	if v.sealer == nil {
		return nil
	}
	db, err := sql.Open("sqlite", dbfile.DSN(path, "_pragma=busy_timeout(3000)", "_pragma=secure_delete(1)", "_txlock=immediate"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	check, err := dbfile.ReadSealCheck(ctx, db)
	if err != nil {
		return err
	}
	if check == "" && !fresh {
		// Secrets that were replaced or removed, long ago even, are still there in
		// pages that are not in use and in gaps of those that are.
		// A file that is written anew can give free pages back from then on.
		if _, err := db.ExecContext(ctx, fmt.Sprintf(`PRAGMA auto_vacuum = %d; VACUUM`, dbfile.Incremental)); err != nil {
			return fmt.Errorf("wipe out what was removed: %w", err)
		}
	}
	changed, err := v.sealIn(ctx, db, check)
	if err != nil {
		return err
	}
	var busy, frames, moved int
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(truncate)`).Scan(&busy, &frames, &moved); err != nil {
		return err
	}
	if changed && busy != 0 {
		return errors.New("they are sealed, but still there as they were in the write-ahead log, which another process reads: end that, and start again")
	}
	return nil
}

// sealIn is the transaction of sealAll. It reports whether anything was not
// sealed as it should be.
func (v vault) sealIn(ctx context.Context, db *sql.DB, check string) (changed bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	anew := func(place, kept string) (string, error) {
		secret, newest := kept, kept == ""
		// Before there is a check nothing is sealed, whatever it looks like.
		if check != "" && strings.HasPrefix(kept, webhook.SealedPrefix) {
			var err error
			if secret, newest, err = v.sealer.Open(place, kept); err != nil {
				return "", fmt.Errorf("open %s: %w", place, err)
			}
		}
		if newest {
			return kept, nil
		}
		changed = true
		return v.seal(place, secret), nil
	}
	subscribers, err := sealSubscribers(ctx, tx, anew)
	if err != nil {
		return false, err
	}
	settings, err := sealSettings(ctx, tx, anew)
	if err != nil {
		return false, err
	}
	if check == "" {
		changed = true
		settings = append(settings, [2]string{dbfile.SealCheck, v.seal(dbfile.SettingPlace(dbfile.SealCheck), "pintle")})
	}
	if !changed {
		return false, nil
	}
	if err := rewrite(ctx, tx, subscribers, settings); err != nil {
		return false, err
	}
	return true, tx.Commit()
}

type numbered struct {
	subscriberRow
	number int64
}

func sealSubscribers(ctx context.Context, tx *sql.Tx, anew func(place, kept string) (string, error)) ([]*numbered, error) {
	return list(ctx, tx, `SELECT `+subscriberColumns+`, number FROM webhook_subscribers ORDER BY number`, nil, func(rows *sql.Rows) (*numbered, error) {
		row := &numbered{}
		if err := rows.Scan(append(row.fields(), &row.number)...); err != nil {
			return nil, err
		}
		return row, row.eachSecret(anew)
	})
}

func sealSettings(ctx context.Context, tx *sql.Tx, anew func(place, kept string) (string, error)) ([][2]string, error) {
	return list(ctx, tx, `SELECT name, value FROM settings`, nil, func(rows *sql.Rows) (setting [2]string, err error) {
		if err := rows.Scan(&setting[0], &setting[1]); err != nil || !isSecret(setting[0]) {
			return setting, err
		}
		setting[1], err = anew(dbfile.SettingPlace(setting[0]), setting[1])
		return setting, err
	})
}

// rewrite replaces all subscribers and settings. Both tables are emptied first:
// a row that is changed where it stands can leave a copy behind in a page that
// its neighbours are moved from, while the pages of an emptied table are wiped.
func rewrite(ctx context.Context, tx *sql.Tx, subscribers []*numbered, settings [][2]string) error {
	for _, table := range []string{"webhook_subscribers", "settings"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table); err != nil {
			return err
		}
	}
	for _, row := range subscribers {
		if _, err := tx.ExecContext(ctx, putSubscriber, append(row.values(), row.number)...); err != nil {
			return err
		}
	}
	for _, setting := range settings {
		if _, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?)`, setting[0], setting[1]); err != nil {
			return err
		}
	}
	return nil
}
