package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/webhook"
)

// A story is what happens to some subscribers: events come, receivers answer as
// they please, people interfere, the appliance is started anew.
type story struct {
	subscribers []webhook.Subscriber
	keys        []string // of the events, in their order
	answers     []int    // taken in turns by what is tried
	hold        bool     // outages hold their lanes; in the end all receivers answer
	acts        []act
}

// An act is something that happens after a while.
type act struct {
	kind  string
	which int // of the deliveries or of the subscribers, modulo their number
	after time.Duration
}

func drawStory(t *rapid.T) story {
	return story{
		subscribers: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) webhook.Subscriber {
			return webhook.Subscriber{
				Ordered:     rapid.SampledFrom([]string{"", ".data.order", webhook.OrderedStrictly}).Draw(t, "ordered"),
				OnDead:      rapid.SampledFrom([]webhook.OnDead{webhook.OnDeadBlock, webhook.OnDeadSkip}).Draw(t, "on dead"),
				Concurrency: rapid.IntRange(1, 3).Draw(t, "concurrency"),
				RateLimit:   rapid.SampledFrom([]float64{0, 0, 3}).Draw(t, "rate"),
				FinalOn4xx:  rapid.Bool().Draw(t, "final on 4xx"),
			}
		}), 1, 3).Draw(t, "subscribers"),
		keys:    rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 20).Draw(t, "events"),
		hold:    rapid.Bool().Draw(t, "hold"),
		answers: rapid.SliceOfN(rapid.SampledFrom([]int{200, 200, 200, 500, 404, 429, 0, -1}), 1, 40).Draw(t, "answers"),
		acts: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
			return act{
				kind:  rapid.SampledFrom([]string{"pause", "resume", "resend", "cancel", "restart", "wait"}).Draw(t, "act"),
				which: rapid.IntRange(0, 59).Draw(t, "which"),
				after: time.Duration(rapid.IntRange(0, 2500).Draw(t, "after")) * time.Millisecond,
			}
		}), 0, 8).Draw(t, "acts"),
	}
}

// A life is what became of a delivery.
type life struct {
	subscriber webhook.Subscriber
	key        string
	arrivals   []arrival
	answers    []int
	// touched says that it was resent, so that less can be said of it.
	touched bool
	// cancelled and purged are when it was, if it was.
	cancelled, purged time.Time
}

const policyRetries = 2

// play has the story happen, and returns what is wrong with its end.
func (s story) play(t *testing.T) (fault error) {
	lives := map[webhook.DeliveryID]*life{}
	var ids []webhook.DeliveryID
	given := map[string]int{} // answers, by delivery and attempt
	calm := false
	r := &receiver{}
	r.answer = func(request *http.Request, _ int) (*http.Response, error) {
		r.mu.Lock()
		answer := s.answers[len(given)%len(s.answers)]
		if calm {
			answer = 200
		}
		given[tryOf(request.Header)] = answer
		r.mu.Unlock()
		switch answer {
		case 0:
			return nil, errors.New("unreachable")
		case -1:
			return hang(request)
		case 429:
			return status(429, "Retry-After", "2"), nil
		}
		return status(answer), nil
	}
	store := openStore(t, filepath.Join(t.TempDir(), "pintle.db"))
	defer store.Close()
	o := options(store, r)
	o.Policy = webhook.RetryPolicy{Retries: policyRetries, Schedule: webhook.Schedule{time.Second}}
	o.Timeout, o.MaxInFlight = time.Second, 4
	o.Hold = webhook.HoldPolicy{Hold: s.hold, Failures: 3, After: time.Second}
	d := dispatch.New(o)
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(d, 0) }()
	for i, terms := range s.subscribers {
		subscribe(t, d, fmt.Sprintf("https://%d.example", i), func(sub *webhook.Subscriber) {
			sub.Ordered, sub.OnDead, sub.Concurrency, sub.RateLimit, sub.FinalOn4xx = terms.Ordered, terms.OnDead, terms.Concurrency, terms.RateLimit, terms.FinalOn4xx
		})
	}
	for i, key := range s.keys {
		_, deliveries, err := d.Publish(context.Background(), webhook.Event{
			Source: "inbound", Type: "order.changed", Timestamp: 1, Data: fmt.Appendf(nil, `{"order":%q}`, key),
		}, webhook.NewDedupeKey("inbound", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range deliveries {
			sub, _ := d.Subscriber(n.SubscriberID)
			lives[n.ID], ids = &life{subscriber: sub, key: n.OrderKey}, append(ids, n.ID)
		}
	}
	for _, a := range s.acts {
		time.Sleep(a.after)
		id := ids[a.which%len(ids)]
		subscriber := d.Subscribers()[a.which%len(s.subscribers)].ID
		switch a.kind {
		case "pause", "resume":
			activate(t, d, subscriber, a.kind == "resume")
		case "resend":
			lives[id].touched = true
			if _, err := d.Resend(context.Background(), []webhook.DeliveryID{id}, time.Now(), 0); err != nil {
				t.Fatal(err)
			}
		case "cancel":
			if done, err := d.Cancel(context.Background(), []webhook.DeliveryID{id}); err != nil {
				t.Fatal(err)
			} else if len(done) > 0 {
				lives[id].cancelled = time.Now()
			}
		case "restart":
			stop(d, 0)
			d = dispatch.New(o)
			if err := d.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, sub := range d.Subscribers() {
		activate(t, d, sub.ID, true)
	}
	r.mu.Lock()
	calm = s.hold
	r.mu.Unlock()
	// Each round deals with the dead letters that block others.
	for range len(ids) + 1 {
		time.Sleep(20 * time.Minute)
		settle()
		dead, err := store.Deliveries(context.Background(), webhook.DeliveryFilter{State: webhook.Dead}, webhook.Page{Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		pending, err := store.Deliveries(context.Background(), webhook.DeliveryFilter{State: webhook.Pending}, webhook.Page{Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		if len(pending.Items) == 0 {
			break
		}
		var purge []webhook.DeliveryID
		for _, letter := range dead.Items {
			purge = append(purge, letter.ID)
			lives[letter.ID].purged = time.Now()
		}
		if len(purge) == 0 {
			return fmt.Errorf("%d deliveries are pending, and nothing blocks them", len(pending.Items))
		}
		if _, err := d.Purge(context.Background(), purge); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range r.all() {
		l := lives[webhook.DeliveryID(a.header["X-Agent-Delivery"][0])]
		l.arrivals, l.answers = append(l.arrivals, a), append(l.answers, given[tryOf(a.header)])
	}
	for _, id := range ids {
		if err := lives[id].check(store, id); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return checkOrder(lives, ids)
}

// tryOf names an attempt.
func tryOf(header map[string][]string) string {
	return header["X-Agent-Delivery"][0] + " " + header["X-Agent-Attempt"][0]
}

func activate(t *testing.T, d *dispatch.Dispatcher, id webhook.SubscriberID, active bool) {
	if _, err := d.UpdateSubscriber(context.Background(), id, func(s *webhook.Subscriber) error {
		if s.Active, s.PausedReason = active, ""; !active {
			s.PausedReason = "test"
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// check says what is wrong with the end of one delivery.
func (l *life) check(store webhook.Store, id webhook.DeliveryID) error {
	for i, a := range l.arrivals {
		if a.attempt != fmt.Sprint(i+1) {
			return fmt.Errorf("request %d says that it is attempt %s", i+1, a.attempt)
		}
		if !l.cancelled.IsZero() && !l.touched && a.at.After(l.cancelled) {
			return errors.New("it was sent after it was cancelled")
		}
		if i > 0 && l.answers[i-1] == 200 && !l.touched {
			return errors.New("it was sent after it was delivered")
		}
	}
	if !l.purged.IsZero() {
		return nil
	}
	d, err := webhook.FindDelivery(context.Background(), store, id)
	switch {
	case err != nil:
		return err
	case d.State == webhook.Pending:
		return errors.New("it is pending")
	case d.Spent > policyRetries+1:
		return fmt.Errorf("%d attempts were spent", d.Spent)
	case d.State == webhook.Delivered && !slices.Contains(l.answers, 200):
		return errors.New("it is delivered, and no answer said so")
	case d.State == webhook.Dead && !l.touched && slices.Contains(l.answers, 200):
		return errors.New("it is dead, and was delivered")
	}
	return nil
}

// checkOrder says which delivery was tried before an earlier one of its key had
// come to its end.
func checkOrder(lives map[webhook.DeliveryID]*life, ids []webhook.DeliveryID) error {
	for i, earlier := range ids {
		a := lives[earlier]
		if a.key == "" || a.touched {
			continue
		}
		for _, id := range ids[i+1:] {
			b := lives[id]
			if b.subscriber.ID != a.subscriber.ID || b.key != a.key || len(b.arrivals) == 0 {
				continue
			}
			first := b.arrivals[0].at
			if n := len(a.arrivals); n > 0 && a.arrivals[n-1].at.After(first) {
				return fmt.Errorf("%s was tried at %s, and %s before it at %s", id, first, earlier, a.arrivals[n-1].at)
			}
			if len(a.arrivals) == 0 && a.cancelled.IsZero() && a.purged.IsZero() {
				return fmt.Errorf("%s was tried, and %s before it never was", id, earlier)
			}
			if a.subscriber.OnDead == webhook.OnDeadBlock && !a.purged.IsZero() && first.Before(a.purged) {
				return fmt.Errorf("%s was tried while %s before it was dead", id, earlier)
			}
		}
	}
	return nil
}

// TestWhateverHappensEveryDeliveryEndsOnceAndInOrder plays random stories.
func TestWhateverHappensEveryDeliveryEndsOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt)
		var fault error
		synctest.Test(t, func(t *testing.T) { fault = s.play(t) })
		if fault != nil {
			rt.Fatal(fault)
		}
	})
}
