package feed

import (
	"time"

	"github.com/pintle/pintle/app/admin/api"
)

const (
	// window is how many complete seconds a rate is made of.
	window = 10
	// late is how many seconds a happening may be behind the others. One that is
	// further behind means that the clock was set back.
	late = 60
)

// A meter counts by seconds: those of the window, and the one that has begun.
type meter [window + 1]second

// A second is what happened in one.
type second struct {
	unix                       int64 // which one
	accepted, attempts, failed int64
}

// at returns the counts for that moment. They are nobody's where the moment has
// left the window.
func (m *meter) at(t time.Time) *second {
	unix := t.Unix()
	s := &m[uint64(unix)%uint64(len(m))]
	if s.unix == unix {
		return s
	}
	if behind := s.unix - unix; behind > 0 && behind < late {
		return &second{}
	}
	*s = second{unix: unix}
	return s
}

func (m *meter) rate(now time.Time) api.Rate {
	end := now.Unix()
	var sum second
	for _, s := range m {
		if s.unix < end && s.unix >= end-window {
			sum.accepted += s.accepted
			sum.attempts += s.attempts
			sum.failed += s.failed
		}
	}
	return api.Rate{
		Events:   float64(sum.accepted) / window,
		Attempts: float64(sum.attempts) / window,
		Failed:   float64(sum.failed) / window,
	}
}
