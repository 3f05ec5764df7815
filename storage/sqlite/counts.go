package sqlite

import (
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// counts gathers what a transaction changes in the tables that count. Its
// writes note their changes here, and each row that is concerned is written
// once, just before the commit: that is what makes counting cheap. What a
// transaction noted that is rolled back is forgotten with it.
type counts struct {
	events, attempts          int64
	rejected                  int64 // that were added
	rejections, rejectedBytes int64 // less those that went
	tallies                   map[tally]int64
	rollups                   map[rollup]*traffic
}

// A tally is the key of a row of tallies.
type tally struct {
	state      webhook.State
	subscriber int64
	cause
}

// A cause is what came of the last attempt of a delivery.
type cause struct {
	outcome     webhook.Outcome
	code        int
	fingerprint string
}

// A rollup is the key of a row of rollups.
type rollup struct{ minute, subscriber int64 }

// traffic is what a row of rollups counts.
type traffic struct {
	webhook.Traffic
	events      int64
	lastAt      int64
	lastOutcome webhook.Outcome
	lastCode    int
}

func newCounts() counts {
	return counts{tallies: map[tally]int64{}, rollups: map[rollup]*traffic{}}
}

// newTally is where a delivery is counted. Its cause matters while it is
// pending, since that tells a retry from a first try, and when it is dead; only
// then has it a fingerprint.
func newTally(subscriber int64, state webhook.State, c cause) tally {
	switch state {
	case webhook.Pending:
		c.fingerprint = ""
	case webhook.Dead:
	default:
		c = cause{}
	}
	return tally{state, subscriber, c}
}

func (c *counts) reset() {
	c.events, c.attempts = 0, 0
	c.rejected, c.rejections, c.rejectedBytes = 0, 0, 0
	clear(c.tallies)
	clear(c.rollups)
}

func (c *counts) tally(t tally, n int64) { c.tallies[t] += n }

// move counts a delivery in another place than before.
func (c *counts) move(from, to tally) {
	c.tallies[from]--
	c.tallies[to]++
}

// event counts an event that was accepted.
func (c *counts) event(at time.Time) {
	c.events++
	c.minute(minute(at), 0).events++
}

// attempt counts an attempt and, if it ended its delivery, that.
func (c *counts) attempt(subscriber int64, a *webhook.Attempt, end webhook.State) {
	c.attempts++
	at := a.StartedAt.Add(a.Duration)
	t := c.minute(minute(at), subscriber)
	t.Attempts++
	if a.Outcome != webhook.OK && a.Outcome != webhook.Interrupted {
		t.Failed++
	}
	switch end {
	case webhook.Delivered:
		t.Delivered++
	case webhook.Dead:
		t.Dead++
	}
	t.Latency[webhook.Bucket(a.Duration)]++
	t.last(millis(at), a.Outcome, a.Code)
}

// rejection counts a rejection that was added.
func (c *counts) rejection(bytes int64) {
	c.rejected++
	c.rejections++
	c.rejectedBytes += bytes
}

func (t *traffic) last(at int64, outcome webhook.Outcome, code int) {
	if at >= t.lastAt {
		t.lastAt, t.lastOutcome, t.lastCode = at, outcome, code
	}
}

func (c *counts) minute(minute, subscriber int64) *traffic {
	key := rollup{minute, subscriber}
	t := c.rollups[key]
	if t == nil {
		t = &traffic{}
		c.rollups[key] = t
	}
	return t
}

func minute(t time.Time) int64 { return millis(t) / 60_000 }

// finished reports whether deliveries came to an end.
func (c *counts) finished() bool {
	for t, n := range c.tallies {
		if t.state != webhook.Pending && n > 0 {
			return true
		}
	}
	return false
}

// total adds, to what was noted of each subscriber, that of all together.
func (c *counts) total() {
	for t, n := range c.tallies {
		if t.subscriber != 0 {
			t.subscriber = 0
			c.tallies[t] += n
		}
	}
	for key, t := range c.rollups {
		if key.subscriber != 0 {
			all := c.minute(key.minute, 0)
			all.Add(&t.Traffic)
			all.last(t.lastAt, t.lastOutcome, t.lastCode)
		}
	}
}

// flush writes the changes down.
func (c *counts) flush(tx *transaction) error {
	c.total()
	for t, n := range c.tallies {
		if n == 0 {
			continue
		}
		_, err := tx.exec(`INSERT INTO tallies (state, subscriber_id, outcome, code, fingerprint, count) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET count = count + excluded.count`, string(t.state), t.subscriber, string(t.outcome), t.code, t.fingerprint, n)
		if err != nil {
			return err
		}
	}
	if err := c.trimRejections(tx); err != nil {
		return err
	}
	if err := c.flushCounters(tx); err != nil {
		return err
	}
	for key, t := range c.rollups {
		args := append(make([]any, 0, 25), key.minute, key.subscriber, t.events, t.Attempts, t.Failed, t.Delivered, t.Dead)
		for _, n := range t.Latency {
			args = append(args, n)
		}
		if _, err := tx.exec(addRollup, append(args, t.lastAt, string(t.lastOutcome), t.lastCode)...); err != nil {
			return err
		}
	}
	return nil
}

func (c *counts) flushCounters(tx *transaction) error {
	for _, counter := range []struct {
		name string
		n    int64
	}{{"events", c.events}, {"attempts", c.attempts}, {"rejected", c.rejected},
		{"rejections", c.rejections}, {"rejection_bytes", c.rejectedBytes}} {
		if counter.n == 0 {
			continue
		}
		_, err := tx.exec(`INSERT INTO counters (name, value) VALUES (?, ?)
			ON CONFLICT DO UPDATE SET value = value + excluded.value`, counter.name, counter.n)
		if err != nil {
			return err
		}
	}
	return nil
}

const addRollup = `INSERT INTO rollups (minute, subscriber_id, events, attempts, failed, delivered, dead,
	b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, last_at, last_outcome, last_code)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT DO UPDATE SET
	events = events + excluded.events, attempts = attempts + excluded.attempts, failed = failed + excluded.failed,
	delivered = delivered + excluded.delivered, dead = dead + excluded.dead,
	b0 = b0 + excluded.b0, b1 = b1 + excluded.b1, b2 = b2 + excluded.b2, b3 = b3 + excluded.b3, b4 = b4 + excluded.b4,
	b5 = b5 + excluded.b5, b6 = b6 + excluded.b6, b7 = b7 + excluded.b7, b8 = b8 + excluded.b8, b9 = b9 + excluded.b9,
	b10 = b10 + excluded.b10, b11 = b11 + excluded.b11, b12 = b12 + excluded.b12, b13 = b13 + excluded.b13, b14 = b14 + excluded.b14,
	last_outcome = CASE WHEN excluded.last_at >= last_at THEN excluded.last_outcome ELSE last_outcome END,
	last_code = CASE WHEN excluded.last_at >= last_at THEN excluded.last_code ELSE last_code END,
	last_at = max(last_at, excluded.last_at)`
