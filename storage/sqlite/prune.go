package sqlite

import (
	"database/sql"
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
	// eventsAtOnce and deliveriesAtOnce are how many events, and how many deliveries
	// of them, are deleted before it is asked again whether there is time for more.
	eventsAtOnce, deliveriesAtOnce = 8, 16

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
		}}}, true)
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
		finished
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
			if gone, err := deleteEvents(tx, []finished{c.finished}, until); err != nil || gone == 0 {
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

// A finished event may go.
type finished struct {
	id  int64
	key []byte
}

// deleteFinished deletes those of the events that may still go, and returns how many
// it did, and whether there was time for all.
func deleteFinished(tx *transaction, ids []int64, before int64, until time.Time) (gone int, done bool, err error) {
	rows, err := tx.query(`SELECT e.id, e.dedupe_key FROM events e WHERE e.id IN (SELECT value FROM json_each(?1)) AND e.received_at < ?2 AND `+mayGo, jsonArray(ids), before)
	if err != nil {
		return 0, false, err
	}
	events, err := collect(rows, func(rows *sql.Rows) (f finished, err error) {
		err = rows.Scan(&f.id, &f.key)
		return f, err
	})
	if err != nil || len(events) == 0 {
		return 0, err == nil, err
	}
	gone, err = deleteEvents(tx, events, until)
	return gone, gone == len(events), err
}

// deleteEvents deletes events with their deliveries and attempts, and gives up the
// keys that recognised repeats of them. Where they have many deliveries it does so in
// parts, one event after the other, and returns for how many of them there was time.
func deleteEvents(tx *transaction, events []finished, until time.Time) (gone int, err error) {
	n, err := deleteDeliveriesOf(tx, events)
	if err != nil {
		return 0, err
	}
	if n < deliveriesAtOnce {
		return len(events), deleteBare(tx, events)
	}
	for i := 0; i < len(events) && (i == 0 || time.Now().Before(until)); {
		one := events[i : i+1]
		n, err := deleteDeliveriesOf(tx, one)
		if err != nil {
			return gone, err
		}
		if n < deliveriesAtOnce {
			if err := deleteBare(tx, one); err != nil {
				return gone, err
			}
			i++
			gone++
		} else if !time.Now().Before(until) {
			break
		}
	}
	return gone, nil
}

// deleteBare deletes events that have no deliveries.
func deleteBare(tx *transaction, events []finished) error {
	for _, e := range events {
		tx.release(e.key, e.id)
	}
	_, err := tx.exec(`DELETE FROM events WHERE id IN (SELECT value FROM json_each(?))`, idsOf(events))
	return err
}

// idsOf is a JSON array.
func idsOf(events []finished) string {
	ids := make([]int64, len(events))
	for i, e := range events {
		ids[i] = e.id
	}
	return jsonArray(ids)
}

// deleteDeliveriesOf deletes some deliveries of the events, and returns how many.
func deleteDeliveriesOf(tx *transaction, events []finished) (int, error) {
	var ids []int64
	rows, err := tx.query(`SELECT id, subscriber_id, state, coalesce(last_outcome, ''), coalesce(last_code, 0), coalesce(fingerprint, '')
		FROM deliveries WHERE event_id IN (SELECT value FROM json_each(?)) LIMIT ?`, idsOf(events), deliveriesAtOnce)
	if err != nil {
		return 0, err
	}
	tallies, err := collect(rows, func(rows *sql.Rows) (tally, error) {
		var (
			id, subscriber int64
			state          webhook.State
			c              cause
		)
		err := rows.Scan(&id, &subscriber, &state, &c.outcome, &c.code, &c.fingerprint)
		ids = append(ids, id)
		return newTally(subscriber, state, c), err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	for _, t := range tallies {
		tx.counts().tally(t, -1)
	}
	return len(ids), deleteDeliveries(tx, ids)
}

// deleteDeliveries deletes deliveries with their attempts and bodies.
func deleteDeliveries(tx *transaction, ids []int64) error {
	which := jsonArray(ids)
	for _, statement := range []string{
		`DELETE FROM attempts WHERE delivery_id IN (SELECT value FROM json_each(?))`,
		`DELETE FROM bodies WHERE delivery_id IN (SELECT value FROM json_each(?))`,
		`DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each(?))`,
	} {
		if _, err := tx.exec(statement, which); err != nil {
			return err
		}
	}
	return nil
}
