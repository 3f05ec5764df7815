package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// PutSubscriber stores a subscriber, in place of the one with its id.
func (s *Store) PutSubscriber(_ context.Context, sub webhook.Subscriber) error {
	row, err := s.subscriberRow(&sub)
	if err != nil {
		return fmt.Errorf("put subscriber: %w", err)
	}
	return s.writer.do("put subscriber", func(tx *transaction) error {
		_, err := tx.exec(`INSERT OR REPLACE INTO webhook_subscribers (id, client_id, url, secret, events, active, paused_reason, description,
			headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at, old_secrets, number)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, row...)
		return err
	})
}

// RemoveSubscriber removes the subscriber and cancels its pending deliveries.
func (s *Store) RemoveSubscriber(_ context.Context, id webhook.SubscriberID, now time.Time) error {
	number, _ := s.ids.Parse(webhook.SubscriberPrefix, string(id))
	return s.writer.do("remove subscriber", func(tx *transaction) error {
		if err := found(tx.exec(`DELETE FROM webhook_subscribers WHERE number = ?`, number)); err != nil {
			return err
		}
		if err := tallyCancel(tx, number); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE deliveries SET state = 'cancelled', next_attempt_at = NULL, finished_at = ?
			WHERE subscriber_id = ? AND state = 'pending'`, millis(now), number)
		return err
	})
}

// tallyCancel counts the subscriber's pending deliveries as cancelled.
func tallyCancel(tx *transaction, subscriber int64) error {
	rows, err := tx.query(`SELECT coalesce(last_outcome, ''), coalesce(last_code, 0), count(*) FROM deliveries
		WHERE subscriber_id = ? AND state = 'pending' GROUP BY 1, 2`, subscriber)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			outcome webhook.Outcome
			code    int
			n       int64
		)
		if err := rows.Scan(&outcome, &code, &n); err != nil {
			return err
		}
		tx.counts().tally(newTally(subscriber, webhook.Pending, outcome, code), -n)
		tx.counts().tally(newTally(subscriber, webhook.Cancelled, "", 0), n)
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
	subscribers, err := list(ctx, s.readers, `SELECT id, client_id, url, secret, events, active, paused_reason, description,
		headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at, old_secrets
		FROM webhook_subscribers ORDER BY number DESC`, nil, scanSubscriber)
	if err != nil {
		return nil, fmt.Errorf("list subscribers: %w", err)
	}
	return subscribers, nil
}

// oldSecret is a [webhook.OldSecret] as its column has it.
type oldSecret struct {
	Secret string `json:"secret"`
	Until  int64  `json:"until"`
}

func (s *Store) subscriberRow(sub *webhook.Subscriber) ([]any, error) {
	number, ok := s.ids.Parse(webhook.SubscriberPrefix, string(sub.ID))
	if !ok {
		return nil, fmt.Errorf("id %q is not of this installation", sub.ID)
	}
	waits := make([]int64, len(sub.Schedule))
	for i, wait := range sub.Schedule {
		waits[i] = wait.Milliseconds()
	}
	headers := sub.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	old := make([]oldSecret, len(sub.OldSecrets))
	for i, o := range sub.OldSecrets {
		old[i] = oldSecret{o.Secret.Reveal(), millis(o.Until)}
	}
	events, err1 := json.Marshal(sub.Events)
	encodedHeaders, err2 := json.Marshal(headers)
	schedule, err3 := json.Marshal(waits)
	oldSecrets, err4 := json.Marshal(old)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return nil, err
		}
	}
	return []any{
		string(sub.ID), sub.ClientID, sub.URL, sub.Secret.Reveal(), string(events), sub.Active, sub.PausedReason, sub.Description,
		string(encodedHeaders), sub.Timeout.Milliseconds(), sub.Concurrency, string(schedule), sub.FinalOn4xx,
		millis(sub.CreatedAt), millis(sub.UpdatedAt), string(oldSecrets), number,
	}, nil
}

func scanSubscriber(rows *sql.Rows) (webhook.Subscriber, error) {
	var (
		sub                           webhook.Subscriber
		events, headers               []byte
		schedule, oldSecrets          []byte
		waits                         []int64
		old                           []oldSecret
		timeout, createdAt, updatedAt int64
	)
	err := rows.Scan(&sub.ID, &sub.ClientID, &sub.URL, &sub.Secret, &events, &sub.Active, &sub.PausedReason, &sub.Description,
		&headers, &timeout, &sub.Concurrency, &schedule, &sub.FinalOn4xx, &createdAt, &updatedAt, &oldSecrets)
	if err != nil {
		return sub, err
	}
	sub.Timeout = time.Duration(timeout) * time.Millisecond
	sub.CreatedAt, sub.UpdatedAt = fromMillis(createdAt), fromMillis(updatedAt)
	if err := json.Unmarshal(events, &sub.Events); err != nil {
		return sub, fmt.Errorf("subscriber %s: read events: %w", sub.ID, err)
	}
	if err := json.Unmarshal(headers, &sub.Headers); err != nil {
		return sub, fmt.Errorf("subscriber %s: read headers: %w", sub.ID, err)
	}
	if err := json.Unmarshal(schedule, &waits); err != nil {
		return sub, fmt.Errorf("subscriber %s: read schedule: %w", sub.ID, err)
	}
	if err := json.Unmarshal(oldSecrets, &old); err != nil {
		return sub, fmt.Errorf("subscriber %s: read old secrets: %w", sub.ID, err)
	}
	for _, o := range old {
		sub.OldSecrets = append(sub.OldSecrets, webhook.OldSecret{Secret: webhook.Secret(o.Secret), Until: fromMillis(o.Until)})
	}
	for _, wait := range waits {
		sub.Schedule = append(sub.Schedule, time.Duration(wait)*time.Millisecond)
	}
	return sub, nil
}
