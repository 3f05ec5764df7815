package dispatch

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// newTestScheduler returns a scheduler that does not run, for one subscriber.
// Its messages are handled by calling them.
func newTestScheduler() (*scheduler, *lane) {
	d := New(Options{Logger: slog.New(slog.DiscardHandler), Concurrency: 10, MaxInFlight: 10})
	d.directory.put(&webhook.Subscriber{ID: "sub", URL: "https://example.com", Events: []webhook.Pattern{"*"}, Active: true})
	d.scheduler.workers = 10 // so that start makes none: the test is the worker
	return d.scheduler, d.scheduler.lane("sub")
}

// waitingIn is how many jobs wait in the lane.
func waitingIn(l *lane) int { return len(l.ready[fresh]) + len(l.ready[retried]) }

// firstStored is when the lane awaits the first delivery that is only in the store.
func firstStored(l *lane) time.Time {
	return webhook.Backlog{Fresh: l.storedDue[fresh], Retries: l.storedDue[retried]}.First()
}

// TestDeliveryIsTakenUpOnce tells the story that a kill test found: a delivery
// for which there was no room when it was announced is fetched after it was
// committed, but before its publisher says so.
func TestDeliveryIsTakenUpOnce(t *testing.T) {
	now := time.Now()
	e := &webhook.Event{Data: []byte("1"), ReceivedAt: now}
	deliveries := []webhook.NewDelivery{{ID: "dlv", SubscriberID: "sub"}}
	job := webhook.Job{Delivery: "dlv", DueAt: now, Event: e}
	orders := map[string]func(s *scheduler, l *lane){
		"fetched before it is accepted": func(s *scheduler, l *lane) {
			s.await(l, fresh, now.Add(-time.Second)) // an older one is in the store: no room
			s.announce(e, deliveries)
			l.fetching = true
			s.fetched(l, fresh, &webhook.DueQuery{}, []webhook.Job{job}, time.Time{}, nil)
			s.accepted(e, deliveries, true)
		},
		"fetched while it is announced": func(s *scheduler, l *lane) {
			l.fetching = true
			s.announce(e, deliveries)
			s.fetched(l, fresh, &webhook.DueQuery{}, []webhook.Job{job}, time.Time{}, nil)
			s.accepted(e, deliveries, true)
		},
		"fetched after it was accepted": func(s *scheduler, l *lane) {
			l.fetching = true
			s.announce(e, deliveries)
			s.accepted(e, deliveries, true)
			s.fetched(l, fresh, &webhook.DueQuery{}, []webhook.Job{job}, time.Time{}, nil)
		},
	}
	for name, play := range orders {
		s, l := newTestScheduler()
		play(s, l)
		if waitingIn(l) != 1 || len(l.known) != 1 || s.bytes != 1 {
			t.Errorf("%s: %d are ready, %d known, %d bytes held; want 1 of each", name, waitingIn(l), len(l.known), s.bytes)
		}
	}
}

// TestRecordedDeliveryIsNotTakenUpAgain is about a fetch that had read a
// delivery before its result was recorded.
func TestRecordedDeliveryIsNotTakenUpAgain(t *testing.T) {
	now := time.Now()
	e := &webhook.Event{Data: []byte("1"), ReceivedAt: now}
	deliveries := []webhook.NewDelivery{{ID: "dlv", SubscriberID: "sub"}}
	job := webhook.Job{Delivery: "dlv", DueAt: now, Event: e}
	s, l := newTestScheduler()
	l.fetching, l.settled = true, map[webhook.DeliveryID]bool{}
	s.announce(e, deliveries)
	s.accepted(e, deliveries, true)
	s.start(now)
	a := <-s.jobs
	s.finished(&trial{assignment: a})
	s.recorded([]trial{{assignment: a, result: webhook.Result{State: webhook.Delivered, Attempt: webhook.Attempt{DeliveryID: "dlv"}}}})
	s.fetched(l, fresh, &webhook.DueQuery{}, []webhook.Job{job}, time.Time{}, nil)
	if waitingIn(l) != 0 || len(l.known) != 0 || s.bytes != 0 {
		t.Errorf("%d are ready, %d known, %d bytes held; want none", waitingIn(l), len(l.known), s.bytes)
	}
}

// TestResentDeliveryIsFetchedOnceItsLastAttemptIsRecorded is about a resend
// that comes while the lane still holds the delivery.
func TestResentDeliveryIsFetchedOnceItsLastAttemptIsRecorded(t *testing.T) {
	now := time.Now()
	e := &webhook.Event{Data: []byte("1"), ReceivedAt: now}
	deliveries := []webhook.NewDelivery{{ID: "dlv", SubscriberID: "sub"}}
	s, l := newTestScheduler()
	s.announce(e, deliveries)
	s.accepted(e, deliveries, true)
	s.start(now)
	a := <-s.jobs
	s.finished(&trial{assignment: a})
	s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: now}, now)
	if !firstStored(l).IsZero() {
		t.Error("the store is asked for a delivery that is held")
	}
	s.recorded([]trial{{assignment: a, result: webhook.Result{State: webhook.Dead, Attempt: webhook.Attempt{DeliveryID: "dlv"}}}})
	if !firstStored(l).Equal(now) {
		t.Errorf("the resent delivery is awaited at %v, want %v", firstStored(l), now)
	}
}

// TestGoneReceiverIsSentNothingMore holds from the answer 410 on, before the
// pause that follows from it is stored.
func TestGoneReceiverIsSentNothingMore(t *testing.T) {
	now := time.Now()
	s, l := newTestScheduler()
	for _, id := range []webhook.DeliveryID{"1", "2"} {
		deliveries := []webhook.NewDelivery{{ID: id, SubscriberID: "sub"}}
		e := &webhook.Event{ReceivedAt: now}
		s.announce(e, deliveries)
		s.accepted(e, deliveries, true)
		if id == "1" {
			s.start(now)
			a := <-s.jobs
			s.finished(&trial{assignment: a, gone: true})
		}
	}
	s.start(now)
	if len(s.jobs) > 0 {
		t.Error("a receiver that is gone was sent another delivery")
	}
	resumed := *l.subscriber
	s.changed(&resumed)
	s.start(now)
	if len(s.jobs) != 1 {
		t.Error("a receiver that was taken up again is sent nothing")
	}
}

// TestGoneReceiverIsRememberedUntilThePauseIsStored is about a lane that would
// have been forgotten, since nothing waits in it.
func TestGoneReceiverIsRememberedUntilThePauseIsStored(t *testing.T) {
	now := time.Now()
	s, l := newTestScheduler()
	e := &webhook.Event{ReceivedAt: now}
	offer := func(id webhook.DeliveryID) {
		deliveries := []webhook.NewDelivery{{ID: id, SubscriberID: "sub"}}
		s.announce(e, deliveries)
		s.accepted(e, deliveries, true)
		s.start(now)
	}
	offer("1")
	last := trial{assignment: <-s.jobs, gone: true}
	last.result = webhook.Result{Attempt: webhook.Attempt{DeliveryID: "1"}, State: webhook.Dead}
	s.finished(&last)
	s.recorded([]trial{last})
	offer("2")
	if len(s.jobs) > 0 {
		t.Error("a receiver that is gone was sent another delivery")
	}
	s.cancelled(&webhook.Delivery{ID: "2", SubscriberID: "sub"}, now)
	paused := *l.subscriber
	paused.Active = false
	s.d.directory.put(&paused)
	s.changed(&paused)
	if len(s.lanes) > 0 {
		t.Error("a lane with nothing to do is kept after the pause")
	}
}

// TestHoldOutlivesAChangeOfOtherThings is about Retry-After.
func TestHoldOutlivesAChangeOfOtherThings(t *testing.T) {
	s, l := newTestScheduler()
	l.heldUntil = time.Now().Add(time.Minute)
	described := *l.subscriber
	described.Description = "new"
	s.changed(&described)
	if l.heldUntil.IsZero() {
		t.Error("a new description ended the hold")
	}
	moved := described
	moved.URL = "https://elsewhere.example"
	s.changed(&moved)
	if !l.heldUntil.IsZero() {
		t.Error("another receiver is held too")
	}
}

// TestRetryIsAwaitedWhenRefusedEventsMakeRoom is about a lane that was full of
// announcements when its retry was recorded.
func TestRetryIsAwaitedWhenRefusedEventsMakeRoom(t *testing.T) {
	now := time.Now()
	s, l := newTestScheduler()
	e := &webhook.Event{ReceivedAt: now}
	var announced []webhook.NewDelivery
	for i := range laneRoom {
		announced = append(announced, webhook.NewDelivery{ID: webhook.DeliveryID(rune('a' + i)), SubscriberID: "sub"})
	}
	s.announce(e, announced)
	s.await(l, fresh, now.Add(time.Second))
	if l.position >= 0 {
		t.Fatal("a full lane has an alarm")
	}
	s.accepted(e, announced, false)
	if l.position < 0 || !l.wakeAt.Equal(now.Add(time.Second)) {
		t.Errorf("the retry is not awaited: alarm %d at %v", l.position, l.wakeAt)
	}
}

// TestResentDeliveryThatWaitsTakesTheNewTerms keeps it from being sent twice.
func TestResentDeliveryThatWaitsTakesTheNewTerms(t *testing.T) {
	now := time.Now()
	s, l := newTestScheduler()
	s.hold(l, "dlv", held{})
	l.push(webhook.Job{Delivery: "dlv", Spent: 5, DueAt: now, Event: &webhook.Event{}})
	later := now.Add(time.Second)
	s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: later}, later)
	if j := l.ready[retried][0]; j.Spent != 0 || !j.DueAt.Equal(later) || len(l.again) > 0 || !firstStored(l).IsZero() {
		t.Errorf("the waiting job is %+v, again %v, stored %v", j, l.again, firstStored(l))
	}
}

// TestNewTermsHoldWhereverTheDeliveryIs plays every place in which a resend or a
// cancel can find a delivery. What counts in the end is what the lane holds, and
// whether it asks the store, which knows the terms.
func TestNewTermsHoldWhereverTheDeliveryIs(t *testing.T) {
	now := time.Now()
	due := now.Add(time.Minute)
	e := &webhook.Event{Data: []byte("1"), ReceivedAt: now}
	deliveries := []webhook.NewDelivery{{ID: "dlv", SubscriberID: "sub"}}
	job := webhook.Job{Delivery: "dlv", Spent: 3, DueAt: now, Event: e}
	beginFetch := func(l *lane) {
		l.fetching, l.settled, l.storedDue = true, map[webhook.DeliveryID]bool{}, [classes]time.Time{}
	}
	places := map[string]struct {
		before, after func(s *scheduler, l *lane)
		// awaited says that the store is asked for the delivery after a cancel
		// too, and finds nothing.
		awaited bool
	}{
		"announced": {
			before: func(s *scheduler, l *lane) { s.announce(e, deliveries) },
			after:  func(s *scheduler, l *lane) { s.accepted(e, deliveries, true) }, awaited: true,
		},
		"announced, and read by a fetch": {
			before: func(s *scheduler, l *lane) {
				beginFetch(l)
				s.announce(e, deliveries)
			},
			after: func(s *scheduler, l *lane) {
				s.fetched(l, fresh, &webhook.DueQuery{}, []webhook.Job{job}, time.Time{}, nil)
				s.accepted(e, deliveries, true)
			}, awaited: true,
		},
		"ready": {
			before: func(s *scheduler, l *lane) {
				s.announce(e, deliveries)
				s.accepted(e, deliveries, true)
			},
			after: func(s *scheduler, l *lane) {},
		},
		"ready, and read by a fetch": {
			before: func(s *scheduler, l *lane) {
				beginFetch(l)
				s.announce(e, deliveries)
				s.accepted(e, deliveries, true)
			},
			after: func(s *scheduler, l *lane) {
				s.fetched(l, fresh, &webhook.DueQuery{}, []webhook.Job{job}, time.Time{}, nil)
			},
		},
		"only in the store": {
			before: func(s *scheduler, l *lane) {},
			after:  func(s *scheduler, l *lane) {},
		},
		"just read by a fetch": {
			before: func(s *scheduler, l *lane) { beginFetch(l) },
			after: func(s *scheduler, l *lane) {
				s.fetched(l, fresh, &webhook.DueQuery{}, []webhook.Job{job}, time.Time{}, nil)
			},
		},
	}
	for name, place := range places {
		t.Run("resend "+name, func(t *testing.T) {
			s, l := newTestScheduler()
			place.before(s, l)
			s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: due}, now)
			place.after(s, l)
			if waitingIn(l) != 0 || len(l.known) != 0 || s.bytes != 0 || firstStored(l).IsZero() || firstStored(l).After(due) {
				t.Errorf("%d are ready, %d known, %d bytes held, the store is asked at %v", waitingIn(l), len(l.known), s.bytes, firstStored(l))
			}
		})
		t.Run("cancel "+name, func(t *testing.T) {
			s, l := newTestScheduler()
			place.before(s, l)
			s.cancelled(&webhook.Delivery{ID: "dlv", SubscriberID: "sub"}, now)
			place.after(s, l)
			if l = s.lane("sub"); waitingIn(l) != 0 || len(l.known) != 0 || s.bytes != 0 || firstStored(l).IsZero() == place.awaited {
				t.Errorf("%d are ready, %d known, %d bytes held, the store is asked at %v", waitingIn(l), len(l.known), s.bytes, firstStored(l))
			}
		})
		t.Run("cancel and resend "+name, func(t *testing.T) {
			s, l := newTestScheduler()
			place.before(s, l)
			s.cancelled(&webhook.Delivery{ID: "dlv", SubscriberID: "sub"}, now)
			s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: now}, now)
			place.after(s, l)
			if l = s.lane("sub"); waitingIn(l) != 0 || !firstStored(l).Equal(now) {
				t.Errorf("%d are ready, the store is asked at %v, want %v", waitingIn(l), firstStored(l), now)
			}
		})
	}
}

// TestCancelledDeliveryInFlightIsForgottenWithItsResult is about a cancel, and
// a resend after it, that come while a request is under way.
func TestCancelledDeliveryInFlightIsForgottenWithItsResult(t *testing.T) {
	now := time.Now()
	for _, resend := range []bool{false, true} {
		s, l := newTestScheduler()
		e := &webhook.Event{ReceivedAt: now}
		deliveries := []webhook.NewDelivery{{ID: "dlv", SubscriberID: "sub"}}
		s.announce(e, deliveries)
		s.accepted(e, deliveries, true)
		s.start(now)
		a := <-s.jobs
		s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: now}, now)
		s.cancelled(&webhook.Delivery{ID: "dlv", SubscriberID: "sub"}, now)
		if resend {
			s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: now}, now)
		}
		if len(l.known) != 1 {
			t.Error("a delivery in flight is not known any more")
		}
		s.finished(&trial{assignment: a})
		s.recorded([]trial{{assignment: a, result: webhook.Result{State: webhook.Delivered, Attempt: webhook.Attempt{DeliveryID: "dlv"}}}})
		if len(l.known) != 0 || firstStored(l).IsZero() == resend {
			t.Errorf("resent %v: %d are known, the store is asked at %v", resend, len(l.known), firstStored(l))
		}
	}
}

// TestNewsOfAnOutageChangeNoTerms is about what only a person's change ends.
func TestNewsOfAnOutageChangeNoTerms(t *testing.T) {
	s, l := newTestScheduler()
	l.heldUntil, l.gone = time.Now().Add(time.Minute), true
	failing := *l.subscriber
	failing.FailingSince = time.Now()
	target := l.target
	s.noted(&failing)
	if l.heldUntil.IsZero() || !l.gone || l.target != target || l.subscriber != &failing {
		t.Errorf("the lane is %+v", l)
	}
}

// TestAnswersOfAnotherReceiverSayNothing is about attempts that end after the
// subscriber was given another URL.
func TestAnswersOfAnotherReceiverSayNothing(t *testing.T) {
	s, l := newTestScheduler()
	former := *l.subscriber
	former.URL = "https://former.example"
	late := trial{assignment: assignment{lane: l, subscriber: &former}}
	late.result.Attempt.Outcome = webhook.Timeout
	s.weigh(&late, time.Now())
	if l.health.failures != 0 {
		t.Error("a failure of the former receiver counts")
	}
	late.assignment.subscriber = l.subscriber
	s.weigh(&late, time.Now())
	if l.health.failures != 1 {
		t.Error("a failure of the receiver does not count")
	}
}

// TestFailedProbeGoesToTheEndOfTheLine keeps a delivery that fails by its own
// fault from being the only one that is tried in an outage.
func TestFailedProbeGoesToTheEndOfTheLine(t *testing.T) {
	s, l := newTestScheduler()
	now := time.Now()
	probe := trial{assignment: assignment{lane: l, subscriber: l.subscriber, probe: true, job: webhook.Job{Spent: 3, DueAt: now.Add(-time.Hour)}}}
	probe.result.Attempt.Outcome = webhook.Timeout
	s.d.judge(&probe, now)
	if r := probe.result; r.State != webhook.Pending || r.Spent != 3 || !r.NextAttemptAt.Equal(now) {
		t.Errorf("a failed probe leaves its delivery %s, with %d spent and due at %s", r.State, r.Spent, r.NextAttemptAt)
	}
}

// TestLaneInAnOutageHoldsOneDeliveryInMemory: many lanes can be in one, for days.
func TestLaneInAnOutageHoldsOneDeliveryInMemory(t *testing.T) {
	now := time.Now()
	s, l := newTestScheduler()
	l.health.policy = webhook.HoldPolicy{Hold: true, Failures: 1}
	s.d.outages.put("sub", time.Time{}) // somebody is storing it already
	e := &webhook.Event{ReceivedAt: now}
	for _, id := range []webhook.DeliveryID{"1", "2", "3"} {
		deliveries := []webhook.NewDelivery{{ID: id, SubscriberID: "sub"}}
		s.announce(e, deliveries)
		s.accepted(e, deliveries, true)
	}
	job, _ := l.take()
	s.begin(l, job, now)
	failed := trial{assignment: <-s.jobs}
	failed.result = webhook.Result{State: webhook.Pending, Spent: 1, Attempt: webhook.Attempt{DeliveryID: job.Delivery, Outcome: webhook.Connect}}
	s.finished(&failed)
	if waitingIn(l) != 0 || !firstStored(l).Equal(now) {
		t.Errorf("%d still wait in memory, and the store is asked at %v", waitingIn(l), firstStored(l))
	}
	s.recorded([]trial{failed})
	if s.room(l, fresh) != 1 || s.room(l, retried) != 1 {
		t.Errorf("there is room for %d and %d", s.room(l, fresh), s.room(l, retried))
	}
	s.hold(l, "probe", held{})
	if s.room(l, fresh) > 0 || s.room(l, retried) > 0 {
		t.Error("there is room beside the next probe")
	}
}

// TestFreshDeliveriesAndRetriesLeaveRoomToEachOther in memory: neither can keep the
// other in the store for ever.
func TestFreshDeliveriesAndRetriesLeaveRoomToEachOther(t *testing.T) {
	s, l := newTestScheduler()
	fill := func(c class) (n int) {
		for s.room(l, c) > 0 {
			s.hold(l, webhook.DeliveryID(fmt.Sprint(c, n)), held{class: c})
			n++
		}
		return n
	}
	if n := fill(fresh); n != laneRoom {
		t.Errorf("%d fresh ones fit where there are no retries", n)
	}
	s, l = newTestScheduler()
	l.storedDue[retried] = time.Now()
	if n, m := fill(fresh), fill(retried); n != freshRoom || m < l.worthwhile(retried) {
		t.Errorf("%d fresh ones leave room for %d retries", n, m)
	}
	s, l = newTestScheduler()
	if n, m := fill(retried), fill(fresh); n != retryRoom || m != laneRoom-retryRoom {
		t.Errorf("%d retries leave room for %d fresh ones", n, m)
	}
}

// TestOrderBeginsAndEndsWithWhatIsStored: a lane that becomes ordered, or ceases to
// be, leaves what waits in it to the store, and asks for it as it must from then on.
func TestOrderBeginsAndEndsWithWhatIsStored(t *testing.T) {
	now := time.Now()
	s, l := newTestScheduler()
	for i, spent := range []int{0, 2} {
		id := webhook.DeliveryID(fmt.Sprint(i))
		s.hold(l, id, held{class: l.classOf(spent)})
		l.push(webhook.Job{Delivery: id, Spent: spent, DueAt: now.Add(-time.Duration(i) * time.Second), Event: &webhook.Event{}})
	}
	ordered := *l.subscriber
	ordered.Ordered = webhook.OrderedStrictly
	s.changed(&ordered)
	if waitingIn(l) != 0 || !l.storedDue[fresh].Equal(now.Add(-time.Second)) || !l.storedDue[retried].IsZero() {
		t.Errorf("ordered: %d wait in memory, the store is asked at %v", waitingIn(l), l.storedDue)
	}
	free := ordered
	free.Ordered = ""
	s.changed(&free)
	if l.storedDue[fresh].IsZero() || l.storedDue[retried].IsZero() {
		t.Errorf("not ordered any more: the store is asked at %v", l.storedDue)
	}
}

// TestWhatADeadLetterBlocksIsLookedForWhenItDoesNotAnyMore is about a lane that is
// busy with another key.
func TestWhatADeadLetterBlocksIsLookedForWhenItDoesNotAnyMore(t *testing.T) {
	s, l := newTestScheduler()
	ordered := *l.subscriber
	ordered.Ordered = webhook.OrderedStrictly
	s.changed(&ordered)
	l = s.lane("sub")
	l.subscriber = &ordered
	l.inFlight, l.storedDue = 1, [classes]time.Time{}
	skipping := ordered
	skipping.OnDead = webhook.OnDeadSkip
	s.changed(&skipping)
	if firstStored(l).IsZero() {
		t.Error("the store is not asked")
	}
}

// TestPlacesAreGivenBackAsTheyWereTaken, though the standing of the lane has changed
// meanwhile.
func TestPlacesAreGivenBackAsTheyWereTaken(t *testing.T) {
	now := time.Now()
	s, l := newTestScheduler()
	e := &webhook.Event{ReceivedAt: now}
	var trials []trial
	for _, id := range []webhook.DeliveryID{"1", "2"} {
		deliveries := []webhook.NewDelivery{{ID: id, SubscriberID: "sub"}}
		s.announce(e, deliveries)
		s.accepted(e, deliveries, true)
		job, _ := l.take()
		s.begin(l, job, now)
		trials = append(trials, trial{assignment: <-s.jobs, result: webhook.Result{
			State: webhook.Delivered, Attempt: webhook.Attempt{DeliveryID: id, Outcome: webhook.OK},
		}})
	}
	if s.placed[unproven] != 2 {
		t.Errorf("taken: %v", s.placed)
	}
	for i := range trials {
		s.finished(&trials[i])
	}
	if s.placed != [standings]int{} || l.health.standing != trusted {
		t.Errorf("left: %v, and the lane is %v", s.placed, l.health.standing)
	}
}

// TestSilenceThatAReceiverWantsIsNoSignOfHealth: its recovery goes on after it.
func TestSilenceThatAReceiverWantsIsNoSignOfHealth(t *testing.T) {
	s, l := newTestScheduler()
	now := time.Now()
	l.health.recover(now)
	s.weigh(&trial{
		assignment: assignment{lane: l, subscriber: l.subscriber}, retryAfter: time.Minute,
		result: webhook.Result{Attempt: webhook.Attempt{Outcome: webhook.OK}},
	}, now)
	now = now.Add(time.Minute)
	l.health.begun(now)
	if l.health.rate == 0 {
		t.Error("nothing was sent for a minute, as the receiver wished, and it counts as recovered")
	}
}

// TestFuseIsAsNewOnceItsFilterHasAnswered: the waits of the next time begin with the
// first again.
func TestFuseIsAsNewOnceItsFilterHasAnswered(t *testing.T) {
	var f fuses
	sub, now := &webhook.Subscriber{ID: "sub"}, time.Now()
	f.blow(sub, now)
	f.blow(sub, now)
	if !f.blown(sub, now.Add(2*fuseWait-1)) || f.blown(sub, now.Add(2*fuseWait)) {
		t.Error("blown twice, it does not wait twice as long")
	}
	f.mend(sub)
	f.blow(sub, now)
	if !f.blown(sub, now.Add(fuseWait-1)) || f.blown(sub, now.Add(fuseWait)) {
		t.Error("mended, it does not wait as at first")
	}
}

// TestOtherKeysAreFetchedWhileAllThatIsInMemoryWaits, however little room there is.
func TestOtherKeysAreFetchedWhileAllThatIsInMemoryWaits(t *testing.T) {
	s, l := newTestScheduler()
	ordered := *l.subscriber
	ordered.Ordered = ".data.key"
	s.changed(&ordered)
	l = s.lane("sub")
	l.subscriber, l.storedDue = &ordered, [classes]time.Time{fresh: time.Now()}
	for i := range laneRoom - 1 {
		id := webhook.DeliveryID(fmt.Sprintf("%03d", i))
		s.hold(l, id, held{})
		l.push(webhook.Job{Delivery: id, OrderKey: "slow", Event: &webhook.Event{}})
	}
	if s.fetchable(l, fresh) {
		t.Error("the store is asked for one more while a delivery can begin")
	}
	l.take()
	if !s.fetchable(l, fresh) {
		t.Error("the store is not asked for other keys")
	}
}

// TestWhatWasResentInItsPlaceIsLookedForWhereItIs tells the story that a random one
// found: a retry that waits in memory is resent, and its subscriber paused.
func TestWhatWasResentInItsPlaceIsLookedForWhereItIs(t *testing.T) {
	s, l := newTestScheduler()
	now := time.Now()
	s.hold(l, "dlv", held{class: retried})
	l.push(webhook.Job{Delivery: "dlv", Spent: 1, DueAt: now, Event: &webhook.Event{}})
	s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: now}, now)
	paused := *l.subscriber
	paused.Active = false
	s.changed(&paused)
	if l.storedDue[fresh].IsZero() {
		t.Errorf("the store is asked at %v", l.storedDue)
	}
}
