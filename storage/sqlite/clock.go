package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// clockSetting is the time, in milliseconds, from which the clock was last known
// to be set back. What the file has of a time up to that has been made good for.
const clockSetting = "clock_set_back"

const (
	allForward = `UPDATE deliveries SET next_attempt_at = max(?1, next_attempt_at - ?2)
		WHERE state = 'pending' AND next_attempt_at > ?1 AND id NOT IN (SELECT value FROM json_each(?3))`
	onlyForward = `UPDATE deliveries SET next_attempt_at = max(?1, next_attempt_at - ?2)
		WHERE +state = 'pending' AND +next_attempt_at > ?1 AND id IN (SELECT value FROM json_each(?3))`
)

// bringForward makes good for a clock that was set back; see
// [webhook.Store.Backlog]. What is due by now anyway stays as it is, and nothing
// becomes due before now.
func (s *Store) bringForward(ctx context.Context, b webhook.SetBack) error {
	from, to := millis(b.From), millis(b.To)
	done, err := s.madeGood(ctx)
	if err != nil {
		return err
	}
	if b.From.IsZero() {
		if from, err = s.latest(ctx); err != nil || from <= done {
			return err
		}
	}
	if from == done { // it is asked for again
		return nil
	}
	if from <= to { // it is as late again by now
		return nil
	}
	// One transaction, with the note that it was done: done twice, it would take
	// retries their wait.
	return s.writer.do("bring deliveries forward", func(tx *transaction) error {
		statement, ids := allForward, b.Held
		if len(b.Only) > 0 {
			statement, ids = onlyForward, b.Only
		}
		if _, err := tx.exec(statement, to, from-to, jsonArray(s.deliveryNumbers(ids))); err != nil {
			return err
		}
		_, err := tx.exec(`INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			clockSetting, s.vault.seal(dbfile.SettingPlace(clockSetting), strconv.FormatInt(from, 10)))
		return err
	})
}

// latest is the latest time at which something was accepted or tried. Ids are
// never made of an earlier time than the ones before, so that the last one tells.
func (s *Store) latest(ctx context.Context) (ms int64, err error) {
	var id int64
	err = s.readers.QueryRowContext(ctx, `SELECT
		max((SELECT coalesce(max(id), 0) FROM events), (SELECT coalesce(max(id), 0) FROM deliveries)),
		coalesce((SELECT max(last_at) FROM rollups WHERE minute = (SELECT max(minute) FROM rollups)), 0)`).Scan(&id, &ms)
	if err != nil {
		return 0, fmt.Errorf("read the latest time: %w", dbfile.Translate(err))
	}
	return max(ms, webhook.MadeAt(id).UnixMilli()), nil
}

func (s *Store) madeGood(ctx context.Context) (ms int64, err error) {
	kept, err := s.Setting(ctx, clockSetting)
	if errors.Is(err, webhook.ErrNotFound) {
		return 0, nil
	}
	if err == nil {
		ms, err = strconv.ParseInt(kept, 10, 64)
	}
	return ms, err
}
