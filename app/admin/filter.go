package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

// A time in Unix seconds from here on, in the year 5138, is plainly in
// milliseconds.
const firstMillis = 100_000_000_000

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
		case seconds >= firstMillis:
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
	return t, nil
}

// span reads both bounds and puts faults under their names.
func span(since, until string, now time.Time, faults webhook.FieldsError) (from, to time.Time) {
	from, err := parseMoment(since, now)
	if err != nil {
		faults["since"] = err.Error()
	}
	if to, err = parseMoment(until, now); err != nil {
		faults["until"] = err.Error()
	}
	return from, to
}

// checkPattern returns the pattern of event types, whose fault goes under the
// name. An empty one selects all.
func checkPattern(p webhook.Pattern, name string, faults webhook.FieldsError) webhook.Pattern {
	if p != "" {
		if err := p.Validate(); err != nil {
			faults[name] = err.Error()
		}
	}
	return p
}

// A merge puts what a query says into the parameters of a request.
type merge struct{ faults webhook.FieldsError }

// parse reads the parameter q.
func (m merge) parse(q string) query.Query {
	parsed, err := query.Parse(q)
	if err != nil {
		m.faults["q"] = err.Error()
	}
	return parsed
}

// into puts a value of the query into its parameter. What both say must be the
// same.
func into[T ~string](m merge, parameter *T, key, value string) {
	switch {
	case value == "":
	case *parameter != "" && string(*parameter) != value:
		m.faults["q"] = key + " is given beside the query too, and is not the same there"
	default:
		*parameter = T(value)
	}
}

// foreign refuses a key that the list does not have.
func (m merge) foreign(list string, keys map[string]string) {
	for key, value := range keys {
		if value != "" {
			m.faults["q"] = fmt.Sprintf("%s: %s do not have that", key, list)
		}
	}
}

// blame puts the faults of values that came from the query under its name.
func (m merge) blame(q string, parameters map[string]string) {
	if q == "" {
		return
	}
	for name, key := range parameters {
		if fault, ok := m.faults[name]; ok {
			delete(m.faults, name)
			m.faults["q"] = key + ": " + fault
		}
	}
}

// eventFilter reads a filter of events and returns its faults by name.
func eventFilter(f api.EventFilter, now time.Time) (webhook.EventFilter, webhook.FieldsError) {
	faults := webhook.FieldsError{}
	m := merge{faults}
	q := m.parse(f.Q)
	m.foreign("events", map[string]string{"sub": q.Subscriber, "status": q.Status, "outcome": q.Outcome, "code": q.Code, "the id of a delivery": q.Delivery})
	into(m, &f.Type, "type", q.Type)
	into(m, &f.Source, "source", q.Source)
	into(m, &f.ClientID, "client", q.Client)
	into(m, &f.Since, "since", q.Since)
	into(m, &f.Until, "until", q.Until)
	from, to := span(f.Since, f.Until, now, faults)
	checkPattern(f.Type, "type", faults)
	m.blame(f.Q, map[string]string{"type": "type", "since": "since", "until": "until"})
	return webhook.EventFilter{
		ID: webhook.EventID(q.Event), Type: f.Type, Source: f.Source, ClientID: f.ClientID, Since: from, Until: to, Text: q.Text,
	}, faults
}

// retrying is a status of the query language that is no state: pending after at
// least one attempt.
var retrying = []string{"retrying", "failing"}

// deliveryFilter reads a filter of deliveries and returns its faults by name.
func (s *server) deliveryFilter(f api.DeliveryFilter, now time.Time) (webhook.DeliveryFilter, webhook.FieldsError) {
	faults := webhook.FieldsError{}
	m := merge{faults}
	q := m.parse(f.Q)
	m.foreign("deliveries", map[string]string{"source": q.Source})
	again := slices.Contains(retrying, q.Status)
	if again {
		q.Status = string(webhook.Pending)
	}
	into(m, &f.Subscriber, "sub", q.Subscriber)
	into(m, &f.EventType, "type", q.Type)
	into(m, &f.EventID, "the event", q.Event)
	into(m, &f.ClientID, "client", q.Client)
	into(m, &f.State, "status", q.Status)
	into(m, &f.Outcome, "outcome", q.Outcome)
	into(m, &f.Since, "since", q.Since)
	into(m, &f.Until, "until", q.Until)
	from, to := span(f.Since, f.Until, now, faults)
	checkPattern(f.EventType, "event_type", faults)
	if f.State != "" && !slices.Contains(webhook.States(), f.State) {
		faults["state"] = fmt.Sprintf("must be one of %v", webhook.States())
		if q.Status != "" {
			faults["state"] = fmt.Sprintf("must be one of %v or retrying", webhook.States())
		}
	}
	if f.Outcome != "" && !slices.Contains(webhook.Outcomes(), f.Outcome) {
		faults["outcome"] = fmt.Sprintf("must be one of %v", webhook.Outcomes())
	}
	if f.Code != 0 && (f.Code < 100 || f.Code > 999) {
		faults["code"] = "must be an HTTP status between 100 and 999"
	}
	codeFrom, codeTo := f.Code, f.Code
	if q.Code != "" {
		first, last, ok := codes(q.Code)
		switch {
		case !ok:
			faults["q"] = "code: must be an HTTP status such as 503, or a class such as 5xx"
		case f.Code != 0 && (first != f.Code || last != f.Code):
			faults["q"] = "code is given beside the query too, and is not the same there"
		}
		codeFrom, codeTo = first, last
	}
	m.blame(f.Q, map[string]string{"event_type": "type", "state": "status", "outcome": "outcome", "since": "since", "until": "until"})
	return webhook.DeliveryFilter{
		ID: webhook.DeliveryID(q.Delivery), Subscribers: s.named(f.Subscriber), EventID: f.EventID, EventType: f.EventType, ClientID: f.ClientID,
		State: f.State, Retrying: again, Outcome: f.Outcome, CodeFrom: codeFrom, CodeTo: codeTo, Since: from, Until: to, Text: q.Text,
	}, faults
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

// deadFilter reads a filter of dead letters and returns its faults by name.
func (s *server) deadFilter(f api.DeliveryFilter, now time.Time) (webhook.DeliveryFilter, webhook.FieldsError) {
	filter, faults := s.deliveryFilter(f, now)
	if len(faults) == 0 && filter.State != "" && filter.State != webhook.Dead {
		faults["state"] = "the state of a dead letter is dead"
	}
	filter.State = webhook.Dead
	return filter, faults
}

// named resolves what a filter says of the subscriber: nil for all, none for a
// name that nobody has. An id is itself, be it of one that has been removed: its
// history is there.
func (s *server) named(name string) []webhook.SubscriberID {
	if name == "" {
		return nil
	}
	if _, ok := s.o.Store.IDs().Parse(webhook.SubscriberPrefix, name); ok {
		return []webhook.SubscriberID{webhook.SubscriberID(name)}
	}
	ids := []webhook.SubscriberID{}
	for _, sub := range s.o.Dispatcher.Subscribers() {
		if isNamed(sub, name) {
			ids = append(ids, sub.ID)
		}
	}
	return ids
}

// isNamed reports whether people could mean the subscriber by the name, in which
// * stands for any part: its name or description, or the host of its URL.
func isNamed(sub *webhook.Subscriber, name string) bool {
	if glob(name, sub.Name()) || sub.Description != "" && glob(name, sub.Description) {
		return true
	}
	u, err := url.Parse(sub.URL)
	return err == nil && (glob(name, u.Host) || glob(name, u.Hostname()))
}

// glob reports whether the text is as the pattern says, in which * stands for
// any part; whether letters are small or capital does not matter.
func glob(pattern, text string) bool {
	pattern, text = strings.ToLower(pattern), strings.ToLower(text)
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// maxRate bounds what a rate can usefully say.
const maxRate = 100_000

// pace reads how many things are to be done in a second; zero: no bound. It
// returns the time from one to the next.
func pace(rate float64, faults webhook.FieldsError) time.Duration {
	if !(rate >= 0 && rate <= maxRate) {
		faults["rate"] = fmt.Sprintf("must be between 0 and %d", maxRate)
		return 0
	}
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}

// list fetches one page and turns it into the answer. Ids in a cursor have the
// prefix.
func list[T, A any](s *server, query api.PageQuery, prefix string, fetch func(webhook.Page) (webhook.List[T], error), convert func(*T) A) (*answer[api.List[A]], error) {
	if query.Cursor != "" {
		if _, ok := s.o.Store.IDs().Parse(prefix, query.Cursor); !ok {
			return nil, invalidRequest(webhook.FieldsError{"cursor": "is not the next_cursor of this list"})
		}
	}
	found, err := fetch(webhook.Page{Limit: query.Limit, Before: query.Cursor})
	if err != nil {
		return nil, err
	}
	page := api.List[A]{Items: make([]A, len(found.Items)), NextCursor: found.Next}
	for i := range found.Items {
		page.Items[i] = convert(&found.Items[i])
	}
	return &answer[api.List[A]]{page}, nil
}
