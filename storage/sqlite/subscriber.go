package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// subscriberColumns are in the order of a [subscriberRow].
const subscriberColumns = `id, client_id, url, secret, events, active, paused_reason, description,
	headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at, old_secrets,
	rate_limit, scheme, filter, transform, ordered, on_dead, basic_username, basic_password, oauth2,
	tls_cert, tls_key, tls_ca, hold, auto_pause, failing_since`

const putSubscriber = `INSERT OR REPLACE INTO webhook_subscribers (` + subscriberColumns + `, number)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// PutSubscriber stores a subscriber, in place of the one with its id.
func (s *Store) PutSubscriber(_ context.Context, sub webhook.Subscriber) error {
	number, ok := s.ids.Parse(webhook.SubscriberPrefix, string(sub.ID))
	if !ok {
		return fmt.Errorf("put subscriber: id %q is not of this installation", sub.ID)
	}
	row, err := newSubscriberRow(&sub)
	if err == nil {
		err = s.vault.sealRow(row)
	}
	if err != nil {
		return fmt.Errorf("put subscriber: %w", err)
	}
	return s.writer.do("put subscriber", func(tx *transaction) error {
		tx.changed(number)
		if sub.Ordered != "" {
			if err := putInOrder(tx, number); err != nil {
				return err
			}
		}
		_, err := tx.exec(putSubscriber, append(row.values(), number)...)
		return err
	})
}

// putInOrder has the indexes of ordered subscribers find what is pending of one
// that is to become one.
func putInOrder(tx *transaction, subscriber int64) error {
	_, err := tx.exec(`UPDATE deliveries INDEXED BY deliveries_due SET order_key = '' WHERE subscriber_id = ?1 AND state = 'pending' AND order_key IS NULL
		AND EXISTS (SELECT 1 FROM webhook_subscribers WHERE number = ?1 AND ordered = '')`, subscriber)
	return err
}

// RemoveSubscriber removes the subscriber and cancels its pending deliveries.
func (s *Store) RemoveSubscriber(_ context.Context, id webhook.SubscriberID, now time.Time) error {
	number, _ := s.ids.Parse(webhook.SubscriberPrefix, string(id))
	return s.writer.do("remove subscriber", func(tx *transaction) error {
		tx.changed(number)
		if err := found(tx.exec(`DELETE FROM webhook_subscribers WHERE number = ?`, number)); err != nil {
			return err
		}
		if err := tallyCancel(tx, number); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE deliveries INDEXED BY deliveries_due SET state = 'cancelled', next_attempt_at = NULL, finished_at = ?
			WHERE subscriber_id = ? AND state = 'pending'`, millis(now), number)
		return err
	})
}

// tallyCancel counts the subscriber's pending deliveries as cancelled.
func tallyCancel(tx *transaction, subscriber int64) error {
	rows, err := tx.query(`SELECT coalesce(last_outcome, ''), coalesce(last_code, 0), count(*) FROM deliveries INDEXED BY deliveries_due
		WHERE subscriber_id = ? AND state = 'pending' GROUP BY 1, 2`, subscriber)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			c cause
			n int64
		)
		if err := rows.Scan(&c.outcome, &c.code, &n); err != nil {
			return err
		}
		tx.counts().tally(newTally(subscriber, webhook.Pending, c), -n)
		tx.counts().tally(newTally(subscriber, webhook.Cancelled, cause{}), n)
	}
	return rows.Err()
}

// found returns [webhook.ErrNotFound] for a change that met no row.
func found(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return webhook.ErrNotFound
}

// Subscribers returns all subscribers, the newest first.
func (s *Store) Subscribers(ctx context.Context) ([]webhook.Subscriber, error) {
	if err := s.readers.enter(ctx); err != nil {
		return nil, fmt.Errorf("list subscribers: %w", err)
	}
	defer s.readers.leave()
	return listSubscribers(ctx, s.readers.db, s.vault)
}

// Subscribers reads those of a file of the newest schema, which may be in use, and
// changes nothing. Their secrets are as they are kept there, sealed or not.
func Subscribers(ctx context.Context, path string) ([]webhook.Subscriber, error) {
	db, err := dbfile.OpenAsItIs(path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return listSubscribers(ctx, db, vault{})
}

func listSubscribers(ctx context.Context, db *sql.DB, v vault) ([]webhook.Subscriber, error) {
	subscribers, err := list(ctx, db, `SELECT `+subscriberColumns+` FROM webhook_subscribers ORDER BY number DESC`, nil,
		func(rows *sql.Rows) (webhook.Subscriber, error) {
			var row subscriberRow
			if err := rows.Scan(row.fields()...); err != nil {
				return webhook.Subscriber{}, err
			}
			if err := v.openRow(&row); err != nil {
				return webhook.Subscriber{}, err
			}
			return row.subscriber()
		})
	if err != nil {
		return nil, fmt.Errorf("list subscribers: %w", err)
	}
	return subscribers, nil
}
