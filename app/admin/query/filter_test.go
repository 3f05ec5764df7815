package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

// noon is when all tests of filters take place.
func noon() time.Time { return time.Date(2025, 1, 2, 12, 0, 0, 0, time.UTC) }

// named knows every name as one subscriber's.
func named(name string) []webhook.SubscriberID {
	if name == "" {
		return nil
	}
	return []webhook.SubscriberID{webhook.SubscriberID("id of " + name)}
}

func TestQueryAndParametersMakeOneFilter(t *testing.T) {
	want := webhook.DeliveryFilter{
		ID: "dlv_1", Subscribers: named("a"), EventID: "evt_1", EventType: "order.*", ClientID: "c", State: webhook.Pending, Retrying: true,
		Outcome: webhook.HTTPStatus, CodeFrom: 500, CodeTo: 599, Fingerprint: "no route", Since: noon().Add(-2 * time.Hour), Until: noon().Add(-time.Hour), Text: "x y",
	}
	for _, f := range []api.DeliveryFilter{
		{Q: "dlv_1 sub:a evt_1 type:order.* client:c status:retrying outcome:http_status code:5xx fingerprint:\"no route\" since:2h until:1h x y"},
		{Q: "dlv_1 status:Failing code:5XX x y", Subscriber: "a", EventID: "evt_1", EventType: "order.*", ClientID: "c", State: webhook.Pending, Outcome: webhook.HTTPStatus, Fingerprint: "no route", Since: "2h", Until: "1h"},
		{Q: "dlv_1 sub:a event:evt_1 type:order.* client:c status:retrying outcome:http_status code:5xx fingerprint:\"no route\" since:2h until:1h x y", Subscriber: "a", Since: "2h", EventType: "order.*"},
	} {
		got, faults := query.Deliveries(f, noon(), named)
		if diff := cmp.Diff(want, got); diff != "" || len(faults) > 0 {
			t.Errorf("%+v: %v %s", f, faults, diff)
		}
	}
	events, faults := query.Events(api.EventFilter{Q: "evt_1 type:a.** source:inbound until:1h z", ClientID: "c", Since: "2h"}, noon())
	wantEvents := webhook.EventFilter{ID: "evt_1", Type: "a.**", Source: "inbound", ClientID: "c", Since: noon().Add(-2 * time.Hour), Until: noon().Add(-time.Hour), Text: "z"}
	if diff := cmp.Diff(wantEvents, events); diff != "" || len(faults) > 0 {
		t.Errorf("events: %v %s", faults, diff)
	}
	if dead, faults := query.DeadLetters(api.DeliveryFilter{Q: "code:404"}, noon(), named); len(faults) > 0 || dead.State != webhook.Dead || dead.CodeFrom != 404 || dead.CodeTo != 404 {
		t.Errorf("dead letters: %+v, %v", dead, faults)
	}
	if pending, faults := query.Pending(api.DeliveryFilter{Q: "status:failing"}, noon(), named); len(faults) > 0 || pending.State != webhook.Pending || !pending.Retrying {
		t.Errorf("pending: %+v, %v", pending, faults)
	}
}

func TestEveryFaultHasItsName(t *testing.T) {
	deliveries := func(f api.DeliveryFilter) webhook.FieldsError {
		_, faults := query.Deliveries(f, noon(), named)
		return faults
	}
	dead := func(f api.DeliveryFilter) webhook.FieldsError {
		_, faults := query.DeadLetters(f, noon(), named)
		return faults
	}
	pending := func(f api.DeliveryFilter) webhook.FieldsError {
		_, faults := query.Pending(f, noon(), named)
		return faults
	}
	events := func(f api.EventFilter) webhook.FieldsError { _, faults := query.Events(f, noon()); return faults }
	for _, c := range []struct {
		faults      webhook.FieldsError
		field, says string
	}{
		{deliveries(api.DeliveryFilter{Q: "colour:red"}), "q", `"colour"`},
		{deliveries(api.DeliveryFilter{Q: strings.Repeat("x", 1001)}), "q", "longer than 1000 bytes"},
		{deliveries(api.DeliveryFilter{Q: "a\x00"}), "q", "without a NUL"},
		{events(api.EventFilter{Q: "a\xff"}), "q", "UTF-8"},
		{deliveries(api.DeliveryFilter{Q: "until:0001-01-01T00:00:00Z"}), "q", "until: 0001"},
		{deliveries(api.DeliveryFilter{Q: "status:lost"}), "q", `status: "lost" must be one of pending, delivered, dead, cancelled, retrying`},
		{deliveries(api.DeliveryFilter{Q: "outcome:bad"}), "q", `outcome: "bad"`},
		{deliveries(api.DeliveryFilter{Q: "code:5x"}), "q", `code: "5x"`},
		{deliveries(api.DeliveryFilter{Q: "code:0xx"}), "q", `code: "0xx"`},
		{deliveries(api.DeliveryFilter{Q: "code:99"}), "q", `code: "99"`},
		{deliveries(api.DeliveryFilter{Q: "since:soon"}), "q", `since: "soon"`},
		{deliveries(api.DeliveryFilter{Q: "until:-2h"}), "q", `until: "-2h"`},
		{deliveries(api.DeliveryFilter{Q: "type:*.x"}), "q", `type: "*.x"`},
		{deliveries(api.DeliveryFilter{Q: "source:inbound"}), "q", `source: "inbound": deliveries`},
		{deliveries(api.DeliveryFilter{Q: "sub:a", Subscriber: "b"}), "q", `sub: "a", but the parameter subscriber says "b"`},
		{deliveries(api.DeliveryFilter{Q: "evt_1", EventID: "evt_2"}), "q", `event: "evt_1"`},
		{deliveries(api.DeliveryFilter{Q: "code:5xx", Code: 503}), "q", `code: "5xx", but the parameter code says 503`},
		{deliveries(api.DeliveryFilter{Q: "status:retrying", State: webhook.Dead}), "q", "status"},
		{deliveries(api.DeliveryFilter{Q: "status:dead", Since: "soon"}), "since", "soon"},
		{deliveries(api.DeliveryFilter{State: "lost"}), "state", "must be one of"},
		{deliveries(api.DeliveryFilter{State: "retrying"}), "state", "must be one of"},
		{deliveries(api.DeliveryFilter{Outcome: "bad"}), "outcome", "must be one of"},
		{deliveries(api.DeliveryFilter{Code: 5}), "code", "between 100 and 999"},
		{deliveries(api.DeliveryFilter{EventType: "*.x"}), "event_type", "*.x"},
		{dead(api.DeliveryFilter{State: webhook.Pending}), "state", "dead"},
		{dead(api.DeliveryFilter{Q: "status:pending"}), "q", "dead"},
		{dead(api.DeliveryFilter{Q: "status:failing"}), "q", "dead"},
		{pending(api.DeliveryFilter{State: webhook.Dead}), "state", "only what is pending"},
		{pending(api.DeliveryFilter{Q: "status:delivered"}), "q", "only what is pending"},
		{deliveries(api.DeliveryFilter{Q: "fingerprint:a", Fingerprint: "b"}), "q", `fingerprint: "a", but the parameter fingerprint says "b"`},
		{events(api.EventFilter{Q: "fingerprint:a"}), "q", `fingerprint: "a": events`},
		{events(api.EventFilter{Q: "status:dead"}), "q", `status: "dead": events`},
		{events(api.EventFilter{Q: "sub:a"}), "q", `sub: "a": events`},
		{events(api.EventFilter{Q: "dlv_1"}), "q", "events"},
		{events(api.EventFilter{Q: "ip:192.0.2.1"}), "q", `ip: "192.0.2.1": events are not selected by that`},
		{events(api.EventFilter{Q: "rej_1"}), "q", `rej_: "rej_1": events`},
		{deliveries(api.DeliveryFilter{Q: "ip:192.0.2.1"}), "q", `ip: "192.0.2.1": deliveries are not selected by that`},
		{deliveries(api.DeliveryFilter{Q: "rej_1"}), "q", `rej_: "rej_1": deliveries`},
		{deliveries(api.DeliveryFilter{Q: "code:invalid_signature"}), "q", `code: "invalid_signature"`},
		{events(api.EventFilter{Q: "type:*.x"}), "q", "type"},
		{events(api.EventFilter{Type: "*.x"}), "type", "*.x"},
		{events(api.EventFilter{Until: "soon"}), "until", "soon"},
		{events(api.EventFilter{Q: "since:2h", Since: "1h"}), "q", "since"},
	} {
		if len(c.faults) != 1 || !strings.Contains(c.faults[c.field], c.says) {
			t.Errorf("got %v, want only %s with %q", c.faults, c.field, c.says)
		}
	}
}

// FuzzDeadLetters holds the filter of a foreign query, which may say what is to
// be deleted, to these rules: what is wrong with it is said under its name, and
// what is not wrong bounds the filter.
func FuzzDeadLetters(f *testing.F) {
	for _, seed := range []string{"", "sub:a status:dead since:2h x", "fingerprint:\"a b\" outcome:connect", "until:0001-01-01T00:00:00Z", "until:0s type:a.** code:5xx", "since:99999999999 evt_1 dlv_1", "outcome:ok client:c \x00", `sub:"a b" "until:1h"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := query.Parse(text)
		filter, faults := query.DeadLetters(api.DeliveryFilter{Q: text}, noon(), named)
		if filter.State != webhook.Dead {
			t.Errorf("%q selects what is %s", text, filter.State)
		}
		if len(faults) > 0 {
			if len(faults) > 1 || faults["q"] == "" {
				t.Errorf("%q has the faults %v", text, faults)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q passes in spite of %v", text, err)
		}
		for _, c := range []struct {
			said  string
			bound bool
		}{
			{q.Subscriber, len(filter.Subscribers) == 1}, {q.Type, filter.EventType != ""}, {q.Client, filter.ClientID != ""},
			{q.Outcome, filter.Outcome != ""}, {q.Code, filter.CodeFrom >= 100 && filter.CodeTo >= filter.CodeFrom},
			{q.Since, !filter.Since.IsZero()}, {q.Until, !filter.Until.IsZero()}, {q.Event, filter.EventID != ""},
			{q.Delivery, filter.ID != ""}, {q.Fingerprint, filter.Fingerprint != ""}, {q.Text, filter.Text != ""},
		} {
			if c.said != "" && !c.bound {
				t.Errorf("%q: %q does not bound %+v", text, c.said, filter)
			}
		}
	})
}
