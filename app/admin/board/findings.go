package board

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// late is how long something may have been due before that is worth a word.
	late = time.Minute
	// fewAttempts are too few to judge a subscriber by.
	fewAttempts = 5
	// littleRoom is what a disk should have left, in bytes and as a part of it,
	// and largeLog what a write-ahead log should not grow to.
	littleRoom = 1 << 30
	littlePart = 20
	largeLog   = 256 << 20
	// manyRefusals of one source for one reason, in the recent time, are more than
	// a stray request or two.
	manyRefusals = 10
	// refusalsRead is how many of the newest refusals are looked at.
	refusalsRead = 500
)

// attention lists what a person should look at, the worst first. Among the
// equally bad, what concerns all comes before what concerns one subscriber, so
// that many of those cannot crowd it out.
func (b *Board) attention(ctx context.Context, stats *api.Stats, activity map[webhook.SubscriberID]webhook.Activity, subscribers []*webhook.Subscriber, now time.Time) ([]api.Finding, error) {
	found := []api.Finding{}
	if err := b.findWaiting(ctx, subscribers, now); err != nil {
		return nil, err
	}
	if now.Sub(stats.Queue.OldestDue.Time) > late && stats.Queue.Pending > 0 {
		if err := b.findOverdue(ctx, now); err != nil {
			return nil, err
		}
		found = append(found, b.overdue...)
	}
	if err := b.findRefusals(ctx, now); err != nil {
		return nil, err
	}
	found = append(found, b.refusals...)
	if n := stats.LastHour.Dead; n > 0 {
		found = append(found, api.Finding{
			Severity: api.Warning, Subject: "dead letters", Query: "status:dead since:1h", Text: fmt.Sprintf("%d in the last hour", n),
		})
	}
	if b.o.DatabasePath != "" {
		free, size := Room(b.o.DatabasePath)
		stats.Storage.FreeBytes = free
		found = append(found, disk(free, size)...)
	}
	if stats.Storage.LogBytes > largeLog {
		found = append(found, api.Finding{
			Severity: api.Warning, Subject: "write-ahead log",
			Text: fmt.Sprintf("has grown to %d MB: somebody reads the file for very long", stats.Storage.LogBytes/1e6),
		})
	}
	if b.o.Warnings != nil {
		for _, warning := range b.o.Warnings() {
			subject, text, _ := strings.Cut(warning, " ")
			found = append(found, api.Finding{Severity: api.Warning, Subject: subject, Text: text})
		}
	}
	for _, sub := range subscribers {
		a := activity[sub.ID]
		h := Health(&a)
		waiting, waits := b.waiting[sub.ID]
		switch {
		case !sub.Active:
			found = append(found, paused(sub))
		case !sub.FailingSince.IsZero():
			found = append(found, outage(sub, waiting.Pending, waits))
		case waits && waiting.DeadLetters > 0 && waiting.Pending > 0:
			found = append(found, blocked(sub, &waiting))
		case h.Attempts >= fewAttempts && failing(&h) > 0.5:
			found = append(found, api.Finding{
				Severity: api.Critical, Subject: sub.Name(), SubscriberID: sub.ID, Query: "sub:" + string(sub.ID) + " status:retrying",
				Text: fmt.Sprintf("%d of %d attempts failed in 5 min, the last: %s", h.Failed, h.Attempts, cause(&h)),
			})
		}
	}
	slices.SortStableFunc(found, func(a, b api.Finding) int { return rank(a.Severity) - rank(b.Severity) })
	return found[:min(len(found), maxFindings)], nil
}

func rank(s api.Severity) int { return slices.Index([]api.Severity{api.Critical, api.Warning}, s) }

// findWaiting finds, now and then, how much waits for those subscribers that are
// in an outage, or whose dead letters block what comes after them: little or
// nothing is sent to them, so that they are not among the active.
func (b *Board) findWaiting(ctx context.Context, subscribers []*webhook.Subscriber, now time.Time) error {
	if fresh(b.waitingAt, now, slowFor) {
		return nil
	}
	b.waiting, b.waitingAt = nil, now
	var ids []webhook.SubscriberID
	for _, sub := range subscribers {
		if sub.Active && (!sub.FailingSince.IsZero() || blocks(sub)) {
			ids = append(ids, sub.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	stored, err := b.o.Store.Stats(ctx, webhook.StatsQuery{ActivityFrom: now, MinutesTo: now, Subscribers: ids})
	b.waiting = stored.Activity
	return err
}

// blocks reports whether a dead letter of the subscriber stands in the way of
// others.
func blocks(sub *webhook.Subscriber) bool {
	return sub.Ordered != "" && sub.OnDead != webhook.OnDeadSkip
}

// findOverdue finds, now and then, what has waited too long though its subscriber
// is neither paused nor in an outage, nor blocked by a dead letter: what waits for
// such a one is meant to.
func (b *Board) findOverdue(ctx context.Context, now time.Time) error {
	if fresh(b.overdueAt, now, slowFor) {
		return nil
	}
	backlog, err := b.o.Store.Backlog(ctx, webhook.SetBack{})
	if err != nil {
		return err
	}
	var first *webhook.Subscriber
	for _, sub := range b.o.Dispatcher.Subscribers() {
		waiting, waits := backlog[sub.ID]
		due := waiting.First()
		if waits && b.sends(sub) && now.Sub(due) > late && (first == nil || due.Before(backlog[first.ID].First())) {
			first = sub
		}
	}
	b.overdue, b.overdueAt = nil, now
	if first != nil {
		b.overdue = []api.Finding{{
			Severity: api.Critical, Subject: "queue", SubscriberID: first.ID, Query: "sub:" + string(first.ID) + " status:pending",
			Text: fmt.Sprintf("a delivery to %s has been due for %s", first.Name(), api.Duration(now.Sub(backlog[first.ID].First()).Truncate(time.Second))),
		}}
	}
	return nil
}

// sends reports whether deliveries to the subscriber should go out when they are
// due.
func (b *Board) sends(sub *webhook.Subscriber) bool {
	return sub.Active && sub.FailingSince.IsZero() && !(blocks(sub) && b.waiting[sub.ID].DeadLetters > 0)
}

// findRefusals finds, now and then, whose requests are refused though they were
// probably meant well: signed wrongly, sent from an address that is not listed,
// or with a wrong clock. What is wrong in other ways is what strangers try.
func (b *Board) findRefusals(ctx context.Context, now time.Time) error {
	if fresh(b.refusalsAt, now, slowFor) {
		return nil
	}
	newest, err := b.o.Store.Rejections(ctx, webhook.RejectionFilter{
		Since: now.Add(-recent), StatusFrom: http.StatusUnauthorized, StatusTo: http.StatusUnprocessableEntity,
	}, webhook.Page{Limit: refusalsRead})
	if err != nil {
		return err
	}
	type reason struct {
		source string
		status int
		code   string
	}
	counts := map[reason]int{}
	for i := range newest.Items {
		switch r := &newest.Items[i]; r.Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity:
			counts[reason{r.Source, r.Status, r.Code}] += 1 + r.Unkept
		}
	}
	// More than a page are not counted.
	format := "%d in 5 min, %s: %d %s"
	if newest.Next != "" {
		format = "at least " + format
	}
	b.refusals, b.refusalsAt = nil, now
	for _, why := range slices.SortedFunc(maps.Keys(counts), func(a, b reason) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a.source, b.source), strings.Compare(a.code, b.code))
	}) {
		if n := counts[why]; n >= manyRefusals {
			b.refusals = append(b.refusals, api.Finding{
				Severity: api.Warning, Subject: api.Rejections, Query: fmt.Sprintf("source:%s code:%s", why.source, why.code),
				Text: fmt.Sprintf(format, n, why.source, why.status, why.code),
			})
		}
	}
	return nil
}

func disk(free, size int64) []api.Finding {
	if size == 0 || free >= littleRoom && free >= size/littlePart {
		return nil
	}
	return []api.Finding{{
		Severity: api.Warning, Subject: "disk", Text: fmt.Sprintf("only %d MB of %d MB are free", free/1e6, size/1e6),
	}}
}

// paused tells that a subscriber is sent nothing. That a person wanted it so is
// less alarming than that its receiver did.
func paused(sub *webhook.Subscriber) api.Finding {
	f := api.Finding{
		Severity: api.Warning, Subject: sub.Name(), SubscriberID: sub.ID, Query: "sub:" + string(sub.ID) + " status:pending",
		Text: "paused: " + sub.PausedReason,
	}
	// A pause by Pintle itself is one of these.
	if strings.Contains(sub.PausedReason, "410 Gone") || !sub.FailingSince.IsZero() {
		f.Severity = api.Critical
	}
	return f
}

// outage tells that nothing has reached a subscriber for a while, and, where it is
// known, how much waits.
func outage(sub *webhook.Subscriber, pending int64, known bool) api.Finding {
	f := api.Finding{
		Severity: api.Critical, Subject: sub.Name(), SubscriberID: sub.ID, Query: "sub:" + string(sub.ID) + " status:pending",
		Text: "has failed since " + sub.FailingSince.UTC().Format("2006-01-02 15:04:05Z"),
	}
	if known {
		f.Text += ": " + waitingText(pending)
	}
	return f
}

// blocked tells that dead letters may be in the way of what waits.
func blocked(sub *webhook.Subscriber, a *webhook.Activity) api.Finding {
	letters := "a dead letter"
	if a.DeadLetters > 1 {
		letters = fmt.Sprintf("%d dead letters", a.DeadLetters)
	}
	return api.Finding{
		Severity: api.Warning, Subject: sub.Name(), SubscriberID: sub.ID, Query: "sub:" + string(sub.ID) + " status:dead",
		Text: fmt.Sprintf("%s of an order, which later deliveries of the same key wait for: %s", letters, waitingText(a.Pending)),
	}
}

func waitingText(pending int64) string {
	if pending == 1 {
		return "1 delivery waits"
	}
	return fmt.Sprintf("%d deliveries wait", pending)
}

func cause(h *api.Health) string {
	if h.LastCode != 0 {
		return fmt.Sprintf("HTTP %d", h.LastCode)
	}
	return string(h.LastOutcome)
}
