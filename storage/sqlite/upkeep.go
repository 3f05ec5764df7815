package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

const (
	// lookEvery is how often the file is looked after while it is written to, and
	// expireEvery how often what has expired is looked for while it is not.
	lookEvery   = time.Second
	expireEvery = time.Minute
	// passEvery is how often the search for what has expired begins at the oldest
	// event again, or a tenth of the retention if that is shorter. In between it goes
	// on where it was: what stands before that is what was pending then, and there may
	// be very much of it.
	passEvery = time.Hour
	// expireLooks is how many events one query looks at. They are few, since on a small
	// machine who wakes up waits for those who keep the processors busy; and so many that
	// each step has all that it deletes at once.
	expireLooks = 3 * eventsAtOnce
	// expireMisses is after how many queries that found nothing so old the search ends:
	// what came while the clock was ahead stands before what is older than it says.
	expireMisses = 20

	// stepTime is how long a step works within its transaction, for which those who
	// come meanwhile to be written wait; where so many come that they wait for each
	// other longer than that, it is busyStepTime.
	stepTime, busyStepTime = 100 * time.Microsecond, 400 * time.Microsecond
	// Behind a step there is a rest, so many times as long as the step took. It may be
	// as short as lateRestFactor has it for more events to go than come, or where none
	// comes, and is as short as leastRestFactor has it where that is not enough. Behind
	// a query that looks for something to do, which keeps only a processor busy, it is
	// lookRestFactor.
	restFactor, lateRestFactor, leastRestFactor, lookRestFactor = 49, 24, 6, 9
	// paceFactor is how many times as many events are to go as come, tooLate how late
	// they may be before it is not enough, and mostLate how much of that is made good.
	paceFactor        = 1.25
	tooLate, mostLate = time.Second / 2, time.Second

	// Free pages are given back when they are more than one in shareFree of the
	// file, until they are half as many: fewer are needed again soon.
	shareFree = 5
	// leastFree is how many pages are not worth it.
	leastFree = 512
)

// An Upkeep is what was done for the file since the last one was told.
type Upkeep struct {
	// Events is how many went with all that hung on them, since they were too old
	// or the file too large.
	Events int
	// Returned is how many bytes the file system got back.
	Returned int64
	// LogHeld says that another process that reads the file keeps its write-ahead
	// log from being emptied, and LogBytes how large that is.
	LogHeld  bool
	LogBytes int64
	// Err is what kept it from being done; it is tried again.
	Err error
}

// upkeep looks after the file in the background: it deletes what has expired and
// makes room ahead, and gives free pages back. What is written for that goes through
// the writer, in small steps with rests between them, so that nobody waits long
// behind it.
type upkeep struct {
	s       *Store
	expired func() time.Time // see [Options]
	report  func(Upkeep)     // likewise OnUpkeep

	woken   chan struct{} // one slot: something was written
	stopped context.Context
	stop    context.CancelFunc
	ended   chan struct{}

	fault atomic.Pointer[string] // what went wrong when the file was last looked after; nil: nothing did

	// Only the goroutine of run uses these.
	did          Upkeep
	old          *sql.Stmt // of findOld
	passAt       time.Time
	comeAt       time.Time // when come was counted
	come         int64     // events, since the file was made
	rate         float64   // events that come in a second
	behind       bool      // more of them come than go
	due          time.Time // when more of them have to go
	expiredAfter int64     // the last event that was looked at for its age
	roomAfter    int64     // likewise to make room
	noRoom       time.Time
	clearing     clearing
}

func newUpkeep(s *Store, o Options) *upkeep {
	u := &upkeep{s: s, expired: o.Expired, report: o.OnUpkeep, woken: make(chan struct{}, 1), ended: make(chan struct{}), clearing: clearing{looks: clearLooks, after: []byte{}}}
	u.stopped, u.stop = context.WithCancel(context.Background())
	return u
}

// committed is told of each commit.
func (u *upkeep) committed() { wake(u.woken) }

// close waits for the present step.
func (u *upkeep) close() {
	u.stop()
	<-u.ended
}

func (u *upkeep) run() {
	defer close(u.ended)
	var tick <-chan time.Time
	if u.expired != nil {
		ticker := time.NewTicker(expireEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-u.stopped.Done():
			return
		case <-tick:
		case <-u.woken:
			if u.rest(lookEvery) != nil {
				return
			}
		}
		u.look()
	}
}

// rest fails when it is cut short by the end.
func (u *upkeep) rest(d time.Duration) error {
	rest(u.stopped, d)
	return u.stopped.Err()
}

// look does what there is to do.
func (u *upkeep) look() {
	u.did = Upkeep{LogHeld: u.s.log.held.Load()}
	u.did.Err = errors.Join(u.expire(), u.makeRoom(), u.clearKeys(), u.giveBack())
	if u.stopped.Err() != nil {
		return
	}
	note(&u.fault, u.did.Err)
	if u.report != nil && (u.did.Err != nil || u.did.Events > 0 || u.did.Returned > 0) {
		u.report(u.did)
	}
}

// step has the work done in a transaction, and rests. The work is given the time
// at which it should end, and returns how many events went. It is paced if that is what
// it is for.
func (u *upkeep) step(what string, paced bool, work func(tx *transaction, until time.Time) (gone int, err error)) error {
	if err := u.stopped.Err(); err != nil {
		return err
	}
	var (
		took time.Duration
		gone int
	)
	most := stepTime
	if u.behind {
		most = busyStepTime
	}
	err := u.s.writer.lazily(what, func(tx *transaction) (err error) {
		begun := time.Now()
		gone, err = work(tx, begun.Add(most))
		took = time.Since(begun)
		return err
	})
	if err != nil {
		return err
	}
	u.did.Events += gone
	pause := restFactor * took
	if paced {
		ahead := u.pace(gone)
		u.behind = ahead < -tooLate
		pause = max(lateRestFactor*took, min(pause, ahead))
	}
	if u.behind {
		pause = leastRestFactor * took
	}
	return u.rest(max(pause, time.Millisecond))
}

// pace is told that so many events went, and returns how long it is until others have
// to go; less than nothing: they are late.
func (u *upkeep) pace(gone int) time.Duration {
	now := time.Now()
	switch need := u.rate * paceFactor; {
	case need == 0:
		u.due = now
	case gone > 0:
		late := min(max(0, now.Sub(u.due)), mostLate)
		u.due = now.Add(time.Duration(float64(gone)/need*float64(time.Second)) - late)
	}
	return u.due.Sub(now)
}

// measure finds out how many events come.
func (u *upkeep) measure() error {
	now := time.Now()
	if now.Sub(u.comeAt) < lookEvery {
		return nil
	}
	var come int64
	err := u.s.readers.QueryRowContext(u.stopped, `SELECT coalesce((SELECT value FROM counters WHERE name = 'events'), 0)`).Scan(&come)
	if err == nil {
		u.rate = float64(come-u.come) / now.Sub(u.comeAt).Seconds()
		u.come, u.comeAt = come, now
	}
	return err
}

// expire deletes what is older than it may get.
func (u *upkeep) expire() error {
	if u.expired == nil {
		return nil
	}
	now, before := time.Now(), u.expiredBefore()
	every := passEvery
	if before != 0 {
		every = min(every, max(expireEvery, now.Sub(fromMillis(before))/10))
	}
	if u.passAt.IsZero() || now.Sub(u.passAt) >= every {
		u.passAt, u.expiredAfter = now, 0
		if err := u.clearTallies(); err != nil {
			return fmt.Errorf("delete tallies of nothing: %w", err)
		}
	}
	if before == 0 {
		return nil
	}
	if _, err := u.sweep(&u.expiredAfter, u.expiredBefore, nil); err != nil {
		return fmt.Errorf("delete expired events: %w", err)
	}
	if err := u.expireRollups(before / 60_000); err != nil {
		return fmt.Errorf("delete expired rollups: %w", err)
	}
	return nil
}

// expiredBefore is the time before which events go; 0: none does.
func (u *upkeep) expiredBefore() int64 {
	if before := u.expired(); !before.IsZero() {
		return millis(before)
	}
	return 0
}

// sweep deletes the events that were received before a time, of those behind one,
// and may go, until there is enough or there are no more that old. It notes how
// far it is, and reports whether there are no more. The time is asked for again and
// again: who finds that too much goes wants it to end at once. The search is a
// reader's, so that the writer has nothing to do with what stays.
func (u *upkeep) sweep(after *int64, before func() int64, enough func() (bool, error)) (end bool, err error) {
	atOnce := eventsAtOnce
	if enough != nil {
		atOnce = 1 // they may be large
	}
	u.due = time.Now()
	at, misses := *after, 0
	for {
		begun := time.Now()
		some, err := u.findOld(at, before())
		if err != nil || len(some) == 0 {
			return err == nil, err
		}
		if err := u.rest(lookRestFactor * time.Since(begun)); err != nil {
			return false, err
		}
		at = some[len(some)-1].id
		old := slices.DeleteFunc(some, func(e oldEvent) bool { return !e.old })
		if len(old) == 0 {
			if misses++; misses == expireMisses {
				return true, nil
			}
			continue
		}
		misses = 0
		var going []int64
		for _, e := range old {
			if e.goes {
				going = append(going, e.id)
			}
		}
		for len(going) > 0 {
			if err := u.measure(); err != nil {
				return false, err
			}
			if going, err = u.delete(going, atOnce, before()); err != nil {
				return false, err
			}
			if enough == nil {
				continue
			}
			if ok, err := enough(); err != nil || ok {
				return false, err
			}
		}
		at = old[len(old)-1].id
		*after = at
		if time.Since(u.clearing.at) >= lookEvery {
			if err := u.clearKeys(); err != nil {
				return false, err
			}
		}
	}
}

type oldEvent struct {
	id        int64
	old, goes bool
}

// findOld looks at the next events, whether they are old enough and may go. Their
// ids grow with time, but where the clock was put back an id says a later time
// than the event was received at, so that it is not the id that tells the age.
func (u *upkeep) findOld(after, before int64) ([]oldEvent, error) {
	if err := u.s.readers.enter(u.stopped); err != nil {
		return nil, err
	}
	defer u.s.readers.leave()
	if u.old == nil {
		statement, err := u.s.readers.db.PrepareContext(u.stopped, `SELECT e.id, e.received_at < ?2, e.received_at < ?2 AND `+mayGo+`
			FROM events e WHERE e.id > ?1 ORDER BY e.id LIMIT ?3`)
		if err != nil {
			return nil, dbfile.Translate(err)
		}
		u.old = statement
	}
	rows, err := u.old.QueryContext(u.stopped, after, before, expireLooks)
	if err != nil {
		return nil, dbfile.Translate(err)
	}
	return collect(rows, func(rows *sql.Rows) (e oldEvent, err error) {
		err = rows.Scan(&e.id, &e.old, &e.goes)
		return e, err
	})
}

// delete deletes some of the events, so many at once, as far as they are that old, and
// returns those that are left.
func (u *upkeep) delete(ids []int64, atOnce int, before int64) (left []int64, err error) {
	err = u.step("expire", true, func(tx *transaction, until time.Time) (gone int, err error) {
		left = ids
		for first := true; len(left) > 0 && (first || time.Now().Before(until)); first = false {
			some := left[:min(len(left), atOnce)]
			n, done, err := deleteFinished(tx, some, before)
			gone += n
			if err != nil {
				return gone, err
			}
			if done {
				left = left[len(some):]
			}
		}
		return gone, nil
	})
	return left, err
}

// expireRollups deletes the rollups of the minutes before that one.
func (u *upkeep) expireRollups(before int64) error {
	for {
		var any bool
		err := u.s.readers.QueryRowContext(u.stopped, `SELECT EXISTS (SELECT 1 FROM rollups WHERE minute < ?)`, before).Scan(&any)
		if err != nil || !any {
			return err
		}
		err = u.step("expire", false, func(tx *transaction, _ time.Time) (int, error) {
			_, err := tx.exec(`DELETE FROM rollups WHERE (minute, subscriber_id) IN (
				SELECT minute, subscriber_id FROM rollups WHERE minute < ? ORDER BY minute, subscriber_id LIMIT 200)`, before)
			return 0, err
		})
		if err != nil {
			return err
		}
	}
}

// clearTallies deletes the tallies that say 0: of subscribers that are gone, and
// of causes that no dead letter has any more.
func (u *upkeep) clearTallies() error {
	zero, err := read(u.stopped, u.s.readers, `SELECT state, subscriber_id, outcome, code, fingerprint FROM tallies WHERE count = 0`, nil,
		func(rows *sql.Rows) (t tally, err error) {
			err = rows.Scan(&t.state, &t.subscriber, &t.outcome, &t.code, &t.fingerprint)
			return t, err
		})
	for len(zero) > 0 && err == nil {
		some := zero[:min(100, len(zero))]
		zero = zero[len(some):]
		err = u.step("clear tallies", false, func(tx *transaction, _ time.Time) (int, error) {
			for _, t := range some {
				_, err := tx.exec(`DELETE FROM tallies WHERE state = ? AND subscriber_id = ? AND outcome = ? AND code = ? AND fingerprint = ? AND count = 0`,
					string(t.state), t.subscriber, string(t.outcome), t.code, t.fingerprint)
				if err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
	}
	return err
}

// space is how many pages the file has, and how many of those are free.
func (u *upkeep) space() (pages, free int64, err error) {
	err = u.s.readers.QueryRowContext(u.stopped, `SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count`).Scan(&pages, &free)
	return pages, free, err
}

// makeRoom deletes the oldest finished history before the file holds as much as
// it may, so that no event has to wait until there is room for it.
func (u *upkeep) makeRoom() error {
	w := u.s.writer
	most := w.maxSize - w.maxSize/16
	holds := func(bytes int64) func() (bool, error) {
		return func() (bool, error) {
			pages, free, err := u.space()
			return (pages-free)*w.pageSize < bytes, err
		}
	}
	if w.maxSize == 0 || time.Since(u.noRoom) < expireEvery {
		return nil
	}
	if ok, err := holds(most)(); err != nil || ok {
		return err
	}
	end, err := u.sweep(&u.roomAfter, func() int64 { return anyAge }, holds(most-w.maxSize/64))
	if err != nil {
		return fmt.Errorf("make room ahead: %w", err)
	}
	if end {
		u.roomAfter, u.noRoom = 0, time.Now()
	}
	return nil
}

// giveBack gives free pages back to the file system when they are very many. A
// file that was made before this was possible keeps them, to use them again.
func (u *upkeep) giveBack() error {
	pages, free, err := u.space()
	if err != nil || free < leastFree || free < pages/shareFree {
		return err
	}
	var mode int
	if err := u.s.readers.QueryRowContext(u.stopped, `PRAGMA auto_vacuum`).Scan(&mode); err != nil || mode != dbfile.Incremental {
		return err
	}
	for free >= leastFree && free > pages/(2*shareFree) {
		// Each row that it answers is a page.
		err := u.step("give back", false, func(tx *transaction, until time.Time) (int, error) {
			rows, err := tx.query(`PRAGMA incremental_vacuum(1000)`)
			if err != nil {
				return 0, err
			}
			defer rows.Close()
			for rows.Next() && time.Now().Before(until) {
			}
			return 0, rows.Err()
		})
		if err != nil {
			return fmt.Errorf("give free pages back: %w", err)
		}
		before := pages
		if pages, free, err = u.space(); err != nil {
			return err
		}
		if pages >= before {
			break // what is written grows faster
		}
		u.did.Returned += (before - pages) * u.s.writer.pageSize
	}
	// The file is cut when all is moved from the log into it.
	_, _, err = u.s.log.begin("restart", 0)
	return err
}
