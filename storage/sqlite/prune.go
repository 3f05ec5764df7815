package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// pruneLooks is how many events one transaction looks at to make room.
	pruneLooks = 1000
	// pruneTime bounds how long those who wait to be written wait for room, and
	// pruneStep how long one transaction of that works.
	pruneTime = 100 * time.Millisecond
	pruneStep = 20 * time.Millisecond
	// deliveriesAtOnce is how many deliveries of one event are deleted before it
	// is asked again whether there is time for more.
	deliveriesAtOnce = 50

	// anyAge is later than everything.
	anyAge = math.MaxInt64
)

// mayGo is what an event e must be to be deleted: none of its deliveries is
// pending, none ended at ?2 or later, and none is a dead letter that holds up a
// later delivery of its key. Were that one gone, what waits behind it would be
// sent out of order, and nobody would have decided so.
const mayGo = `NOT EXISTS (SELECT 1 FROM deliveries d INDEXED BY deliveries_by_event WHERE d.event_id = e.id AND (
	d.state = 'pending' OR d.finished_at >= ?2 OR d.state = 'dead' AND d.order_key <> ''
	AND EXISTS (SELECT 1 FROM webhook_subscribers s WHERE s.number = d.subscriber_id AND s.ordered <> '' AND s.on_dead = 'block')
	AND EXISTS (SELECT 1 FROM deliveries p INDEXED BY deliveries_ordered
		WHERE p.subscriber_id = d.subscriber_id AND p.state = 'pending' AND p.order_key = d.order_key AND p.order_key IS NOT NULL AND p.id > d.id)))`

// pruning is how far the writer is in making room.
type pruning struct {
	after int64 // the last event that was looked at
	found bool  // there was something since the first
	idle  bool  // there is nothing, until a delivery comes to an end
}

// makeRoom deletes the oldest finished history while the file holds as much as
// it may: events that may go, with all that hangs on them. When that is not
// enough, or takes too long, the file still holds as much. It is for when
// [upkeep] has not made room ahead.
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

// prune deletes finished events behind the last that was looked at until there
// is room again, and no more: they may be large. It returns how far that is. At
// the end it begins anew, unless it found nothing all the way.
func prune(tx *transaction, p pruning) (pruning, error) {
	type candidate struct {
		id   int64
		key  []byte
		goes bool
	}
	rows, err := tx.query(`SELECT e.id, e.dedupe_key, `+mayGo+` FROM events e WHERE e.id > ?1 ORDER BY e.id LIMIT ?3`, p.after, int64(anyAge), pruneLooks)
	if err != nil {
		return p, err
	}
	candidates, err := collect(rows, func(rows *sql.Rows) (c candidate, err error) {
		err = rows.Scan(&c.id, &c.key, &c.goes)
		return c, err
	})
	if err != nil {
		return p, err
	}
	until := time.Now().Add(pruneStep)
	for _, c := range candidates {
		if c.goes {
			p.found = true
			if done, err := deleteEvent(tx, c.id, c.key, until); err != nil || !done {
				return p, err
			}
		}
		p.after = c.id
		if !c.goes {
			continue
		}
		if room, err := tx.w.hasRoom(tx); err != nil || room || !time.Now().Before(until) {
			return p, err
		}
	}
	if len(candidates) < pruneLooks {
		p = pruning{idle: !p.found}
	}
	return p, nil
}

// hasRoom reports whether there is room for some more than one event, so that
// not every one has another to delete.
func (w *writer) hasRoom(tx *transaction) (bool, error) {
	var pages, free int64
	if err := tx.row(`PRAGMA page_count`).Scan(&pages); err != nil {
		return false, err
	}
	err := tx.row(`PRAGMA freelist_count`).Scan(&free)
	return (pages-free)*w.pageSize < w.maxSize-w.maxSize/64, err
}

// deleteFinished deletes an event if it may still go, and reports whether it did,
// and whether there was time for all of it.
func deleteFinished(tx *transaction, id, before int64, until time.Time) (gone, done bool, err error) {
	var key []byte
	err = tx.row(`SELECT e.dedupe_key FROM events e WHERE e.id = ?1 AND e.received_at < ?2 AND `+mayGo, id, before).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return false, true, nil
	}
	if err != nil {
		return false, false, err
	}
	done, err = deleteEvent(tx, id, key, until)
	return done, done, err
}

// deleteEvent deletes an event with its deliveries and attempts, and the key
// that recognised a repeat of it. It does so in parts, the event last, and
// reports whether there was time for all: an event can have very many deliveries.
func deleteEvent(tx *transaction, id int64, key []byte, until time.Time) (done bool, err error) {
	for {
		n, err := deleteDeliveries(tx, id)
		if err != nil {
			return false, err
		}
		if n < deliveriesAtOnce {
			break
		}
		if !time.Now().Before(until) {
			return false, nil
		}
	}
	if err := tx.release(key, id); err != nil {
		return false, err
	}
	_, err = tx.exec(`DELETE FROM events WHERE id = ?`, id)
	return err == nil, err
}

// deleteDeliveries deletes some deliveries of an event, and returns how many.
func deleteDeliveries(tx *transaction, event int64) (int, error) {
	type delivery struct {
		id int64
		tally
	}
	rows, err := tx.query(`SELECT id, subscriber_id, state, coalesce(last_outcome, ''), coalesce(last_code, 0), coalesce(fingerprint, '')
		FROM deliveries WHERE event_id = ? LIMIT ?`, event, deliveriesAtOnce)
	if err != nil {
		return 0, err
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
		return 0, err
	}
	for _, d := range deliveries {
		if err := deleteDelivery(tx, d.id); err != nil {
			return 0, err
		}
		tx.counts().tally(d.tally, -1)
	}
	return len(deliveries), nil
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
