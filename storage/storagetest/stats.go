package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pintle/pintle/app/webhook"
)

func stats(t *testing.T, s webhook.Store, q webhook.StatsQuery) webhook.Stats {
	t.Helper()
	stats, err := s.Stats(ctx, q)
	must(t, err)
	return stats
}

func testTotals(t *testing.T, open Open) {
	s := open(t)
	one, two := subscriber(t, s), subscriber(t, s)
	a, b, c := event(s, "a", start, one, two), event(s, "b", start.Add(time.Second), one), event(s, "c", start.Add(2*time.Second), two)
	first, second := a.Deliveries[0].ID, b.Deliveries[0].ID
	check := func(step string, events, attempts, pending, retrying, delivered, dead, cancelled int64, oldest time.Time) {
		t.Helper()
		got := stats(t, s, webhook.StatsQuery{})
		if got.Bytes <= 0 {
			t.Errorf("%s: the store has %d bytes", step, got.Bytes)
		}
		want := webhook.Stats{Events: events, Attempts: attempts, Retrying: retrying, OldestDue: oldest, Deliveries: map[webhook.State]int64{
			webhook.Pending: pending, webhook.Delivered: delivered, webhook.Dead: dead, webhook.Cancelled: cancelled,
		}}
		if events > 0 {
			want.OldestEvent = start
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(webhook.Stats{}, "Bytes", "UnusedBytes", "LogBytes")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	check("empty", 0, 0, 0, 0, 0, 0, 0, time.Time{})
	accept(t, s, a, b, c)
	accept(t, s, event(s, "a", start, one))
	check("accepted", 3, 0, 4, 0, 0, 0, 0, start)
	must(t, s.Record(ctx, []webhook.Result{result(first, 1, webhook.Pending), result(a.Deliveries[1].ID, 1, webhook.Delivered)}))
	check("tried", 3, 2, 3, 1, 1, 0, 0, start.Add(time.Second))
	must(t, s.Record(ctx, []webhook.Result{
		result(first, 2, webhook.Dead, func(r *webhook.Result) { r.DueAt = start.Add(time.Minute) }),
		result(second, 1, webhook.Dead, func(r *webhook.Result) { r.DueAt = start.Add(time.Second) }),
	}))
	check("dead", 3, 4, 1, 0, 1, 2, 0, start.Add(2*time.Second))
	_, err := s.Resend(ctx, []webhook.DeliveryID{first}, start.Add(time.Hour), 0)
	must(t, err)
	check("resent", 3, 4, 2, 1, 1, 1, 0, start.Add(2*time.Second))
	_, err = s.Purge(ctx, []webhook.DeliveryID{second})
	must(t, err)
	check("purged", 3, 4, 2, 1, 1, 0, 0, start.Add(2*time.Second))
	_, err = s.Cancel(ctx, []webhook.DeliveryID{first}, start)
	must(t, err)
	check("cancelled", 3, 4, 1, 0, 1, 0, 1, start.Add(2*time.Second))
	_, err = s.Replay(ctx, []webhook.Replay{{EventID: a.Event.ID, Delivery: webhook.NewDelivery{ID: s.IDs().Delivery(start), SubscriberID: two.ID}, DueAt: start}})
	must(t, err)
	check("replayed", 3, 4, 2, 0, 1, 0, 1, start)
	must(t, s.RemoveSubscriber(ctx, two.ID, start))
	check("removed", 3, 4, 0, 0, 1, 0, 3, time.Time{})
	must(t, s.Close())
	s = open(t)
	check("reopened", 3, 4, 0, 0, 1, 0, 3, time.Time{})
}

func testMinutes(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	minute := start.Truncate(time.Minute)
	a, b := event(s, "a", minute, sub), event(s, "b", minute.Add(3*time.Minute-time.Millisecond), sub)
	accept(t, s, a, b)
	attempt := func(a webhook.Accept, number int, state webhook.State, from time.Time, took time.Duration, outcome webhook.Outcome) {
		must(t, s.Record(ctx, []webhook.Result{result(a.Deliveries[0].ID, number, state, func(r *webhook.Result) {
			r.Attempt.StartedAt, r.Attempt.Duration, r.Attempt.Outcome = from, took, outcome
			r.DueAt, r.NextAttemptAt = a.Event.ReceivedAt, a.Event.ReceivedAt
		})}))
	}
	// The first ends in the minute after the one in which it began.
	attempt(a, 1, webhook.Pending, minute.Add(59*time.Second), 4*time.Second, webhook.Timeout)
	attempt(a, 2, webhook.Pending, minute.Add(time.Minute), time.Millisecond, webhook.Interrupted)
	attempt(a, 3, webhook.Delivered, minute.Add(3*time.Minute), 30*time.Millisecond, webhook.OK)
	attempt(b, 1, webhook.Dead, minute.Add(4*time.Minute), time.Second, webhook.HTTPStatus)
	latency := func(durations ...time.Duration) (h webhook.Histogram) {
		for _, d := range durations {
			h[webhook.Bucket(d)]++
		}
		return h
	}
	all := []webhook.Minute{
		{Start: minute, Events: 1},
		{Start: minute.Add(time.Minute), Traffic: webhook.Traffic{Attempts: 2, Failed: 1, Latency: latency(4*time.Second, time.Millisecond)}},
		{Start: minute.Add(2 * time.Minute), Events: 1},
		{Start: minute.Add(3 * time.Minute), Traffic: webhook.Traffic{Attempts: 1, Delivered: 1, Latency: latency(30 * time.Millisecond)}},
		{Start: minute.Add(4 * time.Minute), Traffic: webhook.Traffic{Attempts: 1, Failed: 1, Dead: 1, Latency: latency(time.Second)}},
	}
	got := stats(t, s, webhook.StatsQuery{MinutesFrom: minute.Add(-time.Hour), MinutesTo: minute.Add(time.Hour)})
	equal(t, "minutes", got.Minutes, all)
	got = stats(t, s, webhook.StatsQuery{MinutesFrom: minute.Add(90 * time.Second), MinutesTo: minute.Add(3 * time.Minute)})
	equal(t, "some minutes", got.Minutes, all[1:4])
}

func testActivity(t *testing.T, open Open) {
	s := open(t)
	busy, idle, waiting := subscriber(t, s), subscriber(t, s), subscriber(t, s)
	a, b, c := event(s, "a", start, busy), event(s, "b", start, busy), event(s, "c", start, busy, waiting)
	accept(t, s, a, b, c)
	must(t, s.Record(ctx, []webhook.Result{
		result(b.Deliveries[0].ID, 1, webhook.Dead, func(r *webhook.Result) { r.Attempt.StartedAt = start.Add(2 * time.Minute) }),
		result(a.Deliveries[0].ID, 1, webhook.Delivered),
		result(c.Deliveries[0].ID, 1, webhook.Pending, func(r *webhook.Result) { r.Attempt.StartedAt = start.Add(time.Minute) }),
	}))
	var latency webhook.Histogram
	latency[webhook.Bucket(1500*time.Microsecond)] = 3
	want := webhook.Activity{
		Traffic: webhook.Traffic{Attempts: 3, Failed: 2, Delivered: 1, Dead: 1, Latency: latency},
		Pending: 1, Retrying: 1, DeadLetters: 1,
		LastAt: start.Add(2*time.Minute + time.Millisecond), LastOutcome: webhook.HTTPStatus, LastCode: 503,
	}
	to := start.Add(time.Hour)
	got := stats(t, s, webhook.StatsQuery{ActivityFrom: start, MinutesTo: to})
	equal(t, "of all that had traffic", got.Activity, map[webhook.SubscriberID]webhook.Activity{busy.ID: want})
	got = stats(t, s, webhook.StatsQuery{ActivityFrom: start, MinutesTo: to, Subscribers: []webhook.SubscriberID{busy.ID, idle.ID, waiting.ID}})
	equal(t, "of those asked for", got.Activity, map[webhook.SubscriberID]webhook.Activity{busy.ID: want, idle.ID: {}, waiting.ID: {Pending: 1}})
	got = stats(t, s, webhook.StatsQuery{ActivityFrom: start.Add(time.Hour), MinutesTo: to, Subscribers: []webhook.SubscriberID{busy.ID}})
	equal(t, "later", got.Activity, map[webhook.SubscriberID]webhook.Activity{busy.ID: {Pending: 1, Retrying: 1, DeadLetters: 1}})
}

func testDeadGroups(t *testing.T, open Open) {
	s := open(t)
	one, two := subscriber(t, s), subscriber(t, s)
	died := func(key string, at time.Duration, to webhook.Subscriber, outcome webhook.Outcome, code int) webhook.DeliveryID {
		a := event(s, key, start.Add(at), to)
		accept(t, s, a)
		must(t, s.Record(ctx, []webhook.Result{result(a.Deliveries[0].ID, 1, webhook.Dead, func(r *webhook.Result) {
			r.DueAt, r.Attempt.Outcome, r.Attempt.Code = a.Event.ReceivedAt, outcome, code
		})}))
		return a.Deliveries[0].ID
	}
	died("1", 0, one, webhook.HTTPStatus, 503)
	died("2", time.Second, one, webhook.HTTPStatus, 503)
	died("3", 2*time.Second, one, webhook.HTTPStatus, 503)
	died("4", 3*time.Second, one, webhook.HTTPStatus, 500)
	died("5", 4*time.Second, two, webhook.Connect, 0)
	died("6", 5*time.Second, two, webhook.Connect, 0)
	purged := died("7", 6*time.Second, two, webhook.DNS, 0)
	_, err := s.Purge(ctx, []webhook.DeliveryID{purged})
	must(t, err)
	got := stats(t, s, webhook.StatsQuery{DeadGroups: true})
	equal(t, "groups", got.DeadGroups, []webhook.DeadGroup{
		{SubscriberID: one.ID, Outcome: webhook.HTTPStatus, Code: 503, Count: 3, Oldest: start, Newest: start.Add(2 * time.Second)},
		{SubscriberID: two.ID, Outcome: webhook.Connect, Count: 2, Oldest: start.Add(4 * time.Second), Newest: start.Add(5 * time.Second)},
		{SubscriberID: one.ID, Outcome: webhook.HTTPStatus, Code: 500, Count: 1, Oldest: start.Add(3 * time.Second), Newest: start.Add(3 * time.Second)},
	})
}
