package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// openKeeping opens a file of which goes, once it is looked after, what is older
// than the time that is returned too; zero: nothing.
func openKeeping(t *testing.T, path string, maxSize int64) (*Store, *atomic.Pointer[time.Time]) {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	before := &atomic.Pointer[time.Time]{}
	before.Store(&time.Time{})
	s, err := Open(t.Context(), Options{Path: path, Schema: string(schema), Synchronous: "normal", MaxSize: maxSize,
		Expired: func() time.Time { return *before.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, before
}

// receivedAt is an event for the subscribers at the time, in the order of the key.
func receivedAt(s *Store, at time.Time, orderKey string, to ...webhook.SubscriberID) webhook.Accept {
	a := webhook.Accept{Event: webhook.Event{ID: s.IDs().Event(at), Source: "inbound", Type: "a.b", Data: []byte(`"x"`), ReceivedAt: at}}
	a.Key = webhook.NewDedupeKey("inbound", string(a.Event.ID))
	for _, id := range to {
		a.Deliveries = append(a.Deliveries, webhook.NewDelivery{ID: s.IDs().Delivery(at), SubscriberID: id, OrderKey: orderKey})
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func accept(t *testing.T, s *Store, accepts ...webhook.Accept) {
	t.Helper()
	_, err := s.Accept(t.Context(), accepts)
	must(t, err)
}

// ends records the first attempt of the event's first delivery, made at the time.
func ends(t *testing.T, s *Store, a webhook.Accept, at time.Time, state webhook.State) {
	t.Helper()
	r := webhook.Result{DueAt: a.Event.ReceivedAt, State: state, Spent: 1, Body: []byte(`{}`), Attempt: webhook.Attempt{
		DeliveryID: a.Deliveries[0].ID, Number: 1, StartedAt: at, Outcome: webhook.OK, Code: 200}}
	if state == webhook.Dead {
		r.Attempt.Outcome, r.Attempt.Code = webhook.HTTPStatus, 500
	}
	must(t, s.Record(t.Context(), []webhook.Result{r}))
}

// look has the file looked after as if an hour had passed.
func look(t *testing.T, s *Store) {
	t.Helper()
	s.upkeep.close() // what follows is the test's own
	s.upkeep.stopped = context.Background()
	s.upkeep.passAt, s.upkeep.noRoom = time.Time{}, time.Time{}
	s.upkeep.look()
	must(t, s.upkeep.did.Err)
}

// kept are the events that are stored, the newest first.
func kept(t *testing.T, s *Store) (ids []webhook.EventID) {
	t.Helper()
	list, err := s.Events(t.Context(), webhook.EventFilter{}, webhook.Page{Limit: 500})
	must(t, err)
	for _, e := range list.Items {
		ids = append(ids, e.ID)
	}
	return ids
}

func rowsOf(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	must(t, s.readers.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
	return n
}

func TestWhatIsFinishedAndOldGoesWithAllThatHangsOnIt(t *testing.T) {
	s, before := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	to := put(t, s)
	old, day := fullStart, 24*time.Hour
	limit := old.Add(10 * day)
	delivered, dead, pending, none := receivedAt(s, old, "", to), receivedAt(s, old, "", to), receivedAt(s, old, "", to), receivedAt(s, old, "")
	late, replayed, young := receivedAt(s, old, "", to), receivedAt(s, old, "", to), receivedAt(s, limit, "", to)
	accept(t, s, delivered, dead, pending, none, late, replayed, young)
	ends(t, s, delivered, old, webhook.Delivered)
	ends(t, s, dead, limit.Add(-time.Millisecond), webhook.Dead)
	ends(t, s, late, limit, webhook.Delivered)
	ends(t, s, replayed, old, webhook.Delivered)
	ends(t, s, young, limit, webhook.Delivered)
	again, err := s.Replay(t.Context(), []webhook.Replay{{EventID: replayed.Event.ID, Delivery: webhook.NewDelivery{ID: s.IDs().Delivery(limit), SubscriberID: to}, DueAt: limit}})
	must(t, err)
	want := func(what string, accepts ...webhook.Accept) {
		t.Helper()
		var ids []webhook.EventID
		for _, a := range accepts {
			ids = append(ids, a.Event.ID)
		}
		if diff := cmp.Diff(ids, kept(t, s)); diff != "" {
			t.Errorf("%s (-want +kept):\n%s", what, diff)
		}
	}
	look(t, s)
	want("without a retention", young, replayed, late, none, pending, dead, delivered)
	before.Store(&limit)
	look(t, s)
	want("with one", young, replayed, late, pending)
	for table, n := range map[string]int{"deliveries": 5, "attempts": 3, "bodies": 3} {
		if got := rowsOf(t, s, table); got != n {
			t.Errorf("%d rows of %s, want %d", got, table, n)
		}
	}
	if k := keysOf(t, s); len(k.inTable)+len(k.inMemory) != 4 {
		t.Errorf("%d keys are filed and %d are not, want 4 in all", len(k.inTable), len(k.inMemory))
	}
	stats, err := s.Stats(t.Context(), webhook.StatsQuery{})
	must(t, err)
	if diff := cmp.Diff(map[webhook.State]int64{webhook.Pending: 2, webhook.Delivered: 3, webhook.Dead: 0, webhook.Cancelled: 0}, stats.Deliveries); diff != "" {
		t.Errorf("deliveries (-want +counted):\n%s", diff)
	}
	if stats.Events != 7 || !stats.OldestEvent.Equal(old) {
		t.Errorf("statistics are %+v", stats)
	}
	accepted, err := s.Accept(t.Context(), []webhook.Accept{delivered, late})
	must(t, err)
	if accepted[0].Duplicate || !accepted[1].Duplicate {
		t.Errorf("again after it was gone, and while it is there: %+v", accepted)
	}
	// What was pending goes once its end is old too.
	later := limit.Add(30 * day)
	before.Store(&later)
	ends(t, s, pending, later.Add(-time.Millisecond), webhook.Delivered)
	_, err = s.Cancel(t.Context(), []webhook.DeliveryID{again[0].ID}, later)
	must(t, err)
	ends(t, s, delivered, later, webhook.Delivered)
	look(t, s)
	want("once more", replayed, delivered)
	if n := rowsOf(t, s, "rollups"); n != 2 {
		t.Errorf("%d rollups, want that of the last minute, for one subscriber and for all", n)
	}
	look(t, s)
	if n := rowsOf(t, s, "tallies WHERE count = 0"); n != 0 {
		t.Errorf("%d tallies say 0", n)
	}
}

func TestOldEventsGoThoughTheClockWasPutBack(t *testing.T) {
	s, before := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	// The ids go on from what a clock far ahead has made.
	accept(t, s, receivedAt(s, fullStart.AddDate(10, 0, 0), ""))
	accept(t, s, receivedAt(s, fullStart, ""))
	limit := fullStart.Add(time.Hour)
	before.Store(&limit)
	look(t, s)
	if n := rowsOf(t, s, "events"); n != 1 {
		t.Errorf("%d events are kept, want the one of the year 2034", n)
	}
}

// TestDeadLetterThatHoldsUpAnOrderStays has, of one subscriber, a key whose dead
// letter blocks what comes later, and keys whose dead letters do not; and
// subscribers for whom none does.
func TestDeadLetterThatHoldsUpAnOrderStays(t *testing.T) {
	for _, by := range []string{"age", "size"} {
		maxSize := int64(0)
		if by == "size" {
			maxSize = 1 << 20
		}
		s, before := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), maxSize)
		add := func(ordered string, onDead webhook.OnDead) webhook.SubscriberID {
			sub := webhook.Subscriber{ID: s.IDs().Subscriber(fullStart), URL: "https://example.com", Events: []webhook.Pattern{"*"}, Active: true,
				Ordered: ordered, OnDead: onDead, CreatedAt: fullStart, UpdatedAt: fullStart}
			must(t, s.PutSubscriber(t.Context(), sub))
			return sub.ID
		}
		blocks, skips, free := add(".data.k", webhook.OnDeadBlock), add(".data.k", webhook.OnDeadSkip), add("", webhook.OnDeadBlock)
		letter := func(key string, to webhook.SubscriberID) webhook.Accept {
			a := receivedAt(s, fullStart, key, to)
			accept(t, s, a)
			ends(t, s, a, fullStart, webhook.Dead)
			return a
		}
		waiting := func(key string, to webhook.SubscriberID) webhook.Accept {
			a := receivedAt(s, fullStart, key, to)
			accept(t, s, a)
			return a
		}
		earlier := waiting("earlier", blocks)
		held, gone := letter("a", blocks), []webhook.Accept{letter("b", blocks), letter("earlier", blocks), letter("", blocks), letter("a", skips), letter("a", free)}
		behind := []webhook.Accept{waiting("a", blocks), waiting("", blocks), waiting("a", skips), waiting("a", free)}
		var size int
		if by == "age" {
			limit := fullStart.AddDate(1, 0, 0)
			before.Store(&limit)
			look(t, s)
		} else {
			must(t, s.upkeepStops())
			size = len(fill(t, s, free))
			look(t, s)
		}
		have := map[webhook.EventID]bool{}
		for _, id := range kept(t, s) {
			have[id] = true
		}
		for _, a := range append(behind, held, earlier) {
			if !have[a.Event.ID] {
				t.Errorf("by %s went what is pending or blocks it", by)
			}
		}
		for i, a := range gone {
			if have[a.Event.ID] {
				t.Errorf("by %s: dead letter %d stays though it holds up nothing", by, i)
			}
		}
		if n := len(have); n != len(behind)+2+size {
			t.Errorf("by %s: %d events are kept", by, n)
		}
		jobs, _, err := s.Due(t.Context(), webhook.DueQuery{SubscriberID: blocks, Now: fullStart, Ordered: true, Limit: 10, Bytes: 1 << 20})
		must(t, err)
		if len(jobs) != 2 {
			t.Errorf("by %s: %d deliveries of the ordered subscriber are due, want the two that nothing holds up", by, len(jobs))
		}
		// Once nothing waits for it, it is history like any other.
		_, err = s.Cancel(t.Context(), []webhook.DeliveryID{behind[0].Deliveries[0].ID}, fullStart)
		must(t, err)
		look(t, s)
		for _, id := range kept(t, s) {
			if id == held.Event.ID {
				t.Errorf("by %s: the dead letter stays though nothing waits for it", by)
			}
		}
	}
}

// upkeepStops leaves the making of room to the writer.
func (s *Store) upkeepStops() error {
	s.upkeep.close()
	return nil
}

func TestEventOfVeryManyDeliveriesGoesInParts(t *testing.T) {
	s, before := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	var to []webhook.SubscriberID
	for range 3*deliveriesAtOnce + 1 {
		to = append(to, put(t, s))
	}
	a := receivedAt(s, fullStart, "", to...)
	accept(t, s, a)
	var ids []webhook.DeliveryID
	for _, d := range a.Deliveries {
		ids = append(ids, d.ID)
	}
	_, err := s.Cancel(t.Context(), ids, fullStart)
	must(t, err)
	number, _ := s.ids.Parse(webhook.EventPrefix, string(a.Event.ID))
	must(t, s.writer.do("test", func(tx *transaction) error {
		_, done, err := deleteFinished(tx, []int64{number}, anyAge)
		if done {
			t.Error("it went at once")
		}
		return err
	}))
	if n := rowsOf(t, s, "deliveries"); n != len(to)-deliveriesAtOnce || rowsOf(t, s, "events") != 1 {
		t.Errorf("%d deliveries are left after the first part", n)
	}
	limit := fullStart.Add(time.Hour)
	before.Store(&limit)
	look(t, s)
	if n := rowsOf(t, s, "deliveries") + rowsOf(t, s, "events"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	stats, err := s.Stats(t.Context(), webhook.StatsQuery{})
	if err != nil || stats.Deliveries[webhook.Cancelled] != 0 {
		t.Errorf("statistics are %+v, %v", stats, err)
	}
}

// TestOldEventsGoBehindThoseOfAClockThatWasAhead, however few are looked at at once.
func TestOldEventsGoBehindThoseOfAClockThatWasAhead(t *testing.T) {
	s, before := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	for range 3 * expireLooks {
		accept(t, s, receivedAt(s, fullStart.Add(365*24*time.Hour), ""))
	}
	for range 60 {
		accept(t, s, receivedAt(s, fullStart, ""))
	}
	limit := fullStart.Add(time.Hour)
	before.Store(&limit)
	look(t, s)
	if n := len(kept(t, s)); n != 3*expireLooks {
		t.Errorf("%d events are kept, want %d", n, 3*expireLooks)
	}
}

// TestOneEventAtATimeIsWithoutItsDeliveries, however many each has, and each part
// deletes as many deliveries as it may.
func TestOneEventAtATimeIsWithoutItsDeliveries(t *testing.T) {
	for _, each := range []int{0, 1, 2, 3, deliveriesAtOnce - 1, deliveriesAtOnce, deliveriesAtOnce + 1, 2 * deliveriesAtOnce} {
		t.Run(fmt.Sprint(each), func(t *testing.T) {
			s, _ := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
			must(t, s.upkeepStops())
			var to []webhook.SubscriberID
			for range each {
				to = append(to, put(t, s))
			}
			var ids []int64
			for range eventsAtOnce {
				a := receivedAt(s, fullStart, "", to...)
				accept(t, s, a)
				number, _ := s.ids.Parse(webhook.EventPrefix, string(a.Event.ID))
				ids = append(ids, number)
			}
			within(t, s, func(tx *transaction) error {
				_, err := tx.exec(`UPDATE deliveries SET state = 'cancelled', next_attempt_at = NULL, finished_at = 0`)
				return err
			})
			left, parts := eventsAtOnce, max(1, (each*eventsAtOnce+deliveriesAtOnce-1)/deliveriesAtOnce)
			for part := range parts {
				within(t, s, func(tx *transaction) error {
					gone, done, err := deleteFinished(tx, ids, anyAge)
					left -= gone
					if last := part == parts-1; done != last {
						t.Errorf("part %d of %d says that it is the last: %t", part+1, parts, done)
					}
					return err
				})
				stripped := 0
				must(t, s.readers.QueryRowContext(t.Context(), `SELECT count(*) FROM events e WHERE (SELECT count(*) FROM deliveries d WHERE d.event_id = e.id) < ?`, each).Scan(&stripped))
				if n := rowsOf(t, s, "events"); n != left || stripped > 1 {
					t.Errorf("%d events are left where %d are told to be, and %d without all of their deliveries", n, left, stripped)
				}
			}
			if n := rowsOf(t, s, "events") + rowsOf(t, s, "deliveries"); n != 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}

// TestStepsAreLongerWhileMoreComesThanGoes asks each step how long it may take, and
// the clock how long the rest behind it is.
func TestStepsAreLongerWhileMoreComesThanGoes(t *testing.T) {
	const (
		took = 100 * time.Microsecond
		ms   = time.Millisecond
	)
	path := filepath.Join(t.TempDir(), "pintle.db")
	synctest.Test(t, func(t *testing.T) {
		s, _ := openKeeping(t, path, 0)
		must(t, s.upkeepStops())
		u := s.upkeep
		u.stopped = context.Background()
		for i, step := range []struct {
			rate float64       // events that come in a second
			late time.Duration // when the step ends
			gone int
			most time.Duration // for this one
			rest time.Duration
		}{
			{0, 0, 8, stepTime, lateRestFactor * took}, // nobody waits
			{1, 0, 8, stepTime, restFactor * took},
			{1600, 0, 8, stepTime, 4 * ms}, // 2,000 a second are to go
			{1600, 1 * ms, 8, stepTime, 3 * ms},
			{1600, 2 * ms, 8, stepTime, lateRestFactor * took},
			{1600, -3 * ms, 0, stepTime, 3 * ms}, // the next are not due yet
			{1600, tooLate, 8, stepTime, lateRestFactor * took},
			{1600, tooLate + 5*ms, 8, stepTime, ms}, // no rest is shorter
			{1600, tooLate + 5*ms, 8, busyStepTime, ms},
			{1600, tooLate + 4*ms, 8, busyStepTime, lateRestFactor * took},
			{1600, 0, 8, stepTime, 4 * ms},
		} {
			u.rate, u.due = step.rate, time.Now().Add(took-step.late)
			var worked time.Time
			must(t, u.step("test", true, func(_ *transaction, until time.Time) (int, error) {
				if most := time.Until(until); most != step.most {
					t.Errorf("step %d may take %s, want %s", i, most, step.most)
				}
				time.Sleep(took)
				worked = time.Now()
				return step.gone, nil
			}))
			if rest := time.Since(worked); rest != step.rest {
				t.Errorf("step %d has a rest of %s, want %s", i, rest, step.rest)
			}
		}
		u.due = time.Now().Add(-time.Hour)
		if ahead := u.pace(8); ahead != 4*ms-mostLate {
			t.Errorf("after an hour in which none went the next are due in %s, want %s", ahead, 4*ms-mostLate)
		}
		must(t, s.Close())
	})
}

// TestExpiryNeedsNobodyToAsk runs the upkeep as it runs, in a time of its own.
func TestExpiryNeedsNobodyToAsk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	synctest.Test(t, func(t *testing.T) {
		schema, err := os.ReadFile("../../schema.sql")
		must(t, err)
		gone := 0
		s, err := Open(t.Context(), Options{Path: path, Schema: string(schema), Synchronous: "normal",
			Expired: func() time.Time { return time.Now().Add(-time.Hour) }, OnUpkeep: func(u Upkeep) { gone += u.Events }})
		must(t, err)
		defer s.Close()
		accept(t, s, receivedAt(s, time.Now(), ""))
		time.Sleep(time.Hour - time.Second)
		if n := rowsOf(t, s, "events"); n != 1 {
			t.Errorf("%d events before they are an hour old", n)
		}
		time.Sleep(2 * expireEvery)
		if n := rowsOf(t, s, "events"); n != 0 || gone != 1 {
			t.Errorf("%d events when they are older, and %d are told to be gone", n, gone)
		}
	})
}

// history fills the file with so many events of 20 kB that are finished.
func history(t *testing.T, s *Store, to webhook.SubscriberID, n int) {
	t.Helper()
	for i := range n {
		a := large(s, fmt.Sprint("history ", i), 20_000, to)
		accept(t, s, a)
		ends(t, s, a, fullStart, webhook.Delivered)
	}
}

func TestFreePagesAreGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, before := openKeeping(t, path, 0)
	to := put(t, s)
	history(t, s, to, 600)
	pending := large(s, "pending", 20_000, to)
	accept(t, s, pending)
	stats, err := s.Stats(t.Context(), webhook.StatsQuery{})
	must(t, err)
	limit := fullStart.Add(time.Hour)
	before.Store(&limit)
	look(t, s)
	if size, err := dbfile.Size(path); err != nil || size > stats.Bytes/5 {
		t.Errorf("the file has %d bytes of %d, %v", size, stats.Bytes, err)
	}
	e, err := s.Event(t.Context(), pending.Event.ID)
	if err != nil || len(e.Data) != 20_000 {
		t.Errorf("what is pending: %v", err)
	}
	must(t, s.Close())
	must(t, dbfile.Verify(t.Context(), path))
}

func TestFileFromBeforeUsesItsFreePagesAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, _ := openKeeping(t, path, 0)
	must(t, s.Close())
	db, err := sql.Open("sqlite", path)
	must(t, err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`PRAGMA journal_mode = delete; PRAGMA auto_vacuum = 0; VACUUM; PRAGMA journal_mode = wal`)
	must(t, err)
	must(t, db.Close())
	s, before := openKeeping(t, path, 0)
	to := put(t, s)
	history(t, s, to, 600)
	limit := fullStart.Add(time.Hour)
	before.Store(&limit)
	look(t, s)
	was, err := s.Stats(t.Context(), webhook.StatsQuery{})
	must(t, err)
	if was.UnusedBytes < was.Bytes/2 || s.upkeep.did.Returned != 0 {
		t.Errorf("%d bytes of %d are unused, and %d were returned", was.UnusedBytes, was.Bytes, s.upkeep.did.Returned)
	}
	history(t, s, to, 300)
	is, err := s.Stats(t.Context(), webhook.StatsQuery{})
	must(t, err)
	if is.Bytes > was.Bytes {
		t.Errorf("the file has grown from %d to %d bytes", was.Bytes, is.Bytes)
	}
}

// TestRoomIsMadeAhead leaves the writer nothing to do.
func TestRoomIsMadeAhead(t *testing.T) {
	s, _ := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), 4<<20)
	must(t, s.upkeepStops())
	to := put(t, s)
	for i := range 400 {
		a := large(s, fmt.Sprint(i), 20_000, to)
		accept(t, s, a)
		ends(t, s, a, fullStart, webhook.Delivered)
		if s.writer.spent {
			t.Fatal("the file holds as much as it may")
		}
		if i%5 == 4 {
			look(t, s)
		}
	}
	if n := len(kept(t, s)); n < 100 {
		t.Errorf("only %d events are kept", n)
	}
}

// TestLogStaysBoundedUnderConstantReaders writes six times the bound while
// somebody is always reading, of our own and of others.
func TestLogStaysBoundedUnderConstantReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, path, 0)
	to := put(t, s)
	accept(t, s, large(s, "first", 20_000, to))
	ctx, end := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	defer reading.Wait()
	defer end()
	foreign, err := sql.Open("sqlite", dbfile.DSN(path, "mode=ro", "_pragma=busy_timeout(10000)"))
	must(t, err)
	defer foreign.Close()
	for range 3 {
		reading.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.Events(ctx, webhook.EventFilter{}, webhook.Page{Limit: 50})
			}
		})
		reading.Go(func() {
			for ctx.Err() == nil {
				var n int
				_ = foreign.QueryRowContext(ctx, `SELECT sum(length(data)) FROM (SELECT data FROM events LIMIT 5)`).Scan(&n)
			}
		})
	}
	data := strings.Repeat("x", 1<<20)
	for i := range 6 * maxLog >> 20 {
		a := large(s, fmt.Sprint(i), 100, to)
		a.Event.Data, a.Deliveries = []byte(`"`+data+`"`), nil
		accept(t, s, a)
		if size, err := dbfile.Size(path + "-wal"); err != nil || size > 4*maxLog {
			t.Fatalf("the log has %d bytes after %d MiB, %v", size, i+1, err)
		}
	}
	if s.log.held.Load() {
		t.Error("it is said that somebody keeps it")
	}
}

// TestReaderThatKeepsTheLogIsTold has another process read for ever.
func TestReaderThatKeepsTheLogIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	schema, err := os.ReadFile("../../schema.sql")
	must(t, err)
	told := make(chan Upkeep, 100)
	s, err := Open(t.Context(), Options{Path: path, Schema: string(schema), Synchronous: "normal", OnUpkeep: func(u Upkeep) { told <- u }})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	accept(t, s, large(s, "first", 100, put(t, s)))
	foreign, err := sql.Open("sqlite", dbfile.DSN(path, "mode=ro"))
	must(t, err)
	defer foreign.Close()
	tx, err := foreign.Begin()
	must(t, err)
	var n int
	must(t, tx.QueryRow(`SELECT count(*) FROM events`).Scan(&n))
	for i := range maxLog>>20 + 1 {
		a := large(s, fmt.Sprint(i), 1<<20, "")
		a.Deliveries = nil
		accept(t, s, a)
	}
	if u := <-told; !u.LogHeld || u.LogBytes < maxLog || u.Err != nil {
		t.Errorf("told was %+v", u)
	}
	stats, err := s.Stats(t.Context(), webhook.StatsQuery{})
	if err != nil || !stats.LogHeld || stats.LogBytes < maxLog {
		t.Errorf("statistics are %+v, %v", stats, err)
	}
	// Nothing has to be written for it to be over.
	must(t, tx.Rollback())
	if u := <-told; u.LogHeld || u.Err != nil {
		t.Errorf("told was %+v", u)
	}
	if size, err := dbfile.Size(path + "-wal"); err != nil || size != 0 {
		t.Errorf("the log has %d bytes, %v", size, err)
	}
}

// TestLogComesBackUnderItsBoundUnderOurOwnReaders has four who read for 400 ms each, one
// after the other, while something is written all the time: at no moment has none of
// them begun before the last commit, and the writer never waits as long as they read.
func TestLogComesBackUnderItsBoundUnderOurOwnReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	synctest.Test(t, func(t *testing.T) {
		schema, err := os.ReadFile("../../schema.sql")
		must(t, err)
		s, err := Open(t.Context(), Options{Path: path, Schema: string(schema), Synchronous: "normal"})
		must(t, err)
		defer s.Close()
		ctx, end := context.WithCancel(t.Context())
		var all sync.WaitGroup
		defer all.Wait()
		defer end()
		var longest atomic.Int64
		const reads = 400 * time.Millisecond
		for i := range readers {
			all.Go(func() {
				time.Sleep(reads / readers * time.Duration(i))
				for ctx.Err() == nil {
					asked := time.Now()
					tx, end, err := s.readers.begin(ctx)
					if err != nil {
						return
					}
					if waited := int64(time.Since(asked)); waited > longest.Load() {
						longest.Store(waited)
					}
					var n int
					_ = tx.QueryRowContext(ctx, `SELECT count(*) FROM settings`).Scan(&n)
					time.Sleep(reads)
					end()
				}
			})
		}
		time.Sleep(2 * reads)
		for i := range maxLog>>20 + 1 {
			a := large(s, fmt.Sprint(i), 1<<20, "")
			a.Deliveries = nil
			accept(t, s, a)
		}
		if size := sizeOf(t, path+"-wal"); size < maxLog {
			t.Fatalf("the log has %d bytes only", size)
		}
		for i := range 200 {
			must(t, s.PutSetting(t.Context(), "beat", fmt.Sprint(i)))
			if time.Sleep(50 * time.Millisecond); s.log.held.Load() {
				t.Fatal("it is said that somebody else keeps it")
			}
		}
		if size := sizeOf(t, path+"-wal"); size > maxLog/2 {
			t.Errorf("after ten seconds the log has %d bytes", size)
		}
		if waited := time.Duration(longest.Load()); waited > shutMost {
			t.Errorf("a reader has waited for %s", waited)
		}
	})
}
