package dispatch

import (
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// setBackBy is by how much the clock has to be behind itself to count as set back.
// A clock that is only made to go slower is never so much behind within a tick.
const setBackBy = time.Second

// A clock notices when the wall clock was set back. What waits in memory waits by
// the monotonic clock, and does not mind; but the store has times of the wall
// clock, and a delivery that was due at noon would wait for noon once more.
//
// A clock that is set forward needs nothing: what falls due by that goes out, as
// much at a time as at any other.
type clock struct {
	// wall was the time when it was read last, and at the same by the monotonic
	// clock.
	wall, at time.Time
	// by is how much it was set back by, in all, as far as that is not made good for.
	by time.Duration
	// pending is what is being made good for; nil: nothing. It stays as it is when it
	// is tried again, so that the store knows it. making says that it is being done.
	pending *webhook.SetBack
	making  bool
	// again is when that is tried again, after it failed.
	again time.Time
	// late are deliveries that were stored after that with a time from before the step,
	// and lateBy is the most by which one of these was ahead.
	late   []webhook.DeliveryID
	lateBy time.Duration
}

// read reads the clock. Where it was set back again before the first time is being made
// good for, both count as one.
func (c *clock) read(now time.Time) {
	wall := now.Round(0) // without the monotonic clock
	would := c.wall.Add(now.Sub(c.at))
	if by := would.Sub(wall); !c.at.IsZero() && by >= setBackBy {
		c.by += by
	}
	c.wall, c.at = wall, now
}

// ahead notes it if what was stored for the delivery was made when the clock was set
// differently: at the time, which still has the monotonic clock that it was read with.
func (c *clock) ahead(id webhook.DeliveryID, at, now time.Time) {
	if wall := at.Round(0); at != wall { // or it is from the store
		if by := wall.Sub(now.Round(0).Add(-now.Sub(at))); by >= setBackBy {
			c.late, c.lateBy = append(c.late, id), max(c.lateBy, by)
		}
	}
}

// wasSetBack reports whether that is not made good for yet.
func (c *clock) wasSetBack() bool { return c.by > 0 || c.pending != nil && len(c.pending.Only) == 0 }

// makeGood has the store bring forward what waits for a time that has been already.
// What is only ready goes back there before, so as not to be left out; and no fetch
// may be under way, since that would bring deliveries with terms which they have no
// longer.
func (s *scheduler) makeGood(now time.Time) {
	c := &s.clock
	if c.making || s.idle != nil || now.Before(c.again) {
		return
	}
	if c.wasSetBack() && s.fetches > 0 {
		return
	}
	switch {
	case c.pending != nil: // it has failed
	case c.by > 0:
		c.pending, c.by = &webhook.SetBack{From: now.Add(c.by), To: now}, 0
		s.d.o.Logger.Warn("the clock was set back; what waited for a later time is brought forward by as much", "by", c.pending.From.Sub(now).Round(time.Millisecond))
	case len(c.late) > 0:
		c.pending = &webhook.SetBack{From: now.Add(c.lateBy), To: now, Only: c.late}
		c.late, c.lateBy = nil, 0
	default:
		return
	}
	setBack := *c.pending
	if len(setBack.Only) == 0 {
		for _, l := range s.lanes {
			s.spill(l)
			for id := range l.known {
				setBack.Held = append(setBack.Held, id)
			}
		}
	}
	c.making = true
	s.d.work.Go(func() {
		backlog, err := s.d.o.Store.Backlog(s.d.attempts, setBack)
		if err != nil && s.d.attempts.Err() == nil {
			s.d.o.Logger.Error("cannot bring deliveries forward; trying again", "error", err)
		}
		s.post(func() { s.madeGood(backlog, err) })
	})
}

// madeGood takes up when deliveries are due now.
func (s *scheduler) madeGood(backlog map[webhook.SubscriberID]webhook.Backlog, err error) {
	c := &s.clock
	c.making = false
	if err != nil {
		c.again = time.Now().Add(retryFetch)
		return
	}
	c.pending = nil
	for id, b := range backlog {
		s.backlog(id, b)
	}
}
