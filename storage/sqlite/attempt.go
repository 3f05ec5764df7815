package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
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
	subscriber, end, err := move(tx, id, r)
	if errors.Is(err, webhook.ErrNotFound) {
		// The delivery is gone: there is nothing to hang the attempt on.
		return nil
	}
	if err != nil {
		return err
	}
	if r.Body != nil {
		_, err := tx.exec(`INSERT OR REPLACE INTO bodies (delivery_id, body) VALUES (?, ?)`, id, string(r.Body))
		if err != nil {
			return err
		}
	}
	if a.Outcome == "" {
		return nil
	}
	tx.counts().attempt(subscriber, a, end)
	_, err = tx.exec(`INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code, error, response_body,
		remote_addr, request_header, response_header, dns, connect, tls, wait) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, a.Number, millis(a.StartedAt), a.Duration.Microseconds(), string(a.Outcome), nullInt(int64(a.Code)), nullText(a.Error), nullBytes(a.ResponseBody),
		nullText(a.RemoteAddr), nullText(string(a.RequestHeader)), nullText(string(a.ResponseHeader)),
		nullInt(a.Timing.DNS.Microseconds()), nullInt(a.Timing.Connect.Microseconds()), nullInt(a.Timing.TLS.Microseconds()), nullInt(a.Timing.Wait.Microseconds()))
	return err
}

// move moves the delivery on, and returns the end that it came to, if it did.
// Where somebody ended or resent it during the attempt, it stays as that left
// it, and the attempt is history all the same.
func move(tx *transaction, id int64, r *webhook.Result) (subscriber int64, end webhook.State, err error) {
	next, finished := times(r)
	c := cause{r.Attempt.Outcome, r.Attempt.Code, fingerprint(r.State, &r.Attempt)}
	// What has no fingerprint has none to lose, and was judged: it is the first
	// attempt.
	if subscriber, known := tx.tried(id); known && r.Attempt.Outcome != "" && c.fingerprint == "" {
		err := found(tx.exec(`UPDATE deliveries SET state = ?, attempts = ?, spent = ?, next_attempt_at = ?, finished_at = ?,
			last_outcome = ?, last_code = ? WHERE id = ? AND state = 'pending' AND attempts = 0 AND next_attempt_at = ?`,
			string(r.State), r.Attempt.Number, r.Spent, next, finished, string(c.outcome), nullInt(int64(c.code)), id, millis(r.DueAt)))
		if err == nil {
			tx.counts().move(newTally(subscriber, webhook.Pending, cause{}), newTally(subscriber, r.State, c))
		}
		if !errors.Is(err, webhook.ErrNotFound) {
			return subscriber, r.State, err
		}
	}
	from, tried, due, err := standing(tx, id)
	if err != nil {
		return 0, "", err
	}
	subscriber = from.subscriber
	if r.Attempt.Outcome == "" {
		c = from.cause
	} else {
		tried = r.Attempt.Number
	}
	if from.state != webhook.Pending || due != millis(r.DueAt) {
		if r.Attempt.Outcome != "" {
			c.fingerprint = fingerprint(from.state, &r.Attempt)
		}
		tx.counts().move(from, newTally(subscriber, from.state, c))
		_, err = tx.exec(`UPDATE deliveries SET attempts = ?, last_outcome = ?, last_code = ?, fingerprint = ? WHERE id = ?`,
			tried, nullText(string(c.outcome)), nullInt(int64(c.code)), nullText(c.fingerprint), id)
		return subscriber, "", err
	}
	tx.counts().move(from, newTally(subscriber, r.State, c))
	_, err = tx.exec(`UPDATE deliveries SET state = ?, attempts = ?, spent = ?, next_attempt_at = ?, finished_at = ?,
		last_outcome = ?, last_code = ?, unjudged = ?, fingerprint = ? WHERE id = ?`,
		string(r.State), tried, r.Spent, next, finished, nullText(string(c.outcome)), nullInt(int64(c.code)), r.Unjudged, nullText(c.fingerprint), id)
	return subscriber, r.State, err
}

// fingerprint is that of a delivery in the state whose last attempt this is.
func fingerprint(state webhook.State, a *webhook.Attempt) string {
	if state != webhook.Dead {
		return ""
	}
	return webhook.Fingerprint(a.Outcome, a.Error)
}

// standing tells how a delivery stands: where it is counted, how often it was
// tried, and when it is due.
func standing(tx *transaction, id int64) (from tally, attempts int, due int64, err error) {
	var (
		next       sql.NullInt64
		subscriber int64
		state      webhook.State
		c          cause
	)
	err = tx.row(`SELECT subscriber_id, state, attempts, next_attempt_at, coalesce(last_outcome, ''), coalesce(last_code, 0), coalesce(fingerprint, '')
		FROM deliveries WHERE id = ?`, id).Scan(&subscriber, &state, &attempts, &next, &c.outcome, &c.code, &c.fingerprint)
	return newTally(subscriber, state, c), attempts, next.Int64, dbfile.Translate(err)
}

// times returns when the delivery is due after the result, or when it ended.
func times(r *webhook.Result) (next, finished any) {
	if r.State == webhook.Pending {
		return millis(r.NextAttemptAt), nil
	}
	return nil, millis(r.Attempt.StartedAt.Add(r.Attempt.Duration))
}

func nullInt(n int64) any {
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

// Attempts returns the attempts of a delivery, the first one first.
func (s *Store) Attempts(ctx context.Context, id webhook.DeliveryID) ([]webhook.Attempt, error) {
	number, _ := s.ids.Parse(webhook.DeliveryPrefix, string(id))
	attempts, err := read(ctx, s.readers, `SELECT number, started_at, duration, outcome, code, error, response_body,
		remote_addr, request_header, response_header, dns, connect, tls, wait
		FROM attempts WHERE delivery_id = ? ORDER BY number`, []any{number}, func(rows *sql.Rows) (webhook.Attempt, error) {
		a, err := scanAttempt(rows)
		a.DeliveryID = id
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("list attempts of %s: %w", id, err)
	}
	return attempts, nil
}

func scanAttempt(rows *sql.Rows) (webhook.Attempt, error) {
	var (
		a                              webhook.Attempt
		started, duration              int64
		code, dns, connect, tls, wait  sql.NullInt64
		fault, addr, request, answered sql.NullString
	)
	err := rows.Scan(&a.Number, &started, &duration, &a.Outcome, &code, &fault, &a.ResponseBody,
		&addr, &request, &answered, &dns, &connect, &tls, &wait)
	a.StartedAt, a.Duration = fromMillis(started), micros(duration)
	a.Code, a.Error, a.RemoteAddr = int(code.Int64), fault.String, addr.String
	a.RequestHeader, a.ResponseHeader = webhook.HeaderBlock(request.String), webhook.HeaderBlock(answered.String)
	a.Timing = webhook.Timing{DNS: micros(dns.Int64), Connect: micros(connect.Int64), TLS: micros(tls.Int64), Wait: micros(wait.Int64)}
	return a, err
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
