// Package explain says in words why an event reaches a subscriber, or does not:
// it makes the answers of the admin API of what the gates between the two say,
// and of what is stored.
package explain

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// Facts are what an explanation is made of. All fields without a stated default
// are needed.
type Facts struct {
	Event        *webhook.Event
	SubscriberID webhook.SubscriberID
	// Subscriber is nil where it has been removed.
	Subscriber *webhook.Subscriber
	// Delivery is the newest one of the event to the subscriber; nil: there is
	// none.
	Delivery *webhook.Delivery
	// Replayed says that the delivery was not made when the event came.
	Replayed bool
	// Policy is when the delivery is tried again.
	Policy webhook.RetryPolicy
	// Gates are what stands between the two; nil where the subscriber has been
	// removed.
	Gates []webhook.Gate
	Now   time.Time
}

// Explain says what became of the event for one subscriber. The delivery is left
// out of the answer.
func (f *Facts) Explain() api.Explanation {
	x := api.Explanation{SubscriberID: f.SubscriberID, Summary: f.summary(), Gates: make([]api.Gate, len(f.Gates))}
	if f.Subscriber != nil {
		x.SubscriberName, x.URL = f.Subscriber.Name(), f.Subscriber.URL
	}
	for i, g := range f.Gates {
		x.Gates[i] = api.Gate{Name: g.Name, Verdict: g.Verdict, Reason: clean(g.Reason), Until: api.Time{Time: g.Until}}
	}
	return x
}

// summary is the answer in one sentence.
func (f *Facts) summary() string {
	if f.Delivery == nil {
		return f.unsent()
	}
	d := f.Delivery
	switch d.State {
	case webhook.Delivered:
		after := "the event"
		began := f.Event.ReceivedAt
		if f.Replayed {
			after, began = "it was replayed", d.CreatedAt
		}
		return fmt.Sprintf("Delivered with attempt %d, %s after %s.", d.Attempts, took(d.FinishedAt.Sub(began)), after)
	case webhook.Dead:
		if f.final() {
			return fmt.Sprintf("Dead since %s: %s is final.", shown(d.FinishedAt), result(d.LastOutcome, d.LastCode))
		}
		return fmt.Sprintf("Dead since %s: its retries are used up, and the last attempt ended with %s.", shown(d.FinishedAt), result(d.LastOutcome, d.LastCode))
	case webhook.Cancelled:
		return f.cancelled()
	}
	return f.pending()
}

// final reports whether the last answer killed the delivery before its retries
// were used up.
func (f *Facts) final() bool {
	d := f.Delivery
	return d.Spent <= f.Policy.Retries && d.LastOutcome == webhook.HTTPStatus && d.LastCode >= 400 && d.LastCode < 500
}

// cancelled says why the delivery was given up, as far as that can be seen.
func (f *Facts) cancelled() string {
	switch gate, ok := f.first(webhook.Stops); {
	case f.Subscriber == nil:
		return fmt.Sprintf("Given up at %s: the subscriber has been removed.", shown(f.Delivery.FinishedAt))
	case f.unsentYet() && ok && gate.Name == webhook.GateFilter:
		return "Not sent: its filter says no."
	}
	return fmt.Sprintf("Given up at %s by a person.", shown(f.Delivery.FinishedAt))
}

// unsentYet reports whether no request was made for the delivery.
func (f *Facts) unsentYet() bool {
	return f.Delivery.LastOutcome == "" || f.Delivery.LastOutcome == webhook.Transformation
}

// pending says what a delivery waits for that is pending.
func (f *Facts) pending() string {
	gate, waits := f.waiting()
	if !waits {
		return fmt.Sprintf("Due now: %s is about to begin, or under way.", f.try(f.Delivery.Spent+1))
	}
	switch gate.Name {
	case webhook.GateActive:
		return "Waits: the subscriber is paused: " + strings.TrimSuffix(clean(f.Subscriber.PausedReason), ".") + "."
	case webhook.GateOutage:
		return fmt.Sprintf("Waits: the subscriber is in an outage since %s%s.", shown(f.Subscriber.FailingSince), until("; the next probe is at ", gate.Until))
	case webhook.GateSchedule:
		last := ""
		if f.Delivery.LastOutcome != "" {
			last = ", for the last attempt ended with " + result(f.Delivery.LastOutcome, f.Delivery.LastCode)
		}
		return fmt.Sprintf("Waits: %s is at %s%s.", f.try(f.Delivery.Spent+1), shown(gate.Until), last)
	}
	// Of these gates, the reason says until when.
	return "Waits: " + phrase(gate.Reason) + "."
}

// unsent says why there is no delivery.
func (f *Facts) unsent() string {
	if f.Subscriber == nil {
		return "Not sent: the subscriber has been removed."
	}
	gate, stopped := f.first(webhook.Stops)
	if !stopped {
		if unknown, ok := f.first(webhook.Unknown); ok {
			return "Not sent, and why cannot be told: " + phrase(unknown.Reason) + "."
		}
		if f.Subscriber.UpdatedAt.After(f.Event.ReceivedAt) {
			return fmt.Sprintf("Not sent when it came, but it would be now: the subscriber was changed at %s.", shown(f.Subscriber.UpdatedAt))
		}
		return "Nothing is in its way, but there is no delivery: it was a test of another subscriber, or the delivery has been deleted."
	}
	switch gate.Name {
	case webhook.GateClient:
		return "Not sent: the event is another client's."
	case webhook.GatePattern:
		return "Not sent: none of its patterns selects " + f.Event.Type + "."
	case webhook.GateFilter:
		return "Not sent: its filter says no."
	}
	return "Not sent: " + phrase(gate.Reason) + "."
}

// first returns the first gate with the verdict.
func (f *Facts) first(v webhook.Verdict) (webhook.Gate, bool) {
	for _, g := range f.Gates {
		if g.Verdict == v {
			return g, true
		}
	}
	return webhook.Gate{}, false
}

// waiting returns the gate at which a pending delivery stands: the first that
// waits, for no later one opens before it. What decided whether there is a
// delivery at all says no more.
func (f *Facts) waiting() (webhook.Gate, bool) {
	for _, g := range f.Gates {
		switch g.Name {
		case webhook.GateExisted, webhook.GateClient, webhook.GatePattern, webhook.GateFilter:
			continue
		}
		if g.Verdict == webhook.Waits || g.Verdict == webhook.Stops {
			return g, true
		}
	}
	return webhook.Gate{}, false
}

// try names one of the tries that the schedule allows.
func (f *Facts) try(number int) string {
	tries := f.Policy.Retries + 1
	return fmt.Sprintf("try %d of %d", min(number, tries), tries)
}

// Event says what became of an event, from what became of it for each of its
// subscribers. It is partial where there are more of those than are given.
func Event(e *webhook.Event, subscribers []api.Explanation, partial bool) api.EventExplanation {
	fates := map[webhook.State]int{}
	without := 0
	for i := range subscribers {
		if d := subscribers[i].Delivery; d != nil {
			fates[d.State]++
		} else {
			without++
		}
	}
	var parts []string
	for _, state := range []webhook.State{webhook.Delivered, webhook.Pending, webhook.Dead, webhook.Cancelled} {
		if n := fates[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if without > 0 && len(parts) > 0 {
		parts = append(parts, fmt.Sprintf("%d not sent", without))
	}
	var summary string
	switch {
	case len(subscribers) == 0:
		summary = "Sent to nobody: there are no subscribers."
	case len(subscribers) == 1:
		summary = subscribers[0].Summary
	case len(parts) == 0:
		summary = fmt.Sprintf("Sent to nobody: none of %d subscribers received it.", without)
	default:
		summary = fmt.Sprintf("Of %d subscribers: %s.", len(subscribers), strings.Join(parts, ", "))
	}
	return api.EventExplanation{EventID: e.ID, EventType: e.Type, Summary: summary, Subscribers: subscribers, Partial: partial}
}

// result is what an attempt came to: its status, or else its outcome.
func result(outcome webhook.Outcome, code int) string {
	if outcome == webhook.HTTPStatus {
		return "status " + strconv.Itoa(code)
	}
	return cmp.Or(string(outcome), "nothing")
}

// shown writes a time for people, to the second.
func shown(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// until adds a time that is known.
func until(words string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return words + shown(t)
}

// took writes how long something took, no more exactly than people care about.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		d = max(d, 0).Round(10 * time.Microsecond)
	case d < time.Second:
		d = d.Round(time.Millisecond)
	case d < time.Minute:
		d = d.Round(100 * time.Millisecond)
	default:
		d = d.Round(time.Second)
	}
	return webhook.FormatDuration(d)
}

// clean is the text in UTF-8: what is not in it is replaced.
func clean(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

// phrase is a sentence that another one goes on with.
func phrase(sentence string) string {
	sentence = strings.TrimSuffix(clean(sentence), ".")
	first, size := utf8.DecodeRuneInString(sentence)
	return string(unicode.ToLower(first)) + sentence[size:]
}
