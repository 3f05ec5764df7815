package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// events reads a whole list.
func events(t *testing.T, s webhook.Store, f webhook.EventFilter) []webhook.EventSummary {
	t.Helper()
	return walk(t, func(page webhook.Page) (webhook.List[webhook.EventSummary], error) { return s.Events(ctx, f, page) })
}

// deliveries reads a whole list.
func deliveries(t *testing.T, s webhook.Store, f webhook.DeliveryFilter) []webhook.Delivery {
	t.Helper()
	return walk(t, func(page webhook.Page) (webhook.List[webhook.Delivery], error) { return s.Deliveries(ctx, f, page) })
}

func walk[T any](t *testing.T, part func(webhook.Page) (webhook.List[T], error)) []T {
	t.Helper()
	var all []T
	for page := (webhook.Page{Limit: 100}); ; {
		list, err := part(page)
		must(t, err)
		all = append(all, list.Items...)
		if list.Next == "" {
			return all
		}
		if page.Before != "" && list.Next >= page.Before {
			t.Fatalf("a list goes on at %s after %s", list.Next, page.Before)
		}
		page.Before = list.Next
	}
}

func deliveryIDs(deliveries []webhook.Delivery) []webhook.DeliveryID {
	var ids []webhook.DeliveryID
	for _, d := range deliveries {
		ids = append(ids, d.ID)
	}
	return ids
}

// testSparse looks for what is rare among more rows than one call looks at.
func testSparse(t *testing.T, open Open) {
	s := open(t)
	one, two := subscriber(t, s), subscriber(t, s)
	const n = 8_000
	var batch []webhook.Accept
	var results []webhook.Result
	var rareEvents []webhook.EventID
	var rare []webhook.DeliveryID
	for i := range n {
		a := event(s, fmt.Sprint(i), start.Add(time.Duration(i)*time.Millisecond), one)
		r := result(a.Deliveries[0].ID, 1, webhook.Delivered, func(r *webhook.Result) { r.DueAt = a.Event.ReceivedAt })
		if i == 0 || i == 1 || i == n-1 {
			a.Event.Data = []byte(`"needle"`)
			r.Attempt.Code = 202
			rareEvents = append([]webhook.EventID{a.Event.ID}, rareEvents...)
			rare = append([]webhook.DeliveryID{a.Deliveries[0].ID}, rare...)
		}
		batch, results = append(batch, a), append(results, r)
	}
	accept(t, s, batch...)
	must(t, s.Record(ctx, results))
	var found []webhook.EventID
	for _, e := range events(t, s, webhook.EventFilter{Text: "needle"}) {
		found = append(found, e.ID)
	}
	equal(t, "events", found, rareEvents)
	for _, f := range []webhook.DeliveryFilter{
		{Text: "needle"}, {CodeFrom: 202, CodeTo: 202}, {Text: "needle", State: webhook.Delivered},
		{Subscribers: []webhook.SubscriberID{one.ID}, CodeFrom: 202}, {Subscribers: []webhook.SubscriberID{one.ID, two.ID}, CodeFrom: 202},
	} {
		equal(t, fmt.Sprintf("%+v", f), deliveryIDs(deliveries(t, s, f)), rare)
	}
	if all := deliveries(t, s, webhook.DeliveryFilter{EventType: "order.*"}); len(all) != n {
		t.Errorf("a list that everything passes has %d, want %d", len(all), n)
	}
}

func testText(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b := event(s, "Key-1", start, sub), event(s, "key_2", start, sub)
	a.Event.Data, b.Event.Data = []byte(`"100% sure"`), []byte(`"100 \\ é"`)
	b.Event.Type = "user.created"
	accept(t, s, a, b)
	must(t, s.Record(ctx, []webhook.Result{result(a.Deliveries[0].ID, 1, webhook.Dead, func(r *webhook.Result) {
		r.Attempt.Outcome, r.Attempt.Code, r.Attempt.Error = webhook.Connect, 0, "Connection refused"
	})}))
	for text, want := range map[string]string{
		"100": "ab", "100%": "a", "0% S": "a", "_": "b", `\\`: "b", "é": "b", "key": "ab", "KEY-1": "a", "user.": "b", "nothing": "", "%": "a",
	} {
		got := ""
		for _, e := range events(t, s, webhook.EventFilter{Text: text}) {
			got = map[webhook.EventID]string{a.Event.ID: "a", b.Event.ID: "b"}[e.ID] + got
		}
		if got != want {
			t.Errorf("events with %q: %q, want %q", text, got, want)
		}
		got = ""
		for _, d := range deliveries(t, s, webhook.DeliveryFilter{Text: text}) {
			got = map[webhook.EventID]string{a.Event.ID: "a", b.Event.ID: "b"}[d.EventID] + got
		}
		if got != want {
			t.Errorf("deliveries with %q: %q, want %q", text, got, want)
		}
	}
	if got := deliveries(t, s, webhook.DeliveryFilter{Text: "REFUSED"}); len(got) != 1 || got[0].EventID != a.Event.ID {
		t.Errorf("deliveries whose last error has the text: %v", got)
	}
}

func testPatterns(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	types := []string{"order", "order.created", "order.item.added", "orders.created", "ordering", "Order.created", "order.a_b", "order.aXb"}
	for i, eventType := range types {
		a := event(s, fmt.Sprint(i), start, sub)
		a.Event.Type = eventType
		accept(t, s, a)
	}
	for _, p := range []webhook.Pattern{"*", "**", "order.*", "order.**", "order.created", "order.item.*", "order.a_b", "order", "none.*"} {
		var want, inEvents, inDeliveries []string
		for _, eventType := range types {
			if p.Match(eventType) {
				want = append([]string{eventType}, want...)
			}
		}
		for _, e := range events(t, s, webhook.EventFilter{Type: p}) {
			inEvents = append(inEvents, e.Type)
		}
		for _, d := range deliveries(t, s, webhook.DeliveryFilter{EventType: p}) {
			inDeliveries = append(inDeliveries, d.EventType)
		}
		equal(t, "events of "+string(p), inEvents, want)
		equal(t, "deliveries of "+string(p), inDeliveries, want)
	}
}

func testSummaries(t *testing.T, open Open) {
	s := open(t)
	var many []webhook.Subscriber
	for range 300 {
		many = append(many, subscriber(t, s))
	}
	lone, plain := event(s, "lone", start), event(s, "plain", start.Add(time.Second), many[:3]...)
	plain.Event.Data = []byte(`"é` + strings.Repeat("x", 20_000) + `"`)
	accept(t, s, lone, plain)
	must(t, s.Record(ctx, []webhook.Result{
		result(plain.Deliveries[0].ID, 1, webhook.Delivered, func(r *webhook.Result) { r.DueAt = plain.Event.ReceivedAt }),
		result(plain.Deliveries[1].ID, 1, webhook.Dead, func(r *webhook.Result) { r.DueAt = plain.Event.ReceivedAt }),
	}))
	got := events(t, s, webhook.EventFilter{})
	want := []webhook.EventSummary{
		{Event: plain.Event, Size: len(plain.Event.Data), Deliveries: map[webhook.State]int{webhook.Delivered: 1, webhook.Dead: 1, webhook.Pending: 1}},
		{Event: lone.Event, Size: len(lone.Event.Data), Deliveries: map[webhook.State]int{}},
	}
	want[0].Data, want[1].Data = nil, nil
	equal(t, "events", got, want)

	var wide []webhook.Accept
	for i := range 100 {
		wide = append(wide, event(s, fmt.Sprint(i), start.Add(time.Hour+time.Duration(i)*time.Second), many...))
	}
	accept(t, s, wide...)
	list, err := s.Events(ctx, webhook.EventFilter{}, webhook.Page{Limit: 100})
	must(t, err)
	for i, e := range list.Items {
		n, whole := e.Deliveries[webhook.Pending], e.Deliveries[webhook.Pending] == len(many)
		if whole == e.Partial || n > len(many) {
			t.Fatalf("event %d of a wide page has counted %d of %d, and says partial: %v", i, n, len(many), e.Partial)
		}
	}
	if list.Items[0].Partial {
		t.Error("the newest event was not counted")
	}
}

func testContext(t *testing.T, open Open) {
	s := open(t)
	accept(t, s, event(s, "a", start, subscriber(t, s)))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err1 := s.Events(ended, webhook.EventFilter{}, webhook.Page{Limit: 1})
	_, err2 := s.Deliveries(ended, webhook.DeliveryFilter{Text: "x"}, webhook.Page{Limit: 1})
	_, err3 := s.Stats(ended, webhook.StatsQuery{})
	for i, err := range []error{err1, err2, err3} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v, want context.Canceled", i+1, err)
		}
	}
}
