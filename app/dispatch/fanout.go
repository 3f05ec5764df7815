package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// defaultPatience is that of [Options.FilterPatience], and replayPatience is how
	// long is waited where no sender does.
	defaultPatience = 100 * time.Millisecond
	replayPatience  = 10 * time.Second
	// fuseWait is for how long the filter of a subscriber that has run out of
	// time or memory is left to its lane, at first; the wait doubles each time it
	// does so again, up to maxFuseWait.
	fuseWait    = time.Second
	maxFuseWait = time.Minute

	// strictKey is the order key of all events of a subscriber that wants all of
	// them in order. No path makes such a key.
	strictKey = "*"
)

// fanOut makes the deliveries of the event: one for each of these subscribers,
// unless its filter does not want the event. What is not judged when the patience
// ends is judged in the lane of its subscriber, where it keeps nobody else waiting.
func (d *Dispatcher) fanOut(ctx context.Context, e *webhook.Event, to []*webhook.Subscriber, patience time.Duration) []webhook.NewDelivery {
	if len(to) == 0 {
		return nil
	}
	verdicts := d.askFilters(ctx, e, to, patience)
	deliveries := make([]webhook.NewDelivery, 0, len(to))
	for i, s := range to {
		if verdicts != nil && verdicts[i] == refused {
			continue
		}
		n := d.newDelivery(e, s)
		n.Unjudged = verdicts != nil && verdicts[i] == unjudged
		deliveries = append(deliveries, n)
	}
	return deliveries
}

// newDelivery makes a delivery of the event to the subscriber.
func (d *Dispatcher) newDelivery(e *webhook.Event, s *webhook.Subscriber) webhook.NewDelivery {
	n := webhook.NewDelivery{ID: d.o.Store.IDs().Delivery(time.Now()), SubscriberID: s.ID}
	switch path := d.directory.path(s.ID); {
	case path != nil:
		n.OrderKey = path.Key(e.Body())
	case s.Ordered != "":
		n.OrderKey = strictKey
	}
	return n
}

// verdict is what a filter says.
type verdict int

const (
	wanted verdict = iota
	refused
	unjudged
)

// askFilters has the filters of the subscribers judge; nil: none of them has one. Equal
// filters are asked once.
func (d *Dispatcher) askFilters(ctx context.Context, e *webhook.Event, to []*webhook.Subscriber, patience time.Duration) []verdict {
	asked := map[string][]int{} // filter to places in the list
	for i, s := range to {
		if s.Filter != "" {
			asked[s.Filter] = append(asked[s.Filter], i)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	verdicts := make([]verdict, len(to))
	in := sender.Input(e)
	var work sync.WaitGroup
	for _, places := range asked {
		ask := func() {
			s := to[places[0]]
			v := d.ask(ctx, s, in)
			for _, i := range places {
				verdicts[i] = v
			}
		}
		if len(asked) == 1 {
			ask()
		} else {
			work.Go(ask)
		}
	}
	work.Wait()
	return verdicts
}

// ask has one filter judge. One that lately ran out of time or memory is not
// asked.
func (d *Dispatcher) ask(ctx context.Context, s *webhook.Subscriber, in transform.Input) verdict {
	if d.o.Expressions == nil || d.fuses.blown(s, time.Now()) {
		return unjudged
	}
	pass, err := d.o.Expressions.Filter(ctx, string(s.ID), s.Filter, in)
	switch {
	case err != nil:
		// Out of patience before it was told whether it exhausts, it costs the next
		// publisher as much.
		if fault := (*transform.Error)(nil); errors.As(err, &fault) && fault.Exhausted || errors.Is(err, context.DeadlineExceeded) {
			d.fuses.blow(s, time.Now())
		}
		return unjudged
	case !pass:
		d.fuses.mend(s)
		return refused
	}
	d.fuses.mend(s)
	return wanted
}

// fuses remember whose filters have run out of time or memory, until the
// subscriber changes.
type fuses struct {
	mu  sync.Mutex
	out map[webhook.SubscriberID]fuse
}

type fuse struct {
	of    *webhook.Subscriber
	until time.Time
	wait  time.Duration
}

func (f *fuses) blown(s *webhook.Subscriber, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.out[s.ID]
	return last.of == s && now.Before(last.until)
}

func (f *fuses) blow(s *webhook.Subscriber, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil {
		f.out = map[webhook.SubscriberID]fuse{}
	}
	wait := fuseWait
	if last := f.out[s.ID]; last.of == s {
		wait = min(2*last.wait, maxFuseWait)
	}
	f.out[s.ID] = fuse{s, now.Add(wait), wait}
}

func (f *fuses) mend(s *webhook.Subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.out, s.ID)
}

// Recipients returns a delivery, without its id, for each subscriber that
// receives such an event. An event without its data is read from the store where
// a filter or an order has to look into it.
func (d *Dispatcher) Recipients(ctx context.Context, e *webhook.Event) ([]webhook.NewDelivery, error) {
	to := d.directory.match(e)
	for _, s := range to {
		if e.Data == nil && (s.Filter != "" || s.Ordered != "") {
			whole, err := d.o.Store.Event(ctx, e.ID)
			if err != nil {
				return nil, fmt.Errorf("find recipients: %w", err)
			}
			e = &whole
			break
		}
	}
	return d.fanOut(ctx, e, to, replayPatience), nil
}

// Recipient returns a delivery of the event, without its id, for this subscriber,
// whatever its patterns and its filter.
func (d *Dispatcher) Recipient(e *webhook.Event, id webhook.SubscriberID) (webhook.NewDelivery, error) {
	s, ok := d.directory.get(id)
	if !ok {
		return webhook.NewDelivery{}, fmt.Errorf("find recipient %s: %w", id, webhook.ErrNotFound)
	}
	return d.newDelivery(e, s), nil
}
