package storagetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

// keyed is a delivery of an ordered subscriber, as the tests remember it.
type keyed struct {
	id    webhook.DeliveryID
	key   string
	state webhook.State
	due   time.Time
}

// expected says what is due of the deliveries, which are in their order, so many of
// one key at most unless that is zero, and when the first falls due of which nothing
// stands in the way.
func expected(all []*keyed, now time.Time, onDead webhook.OnDead, skip []webhook.DeliveryID, ofKey int) (due []webhook.DeliveryID, next time.Time) {
	blocked, count := map[string]bool{}, map[string]int{}
	for _, d := range all {
		if blocked[d.key] {
			continue
		}
		block := false
		switch {
		case d.state == webhook.Dead:
			block = onDead != webhook.OnDeadSkip
		case d.state != webhook.Pending:
		case d.due.After(now):
			if block = true; next.IsZero() || d.due.Before(next) {
				next = d.due
			}
		case ofKey > 0 && d.key != "" && count[d.key] == ofKey:
			block = true
		default:
			count[d.key]++
			if !slices.Contains(skip, d.id) {
				due = append(due, d.id)
			}
		}
		blocked[d.key] = block && d.key != ""
	}
	return due, next
}

// testDueInOrder holds the store against expected in random situations.
func testDueInOrder(t *testing.T, open Open) {
	s := open(t)
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		sub := subscriber(t, s, func(sub *webhook.Subscriber) { sub.Ordered = ".data.key" })
		now := start.Add(time.Hour)
		var all []*keyed
		var accepts []webhook.Accept
		for i := range rapid.IntRange(0, 20).Draw(r, "deliveries") {
			a := event(s, fmt.Sprint(round, i), start, sub)
			d := &keyed{id: a.Deliveries[0].ID, key: rapid.SampledFrom([]string{"", "a", "a", "ä"}).Draw(r, "key"), state: webhook.Pending, due: start}
			a.Deliveries[0].OrderKey = d.key
			accepts, all = append(accepts, a), append(all, d)
		}
		accept(t, s, accepts...)
		var results []webhook.Result
		var resent []webhook.DeliveryID
		for _, d := range all {
			switch rapid.SampledFrom([]string{"stays", "stays", "stays", "waits", "overdue", "dies", "delivered", "cancelled", "resent"}).Draw(r, "fate") {
			case "waits":
				d.due = now.Add(time.Duration(rapid.IntRange(1, 60).Draw(r, "seconds")) * time.Second)
			case "overdue":
				d.due = now.Add(-time.Second)
			case "dies":
				d.state = webhook.Dead
			case "delivered":
				d.state = webhook.Delivered
			case "cancelled":
				d.state = webhook.Cancelled
			case "resent":
				resent, d.due = append(resent, d.id), now
				continue
			default:
				continue
			}
			results = append(results, result(d.id, 1, d.state, func(r *webhook.Result) { r.NextAttemptAt = d.due }))
		}
		must(t, s.Record(ctx, results))
		_, err := s.Resend(ctx, resent, now, 0)
		must(t, err)
		var skip []webhook.DeliveryID
		for _, d := range all {
			if d.state == webhook.Pending && !d.due.After(now) && rapid.IntRange(0, 3).Draw(r, "in hand") == 0 {
				skip = append(skip, d.id)
			}
		}
		for _, onDead := range []webhook.OnDead{"", webhook.OnDeadBlock, webhook.OnDeadSkip} {
			for _, limit := range []int{1, 2, 5, 100} {
				ofKey := rapid.IntRange(0, 4).Draw(r, "of one key")
				want, wantNext := expected(all, now, onDead, skip, ofKey)
				jobs, next := due(t, s, sub, now, func(q *webhook.DueQuery) {
					q.Ordered, q.OnDead, q.Skip, q.Limit, q.OfKey = true, onDead, skip, limit, ofKey
				})
				if len(jobs) != min(limit, len(want)) {
					r.Fatalf("of %v, %v came with the limit %d", want, jobIDs(jobs), limit)
				}
				// What fills the answer may leave it open whether there is more.
				open := len(jobs) == limit && !next.IsZero() && !next.After(now)
				if len(jobs) < len(want) && !open || len(jobs) == len(want) && !next.Equal(wantNext) && !open {
					r.Fatalf("%d of %d came, next %v, want %v", len(jobs), len(want), next, wantNext)
				}
				checkOrder(r, jobs, want, all)
			}
		}
	})
}

// checkOrder fails if a job is there that is not wanted, or without the ones of
// its key that are before it, or if they are not in their order.
func checkOrder(r *rapid.T, jobs []webhook.Job, want []webhook.DeliveryID, all []*keyed) {
	got := jobIDs(jobs)
	if stranger := slices.IndexFunc(got, func(id webhook.DeliveryID) bool { return !slices.Contains(want, id) }); stranger >= 0 {
		r.Fatalf("%s came, want some of %v", got[stranger], want)
	}
	if !slices.IsSorted(got) {
		r.Fatalf("not in the order in which they were made: %v", got)
	}
	first := map[string]bool{} // keys of which one was left out
	for _, d := range all {
		if !slices.Contains(want, d.id) {
			continue
		}
		i := slices.Index(got, d.id)
		if i >= 0 && d.key != "" && first[d.key] {
			r.Fatalf("%s came before an earlier one of its key %q", d.id, d.key)
		}
		if i >= 0 && jobs[i].OrderKey != d.key {
			r.Fatalf("%s came with the key %q, want %q", d.id, jobs[i].OrderKey, d.key)
		}
		first[d.key] = first[d.key] || i < 0
	}
}

// testOrderIsFair has one key with much and many with little: none waits for
// ever, however few are asked for at a time.
func testOrderIsFair(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s, func(sub *webhook.Subscriber) { sub.Ordered = ".data.key" })
	var batch []webhook.Accept
	keys := map[webhook.DeliveryID]string{}
	for i := range 300 {
		key := "0 busy"
		switch {
		case i >= 290:
			key = fmt.Sprint("key ", i)
		case i >= 200:
			key = ""
		}
		a := event(s, fmt.Sprint(i), start, sub)
		a.Event.Data = []byte(`"0123456789"`)
		a.Deliveries[0].OrderKey = key
		keys[a.Deliveries[0].ID] = key
		batch = append(batch, a)
	}
	accept(t, s, batch...)
	for _, q := range []webhook.DueQuery{{Limit: 1, Bytes: 1 << 20}, {Limit: 4, Bytes: 1 << 20}, {Limit: 20, Bytes: 1 << 20}, {Limit: 20, Bytes: 30}} {
		q.SubscriberID, q.Now, q.Ordered = sub.ID, start, true
		seen := map[string]bool{}
		for range 30 {
			jobs, next, err := s.Due(ctx, q)
			must(t, err)
			if len(jobs) == 0 || next.IsZero() || next.After(start) {
				t.Fatalf("%d jobs, next %v, although there is more", len(jobs), next)
			}
			for _, j := range jobs {
				seen[keys[j.Delivery]] = true
				q.Skip = append(q.Skip, j.Delivery)
			}
			if len(seen) == 12 {
				break
			}
		}
		if len(seen) != 12 {
			t.Errorf("with at most %d, %d bytes, only %d of 12 keys have come", q.Limit, q.Bytes, len(seen))
		}
	}
}

// testBecomesOrdered changes a subscriber that has pending deliveries.
func testBecomesOrdered(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b := event(s, "a", start, sub), event(s, "b", start, sub)
	accept(t, s, a, b)
	must(t, s.Record(ctx, []webhook.Result{result(b.Deliveries[0].ID, 1, webhook.Dead)}))
	sub.Ordered = ".data.key"
	must(t, s.PutSubscriber(ctx, sub))
	_, err := s.Resend(ctx, []webhook.DeliveryID{b.Deliveries[0].ID}, start, 0)
	must(t, err)
	c := event(s, "c", start, sub)
	c.Deliveries[0].OrderKey = "k"
	accept(t, s, c)
	d := webhook.NewDelivery{ID: s.IDs().Delivery(start), SubscriberID: sub.ID, OrderKey: "k"}
	made, err := s.Replay(ctx, []webhook.Replay{{EventID: a.Event.ID, Delivery: d, DueAt: start}})
	must(t, err)
	if len(made) != 1 || made[0].OrderKey != "k" {
		t.Errorf("the replay made %+v", made)
	}
	want := []webhook.DeliveryID{a.Deliveries[0].ID, b.Deliveries[0].ID, c.Deliveries[0].ID, d.ID}
	jobs, _ := due(t, s, sub, start, func(q *webhook.DueQuery) { q.Ordered = true })
	equal(t, "in order", jobIDs(jobs), want)
	if d := delivery(t, s, a.Deliveries[0].ID); d.OrderKey != "" {
		t.Errorf("one from before has the key %q", d.OrderKey)
	}
	sub.Ordered = ""
	must(t, s.PutSubscriber(ctx, sub))
	jobs, _ = due(t, s, sub, start)
	equal(t, "without order", jobIDs(jobs), want)
}
