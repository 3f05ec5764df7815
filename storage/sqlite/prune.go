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
		id   int64
		goes bool
	}
	rows, err := tx.query(`SELECT e.id, `+mayGo+` FROM events e WHERE e.id > ?1 ORDER BY e.id LIMIT ?3`, p.after, int64(anyAge), pruneLooks)
	if err != nil {
		return p, err
	}
	candidates, err := collect(rows, func(rows *sql.Rows) (c candidate, err error) {
		err = rows.Scan(&c.id, &c.goes)
		return c, err
	})
	if err != nil {
		return p, err
	}
	until := time.Now().Add(pruneStep)
	for _, c := range candidates {
		if !c.goes {
			p.after = c.id
			continue
		}
		p.found = true
		for done := false; !done; {
			if _, done, err = deleteFinished(tx, []int64{c.id}, anyAge); err != nil || !done && !time.Now().Before(until) {
				return p, err
			}
		}
		p.after = c.id
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

// deleteFinished deletes those of the events that were received before a time and may
// go, with all that hangs on them, and gives up the keys that recognised repeats of
// them; but no more than deliveriesAtOnce deliveries. It returns how many events went,
// and whether these were all. Were they not, one is left without some of its deliveries.
func deleteFinished(tx *transaction, ids []int64, before int64) (gone int, done bool, err error) {
	rows, err := tx.query(`SELECT e.id, e.dedupe_key, coalesce(d.id, 0), coalesce(d.subscriber_id, 0), coalesce(d.state, ''),
			coalesce(d.last_outcome, ''), coalesce(d.last_code, 0), coalesce(d.fingerprint, '')
		FROM events e LEFT JOIN deliveries d ON d.event_id = e.id
		WHERE e.id IN (SELECT value FROM json_each(?1)) AND e.received_at < ?2 AND `+mayGo+`
		ORDER BY e.id LIMIT ?3`, jsonArray(ids), before, deliveriesAtOnce+1)
	if err != nil {
		return 0, false, err
	}
	type row struct {
		event, delivery int64 // 0: it has none
		key             []byte
		tally           tally
	}
	found, err := collect(rows, func(rows *sql.Rows) (r row, err error) {
		var (
			subscriber int64
			state      webhook.State
			c          cause
		)
		err = rows.Scan(&r.event, &r.key, &r.delivery, &subscriber, &state, &c.outcome, &c.code, &c.fingerprint)
		r.tally = newTally(subscriber, state, c)
		return r, err
	})
	if err != nil || len(found) == 0 {
		return 0, err == nil, err
	}
	var events, deliveries []int64
	for i, r := range found[:min(len(found), deliveriesAtOnce)] {
		if r.delivery != 0 {
			tx.counts().tally(r.tally, -1)
			deliveries = append(deliveries, r.delivery)
		}
		if i == len(found)-1 || found[i+1].event != r.event {
			tx.release(r.key, r.event)
			events = append(events, r.event)
		}
	}
	if err := deleteDeliveries(tx, deliveries); err != nil {
		return 0, false, err
	}
	_, err = tx.exec(`DELETE FROM events WHERE id IN (SELECT value FROM json_each(?))`, jsonArray(events))
	return len(events), len(found) <= deliveriesAtOnce, err
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
