package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

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

// A rate is a number of deliveries per second. One below minRate would put them
// off for years.
const minRate, maxRate = 0.001, 100_000

// pace reads a rate and returns the time from one delivery to the next; zero:
// all at once.
func pace(rate float64, faults webhook.FieldsError) time.Duration {
	if rate == 0 {
		return 0
	}
	if rate < minRate || rate > maxRate {
		faults["rate"] = fmt.Sprintf("must be 0 for all at once, or between %g and %d in a second", minRate, maxRate)
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}

// pageOf returns one page of a list that is in memory, the newest first. Ids sort
// by age.
func pageOf[T any](all []T, page webhook.Page, id func(T) string) webhook.List[T] {
	if page.Before != "" {
		at, _ := slices.BinarySearchFunc(all, page.Before, func(item T, before string) int {
			if id(item) >= before {
				return -1
			}
			return 1
		})
		all = all[at:]
	}
	found := webhook.List[T]{Items: all[:min(len(all), page.Limit)]}
	if len(found.Items) < len(all) {
		found.Next = id(found.Items[len(found.Items)-1])
	}
	return found
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
