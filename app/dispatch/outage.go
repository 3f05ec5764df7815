package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// pausedType is the type of the event that a subscriber was paused by Pintle
// itself. A pause by a person is no news to those who run it.
const pausedType = "pintle.subscriber.paused"

// goneReason is why a subscriber is paused whose receiver wants no more.
const goneReason = "the receiver answered 410 Gone"

// outages are what is to be stored of the outages, by subscriber, and is not yet.
type outages struct {
	mu sync.Mutex
	// since is when each began; zero: it is over.
	since map[webhook.SubscriberID]time.Time
}

// put notes what is to be stored, and reports whether nobody is at it yet.
func (o *outages) put(id webhook.SubscriberID, since time.Time) (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since == nil {
		o.since = map[webhook.SubscriberID]time.Time{}
	}
	_, busy := o.since[id]
	o.since[id] = since
	return !busy
}

func (o *outages) get(id webhook.SubscriberID) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.since[id]
}

// stored reports whether nothing newer is to be stored.
func (o *outages) stored(id webhook.SubscriberID, since time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since[id].Equal(since) {
		return false
	}
	delete(o.since, id)
	return true
}

// keep has it stored that the subscriber is in an outage since then, or, if that
// is zero, in none. Of several calls for one subscriber the last one counts.
func (d *Dispatcher) keep(id webhook.SubscriberID, since time.Time) {
	if !d.outages.put(id, since) {
		return
	}
	d.work.Go(func() {
		for {
			var since time.Time
			_ = d.insist(id, "cannot store the outage of a subscriber; trying again", func() error {
				since = d.outages.get(id)
				return d.storeOutage(id, since)
			})
			if d.outages.stored(id, since) {
				return
			}
		}
	})
}

// storeOutage changes nothing of the subscriber but FailingSince, which is no
// change of its terms: UpdatedAt stays, and so does its lane as it is.
func (d *Dispatcher) storeOutage(id webhook.SubscriberID, since time.Time) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	old, ok := d.directory.get(id)
	if !ok || old.FailingSince.Equal(since) {
		return nil
	}
	s := *old
	s.FailingSince = since
	if err := d.o.Store.PutSubscriber(context.Background(), s); err != nil {
		return err
	}
	d.directory.put(&s)
	d.scheduler.post(func() { d.scheduler.noted(&s) })
	if since.IsZero() {
		d.o.Logger.Info("an outage is over", "subscriber", id, "url", s.URL, "since", old.FailingSince)
	} else {
		d.o.Logger.Warn("a subscriber is in an outage", "subscriber", id, "url", s.URL, "since", since, "held", d.Held(&s))
	}
	return nil
}

// insist does the work until it is done, or there is nothing to be done, or the
// dispatcher stops. It is tried once even then.
func (d *Dispatcher) insist(id webhook.SubscriberID, complaint string, work func() error) error {
	for {
		err := work()
		if err == nil || errors.Is(err, errOverruled) || errors.Is(err, webhook.ErrNotFound) {
			return err
		}
		d.o.Logger.Error(complaint, "subscriber", id, "error", err)
		select {
		case <-time.After(retryRecord):
		case <-d.attempts.Done():
			return err
		}
	}
}

// pause stops sending to a subscriber whose receiver wants no more or, where since
// is not zero, has failed since then. It is tried until it is stored.
func (d *Dispatcher) pause(called *webhook.Subscriber, since time.Time, reason string) {
	var paused webhook.Subscriber
	err := d.insist(called.ID, "cannot pause subscriber; trying again", func() (err error) {
		paused, err = d.UpdateSubscriber(context.Background(), called.ID, func(s *webhook.Subscriber) error {
			// A person may have come first.
			if !s.Active || s.URL != called.URL || !since.IsZero() && s.NoAutoPause {
				return errOverruled
			}
			s.Active, s.PausedReason = false, reason
			if !since.IsZero() {
				s.FailingSince = since
			}
			return nil
		})
		return err
	})
	if err != nil {
		return
	}
	d.o.Logger.Warn("a subscriber is paused", "subscriber", paused.ID, "url", paused.URL, "reason", reason)
	d.tellOfPause(&paused)
}

// tellOfPause publishes that the subscriber was paused, to those who select such
// events and may know of it: they are of its client, or of none.
func (d *Dispatcher) tellOfPause(paused *webhook.Subscriber) {
	data, err := pauseData(paused)
	if err != nil {
		d.o.Logger.Error("cannot tell of a pause", "subscriber", paused.ID, "error", err)
		return
	}
	e := webhook.Event{
		Source: webhook.SourcePintle, Type: pausedType, Timestamp: paused.UpdatedAt.Unix(), Data: data, ClientID: paused.ClientID,
	}
	// One event for one outage, however often it is published.
	reason := paused.FailingSince
	if reason.IsZero() {
		reason = paused.UpdatedAt
	}
	key := webhook.NewDedupeKey(webhook.SourcePintle, string(paused.ID)+" "+strconv.FormatInt(reason.UnixMilli(), 10))
	_ = d.insist(paused.ID, "cannot publish the pause of a subscriber; trying again", func() error {
		ctx := context.Background()
		_, _, err := d.publish(ctx, e, key, func(e *webhook.Event) []webhook.NewDelivery {
			return d.fanOut(ctx, e, d.operators(e.Type, paused), d.o.FilterPatience)
		})
		return err
	})
}

// pauseData is what the event of a pause says.
func pauseData(s *webhook.Subscriber) ([]byte, error) {
	stamp := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC().Truncate(time.Millisecond)
		return &t
	}
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		SubscriberID webhook.SubscriberID `json:"subscriber_id"`
		URL          string               `json:"url"`
		Description  string               `json:"description"`
		Reason       string               `json:"reason"`
		FailingSince *time.Time           `json:"failing_since"`
		PausedAt     *time.Time           `json:"paused_at"`
	}{s.ID, s.URL, s.Description, s.PausedReason, stamp(s.FailingSince), stamp(s.UpdatedAt)})
	return bytes.TrimSpace(data.Bytes()), err
}

// operators are who is told of what becomes of the subscriber.
func (d *Dispatcher) operators(eventType string, of *webhook.Subscriber) []*webhook.Subscriber {
	var to []*webhook.Subscriber
	for _, s := range d.directory.list() {
		if s.ID != of.ID && (s.ClientID == "" || s.ClientID == of.ClientID) &&
			slices.ContainsFunc(s.Events, func(p webhook.Pattern) bool { return p.Match(eventType) }) {
			to = append(to, s)
		}
	}
	return to
}

// noted gives the lane the subscriber with what is known of its outage.
func (s *scheduler) noted(subscriber *webhook.Subscriber) {
	if l, ok := s.lanes[subscriber.ID]; ok {
		l.subscriber = subscriber
	}
}

// health is how the subscriber does.
func (s *scheduler) health(subscriber *webhook.Subscriber) *health {
	h, ok := s.healths[subscriber.ID]
	if !ok {
		h = newHealth(subscriber, s.d.o.Hold)
		s.healths[subscriber.ID] = h
	}
	return h
}

// weigh takes note of what an attempt says about its subscriber, unless that has
// another receiver by now.
func (s *scheduler) weigh(t *trial, now time.Time) {
	l, called, attempt := t.assignment.lane, t.assignment.subscriber, &t.result.Attempt
	h := l.health
	if called.URL != l.subscriber.URL {
		h.ended("", false, now)
		return
	}
	h.note(attempt.Outcome)
	if t.retryAfter > 0 {
		h.hush(now.Add(t.retryAfter))
	}
	if h.ended(attempt.Outcome, t.assignment.probe, now) {
		s.d.keep(called.ID, h.since)
	}
	if since := h.since; failed(attempt.Outcome) && h.overdue(now) {
		reason := fmt.Sprintf("no delivery has succeeded since %s: the last attempt ended with %s", since.UTC().Format(time.RFC3339), ending(attempt))
		s.d.work.Go(func() { s.d.pause(called, since, reason) })
	}
}

// ending is how the attempt ended, in a few words.
func ending(a *webhook.Attempt) string {
	if a.Outcome == webhook.HTTPStatus {
		return "status " + strconv.Itoa(a.Code)
	}
	return string(a.Outcome)
}

// Held reports whether the deliveries of the subscriber wait for the end of an
// outage, as far as the store knows of it. Unlike [Dispatcher.LaneState] it asks
// nobody, so that it can be asked for each line of a list.
func (d *Dispatcher) Held(s *webhook.Subscriber) bool { return d.o.Hold.Holds(s) }

// LaneState tells how the subscriber's lane stands at the moment.
func (d *Dispatcher) LaneState(ctx context.Context, id webhook.SubscriberID) (webhook.LaneState, error) {
	subscriber, ok := d.directory.get(id)
	if !ok {
		return webhook.LaneState{}, fmt.Errorf("ask lane of %s: %w", id, webhook.ErrNotFound)
	}
	answer := make(chan webhook.LaneState, 1)
	d.scheduler.post(func() { answer <- d.scheduler.state(subscriber) })
	select {
	case state := <-answer:
		return state, nil
	case <-ctx.Done():
		return webhook.LaneState{}, fmt.Errorf("ask lane of %s: %w", id, ctx.Err())
	case <-d.scheduler.ended:
		return webhook.LaneState{}, fmt.Errorf("ask lane of %s: %w", id, webhook.ErrClosed)
	}
}

// state is how the lane of the subscriber stands.
func (s *scheduler) state(subscriber *webhook.Subscriber) webhook.LaneState {
	var state webhook.LaneState
	h, ok := s.healths[subscriber.ID]
	if !ok {
		h = newHealth(subscriber, s.d.o.Hold)
	}
	if subscriber.Active {
		h.tell(&state)
	}
	state.MayBe = h.width(s.concurrency(subscriber))
	if l, ok := s.lanes[subscriber.ID]; ok {
		state.InFlight, state.RetryAfter, state.NextAt = l.inFlight, l.heldUntil, l.nextAt
		if h.rate > 0 {
			state.NextAt = later(l.nextAt, h.startAt)
		}
	}
	return state
}
