package storagetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

func testDue(t *testing.T, open Open) {
	s := open(t)
	sub, other := subscriber(t, s), subscriber(t, s)
	var want []webhook.DeliveryID
	for i, at := range []time.Duration{0, time.Second, 2 * time.Second} {
		a := event(s, fmt.Sprint(i), start.Add(at), sub, other)
		accept(t, s, a)
		want = append(want, a.Deliveries[0].ID)
	}
	// The first is retried after all the others have been made.
	must(t, s.Record(ctx, []webhook.Result{result(want[0], 1, webhook.Pending)}))
	jobs, next := due(t, s, sub, start.Add(time.Second))
	if len(jobs) != 1 || jobs[0].Delivery != want[1] || !next.Equal(start.Add(2*time.Second)) {
		t.Errorf("after a second: %v, next %v", jobs, next)
	}
	jobs, next = due(t, s, sub, start.Add(time.Minute))
	if len(jobs) != 2 || jobs[0].Delivery != want[1] || jobs[1].Delivery != want[2] || !next.IsZero() {
		t.Errorf("after a minute: %v, next %v", jobs, next)
	}
	jobs, next = due(t, s, sub, start.Add(-time.Second))
	if len(jobs) != 0 || !next.Equal(start.Add(time.Second)) {
		t.Errorf("before the first: %v, next %v", jobs, next)
	}
	jobs, next = due(t, s, sub, start.Add(time.Minute-1), retries)
	if len(jobs) != 0 || !next.Equal(start.Add(time.Minute)) {
		t.Errorf("retries within the minute: %v, next %v", jobs, next)
	}
	jobs, next = due(t, s, sub, start.Add(time.Minute), retries)
	if len(jobs) != 1 || jobs[0].Delivery != want[0] || !next.IsZero() {
		t.Fatalf("retries after a minute: %v, next %v", jobs, next)
	}
	j := jobs[0]
	if j.Attempts != 1 || j.Spent != 1 || !j.DueAt.Equal(start.Add(time.Minute)) || string(j.Event.Data) != `{"order_id":"A12345"}` || j.LastOutcome != webhook.HTTPStatus {
		t.Errorf("a retry came as %+v", j)
	}
	// One that was interrupted is no retry, and neither is one that was resent.
	must(t, s.Record(ctx, []webhook.Result{result(want[1], 1, webhook.Pending, func(r *webhook.Result) { r.DueAt, r.Spent = start.Add(time.Second), 0 })}))
	_, err := s.Resend(ctx, want[:1], start, 0)
	must(t, err)
	jobs, _ = due(t, s, sub, start.Add(time.Minute))
	equal(t, "what has spent nothing", jobIDs(jobs), []webhook.DeliveryID{want[0], want[2], want[1]})
}

func testDueBounds(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	var ids []webhook.DeliveryID
	for i := range 5 {
		a := event(s, fmt.Sprint(i), start.Add(time.Duration(i)*time.Second), sub)
		a.Event.Data = []byte(`"` + strings.Repeat("x", 998) + `"`)
		accept(t, s, a)
		ids = append(ids, a.Deliveries[0].ID)
	}
	tests := []struct {
		name  string
		query webhook.DueQuery
		want  []webhook.DeliveryID
		next  int // the index of the first that is left
	}{
		{"limit", webhook.DueQuery{Limit: 2, Bytes: 1 << 20}, ids[:2], 2},
		{"bytes", webhook.DueQuery{Limit: 10, Bytes: 3000}, ids[:3], 3},
		{"one however large", webhook.DueQuery{Limit: 10, Bytes: 1}, ids[:1], 1},
		{"skip", webhook.DueQuery{Limit: 2, Bytes: 1 << 20, Skip: []webhook.DeliveryID{ids[0], ids[2]}}, []webhook.DeliveryID{ids[1], ids[3]}, 4},
		{"skip the rest", webhook.DueQuery{Limit: 3, Bytes: 1 << 20, Skip: ids[3:]}, ids[:3], -1},
	}
	for _, tt := range tests {
		tt.query.SubscriberID, tt.query.Now = sub.ID, start.Add(time.Hour)
		jobs, next, err := s.Due(ctx, tt.query)
		must(t, err)
		var got []webhook.DeliveryID
		for _, j := range jobs {
			got = append(got, j.Delivery)
		}
		equal(t, tt.name, got, tt.want)
		want := time.Time{}
		if tt.next >= 0 {
			want = start.Add(time.Duration(tt.next) * time.Second)
		}
		if !next.Equal(want) {
			t.Errorf("%s: next is %v, want %v", tt.name, next, want)
		}
	}
}

func testBacklog(t *testing.T, open Open) {
	s := open(t)
	one, two, idle := subscriber(t, s), subscriber(t, s), subscriber(t, s)
	accept(t, s, event(s, "1", start.Add(time.Second), one, two), event(s, "2", start, one))
	done := event(s, "3", start, idle)
	accept(t, s, done)
	must(t, s.Record(ctx, []webhook.Result{result(done.Deliveries[0].ID, 1, webhook.Delivered)}))
	retried := event(s, "4", start, one)
	accept(t, s, retried)
	must(t, s.Record(ctx, []webhook.Result{result(retried.Deliveries[0].ID, 1, webhook.Pending)}))
	backlog, err := s.Backlog(ctx, webhook.SetBack{})
	must(t, err)
	equal(t, "backlog", backlog, map[webhook.SubscriberID]webhook.Backlog{
		one.ID: {Fresh: start, Retries: start.Add(time.Minute)}, two.ID: {Fresh: start.Add(time.Second)},
	})
}

// testSetBack has the clock set back by three hours, after one delivery was made,
// one has failed, and one was held by its sender.
func testSetBack(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	later := start.Add(3 * time.Hour)
	made, failed, held := event(s, "1", later, sub), event(s, "2", later, sub), event(s, "3", later.Add(-time.Second), sub)
	accept(t, s, made, failed, held)
	must(t, s.Record(ctx, []webhook.Result{result(failed.Deliveries[0].ID, 1, webhook.Pending, func(r *webhook.Result) {
		r.Attempt.StartedAt, r.Attempt.Duration = later.Add(-time.Second), time.Second
		r.DueAt, r.NextAttemptAt = later, later.Add(time.Minute)
	})}))
	dueAt := func(a webhook.Accept) time.Duration {
		t.Helper()
		return delivery(t, s, a.Deliveries[0].ID).NextAttemptAt.Sub(start)
	}
	want := func(what string, clock webhook.SetBack, m, f, h time.Duration) {
		t.Helper()
		backlog, err := s.Backlog(ctx, clock)
		must(t, err)
		if dueAt(made) != m || dueAt(failed) != f || dueAt(held) != h {
			t.Errorf("%s: due after %s, %s and %s; want %s, %s and %s", what, dueAt(made), dueAt(failed), dueAt(held), m, f, h)
		}
		equal(t, what, backlog, map[webhook.SubscriberID]webhook.Backlog{sub.ID: {Fresh: start.Add(min(m, h)), Retries: start.Add(f)}})
	}
	const hours = 3 * time.Hour
	want("nothing was set back", webhook.SetBack{To: later}, hours, hours+time.Minute, hours-time.Second)
	want("it is not asked", webhook.SetBack{}, hours, hours+time.Minute, hours-time.Second)
	want("set back before the start", webhook.SetBack{To: start, Held: []webhook.DeliveryID{held.Deliveries[0].ID}}, 0, time.Minute, hours-time.Second)
	want("asked once more, as after a restart", webhook.SetBack{To: start.Add(time.Second)}, 0, time.Minute, hours-time.Second)
	want("set back by an hour more, while running", webhook.SetBack{From: start, To: start.Add(-time.Hour)}, -time.Hour, time.Minute-time.Hour, hours-time.Hour-time.Second)
	want("told so again, as after an answer that was lost", webhook.SetBack{From: start, To: start.Add(-time.Hour)}, -time.Hour, time.Minute-time.Hour, hours-time.Hour-time.Second)
	want("made good for when it was later already", webhook.SetBack{From: start.Add(-2 * time.Hour), To: start.Add(-time.Hour)},
		-time.Hour, time.Minute-time.Hour, hours-time.Hour-time.Second)
	want("of one only", webhook.SetBack{From: start.Add(-time.Hour), To: start.Add(-3 * time.Hour), Only: []webhook.DeliveryID{made.Deliveries[0].ID}},
		-3*time.Hour, time.Minute-time.Hour, hours-time.Hour-time.Second)
	// What is stored at a later time than any before counts again.
	accept(t, s, event(s, "4", later.Add(time.Hour), subscriber(t, s)))
	_, err := s.Backlog(ctx, webhook.SetBack{To: start})
	must(t, err)
	if dueAt(held) != 0 {
		t.Errorf("set back once more: due after %s", dueAt(held))
	}
}

func testRecord(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b := event(s, "a", start, sub), event(s, "b", start, sub)
	accept(t, s, a, b)
	first, second := a.Deliveries[0].ID, b.Deliveries[0].ID
	failed := result(first, 1, webhook.Pending, func(r *webhook.Result) {
		r.Attempt.Outcome, r.Attempt.Code, r.Attempt.Error = webhook.Connect, 0, "connection refused"
	})
	ok := result(first, 2, webhook.Delivered, func(r *webhook.Result) {
		r.DueAt, r.Attempt.ResponseBody = start.Add(time.Minute), []byte("thanks\xff")
		r.Attempt.RemoteAddr, r.Attempt.RequestHeader, r.Attempt.ResponseHeader = "192.0.2.1:443", "A: 1\nB: 2\n", "C: 3\n"
		r.Attempt.Timing = webhook.Timing{DNS: time.Microsecond, Connect: 2 * time.Millisecond, TLS: 3 * time.Millisecond, Wait: time.Second}
	})
	dead := result(second, 1, webhook.Dead)
	must(t, s.Record(ctx, []webhook.Result{failed}))
	equal(t, "retried", delivery(t, s, first), webhook.Delivery{
		ID: first, EventID: a.Event.ID, EventType: "order.created", SubscriberID: sub.ID, State: webhook.Pending,
		Attempts: 1, Spent: 1, NextAttemptAt: start.Add(time.Minute), CreatedAt: start, LastOutcome: webhook.Connect,
		LastError: "connection refused", LastDuration: 1500 * time.Microsecond,
	})
	must(t, s.Record(ctx, []webhook.Result{ok, dead}))
	equal(t, "delivered", delivery(t, s, first), webhook.Delivery{
		ID: first, EventID: a.Event.ID, EventType: "order.created", SubscriberID: sub.ID, State: webhook.Delivered,
		Attempts: 2, Spent: 2, CreatedAt: start, FinishedAt: start.Add(time.Millisecond), LastOutcome: webhook.OK, LastCode: 200,
		LastDuration: 1500 * time.Microsecond,
	})
	if d := delivery(t, s, second); d.State != webhook.Dead || d.LastCode != 503 {
		t.Errorf("dead letter is %+v", d)
	}
	attempts, err := s.Attempts(ctx, first)
	must(t, err)
	equal(t, "attempts", attempts, []webhook.Attempt{failed.Attempt, ok.Attempt})
	if jobs, next := due(t, s, sub, start.Add(time.Hour)); len(jobs) > 0 || !next.IsZero() {
		t.Errorf("still due: %v, next %v", jobs, next)
	}
}

func testRecordLate(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a := event(s, "a", start, sub)
	accept(t, s, a)
	must(t, s.RemoveSubscriber(ctx, sub.ID, start))
	unknown := s.IDs().Delivery(start)
	must(t, s.Record(ctx, []webhook.Result{
		result(a.Deliveries[0].ID, 1, webhook.Delivered), result(unknown, 1, webhook.Delivered), result("dlv_nobody's", 1, webhook.Delivered),
	}))
	if d := delivery(t, s, a.Deliveries[0].ID); d.State != webhook.Cancelled || d.Attempts != 1 {
		t.Errorf("the cancelled delivery became %+v", d)
	}
	attempts, err := s.Attempts(ctx, a.Deliveries[0].ID)
	must(t, err)
	if len(attempts) != 1 {
		t.Errorf("%d attempts are kept, want 1", len(attempts))
	}
}

func testRecordAfterResend(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a := event(s, "a", start, sub)
	accept(t, s, a)
	id, at := a.Deliveries[0].ID, start.Add(time.Second)
	_, err := s.Resend(ctx, []webhook.DeliveryID{id}, at, 0)
	must(t, err)
	must(t, s.Record(ctx, []webhook.Result{result(id, 1, webhook.Dead)}))
	if d := delivery(t, s, id); d.State != webhook.Pending || d.Attempts != 1 || d.Spent != 0 || !d.NextAttemptAt.Equal(at) || d.LastCode != 503 {
		t.Errorf("the resent delivery became %+v", d)
	}
	must(t, s.Record(ctx, []webhook.Result{result(id, 2, webhook.Delivered, func(r *webhook.Result) { r.DueAt = at })}))
	if d := delivery(t, s, id); d.State != webhook.Delivered || d.Attempts != 2 {
		t.Errorf("the delivery became %+v", d)
	}
}
