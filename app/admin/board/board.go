// Package board is how the appliance does at a glance: the counters, rates,
// latencies and queue that the admin API tells, and what in them a person should
// look at. The figures cost the same however many look at them, and however long
// the history is.
package board

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// sharedFor is how long figures are shared among those who ask, and slowFor
	// how long those are that cost more: the sums of the last day, whose
	// deliveries are overdue or held back, and whose requests are refused.
	sharedFor = time.Second
	slowFor   = 5 * time.Second

	hourMinutes = 60
	dayMinutes  = 24 * 60
	// recent is the time in which a subscriber is judged by its traffic.
	recent = 5 * time.Minute

	maxWorst    = 20
	maxFindings = 50
)

// A Dispatcher knows the subscribers, and what is under way to them.
type Dispatcher interface {
	// Subscriber returns the subscriber with this id.
	Subscriber(id webhook.SubscriberID) (webhook.Subscriber, bool)
	// Subscribers returns all subscribers, the newest first. The list is
	// shared: it must not be changed.
	Subscribers() []*webhook.Subscriber
	// Held reports whether the deliveries of the subscriber wait for the end of an
	// outage.
	Held(s *webhook.Subscriber) bool
	// InFlight is how many requests are under way.
	InFlight() int
}

// Options are where the figures come from. All fields without a stated default
// are needed.
type Options struct {
	Store      webhook.Store
	Dispatcher Dispatcher
	// Version, StartedAt and MaxInFlight are told as they are.
	Version     string
	StartedAt   time.Time
	MaxInFlight int
	// InboundURL is where senders post at the moment.
	InboundURL func() string
	// Rate is what went on in the last seconds; nil: the last minute stands in.
	Rate func() api.Rate
	// DatabasePath is a file on the disk whose room is watched; empty: none is.
	DatabasePath string
	// Warnings are findings that last. What one is about stands before its first
	// space.
	Warnings func() []string
}

// A Board holds the last figures. It is safe for concurrent use.
type Board struct {
	o Options

	mu        sync.Mutex
	at        time.Time
	shown     api.Stats
	dayAt     time.Time
	day       api.Span
	overdueAt time.Time
	overdue   []api.Finding

	// waiting is how it stands with those who are in an outage, or blocked by a
	// dead letter.
	waitingAt time.Time
	waiting   map[webhook.SubscriberID]webhook.Activity

	refusalsAt time.Time
	refusals   []api.Finding
}

// New returns a board that has not been looked at.
func New(o Options) *Board { return &Board{o: o} }

// Stats returns the figures of about now. The asker's Role is left empty, and
// what the figures point to must not be changed.
func (b *Board) Stats(ctx context.Context, now time.Time) (api.Stats, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !fresh(b.at, now, sharedFor) {
		// Others may wait for the same figures: they must not fail because the
		// one who asked first has gone away.
		shown, err := b.gather(context.WithoutCancel(ctx), now)
		if err != nil {
			return api.Stats{}, err
		}
		b.shown, b.at = shown, now
	}
	stats := b.shown
	stats.Now = api.Time{Time: now}
	return stats, nil
}

// fresh reports whether what was read then is good now. When the clock has
// jumped back, nothing is.
func fresh(at, now time.Time, good time.Duration) bool {
	return now.Sub(at) < good && !now.Before(at)
}

// gather reads the figures of this moment. The lock is held.
func (b *Board) gather(ctx context.Context, now time.Time) (api.Stats, error) {
	stored, err := b.o.Store.Stats(ctx, webhook.StatsQuery{
		MinutesFrom: now.Add(-hourMinutes * time.Minute), MinutesTo: now, ActivityFrom: now.Add(-recent),
	})
	if err != nil {
		return api.Stats{}, err
	}
	if err := b.sumDay(ctx, now); err != nil {
		return api.Stats{}, err
	}
	subscribers := b.o.Dispatcher.Subscribers()
	stats := api.Stats{
		Version: b.o.Version, StartedAt: api.Time{Time: b.o.StartedAt}, InboundURL: b.o.InboundURL(),
		LastHour: sum(stored.Minutes), LastDay: b.day, Minutes: minutes(stored.Minutes, now),
		Queue: api.Queue{
			Pending: stored.Deliveries[webhook.Pending], Retrying: stored.Retrying,
			InFlight: b.o.Dispatcher.InFlight(), MaxInFlight: b.o.MaxInFlight, OldestDue: api.Time{Time: stored.OldestDue},
		},
		Totals:  api.Totals{Events: stored.Events, Attempts: stored.Attempts, Deliveries: stored.Deliveries, Subscribers: len(subscribers)},
		Storage: api.Storage{Bytes: stored.Bytes, UnusedBytes: stored.UnusedBytes, LogBytes: stored.LogBytes},
		Worst:   b.worst(stored.Activity),
	}
	for _, sub := range subscribers {
		if !sub.Active {
			stats.Totals.Paused++
		}
	}
	last := stats.Minutes[len(stats.Minutes)-2]
	stats.Rate = api.Rate{Events: float64(last.Events) / 60, Attempts: float64(last.Attempts) / 60, Failed: float64(last.Failed) / 60}
	if b.o.Rate != nil {
		stats.Rate = b.o.Rate()
	}
	stats.Attention, err = b.attention(ctx, &stats, stored.Activity, subscribers, now)
	return stats, err
}

// sumDay sums up the last day, now and then. The lock is held.
func (b *Board) sumDay(ctx context.Context, now time.Time) error {
	if fresh(b.dayAt, now, slowFor) {
		return nil
	}
	stored, err := b.o.Store.Stats(ctx, webhook.StatsQuery{MinutesFrom: now.Add(-dayMinutes * time.Minute), MinutesTo: now})
	if err != nil {
		return err
	}
	b.day, b.dayAt = sum(stored.Minutes), now
	return nil
}

func sum(minutes []webhook.Minute) api.Span {
	var events int64
	var traffic webhook.Traffic
	for i := range minutes {
		events += minutes[i].Events
		traffic.Add(&minutes[i].Traffic)
	}
	return span(events, &traffic)
}

func span(events int64, t *webhook.Traffic) api.Span {
	return api.Span{
		Events: events, Attempts: t.Attempts, Failed: t.Failed, Delivered: t.Delivered, Dead: t.Dead,
		P50MS: api.Millis(t.Latency.Quantile(0.5)), P95MS: api.Millis(t.Latency.Quantile(0.95)),
	}
}

// minutes returns the last sixty minutes and the one that has begun, those in
// which nothing happened too.
func minutes(stored []webhook.Minute, now time.Time) []api.Minute {
	shown := make([]api.Minute, hourMinutes+1)
	first := now.UTC().Truncate(time.Minute).Add(-hourMinutes * time.Minute)
	for i := range shown {
		shown[i].Start = api.Time{Time: first.Add(time.Duration(i) * time.Minute)}
	}
	for i := range stored {
		if at := int(stored[i].Start.Sub(first) / time.Minute); at >= 0 && at < len(shown) {
			shown[at].Span = span(stored[i].Events, &stored[i].Traffic)
		}
	}
	return shown
}

// Health is how a subscriber does, as the API tells it.
func Health(a *webhook.Activity) api.Health {
	return api.Health{
		Attempts: a.Attempts, Failed: a.Failed,
		P50MS: api.Millis(a.Latency.Quantile(0.5)), P95MS: api.Millis(a.Latency.Quantile(0.95)),
		Pending: a.Pending, Retrying: a.Retrying, Dead: a.DeadLetters,
		LastAt: api.Time{Time: a.LastAt}, LastOutcome: a.LastOutcome, LastCode: a.LastCode,
	}
}

// worst are the subscribers that were sent to and did worst, the worst first.
func (b *Board) worst(activity map[webhook.SubscriberID]webhook.Activity) []api.SubscriberStats {
	all := make([]api.SubscriberStats, 0, len(activity))
	for id, a := range activity {
		if sub, ok := b.o.Dispatcher.Subscriber(id); ok {
			all = append(all, api.SubscriberStats{
				ID: id, Name: sub.Name(), Active: sub.Active, FailingSince: api.Time{Time: sub.FailingSince},
				Held: b.o.Dispatcher.Held(&sub), Health: Health(&a),
			})
		}
	}
	slices.SortFunc(all, func(a, b api.SubscriberStats) int {
		return cmp.Or(
			cmp.Compare(failing(&b.Health), failing(&a.Health)),
			cmp.Compare(b.Pending, a.Pending),
			cmp.Compare(b.P95MS, a.P95MS),
			strings.Compare(string(a.ID), string(b.ID)))
	})
	return all[:min(len(all), maxWorst)]
}

// failing is the share of attempts that failed.
func failing(h *api.Health) float64 {
	if h.Attempts == 0 {
		return 0
	}
	return float64(h.Failed) / float64(h.Attempts)
}
