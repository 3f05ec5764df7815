package explain_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/explain"
	"github.com/pintle/pintle/app/webhook"
)

// noon is when all events of the tests come.
func noon() time.Time { return time.Date(2025, 1, 2, 12, 0, 0, 0, time.UTC) }

func gate(name webhook.GateName, verdict webhook.Verdict, reason string, until time.Duration) webhook.Gate {
	g := webhook.Gate{Name: name, Verdict: verdict, Reason: reason}
	if until > 0 {
		g.Until = noon().Add(until)
	}
	return g
}

// facts are those of an event at noon for a subscriber that was there before it,
// ten seconds later. Its schedule is 1s and 5s.
func facts(change func(*explain.Facts), gates ...webhook.Gate) *explain.Facts {
	f := &explain.Facts{
		Event:        &webhook.Event{ID: "evt_1", Type: "order.created", Source: "inbound", ReceivedAt: noon()},
		SubscriberID: "sub_1",
		Subscriber:   &webhook.Subscriber{ID: "sub_1", Description: "acme", URL: "https://acme.example/", Active: true, CreatedAt: noon().Add(-time.Hour), UpdatedAt: noon().Add(-time.Hour)},
		Delivery:     &webhook.Delivery{ID: "dlv_1", State: webhook.Pending, CreatedAt: noon(), NextAttemptAt: noon()},
		Policy:       webhook.RetryPolicy{Retries: 2, Schedule: webhook.Schedule{time.Second, 5 * time.Second}, Jitter: 0.1},
		Gates:        gates, Now: noon().Add(10 * time.Second),
	}
	change(f)
	return f
}

func without(f *explain.Facts) { f.Delivery = nil }

func ended(state webhook.State, attempts, spent int, outcome webhook.Outcome, code int) func(*explain.Facts) {
	return func(f *explain.Facts) {
		f.Delivery.State, f.Delivery.Attempts, f.Delivery.Spent = state, attempts, spent
		f.Delivery.LastOutcome, f.Delivery.LastCode = outcome, code
		f.Delivery.FinishedAt, f.Delivery.NextAttemptAt = noon().Add(1234*time.Millisecond), time.Time{}
	}
}

func retrying(f *explain.Facts) {
	f.Delivery.Attempts, f.Delivery.Spent, f.Delivery.LastOutcome, f.Delivery.LastCode = 1, 1, webhook.HTTPStatus, 503
	f.Delivery.NextAttemptAt = noon().Add(12 * time.Second)
}

func TestSummaryIsTheAnswerInASentence(t *testing.T) {
	both := func(changes ...func(*explain.Facts)) func(*explain.Facts) {
		return func(f *explain.Facts) {
			for _, change := range changes {
				change(f)
			}
		}
	}
	for _, c := range []struct {
		facts *explain.Facts
		want  string
	}{
		{facts(ended(webhook.Delivered, 2, 1, webhook.OK, 200)), "Delivered with attempt 2, 1.2s after the event."},
		{facts(both(ended(webhook.Delivered, 1, 0, webhook.OK, 200), func(f *explain.Facts) { f.Replayed, f.Delivery.CreatedAt = true, noon().Add(time.Second) })),
			"Delivered with attempt 1, 234ms after it was replayed."},
		{facts(ended(webhook.Dead, 3, 3, webhook.Timeout, 0)), "Dead since 2025-01-02 12:00:01Z: its retries are used up, and the last attempt ended with timeout."},
		{facts(ended(webhook.Dead, 1, 1, webhook.HTTPStatus, 410)), "Dead since 2025-01-02 12:00:01Z: status 410 is final."},
		{facts(ended(webhook.Cancelled, 1, 1, webhook.Timeout, 0)), "Given up at 2025-01-02 12:00:01Z by a person."},
		{facts(ended(webhook.Cancelled, 0, 0, "", 0), gate(webhook.GateFilter, webhook.Stops, "no", 0)), "Not sent: its filter says no."},
		{facts(both(ended(webhook.Cancelled, 0, 0, "", 0), func(f *explain.Facts) { f.Subscriber = nil })), "Given up at 2025-01-02 12:00:01Z: the subscriber has been removed."},

		{facts(func(*explain.Facts) {}, gate(webhook.GatePattern, webhook.Stops, "replayed to it all the same", 0)), "Due now: try 1 of 3 is about to begin, or under way."},
		{facts(retrying, gate(webhook.GateSchedule, webhook.Waits, "x", 12*time.Second)),
			"Waits: try 2 of 3 is at 2025-01-02 12:00:12Z, for the last attempt ended with status 503."},
		{facts(func(f *explain.Facts) { f.Subscriber.PausedReason = "maintenance." }, gate(webhook.GateActive, webhook.Waits, "x", 0)), "Waits: the subscriber is paused: maintenance."},
		{facts(func(f *explain.Facts) { f.Subscriber.FailingSince = noon().Add(-time.Minute) },
			gate(webhook.GateActive, webhook.Passes, "", 0), gate(webhook.GateOutage, webhook.Waits, "x", time.Minute), gate(webhook.GateSchedule, webhook.Waits, "x", time.Second)),
			"Waits: the subscriber is in an outage since 2025-01-02 11:59:00Z; the next probe is at 2025-01-02 12:01:00Z."},
		{facts(func(*explain.Facts) {}, gate(webhook.GateOrder, webhook.Waits, "Something is before it.", 0)), "Waits: something is before it."},
		{facts(func(*explain.Facts) {}, gate(webhook.GateRate, webhook.Waits, "its rate allows the next request at noon", time.Minute)), "Waits: its rate allows the next request at noon."},

		{facts(without, gate(webhook.GateClient, webhook.Stops, "x", 0)), "Not sent: the event is another client's."},
		{facts(without, gate(webhook.GatePattern, webhook.Stops, "x", 0), gate(webhook.GateFilter, webhook.Stops, "x", 0)), "Not sent: none of its patterns selects order.created."},
		{facts(without, gate(webhook.GateFilter, webhook.Stops, "x", 0)), "Not sent: its filter says no."},
		{facts(without, gate(webhook.GateExisted, webhook.Stops, "It was added later.", 0)), "Not sent: it was added later."},
		{facts(without, gate(webhook.GateFilter, webhook.Unknown, "the filter gives no answer", 0)), "Not sent, and why cannot be told: the filter gives no answer."},
		{facts(both(without, func(f *explain.Facts) { f.Subscriber.UpdatedAt = noon().Add(time.Second) })),
			"Not sent when it came, but it would be now: the subscriber was changed at 2025-01-02 12:00:01Z."},
		{facts(without), "Nothing is in its way, but there is no delivery: it was a test of another subscriber, or the delivery has been deleted."},
	} {
		x := c.facts.Explain()
		if x.Summary != c.want {
			t.Errorf("got  %s\nwant %s", x.Summary, c.want)
		}
		if len(x.Gates) != len(c.facts.Gates) || x.Gates == nil {
			t.Errorf("%s: gates %v", c.want, x.Gates)
		}
	}
}

func TestSubscriberThatIsGoneIsExplainedByItsIDAlone(t *testing.T) {
	x := facts(func(f *explain.Facts) { f.Subscriber = nil }).Explain()
	if x.SubscriberID != "sub_1" || x.SubscriberName != "" || x.URL != "" || x.Gates == nil {
		t.Errorf("got %+v", x)
	}
}

// attempt is one that began so long after noon and took 100 ms.
func attempt(number int, after time.Duration, outcome webhook.Outcome, code int, fault string) webhook.Attempt {
	return webhook.Attempt{Number: number, StartedAt: noon().Add(after), Duration: 100 * time.Millisecond, Outcome: outcome, Code: code, Error: fault}
}

// told writes a story in short: the seconds since noon, a p if it is planned, the
// attempt and what happened.
func told(story []api.Moment) []string {
	var lines []string
	for _, m := range story {
		planned := ""
		if m.Planned {
			planned = "p"
		}
		lines = append(lines, fmt.Sprintf("%g%s %d %s", m.At.Sub(noon()).Seconds(), planned, m.Attempt, m.What))
	}
	return lines
}

func TestStoryTellsWhatHappenedAndWhatIsPlanned(t *testing.T) {
	beginning := []string{"0 0 The event was accepted from the source inbound.", "0 0 The delivery to acme was made."}
	for name, c := range map[string]struct {
		facts    *explain.Facts
		attempts []webhook.Attempt
		want     []string
	}{
		"delivered with the second": {
			facts(ended(webhook.Delivered, 2, 1, webhook.OK, 200)),
			[]webhook.Attempt{attempt(1, 0, webhook.HTTPStatus, 503, ""), attempt(2, 1100*time.Millisecond, webhook.OK, 200, "")},
			[]string{
				"0 1 Attempt 1 was answered with 503 after 100ms. It was tried again 1s later.",
				"1.1 2 Attempt 2 was answered with 200 after 100ms.",
				"1.234 0 It was delivered.",
			},
		},
		"dead, and replayed": {
			facts(func(f *explain.Facts) {
				retrying(f)
				f.Delivery.Attempts, f.Delivery.Spent, f.Delivery.NextAttemptAt = 4, 1, noon().Add(101*time.Second)
				f.Now = noon().Add(100 * time.Second)
			}, gate(webhook.GateSchedule, webhook.Waits, "x", 101*time.Second)),
			[]webhook.Attempt{
				attempt(1, 0, webhook.Timeout, 0, "Too slow."), attempt(2, 1100*time.Millisecond, webhook.Transformation, 0, "transform: no"),
				attempt(3, 6300*time.Millisecond, webhook.Connect, 0, ""), attempt(4, 90*time.Second, webhook.Connect, 0, ""),
			},
			[]string{
				"0 1 Attempt 1 failed with timeout after 100ms: too slow. It was tried again 1s later.",
				"1.1 2 Attempt 2 sent nothing, for an expression failed: transform: no. It was tried again 5.1s later.",
				"6.3 3 Attempt 3 failed with connect after 100ms.",
				"90 0 Before this, a person had it sent again, with its whole schedule before it.",
				"90 4 Attempt 4 failed with connect after 100ms.",
				"101p 5 Attempt 5 is due, try 2 of 3.",
				"106p 6 If that fails: attempt 6, try 3 of 3.",
				"106p 0 If that fails too, it is a dead letter at about this time.",
			},
		},
		"probes keep to no schedule": {
			facts(func(f *explain.Facts) { retrying(f); f.Subscriber.FailingSince = noon() }, gate(webhook.GateOutage, webhook.Waits, "x", time.Minute)),
			[]webhook.Attempt{attempt(1, 0, webhook.Timeout, 0, ""), attempt(2, 10*time.Second, webhook.Timeout, 0, ""), attempt(3, 30*time.Second, webhook.Timeout, 0, ""), attempt(4, 70*time.Second, webhook.Timeout, 0, "")},
			[]string{
				"0 1 Attempt 1 failed with timeout after 100ms. It was tried again 9.9s later.",
				"10 2 Attempt 2 failed with timeout after 100ms. It was tried again 19.9s later.",
				"30 3 Attempt 3 failed with timeout after 100ms. It was tried again 39.9s later.",
				"70 4 Attempt 4 failed with timeout after 100ms.",
				"60p 0 The next probe of the subscriber: once one succeeds, its deliveries go out again.",
			},
		},
		"delivered, and resent": {
			facts(func(f *explain.Facts) {
				f.Delivery.Attempts, f.Delivery.LastOutcome = 1, webhook.OK
				f.Delivery.NextAttemptAt = noon().Add(9 * time.Second)
			}),
			[]webhook.Attempt{attempt(1, 0, webhook.OK, 200, "")},
			[]string{
				"0 1 Attempt 1 was answered with 200 after 100ms.",
				"9 0 A person had it sent again, with its whole schedule before it.",
				"10p 2 Attempt 2 is due, try 1 of 3.",
				"11p 3 If that fails: attempt 3, try 2 of 3.",
				"16p 4 If that fails: attempt 4, try 3 of 3.",
				"16p 0 If that fails too, it is a dead letter at about this time.",
			},
		},
		"paused": {facts(func(*explain.Facts) {}, gate(webhook.GateActive, webhook.Waits, "x", 0)), nil, nil},
		"gone": {
			facts(ended(webhook.Dead, 1, 1, webhook.HTTPStatus, 410)), []webhook.Attempt{attempt(1, 0, webhook.HTTPStatus, 410, "")},
			[]string{"0 1 Attempt 1 was answered with 410 after 100ms.", "1.234 0 The receiver wants no more: it is a dead letter, and the subscriber was paused."},
		},
		"interrupted": {
			facts(ended(webhook.Cancelled, 1, 0, webhook.Interrupted, 0)), []webhook.Attempt{attempt(1, 0, webhook.Interrupted, 0, "")},
			[]string{"0 1 Attempt 1 was cut short when Pintle stopped, and spent no retry.", "1.234 0 Given up at 2025-01-02 12:00:01Z by a person."},
		},
	} {
		if diff := cmp.Diff(append(beginning[:2:2], c.want...), told(c.facts.Story(c.attempts))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestStoryOfALongScheduleIsBounded(t *testing.T) {
	f := facts(func(f *explain.Facts) { f.Policy.Retries = 100 })
	story := f.Story(nil)
	last := story[len(story)-1]
	if len(story) != 2+1+10+1 || !strings.Contains(last.What, "dead letter") || last.At.Sub(f.Now) != time.Second+99*5*time.Second {
		t.Errorf("%d moments, the last %v", len(story), last)
	}
}

func TestEventIsSummedUpOverItsSubscribers(t *testing.T) {
	in := func(state webhook.State) api.Explanation {
		return api.Explanation{Summary: "as it is", Delivery: &api.Delivery{State: state}}
	}
	none := api.Explanation{Summary: "Not sent: so."}
	for want, subscribers := range map[string][]api.Explanation{
		"Sent to nobody: there are no subscribers.": {},
		"Not sent: so.": {none},
		"Sent to nobody: none of 2 subscribers received it.":            {none, none},
		"Of 4 subscribers: 1 delivered, 1 pending, 1 dead, 1 not sent.": {in(webhook.Dead), in(webhook.Delivered), none, in(webhook.Pending)},
		"Of 2 subscribers: 1 delivered, 1 cancelled.":                   {in(webhook.Delivered), in(webhook.Cancelled)},
	} {
		x := explain.Event(&webhook.Event{ID: "evt_1", Type: "a.b"}, subscribers, true)
		if x.Summary != want || x.EventID != "evt_1" || x.EventType != "a.b" || !x.Partial {
			t.Errorf("got %+v, want %s", x, want)
		}
	}
}
