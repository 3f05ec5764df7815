package admin

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pintle/pintle/app/admin/api"
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

// eventFilter reads a filter of events; a fault is a [*problem].
func eventFilter(f api.EventFilter, now time.Time) (webhook.EventFilter, error) {
	faults := webhook.FieldsError{}
	from, to := span(f.Since, f.Until, now, faults)
	if len(faults) > 0 {
		return webhook.EventFilter{}, invalidRequest(faults)
	}
	return webhook.EventFilter{Type: f.Type, Source: f.Source, ClientID: f.ClientID, Since: from, Until: to}, nil
}

// deliveryFilter reads a filter of deliveries and returns its faults by name.
func deliveryFilter(f api.DeliveryFilter, now time.Time) (webhook.DeliveryFilter, webhook.FieldsError) {
	faults := webhook.FieldsError{}
	from, to := span(f.Since, f.Until, now, faults)
	if f.State != "" && !slices.Contains(webhook.States(), f.State) {
		faults["state"] = fmt.Sprintf("must be one of %v", webhook.States())
	}
	if f.Outcome != "" && !slices.Contains(webhook.Outcomes(), f.Outcome) {
		faults["outcome"] = fmt.Sprintf("must be one of %v", webhook.Outcomes())
	}
	if f.Code != 0 && (f.Code < 100 || f.Code > 999) {
		faults["code"] = "must be an HTTP status between 100 and 999"
	}
	return webhook.DeliveryFilter{
		SubscriberID: f.Subscriber, EventID: f.EventID, EventType: f.EventType,
		State: f.State, Outcome: f.Outcome, Code: f.Code, Since: from, Until: to,
	}, faults
}

// deadFilter reads a filter of dead letters and returns its faults by name.
func deadFilter(f api.DeliveryFilter, now time.Time) (webhook.DeliveryFilter, webhook.FieldsError) {
	filter, faults := deliveryFilter(f, now)
	if f.State != "" && f.State != webhook.Dead {
		faults["state"] = "the state of a dead letter is dead"
	}
	filter.State = webhook.Dead
	return filter, faults
}

// list fetches one page and turns it into the answer. The cursor is the id of
// the last item, which has the prefix; one item more than asked for tells
// whether there is a next page.
func list[T, A any](s *server, query api.PageQuery, prefix string, fetch func(webhook.Page) ([]T, error), convert func(*T) A, id func(*A) string) (*answer[api.List[A]], error) {
	if query.Cursor != "" {
		if _, ok := s.o.Store.IDs().Parse(prefix, query.Cursor); !ok {
			return nil, invalidRequest(webhook.FieldsError{"cursor": "is not the next_cursor of this list"})
		}
	}
	items, err := fetch(webhook.Page{Limit: query.Limit + 1, Before: query.Cursor})
	if err != nil {
		return nil, err
	}
	more := len(items) > query.Limit
	if more {
		items = items[:query.Limit]
	}
	page := api.List[A]{Items: make([]A, len(items))}
	for i := range items {
		page.Items[i] = convert(&items[i])
	}
	if more {
		page.NextCursor = id(&page.Items[len(page.Items)-1])
	}
	return &answer[api.List[A]]{page}, nil
}
