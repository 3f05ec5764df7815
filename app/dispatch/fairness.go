package dispatch

import "github.com/pintle/pintle/app/webhook"

// standing is how much a lane is trusted with places among the requests in flight,
// when they become scarce. What hangs keeps its place until the timeout, so that a
// few who hang could take all places, and everybody else would wait.
type standing int

const (
	// trusted lanes get answers.
	trusted standing = iota
	// unproven ones have had none yet.
	unproven
	// suspect ones have timed out since the last answer.
	suspect
	standings
)

// note takes note of what an attempt says of the receiver.
func (h *health) note(outcome webhook.Outcome) {
	switch outcome {
	case webhook.Timeout:
		h.standing = suspect
	case webhook.OK, webhook.HTTPStatus:
		h.standing = trusted
	}
}

// bounds are how many requests may be in flight, of all lanes of a standing
// together.
func (s *scheduler) bounds(of standing) int {
	most := s.d.o.MaxInFlight
	switch of {
	case unproven:
		return max(most*3/4, 1)
	case suspect:
		return max(most/4, 1)
	}
	return most
}

// fair reports whether the lane may take a place. As long as three quarters of all
// are free, it may have as many as its concurrency allows. After that one that is
// not trusted may have a single one; and the last quarter is for those who have
// none, so that who is slow leaves something to who is quick.
func (s *scheduler) fair(l *lane) bool {
	most := s.d.o.MaxInFlight
	free := most - s.inFlight
	switch {
	case l.inFlight == 0:
		return true
	case l.health.standing == trusted:
		return free > most/4
	}
	return free > most*3/4
}
