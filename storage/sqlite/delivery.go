package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// Record stores the results of attempts and moves their deliveries on.
func (s *Store) Record(_ context.Context, results []webhook.Result) error {
	return s.writer.do("record attempts", func(tx *transaction) error {
		for i := range results {
			if err := s.record(tx, &results[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) record(tx *transaction, r *webhook.Result) error {
	a := &r.Attempt
	id, ok := s.ids.Parse(webhook.DeliveryPrefix, string(a.DeliveryID))
	if !ok {
		return nil
	}
	var next, finished any
	if r.State == webhook.Pending {
		next = millis(r.NextAttemptAt)
	} else {
		finished = millis(a.StartedAt.Add(a.Duration))
	}
	outcome, code := string(a.Outcome), nullInt(a.Code)
	err := found(tx.exec(`UPDATE deliveries SET state = ?, attempts = ?, spent = ?, next_attempt_at = ?, finished_at = ?,
		last_outcome = ?, last_code = ? WHERE id = ? AND state = 'pending' AND next_attempt_at = ?`,
		string(r.State), a.Number, r.Spent, next, finished, outcome, code, id, millis(r.DueAt)))
	if errors.Is(err, webhook.ErrNotFound) {
		// Somebody ended or resent the delivery during the attempt, which is
		// history all the same; or it is gone, and there is nothing to hang the
		// attempt on.
		err = found(tx.exec(`UPDATE deliveries SET attempts = ?, last_outcome = ?, last_code = ? WHERE id = ?`, a.Number, outcome, code, id))
		if errors.Is(err, webhook.ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code, error, response_body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		id, a.Number, millis(a.StartedAt), a.Duration.Microseconds(), outcome, code, nullText(a.Error), nullBytes(a.ResponseBody))
	return err
}

func nullInt(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullBytes(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// Due returns deliveries that are due, in the order in which they fell due.
func (s *Store) Due(ctx context.Context, q webhook.DueQuery) (jobs []webhook.Job, next time.Time, err error) {
	subscriber, _ := s.ids.Parse(webhook.SubscriberPrefix, string(q.SubscriberID))
	skip := make([]int64, len(q.Skip))
	for i, id := range q.Skip {
		skip[i], _ = s.ids.Parse(webhook.DeliveryPrefix, string(id))
	}
	skipped, err := json.Marshal(skip)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read due deliveries: %w", err)
	}
	// One more than asked for, so that the first that is left tells when.
	rows, err := s.readers.QueryContext(ctx, `SELECT `+eventColumns+`, d.id, d.attempts, d.spent, d.next_attempt_at
		FROM deliveries d JOIN events e ON e.id = d.event_id
		WHERE d.subscriber_id = ? AND d.state = 'pending' AND d.id NOT IN (SELECT value FROM json_each(?))
		ORDER BY d.next_attempt_at, d.id LIMIT ?`, subscriber, string(skipped), q.Limit+1)
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

// Resend makes deliveries due at now, with their whole schedule before them.
func (s *Store) Resend(_ context.Context, ids []webhook.DeliveryID, now time.Time) ([]webhook.Delivery, error) {
	var resent []webhook.Delivery
	err := s.writer.do("resend", func(tx *transaction) error {
		resent = make([]webhook.Delivery, 0, len(ids))
		for _, id := range ids {
			number, _ := s.ids.Parse(webhook.DeliveryPrefix, string(id))
			err := found(tx.exec(`UPDATE deliveries SET state = 'pending', spent = 0, next_attempt_at = ?, finished_at = NULL
				WHERE id = ? AND EXISTS (SELECT 1 FROM webhook_subscribers WHERE number = deliveries.subscriber_id)`, millis(now), number))
			if errors.Is(err, webhook.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			d, err := s.scanDelivery(tx.row(`SELECT `+deliveryColumns+deliveryTables+` WHERE d.id = ?`, number).Scan)
			if err != nil {
				return err
			}
			resent = append(resent, d)
		}
		return nil
	})
	return resent, err
}

const (
	deliveryColumns = `d.id, d.event_id, e.type, d.subscriber_id, d.state, d.attempts, d.spent, d.next_attempt_at, d.finished_at, d.last_outcome, d.last_code`
	deliveryTables  = ` FROM deliveries d JOIN events e ON e.id = d.event_id`
)

func (s *Store) scanDelivery(scan func(...any) error) (webhook.Delivery, error) {
	var (
		d                     webhook.Delivery
		id, event, subscriber int64
		next, finished, code  sql.NullInt64
		outcome               sql.NullString
	)
	err := scan(&id, &event, &d.EventType, &subscriber, &d.State, &d.Attempts, &d.Spent, &next, &finished, &outcome, &code)
	d.ID = webhook.DeliveryID(s.ids.Format(webhook.DeliveryPrefix, id))
	d.EventID = webhook.EventID(s.ids.Format(webhook.EventPrefix, event))
	d.SubscriberID = webhook.SubscriberID(s.ids.Format(webhook.SubscriberPrefix, subscriber))
	d.CreatedAt = webhook.MadeAt(id)
	d.NextAttemptAt, d.FinishedAt = optional(next), optional(finished)
	d.LastOutcome, d.LastCode = webhook.Outcome(outcome.String), int(code.Int64)
	return d, err
}

// Delivery returns one delivery.
func (s *Store) Delivery(ctx context.Context, id webhook.DeliveryID) (webhook.Delivery, error) {
	number, _ := s.ids.Parse(webhook.DeliveryPrefix, string(id))
	d, err := s.scanDelivery(s.readers.QueryRowContext(ctx, `SELECT `+deliveryColumns+deliveryTables+` WHERE d.id = ?`, number).Scan)
	if err != nil {
		return webhook.Delivery{}, fmt.Errorf("read delivery %s: %w", id, translate(err))
	}
	return d, nil
}

// Deliveries returns a page of deliveries, the newest first.
func (s *Store) Deliveries(ctx context.Context, f webhook.DeliveryFilter, page webhook.Page) ([]webhook.Delivery, error) {
	q := selection{ids: s.ids}
	q.is("d.subscriber_id", webhook.SubscriberPrefix, string(f.SubscriberID))
	q.is("d.event_id", webhook.EventPrefix, string(f.EventID))
	q.equal("e.type", f.EventType)
	q.equal("d.last_outcome", string(f.Outcome))
	if f.State == webhook.Dead || f.State == webhook.Pending {
		// As a literal, so that SQLite sees that the partial index serves.
		q.add("d.state = '" + string(f.State) + "'")
	} else {
		q.equal("d.state", string(f.State))
	}
	if f.Code != 0 {
		q.add("d.last_code = ?", f.Code)
	}
	q.span("d.id", f.Since, f.Until)
	q.before("d.id", webhook.DeliveryPrefix, page.Before)
	deliveries, err := list(ctx, s.readers, `SELECT `+deliveryColumns+deliveryTables+q.where()+` ORDER BY d.id DESC LIMIT ?`, append(q.args, page.Limit),
		func(rows *sql.Rows) (webhook.Delivery, error) { return s.scanDelivery(rows.Scan) })
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return deliveries, nil
}

// Attempts returns the attempts of a delivery, the first one first.
func (s *Store) Attempts(ctx context.Context, id webhook.DeliveryID) ([]webhook.Attempt, error) {
	number, _ := s.ids.Parse(webhook.DeliveryPrefix, string(id))
	attempts, err := list(ctx, s.readers, `SELECT number, started_at, duration, outcome, code, error, response_body
		FROM attempts WHERE delivery_id = ? ORDER BY number`, []any{number}, func(rows *sql.Rows) (webhook.Attempt, error) {
		var (
			a                 = webhook.Attempt{DeliveryID: id}
			started, duration int64
			code              sql.NullInt64
			fault             sql.NullString
		)
		err := rows.Scan(&a.Number, &started, &duration, &a.Outcome, &code, &fault, &a.ResponseBody)
		a.StartedAt, a.Duration = fromMillis(started), time.Duration(duration)*time.Microsecond
		a.Code, a.Error = int(code.Int64), fault.String
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("list attempts of %s: %w", id, err)
	}
	return attempts, nil
}
