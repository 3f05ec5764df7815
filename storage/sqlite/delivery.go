package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// Due returns deliveries that are due, in the order in which they fell due.
func (s *Store) Due(ctx context.Context, q webhook.DueQuery) (jobs []webhook.Job, next time.Time, err error) {
	subscriber, _ := s.ids.Parse(webhook.SubscriberPrefix, string(q.SubscriberID))
	skip := make([]int64, len(q.Skip))
	for i, id := range q.Skip {
		skip[i], _ = s.ids.Parse(webhook.DeliveryPrefix, string(id))
	}
	// One more than asked for, so that the first that is left tells when.
	rows, err := s.readers.QueryContext(ctx, `SELECT `+eventColumns+`, d.id, d.attempts, d.spent, d.next_attempt_at
		FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE d.subscriber_id = ? AND d.state = 'pending' AND d.id NOT IN (SELECT value FROM json_each(?))
		ORDER BY d.next_attempt_at, d.id LIMIT ?`, subscriber, jsonArray(skip), q.Limit+1)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read due deliveries: %w", translate(err))
	}
	defer rows.Close()
	room := q.Bytes
	for rows.Next() {
		job, err := s.scanJob(rows)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read due deliveries: %w", translate(err))
		}
		room -= len(job.Event.Data)
		if job.DueAt.After(q.Now) || len(jobs) == q.Limit || len(jobs) > 0 && room < 0 {
			return jobs, job.DueAt, nil
		}
		jobs = append(jobs, job)
	}
	if err := rows.Err(); err != nil {
		return nil, time.Time{}, fmt.Errorf("read due deliveries: %w", translate(err))
	}
	return jobs, time.Time{}, nil
}

func (s *Store) scanJob(rows *sql.Rows) (webhook.Job, error) {
	var (
		job     webhook.Job
		id, due int64
	)
	e, err := s.scanEvent(rows.Scan, &id, &job.Attempts, &job.Spent, &due)
	job.Delivery = webhook.DeliveryID(s.ids.Format(webhook.DeliveryPrefix, id))
	job.DueAt, job.Event = fromMillis(due), &e
	return job, err
}

// Backlog returns when each subscriber's first pending delivery is due.
func (s *Store) Backlog(ctx context.Context) (map[webhook.SubscriberID]time.Time, error) {
	backlog := map[webhook.SubscriberID]time.Time{}
	_, err := list(ctx, s.readers, `SELECT subscriber_id, min(next_attempt_at) FROM deliveries WHERE state = 'pending' GROUP BY subscriber_id`, nil,
		func(rows *sql.Rows) (struct{}, error) {
			var number, due int64
			err := rows.Scan(&number, &due)
			backlog[webhook.SubscriberID(s.ids.Format(webhook.SubscriberPrefix, number))] = fromMillis(due)
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
			err = found(tx.exec(`UPDATE deliveries SET state = 'pending', spent = 0, next_attempt_at = ?, finished_at = NULL
				WHERE id = ? AND EXISTS (SELECT 1 FROM webhook_subscribers WHERE number = deliveries.subscriber_id)`, millis(due), number))
			if errors.Is(err, webhook.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			s.moved(tx, &d, webhook.Pending)
			d.Spent, d.NextAttemptAt, d.FinishedAt = 0, fromMillis(millis(due)), time.Time{}
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
			if _, err := tx.exec(`DELETE FROM attempts WHERE delivery_id = ?`, number); err != nil {
				return err
			}
			if _, err := tx.exec(`DELETE FROM deliveries WHERE id = ?`, number); err != nil {
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
	return newTally(subscriber, d.State, d.LastOutcome, d.LastCode)
}

const (
	deliveryColumns = `d.id, d.event_id, e.type, d.subscriber_id, d.state, d.attempts, d.spent, d.next_attempt_at, d.finished_at, d.last_outcome, d.last_code, a.error, a.duration`
	deliveryTables  = ` FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN attempts a ON a.delivery_id = d.id AND a.number = d.attempts`
)

func (s *Store) scanDelivery(scan func(...any) error) (webhook.Delivery, error) {
	var (
		d                     webhook.Delivery
		id, event, subscriber int64
		next, finished, code  sql.NullInt64
		outcome, fault        sql.NullString
		duration              sql.NullInt64
	)
	err := scan(&id, &event, &d.EventType, &subscriber, &d.State, &d.Attempts, &d.Spent, &next, &finished, &outcome, &code, &fault, &duration)
	d.ID = webhook.DeliveryID(s.ids.Format(webhook.DeliveryPrefix, id))
	d.EventID = webhook.EventID(s.ids.Format(webhook.EventPrefix, event))
	d.SubscriberID = webhook.SubscriberID(s.ids.Format(webhook.SubscriberPrefix, subscriber))
	d.CreatedAt = webhook.MadeAt(id)
	d.NextAttemptAt, d.FinishedAt = optional(next), optional(finished)
	d.LastOutcome, d.LastCode = webhook.Outcome(outcome.String), int(code.Int64)
	d.LastError, d.LastDuration = fault.String, micros(duration.Int64)
	return d, err
}
