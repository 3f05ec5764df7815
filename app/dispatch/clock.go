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
	// setBack is what was noticed and is to be made good for; making says that it
	// is being done.
	setBack webhook.SetBack
	making  bool
	// again is when that is tried again, after it failed.
	again time.Time
	// late are deliveries that were stored after that with a time from before the step,
	// and lateBy is the most by which one of these was ahead.
	late   []webhook.DeliveryID
	lateBy time.Duration
}

// read reads the clock. Where it was set back again before the first time was made
// good for, both count as one.
func (c *clock) read(now time.Time) {
	wall := now.Round(0) // without the monotonic clock
	would := c.wall.Add(now.Sub(c.at))
	if !c.at.IsZero() && would.Sub(wall) >= setBackBy && !c.wasSetBack() {
		c.setBack.From = would
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

func (c *clock) wasSetBack() bool { return !c.setBack.From.IsZero() }

// makeGood has the store bring forward what waits for a time that has been already.
// What is only ready goes back there before, so as not to be left out; and no fetch
// may be under way, since that would bring deliveries with terms which they have no
// longer.
func (s *scheduler) makeGood(now time.Time) {
	c := &s.clock
	if c.making || s.idle != nil || now.Before(c.again) {
		return
	}
	setBack := webhook.SetBack{From: now.Add(c.lateBy), To: now, Only: c.late}
	switch {
	case c.wasSetBack() && s.fetches == 0:
		setBack.From, setBack.Only = c.setBack.From, nil
		for _, l := range s.lanes {
			s.spill(l)
			for id := range l.known {
				setBack.Held = append(setBack.Held, id)
			}
		}
		s.d.o.Logger.Warn("the clock was set back; what waited for a later time is brought forward by as much", "by", setBack.From.Sub(now).Round(time.Millisecond))
	case c.wasSetBack() || len(c.late) == 0:
		return
	}
	c.making, c.late, c.lateBy = true, nil, 0
	s.d.work.Go(func() {
		backlog, err := s.d.o.Store.Backlog(s.d.attempts, setBack)
		if err != nil && s.d.attempts.Err() == nil {
			s.d.o.Logger.Error("cannot bring deliveries forward; trying again", "error", err)
		}
		s.post(func() { s.madeGood(&setBack, backlog, err) })
	})
}

// madeGood takes up when deliveries are due now.
func (s *scheduler) madeGood(done *webhook.SetBack, backlog map[webhook.SubscriberID]webhook.Backlog, err error) {
	c := &s.clock
	c.making = false
	switch {
	case err != nil:
		c.again = time.Now().Add(retryFetch)
		if len(done.Only) > 0 {
			c.late, c.lateBy = append(c.late, done.Only...), max(c.lateBy, done.From.Sub(done.To))
		}
		return
	case len(done.Only) == 0:
		c.setBack = webhook.SetBack{}
	}
	for id, b := range backlog {
		s.backlog(id, b)
	}
}
