package storagetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

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
	if _, err := webhook.FindDelivery(ctx, s, again.Deliveries[0].ID); !errors.Is(err, webhook.ErrNotFound) {
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
	if _, err := webhook.FindDelivery(ctx, s, a.Deliveries[1].ID); !errors.Is(err, webhook.ErrNotFound) {
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
