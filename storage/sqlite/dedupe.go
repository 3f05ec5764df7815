package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// keysInMemory is how many keys are kept in memory at most, and keysAtOnce how
	// many one transaction files, besides as many as have come since the last.
	keysInMemory = 65_536
	keysAtOnce   = 512
	// clearLooks is how many keys one query looks at for such whose event is gone, and
	// clearShare how large a part of them, as one in so many, is worth to be deleted.
	clearLooks, clearShare = 100, 2
	// clearTime is how long that goes on before the other work has its turn.
	clearTime = lookEvery / 4
	// fileAgain is how long it takes until filing that has failed is tried again.
	fileAgain = 10 * time.Second
)

// unfiled are the idempotency keys of the latest events, as long as the table dedupe
// does not have them. They are digests: each that is inserted by itself changes a
// page somewhere in that table, which costs more than the rest of an event. Here they
// gather until there are many, and are then filed in the order of the table.
//
// They are not lost with the memory, as every event has its key. The counter filed
// says up to which event the table has all keys; those of later ones that it lacks
// are read from the events when the file is opened. Only the goroutine of the writer
// uses this.
//
// For the same reason the table keeps the key of an event that is deleted, until there
// are many of those: see [upkeep.clearKeys]. Such a key recognises nothing, and is taken
// by the next event that has it.
type unfiled struct {
	capacity, atOnce int // see keysInMemory and keysAtOnce

	shards [256][]keyed // by the first byte of the key; each in the order of the keys
	n      int          // in all of them
	newest int64        // no event in them is later
	come   int          // since some were filed last
	filed  int64        // as the counter says
	noted  bool         // it is in the file
	// until is the event up to which keys are being filed; it is filed while none are.
	// The key of an event up to here that comes now is inserted at once: its turn may
	// be over.
	until int64
	shard int       // the first that has not had its turn
	again time.Time // not before this

	changes []change // of the present transaction
}

// A keyed is a key with the event that was the first with it.
type keyed struct {
	key   webhook.DedupeKey
	event int64
}

// A change is that one was added, or else removed.
type change struct {
	keyed
	added bool
}

// isKnown is what a row of dedupe is unless its event is gone. The id alone does not
// tell: when the clock was set back it can be given again.
const isKnown = `EXISTS (SELECT 1 FROM events e WHERE e.id = dedupe.event_id AND e.dedupe_key = dedupe.key)`

// dedupeKey does not rely on the length, which is another one only in a damaged file.
func dedupeKey(digest []byte) (key webhook.DedupeKey) {
	copy(key[:], digest)
	return key
}

func (k *unfiled) find(key webhook.DedupeKey) (at int, found bool) {
	return slices.BinarySearchFunc(k.shards[key[0]], key, func(e keyed, key webhook.DedupeKey) int { return bytes.Compare(e.key[:], key[:]) })
}

func (k *unfiled) put(e keyed) {
	at, _ := k.find(e.key)
	shard := &k.shards[e.key[0]]
	*shard = slices.Insert(*shard, at, e)
	k.n++
	k.newest = max(k.newest, e.event)
}

func (k *unfiled) remove(key webhook.DedupeKey) {
	if at, found := k.find(key); found {
		shard := &k.shards[key[0]]
		*shard = slices.Delete(*shard, at, at+1)
		k.n--
	}
}

// rollback undoes what the transaction has changed.
func (k *unfiled) rollback() {
	for _, c := range slices.Backward(k.changes) {
		if c.added {
			k.remove(c.key)
		} else {
			k.put(c.keyed)
		}
	}
	k.changes = k.changes[:0]
	k.noted = false
}

// load reads what the table lacks.
func (k *unfiled) load(ctx context.Context, conn *sql.Conn) error {
	err := conn.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'filed'`).Scan(&k.filed)
	if k.noted = err == nil; errors.Is(err, sql.ErrNoRows) {
		err = conn.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM events`).Scan(&k.filed)
	}
	if err != nil {
		return err
	}
	k.until = k.filed
	lacking, err := list(ctx, conn, `SELECT dedupe_key, id FROM events e WHERE id > ? AND NOT EXISTS (SELECT 1 FROM dedupe WHERE key = e.dedupe_key AND event_id = e.id)`, []any{k.filed},
		func(rows *sql.Rows) (e keyed, err error) {
			var key sql.RawBytes
			err = rows.Scan(&key, &e.event)
			e.key = dedupeKey(key)
			return e, err
		})
	for _, e := range lacking {
		k.put(e)
	}
	return err
}

// take takes the key for the event, unless an earlier one has: that is the first.
func (t *transaction) take(key webhook.DedupeKey, event int64) (first int64, taken bool, err error) {
	k := &t.w.unfiled
	if at, found := k.find(key); found {
		return k.shards[key[0]][at].event, false, nil
	}
	switch first, found, err := t.number(`SELECT event_id FROM dedupe WHERE key = ? AND `+isKnown, key[:]); {
	case err != nil || found:
		return first, false, err
	case event <= k.until || k.n >= k.capacity:
		err := t.insertKey(keyed{key, event})
		return event, err == nil, err
	}
	if !k.noted {
		if err := t.noteFiled(k.filed); err != nil {
			return 0, false, err
		}
		k.noted = true
	}
	k.put(keyed{key, event})
	k.come++
	k.changes = append(k.changes, change{keyed{key, event}, true})
	return event, true, nil
}

// release gives up the key of an event that is deleted.
func (t *transaction) release(digest []byte, event int64) {
	k, key := &t.w.unfiled, dedupeKey(digest)
	if at, found := k.find(key); found && k.shards[key[0]][at].event == event {
		k.changes = append(k.changes, change{keyed{key, event}, false})
		k.remove(key)
	}
	t.w.gone.Store(max(t.w.gone.Load(), event))
}

// insertKey leaves a key as it is that has been filed already, and takes one whose
// event is gone.
func (t *transaction) insertKey(e keyed) error {
	_, err := t.exec(`INSERT INTO dedupe (key, event_id) VALUES (?, ?) ON CONFLICT DO UPDATE SET event_id = excluded.event_id WHERE NOT `+isKnown, e.key[:], e.event)
	return err
}

func (t *transaction) noteFiled(event int64) error {
	_, err := t.exec(`INSERT INTO counters (name, value) VALUES ('filed', ?) ON CONFLICT DO UPDATE SET value = excluded.value`, event)
	return err
}

// fileKeys files some keys if there are many, or goes on with that, in a transaction
// of its own. When it fails the keys stay where they are, and those for which there
// is no place there any more are inserted one by one.
func (w *writer) fileKeys() {
	k := &w.unfiled
	if k.until == k.filed && k.n < k.capacity-k.capacity/8 || w.spent || time.Now().Before(k.again) {
		return
	}
	if k.until == k.filed {
		k.until, k.shard, k.come = k.newest, 0, 0
	}
	w.letGo()
	some, shard := k.next()
	last := shard == len(k.shards)
	err := w.transact([]*write{{what: "file keys", run: func(tx *transaction) error {
		for _, e := range some {
			if err := tx.insertKey(e); err != nil {
				return err
			}
		}
		if last {
			return tx.noteFiled(k.until)
		}
		return nil
	}}}, false)
	if err != nil {
		k.again = time.Now().Add(fileAgain)
		w.onFault(fmt.Errorf("file idempotency keys: %w", err))
		return
	}
	for _, e := range some {
		k.remove(e.key)
	}
	k.shard, k.come = shard, 0
	if last {
		k.filed = k.until
	}
}

// next returns what is filed next, later events too, and the first shard that has
// more.
func (k *unfiled) next() (some []keyed, shard int) {
	limit := k.atOnce + k.come
	some = make([]keyed, 0, min(limit, k.n))
	for shard = k.shard; shard < len(k.shards); shard++ {
		for _, e := range k.shards[shard] {
			if len(some) == limit {
				return some, shard
			}
			some = append(some, e)
		}
	}
	return some, shard
}

// A clearing is how far upkeep has come with the keys of events that are gone.
type clearing struct {
	looks int       // see clearLooks
	at    time.Time // when it was looked for them
	gone  int64     // what [writer].gone was when there was nothing to do
	after []byte    // the last key that was looked at; empty: none in this turn
}

// clearKeys deletes the keys of events that are gone, in the order of the table, from
// where it was last and as long as they are one in clearShare there. As keys are
// digests, there are then few of them everywhere. Until more events go there is nothing
// to do.
func (u *upkeep) clearKeys() error {
	c := &u.clearing
	c.at = time.Now()
	for gone := u.s.writer.gone.Load(); gone != c.gone && time.Since(c.at) < clearTime; {
		begun := time.Now()
		some, err := u.findKeys(gone)
		if err != nil {
			return fmt.Errorf("find keys of deleted events: %w", err)
		}
		if err := u.rest(lookRestFactor * time.Since(begun)); err != nil {
			return err
		}
		// What is at the end of the table may be too little to tell how many there are.
		end := some.n < c.looks
		if few := some.left == 0 || some.left*clearShare < some.n; few && (!end || len(c.after) == 0) {
			c.gone = gone
			return nil
		}
		if some.left > 0 {
			err := u.step("clear keys", false, func(tx *transaction, _ time.Time) (int, error) {
				_, err := tx.exec(`DELETE FROM dedupe WHERE key > ? AND key <= ? AND event_id <= ? AND NOT `+isKnown, c.after, some.last, gone)
				return 0, err
			})
			if err != nil {
				return fmt.Errorf("delete keys of deleted events: %w", err)
			}
		}
		c.after = some.last
		if end {
			c.after = []byte{}
		}
	}
	return nil
}

// A keyRange is of so many keys, of which some are left of events that are gone.
type keyRange struct {
	n, left int
	last    []byte
}

// findKeys looks at the next keys. No event is gone that is later than the given one.
func (u *upkeep) findKeys(gone int64) (some keyRange, err error) {
	err = u.s.readers.QueryRowContext(u.stopped, `SELECT count(*), coalesce(sum(gone), 0), max(key) FROM (
		SELECT key, event_id <= ?2 AND NOT `+isKnown+` AS gone FROM dedupe WHERE key > ?1 ORDER BY key LIMIT ?3)`,
		u.clearing.after, gone, u.clearing.looks).Scan(&some.n, &some.left, &some.last)
	return some, err
}
