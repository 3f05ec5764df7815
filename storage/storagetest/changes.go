package storagetest

import (
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

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

func testResendSpread(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b, c := event(s, "a", start, sub), event(s, "b", start, sub), event(s, "c", start, sub)
	accept(t, s, a, b, c)
	must(t, s.Record(ctx, []webhook.Result{result(a.Deliveries[0].ID, 1, webhook.Delivered), result(b.Deliveries[0].ID, 1, webhook.Dead)}))
	first := start.Add(time.Minute)
	ids := []webhook.DeliveryID{a.Deliveries[0].ID, s.IDs().Delivery(start), b.Deliveries[0].ID, c.Deliveries[0].ID}
	resent, err := s.Resend(ctx, ids, first, 250*time.Millisecond)
	must(t, err)
	if len(resent) != 3 {
		t.Fatalf("%d were resent, want 3", len(resent))
	}
	for i, d := range resent {
		if want := first.Add(time.Duration(i) * 250 * time.Millisecond); !d.NextAttemptAt.Equal(want) {
			t.Errorf("number %d is due at %v, want %v", i, d.NextAttemptAt, want)
		}
		equal(t, "answer", d, delivery(t, s, d.ID))
	}
}

func testReplay(t *testing.T, open Open) {
	s := open(t)
	one, two, gone := subscriber(t, s), subscriber(t, s), subscriber(t, s)
	a := event(s, "a", start, one)
	accept(t, s, a)
	must(t, s.RemoveSubscriber(ctx, gone.ID, start))
	at := start.Add(time.Hour)
	replay := func(event webhook.EventID, to webhook.Subscriber, due time.Time) webhook.Replay {
		return webhook.Replay{EventID: event, Delivery: webhook.NewDelivery{ID: s.IDs().Delivery(at), SubscriberID: to.ID}, DueAt: due}
	}
	replays := []webhook.Replay{
		replay(a.Event.ID, one, at), replay(s.IDs().Event(at), one, at), replay(a.Event.ID, gone, at),
		replay("evt_nobody's", two, at), replay(a.Event.ID, two, at.Add(time.Second)),
	}
	made, err := s.Replay(ctx, replays)
	must(t, err)
	if len(made) != 2 {
		t.Fatalf("%d were made, want 2", len(made))
	}
	for i, of := range []webhook.Replay{replays[0], replays[4]} {
		equal(t, "answer", made[i], webhook.Delivery{
			ID: of.Delivery.ID, EventID: a.Event.ID, EventType: "order.created", SubscriberID: of.Delivery.SubscriberID,
			State: webhook.Pending, NextAttemptAt: of.DueAt, CreatedAt: at,
		})
		equal(t, "stored", delivery(t, s, of.Delivery.ID), made[i])
	}
	if d := delivery(t, s, a.Deliveries[0].ID); d.State != webhook.Pending || !d.NextAttemptAt.Equal(start) {
		t.Errorf("the first delivery became %+v", d)
	}
}

func testCancel(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b := event(s, "a", start, sub), event(s, "b", start, sub)
	accept(t, s, a, b)
	waiting, done := a.Deliveries[0].ID, b.Deliveries[0].ID
	must(t, s.Record(ctx, []webhook.Result{result(waiting, 1, webhook.Pending), result(done, 1, webhook.Delivered)}))
	at := start.Add(time.Second)
	cancelled, err := s.Cancel(ctx, []webhook.DeliveryID{done, waiting, waiting, s.IDs().Delivery(start), "dlv_nobody's"}, at)
	must(t, err)
	d := delivery(t, s, waiting)
	equal(t, "answer", cancelled, []webhook.Delivery{d})
	if d.State != webhook.Cancelled || !d.FinishedAt.Equal(at) || !d.NextAttemptAt.IsZero() || d.Attempts != 1 {
		t.Errorf("the cancelled delivery is %+v", d)
	}
	if d := delivery(t, s, done); d.State != webhook.Delivered {
		t.Errorf("the delivered one became %s", d.State)
	}
	must(t, s.Record(ctx, []webhook.Result{result(waiting, 2, webhook.Delivered, func(r *webhook.Result) { r.DueAt = start.Add(time.Minute) })}))
	if d := delivery(t, s, waiting); d.State != webhook.Cancelled || d.Attempts != 2 || d.LastOutcome != webhook.OK {
		t.Errorf("a result made of the cancelled delivery %+v", d)
	}
}

func testPurge(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b := event(s, "a", start, sub), event(s, "b", start, sub)
	accept(t, s, a, b)
	dead, waiting := a.Deliveries[0].ID, b.Deliveries[0].ID
	must(t, s.Record(ctx, []webhook.Result{result(dead, 1, webhook.Dead), result(waiting, 1, webhook.Pending)}))
	n, err := s.Purge(ctx, []webhook.DeliveryID{waiting, dead, dead, s.IDs().Delivery(start)})
	must(t, err)
	equal(t, "purged", n, 1)
	equal(t, "what is left", deliveryIDs(deliveries(t, s, webhook.DeliveryFilter{})), []webhook.DeliveryID{waiting})
	attempts, err := s.Attempts(ctx, dead)
	must(t, err)
	if len(attempts) > 0 {
		t.Errorf("the purged delivery still has %d attempts", len(attempts))
	}
	// Its result may still be on the way.
	must(t, s.Record(ctx, []webhook.Result{result(dead, 2, webhook.Dead)}))
	if _, err := s.Event(ctx, a.Event.ID); err != nil {
		t.Errorf("the event of a purged delivery: %v", err)
	}
}

func testTokens(t *testing.T, open Open) {
	s := open(t)
	at := start.Add(time.Second)
	one := webhook.Token{ID: s.IDs().Token(start), Name: "ci", Role: webhook.Operator, Hash: webhook.HashToken("one"), CreatedAt: start}
	two := webhook.Token{ID: s.IDs().Token(at), Role: webhook.Viewer, Hash: webhook.HashToken("two"), CreatedAt: at}
	must(t, s.PutToken(ctx, one))
	must(t, s.PutToken(ctx, two))
	tokens, err := s.Tokens(ctx)
	must(t, err)
	equal(t, "tokens", tokens, []webhook.Token{two, one})
	one.RevokedAt = at
	must(t, s.PutToken(ctx, one))
	must(t, s.Close())
	tokens, err = open(t).Tokens(ctx)
	must(t, err)
	equal(t, "tokens after one was revoked", tokens, []webhook.Token{two, one})
}
