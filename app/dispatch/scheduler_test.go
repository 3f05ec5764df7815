package dispatch

import (
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
			s.await(l, now.Add(-time.Second)) // an older one is in the store: no room
			s.announce(e, deliveries)
			l.fetching = true
			s.fetched(l, []webhook.Job{job}, time.Time{}, nil)
			s.accepted(e, deliveries, true)
		},
		"fetched while it is announced": func(s *scheduler, l *lane) {
			l.fetching = true
			s.announce(e, deliveries)
			s.fetched(l, []webhook.Job{job}, time.Time{}, nil)
			s.accepted(e, deliveries, true)
		},
		"fetched after it was accepted": func(s *scheduler, l *lane) {
			l.fetching = true
			s.announce(e, deliveries)
			s.accepted(e, deliveries, true)
			s.fetched(l, []webhook.Job{job}, time.Time{}, nil)
		},
	}
	for name, play := range orders {
		s, l := newTestScheduler()
		play(s, l)
		if len(l.ready) != 1 || len(l.known) != 1 || s.bytes != 1 {
			t.Errorf("%s: %d are ready, %d known, %d bytes held; want 1 of each", name, len(l.ready), len(l.known), s.bytes)
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
	s.finished(a, 0)
	s.recorded([]trial{{assignment: a, result: webhook.Result{State: webhook.Delivered, Attempt: webhook.Attempt{DeliveryID: "dlv"}}}})
	s.fetched(l, []webhook.Job{job}, time.Time{}, nil)
	if len(l.ready) != 0 || len(l.known) != 0 || s.bytes != 0 {
		t.Errorf("%d are ready, %d known, %d bytes held; want none", len(l.ready), len(l.known), s.bytes)
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
	s.finished(a, 0)
	s.resent(&webhook.Delivery{ID: "dlv", SubscriberID: "sub", NextAttemptAt: now})
	if !l.storedDue.IsZero() {
		t.Error("the store is asked for a delivery that is held")
	}
	s.recorded([]trial{{assignment: a, result: webhook.Result{State: webhook.Dead, Attempt: webhook.Attempt{DeliveryID: "dlv"}}}})
	if !l.storedDue.Equal(now) {
		t.Errorf("the resent delivery is awaited at %v, want %v", l.storedDue, now)
	}
}
