package board_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/board"
	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// An appliance is a store with history that the test writes, and a dispatcher
// that has stopped, so that nothing else happens.
type appliance struct {
	store       *sqlite.Store
	dispatcher  *dispatch.Dispatcher
	subscribers []webhook.SubscriberID
	now         time.Time
}

// start makes an appliance with these subscribers.
func start(t *testing.T, subscribers ...webhook.Subscriber) *appliance {
	t.Helper()
	schema, err := os.ReadFile("../../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	a := &appliance{now: time.Date(2025, 1, 2, 12, 30, 30, 0, time.UTC)}
	a.store, err = sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "pintle.db"), Schema: string(schema), Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.store.Close() })
	a.dispatcher = dispatch.New(dispatch.Options{
		Store: a.store, Logger: slog.New(slog.DiscardHandler), Transport: nobody{},
		Policy:  webhook.RetryPolicy{Retries: 6, Schedule: webhook.DefaultSchedule()},
		Timeout: time.Second, Concurrency: 10, MaxInFlight: 10, Hold: webhook.HoldPolicy{Hold: true, Failures: 10, After: time.Minute},
	})
	if err := a.dispatcher.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer a.dispatcher.Stop(context.Background())
	for i, s := range subscribers {
		s.URL, s.Secret, s.Events = fmt.Sprintf("https://r%d.example", i), "s", []webhook.Pattern{"*"}
		added, err := a.dispatcher.AddSubscriber(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		a.subscribers = append(a.subscribers, added.ID)
	}
	return a
}

// nobody receives.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody is there")
}

// accept stores an event for the subscriber so long ago.
func (a *appliance) accept(t *testing.T, to webhook.SubscriberID, ago time.Duration) webhook.DeliveryID {
	t.Helper()
	at := a.now.Add(-ago)
	id := a.store.IDs().Delivery(at)
	_, err := a.store.Accept(t.Context(), []webhook.Accept{{
		Event:      webhook.Event{ID: a.store.IDs().Event(at), Source: "test", Type: "a.b", Data: []byte(`1`), ReceivedAt: at},
		Key:        webhook.NewDedupeKey("test", string(id)),
		Deliveries: []webhook.NewDelivery{{ID: id, SubscriberID: to}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// attempt records an attempt of a new delivery to the subscriber so long ago.
func (a *appliance) attempt(t *testing.T, to webhook.SubscriberID, ago time.Duration, state webhook.State) {
	t.Helper()
	id := a.accept(t, to, ago)
	d, err := webhook.FindDelivery(t.Context(), a.store, id)
	if err != nil {
		t.Fatal(err)
	}
	result := webhook.Result{DueAt: d.NextAttemptAt, State: state, Spent: 1, Attempt: webhook.Attempt{
		DeliveryID: id, Number: 1, StartedAt: a.now.Add(-ago), Duration: 30 * time.Millisecond, Outcome: webhook.OK, Code: 200,
	}}
	if state != webhook.Delivered {
		result.Attempt.Outcome, result.Attempt.Code = webhook.HTTPStatus, 503
	}
	if state == webhook.Pending {
		result.NextAttemptAt = a.now.Add(time.Hour)
	}
	if err := a.store.Record(t.Context(), []webhook.Result{result}); err != nil {
		t.Fatal(err)
	}
}

func (a *appliance) board(change ...func(*board.Options)) *board.Board {
	o := board.Options{Store: a.store, Dispatcher: a.dispatcher, MaxInFlight: 10, InboundURL: func() string { return "http://inbound" }}
	for _, f := range change {
		f(&o)
	}
	return board.New(o)
}

func (a *appliance) stats(t *testing.T, b *board.Board, later time.Duration) api.Stats {
	t.Helper()
	stats, err := b.Stats(t.Context(), a.now.Add(later))
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func active() webhook.Subscriber { return webhook.Subscriber{Active: true} }

// findings writes what is to be looked at in short.
func findings(stats api.Stats) []string {
	short := []string{}
	for _, f := range stats.Attention {
		short = append(short, string(f.Severity)+" "+f.Subject)
	}
	return short
}

func TestMinutesAreSixtyOneWithoutAGap(t *testing.T) {
	a := start(t, active())
	a.attempt(t, a.subscribers[0], 0, webhook.Delivered)
	a.attempt(t, a.subscribers[0], time.Minute, webhook.Pending)
	a.attempt(t, a.subscribers[0], 60*time.Minute, webhook.Dead)
	a.attempt(t, a.subscribers[0], 90*time.Minute, webhook.Dead)
	stats := a.stats(t, a.board(), 0)
	if len(stats.Minutes) != 61 {
		t.Fatalf("%d minutes", len(stats.Minutes))
	}
	first := time.Date(2025, 1, 2, 11, 30, 0, 0, time.UTC)
	for i, m := range stats.Minutes {
		if want := first.Add(time.Duration(i) * time.Minute); !m.Start.Equal(want) {
			t.Fatalf("minute %d starts at %s, want %s", i, m.Start, want)
		}
		var want api.Span
		switch i {
		case 0:
			want = api.Span{Events: 1, Attempts: 1, Failed: 1, Dead: 1}
		case 59:
			want = api.Span{Events: 1, Attempts: 1, Failed: 1}
		case 60:
			want = api.Span{Events: 1, Attempts: 1, Delivered: 1}
		}
		got := m.Span
		if measured := got.P50MS > 0 && got.P95MS >= got.P50MS; measured != (want.Attempts > 0) {
			t.Errorf("minute %d has the latencies %g and %g", i, got.P50MS, got.P95MS)
		}
		got.P50MS, got.P95MS = 0, 0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("minute %d: %s", i, diff)
		}
	}
	if h, d := stats.LastHour, stats.LastDay; h.Events != 3 || h.Dead != 1 || d.Events != 4 || d.Dead != 2 || d.Delivered != 1 || d.Failed != 3 {
		t.Errorf("the hour is %+v, the day %+v", h, d)
	}
	if want := (api.Rate{Events: 1. / 60, Attempts: 1. / 60, Failed: 1. / 60}); stats.Rate != want {
		t.Errorf("the rate of the last full minute is %+v, want %+v", stats.Rate, want)
	}
	rate := api.Rate{Events: 7}
	if stats = a.stats(t, a.board(func(o *board.Options) { o.Rate = func() api.Rate { return rate } }), 0); stats.Rate != rate {
		t.Errorf("the rate is %+v, want what was measured", stats.Rate)
	}
}

func TestFiguresAreSharedForASecond(t *testing.T) {
	a := start(t, active())
	b := a.board()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Stats(gone, a.now); err != nil {
		t.Errorf("one who has gone away: %v", err)
	}
	a.accept(t, a.subscribers[0], 0)
	for later, want := range map[time.Duration]int64{0: 0, 999 * time.Millisecond: 0} {
		if stats := a.stats(t, b, later); stats.Totals.Events != want || !stats.Now.Equal(a.now.Add(later)) {
			t.Errorf("after %s: %d events at %s", later, stats.Totals.Events, stats.Now)
		}
	}
	stats := a.stats(t, b, time.Second)
	if stats.Totals.Events != 1 || stats.LastDay.Events != 0 {
		t.Errorf("after a second: %d events, %d of them in the day", stats.Totals.Events, stats.LastDay.Events)
	}
	if stats = a.stats(t, b, 10*time.Second); stats.LastDay.Events != 1 {
		t.Errorf("after ten seconds: %d events in the day", stats.LastDay.Events)
	}
	a.accept(t, a.subscribers[0], time.Minute)
	if stats = a.stats(t, b, -time.Minute); stats.Totals.Events != 2 {
		t.Errorf("after the clock has jumped back: %d events, want 2", stats.Totals.Events)
	}
}

func TestWorstFailMostThenWaitMost(t *testing.T) {
	a := start(t, active(), active(), active(), active())
	fine, half, all, old := a.subscribers[0], a.subscribers[1], a.subscribers[2], a.subscribers[3]
	a.attempt(t, fine, time.Minute, webhook.Delivered)
	a.attempt(t, half, time.Minute, webhook.Delivered)
	a.attempt(t, half, time.Minute, webhook.Pending)
	a.attempt(t, all, time.Minute, webhook.Pending)
	a.attempt(t, old, time.Hour, webhook.Dead)
	var got []webhook.SubscriberID
	for _, s := range a.stats(t, a.board(), 0).Worst {
		got = append(got, s.ID)
	}
	if diff := cmp.Diff([]webhook.SubscriberID{all, half, fine}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNothingCallsForAttentionWhileAllIsWell(t *testing.T) {
	a := start(t, active())
	for range 5 {
		a.attempt(t, a.subscribers[0], time.Minute, webhook.Delivered)
	}
	a.accept(t, a.subscribers[0], time.Minute)
	if got := findings(a.stats(t, a.board(), 0)); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}

func TestAttentionGoesToTheWorstFirst(t *testing.T) {
	a := start(t,
		webhook.Subscriber{Description: "failing", Active: true},
		webhook.Subscriber{Description: "half", Active: true},
		webhook.Subscriber{Description: "by hand", PausedReason: "paused by hand"},
		webhook.Subscriber{Description: "gone", PausedReason: "the receiver answered 410 Gone"},
		webhook.Subscriber{Description: "late", Active: true},
	)
	for range 5 {
		a.attempt(t, a.subscribers[0], time.Minute, webhook.Pending)
	}
	for range 3 {
		a.attempt(t, a.subscribers[1], time.Minute, webhook.Pending)
		a.attempt(t, a.subscribers[1], time.Minute, webhook.Delivered)
	}
	a.attempt(t, a.subscribers[1], 30*time.Minute, webhook.Dead)
	a.accept(t, a.subscribers[2], 2*time.Hour) // waits, as it is meant to
	a.accept(t, a.subscribers[4], 90*time.Second)
	stats := a.stats(t, a.board(func(o *board.Options) {
		o.Warnings = func() []string { return []string{"inbound.validate_signature is off: anyone is believed"} }
	}), 0)
	want := []string{
		"critical queue", "critical gone", "critical failing",
		"warning dead letters", "warning inbound.validate_signature", "warning by hand",
	}
	if diff := cmp.Diff(want, findings(stats)); diff != "" {
		t.Fatal(diff)
	}
	for i, want := range map[int]api.Finding{
		0: {SubscriberID: a.subscribers[4], Query: "sub:" + string(a.subscribers[4]) + " status:pending", Text: "a delivery to late has been due for 1m30s"},
		2: {SubscriberID: a.subscribers[0], Query: "sub:" + string(a.subscribers[0]) + " status:retrying", Text: "5 of 5 attempts failed in 5 min, the last: HTTP 503"},
		3: {Query: "status:dead since:1h", Text: "1 in the last hour"},
		4: {Text: "is off: anyone is believed"},
		5: {SubscriberID: a.subscribers[2], Query: "sub:" + string(a.subscribers[2]) + " status:pending", Text: "paused: paused by hand"},
	} {
		got := stats.Attention[i]
		want.Severity, want.Subject = got.Severity, got.Subject
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// reject stores refusals of a source so long ago.
func (a *appliance) reject(t *testing.T, n int, ago time.Duration, r webhook.Rejection) {
	t.Helper()
	r.At = a.now.Add(-ago)
	all := make([]webhook.Rejection, n)
	for i := range all {
		all[i] = r
		all[i].ID = a.store.IDs().Rejection(r.At)
	}
	if err := a.store.Reject(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func TestManyRefusalsOfASourceForOneReasonCallForAttention(t *testing.T) {
	a := start(t)
	a.reject(t, 4, time.Minute, webhook.Rejection{Source: "github", Status: 401, Code: "invalid_signature", Check: webhook.CheckSignature, Unkept: 2})
	a.reject(t, 10, time.Minute, webhook.Rejection{Source: "inbound", Status: 422, Code: "invalid_timestamp", Check: webhook.CheckWindow})
	a.reject(t, 9, time.Minute, webhook.Rejection{Source: "inbound", Status: 401, Code: "invalid_signature", Check: webhook.CheckSignature})
	a.reject(t, 9, 6*time.Minute, webhook.Rejection{Source: "inbound", Status: 401, Code: "invalid_signature", Check: webhook.CheckSignature})
	a.reject(t, 50, time.Minute, webhook.Rejection{Status: 404, Code: "unknown_source", Check: webhook.CheckPath})
	b := a.board()
	want := []api.Finding{
		{Severity: api.Warning, Subject: api.Rejections, Query: "source:github code:invalid_signature", Text: "12 in 5 min, github: 401 invalid_signature"},
		{Severity: api.Warning, Subject: api.Rejections, Query: "source:inbound code:invalid_timestamp", Text: "10 in 5 min, inbound: 422 invalid_timestamp"},
	}
	if diff := cmp.Diff(want, a.stats(t, b, 0).Attention); diff != "" {
		t.Error(diff)
	}
	a.reject(t, 1, 0, webhook.Rejection{Source: "inbound", Status: 401, Code: "invalid_signature", Check: webhook.CheckSignature})
	if got := len(a.stats(t, b, 2*time.Second).Attention); got != 2 {
		t.Errorf("after two seconds %d findings, want those of before", got)
	}
	if got := len(a.stats(t, b, 5*time.Second).Attention); got != 3 {
		t.Errorf("after five seconds %d findings, want 3", got)
	}
	a.reject(t, 500, -time.Minute, webhook.Rejection{Source: "inbound", Status: 401, Code: "invalid_signature", Check: webhook.CheckSignature})
	if got := a.stats(t, b, time.Minute).Attention; len(got) != 1 || got[0].Text != "at least 500 in 5 min, inbound: 401 invalid_signature" {
		t.Errorf("in a flood, found %v", got)
	}
	if got := a.stats(t, b, 10*time.Minute).Attention; len(got) != 0 {
		t.Errorf("long after, found %v", got)
	}
}

func TestManyPausedSubscribersDoNotCrowdOutTheRest(t *testing.T) {
	var many []webhook.Subscriber
	for i := range 60 {
		many = append(many, webhook.Subscriber{Description: fmt.Sprint("paused ", i), PausedReason: "x"})
	}
	a := start(t, many...)
	a.attempt(t, a.subscribers[0], time.Minute, webhook.Dead)
	b := a.board()
	got := findings(a.stats(t, b, 0))
	if len(got) != 50 || got[0] != "warning dead letters" || got[1] != "warning paused 59" {
		t.Errorf("%d findings, the first %q", len(got), got[:min(len(got), 2)])
	}
	if again := findings(a.stats(t, b, time.Minute)); !cmp.Equal(got, again) {
		t.Errorf("another order: %s", strings.Join(again, ", "))
	}
}

func TestOutageIsTheFindingOfWhoIsInOne(t *testing.T) {
	since := time.Date(2025, 1, 2, 11, 0, 0, 0, time.UTC)
	a := start(t, webhook.Subscriber{Active: true, FailingSince: since}, webhook.Subscriber{Active: true, FailingSince: since, NoHold: true}, active())
	for range 6 {
		a.attempt(t, a.subscribers[1], time.Minute, webhook.Pending)
	}
	a.attempt(t, a.subscribers[0], time.Minute, webhook.Delivered)
	a.attempt(t, a.subscribers[2], time.Minute, webhook.Delivered)
	// What waits through an outage is late, and meant to be.
	a.accept(t, a.subscribers[0], 10*time.Minute)
	a.accept(t, a.subscribers[0], 9*time.Minute)
	b := a.board()
	stats := a.stats(t, b, 0)
	if diff := cmp.Diff([]string{"critical r1.example", "critical r0.example"}, findings(stats)); diff != "" {
		t.Fatal(diff)
	}
	for i, want := range []string{"has failed since 2025-01-02 11:00:00Z: 6 deliveries wait", "has failed since 2025-01-02 11:00:00Z: 2 deliveries wait"} {
		if f := stats.Attention[i]; f.Text != want || f.Query != "sub:"+string(f.SubscriberID)+" status:pending" {
			t.Errorf("got %+v, want %s", f, want)
		}
	}
	type standing struct{ failing, held bool }
	for _, s := range stats.Worst {
		want := map[webhook.SubscriberID]standing{a.subscribers[0]: {true, true}, a.subscribers[1]: {failing: true}}[s.ID]
		if got := (standing{s.FailingSince.Equal(since), s.Held}); got != want || len(stats.Worst) != 3 {
			t.Errorf("one of %d, %s: got %+v, want %+v", len(stats.Worst), s.Name, got, want)
		}
	}
	// Of the others, what is late is named as ever.
	a.accept(t, a.subscribers[2], 8*time.Minute)
	if got := findings(a.stats(t, b, 6*time.Second)); got[0] != "critical queue" {
		t.Errorf("got %v", got)
	}
}

func TestDeadLetterThatBlocksAnOrderIsAFinding(t *testing.T) {
	a := start(t, webhook.Subscriber{Active: true, Ordered: ".data"}, webhook.Subscriber{Active: true, Ordered: ".data", OnDead: webhook.OnDeadSkip})
	for _, id := range a.subscribers {
		a.attempt(t, id, 90*time.Minute, webhook.Dead)
		a.accept(t, id, 30*time.Second)
	}
	stats := a.stats(t, a.board(), 0)
	if diff := cmp.Diff([]string{"warning r0.example"}, findings(stats)); diff != "" {
		t.Fatal(diff)
	}
	if f := stats.Attention[0]; f.Text != "a dead letter of an order, which later deliveries of the same key wait for: 1 delivery waits" {
		t.Errorf("got %+v", f)
	}
}

func TestPauseByPintleIsWorseThanOneByAPerson(t *testing.T) {
	a := start(t, webhook.Subscriber{PausedReason: "paused by hand"}, webhook.Subscriber{PausedReason: "has failed for 5 days", FailingSince: time.Date(2024, 12, 20, 0, 0, 0, 0, time.UTC)})
	if diff := cmp.Diff([]string{"critical r1.example", "warning r0.example"}, findings(a.stats(t, a.board(), 0))); diff != "" {
		t.Error(diff)
	}
}
