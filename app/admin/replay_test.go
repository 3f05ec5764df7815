package admin_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func TestResendMakesADeliveryPendingAgain(t *testing.T) {
	a := start(t)
	s, ids := a.deaden(t, 1)
	d, err := a.Resend(t.Context(), ids[0])
	if err != nil || d.State != webhook.Pending || d.NextAttemptAt.IsZero() {
		t.Errorf("got %+v, %v", d, err)
	}
	var refused *client.Error
	if _, err := a.Resend(t.Context(), "dlv_unknown"); !errors.As(err, &refused) || refused.Code != "not_found" {
		t.Errorf("an unknown delivery: %v", err)
	}
	if err := a.RemoveSubscriber(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Resend(t.Context(), ids[0]); !errors.As(err, &refused) || refused.Status != 409 || refused.Code != "conflict" {
		t.Errorf("a delivery whose subscriber is gone: %v", err)
	}
}

func TestReplayTakesDeadLettersByFilterByNameOrAll(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	first, ids := a.deaden(t, 3)
	dead := func() int { return len(collect(t, a.DeadLetters(ctx, api.DeliveryFilter{}, 0))) }
	for _, c := range []struct {
		replay api.DeadReplay
		want   api.Replayed
		left   int
	}{
		{api.DeadReplay{DeadFilter: api.DeadFilter{DryRun: true}}, api.Replayed{Matched: 3}, 3},
		{api.DeadReplay{DeadFilter: api.DeadFilter{Filter: api.DeliveryFilter{Code: 404}}}, api.Replayed{}, 3},
		{api.DeadReplay{DeadFilter: api.DeadFilter{IDs: ids[:1]}}, api.Replayed{Matched: 1, Replayed: 1}, 2},
		{api.DeadReplay{DeadFilter: api.DeadFilter{Filter: api.DeliveryFilter{Subscriber: string(first.ID), State: webhook.Dead}}}, api.Replayed{Matched: 2, Replayed: 2}, 0},
	} {
		got, err := a.ReplayDeadLetters(ctx, c.replay)
		if err != nil || got != c.want || dead() != c.left {
			t.Errorf("%+v: got %+v, %v with %d left; want %+v with %d left", c.replay, got, err, dead(), c.want, c.left)
		}
	}
	a.deaden(t, 2)
	if status, _, body := a.request(t, "POST", "/api/v1/dead-letters/replay", `{"filter":{},"dry_run":false}`); status != 200 || strings.TrimSpace(body) != `{"matched":2,"replayed":2}` {
		t.Errorf("an empty filter: %d %s", status, body)
	}
	for body, field := range map[string]string{
		`{"ids":["` + string(ids[0]) + `"]}`:      "ids", // it is pending now
		`{"ids":["dlv_x"],"filter":{"code":500}}`: "ids",
		`{"filter":{"state":"pending"}}`:          "filter.state",
		`{"filter":{"since":"soon","code":5}}`:    "filter.since",
		`{"filters":{}}`:                          "filters",
		`{"filter":{"outcome":"bad"}}`:            "filter.outcome",
		`{"dry_run":"yes"}`:                       "dry_run",
		`{"rate":-0.5}`:                           "rate",
		`{"rate":0.0001}`:                         "rate",
		`{"filter":{"q":"status:pending"}}`:       "filter.q",
	} {
		status, _, answer := a.request(t, "POST", "/api/v1/dead-letters/replay", body)
		var refused api.Error
		if err := json.Unmarshal([]byte(answer), &refused); err != nil || status != 422 || refused.Fields[field] == "" {
			t.Errorf("%s: got %d %s", body, status, answer)
		}
	}
}

func TestReplayWalksMoreDeadLettersThanOnePageHolds(t *testing.T) {
	a := start(t)
	_, ids := a.deaden(t, 1201)
	got, err := a.ReplayDeadLetters(t.Context(), api.DeadReplay{})
	if want := (api.Replayed{Matched: len(ids), Replayed: len(ids)}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if n := len(collect(t, a.Deliveries(t.Context(), api.DeliveryFilter{State: webhook.Pending}, 0))); n != len(ids) {
		t.Errorf("%d are pending, want %d", n, len(ids))
	}
}

func TestRateSpacesWhatIsSentAgain(t *testing.T) {
	a := start(t)
	_, ids := a.deaden(t, 4)
	spaced := func(deliveries []api.Delivery, want int) {
		t.Helper()
		due := make([]time.Time, len(deliveries))
		for i := range deliveries {
			due[i] = deliveries[i].NextAttemptAt.Time
		}
		slices.SortFunc(due, time.Time.Compare)
		for i := 1; i < len(due); i++ {
			if gap := due[i].Sub(due[i-1]); gap != 500*time.Millisecond {
				t.Errorf("one is due %s after the one before, want 500ms", gap)
			}
		}
		if len(due) != want {
			t.Errorf("%d are pending, want %d", len(due), want)
		}
	}
	got, err := a.ReplayDeadLetters(t.Context(), api.DeadReplay{Rate: 2})
	if want := (api.Replayed{Matched: 4, Replayed: 4}); err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
	spaced(collect(t, a.Deliveries(t.Context(), api.DeliveryFilter{State: webhook.Pending}, 0)), 4)
	for _, id := range ids {
		if _, err := a.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if got, err = a.ReplayEvents(t.Context(), api.EventReplay{Rate: 2}); err != nil || got != (api.Replayed{Matched: 4, Replayed: 4}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	spaced(collect(t, a.Deliveries(t.Context(), api.DeliveryFilter{State: webhook.Pending}, 0)), 4)
}

func TestReplayOfAnEventMakesNewDeliveries(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	first, second := a.add(t, "/200", false), a.add(t, "/201", false)
	p := a.publish(t, "order.created")
	picky, err := a.AddSubscriber(ctx, api.SubscriberChange{
		URL: value("https://c.example/200"), Events: &[]webhook.Pattern{"user.*"}, Active: value(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[webhook.SubscriberID]int{"": 2, first.ID: 1, picky.ID: 1} {
		if got, err := a.ReplayEvent(ctx, p.ID, to); err != nil || got != (api.Replayed{Matched: 1, Replayed: want}) {
			t.Errorf("to %q: %+v, %v; want %d", to, got, err, want)
		}
	}
	if status, _, body := a.request(t, "POST", "/api/v1/events/"+string(p.ID)+"/replay", ""); status != 200 || strings.TrimSpace(body) != `{"matched":1,"replayed":2}` {
		t.Errorf("without a body: %d %s", status, body)
	}
	count := map[webhook.SubscriberID]int{}
	for _, d := range collect(t, a.Deliveries(ctx, api.DeliveryFilter{EventID: p.ID}, 0)) {
		count[d.SubscriberID]++
	}
	if diff := cmp.Diff(map[webhook.SubscriberID]int{first.ID: 4, second.ID: 3, picky.ID: 1}, count); diff != "" {
		t.Error(diff)
	}
	var refused *client.Error
	if _, err := a.ReplayEvent(ctx, p.ID, "sub_nothing"); !errors.As(err, &refused) || refused.Fields["subscriber"] == "" {
		t.Errorf("to nobody: %v", err)
	}
}

func TestEventOfAClientIsReplayedToNoOther(t *testing.T) {
	a := start(t)
	other := a.add(t, "/200", false)
	p, err := a.Publish(t.Context(), api.Publish{Event: "a.b", ClientID: "c1", Data: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if _, err := a.ReplayEvent(t.Context(), p.ID, other.ID); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("got %v, want a conflict", err)
	}
}

func TestReplayOfEventsTakesThoseOfTheFilterAndTheirRecipients(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	everything := a.add(t, "/200", false)
	orders, err := a.AddSubscriber(ctx, api.SubscriberChange{
		URL: value("https://o.example/200"), Events: &[]webhook.Pattern{"order.*"}, Active: value(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		a.publish(t, "order.created")
		a.publish(t, "user.created")
	}
	for _, c := range []struct {
		replay api.EventReplay
		want   api.Replayed
	}{
		{api.EventReplay{DryRun: true}, api.Replayed{Matched: 6}},
		{api.EventReplay{Filter: api.EventFilter{Q: "type:order.created"}}, api.Replayed{Matched: 3, Replayed: 6}},
		{api.EventReplay{Subscriber: orders.ID}, api.Replayed{Matched: 6, Replayed: 3}},
		{api.EventReplay{Subscriber: everything.ID, Filter: api.EventFilter{Type: "user.*"}}, api.Replayed{Matched: 3, Replayed: 3}},
		{api.EventReplay{Filter: api.EventFilter{Until: "1h"}}, api.Replayed{}},
	} {
		if got, err := a.ReplayEvents(ctx, c.replay); err != nil || got != c.want {
			t.Errorf("%+v: got %+v, %v; want %+v", c.replay, got, err, c.want)
		}
	}
	if n := len(collect(t, a.Deliveries(ctx, api.DeliveryFilter{}, 0))); n != 9+12 {
		t.Errorf("%d deliveries, want %d: a dry run or a foreign subscriber got some", n, 9+12)
	}
}

func TestOnlyAPendingDeliveryIsCancelled(t *testing.T) {
	a := start(t)
	a.add(t, "/200", false)
	id := a.publish(t, "a.b").Deliveries[0].ID
	d, err := a.Cancel(t.Context(), id)
	if err != nil || d.State != webhook.Cancelled || d.FinishedAt.IsZero() || !d.NextAttemptAt.IsZero() {
		t.Errorf("got %+v, %v", d, err)
	}
	var refused *client.Error
	if _, err := a.Cancel(t.Context(), id); !errors.As(err, &refused) || refused.Status != http.StatusConflict || !strings.Contains(refused.Message, "cancelled") {
		t.Errorf("cancelled twice: %v", err)
	}
}

func TestPurgeDeletesDeadLettersAndNothingElse(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	_, ids := a.deaden(t, 3)
	waiting := a.publish(t, "order.created").Deliveries[0].ID
	for _, c := range []struct {
		filter api.DeadFilter
		want   api.Purged
	}{
		{api.DeadFilter{DryRun: true}, api.Purged{Matched: 3}},
		{api.DeadFilter{Filter: api.DeliveryFilter{Q: "code:4xx"}}, api.Purged{}},
		{api.DeadFilter{IDs: ids[:1]}, api.Purged{Matched: 1, Purged: 1}},
		{api.DeadFilter{Filter: api.DeliveryFilter{Q: "code:5xx"}}, api.Purged{Matched: 2, Purged: 2}},
	} {
		if got, err := a.PurgeDeadLetters(ctx, c.filter); err != nil || got != c.want {
			t.Errorf("%+v: got %+v, %v; want %+v", c.filter, got, err, c.want)
		}
	}
	left := collect(t, a.Deliveries(ctx, api.DeliveryFilter{}, 0))
	if len(left) != 1 || left[0].ID != waiting {
		t.Errorf("left: %+v", left)
	}
	if n := len(collect(t, a.Events(ctx, api.EventFilter{}, 0))); n != 4 {
		t.Errorf("%d events are left, want all 4", n)
	}
}

func TestDeadLettersAreGroupedByCause(t *testing.T) {
	a := start(t)
	sub, _ := a.deaden(t, 3)
	groups, err := a.DeadGroups(t.Context())
	if err != nil || len(groups) != 1 {
		t.Fatalf("got %+v, %v", groups, err)
	}
	g := groups[0]
	if g.SubscriberID != sub.ID || g.SubscriberName != "receiver.example/200" || g.Outcome != webhook.HTTPStatus || g.Code != 500 || g.Count != 3 || g.Newest.Before(g.Oldest.Time) {
		t.Errorf("got %+v", g)
	}
	if err := a.RemoveSubscriber(t.Context(), sub.ID); err != nil {
		t.Fatal(err)
	}
	if groups, err = a.DeadGroups(t.Context()); err != nil || len(groups) != 1 || groups[0].SubscriberName != "" {
		t.Errorf("of a removed subscriber: %+v, %v", groups, err)
	}
}
