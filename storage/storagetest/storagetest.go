// Package storagetest is the conformance suite of [webhook.Store]: every engine
// passes it, so that nobody above storage needs to know which one there is.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/webhook"
)

// An Open opens the store that the test's own location holds, and closes it
// when the test ends. Called again after Close it opens the same one.
type Open func(t *testing.T) webhook.Store

// Run runs the suite. The function returns, for each test, how to open a store
// that is empty at first.
func Run(t *testing.T, location func(t *testing.T) Open) {
	tests := []struct {
		name string
		run  func(t *testing.T, open Open)
	}{
		{"EventAndDeliveriesAreStoredTogether", testAccept},
		{"TakenKeyAnswersWithTheFirstEvent", testDuplicate},
		{"ConcurrentRepeatsMakeOneEvent", testConcurrentDuplicates},
		{"RemovedSubscriberGetsNoDelivery", testAcceptForRemoved},
		{"DataIsKeptByteForByte", testData},
		{"DueReturnsWhatIsDueInOrder", testDue},
		{"DueKeepsItsBounds", testDueBounds},
		{"BacklogTellsTheFirstDueOfEach", testBacklog},
		{"ResultMovesItsDeliveryOn", testRecord},
		{"ResultAfterTheEndIsHistoryOnly", testRecordLate},
		{"ResendGivesTheWholeSchedule", testResend},
		{"ResultOfAnAttemptBeforeAResendKeepsTheResend", testRecordAfterResend},
		{"SubscribersAreKeptWhole", testSubscribers},
		{"RemovalCancelsWhatIsPending", testRemove},
		{"ListsArePagedNewestFirst", testPages},
		{"FiltersSelect", testFilters},
		{"ResendSpreadsOut", testResendSpread},
		{"ReplayMakesNewDeliveriesOfStoredEvents", testReplay},
		{"CancelEndsWhatIsPending", testCancel},
		{"PurgeDeletesDeadLettersOnly", testPurge},
		{"ListsGoOnWhereTheyStopped", testSparse},
		{"TextIsFoundAsItIsWritten", testText},
		{"PatternsSelectAsTheyMatch", testPatterns},
		{"EventsTellHowTheirDeliveriesStand", testSummaries},
		{"ListsEndWithTheirContext", testContext},
		{"TotalsFollowEveryChange", testTotals},
		{"MinutesCountWhatHappenedInThem", testMinutes},
		{"ActivityIsOfEachSubscriber", testActivity},
		{"DeadLettersAreGroupedByCause", testDeadGroups},
		{"TokensAreKeptAndReplaced", testTokens},
		{"MissingThingsAreNotFound", testNotFound},
		{"SettingsAreKept", testSettings},
		{"EverythingSurvivesReopening", testReopen},
		{"ClosedStoreRefuses", testClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, location(t)) })
	}
}

// start is the time at which the tests take place.
var start = time.Date(2024, 11, 14, 16, 38, 32, 123e6, time.UTC)

var ctx = context.Background()

func subscriber(t *testing.T, s webhook.Store, change ...func(*webhook.Subscriber)) webhook.Subscriber {
	t.Helper()
	sub := webhook.Subscriber{
		ID: s.IDs().Subscriber(start), URL: "https://example.com/hook", Secret: "whsec_c2VjcmV0",
		Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: start, UpdatedAt: start,
	}
	for _, f := range change {
		f(&sub)
	}
	must(t, s.CreateSubscriber(ctx, sub))
	return sub
}

// event returns an event that is to be delivered to the subscribers.
func event(s webhook.Store, key string, at time.Time, to ...webhook.Subscriber) webhook.Accept {
	a := webhook.Accept{
		Event: webhook.Event{
			ID: s.IDs().Event(at), Source: webhook.SourceInbound, Type: "order.created", Timestamp: at.Unix(),
			Data: []byte(`{"order_id":"A12345"}`), SenderKey: key, ReceivedAt: at,
		},
		Key: webhook.NewDedupeKey(webhook.SourceInbound, key),
	}
	for _, sub := range to {
		a.Deliveries = append(a.Deliveries, webhook.NewDelivery{ID: s.IDs().Delivery(at), SubscriberID: sub.ID})
	}
	return a
}

func accept(t *testing.T, s webhook.Store, a ...webhook.Accept) []webhook.Accepted {
	t.Helper()
	accepted, err := s.Accept(ctx, a)
	must(t, err)
	return accepted
}

func due(t *testing.T, s webhook.Store, sub webhook.Subscriber, now time.Time) ([]webhook.Job, time.Time) {
	t.Helper()
	jobs, next, err := s.Due(ctx, webhook.DueQuery{SubscriberID: sub.ID, Now: now, Limit: 100, Bytes: 1 << 20})
	must(t, err)
	return jobs, next
}

func result(d webhook.DeliveryID, number int, state webhook.State, change ...func(*webhook.Result)) webhook.Result {
	r := webhook.Result{
		Attempt: webhook.Attempt{DeliveryID: d, Number: number, StartedAt: start, Duration: 1500 * time.Microsecond, Outcome: webhook.OK, Code: 200},
		DueAt:   start, State: state, Spent: number,
	}
	if state != webhook.Delivered {
		r.Attempt.Outcome, r.Attempt.Code = webhook.HTTPStatus, 503
	}
	if state == webhook.Pending {
		r.NextAttemptAt = start.Add(time.Minute)
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func delivery(t *testing.T, s webhook.Store, id webhook.DeliveryID) webhook.Delivery {
	t.Helper()
	d, err := s.Delivery(ctx, id)
	must(t, err)
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testAccept(t *testing.T, open Open) {
	s := open(t)
	one, two := subscriber(t, s), subscriber(t, s)
	a := event(s, "k1", start, one, two)
	a.Event.ClientID, a.Event.AgentID = "acme", "agent_1"
	got := accept(t, s, a)
	equal(t, "answer", got, []webhook.Accepted{{ID: a.Event.ID, Type: "order.created", ReceivedAt: start}})
	stored, err := s.Event(ctx, a.Event.ID)
	must(t, err)
	equal(t, "event", stored, a.Event)
	for i, d := range a.Deliveries {
		got := delivery(t, s, d.ID)
		equal(t, "delivery", got, webhook.Delivery{
			ID: d.ID, EventID: a.Event.ID, EventType: "order.created", SubscriberID: []webhook.Subscriber{one, two}[i].ID,
			State: webhook.Pending, NextAttemptAt: start, CreatedAt: start,
		})
	}
}

func testDuplicate(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	first := event(s, "k1", start, sub)
	accept(t, s, first)
	again := event(s, "k1", start.Add(time.Hour), sub)
	again.Event.Type = "order.changed"
	twice := event(s, "k2", start.Add(time.Hour), sub)
	thrice := event(s, "k2", start.Add(time.Hour), sub)
	other := event(s, "k1", start.Add(time.Hour), sub)
	other.Key = webhook.NewDedupeKey("another source", "k1")
	got := accept(t, s, again, twice, thrice, other)
	at := start.Add(time.Hour)
	equal(t, "answers", got, []webhook.Accepted{
		{ID: first.Event.ID, Type: "order.created", ReceivedAt: start, Duplicate: true},
		{ID: twice.Event.ID, Type: "order.created", ReceivedAt: at},
		{ID: twice.Event.ID, Type: "order.created", ReceivedAt: at, Duplicate: true},
		{ID: other.Event.ID, Type: "order.created", ReceivedAt: at},
	})
	if _, err := s.Event(ctx, again.Event.ID); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("the repeat was stored: %v", err)
	}
	if _, err := s.Delivery(ctx, again.Deliveries[0].ID); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("the repeat has a delivery: %v", err)
	}
}

func testConcurrentDuplicates(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	const senders, events = 16, 20
	ids := make([][]webhook.EventID, senders)
	fresh := make([]int, senders)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for n := range events {
				accepted, err := s.Accept(ctx, []webhook.Accept{event(s, fmt.Sprint(n), start, sub)})
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = append(ids[i], accepted[0].ID)
				if !accepted[0].Duplicate {
					fresh[i]++
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for i := range senders {
		equal(t, "ids that one sender saw", ids[i], ids[0])
		total += fresh[i]
	}
	if total != events {
		t.Errorf("%d events were new, want %d", total, events)
	}
	jobs, _ := due(t, s, sub, start)
	if len(jobs) != events {
		t.Errorf("%d deliveries, want %d", len(jobs), events)
	}
}

func testAcceptForRemoved(t *testing.T, open Open) {
	s := open(t)
	stays, goes := subscriber(t, s), subscriber(t, s)
	a := event(s, "k", start, stays, goes)
	must(t, s.RemoveSubscriber(ctx, goes.ID, start))
	accept(t, s, a)
	delivery(t, s, a.Deliveries[0].ID)
	if _, err := s.Delivery(ctx, a.Deliveries[1].ID); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("a delivery was made for a removed subscriber: %v", err)
	}
}

func testData(t *testing.T, open Open) {
	s := open(t)
	for i, data := range []string{`null`, ` {"b":1, "a" :1.0e+2 , "a":"\u0000\ud800"}`, `"\u00e9é日本"`, `12345678901234567890.10`, `[` + strings.Repeat(`"0123456789",`, 50_000) + `0]`} {
		a := event(s, fmt.Sprint(i), start)
		a.Event.Data = []byte(data)
		accept(t, s, a)
		stored, err := s.Event(ctx, a.Event.ID)
		must(t, err)
		if string(stored.Data) != data {
			t.Errorf("data came back changed: %.100q, want %.100q", stored.Data, data)
		}
	}
}

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
	if len(jobs) != 3 || jobs[0].Delivery != want[1] || jobs[1].Delivery != want[2] || jobs[2].Delivery != want[0] || !next.IsZero() {
		t.Errorf("after a minute: %v, next %v", jobs, next)
	}
	if j := jobs[2]; j.Attempts != 1 || j.Spent != 1 || !j.DueAt.Equal(start.Add(time.Minute)) || string(j.Event.Data) != `{"order_id":"A12345"}` {
		t.Errorf("a retry came as %+v", j)
	}
	jobs, next = due(t, s, sub, start.Add(-time.Second))
	if len(jobs) != 0 || !next.Equal(start.Add(time.Second)) {
		t.Errorf("before the first: %v, next %v", jobs, next)
	}
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
	backlog, err := s.Backlog(ctx)
	must(t, err)
	equal(t, "backlog", backlog, map[webhook.SubscriberID]time.Time{one.ID: start, two.ID: start.Add(time.Second)})
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

func testResend(t *testing.T, open Open) {
	s := open(t)
	sub, gone := subscriber(t, s), subscriber(t, s)
	a, b, c := event(s, "a", start, sub), event(s, "b", start, sub), event(s, "c", start, gone)
	accept(t, s, a, b, c)
	dead, waiting, orphan := a.Deliveries[0].ID, b.Deliveries[0].ID, c.Deliveries[0].ID
	must(t, s.Record(ctx, []webhook.Result{result(dead, 1, webhook.Dead), result(waiting, 1, webhook.Pending)}))
	must(t, s.RemoveSubscriber(ctx, gone.ID, start))
	at := start.Add(time.Second)
	resent, err := s.Resend(ctx, []webhook.DeliveryID{dead, waiting, orphan, s.IDs().Delivery(start)}, at, 0)
	must(t, err)
	if len(resent) != 2 {
		t.Fatalf("%d were resent, want 2", len(resent))
	}
	for i, id := range []webhook.DeliveryID{dead, waiting} {
		d := delivery(t, s, id)
		equal(t, "answer", resent[i], d)
		if d.State != webhook.Pending || d.Attempts != 1 || d.Spent != 0 || !d.NextAttemptAt.Equal(at) || !d.FinishedAt.IsZero() {
			t.Errorf("resent delivery is %+v", d)
		}
	}
	if d := delivery(t, s, orphan); d.State != webhook.Cancelled {
		t.Errorf("the delivery of a removed subscriber became %s", d.State)
	}
	if jobs, _ := due(t, s, sub, at); len(jobs) != 2 {
		t.Errorf("%d are due, want 2", len(jobs))
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

func testSubscribers(t *testing.T, open Open) {
	s := open(t)
	plain := subscriber(t, s)
	full := subscriber(t, s, func(sub *webhook.Subscriber) {
		sub.ClientID, sub.Description, sub.Headers = "acme", "d", map[string]string{"X-Key": "v"}
		sub.Events, sub.Active, sub.PausedReason = []webhook.Pattern{"a.*", "b.**"}, false, "maintenance"
		sub.Timeout, sub.Concurrency, sub.FinalOn4xx = 1500*time.Millisecond, 3, true
		sub.Schedule = webhook.Schedule{time.Millisecond, time.Hour}
		sub.OldSecrets = []webhook.OldSecret{{Secret: "second", Until: start.Add(time.Hour)}, {Secret: "first", Until: start.Add(time.Minute)}}
	})
	plain.Headers = map[string]string{}
	list, err := s.Subscribers(ctx)
	must(t, err)
	equal(t, "list", list, []webhook.Subscriber{full, plain})
	full.URL, full.Active, full.PausedReason, full.UpdatedAt = "http://10.0.0.1/", true, "", start.Add(time.Second)
	full.Headers = map[string]string{}
	full.Secret, full.OldSecrets = "third", nil
	must(t, s.UpdateSubscriber(ctx, full))
	list, err = s.Subscribers(ctx)
	must(t, err)
	equal(t, "after the change", list, []webhook.Subscriber{full, plain})
}

func testRemove(t *testing.T, open Open) {
	s := open(t)
	sub, other := subscriber(t, s), subscriber(t, s)
	a, b := event(s, "a", start, sub, other), event(s, "b", start, sub)
	accept(t, s, a, b)
	must(t, s.Record(ctx, []webhook.Result{result(b.Deliveries[0].ID, 1, webhook.Delivered)}))
	must(t, s.RemoveSubscriber(ctx, sub.ID, start.Add(time.Second)))
	if d := delivery(t, s, a.Deliveries[0].ID); d.State != webhook.Cancelled || !d.FinishedAt.Equal(start.Add(time.Second)) {
		t.Errorf("pending delivery became %+v", d)
	}
	if d := delivery(t, s, b.Deliveries[0].ID); d.State != webhook.Delivered {
		t.Errorf("delivered one became %s", d.State)
	}
	if d := delivery(t, s, a.Deliveries[1].ID); d.State != webhook.Pending {
		t.Errorf("the other subscriber's became %s", d.State)
	}
	list, err := s.Subscribers(ctx)
	must(t, err)
	if len(list) != 1 || list[0].ID != other.ID {
		t.Errorf("subscribers are %v", list)
	}
}

func testPages(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	var events []webhook.EventID
	var deliveries []webhook.DeliveryID
	for i := range 7 {
		a := event(s, fmt.Sprint(i), start.Add(time.Duration(i)*time.Second), sub)
		accept(t, s, a)
		events = append([]webhook.EventID{a.Event.ID}, events...)
		deliveries = append([]webhook.DeliveryID{a.Deliveries[0].ID}, deliveries...)
	}
	var gotEvents []webhook.EventID
	for page, more := (webhook.Page{Limit: 3}), true; more; more = page.Before != "" {
		list, err := s.Events(ctx, webhook.EventFilter{}, page)
		must(t, err)
		for _, e := range list.Items {
			gotEvents = append(gotEvents, e.ID)
		}
		page.Before = list.Next
	}
	equal(t, "events", gotEvents, events)
	var gotDeliveries []webhook.DeliveryID
	for page, more := (webhook.Page{Limit: 3}), true; more; more = page.Before != "" {
		list, err := s.Deliveries(ctx, webhook.DeliveryFilter{State: webhook.Pending}, page)
		must(t, err)
		for _, d := range list.Items {
			gotDeliveries = append(gotDeliveries, d.ID)
		}
		page.Before = list.Next
	}
	equal(t, "deliveries", gotDeliveries, deliveries)
	list, err := s.Deliveries(ctx, webhook.DeliveryFilter{}, webhook.Page{Limit: 7})
	must(t, err)
	if len(list.Items) != 7 || list.Next != "" {
		t.Errorf("a page of all has %d, and goes on at %q", len(list.Items), list.Next)
	}
	list, err = s.Deliveries(ctx, webhook.DeliveryFilter{}, webhook.Page{Limit: 7, Before: string(deliveries[5])})
	must(t, err)
	if len(list.Items) != 1 || list.Items[0].ID != deliveries[6] {
		t.Errorf("before the last but one there are %v", list.Items)
	}
}

func testFilters(t *testing.T, open Open) {
	s := open(t)
	one, two := subscriber(t, s), subscriber(t, s)
	a, b := event(s, "a", start, one, two), event(s, "b", start.Add(time.Minute), one)
	b.Event.Type, b.Event.ClientID, b.Event.Source = "user.created", "acme", "github"
	accept(t, s, a, b)
	must(t, s.Record(ctx, []webhook.Result{result(a.Deliveries[0].ID, 1, webhook.Delivered), result(a.Deliveries[1].ID, 1, webhook.Dead)}))
	for _, tt := range []struct {
		filter webhook.EventFilter
		want   []webhook.EventID
	}{
		{webhook.EventFilter{}, []webhook.EventID{b.Event.ID, a.Event.ID}},
		{webhook.EventFilter{Type: "order.created"}, []webhook.EventID{a.Event.ID}},
		{webhook.EventFilter{Source: "github"}, []webhook.EventID{b.Event.ID}},
		{webhook.EventFilter{ClientID: "acme"}, []webhook.EventID{b.Event.ID}},
		{webhook.EventFilter{Since: start.Add(time.Second)}, []webhook.EventID{b.Event.ID}},
		{webhook.EventFilter{Until: start.Add(time.Minute)}, []webhook.EventID{a.Event.ID}},
		{webhook.EventFilter{Type: "order.created", ClientID: "acme"}, nil},
		{webhook.EventFilter{ID: a.Event.ID}, []webhook.EventID{a.Event.ID}},
		{webhook.EventFilter{ID: a.Event.ID, Source: "github"}, nil},
		{webhook.EventFilter{ID: "evt_nobody"}, nil},
	} {
		list, err := s.Events(ctx, tt.filter, webhook.Page{Limit: 10})
		must(t, err)
		var got []webhook.EventID
		for _, e := range list.Items {
			got = append(got, e.ID)
		}
		equal(t, fmt.Sprintf("%+v", tt.filter), got, tt.want)
	}
	toOne, toTwo, later := a.Deliveries[0].ID, a.Deliveries[1].ID, b.Deliveries[0].ID
	for _, tt := range []struct {
		filter webhook.DeliveryFilter
		want   []webhook.DeliveryID
	}{
		{webhook.DeliveryFilter{}, []webhook.DeliveryID{later, toTwo, toOne}},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{one.ID}}, []webhook.DeliveryID{later, toOne}},
		{webhook.DeliveryFilter{EventID: a.Event.ID}, []webhook.DeliveryID{toTwo, toOne}},
		{webhook.DeliveryFilter{EventType: "user.created"}, []webhook.DeliveryID{later}},
		{webhook.DeliveryFilter{State: webhook.Pending}, []webhook.DeliveryID{later}},
		{webhook.DeliveryFilter{State: webhook.Delivered}, []webhook.DeliveryID{toOne}},
		{webhook.DeliveryFilter{State: webhook.Dead}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{State: webhook.Dead, Subscribers: []webhook.SubscriberID{one.ID}}, nil},
		{webhook.DeliveryFilter{Outcome: webhook.HTTPStatus}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{CodeFrom: 200, CodeTo: 299}, []webhook.DeliveryID{toOne}},
		{webhook.DeliveryFilter{Since: start.Add(time.Second)}, []webhook.DeliveryID{later}},
		{webhook.DeliveryFilter{Until: start.Add(time.Second)}, []webhook.DeliveryID{toTwo, toOne}},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{"sub_nobody"}}, nil},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{}}, nil},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{one.ID, two.ID}}, []webhook.DeliveryID{later, toTwo, toOne}},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{two.ID, "sub_nobody"}}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{two.ID}, State: webhook.Dead}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{two.ID}, State: webhook.Pending}, nil},
		{webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{one.ID}, State: webhook.Pending}, []webhook.DeliveryID{later}},
		{webhook.DeliveryFilter{ID: toTwo}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{ID: toTwo, State: webhook.Delivered}, nil},
		{webhook.DeliveryFilter{ID: "dlv_nobody"}, nil},
		{webhook.DeliveryFilter{EventID: a.Event.ID, State: webhook.Dead}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{EventID: a.Event.ID, State: webhook.Pending}, nil},
		{webhook.DeliveryFilter{ClientID: "acme"}, []webhook.DeliveryID{later}},
		{webhook.DeliveryFilter{CodeFrom: 500, CodeTo: 599}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{CodeFrom: 201}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{CodeTo: 503}, []webhook.DeliveryID{toTwo, toOne}},
		{webhook.DeliveryFilter{Retrying: true}, nil},
		{webhook.DeliveryFilter{State: webhook.Dead, Outcome: webhook.HTTPStatus, EventType: "order.*"}, []webhook.DeliveryID{toTwo}},
		{webhook.DeliveryFilter{State: webhook.Dead, Since: start.Add(time.Second)}, nil},
		{webhook.DeliveryFilter{State: webhook.Pending, Until: start.Add(time.Second)}, nil},
	} {
		list, err := s.Deliveries(ctx, tt.filter, webhook.Page{Limit: 10})
		must(t, err)
		var got []webhook.DeliveryID
		for _, d := range list.Items {
			got = append(got, d.ID)
		}
		equal(t, fmt.Sprintf("%+v", tt.filter), got, tt.want)
	}
}

func testNotFound(t *testing.T, open Open) {
	s := open(t)
	ids := s.IDs()
	_, err1 := s.Event(ctx, ids.Event(start))
	_, err2 := s.Event(ctx, "evt_x")
	_, err3 := s.Delivery(ctx, ids.Delivery(start))
	_, err4 := s.Delivery(ctx, webhook.DeliveryID(ids.Event(start)))
	_, err5 := s.Setting(ctx, "none")
	err6 := s.UpdateSubscriber(ctx, webhook.Subscriber{ID: ids.Subscriber(start), Events: []webhook.Pattern{"*"}})
	err7 := s.RemoveSubscriber(ctx, ids.Subscriber(start), start)
	err8 := s.RemoveSubscriber(ctx, "nobody", start)
	for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8} {
		if !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("%d: %v, want ErrNotFound", i+1, err)
		}
	}
	if attempts, err := s.Attempts(ctx, ids.Delivery(start)); err != nil || len(attempts) > 0 {
		t.Errorf("attempts of nothing: %v, %v", attempts, err)
	}
}

func testSettings(t *testing.T, open Open) {
	s := open(t)
	must(t, s.PutSetting(ctx, "a", "1"))
	must(t, s.PutSetting(ctx, "a", "2"))
	got, err := s.Setting(ctx, "a")
	must(t, err)
	equal(t, "setting", got, "2")
	must(t, s.Check(ctx))
}

func testReopen(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	// As if the clock had been far ahead: later ids must still be new.
	a := event(s, "a", start.Add(1000*time.Hour), sub)
	accept(t, s, a)
	must(t, s.PutSetting(ctx, "a", "1"))
	must(t, s.Close())
	s = open(t)
	if jobs, _ := due(t, s, sub, start.Add(1000*time.Hour)); len(jobs) != 1 || jobs[0].Delivery != a.Deliveries[0].ID {
		t.Errorf("after reopening %v is due", jobs)
	}
	if got := accept(t, s, event(s, "a", start)); !got[0].Duplicate || got[0].ID != a.Event.ID {
		t.Errorf("after reopening a repeat answers %+v", got)
	}
	if id := s.IDs().Event(start); string(id)[4:] <= string(a.Deliveries[0].ID)[4:] {
		t.Errorf("id %s does not follow %s", id, a.Deliveries[0].ID)
	}
}

func testClosed(t *testing.T, open Open) {
	s := open(t)
	must(t, s.Close())
	_, err1 := s.Accept(ctx, []webhook.Accept{event(s, "a", start)})
	err2 := s.Record(ctx, []webhook.Result{result(s.IDs().Delivery(start), 1, webhook.Delivered)})
	for i, err := range []error{err1, err2, s.Check(ctx)} {
		if !errors.Is(err, webhook.ErrClosed) {
			t.Errorf("%d: %v, want ErrClosed", i+1, err)
		}
	}
}
