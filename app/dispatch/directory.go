package dispatch

import (
	"slices"
	"strings"
	"sync"

	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// directory knows all subscribers and finds those that an event is for, in a
// time that does not depend on how many there are. A subscriber in it is never
// changed, only replaced.
type directory struct {
	mu   sync.RWMutex
	byID map[webhook.SubscriberID]*webhook.Subscriber
	// paths are where the order key of those is who want order by one.
	paths map[webhook.SubscriberID]*transform.Path
	// The subscribers by where their patterns stand: an exact type, the part before
	// ".*", the part before ".**", which is nothing for those who want everything.
	exact, one, deep map[place][]*webhook.Subscriber
	changes          int // since it was made

	// listing guards the list of all subscribers as it was after so many
	// changes. It is not made under mu, for which publishers wait.
	listing sync.Mutex
	listed  []*webhook.Subscriber
	listAt  int
}

// A place is where a list of subscribers is kept. An event of a client is looked for
// under the client, since it has nothing to do with those of all the others; one of
// no client under none, where everybody is.
type place struct{ client, stem string }

func newDirectory() *directory {
	return &directory{
		byID:  map[webhook.SubscriberID]*webhook.Subscriber{},
		paths: map[webhook.SubscriberID]*transform.Path{},
		exact: map[place][]*webhook.Subscriber{},
		one:   map[place][]*webhook.Subscriber{},
		deep:  map[place][]*webhook.Subscriber{},
	}
}

func (d *directory) get(id webhook.SubscriberID) (*webhook.Subscriber, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s, ok := d.byID[id]
	return s, ok
}

// path is where the order key of the subscriber is; nil: it wants no order, or
// all events in order. So does one whose path cannot be read.
func (d *directory) path(id webhook.SubscriberID) *transform.Path {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.paths[id]
}

// list returns all subscribers, the newest first. The list is shared, and made
// anew only after a change.
func (d *directory) list() []*webhook.Subscriber {
	d.listing.Lock()
	defer d.listing.Unlock()
	d.mu.RLock()
	if d.listAt == d.changes {
		d.mu.RUnlock()
		return d.listed
	}
	d.listed, d.listAt = make([]*webhook.Subscriber, 0, len(d.byID)), d.changes
	for _, s := range d.byID {
		d.listed = append(d.listed, s)
	}
	d.mu.RUnlock()
	// Ids sort by the time at which they were made.
	slices.SortFunc(d.listed, func(a, b *webhook.Subscriber) int { return strings.Compare(string(b.ID), string(a.ID)) })
	return d.listed
}

// put adds the subscriber, in place of the one with its id.
func (d *directory) put(s *webhook.Subscriber) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes++
	d.drop(s.ID)
	d.byID[s.ID] = s
	if s.Ordered != "" && s.Ordered != webhook.OrderedStrictly {
		if path, err := transform.ParsePath(s.Ordered); err == nil {
			d.paths[s.ID] = &path
		}
	}
	for _, p := range s.Events {
		d.file(s, p, func(list []*webhook.Subscriber) []*webhook.Subscriber {
			if len(list) > 0 && list[len(list)-1] == s { // by another of its patterns
				return list
			}
			return append(list, s)
		})
	}
}

// remove takes the subscriber out.
func (d *directory) remove(id webhook.SubscriberID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes++
	d.drop(id)
}

func (d *directory) drop(id webhook.SubscriberID) {
	s, ok := d.byID[id]
	if !ok {
		return
	}
	delete(d.byID, id)
	delete(d.paths, id)
	for _, p := range s.Events {
		d.file(s, p, func(list []*webhook.Subscriber) []*webhook.Subscriber {
			return slices.DeleteFunc(list, func(other *webhook.Subscriber) bool { return other == s })
		})
	}
}

// file applies the change to the lists that the pattern of the subscriber belongs to.
func (d *directory) file(s *webhook.Subscriber, p webhook.Pattern, change func([]*webhook.Subscriber) []*webhook.Subscriber) {
	lists, stem := d.exact, string(p)
	if stem == "*" || stem == "**" {
		lists, stem = d.deep, ""
	} else if before, ok := strings.CutSuffix(stem, ".**"); ok {
		lists, stem = d.deep, before
	} else if before, ok := strings.CutSuffix(stem, ".*"); ok {
		lists, stem = d.one, before
	}
	at := []place{{"", stem}, {s.ClientID, stem}}
	if s.ClientID == "" {
		at = at[:1]
	}
	for _, at := range at {
		if list := change(lists[at]); len(list) > 0 {
			lists[at] = list
		} else {
			delete(lists, at)
		}
	}
}

// match returns the subscribers that receive the event, each once.
func (d *directory) match(e *webhook.Event) []*webhook.Subscriber {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var matched []*webhook.Subscriber
	var seen map[*webhook.Subscriber]bool
	take := func(list []*webhook.Subscriber) {
		for _, s := range list {
			if !s.Receives(e) {
				continue
			}
			if len(s.Events) > 1 { // it may stand in several lists
				if seen[s] {
					continue
				}
				if seen == nil {
					seen = map[*webhook.Subscriber]bool{}
				}
				seen[s] = true
			}
			matched = append(matched, s)
		}
	}
	take(d.deep[place{e.ClientID, ""}])
	take(d.exact[place{e.ClientID, e.Type}])
	for i := 1; i < len(e.Type); i++ { // what stands before a dot at the beginning was taken
		if e.Type[i] == '.' {
			take(d.deep[place{e.ClientID, e.Type[:i]}])
		}
	}
	if dot := strings.LastIndexByte(e.Type, '.'); dot >= 0 {
		take(d.one[place{e.ClientID, e.Type[:dot]}])
	}
	return matched
}
