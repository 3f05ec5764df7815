package admin_test

import (
	"testing"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func TestDeadLettersAreGroupedAndSelectedByWhatKilledThem(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	a.add(t, "/200", false)
	for _, fault := range []string{
		"dial tcp 192.0.2.1:443: connect: connection refused", "dial tcp 192.0.2.77:8443: connect: connection refused", "dial tcp 192.0.2.1:443: connect: no route to host",
	} {
		a.record(t, webhook.Dead, webhook.Attempt{
			DeliveryID: a.publish(t, "order.created").Deliveries[0].ID, Number: 1, StartedAt: time.Now(), Outcome: webhook.Connect, Error: fault,
		})
	}
	groups, err := a.DeadGroups(ctx)
	if err != nil || len(groups) != 2 || groups[0].Count != 2 || groups[0].Fingerprint == "" || groups[0].Fingerprint == groups[1].Fingerprint {
		t.Fatalf("groups %+v, %v", groups, err)
	}
	refused := groups[0].Fingerprint
	for _, filter := range []api.DeliveryFilter{{Fingerprint: refused}, {Q: `fingerprint:"` + refused + `"`}} {
		found := collect(t, a.DeadLetters(ctx, filter, 0))
		if len(found) != 2 || found[0].Fingerprint != refused || found[1].Fingerprint != refused {
			t.Errorf("%+v: %+v", filter, found)
		}
	}
	purged, err := a.PurgeDeadLetters(ctx, api.DeadFilter{Filter: api.DeliveryFilter{Fingerprint: groups[1].Fingerprint}})
	if err != nil || purged != (api.Purged{Matched: 1, Purged: 1}) {
		t.Errorf("purged %+v, %v", purged, err)
	}
	replayed, err := a.ReplayDeadLetters(ctx, api.DeadReplay{DeadFilter: api.DeadFilter{Filter: api.DeliveryFilter{Fingerprint: refused}}})
	if err != nil || replayed != (api.Replayed{Matched: 2, Replayed: 2}) {
		t.Errorf("replayed %+v, %v", replayed, err)
	}
}

func TestDeliveryIsShownWithTheBodyThatATransformMade(t *testing.T) {
	a := start(t)
	a.add(t, "/200", false)
	id := a.publish(t, "order.created").Deliveries[0].ID
	plain, err := a.Delivery(t.Context(), id)
	if err != nil || plain.Transformed || plain.RequestBody == "" {
		t.Errorf("before: %+v, %v", plain, err)
	}
	d, err := webhook.FindDelivery(t.Context(), a.store, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.Record(t.Context(), []webhook.Result{{DueAt: d.NextAttemptAt, State: webhook.Pending, Spent: 1, NextAttemptAt: time.Now().Add(time.Hour), Body: []byte(`{"text":"a"}`), Attempt: webhook.Attempt{
		DeliveryID: id, Number: 1, StartedAt: time.Now(), Outcome: webhook.HTTPStatus, Code: 500,
	}}}); err != nil {
		t.Fatal(err)
	}
	if shown, err := a.Delivery(t.Context(), id); err != nil || !shown.Transformed || shown.RequestBody != `{"text":"a"}` {
		t.Errorf("after: %+v, %v", shown, err)
	}
}

func TestReplayStandsInTheOrderOfItsSubscriber(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	s, err := a.AddSubscriber(ctx, api.SubscriberChange{
		URL: value("https://r.example/200"), Events: &[]webhook.Pattern{"user.*"}, Active: value(false), Ordered: value(api.Ordered("true")),
	})
	if err != nil {
		t.Fatal(err)
	}
	first := a.publish(t, "user.created")
	other := a.publish(t, "order.created") // of which its patterns want nothing
	for _, id := range []webhook.EventID{first.ID, other.ID} {
		if replayed, err := a.ReplayEvent(ctx, id, s.ID); err != nil || replayed.Replayed != 1 {
			t.Fatalf("%+v, %v", replayed, err)
		}
	}
	if replayed, err := a.ReplayEvents(ctx, api.EventReplay{Filter: api.EventFilter{Type: "user.*"}}); err != nil || replayed.Replayed != 1 {
		t.Fatalf("%+v, %v", replayed, err)
	}
	found := collect(t, a.Deliveries(ctx, api.DeliveryFilter{}, 0))
	if len(found) != 4 {
		t.Errorf("%d deliveries", len(found))
	}
	for _, d := range found {
		if d.OrderKey == "" {
			t.Errorf("%s stands in no order", d.ID)
		}
	}
}
