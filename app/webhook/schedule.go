package webhook

import (
	"fmt"
	"strings"
	"time"
)

// MaxRetryAfter bounds how far a receiver's Retry-After can push the next try.
const MaxRetryAfter = time.Hour

// A Schedule is the wait before each retry: the first entry stands before the
// first retry, and the last repeats when there are more retries than entries.
type Schedule []time.Duration

// DefaultSchedule returns 1s, 5s, 30s, 2m, 10m, 30m.
func DefaultSchedule() Schedule {
	return Schedule{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute}
}

// Validate says what is wrong with the schedule, or returns nil.
func (s Schedule) Validate() error {
	if len(s) == 0 {
		return fmt.Errorf("a schedule needs at least one wait")
	}
	if len(s) > 100 {
		return fmt.Errorf("a schedule has at most 100 waits, not %d", len(s))
	}
	for _, wait := range s {
		if wait < 0 || wait > 30*24*time.Hour {
			return fmt.Errorf("a wait is between 0s and 720h, not %s", wait)
		}
	}
	return nil
}

// A RetryPolicy says when a failed delivery is tried again, and when no more.
type RetryPolicy struct {
	// Retries is how often a delivery is tried again after its first try.
	Retries int
	// Schedule is the wait before each retry; not empty.
	Schedule Schedule
	// Jitter is the part, 0 to 1, by which a wait is lengthened at most. A
	// wait is never shortened.
	Jitter float64
}

// Next returns the wait before the next try of a delivery that has failed
// tries times, one or more, on its present schedule. It reports false when the
// retries are used up. The random number, from 0 to 1, places the wait within
// its jitter, and hint is what the receiver asked for: the wait is never
// shorter than either, save that a hint counts for an hour at most.
func (p RetryPolicy) Next(tries int, random float64, hint time.Duration) (wait time.Duration, ok bool) {
	if tries > p.Retries {
		return 0, false
	}
	base := p.Schedule[min(tries, len(p.Schedule))-1]
	wait = base + time.Duration(float64(base)*p.Jitter*random)
	return max(wait, min(hint, MaxRetryAfter)), true
}

// Waits returns the wait before each of the retries, without jitter.
func (p RetryPolicy) Waits() Schedule {
	waits := make(Schedule, p.Retries)
	for i := range waits {
		waits[i] = p.Schedule[min(i, len(p.Schedule)-1)]
	}
	return waits
}

// A HoldPolicy says when a subscriber is in an outage, and what follows. An
// outage begins when so many attempts in a row have failed, over so long a time
// at least, and ends with the first that succeeds.
type HoldPolicy struct {
	// Hold has the deliveries of a subscriber in an outage wait without spending
	// retries, while one of them at a time, on a growing interval, finds out
	// whether it is over.
	Hold bool
	// Failures in a row, over After, make an outage.
	Failures int
	After    time.Duration
	// PauseAfter is how long an outage lasts until the subscriber is paused;
	// zero: for ever.
	PauseAfter time.Duration
}

// Holds reports whether the deliveries of the subscriber wait because it is in an
// outage.
func (p HoldPolicy) Holds(s *Subscriber) bool {
	return p.Hold && p.Failures > 0 && s.Active && !s.NoHold && !s.FailingSince.IsZero()
}

// A Transform is a jq expression of the configuration that makes the body of
// events another one, for all subscribers.
type Transform struct {
	// Events are the patterns of the types that it is applied to.
	Events []Pattern
	// Expression is in jq.
	Expression string
}

// FormatDuration writes a duration without the zeros at its end: 2m, not 2m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
