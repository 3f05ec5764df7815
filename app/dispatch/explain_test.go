package dispatch_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/webhook"
)

// gates explains the event to the subscriber, by gate.
func gates(t *testing.T, d *dispatch.Dispatcher, store webhook.Store, e webhook.EventID, s webhook.SubscriberID, delivery *webhook.Delivery) map[webhook.GateName]webhook.Gate {
	t.Helper()
	whole, err := store.Event(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	x, err := d.Explain(context.Background(), &whole, s, delivery)
	if err != nil {
		t.Fatal(err)
	}
	all := map[webhook.GateName]webhook.Gate{}
	for _, g := range x.Gates {
		if all[g.Name] = g; g.Reason == "" {
			t.Errorf("%s gives no reason", g.Name)
		}
	}
	return all
}

func TestExplainTellsWhatKeptAnEventAway(t *testing.T) {
	d, store := start(t, &receiver{}, expressing(t))
	add := func(change func(*webhook.Subscriber)) webhook.SubscriberID {
		return subscribe(t, d, "https://example.com", change).ID
	}
	stopped := map[webhook.GateName]webhook.SubscriberID{
		webhook.GateClient:  add(func(s *webhook.Subscriber) { s.ClientID = "other" }),
		webhook.GatePattern: add(func(s *webhook.Subscriber) { s.ClientID, s.Events = "acme", []webhook.Pattern{"user.*"} }),
		webhook.GateFilter:  add(func(s *webhook.Subscriber) { s.ClientID, s.Filter = "acme", ".data.amount > 100" }),
	}
	e := event()
	e.ClientID, e.Data = "acme", []byte(`{"amount":5}`)
	accepted, deliveries, err := d.Publish(t.Context(), e, webhook.NewDedupeKey("inbound", "1"))
	if err != nil || len(deliveries) != 0 {
		t.Fatal(deliveries, err)
	}
	stopped[webhook.GateExisted] = add(func(s *webhook.Subscriber) { s.ClientID = "acme" })
	for name, id := range stopped {
		for _, g := range gates(t, d, store, accepted.ID, id, nil) {
			if (g.Name == name) != (g.Verdict == webhook.Stops) {
				// Who was added later may be kept away by that alone.
				t.Errorf("%s: %s says %s: %s", name, g.Name, g.Verdict, g.Reason)
			}
		}
	}
	failing := add(func(s *webhook.Subscriber) { s.ClientID, s.Filter = "acme", ".data.amount | keys" })
	if g := gates(t, d, store, accepted.ID, failing, nil)[webhook.GateFilter]; g.Verdict != webhook.Unknown || !strings.Contains(g.Reason, "keys") {
		t.Errorf("a filter that fails says %s: %s", g.Verdict, g.Reason)
	}
	if _, err := d.Explain(t.Context(), &e, "sub_unknown", nil); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("an unknown subscriber: %v", err)
	}
}

// TestExplainTellsWhatAPendingDeliveryWaitsFor plays each reason, and expects its
// gate, and no other, to wait.
func TestExplainTellsWhatAPendingDeliveryWaitsFor(t *testing.T) {
	hangs := func(r *http.Request, _ int) (*http.Response, error) { return hang(r) }
	fails := func(*http.Request, int) (*http.Response, error) { return status(500), nil }
	asksForPatience := func(*http.Request, int) (*http.Response, error) { return status(429, "Retry-After", "600"), nil }
	cases := map[webhook.GateName]struct {
		answer func(*http.Request, int) (*http.Response, error)
		terms  func(*webhook.Subscriber)
		events int
		until  bool
	}{
		webhook.GateActive:     {terms: func(s *webhook.Subscriber) { s.Active, s.PausedReason = false, "maintenance" }, events: 1},
		webhook.GateSchedule:   {answer: fails, events: 1, until: true},
		webhook.GateRetryAfter: {answer: asksForPatience, terms: func(s *webhook.Subscriber) { s.Concurrency = 1 }, events: 2, until: true},
		webhook.GateRate:       {terms: func(s *webhook.Subscriber) { s.RateLimit = 0.01 }, events: 2, until: true},
		webhook.GateRoom:       {answer: hangs, terms: func(s *webhook.Subscriber) { s.Concurrency, s.Timeout = 1, time.Minute }, events: 2},
		webhook.GateOrder:      {answer: fails, terms: func(s *webhook.Subscriber) { s.Ordered = webhook.OrderedStrictly }, events: 2},
		webhook.GateOutage:     {answer: fails, terms: func(s *webhook.Subscriber) { s.Schedule = webhook.Schedule{0, 0, 0, 0} }, events: 2, until: true},
	}
	for name, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			d, store := start(t, &receiver{answer: c.answer}, func(o *dispatch.Options) {
				o.Hold = webhook.HoldPolicy{Hold: name == webhook.GateOutage, Failures: 3}
			})
			s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
				if c.terms != nil {
					c.terms(s)
				}
			})
			var last webhook.NewDelivery
			for i := range c.events {
				last = publish(t, d, string(rune('a'+i)))[0]
				time.Sleep(10 * time.Millisecond)
				settle()
			}
			delivery := find(t, store, last.ID)
			if delivery.State != webhook.Pending {
				t.Fatalf("%s: the delivery is %s", name, delivery.State)
			}
			for _, g := range gates(t, d, store, delivery.EventID, s.ID, &delivery) {
				if (g.Name == name) != (g.Verdict == webhook.Waits) {
					t.Errorf("%s: %s says %s: %s", name, g.Name, g.Verdict, g.Reason)
				}
				if g.Name == name && g.Until.IsZero() == c.until {
					t.Errorf("%s waits until %v", name, g.Until)
				}
				// The summary of an explanation relies on it.
				if (g.Name == webhook.GateRetryAfter || g.Name == webhook.GateRate) && c.until && g.Verdict == webhook.Waits && !strings.Contains(g.Reason, g.Until.UTC().Format(time.DateTime)) {
					t.Errorf("%s waits until %v, and says: %s", name, g.Until, g.Reason)
				}
				if strings.Contains(g.Reason, "last 1 ") {
					t.Errorf("%s: %s says: %s", name, g.Name, g.Reason)
				}
			}
		})
	}
}

// TestExplainNamesTheDeadLetterThatBlocks, and not one that waits for it too.
func TestExplainNamesTheDeadLetterThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, store := start(t, &receiver{answer: func(*http.Request, int) (*http.Response, error) { return status(500), nil }},
			func(o *dispatch.Options) { o.Policy = webhook.RetryPolicy{Schedule: webhook.DefaultSchedule()} })
		s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Ordered = webhook.OrderedStrictly })
		head := publish(t, d, "1")[0]
		settle()
		publish(t, d, "2")
		last := find(t, store, publish(t, d, "3")[0].ID)
		g := gates(t, d, store, last.EventID, s.ID, &last)[webhook.GateOrder]
		if g.Verdict != webhook.Waits || !strings.Contains(g.Reason, string(head.ID)) || !strings.Contains(g.Reason, "dead") ||
			strings.Contains(g.Reason, "cancel") { // which a dead letter cannot be
			t.Errorf("it says %s: %s", g.Verdict, g.Reason)
		}
	})
}
