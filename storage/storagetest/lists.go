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
	for range 41 {
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
	for i := range 500 {
		wide = append(wide, event(s, fmt.Sprint(i), start.Add(time.Hour+time.Duration(i)*time.Second), many...))
	}
	accept(t, s, wide...)
	list, err := s.Events(ctx, webhook.EventFilter{}, webhook.Page{Limit: 500})
	must(t, err)
	for i, e := range list.Items {
		n, whole := e.Deliveries[webhook.Pending], e.Deliveries[webhook.Pending] == len(many)
		if whole == e.Partial || n > len(many) {
			t.Fatalf("event %d of a wide page has counted %d of %d, and says partial: %v", i, n, len(many), e.Partial)
		}
	}
	if list.Items[0].Partial || !list.Items[499].Partial {
		t.Error("not the newest events were counted, but others")
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
	_, err4 := s.Rejections(ended, webhook.RejectionFilter{}, webhook.Page{Limit: 1})
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v, want context.Canceled", i+1, err)
		}
	}
}
