package sqlite

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// pruneEvents is how many events one transaction deletes, and pruneLooks how
	// many it looks at for that.
	pruneEvents = 200
	pruneLooks  = 1000
	// pruneTime bounds how long those who wait to be written wait for room.
	pruneTime = 100 * time.Millisecond
)

// pruning is how far the writer is in making room.
type pruning struct {
	after int64 // the last event that was looked at
	found bool  // there was something since the first
	idle  bool  // there is nothing, until a delivery comes to an end
}

// makeRoom deletes the oldest finished history while the file holds as much as
// it may: events of which no delivery is pending, with all that hangs on them.
// When that is not enough, or takes too long, the file still holds as much.
func (w *writer) makeRoom() error {
	for begun := time.Now(); w.spent && !w.pruning.idle && time.Since(begun) < pruneTime; {
		p := w.pruning
		err := w.transact([]*write{{what: "prune", run: func(tx *transaction) (err error) {
			p, err = prune(tx, w.pruning)
			return err
		}}})
		if err != nil {
			return fmt.Errorf("make room: %w", err)
		}
		w.pruning = p
	}
	return nil
}

// prune deletes some finished events behind the last that was looked at, and
// returns how far that is. At the end it begins anew, unless it found nothing all
// the way.
func prune(tx *transaction, p pruning) (pruning, error) {
	type candidate struct {
		id      int64
		key     []byte
		pending bool
	}
	rows, err := tx.query(`SELECT id, dedupe_key,
		EXISTS (SELECT 1 FROM deliveries d INDEXED BY deliveries_by_event WHERE d.event_id = e.id AND d.state = 'pending')
		FROM events e WHERE id > ? ORDER BY id LIMIT ?`, p.after, pruneLooks)
	if err != nil {
		return p, err
	}
	candidates, err := collect(rows, func(rows *sql.Rows) (c candidate, err error) {
		err = rows.Scan(&c.id, &c.key, &c.pending)
		return c, err
	})
	if err != nil {
		return p, err
	}
	gone := 0
	for _, c := range candidates {
		p.after = c.id
		if c.pending {
			continue
		}
		if err := deleteEvent(tx, c.id, c.key); err != nil {
			return p, err
		}
		if gone++; gone == pruneEvents {
			break
		}
	}
	p.found = p.found || gone > 0
	if len(candidates) < pruneLooks && gone < pruneEvents {
		p = pruning{idle: !p.found}
	}
	return p, nil
}

// deleteEvent deletes an event with its deliveries and attempts, and the key
// that recognised a repeat of it.
func deleteEvent(tx *transaction, id int64, key []byte) error {
	type delivery struct {
		id int64
		tally
	}
	rows, err := tx.query(`SELECT id, subscriber_id, state, coalesce(last_outcome, ''), coalesce(last_code, 0), coalesce(fingerprint, '') FROM deliveries WHERE event_id = ?`, id)
	if err != nil {
		return err
	}
	deliveries, err := collect(rows, func(rows *sql.Rows) (d delivery, err error) {
		var (
			subscriber int64
			state      webhook.State
			c          cause
		)
		err = rows.Scan(&d.id, &subscriber, &state, &c.outcome, &c.code, &c.fingerprint)
		d.tally = newTally(subscriber, state, c)
		return d, err
	})
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if err := deleteDelivery(tx, d.id); err != nil {
			return err
		}
		tx.counts().tally(d.tally, -1)
	}
	if _, err := tx.exec(`DELETE FROM dedupe WHERE key = ? AND event_id = ?`, key, id); err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM events WHERE id = ?`, id)
	return err
}

// deleteDelivery deletes a delivery with its attempts and its body.
func deleteDelivery(tx *transaction, id int64) error {
	for _, statement := range []string{
		`DELETE FROM attempts WHERE delivery_id = ?`, `DELETE FROM bodies WHERE delivery_id = ?`, `DELETE FROM deliveries WHERE id = ?`,
	} {
		if _, err := tx.exec(statement, id); err != nil {
			return err
		}
	}
	return nil
}
