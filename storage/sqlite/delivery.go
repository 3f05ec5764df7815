package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// Backlog returns when the first of each subscriber's pending deliveries are due.
func (s *Store) Backlog(ctx context.Context, clock webhook.SetBack) (map[webhook.SubscriberID]webhook.Backlog, error) {
	if !clock.To.IsZero() {
		if err := s.bringForward(ctx, clock); err != nil {
			return nil, err
		}
	}
	backlog := map[webhook.SubscriberID]webhook.Backlog{}
	_, err := read(ctx, s.readers, `SELECT subscriber_id, (spent > 0), min(next_attempt_at) FROM deliveries INDEXED BY deliveries_due
		WHERE state = 'pending' GROUP BY subscriber_id, (spent > 0)`, nil,
		func(rows *sql.Rows) (struct{}, error) {
			var (
				number, due int64
				retries     bool
			)
			err := rows.Scan(&number, &retries, &due)
			id := webhook.SubscriberID(s.ids.Format(webhook.SubscriberPrefix, number))
			b := backlog[id]
			if retries {
				b.Retries = fromMillis(due)
			} else {
				b.Fresh = fromMillis(due)
			}
			backlog[id] = b
			return struct{}{}, err
		})
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	return backlog, nil
}

// Resend makes deliveries due, with their whole schedule before them.
func (s *Store) Resend(_ context.Context, ids []webhook.DeliveryID, first time.Time, every time.Duration) ([]webhook.Delivery, error) {
	var resent []webhook.Delivery
	err := s.writer.do("resend", func(tx *transaction) error {
		resent = make([]webhook.Delivery, 0, len(ids))
		due := first
		for _, id := range ids {
			d, number, err := s.delivery(tx, id)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			err = found(tx.exec(`UPDATE deliveries SET state = 'pending', spent = 0, next_attempt_at = ?, finished_at = NULL, fingerprint = NULL,
				order_key = iif(s.ordered <> '', coalesce(order_key, ''), order_key)
				FROM webhook_subscribers s WHERE deliveries.id = ? AND s.number = deliveries.subscriber_id`, millis(due), number))
			if errors.Is(err, webhook.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			s.moved(tx, &d, webhook.Pending)
			d.Spent, d.NextAttemptAt, d.FinishedAt, d.Fingerprint = 0, fromMillis(millis(due)), time.Time{}, ""
			resent = append(resent, d)
			due = due.Add(every)
		}
		return nil
	})
	return resent, err
}

// Replay makes new deliveries of stored events.
func (s *Store) Replay(_ context.Context, replays []webhook.Replay) ([]webhook.Delivery, error) {
	var made []webhook.Delivery
	err := s.writer.add("replay", func(tx *transaction) error {
		made = make([]webhook.Delivery, 0, len(replays))
		for _, r := range replays {
			event, _ := s.ids.Parse(webhook.EventPrefix, string(r.EventID))
			err := tx.row(`SELECT id FROM events WHERE id = ?`, event).Scan(&event)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			if ok, err := s.deliver(tx, r.Delivery, event, r.DueAt); err != nil {
				return err
			} else if !ok {
				continue
			}
			d, _, err := s.delivery(tx, r.Delivery.ID)
			if err != nil {
				return err
			}
			made = append(made, d)
		}
		return nil
	})
	return made, err
}

// Cancel ends deliveries that are pending.
func (s *Store) Cancel(_ context.Context, ids []webhook.DeliveryID, now time.Time) ([]webhook.Delivery, error) {
	var cancelled []webhook.Delivery
	err := s.writer.do("cancel", func(tx *transaction) error {
		cancelled = make([]webhook.Delivery, 0, len(ids))
		for _, id := range ids {
			d, number, err := s.delivery(tx, id)
			if errors.Is(err, sql.ErrNoRows) || err == nil && d.State != webhook.Pending {
				continue
			}
			if err != nil {
				return err
			}
			_, err = tx.exec(`UPDATE deliveries SET state = 'cancelled', next_attempt_at = NULL, finished_at = ? WHERE id = ?`, millis(now), number)
			if err != nil {
				return err
			}
			s.moved(tx, &d, webhook.Cancelled)
			d.NextAttemptAt, d.FinishedAt = time.Time{}, fromMillis(millis(now))
			cancelled = append(cancelled, d)
		}
		return nil
	})
	return cancelled, err
}

// Purge deletes dead letters with their attempts.
func (s *Store) Purge(_ context.Context, ids []webhook.DeliveryID) (int, error) {
	purged := 0
	err := s.writer.do("purge", func(tx *transaction) error {
		purged = 0
		for _, id := range ids {
			d, number, err := s.delivery(tx, id)
			if errors.Is(err, sql.ErrNoRows) || err == nil && d.State != webhook.Dead {
				continue
			}
			if err != nil {
				return err
			}
			if err := deleteDeliveries(tx, []int64{number}); err != nil {
				return err
			}
			tx.counts().tally(s.tallyOf(&d), -1)
			purged++
		}
		return nil
	})
	return purged, err
}

// delivery reads a delivery that is to be changed, and its sequence number.
func (s *Store) delivery(tx *transaction, id webhook.DeliveryID) (webhook.Delivery, int64, error) {
	number, _ := s.ids.Parse(webhook.DeliveryPrefix, string(id))
	d, err := s.scanDelivery(tx.row(`SELECT `+deliveryColumns+deliveryTables+` WHERE d.id = ?`, number).Scan)
	return d, number, err
}

// moved gives the delivery its new state and counts it there.
func (s *Store) moved(tx *transaction, d *webhook.Delivery, to webhook.State) {
	from := s.tallyOf(d)
	d.State = to
	tx.counts().move(from, s.tallyOf(d))
}

// tallyOf is where the delivery is counted.
func (s *Store) tallyOf(d *webhook.Delivery) tally {
	subscriber, _ := s.ids.Parse(webhook.SubscriberPrefix, string(d.SubscriberID))
	return newTally(subscriber, d.State, cause{d.LastOutcome, d.LastCode, d.Fingerprint})
}

const (
	deliveryColumns = `d.id, d.event_id, e.type, d.subscriber_id, d.state, d.attempts, d.spent, d.next_attempt_at, d.finished_at, d.last_outcome, d.last_code,
		d.order_key, d.unjudged, d.fingerprint, a.error, a.duration`
	deliveryTables = ` FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN attempts a ON a.delivery_id = d.id AND a.number = d.attempts`
)

func (s *Store) scanDelivery(scan func(...any) error) (webhook.Delivery, error) {
	var (
		d                     webhook.Delivery
		id, event, subscriber int64
		next, finished, code  sql.NullInt64
		outcome, fault        sql.NullString
		key, fingerprint      sql.NullString
		duration              sql.NullInt64
	)
	err := scan(&id, &event, &d.EventType, &subscriber, &d.State, &d.Attempts, &d.Spent, &next, &finished, &outcome, &code,
		&key, &d.Unjudged, &fingerprint, &fault, &duration)
	d.ID = webhook.DeliveryID(s.ids.Format(webhook.DeliveryPrefix, id))
	d.EventID = webhook.EventID(s.ids.Format(webhook.EventPrefix, event))
	d.SubscriberID = webhook.SubscriberID(s.ids.Format(webhook.SubscriberPrefix, subscriber))
	d.CreatedAt = webhook.MadeAt(id)
	d.NextAttemptAt, d.FinishedAt = optional(next), optional(finished)
	d.LastOutcome, d.LastCode = webhook.Outcome(outcome.String), int(code.Int64)
	d.OrderKey, d.Fingerprint = key.String, fingerprint.String
	d.LastError, d.LastDuration = fault.String, micros(duration.Int64)
	return d, err
}
