package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

// addFor adds a paused subscriber for these types.
func (a *appliance) addFor(t *testing.T, patterns ...webhook.Pattern) api.Subscriber {
	t.Helper()
	s, err := a.AddSubscriber(t.Context(), api.SubscriberChange{URL: value("https://other.example/200"), Events: &patterns, Active: value(false)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verdicts(x *api.Explanation) map[webhook.GateName]webhook.Verdict {
	said := map[webhook.GateName]webhook.Verdict{}
	for _, gate := range x.Gates {
		said[gate.Name] = gate.Verdict
	}
	return said
}

func TestEventIsExplainedForEverySubscriberReachedOrNot(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	other, waiting, gone := a.addFor(t, "user.*"), a.add(t, "/200", false), a.add(t, "/200", false)
	p := a.publish(t, "order.created")
	later := a.add(t, "/200", false)
	if err := a.RemoveSubscriber(ctx, gone.ID); err != nil {
		t.Fatal(err)
	}
	x, err := a.ExplainEvent(ctx, p.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	if x.EventID != p.ID || x.EventType != "order.created" || x.Summary != "Of 4 subscribers: 1 pending, 1 cancelled, 2 not sent." || x.Partial {
		t.Errorf("got %+v", x)
	}
	found := map[webhook.SubscriberID]api.Explanation{}
	for i, s := range x.Subscribers {
		found[s.SubscriberID] = s
		if delivered := s.Delivery != nil; delivered != (i < 2) {
			t.Errorf("place %d has a delivery: %v", i, delivered)
		}
	}
	if s := found[waiting.ID]; !strings.HasPrefix(s.Summary, "Waits: the subscriber is paused") || verdicts(&s)[webhook.GateActive] != webhook.Waits || s.URL != waiting.URL {
		t.Errorf("waiting: %+v", s)
	}
	if s := found[gone.ID]; !strings.Contains(s.Summary, "has been removed") || len(s.Gates) != 0 || s.Delivery.State != webhook.Cancelled {
		t.Errorf("gone: %+v", s)
	}
	if s := found[other.ID]; s.Summary != "Not sent: none of its patterns selects order.created." || verdicts(&s)[webhook.GatePattern] != webhook.Stops {
		t.Errorf("another type: %+v", s)
	}
	if s := found[later.ID]; !strings.HasPrefix(s.Summary, "Not sent: it was added at ") || verdicts(&s)[webhook.GateExisted] != webhook.Stops {
		t.Errorf("added later: %+v", s)
	}

	for _, id := range []webhook.SubscriberID{waiting.ID, gone.ID, other.ID, later.ID} {
		one, err := a.ExplainEvent(ctx, p.ID, id)
		if err != nil || len(one.Subscribers) != 1 || one.Partial {
			t.Fatalf("of %s alone: %+v, %v", id, one, err)
		}
		if diff := cmp.Diff(found[id], one.Subscribers[0]); diff != "" || one.Summary != found[id].Summary {
			t.Errorf("of %s alone: %s %s", id, one.Summary, diff)
		}
	}
	var refused *client.Error
	if _, err := a.ExplainEvent(ctx, p.ID, "sub_nobody"); !errors.As(err, &refused) || refused.Status != http.StatusUnprocessableEntity || refused.Fields["subscriber"] == "" {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := a.ExplainEvent(ctx, "evt_nothing", ""); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("of no event: %v", err)
	}
}

func TestExplanationOfAnEventTellsTheNewestDeliveryOfEach(t *testing.T) {
	a := start(t)
	s := a.add(t, "/200", false)
	p := a.publish(t, "order.created")
	if _, err := a.ReplayEvent(t.Context(), p.ID, s.ID); err != nil {
		t.Fatal(err)
	}
	newest := collect(t, a.Deliveries(t.Context(), api.DeliveryFilter{}, 1))[0]
	x, err := a.ExplainEvent(t.Context(), p.ID, "")
	if err != nil || len(x.Subscribers) != 1 || x.Subscribers[0].Delivery.ID != newest.ID || newest.ID == p.Deliveries[0].ID {
		t.Errorf("got %+v, %v", x, err)
	}
	replay, err := a.ExplainDelivery(t.Context(), newest.ID)
	if err != nil || !strings.Contains(replay.Story[1].What, "was replayed") {
		t.Errorf("the replay: %+v, %v", replay.Story, err)
	}
	first, err := a.ExplainDelivery(t.Context(), p.Deliveries[0].ID)
	if err != nil || strings.Contains(first.Story[1].What, "was replayed") {
		t.Errorf("the first: %+v, %v", first.Story, err)
	}
}

func TestExplanationOfAnEventIsBounded(t *testing.T) {
	a := start(t)
	receives := a.add(t, "/200", false)
	for range 201 {
		a.addFor(t, "user.*")
	}
	p := a.publish(t, "order.created")
	x, err := a.ExplainEvent(t.Context(), p.ID, "")
	if err != nil || len(x.Subscribers) != 201 || !x.Partial || x.Subscribers[0].SubscriberID != receives.ID {
		t.Errorf("%d subscribers, partial %v, %v", len(x.Subscribers), x.Partial, err)
	}
}

func TestDeliveryIsExplainedByItsGatesAndItsStory(t *testing.T) {
	a := start(t)
	a.add(t, "/503", true)
	p := a.publish(t, "order.created")
	<-a.sent
	a.stop()
	x, err := a.ExplainDelivery(t.Context(), p.Deliveries[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if x.EventID != p.ID || x.EventType != "order.created" || x.Delivery.ID != p.Deliveries[0].ID || x.Delivery.State != webhook.Dead {
		t.Errorf("got %+v", x)
	}
	if !strings.HasSuffix(x.Summary, ": its retries are used up, and the last attempt ended with status 503.") {
		t.Errorf("summary %s", x.Summary)
	}
	// Those that decide when it is tried say nothing of one that has ended.
	if got := verdicts(&x.Explanation); got[webhook.GatePattern] != webhook.Passes || got[webhook.GateSchedule] != "" {
		t.Errorf("gates %v", got)
	}
	var story []string
	for _, m := range x.Story {
		story = append(story, fmt.Sprint(m.Attempt, " ", strings.Join(strings.Fields(m.What)[:3], " ")))
	}
	want := []string{"0 The event was", "0 The delivery to", "1 Attempt 1 was", "0 Its retries were"}
	if diff := cmp.Diff(want, story); diff != "" {
		t.Error(diff)
	}
	var refused *client.Error
	if _, err := a.ExplainDelivery(t.Context(), "dlv_nothing"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("of no delivery: %v", err)
	}
}

func TestCancelByFilterGivesUpWhatIsPendingAndNothingElse(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	_, dead := a.deaden(t, 2)
	for range 3 {
		a.publish(t, "order.created")
		a.publish(t, "user.created")
	}
	pending := func() int { return len(collect(t, a.Deliveries(ctx, api.DeliveryFilter{State: webhook.Pending}, 0))) }
	for _, c := range []struct {
		cancel api.Cancel
		want   api.Cancelled
		left   int
	}{
		{api.Cancel{DryRun: true}, api.Cancelled{Matched: 6}, 6},
		{api.Cancel{Filter: api.DeliveryFilter{Q: "type:order.*", State: webhook.Pending}}, api.Cancelled{Matched: 3, Cancelled: 3}, 3},
		{api.Cancel{Filter: api.DeliveryFilter{Q: "status:retrying"}}, api.Cancelled{}, 3},
		{api.Cancel{}, api.Cancelled{Matched: 3, Cancelled: 3}, 0},
	} {
		got, err := a.CancelDeliveries(ctx, c.cancel)
		if err != nil || got != c.want || pending() != c.left {
			t.Errorf("%+v: got %+v, %v with %d left", c.cancel, got, err, pending())
		}
	}
	if n := len(collect(t, a.DeadLetters(ctx, api.DeliveryFilter{}, 0))); n != len(dead) {
		t.Errorf("%d dead letters are left", n)
	}
	for body, field := range map[string]string{
		`{"filter":{"state":"dead"}}`: "filter.state", `{"filter":{"q":"status:dead"}}`: "filter.q", `{"ids":["dlv_1"]}`: "ids", `{"filter":{"code":"x"}}`: "filter.code",
	} {
		if status, _, answer := a.request(t, "POST", "/api/v1/deliveries/cancel", body); status != http.StatusUnprocessableEntity || !strings.Contains(answer, `"`+field+`":`) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, _, answer := a.request(t, "POST", "/api/v1/deliveries/cancel", ""); status != http.StatusBadRequest || code(answer) != "empty_body" {
		t.Errorf("without a body: %d %s", status, answer)
	}
}

func TestSubscriberInAnOutageSaysSinceWhen(t *testing.T) {
	a := start(t)
	s := a.add(t, "/503", true)
	since := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	if _, err := a.dispatcher.UpdateSubscriber(t.Context(), s.ID, func(s *webhook.Subscriber) error { s.FailingSince = since; return nil }); err != nil {
		t.Fatal(err)
	}
	shown, err := a.Subscriber(t.Context(), s.ID)
	if err != nil || !shown.FailingSince.Equal(since) || !shown.Held {
		t.Errorf("shown: %+v, %v", shown, err)
	}
	listed := collect(t, a.Subscribers(t.Context(), 0))
	if len(listed) != 1 || !listed[0].FailingSince.Equal(since) {
		t.Errorf("listed: %+v", listed)
	}
	held := func() bool {
		t.Helper()
		page, err := a.DeliveriesPage(t.Context(), api.DeliveryFilter{}, api.PageQuery{})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("%d deliveries, %v", len(page.Items), err)
		}
		return page.Items[0].SubscriberHeld
	}
	a.publish(t, "order.created")
	if !held() {
		t.Error("its deliveries are not said to be held")
	}
	no := false
	if _, err := a.UpdateSubscriber(t.Context(), s.ID, api.SubscriberChange{Hold: &no}); err != nil {
		t.Fatal(err)
	}
	if held() {
		t.Error("the deliveries of one that is never held are said to be")
	}
}
