package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Faults tell a [Receiver] how to misbehave. The zero value is a healthy
// receiver that answers 200 at once.
//
// Two questions are kept apart. Which arrivals fail: the first tries of each
// event (FailFirst), a share of all (FailRate), those that either of them
// picks if both are set, and every one if neither is but a way to fail is
// given. How they fail: with an answer (Status), without one (Reset), with what is
// none (Garbage), or never ending (Hang). Delay, HeaderSize, BodySize and BodyTime
// apply to every arrival.
type Faults struct {
	// FailFirst makes the first so many arrivals of each event fail. An event
	// is recognised by its webhook-id on one path, as in [Arrival.Seen]; a
	// request without one is always a first.
	FailFirst int
	// FailRate makes this share of the arrivals fail, from 0 to 1.
	FailRate float64

	// Status is what a failing arrival is answered with; zero: 500. It need
	// not be an error: 204 shows how the peer takes that.
	Status int
	// RetryAfter is sent as Retry-After with a failing answer, in whole
	// seconds, rounded up; zero: the header is not sent.
	RetryAfter time.Duration
	// RetryAfterDate sends it as a date in place of seconds.
	RetryAfterDate bool
	// Location is sent as Location with a failing answer, whose Status is then a
	// redirect; empty: the header is not sent.
	Location string
	// Reset closes the connection of a failing arrival without an answer.
	Reset bool
	// Garbage answers a failing arrival with bytes that are not HTTP, and closes the
	// connection.
	Garbage bool
	// Hang keeps a failing arrival waiting until its client goes away.
	Hang bool

	// Delay is how long every arrival waits for its answer, or for the reset.
	// It ends early when the client goes away.
	Delay time.Duration
	// HeaderSize is how many bytes too many every answer's header has.
	HeaderSize int
	// BodySize is the size of every answer's body in bytes; zero: a short
	// line.
	BodySize int64
	// BodyTime is how long every answer's body takes to be sent, piece by piece.
	BodyTime time.Duration
}

// Validate says what is impossible about the faults, or returns nil.
func (f Faults) Validate() error {
	switch {
	case f.FailFirst < 0:
		return errors.New("the number of tries that fail is negative")
	case !(f.FailRate >= 0 && f.FailRate <= 1):
		return fmt.Errorf("a share of %v fails: it is between 0 and 1", f.FailRate)
	case f.Status != 0 && (f.Status < 200 || f.Status > 999):
		return fmt.Errorf("status %d: the status of an answer is between 200 and 999", f.Status)
	case f.RetryAfter < 0 || f.Delay < 0 || f.BodyTime < 0:
		return errors.New("a duration is negative")
	case f.BodySize < 0 || f.HeaderSize < 0:
		return errors.New("the size of the header or the body is negative")
	case f.Reset && f.Hang || f.Reset && f.Garbage || f.Hang && f.Garbage:
		return errors.New("a request can be reset, left hanging or answered with garbage, not two of them")
	case f.silent() && (f.Status != 0 || f.RetryAfter != 0):
		return errors.New("a request that is reset, left hanging or answered with garbage gets no status and no Retry-After")
	case f.Location != "" && (f.Status < 300 || f.Status > 399):
		return errors.New("a Location goes with a status from 300 to 399")
	case f.RetryAfterDate && f.RetryAfter == 0:
		return errors.New("a date of Retry-After goes with its duration")
	case f.RetryAfter != 0 && !f.fail():
		return errors.New("Retry-After goes with an answer that fails: say which, or give a status")
	}
	return nil
}

// fail reports whether there is an arrival that fails.
func (f Faults) fail() bool { return f.some() || f.Status != 0 || f.silent() }

// silent reports whether an arrival that fails gets no answer.
func (f Faults) silent() bool { return f.Reset || f.Hang || f.Garbage }

// some reports whether only some arrivals fail.
func (f Faults) some() bool { return f.FailFirst > 0 || f.FailRate > 0 }

// status is what a failing arrival is answered with.
func (f Faults) status() int {
	if f.Status == 0 {
		return http.StatusInternalServerError
	}
	return f.Status
}
