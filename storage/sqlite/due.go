package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

const (
	jobColumns = eventColumns + `, d.id, d.attempts, d.spent, d.next_attempt_at, d.last_outcome, d.order_key, d.unjudged, b.body`
	jobTables  = ` FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN bodies b ON b.delivery_id = d.id`
)

const dueByTime = `SELECT ` + jobColumns + jobTables + `
	WHERE d.subscriber_id = ? AND d.state = 'pending' AND (d.spent > 0) = ? AND d.id NOT IN (SELECT value FROM json_each(?))
	ORDER BY d.next_attempt_at, d.id LIMIT ?`

// dueStatements are prepared once: an ordered subscriber asks for what is due at
// each event, and any other one while there is more than it has in memory.
type dueStatements struct{ byTime, firstOfKeys, ofKey, ofNoKey, jobs *sql.Stmt }

func (s *dueStatements) prepare(ctx context.Context, db *sql.DB) (err error) {
	for query, to := range map[string]**sql.Stmt{
		dueByTime: &s.byTime, firstOfKeys: &s.firstOfKeys, pendingOfKey: &s.ofKey, pendingOfNoKey: &s.ofNoKey, jobsOf: &s.jobs,
	} {
		if *to, err = db.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// Due returns deliveries that are due, in the order in which they fell due, or
// for a subscriber that wants order in the one in which they were made.
func (s *Store) Due(ctx context.Context, q webhook.DueQuery) (jobs []webhook.Job, next time.Time, err error) {
	if q.Ordered {
		jobs, next, err = s.dueInOrder(ctx, q)
	} else {
		jobs, next, err = s.dueByTime(ctx, q)
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read due deliveries: %w", dbfile.Translate(err))
	}
	return jobs, next, nil
}

func (s *Store) dueByTime(ctx context.Context, q webhook.DueQuery) (jobs []webhook.Job, next time.Time, err error) {
	subscriber, _ := s.ids.Parse(webhook.SubscriberPrefix, string(q.SubscriberID))
	if err := s.readers.enter(ctx); err != nil {
		return nil, time.Time{}, err
	}
	defer s.readers.leave()
	// One more than asked for, so that the first that is left tells when.
	rows, err := s.due.byTime.QueryContext(ctx, subscriber, q.Retries, jsonArray(s.deliveryNumbers(q.Skip)), q.Limit+1)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer rows.Close()
	room := q.Bytes
	for rows.Next() {
		job, err := s.scanJob(rows)
		if err != nil {
			return nil, time.Time{}, err
		}
		room -= size(&job)
		if job.DueAt.After(q.Now) || len(jobs) == q.Limit || len(jobs) > 0 && room < 0 {
			return jobs, job.DueAt, nil
		}
		jobs = append(jobs, job)
	}
	return jobs, time.Time{}, rows.Err()
}

// size is what a job counts against the bytes asked for.
func size(job *webhook.Job) int { return len(job.Event.Data) + len(job.Body) }

func (s *Store) deliveryNumbers(ids []webhook.DeliveryID) []int64 {
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i], _ = s.ids.Parse(webhook.DeliveryPrefix, string(id))
	}
	return numbers
}

func (s *Store) scanJob(rows *sql.Rows) (webhook.Job, error) {
	var (
		job          webhook.Job
		id, due      int64
		outcome, key sql.NullString
	)
	e, err := s.scanEvent(rows.Scan, &id, &job.Attempts, &job.Spent, &due, &outcome, &key, &job.Unjudged, &job.Body)
	job.Delivery = webhook.DeliveryID(s.ids.Format(webhook.DeliveryPrefix, id))
	job.DueAt, job.Event = fromMillis(due), &e
	job.LastOutcome, job.OrderKey = webhook.Outcome(outcome.String), key.String
	return job, err
}
