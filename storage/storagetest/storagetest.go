// Package storagetest is the conformance suite of [webhook.Store]: every engine
// passes it, so that nobody above storage needs to know which one there is.
package storagetest

import (
	"context"
	"errors"
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
		{"DueInOrderReturnsWhatNothingStandsInTheWayOf", testDueInOrder},
		{"EachKeyOfAnOrderHasItsTurn", testOrderIsFair},
		{"SubscriberMayBecomeOrdered", testBecomesOrdered},
		{"BacklogTellsTheFirstDueOfEach", testBacklog},
		{"ClockThatWasSetBackKeepsNothingWaiting", testSetBack},
		{"ResultMovesItsDeliveryOn", testRecord},
		{"ResultAfterTheEndIsHistoryOnly", testRecordLate},
		{"ResendGivesTheWholeSchedule", testResend},
		{"ResultOfAnAttemptBeforeAResendKeepsTheResend", testRecordAfterResend},
		{"TransformedBodyIsKeptWithItsDelivery", testBody},
		{"UnjudgedStaysUntilItIsJudged", testJudgement},
		{"DeadLettersHaveAFingerprint", testFingerprints},
		{"SubscribersAreKeptWhole", testSubscribers},
		{"ChangedSubscriberKeepsItsDeliveries", testPutSubscriber},
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
		{"RejectionsAreKeptWhole", testRejections},
		{"RejectionsAreFiltered", testRejectionFilters},
		{"RejectionsArePagedNewestFirst", testRejectionPages},
		{"OldestRejectionsGoWhenThereAreTooMany", testRejectionNumber},
		{"OldestRejectionsGoWhenTheyAreTooLarge", testRejectionBytes},
		{"FailedRejectKeepsNothing", testRejectFails},
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
	must(t, s.PutSubscriber(ctx, sub))
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

// due asks for what has spent nothing of its schedule, save for the changes.
func due(t *testing.T, s webhook.Store, sub webhook.Subscriber, now time.Time, change ...func(*webhook.DueQuery)) ([]webhook.Job, time.Time) {
	t.Helper()
	q := webhook.DueQuery{SubscriberID: sub.ID, Now: now, Limit: 100, Bytes: 1 << 20}
	for _, f := range change {
		f(&q)
	}
	jobs, next, err := s.Due(ctx, q)
	must(t, err)
	return jobs, next
}

func retries(q *webhook.DueQuery) { q.Retries = true }

func jobIDs(jobs []webhook.Job) []webhook.DeliveryID {
	var ids []webhook.DeliveryID
	for _, j := range jobs {
		ids = append(ids, j.Delivery)
	}
	return ids
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
	d, err := webhook.FindDelivery(ctx, s, id)
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

func testSubscribers(t *testing.T, open Open) {
	s := open(t)
	plain := subscriber(t, s)
	full := subscriber(t, s, func(sub *webhook.Subscriber) {
		sub.ClientID, sub.Description, sub.Headers = "acme", "d", map[string]string{"X-Key": "v"}
		sub.Events, sub.Active, sub.PausedReason = []webhook.Pattern{"a.*", "b.**"}, false, "maintenance"
		sub.Timeout, sub.Concurrency, sub.FinalOn4xx = 1500*time.Millisecond, 3, true
		sub.Schedule = webhook.Schedule{time.Millisecond, time.Hour}
		sub.OldSecrets = []webhook.OldSecret{{Secret: "second", Until: start.Add(time.Hour)}, {Secret: "first", Until: start.Add(time.Minute)}}
		sub.RateLimit, sub.Signing, sub.Filter, sub.Transform = 0.25, webhook.SigningStripe, ".data.n > 1", "{n: .data.n}"
		sub.Ordered, sub.OnDead = ".data.order_id", webhook.OnDeadSkip
		sub.Basic = webhook.BasicAuth{Username: "user", Password: "pass \"word\""}
		sub.OAuth2 = webhook.OAuth2{
			TokenURL: "https://auth.example.com/token", ClientID: "id", ClientSecret: "client", Scopes: []string{"a", "b"}, Audience: "us",
		}
		sub.TLS = webhook.ClientTLS{Cert: "certificate", Key: "key", CA: "authority"}
		sub.NoHold, sub.NoAutoPause, sub.FailingSince = true, true, start.Add(-time.Hour)
	})
	// What has a default comes back as that.
	plain.Headers, plain.Signing, plain.OnDead = map[string]string{}, webhook.SigningPlain, webhook.OnDeadBlock
	list, err := s.Subscribers(ctx)
	must(t, err)
	equal(t, "list", list, []webhook.Subscriber{full, plain})
	full.URL, full.Active, full.PausedReason, full.UpdatedAt = "http://10.0.0.1/", true, "", start.Add(time.Second)
	full.Headers = map[string]string{}
	full.Secret, full.OldSecrets = "third", nil
	full.RateLimit, full.Signing, full.Filter, full.Transform, full.Ordered, full.OnDead = 0, webhook.SigningPlain, "", "", "", webhook.OnDeadBlock
	full.Basic, full.OAuth2, full.TLS = webhook.BasicAuth{}, webhook.OAuth2{}, webhook.ClientTLS{}
	full.NoHold, full.NoAutoPause, full.FailingSince = false, false, time.Time{}
	must(t, s.PutSubscriber(ctx, full))
	list, err = s.Subscribers(ctx)
	must(t, err)
	equal(t, "after the change", list, []webhook.Subscriber{full, plain})
	foreign := full
	foreign.ID = "sub_nobody's"
	if err := s.PutSubscriber(ctx, foreign); err == nil {
		t.Error("a subscriber of another installation was stored")
	}
}

func testPutSubscriber(t *testing.T, open Open) {
	s := open(t)
	sub, other := subscriber(t, s), subscriber(t, s)
	a, b := event(s, "a", start, sub, other), event(s, "b", start, sub)
	accept(t, s, a, b)
	must(t, s.Record(ctx, []webhook.Result{result(b.Deliveries[0].ID, 1, webhook.Dead)}))
	before := deliveries(t, s, webhook.DeliveryFilter{})
	sub.URL, sub.Headers = "https://example.com/new", map[string]string{}
	for range 2 {
		must(t, s.PutSubscriber(ctx, sub))
	}
	equal(t, "deliveries after the change", deliveries(t, s, webhook.DeliveryFilter{}), before)
	if jobs, _ := due(t, s, sub, start); len(jobs) != 1 || jobs[0].Delivery != a.Deliveries[0].ID {
		t.Errorf("after the change %v is due", jobs)
	}
	stats, err := s.Stats(ctx, webhook.StatsQuery{})
	must(t, err)
	equal(t, "totals", stats.Deliveries, map[webhook.State]int64{webhook.Pending: 2, webhook.Dead: 1, webhook.Delivered: 0, webhook.Cancelled: 0})
	must(t, s.RemoveSubscriber(ctx, sub.ID, start))
	list, err := s.Subscribers(ctx)
	must(t, err)
	if len(list) != 1 || list[0].ID != other.ID {
		t.Errorf("after the removal there are %v", list)
	}
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

func testNotFound(t *testing.T, open Open) {
	s := open(t)
	ids := s.IDs()
	_, err1 := s.Event(ctx, ids.Event(start))
	_, err2 := s.Event(ctx, "evt_x")
	_, err3 := webhook.FindDelivery(ctx, s, ids.Delivery(start))
	_, err4 := webhook.FindDelivery(ctx, s, webhook.DeliveryID(ids.Event(start)))
	_, err5 := s.Setting(ctx, "none")
	_, err6 := webhook.FindDelivery(ctx, s, "")
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
	r := rejection(s, start.Add(2000*time.Hour))
	must(t, s.Reject(ctx, []webhook.Rejection{r}))
	must(t, s.Close())
	s = open(t)
	equalRejections(t, "rejections after reopening", rejections(t, s, webhook.RejectionFilter{}), []webhook.Rejection{r})
	if id := s.IDs().Event(start); string(id)[4:] <= string(r.ID)[4:] {
		t.Errorf("id %s does not follow %s", id, r.ID)
	}
}

func testClosed(t *testing.T, open Open) {
	s := open(t)
	must(t, s.Close())
	_, err1 := s.Accept(ctx, []webhook.Accept{event(s, "a", start)})
	err2 := s.Record(ctx, []webhook.Result{result(s.IDs().Delivery(start), 1, webhook.Delivered)})
	err3 := s.Reject(ctx, []webhook.Rejection{rejection(s, start)})
	for i, err := range []error{err1, err2, err3, s.Check(ctx)} {
		if !errors.Is(err, webhook.ErrClosed) {
			t.Errorf("%d: %v, want ErrClosed", i+1, err)
		}
	}
}
