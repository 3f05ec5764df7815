// Package feed is the live stream of what happens in this process: events that
// were accepted, attempts that ended, requests that were refused.
//
// The last [Size] happenings are kept in a ring. A publisher writes into it and
// goes on: it never waits for a reader, and where nobody reads it costs a lock
// and a copy. A reader holds a position and fetches what is behind it; one that
// is slower than the ring turns finds a gap in its place, with the number of
// what it missed.
package feed

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// Size is how many happenings are kept.
	Size = 4096
	// pace is how long a reader that has caught up lets news gather, so that it
	// wakes ten times a second however much happens.
	pace = 100 * time.Millisecond
	// batchSize bounds what is copied while publishers wait.
	batchSize = 256
)

// ErrClosed says that the appliance is stopping.
var ErrClosed = errors.New("the live stream has ended")

// A Feed is the stream. It is safe for concurrent use.
type Feed struct {
	start time.Time
	first uint64        // the sequence of this process's first happening
	ended chan struct{} // closed by Close

	mu    sync.Mutex
	ring  []entry
	next  uint64        // the sequence of the next happening
	news  chan struct{} // closed at the next happening; nil while nobody waits
	meter meter
	over  bool
}

// An entry is a happening as it is kept. The name of the subscriber is made
// when somebody reads it.
type entry struct {
	api.Happening
	subscriber *webhook.Subscriber
}

// New returns the stream of a process that started at the time. Its sequence
// begins there, in microseconds: as long as less than a million things happen
// in a second, no sequence of one process is taken for one of another.
func New(start time.Time) *Feed {
	first := uint64(max(start.UnixMicro(), 1))
	return &Feed{start: start, first: first, next: first, ring: make([]entry, Size), ended: make(chan struct{})}
}

// Accepted publishes that an event was accepted, or that it was known before. A
// repeat comes with the time of the first event, but happens now.
func (f *Feed) Accepted(e *webhook.Event, deliveries int, duplicate bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Now()
	if !duplicate {
		at = e.ReceivedAt
		f.meter.at(at).accepted++
	}
	f.publish(&entry{Happening: api.Happening{
		Kind: api.KindEvent, Time: api.Time{Time: at},
		EventID: e.ID, EventType: e.Type, Source: e.Source, ClientID: e.ClientID,
		Duplicate: duplicate, Deliveries: deliveries,
	}})
}

// Attempted publishes that an attempt of a delivery to the subscriber ended.
func (f *Feed) Attempted(e *webhook.Event, s *webhook.Subscriber, r *webhook.Result) {
	a := &r.Attempt
	end := a.StartedAt.Add(a.Duration)
	f.mu.Lock()
	defer f.mu.Unlock()
	second := f.meter.at(end)
	second.attempts++
	if a.Outcome != webhook.OK {
		second.failed++
	}
	f.publish(&entry{subscriber: s, Happening: api.Happening{
		Kind: api.KindAttempt, Time: api.Time{Time: end},
		EventID: e.ID, EventType: e.Type, Source: e.Source, ClientID: e.ClientID,
		DeliveryID: a.DeliveryID, SubscriberID: s.ID, Attempt: a.Number, State: r.State,
		Outcome: a.Outcome, Code: a.Code, DurationMS: milliseconds(a.Duration), Error: a.Error,
		NextAttemptAt: api.Time{Time: r.NextAttemptAt},
	}})
}

// A Rejection is an inbound request that was refused.
type Rejection struct {
	ID webhook.RejectionID
	// Source is empty where no source has the path.
	Source string
	// Client is the address of who sent it; the zero Addr: not known.
	Client netip.Addr
	// Status is the HTTP status that it was answered with, and Code why.
	Status int
	Code   string
	At     time.Time
}

// Rejected publishes that a request was refused.
func (f *Feed) Rejected(r Rejection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := entry{Happening: api.Happening{
		Kind: api.KindRejection, Time: api.Time{Time: r.At},
		Source: r.Source, RequestID: r.ID, Status: r.Status, Error: r.Code,
	}}
	if r.Client.IsValid() {
		e.ClientIP = r.Client.String()
	}
	f.publish(&e)
}

// publish puts the entry into the ring and wakes who waits. The caller holds the
// lock.
func (f *Feed) publish(e *entry) {
	e.Sequence = f.next
	f.ring[f.next%Size] = *e
	f.next++
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
}

// Rate is what happened in the last ten seconds that are complete.
func (f *Feed) Rate(now time.Time) api.Rate {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.meter.rate(now)
}

// Close ends all readers, present and future. What is published afterwards
// reaches nobody.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.over = true
		close(f.ended)
	}
}

// Read returns a reader of what follows the happening with this sequence; zero:
// of what happens from now on. After a sequence of another process, it begins
// with the first that is still kept.
func (f *Feed) Read(after uint64) *Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Reader{feed: f, next: f.next}
	switch {
	case after == 0:
	case after+1 < f.first || after >= f.next:
		r.next, r.foreign = f.first, true
	default:
		r.next = after + 1
	}
	return r
}

// A Reader goes along the stream. It is for one goroutine.
type Reader struct {
	feed    *Feed
	next    uint64 // the sequence of what it reads next
	foreign bool   // it comes from another process: what it missed there is not known
	behind  bool   // there was more than the last batch took
	woken   time.Time
}

// Next waits for news and returns them, in the memory of the batch as far as
// that is large enough. It returns the error of the context, or [ErrClosed].
func (r *Reader) Next(ctx context.Context, batch []api.Happening) ([]api.Happening, error) {
	if !r.behind && !r.foreign {
		if err := r.wait(ctx); err != nil {
			return nil, err
		}
	}
	select {
	case <-r.feed.ended:
		return nil, ErrClosed
	default:
		return r.take(batch[:0]), ctx.Err()
	}
}

// wait returns when there is news, and the pace allows to look at it.
func (r *Reader) wait(ctx context.Context) error {
	if news := r.feed.after(r.next); news != nil {
		select {
		case <-news:
		case <-r.feed.ended:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if rest := time.Until(r.woken.Add(pace)); rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.feed.ended:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.woken = time.Now()
	return nil
}

// after returns nil if there is a happening with this sequence, and otherwise
// what is closed when there is.
func (f *Feed) after(sequence uint64) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sequence < f.next {
		return nil
	}
	if f.news == nil {
		f.news = make(chan struct{})
	}
	return f.news
}

// take copies what is behind the reader's position.
func (r *Reader) take(batch []api.Happening) []api.Happening {
	f := r.feed
	var subscribers [batchSize]*webhook.Subscriber
	f.mu.Lock()
	oldest := f.first
	if f.next-f.first > Size {
		oldest = f.next - Size
	}
	if r.next < oldest || r.foreign {
		// It stands for the happenings before the oldest, and so has the
		// sequence of the last of them.
		gap := api.Happening{Kind: api.KindGap, Sequence: oldest - 1, Time: api.Time{Time: f.start}, Missed: oldest - r.next}
		if f.next > oldest {
			gap.Time = f.ring[oldest%Size].Time
		}
		batch = append(batch, gap)
		r.next, r.foreign = oldest, false
	}
	for ; r.next < f.next && len(batch) < batchSize; r.next++ {
		e := &f.ring[r.next%Size]
		subscribers[len(batch)] = e.subscriber
		batch = append(batch, e.Happening)
	}
	r.behind = r.next < f.next
	f.mu.Unlock()
	for i := range batch {
		if s := subscribers[i]; s != nil {
			batch[i].SubscriberName = s.Name()
		}
	}
	return batch
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
