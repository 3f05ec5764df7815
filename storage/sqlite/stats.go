package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// Stats returns what was counted. It reads the tables that count, and of the
// others single rows only.
func (s *Store) Stats(ctx context.Context, q webhook.StatsQuery) (webhook.Stats, error) {
	var stats webhook.Stats
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, part := range []func(context.Context, *sql.Tx, webhook.StatsQuery, *webhook.Stats) error{
			readCounters, readTotals, readOldest, readSize, readMinutes, s.readActivity, s.readDeadGroups,
		} {
			if err := part(ctx, tx, q, &stats); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		stats.LogBytes, err = dbfile.Size(s.path + "-wal")
		stats.LogHeld, stats.LogFault, stats.UpkeepFault = s.log.held.Load(), noted(&s.log.fault), noted(&s.upkeep.fault)
	}
	if err != nil {
		return webhook.Stats{}, fmt.Errorf("read statistics: %w", err)
	}
	return stats, nil
}

func readCounters(ctx context.Context, tx *sql.Tx, _ webhook.StatsQuery, stats *webhook.Stats) error {
	return dbfile.Translate(tx.QueryRowContext(ctx, `SELECT
		coalesce((SELECT value FROM counters WHERE name = 'events'), 0),
		coalesce((SELECT value FROM counters WHERE name = 'attempts'), 0)`).Scan(&stats.Events, &stats.Attempts))
}

func readTotals(ctx context.Context, tx *sql.Tx, _ webhook.StatsQuery, stats *webhook.Stats) error {
	stats.Deliveries = map[webhook.State]int64{}
	for _, state := range webhook.States() {
		var n, retrying int64
		err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(count), 0), coalesce(sum(iif(outcome <> '', count, 0)), 0)
			FROM tallies WHERE state = ? AND subscriber_id = 0`, string(state)).Scan(&n, &retrying)
		if err != nil {
			return dbfile.Translate(err)
		}
		stats.Deliveries[state] = n
		if state == webhook.Pending {
			stats.Retrying = retrying
		}
	}
	return nil
}

// readOldest asks the index of what is due for each active subscriber that has
// something pending. With more than a thousand of those it looks at a thousand,
// and the answer may be later than the truth.
func readOldest(ctx context.Context, tx *sql.Tx, _ webhook.StatsQuery, stats *webhook.Stats) error {
	var due sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT min((SELECT min(next_attempt_at) FROM deliveries
			WHERE subscriber_id = t.subscriber_id AND state = 'pending' AND (spent > 0) = retries.value))
		FROM (SELECT DISTINCT subscriber_id FROM tallies JOIN webhook_subscribers ON number = subscriber_id AND active
			WHERE state = 'pending' AND count > 0 LIMIT 1000) t, json_each('[0,1]') retries`).Scan(&due)
	stats.OldestDue = optional(due)
	return dbfile.Translate(err)
}

func readSize(ctx context.Context, tx *sql.Tx, _ webhook.StatsQuery, stats *webhook.Stats) error {
	var (
		pages, free, size int64
		oldest            sql.NullInt64
	)
	err := tx.QueryRowContext(ctx, `SELECT page_count, freelist_count, page_size, (SELECT received_at FROM events ORDER BY id LIMIT 1)
		FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&pages, &free, &size, &oldest)
	stats.Bytes, stats.UnusedBytes, stats.OldestEvent = pages*size, free*size, optional(oldest)
	return dbfile.Translate(err)
}

// minutes lists the minutes from the one to the other, both inclusive.
func minutes(from, to time.Time) []int64 {
	var list []int64
	for m := minute(from); m <= minute(to); m++ {
		list = append(list, m)
	}
	return list
}

func readMinutes(ctx context.Context, tx *sql.Tx, q webhook.StatsQuery, stats *webhook.Stats) (err error) {
	if q.MinutesFrom.IsZero() {
		return nil
	}
	stats.Minutes, err = list(ctx, tx, `SELECT minute, events, attempts, failed, delivered, dead,
		b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14
		FROM rollups WHERE minute IN (SELECT value FROM json_each(?)) AND subscriber_id = 0 ORDER BY minute`,
		[]any{jsonArray(minutes(q.MinutesFrom, q.MinutesTo))}, func(rows *sql.Rows) (webhook.Minute, error) {
			var (
				m      webhook.Minute
				number int64
			)
			err := rows.Scan(append([]any{&number, &m.Events}, trafficFields(&m.Traffic)...)...)
			m.Start = fromMillis(number * 60_000)
			return m, err
		})
	return err
}

// trafficFields are where the columns from attempts to b14 go.
func trafficFields(t *webhook.Traffic) []any {
	fields := []any{&t.Attempts, &t.Failed, &t.Delivered, &t.Dead}
	for i := range t.Latency {
		fields = append(fields, &t.Latency[i])
	}
	return fields
}

// activityColumns take the last attempt from the row that has max(last_at), as
// SQLite promises for a query with a single max.
const activityColumns = `r.subscriber_id, sum(r.attempts), sum(r.failed), sum(r.delivered), sum(r.dead),
	sum(r.b0), sum(r.b1), sum(r.b2), sum(r.b3), sum(r.b4), sum(r.b5), sum(r.b6), sum(r.b7),
	sum(r.b8), sum(r.b9), sum(r.b10), sum(r.b11), sum(r.b12), sum(r.b13), sum(r.b14),
	max(r.last_at), r.last_outcome, r.last_code`

func (s *Store) readActivity(ctx context.Context, tx *sql.Tx, q webhook.StatsQuery, stats *webhook.Stats) error {
	if q.ActivityFrom.IsZero() {
		return nil
	}
	stats.Activity = map[webhook.SubscriberID]webhook.Activity{}
	query := `SELECT ` + activityColumns + ` FROM rollups r WHERE r.minute BETWEEN ? AND ? AND r.subscriber_id > 0 GROUP BY r.subscriber_id`
	args := []any{minute(q.ActivityFrom), minute(q.MinutesTo)}
	if q.Subscribers != nil {
		for _, id := range q.Subscribers {
			stats.Activity[id] = webhook.Activity{}
		}
		query = `SELECT ` + activityColumns + ` FROM json_each(?) s CROSS JOIN json_each(?) m
			CROSS JOIN rollups r ON r.minute = m.value AND r.subscriber_id = s.value GROUP BY r.subscriber_id`
		args = []any{jsonArray(s.subscriberNumbers(q.Subscribers)), jsonArray(minutes(q.ActivityFrom, q.MinutesTo))}
	}
	_, err := list(ctx, tx, query, args, func(rows *sql.Rows) (struct{}, error) {
		var (
			a                  webhook.Activity
			subscriber, lastAt int64
		)
		fields := append([]any{&subscriber}, trafficFields(&a.Traffic)...)
		err := rows.Scan(append(fields, &lastAt, &a.LastOutcome, &a.LastCode)...)
		if lastAt != 0 {
			a.LastAt = fromMillis(lastAt)
		}
		stats.Activity[s.subscriberID(subscriber)] = a
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	return s.readQueues(ctx, tx, stats.Activity)
}

func (s *Store) subscriberID(number int64) webhook.SubscriberID {
	return webhook.SubscriberID(s.ids.Format(webhook.SubscriberPrefix, number))
}

// readQueues adds what waits and what is dead to the activity of subscribers.
func (s *Store) readQueues(ctx context.Context, tx *sql.Tx, activity map[webhook.SubscriberID]webhook.Activity) error {
	numbers := make([]int64, 0, len(activity))
	for id := range activity {
		if number, ok := s.ids.Parse(webhook.SubscriberPrefix, string(id)); ok {
			numbers = append(numbers, number)
		}
	}
	_, err := list(ctx, tx, `SELECT subscriber_id, state, sum(count), sum(iif(outcome <> '', count, 0)) FROM tallies
		WHERE state IN ('pending', 'dead') AND subscriber_id IN (SELECT value FROM json_each(?)) GROUP BY subscriber_id, state`,
		[]any{jsonArray(numbers)}, func(rows *sql.Rows) (struct{}, error) {
			var (
				subscriber, n, tried int64
				state                webhook.State
			)
			err := rows.Scan(&subscriber, &state, &n, &tried)
			id := s.subscriberID(subscriber)
			a := activity[id]
			if state == webhook.Dead {
				a.DeadLetters = n
			} else {
				a.Pending, a.Retrying = n, tried
			}
			activity[id] = a
			return struct{}{}, err
		})
	return err
}

func (s *Store) readDeadGroups(ctx context.Context, tx *sql.Tx, q webhook.StatsQuery, stats *webhook.Stats) (err error) {
	if !q.DeadGroups {
		return nil
	}
	// Each end is the first or the last entry of a range of the index.
	const end = `(SELECT id FROM deliveries INDEXED BY deliveries_dead_by_cause WHERE state = 'dead' AND subscriber_id = t.subscriber_id
		AND last_outcome = t.outcome AND last_code IS nullif(t.code, 0) AND fingerprint IS nullif(t.fingerprint, '') ORDER BY id `
	stats.DeadGroups, err = list(ctx, tx, `SELECT subscriber_id, outcome, code, fingerprint, count, `+end+`LIMIT 1), `+end+`DESC LIMIT 1)
		FROM tallies t WHERE state = 'dead' AND subscriber_id > 0 AND count > 0 ORDER BY count DESC, subscriber_id, outcome, code, fingerprint`, nil,
		func(rows *sql.Rows) (webhook.DeadGroup, error) {
			var (
				g                          webhook.DeadGroup
				subscriber, oldest, newest int64
			)
			err := rows.Scan(&subscriber, &g.Outcome, &g.Code, &g.Fingerprint, &g.Count, &oldest, &newest)
			g.SubscriberID = s.subscriberID(subscriber)
			g.Oldest, g.Newest = webhook.MadeAt(oldest), webhook.MadeAt(newest)
			return g, err
		})
	return err
}
