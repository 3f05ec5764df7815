package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// turns remembers, for each ordered subscriber, of which key the last delivery
// was that an answer without all that was due had. The next answer begins behind
// it, so that each key has its turn, however many there are.
type turns struct {
	mu  sync.Mutex
	key map[int64]string
}

func (t *turns) get(subscriber int64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.key[subscriber]
}

func (t *turns) set(subscriber int64, key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.key == nil {
		t.key = map[int64]string{}
	}
	t.key[subscriber] = key
}

// An ordering is the search for what is due to an ordered subscriber. It goes
// from key to key and looks at the first pending delivery of each, which tells
// whether anything of the key can be due: its cost grows with the keys, and not
// with what waits behind the first delivery of one.
type ordering struct {
	tx          *sql.Tx
	statements  *dueStatements
	subscriber  int64
	now         int64
	block       bool
	limit, room int            // how many deliveries, and bytes of them, may still be taken
	ofKey       int            // how many of one key the caller may have; 0: any number
	skip        map[int64]bool // what the caller has in hand, and what was taken
	enough      int            // how many suffice for the answer, should the first be in hand

	queues []queue
	more   bool  // there are queues that were not looked at
	next   int64 // when the first delivery falls due that nothing stands in the way of; 0: none does
	ids    []int64
	last   string // the key of the delivery taken last
}

// A queue is what is pending of one key; all that has none is one too.
type queue struct {
	key  string
	dead int64 // the first dead letter of the key, if it blocks; else 0
}

// dueInOrder reads what is due to an ordered subscriber, as much of each key as
// of the others while there is as much.
func (s *Store) dueInOrder(ctx context.Context, q webhook.DueQuery) (jobs []webhook.Job, next time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	tx, end, err := s.readers.begin(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer end()
	o := &ordering{
		tx: tx, statements: &s.due, now: millis(q.Now), block: q.OnDead != webhook.OnDeadSkip, limit: q.Limit, room: q.Bytes, ofKey: q.OfKey,
		skip: make(map[int64]bool, len(q.Skip)+q.Limit), enough: q.Limit + len(q.Skip),
	}
	o.subscriber, _ = s.ids.Parse(webhook.SubscriberPrefix, string(q.SubscriberID))
	for _, id := range s.deliveryNumbers(q.Skip) {
		o.skip[id] = true
	}
	if err := o.findQueues(ctx, s.turns.get(o.subscriber)); err != nil {
		return nil, time.Time{}, err
	}
	rest, err := o.take(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	rows, err := tx.StmtContext(ctx, s.due.jobs).QueryContext(ctx, jsonArray(o.ids))
	if err != nil {
		return nil, time.Time{}, err
	}
	jobs, err = collect(rows, s.scanJob)
	switch {
	case err != nil:
		return nil, time.Time{}, err
	case rest:
		s.turns.set(o.subscriber, o.last)
		return jobs, q.Now, nil
	case o.next != 0:
		return jobs, fromMillis(o.next), nil
	}
	return jobs, time.Time{}, nil
}

// firstOfKeys lists the first pending delivery of each key behind the one given,
// and the first dead letter of the key. It steps from key to key in the index.
const firstOfKeys = `WITH RECURSIVE first (id) AS (
		SELECT (SELECT id FROM deliveries WHERE subscriber_id = ?1 AND state = 'pending' AND order_key > ?2 ORDER BY order_key, id LIMIT 1)
		UNION ALL
		SELECT (SELECT id FROM deliveries WHERE subscriber_id = ?1 AND state = 'pending' AND order_key > d.order_key ORDER BY order_key, id LIMIT 1)
		FROM first JOIN deliveries d ON d.id = first.id
	)
	SELECT d.order_key, d.id, d.next_attempt_at, iif(?3,
		(SELECT coalesce(min(id), 0) FROM deliveries WHERE subscriber_id = ?1 AND state = 'dead' AND order_key = d.order_key), 0)
	FROM first CROSS JOIN deliveries d ON d.id = first.id`

// findQueues finds queues of which something is due, from behind the key given
// and around. What has no key stands before the first.
func (o *ordering) findQueues(ctx context.Context, after string) error {
	if err := o.walk(ctx, after, ""); err != nil || o.more {
		return err
	}
	o.queues = append(o.queues, queue{})
	if after == "" {
		return nil
	}
	return o.walk(ctx, "", after)
}

// walk looks at the keys behind the one, up to the other if there is one, until
// there are enough.
func (o *ordering) walk(ctx context.Context, after, last string) error {
	rows, err := o.tx.StmtContext(ctx, o.statements.firstOfKeys).QueryContext(ctx, o.subscriber, after, o.block)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			q       queue
			id, due int64
		)
		if err := rows.Scan(&q.key, &id, &due, &q.dead); err != nil {
			return err
		}
		if last != "" && q.key > last {
			return nil
		}
		switch {
		case q.dead != 0 && q.dead < id:
		case due > o.now:
			o.falls(due)
		case len(o.queues) > o.enough:
			o.more = true
			return nil
		default:
			o.queues = append(o.queues, q)
		}
	}
	return rows.Err()
}

// falls notes when a delivery falls due.
func (o *ordering) falls(due int64) {
	if o.next == 0 || due < o.next {
		o.next = due
	}
}

// take takes what is due of the queues, at first the same share of each, and
// reports whether there may be more.
func (o *ordering) take(ctx context.Context) (rest bool, err error) {
	queues := o.queues
	for _, most := range []int{max(1, o.limit/max(1, len(queues))), o.limit} {
		var longer []queue
		for _, q := range queues {
			more, err := o.takeOf(ctx, q, most)
			if err != nil {
				return false, err
			}
			if more {
				longer = append(longer, q)
			}
		}
		queues = longer
	}
	return o.more || len(queues) > 0, nil
}

const (
	jobsOf       = `SELECT ` + jobColumns + jobTables + ` WHERE d.id IN (SELECT value FROM json_each(?)) ORDER BY d.id`
	pendingOfKey = `SELECT d.id, d.next_attempt_at, octet_length(e.data) + coalesce(octet_length(b.body), 0)` + jobTables + `
		WHERE d.subscriber_id = ? AND d.state = 'pending' AND d.order_key = ? ORDER BY d.id`
	pendingOfNoKey = `SELECT d.id, d.next_attempt_at, octet_length(e.data) + coalesce(octet_length(b.body), 0)` + jobTables + `
		WHERE d.subscriber_id = ? AND d.state = 'pending' AND d.order_key = '' AND d.order_key = ? ORDER BY d.next_attempt_at, d.id`
)

// takeOf takes so many deliveries of a queue at most, and reports whether more of it
// is due, save what is beyond the caller's room for one key.
func (o *ordering) takeOf(ctx context.Context, q queue, most int) (more bool, err error) {
	if o.limit == 0 {
		return true, nil
	}
	statement := o.statements.ofKey
	if q.key == "" {
		statement = o.statements.ofNoKey
	}
	rows, err := o.tx.StmtContext(ctx, statement).QueryContext(ctx, o.subscriber, q.key)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for taken := 0; rows.Next(); taken++ {
		var (
			id, due int64
			size    int
		)
		if err := rows.Scan(&id, &due, &size); err != nil {
			return false, err
		}
		switch {
		case q.dead != 0 && q.dead < id:
			return false, nil
		case due > o.now:
			o.falls(due)
			return false, nil
		case q.key != "" && o.ofKey > 0 && taken == o.ofKey:
			return false, nil
		case o.skip[id]:
			continue
		case len(o.ids) > 0 && size > o.room:
			o.limit = 0
			return true, nil
		case most == 0 || o.limit == 0:
			return true, nil
		}
		o.ids, o.last, o.skip[id] = append(o.ids, id), q.key, true
		most, o.limit, o.room = most-1, o.limit-1, o.room-size
	}
	return false, rows.Err()
}
