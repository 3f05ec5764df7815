package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// statsFor is how long statistics are shared among those who ask, and
	// dayFor how long the sums of the last day are.
	statsFor = time.Second
	dayFor   = 2 * time.Second

	hourMinutes = 60
	dayMinutes  = 24 * 60
	// recent is the time in which a subscriber is judged by the traffic.
	recent = 5 * time.Minute

	maxWorst    = 20
	maxFindings = 50
)

// board holds the last statistics, so that they cost the same however many look
// at them.
type board struct {
	mu    sync.Mutex
	at    time.Time
	shown api.Stats
	dayAt time.Time
	day   api.Span
}

func (s *server) registerStats() {
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "show-stats", Method: http.MethodGet, Path: api.Prefix + "/stats", Tags: []string{"stats"},
		Summary: "Show counters, rates, latencies, the queue, and how the subscribers do",
	}, s.showStats)
}

func (s *server) showStats(ctx context.Context, _ *struct{}) (*answer[api.Stats], error) {
	b := &s.board
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.at) >= statsFor || now.Before(b.at) {
		// Somebody else may wait for the same figures: they must not fail
		// because the one who asked first has gone away.
		shown, err := s.stats(context.WithoutCancel(ctx), now)
		if err != nil {
			return nil, err
		}
		b.shown, b.at = shown, now
	}
	stats := b.shown
	stats.Now, stats.Role = api.Time{Time: now}, roleOf(ctx)
	return &answer[api.Stats]{stats}, nil
}

// stats gathers the figures of this moment. The lock of the board is held.
func (s *server) stats(ctx context.Context, now time.Time) (api.Stats, error) {
	stored, err := s.o.Store.Stats(ctx, webhook.StatsQuery{
		MinutesFrom: now.Add(-hourMinutes * time.Minute), MinutesTo: now, ActivityFrom: now.Add(-recent),
	})
	if err != nil {
		return api.Stats{}, err
	}
	if err := s.sumDay(ctx, now); err != nil {
		return api.Stats{}, err
	}
	subscribers := s.o.Dispatcher.Subscribers()
	stats := api.Stats{
		Version: s.o.Version, StartedAt: api.Time{Time: s.o.StartedAt}, InboundURL: s.o.InboundURL,
		LastHour: sum(stored.Minutes), LastDay: s.board.day, Minutes: minutes(stored.Minutes, now),
		Queue: api.Queue{
			Pending: stored.Deliveries[webhook.Pending], Retrying: stored.Retrying,
			InFlight: s.o.Dispatcher.InFlight(), MaxInFlight: s.o.MaxInFlight, OldestDue: api.Time{Time: stored.OldestDue},
		},
		Totals:  api.Totals{Events: stored.Events, Attempts: stored.Attempts, Deliveries: stored.Deliveries, Subscribers: len(subscribers)},
		Storage: api.Storage{Bytes: stored.Bytes, LogBytes: stored.LogBytes},
		Worst:   s.worst(stored.Activity),
	}
	for _, sub := range subscribers {
		if !sub.Active {
			stats.Totals.Paused++
		}
	}
	if s.o.DatabasePath != "" {
		stats.Storage.FreeBytes = freeBytes(s.o.DatabasePath)
	}
	last := stats.Minutes[len(stats.Minutes)-2]
	stats.Rate = api.Rate{Events: float64(last.Events) / 60, Attempts: float64(last.Attempts) / 60, Failed: float64(last.Failed) / 60}
	if s.o.Rate != nil {
		stats.Rate = s.o.Rate()
	}
	stats.Attention = s.attention(&stats, stored.Activity, subscribers, now)
	return stats, nil
}

// sumDay sums up the last day, now and then.
func (s *server) sumDay(ctx context.Context, now time.Time) error {
	if b := &s.board; now.Sub(b.dayAt) >= dayFor || now.Before(b.dayAt) {
		stored, err := s.o.Store.Stats(ctx, webhook.StatsQuery{MinutesFrom: now.Add(-dayMinutes * time.Minute), MinutesTo: now})
		if err != nil {
			return err
		}
		b.day, b.dayAt = sum(stored.Minutes), now
	}
	return nil
}

func sum(minutes []webhook.Minute) api.Span {
	var events int64
	var traffic webhook.Traffic
	for i := range minutes {
		events += minutes[i].Events
		traffic.Add(&minutes[i].Traffic)
	}
	return wireSpan(events, &traffic)
}

func wireSpan(events int64, t *webhook.Traffic) api.Span {
	return api.Span{
		Events: events, Attempts: t.Attempts, Failed: t.Failed, Delivered: t.Delivered, Dead: t.Dead,
		P50MS: inMillis(t.Latency.Quantile(0.5)), P95MS: inMillis(t.Latency.Quantile(0.95)),
	}
}

// minutes returns the last sixty minutes and the one that has begun, those in
// which nothing happened too.
func minutes(stored []webhook.Minute, now time.Time) []api.Minute {
	shown := make([]api.Minute, hourMinutes+1)
	first := now.Truncate(time.Minute).Add(-hourMinutes * time.Minute)
	for i := range shown {
		shown[i].Start = api.Time{Time: first.Add(time.Duration(i) * time.Minute).UTC()}
	}
	for i := range stored {
		if at := int(stored[i].Start.Sub(first) / time.Minute); at >= 0 && at < len(shown) {
			shown[at].Span = wireSpan(stored[i].Events, &stored[i].Traffic)
		}
	}
	return shown
}

func wireHealth(a *webhook.Activity) api.Health {
	return api.Health{
		Attempts: a.Attempts, Failed: a.Failed,
		P50MS: inMillis(a.Latency.Quantile(0.5)), P95MS: inMillis(a.Latency.Quantile(0.95)),
		Pending: a.Pending, Retrying: a.Retrying, Dead: a.DeadLetters,
		LastAt: api.Time{Time: a.LastAt}, LastOutcome: a.LastOutcome, LastCode: a.LastCode,
	}
}

// worst are the subscribers that were sent to and did worst, the worst first.
func (s *server) worst(activity map[webhook.SubscriberID]webhook.Activity) []api.SubscriberStats {
	all := make([]api.SubscriberStats, 0, len(activity))
	for id, a := range activity {
		sub, ok := s.o.Dispatcher.Subscriber(id)
		if !ok {
			continue
		}
		all = append(all, api.SubscriberStats{ID: id, Name: sub.Name(), Active: sub.Active, Health: wireHealth(&a)})
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

const (
	// late is how long something may have been due before that is worth a word.
	late = time.Minute
	// fewAttempts are too few to judge a subscriber by.
	fewAttempts = 5
	// littleRoom is what a disk should have left, in bytes, and largeLog what a
	// write-ahead log should not grow to.
	littleRoom = 1 << 30
	largeLog   = 256 << 20
)

// attention lists what a person should look at, the worst first.
func (s *server) attention(stats *api.Stats, activity map[webhook.SubscriberID]webhook.Activity, subscribers []*webhook.Subscriber, now time.Time) []api.Finding {
	found := []api.Finding{}
	if due := stats.Queue.OldestDue; !due.IsZero() && now.Sub(due.Time) > late {
		found = append(found, api.Finding{
			Severity: api.Critical, Subject: "queue", Query: "status:pending",
			Text: fmt.Sprintf("deliveries have been due for %s", now.Sub(due.Time).Truncate(time.Second)),
		})
	}
	for _, sub := range subscribers {
		a := activity[sub.ID]
		h := wireHealth(&a)
		switch {
		case !sub.Active:
			found = append(found, paused(sub))
		case h.Attempts >= fewAttempts && failing(&h) > 0.5:
			found = append(found, api.Finding{
				Severity: api.Critical, Subject: sub.Name(), SubscriberID: sub.ID, Query: "sub:" + string(sub.ID) + " status:retrying",
				Text: fmt.Sprintf("%d of %d attempts failed in 5 min, the last: %s", h.Failed, h.Attempts, cause(&h)),
			})
		}
	}
	if n := stats.LastHour.Dead; n > 0 {
		found = append(found, api.Finding{
			Severity: api.Warning, Subject: "dead letters", Query: "status:dead since:1h", Text: fmt.Sprintf("%d in the last hour", n),
		})
	}
	if free := stats.Storage.FreeBytes; s.o.DatabasePath != "" && free > 0 && free < littleRoom {
		found = append(found, api.Finding{Severity: api.Warning, Subject: "disk", Text: fmt.Sprintf("only %d MB are free", free/1e6)})
	}
	if stats.Storage.LogBytes > largeLog {
		found = append(found, api.Finding{Severity: api.Warning, Subject: "write-ahead log", Text: fmt.Sprintf("has grown to %d MB: somebody reads the file for very long", stats.Storage.LogBytes/1e6)})
	}
	for _, warning := range s.o.Warnings {
		subject, text, _ := strings.Cut(warning, " ")
		found = append(found, api.Finding{Severity: api.Warning, Subject: subject, Text: text})
	}
	slices.SortStableFunc(found, func(a, b api.Finding) int { return strings.Compare(string(a.Severity), string(b.Severity)) })
	return found[:min(len(found), maxFindings)]
}

// paused tells that a subscriber is sent nothing. That a person wanted it so is
// less alarming than that its receiver did.
func paused(sub *webhook.Subscriber) api.Finding {
	f := api.Finding{
		Severity: api.Warning, Subject: sub.Name(), SubscriberID: sub.ID, Query: "sub:" + string(sub.ID) + " status:pending",
		Text: "paused: " + sub.PausedReason,
	}
	if strings.Contains(sub.PausedReason, "410") {
		f.Severity = api.Critical
	}
	return f
}

func cause(h *api.Health) string {
	if h.LastCode != 0 {
		return fmt.Sprintf("HTTP %d", h.LastCode)
	}
	return string(h.LastOutcome)
}
