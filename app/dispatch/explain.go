package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/webhook"
)

// blockersRead is how many earlier deliveries of a key are looked through for the
// one that stands in the way.
const blockersRead = 100

// Explain says what each gate between the event and the subscriber says. The
// delivery is that of the event to this subscriber; nil: there is none. The event
// has its data. [webhook.ErrNotFound] says that the subscriber is gone.
func (d *Dispatcher) Explain(ctx context.Context, e *webhook.Event, id webhook.SubscriberID, delivery *webhook.Delivery) (webhook.Explanation, error) {
	s, ok := d.directory.get(id)
	if !ok {
		return webhook.Explanation{}, fmt.Errorf("explain %s to %s: %w", e.ID, id, webhook.ErrNotFound)
	}
	x := webhook.Explanation{SubscriberID: id, Gates: []webhook.Gate{existed(e, s), clientGate(e, s), patternGate(e, s), d.filterGate(ctx, e, s)}}
	if delivery == nil || delivery.State != webhook.Pending {
		return x, nil
	}
	lane, err := d.LaneState(ctx, id)
	if err != nil {
		return x, fmt.Errorf("explain %s to %s: %w", e.ID, id, err)
	}
	order, err := d.orderGate(ctx, s, delivery)
	if err != nil {
		return x, fmt.Errorf("explain %s to %s: %w", e.ID, id, err)
	}
	now := time.Now()
	x.Gates = append(x.Gates, activeGate(s), outageGate(s, &lane), order, scheduleGate(delivery, now),
		retryAfterGate(&lane, now), rateGate(s, &lane, now), d.roomGate(&lane))
	return x, nil
}

func passes(name webhook.GateName, format string, args ...any) webhook.Gate {
	return webhook.Gate{Name: name, Verdict: webhook.Passes, Reason: fmt.Sprintf(format, args...)}
}

func stops(name webhook.GateName, format string, args ...any) webhook.Gate {
	return webhook.Gate{Name: name, Verdict: webhook.Stops, Reason: fmt.Sprintf(format, args...)}
}

func waits(name webhook.GateName, until time.Time, format string, args ...any) webhook.Gate {
	return webhook.Gate{Name: name, Verdict: webhook.Waits, Reason: fmt.Sprintf(format, args...), Until: until}
}

func existed(e *webhook.Event, s *webhook.Subscriber) webhook.Gate {
	// What is stored is kept to the millisecond.
	if s.CreatedAt.Truncate(time.Millisecond).After(e.ReceivedAt) {
		return stops(webhook.GateExisted, "it was added at %s, after the event came; a replay would reach it", shown(s.CreatedAt))
	}
	return passes(webhook.GateExisted, "it was there when the event came")
}

func clientGate(e *webhook.Event, s *webhook.Subscriber) webhook.Gate {
	switch {
	case e.ClientID == "":
		return passes(webhook.GateClient, "the event is for every client")
	case e.ClientID == s.ClientID:
		return passes(webhook.GateClient, "event and subscriber are those of client %s", e.ClientID)
	case s.ClientID == "":
		return stops(webhook.GateClient, "the event is for client %s, and the subscriber has no client", e.ClientID)
	}
	return stops(webhook.GateClient, "the event is for client %s, and the subscriber is client %s's", e.ClientID, s.ClientID)
}

func patternGate(e *webhook.Event, s *webhook.Subscriber) webhook.Gate {
	for _, p := range s.Events {
		if p.Match(e.Type) {
			return passes(webhook.GatePattern, "%s selects %s", p, e.Type)
		}
	}
	const most = 10
	var patterns []string
	for _, p := range s.Events[:min(len(s.Events), most)] {
		patterns = append(patterns, string(p))
	}
	if more := len(s.Events) - most; more > 0 {
		patterns = append(patterns, fmt.Sprintf("%d more", more))
	}
	return stops(webhook.GatePattern, "none of its patterns selects %s: %s", e.Type, strings.Join(patterns, ", "))
}

// filterGate asks the filter as it is now.
func (d *Dispatcher) filterGate(ctx context.Context, e *webhook.Event, s *webhook.Subscriber) webhook.Gate {
	if s.Filter == "" {
		return passes(webhook.GateFilter, "it has no filter")
	}
	err := error(errNoExpressions)
	pass := false
	if d.o.Expressions != nil {
		pass, err = d.o.Expressions.Filter(ctx, string(s.ID), s.Filter, sender.Input(e))
	}
	switch {
	case err != nil:
		return webhook.Gate{Name: webhook.GateFilter, Verdict: webhook.Unknown, Reason: "the filter gives no answer: " + err.Error()}
	case pass:
		return passes(webhook.GateFilter, "the filter lets it pass")
	}
	return stops(webhook.GateFilter, "the filter does not let it pass: %s", s.Filter)
}

func activeGate(s *webhook.Subscriber) webhook.Gate {
	if s.Active {
		return passes(webhook.GateActive, "it is active")
	}
	return waits(webhook.GateActive, time.Time{}, "it is paused: %s", s.PausedReason)
}

func outageGate(s *webhook.Subscriber, lane *webhook.LaneState) webhook.Gate {
	switch {
	case lane.Held:
		return waits(webhook.GateOutage, lane.ProbeAt, "nothing has succeeded since %s; deliveries wait, and spend no retries, until one that is tried now and then succeeds", shown(s.FailingSince))
	case !s.FailingSince.IsZero():
		return passes(webhook.GateOutage, "nothing has succeeded since %s, but its deliveries are not held", shown(s.FailingSince))
	case lane.Rate > 0:
		return passes(webhook.GateOutage, "an outage is over; deliveries go out at a rising rate, now %s a second", strconv.FormatFloat(lane.Rate, 'g', 4, 64))
	case lane.Failures == 1:
		return passes(webhook.GateOutage, "the last attempt failed; that is no outage yet")
	case lane.Failures > 0:
		return passes(webhook.GateOutage, "the last %d attempts failed; that is no outage yet", lane.Failures)
	}
	return passes(webhook.GateOutage, "it is not in an outage")
}

// orderGate finds what stands before the delivery in its order.
func (d *Dispatcher) orderGate(ctx context.Context, s *webhook.Subscriber, delivery *webhook.Delivery) (webhook.Gate, error) {
	if s.Ordered == "" || delivery.OrderKey == "" {
		return passes(webhook.GateOrder, "it stands in no order"), nil
	}
	// A dead one is what the pending ones behind it wait for too.
	states := []webhook.State{webhook.Dead, webhook.Pending}
	if s.OnDead == webhook.OnDeadSkip {
		states = states[1:]
	}
	for _, state := range states {
		before, err := d.o.Store.Deliveries(ctx, webhook.DeliveryFilter{
			Subscribers: []webhook.SubscriberID{s.ID}, State: state, OrderKey: delivery.OrderKey,
		}, webhook.Page{Limit: blockersRead, Before: string(delivery.ID)})
		if err != nil {
			return webhook.Gate{}, err
		}
		if len(before.Items) == 0 {
			continue
		}
		first := before.Items[len(before.Items)-1]
		if state == webhook.Dead {
			return waits(webhook.GateOrder, time.Time{}, "%s before it, of the same key %s, is dead: send it again, purge it, or set on_dead to skip", first.ID, delivery.OrderKey), nil
		}
		return waits(webhook.GateOrder, time.Time{}, "%s before it, of the same key %s, is still pending", first.ID, delivery.OrderKey), nil
	}
	return passes(webhook.GateOrder, "nothing of its key %s stands before it", delivery.OrderKey), nil
}

func scheduleGate(delivery *webhook.Delivery, now time.Time) webhook.Gate {
	if delivery.NextAttemptAt.After(now) {
		return waits(webhook.GateSchedule, delivery.NextAttemptAt, "the next try is due at %s", shown(delivery.NextAttemptAt))
	}
	return passes(webhook.GateSchedule, "it has been due since %s", shown(delivery.NextAttemptAt))
}

func retryAfterGate(lane *webhook.LaneState, now time.Time) webhook.Gate {
	if lane.RetryAfter.After(now) {
		return waits(webhook.GateRetryAfter, lane.RetryAfter, "the receiver has asked to be left alone until %s", shown(lane.RetryAfter))
	}
	return passes(webhook.GateRetryAfter, "the receiver has not asked to be left alone")
}

func rateGate(s *webhook.Subscriber, lane *webhook.LaneState, now time.Time) webhook.Gate {
	switch {
	case lane.NextAt.After(now):
		return waits(webhook.GateRate, lane.NextAt, "its rate allows the next request at %s", shown(lane.NextAt))
	case s.RateLimit > 0:
		return passes(webhook.GateRate, "its rate of %s a second allows a request", strconv.FormatFloat(s.RateLimit, 'g', 4, 64))
	}
	return passes(webhook.GateRate, "it has no rate limit")
}

func (d *Dispatcher) roomGate(lane *webhook.LaneState) webhook.Gate {
	all := d.InFlight()
	switch {
	case lane.InFlight >= lane.MayBe:
		return waits(webhook.GateRoom, time.Time{}, "%d requests to it are under way, of %d that may be", lane.InFlight, lane.MayBe)
	case all >= d.o.MaxInFlight:
		return waits(webhook.GateRoom, time.Time{}, "%d requests to all subscribers are under way, of %d that may be", all, d.o.MaxInFlight)
	}
	return passes(webhook.GateRoom, "%d requests to it are under way, of %d that may be", lane.InFlight, lane.MayBe)
}

// shown writes a time for people.
func shown(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// errNoExpressions says that this appliance runs no expressions.
var errNoExpressions = errors.New("expressions are not available")
