package query

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// FirstMillis is a time in Unix seconds, in the year 5138: whoever gives this or
// a later one means milliseconds.
const FirstMillis = 100_000_000_000

// maxQuery bounds a query, in bytes: looking for a text costs its length times
// that of what it is looked for in.
const maxQuery = 1000

// Events makes the filter that the parameters mean at the time, and names their
// faults.
func Events(f api.EventFilter, now time.Time) (webhook.EventFilter, webhook.FieldsError) {
	m := newMerge(f.Q)
	m.foreign("events", []string{"sub", "status", "outcome", "code", "fingerprint", "ip", "dlv_", "rej_"},
		[]string{m.q.Subscriber, m.q.Status, m.q.Outcome, m.q.Code, m.q.Fingerprint, m.q.IP, m.q.Delivery, m.q.Rejection})
	eventType := merged(m, "type", f.Type, m.q.Type)
	source := merged(m, "source", f.Source, m.q.Source)
	client := merged(m, "client_id", f.ClientID, m.q.Client)
	from, to := m.span(f.Since, f.Until, now)
	m.pattern("type", eventType)
	return webhook.EventFilter{
		ID: webhook.EventID(m.q.Event), Type: eventType, Source: source, ClientID: client, Since: from, Until: to, Text: m.q.Text,
	}, m.faults
}

// Deliveries makes the filter that the parameters mean at the time, and names
// their faults. Whom a name means, named knows.
func Deliveries(f api.DeliveryFilter, now time.Time, named func(string) []webhook.SubscriberID) (webhook.DeliveryFilter, webhook.FieldsError) {
	m := newMerge(f.Q)
	m.foreign("deliveries", []string{"source", "ip", "rej_"}, []string{m.q.Source, m.q.IP, m.q.Rejection})
	status, retrying := m.status()
	subscriber := merged(m, "subscriber", f.Subscriber, m.q.Subscriber)
	eventType := merged(m, "event_type", f.EventType, m.q.Type)
	event := merged(m, "event_id", f.EventID, m.q.Event)
	client := merged(m, "client_id", f.ClientID, m.q.Client)
	state := merged(m, "state", f.State, status)
	outcome := merged(m, "outcome", f.Outcome, m.q.Outcome)
	codeFrom, codeTo := m.code(f.Code)
	fingerprint := merged(m, "fingerprint", f.Fingerprint, m.q.Fingerprint)
	from, to := m.span(f.Since, f.Until, now)
	m.pattern("event_type", eventType)
	if f.State != "" && !slices.Contains(webhook.States(), f.State) {
		m.faults["state"] = "must be one of " + words(webhook.States())
	}
	if outcome != "" && !slices.Contains(webhook.Outcomes(), outcome) {
		m.fault("outcome", f.Outcome != "", fmt.Errorf("%q must be one of %s", outcome, words(webhook.Outcomes())))
	}
	return webhook.DeliveryFilter{
		ID: webhook.DeliveryID(m.q.Delivery), Subscribers: named(subscriber), EventID: event, EventType: eventType, ClientID: client,
		State: state, Retrying: retrying, Outcome: outcome, CodeFrom: codeFrom, CodeTo: codeTo, Fingerprint: fingerprint, Since: from, Until: to, Text: m.q.Text,
	}, m.faults
}

// DeadLetters is [Deliveries] among those that are dead.
func DeadLetters(f api.DeliveryFilter, now time.Time, named func(string) []webhook.SubscriberID) (webhook.DeliveryFilter, webhook.FieldsError) {
	return among(webhook.Dead, "the state of a dead letter is dead", f, now, named)
}

// Pending is [Deliveries] among those that are pending.
func Pending(f api.DeliveryFilter, now time.Time, named func(string) []webhook.SubscriberID) (webhook.DeliveryFilter, webhook.FieldsError) {
	return among(webhook.Pending, "only what is pending can be cancelled", f, now, named)
}

// among is [Deliveries] among those in one state. The fault is that of a filter
// which says another.
func among(state webhook.State, fault string, f api.DeliveryFilter, now time.Time, named func(string) []webhook.SubscriberID) (webhook.DeliveryFilter, webhook.FieldsError) {
	filter, faults := Deliveries(f, now, named)
	if filter.State != "" && filter.State != state && faults["q"] == "" && faults["state"] == "" {
		if f.State != "" {
			faults["state"] = fault
		} else {
			faults["q"] = "status: " + fault
		}
	}
	filter.State = state
	return filter, faults
}

// A merge puts what a query says together with the other parameters.
type merge struct {
	q      Query
	faults webhook.FieldsError
}

func newMerge(text string) *merge {
	q, err := parseBounded(text)
	m := &merge{q: q, faults: webhook.FieldsError{}}
	if err != nil {
		m.faults["q"] = err.Error()
	}
	return m
}

// parseBounded is [Parse] of a text that an engine can look for. One with a NUL
// would end there, and then be found everywhere.
func parseBounded(text string) (Query, error) {
	switch {
	case len(text) > maxQuery:
		return Query{}, fmt.Errorf("longer than %d bytes", maxQuery)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return Query{}, errors.New("must be text in UTF-8, without a NUL")
	}
	return Parse(text)
}

// keyOf names a parameter as the query does.
func keyOf(parameter string) string {
	for _, k := range new(Query).keys() {
		if slices.Contains(k.names, parameter) {
			return k.names[0]
		}
	}
	return "event"
}

// fault names what is wrong with a value: under its parameter, or, if it came
// from the query, under that, where the first fault stays.
func (m *merge) fault(parameter string, given bool, err error) {
	switch {
	case given:
		m.faults[parameter] = err.Error()
	case m.faults["q"] == "":
		m.faults["q"] = keyOf(parameter) + ": " + err.Error()
	}
}

// merged is the value of a parameter, or what the query says in its place. If
// both speak, they must say the same.
func merged[T ~string](m *merge, parameter string, value T, said string) T {
	if value != "" && said != "" && string(value) != said {
		m.fault(parameter, false, fmt.Errorf("%q, but the parameter %s says %q", said, parameter, value))
	}
	if value != "" {
		return value
	}
	return T(said)
}

// foreign refuses a key of the query that the list does not have.
func (m *merge) foreign(list string, names, values []string) {
	for i, value := range values {
		if value != "" && m.faults["q"] == "" {
			m.faults["q"] = fmt.Sprintf("%s: %q: %s are not selected by that", names[i], value, list)
		}
	}
}

// status reads the status of the query: a state, or "retrying", which people
// also call failing.
func (m *merge) status() (state string, retrying bool) {
	switch s := strings.ToLower(m.q.Status); {
	case s == "retrying" || s == "failing":
		return string(webhook.Pending), true
	case s != "" && !slices.Contains(webhook.States(), webhook.State(s)):
		m.fault("state", false, fmt.Errorf("%q must be one of %s, retrying", s, words(webhook.States())))
		return "", false
	default:
		return s, false
	}
}

// code reads the bounds of the HTTP status, zero for none.
func (m *merge) code(parameter int) (first, last int) {
	if parameter != 0 && (parameter < 100 || parameter > 999) {
		m.faults["code"] = "must be an HTTP status between 100 and 999"
	}
	if m.q.Code == "" {
		return parameter, parameter
	}
	first, last, ok := codes(m.q.Code)
	if !ok {
		m.fault("code", false, fmt.Errorf("%q must be an HTTP status such as 503, or a class such as 5xx", m.q.Code))
	} else if parameter != 0 && (first != parameter || last != parameter) {
		m.fault("code", false, fmt.Errorf("%q, but the parameter code says %d", m.q.Code, parameter))
	}
	return first, last
}

// codes reads an HTTP status or a class of them.
func codes(s string) (first, last int, ok bool) {
	if class, found := strings.CutSuffix(strings.ToLower(s), "xx"); found {
		if len(class) != 1 || class[0] < '1' || class[0] > '9' {
			return 0, 0, false
		}
		first = int(class[0]-'0') * 100
		return first, first + 99, true
	}
	n, err := strconv.Atoi(s)
	return n, n, err == nil && n >= 100 && n <= 999
}

// span reads both bounds of time.
func (m *merge) span(since, until string, now time.Time) (from, to time.Time) {
	bound := func(parameter, value, said string) time.Time {
		t, err := parseMoment(merged(m, parameter, value, said), now)
		if err != nil {
			m.fault(parameter, value != "", err)
		}
		return t
	}
	return bound("since", since, m.q.Since), bound("until", until, m.q.Until)
}

// pattern judges a pattern of event types; an empty one selects all.
func (m *merge) pattern(parameter string, p webhook.Pattern) {
	if p == "" {
		return
	}
	if err := p.Validate(); err != nil {
		m.fault(parameter, string(p) != m.q.Type, err)
	}
}

// parseMoment reads a bound of time: RFC 3339, Unix seconds, or a duration,
// which means that long before now. The empty string is the zero time.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case seconds <= 0:
			return time.Time{}, fmt.Errorf("%s is not a time", s)
		case seconds >= FirstMillis:
			return time.Time{}, fmt.Errorf("%s looks like milliseconds; give Unix seconds", s)
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	if ago, err := time.ParseDuration(s); err == nil {
		if ago < 0 {
			return time.Time{}, fmt.Errorf("%q lies in the future; a duration means that long ago", s)
		}
		return now.Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither RFC 3339 nor Unix seconds nor a duration such as 2h", s)
	}
	if t.Unix() <= 0 {
		// The first moment of all would mean that there is no bound.
		return time.Time{}, fmt.Errorf("%s is not a time of anything here", s)
	}
	return t, nil
}

// words writes a list for people.
func words[T ~string](list []T) string {
	all := make([]string, len(list))
	for i, word := range list {
		all[i] = string(word)
	}
	return strings.Join(all, ", ")
}
