package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// CreateSubscriber stores a new subscriber.
func (s *Store) CreateSubscriber(_ context.Context, sub webhook.Subscriber) error {
	row, err := s.subscriberRow(&sub)
	if err != nil {
		return fmt.Errorf("create subscriber: %w", err)
	}
	return s.writer.do("create subscriber", func(tx *transaction) error {
		_, err := tx.exec(`INSERT INTO webhook_subscribers (id, client_id, url, secret, events, active, paused_reason, description,
			headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at, number)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, row...)
		return err
	})
}

// UpdateSubscriber replaces the subscriber that has this id.
func (s *Store) UpdateSubscriber(_ context.Context, sub webhook.Subscriber) error {
	row, err := s.subscriberRow(&sub)
	if err != nil {
		return fmt.Errorf("update subscriber: %w", err)
	}
	return s.writer.do("update subscriber", func(tx *transaction) error {
		result, err := tx.exec(`UPDATE webhook_subscribers SET id = ?, client_id = ?, url = ?, secret = ?, events = ?, active = ?,
			paused_reason = ?, description = ?, headers = ?, timeout = ?, concurrency = ?, schedule = ?, final_on_4xx = ?,
			created_at = ?, updated_at = ? WHERE number = ?`, row...)
		return found(result, err)
	})
}

// RemoveSubscriber removes the subscriber and cancels its pending deliveries.
func (s *Store) RemoveSubscriber(_ context.Context, id webhook.SubscriberID, now time.Time) error {
	number, _ := s.ids.Parse(webhook.SubscriberPrefix, string(id))
	return s.writer.do("remove subscriber", func(tx *transaction) error {
		if err := found(tx.exec(`DELETE FROM webhook_subscribers WHERE number = ?`, number)); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE deliveries SET state = 'cancelled', next_attempt_at = NULL, finished_at = ?
			WHERE subscriber_id = ? AND state = 'pending'`, millis(now), number)
		return err
	})
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
		headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at
		FROM webhook_subscribers ORDER BY number DESC`, nil, scanSubscriber)
	if err != nil {
		return nil, fmt.Errorf("list subscribers: %w", err)
	}
	return subscribers, nil
}

func (s *Store) subscriberRow(sub *webhook.Subscriber) ([]any, error) {
	number, ok := s.ids.Parse(webhook.SubscriberPrefix, string(sub.ID))
	if !ok {
		return nil, webhook.ErrNotFound
	}
	waits := make([]int64, len(sub.Schedule))
	for i, wait := range sub.Schedule {
		waits[i] = wait.Milliseconds()
	}
	headers := sub.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	events, err1 := json.Marshal(sub.Events)
	encodedHeaders, err2 := json.Marshal(headers)
	schedule, err3 := json.Marshal(waits)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, err
		}
	}
	return []any{
		string(sub.ID), sub.ClientID, sub.URL, sub.Secret.Reveal(), string(events), sub.Active, sub.PausedReason, sub.Description,
		string(encodedHeaders), sub.Timeout.Milliseconds(), sub.Concurrency, string(schedule), sub.FinalOn4xx,
		millis(sub.CreatedAt), millis(sub.UpdatedAt), number,
	}, nil
}

func scanSubscriber(rows *sql.Rows) (webhook.Subscriber, error) {
	var (
		sub                           webhook.Subscriber
		events, headers, schedule     []byte
		waits                         []int64
		timeout, createdAt, updatedAt int64
	)
	err := rows.Scan(&sub.ID, &sub.ClientID, &sub.URL, &sub.Secret, &events, &sub.Active, &sub.PausedReason, &sub.Description,
		&headers, &timeout, &sub.Concurrency, &schedule, &sub.FinalOn4xx, &createdAt, &updatedAt)
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
	for _, wait := range waits {
		sub.Schedule = append(sub.Schedule, time.Duration(wait)*time.Millisecond)
	}
	return sub, nil
}
