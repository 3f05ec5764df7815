package dispatch

import (
	"maps"
	"reflect"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// firstProbe is how long after an outage began it is first looked whether it is
	// over; the wait doubles each time it is not, up to maxProbe.
	firstProbe = 10 * time.Second
	maxProbe   = 10 * time.Minute
	// firstRate is how many requests begin in a second when an outage is over. The
	// rate doubles after each second in which something succeeded. Above maxRate,
	// or when the lane has not made use of it for slack, it bounds nothing any more.
	firstRate = 2
	maxRate   = 1024
	slack     = time.Second
	// relapse is how many failures in a row bring an outage back while the rate
	// rises.
	relapse = 3
)

// health is what is known of how a subscriber does. It outlives the lane, which
// is forgotten while there is nothing to send. Only the goroutine of the
// scheduler uses it.
//
// A subscriber is in one of three conditions: healthy; in an outage, since the
// first of the failures that made it one; or recovering, while its rate rises
// after an outage in which its deliveries were held.
type health struct {
	policy webhook.HoldPolicy
	// standing is how much it is trusted.
	standing standing
	// subscriber has the terms that are in force.
	subscriber *webhook.Subscriber

	// failures is how many attempts in a row have failed, the first of them at
	// failedAt.
	failures int
	failedAt time.Time
	// since is when the outage began; zero: there is none. known is what the store
	// has been told of that.
	since, known time.Time
	// probing says that a probe is under way. The next is due at probeAt, and was
	// put off by wait, which is zero before the first of an outage that was stored.
	probing bool
	probeAt time.Time
	wait    time.Duration
	// pausing says that the outage has lasted too long, and the subscriber is being
	// paused.
	pausing bool

	// rate is how many attempts may begin in a second; zero: the subscriber is not
	// recovering.
	rate float64
	// startAt is when the rate allows the next attempt, or a place came free for it
	// later than that.
	startAt time.Time
	// second is when the rate last rose, and succeeded whether something has
	// succeeded since.
	second    time.Time
	succeeded bool
}

// newHealth is that of a subscriber as it was stored. Where it was in an outage it
// still is, and the first probe may go at once: a restart is a good moment to look.
func newHealth(s *webhook.Subscriber, policy webhook.HoldPolicy) *health {
	h := &health{policy: policy, standing: unproven, known: s.FailingSince, subscriber: s}
	if policy.Failures > 0 {
		h.since = s.FailingSince
	}
	return h
}

// repaired reports whether a person has resumed the subscriber, or changed what
// its requests are made of. Whoever does so expects them to succeed.
func repaired(old, s *webhook.Subscriber) bool {
	return s.Active && !old.Active || s.URL != old.URL || s.Secret != old.Secret || s.Signing != old.Signing ||
		s.Filter != old.Filter || s.Transform != old.Transform || s.Timeout != old.Timeout ||
		s.Basic != old.Basic || s.TLS != old.TLS || !reflect.DeepEqual(s.OAuth2, old.OAuth2) || !maps.Equal(s.Headers, old.Headers)
}

// changed takes the subscriber's new terms, and reports whether an outage has
// ended by them, which is to be stored: one is over that was [repaired].
func (h *health) changed(s *webhook.Subscriber) bool {
	believed := repaired(h.subscriber, s)
	held := h.held()
	h.subscriber = s
	h.pausing = h.pausing && !s.Active
	switch {
	case believed:
		h.reset()
	case h.held() && !held:
		h.probeAt = time.Time{}
	case s.NoHold:
		h.heal()
	}
	return h.news()
}

// reset ends an outage without a probe. What was held goes out at a rising rate
// all the same, the first of it at once; nobody knows how the receiver takes it.
func (h *health) reset() {
	held := h.held()
	h.failures, h.since, h.probing, h.wait = 0, time.Time{}, false, 0
	if held {
		h.recover(time.Time{})
	}
}

// held reports whether nothing but probes may be sent.
func (h *health) held() bool { return !h.since.IsZero() && h.policy.Hold && !h.subscriber.NoHold }

// begun notes that an attempt begins, and reports whether it is a probe, which
// spends no retry.
func (h *health) begun(now time.Time) (probe bool) {
	switch {
	case h.held():
		h.probing = true
		return true
	case h.rate > 0 && !h.startAt.IsZero() && now.Sub(h.startAt) > slack:
		// It might have begun before, had it been there: all that was held is gone.
		h.heal()
	case h.rate > 0:
		h.rise(now)
		h.pace(now)
	}
	return false
}

// ended notes what came of an attempt, and reports whether an outage has begun or
// ended by it, which is to be stored. An attempt that was cut short, or came to
// nothing before it was sent, says nothing: a probe is due again.
//
// An attempt that began before the outage and ends in it counts as far as it
// tells something new: its success ends the outage, its failure is one more.
func (h *health) ended(outcome webhook.Outcome, probe bool, now time.Time) (changed bool) {
	if h.rate > 0 {
		h.startAt = later(h.startAt, now)
	}
	failedProbe := probe && h.probing && h.held()
	if probe {
		h.probing = false
	}
	switch {
	case outcome == webhook.OK:
		h.success(now)
	case !failed(outcome):
		return false
	default:
		h.failure(now)
		if failedProbe {
			h.putOff(now)
		}
	}
	return h.news()
}

// failed reports whether an attempt with this outcome was a failure.
func failed(outcome webhook.Outcome) bool {
	return outcome != webhook.OK && outcome != webhook.Interrupted && outcome != ""
}

func (h *health) success(now time.Time) {
	h.failures = 0
	switch {
	case h.held():
		h.since = time.Time{}
		h.recover(now)
	case !h.since.IsZero():
		h.since = time.Time{}
		h.heal()
	case h.rate > 0:
		h.rise(now)
		h.succeeded = true
	}
}

func (h *health) failure(now time.Time) {
	if h.failures == 0 {
		h.failedAt = now
	}
	h.failures++
	if !h.since.IsZero() || h.policy.Failures == 0 {
		return
	}
	many := h.failures >= h.policy.Failures && now.Sub(h.failedAt) >= h.policy.After
	if !many && (h.rate == 0 || h.failures < relapse) {
		return
	}
	// As it is stored, to the millisecond.
	h.since, h.rate, h.probing = h.failedAt.Truncate(time.Millisecond), 0, false
	h.putOff(now)
}

// putOff sets the time of the next probe. An outage that comes back while the
// rate rises goes on with the wait that it had.
func (h *health) putOff(now time.Time) {
	h.wait = min(max(2*h.wait, firstProbe), maxProbe)
	h.probeAt = now.Add(h.wait)
}

// recover begins a rising rate. The attempt that ended the outage, if there was
// one, was the first of it.
func (h *health) recover(now time.Time) {
	h.rate, h.second, h.succeeded, h.startAt = firstRate, now, false, time.Time{}
	if !now.IsZero() {
		h.pace(now)
	}
}

// pace notes that an attempt begins: the next waits until the rate allows it.
func (h *health) pace(now time.Time) {
	if h.rate > 0 {
		h.startAt = now.Add(time.Duration(float64(time.Second) / h.rate))
	}
}

// rise doubles the rate if it is time.
func (h *health) rise(now time.Time) {
	if !h.succeeded || now.Sub(h.second) < time.Second {
		return
	}
	h.rate, h.second, h.succeeded = 2*h.rate, now, false
	if h.rate > maxRate {
		h.heal()
	}
}

// heal ends the recovery: the next outage is one of its own.
func (h *health) heal() { h.rate, h.wait = 0, 0 }

// hush notes that the receiver wants to be left alone until then. What is not sent
// because of that is no sign that nothing waits.
func (h *health) hush(until time.Time) { h.startAt = later(h.startAt, until) }

// next is when an attempt may begin; the zero time: now.
func (h *health) next(now time.Time) time.Time {
	var at time.Time
	switch {
	case h.held():
		at = h.probeAt
	case h.rate > 0:
		at = h.startAt
	}
	if at.After(now) {
		return at
	}
	return time.Time{}
}

// width is how many attempts may be under way, of the bound that is given.
func (h *health) width(bound int) int {
	switch {
	case h.held():
		return min(bound, 1)
	case h.rate > 0:
		return min(bound, int(h.rate))
	}
	return bound
}

// overdue reports, once, that the outage has lasted so long that the subscriber is
// to be paused.
func (h *health) overdue(now time.Time) bool {
	if h.since.IsZero() || h.policy.PauseAfter == 0 || h.subscriber.NoAutoPause || h.pausing || now.Sub(h.since) < h.policy.PauseAfter {
		return false
	}
	h.pausing = true
	return true
}

// news reports whether the store is to be told of the outage.
func (h *health) news() bool {
	if h.since.Equal(h.known) {
		return false
	}
	h.known = h.since
	return true
}

// tell writes down what concerns the lane.
func (h *health) tell(state *webhook.LaneState) {
	state.Failures, state.Rate = h.failures, h.rate
	state.Held = h.held()
	if state.Held && !h.probing {
		state.ProbeAt = h.probeAt
	}
}
