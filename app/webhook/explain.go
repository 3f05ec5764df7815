package webhook

import "time"

// A GateName names one of the things that an event must pass on its way to a
// subscriber.
type GateName string

// The gates, in the order in which an event comes to them. The first four decide
// whether there is a delivery at all, the others when it is tried.
const (
	GateExisted    GateName = "existed"     // the subscriber was there when the event came
	GateClient     GateName = "client"      // the event is one for the subscriber's client
	GatePattern    GateName = "pattern"     // one of its patterns selects the type
	GateFilter     GateName = "filter"      // its filter lets the event pass
	GateActive     GateName = "active"      // it is not paused
	GateOutage     GateName = "outage"      // it is not in an outage
	GateOrder      GateName = "order"       // nothing earlier of the same key stands in the way
	GateSchedule   GateName = "schedule"    // the next try is due
	GateRetryAfter GateName = "retry_after" // it has not asked to be left alone
	GateRate       GateName = "rate"        // its rate allows a request
	GateRoom       GateName = "room"        // a place among the requests in flight is free
)

// GateNames lists all gates, in the order in which an event comes to them.
func GateNames() []GateName {
	return []GateName{
		GateExisted, GateClient, GatePattern, GateFilter, GateActive, GateOutage, GateOrder, GateSchedule, GateRetryAfter, GateRate, GateRoom,
	}
}

// A Verdict is what a gate says.
type Verdict string

// What a gate says.
const (
	Passes  Verdict = "passes"
	Stops   Verdict = "stops"   // nothing is sent because of it
	Waits   Verdict = "waits"   // nothing is sent yet because of it
	Unknown Verdict = "unknown" // it cannot be told
)

// Verdicts lists all that a gate can say.
func Verdicts() []Verdict { return []Verdict{Passes, Stops, Waits, Unknown} }

// A Gate is one gate and what it says.
type Gate struct {
	Name    GateName
	Verdict Verdict
	// Reason says why, in a sentence for people.
	Reason string
	// Until is when a gate that waits is expected to open; zero: that is not
	// known.
	Until time.Time
}

// An Explanation says why an event reaches a subscriber, or does not.
type Explanation struct {
	SubscriberID SubscriberID
	// Gates are in the order in which an event comes to them. Those that decide
	// when a delivery is tried are missing where there is none that is pending.
	Gates []Gate
}

// LaneState is how the lane of a subscriber stands at the moment.
type LaneState struct {
	// InFlight is how many requests to it are under way, and MayBe how many may
	// be at the moment.
	InFlight, MayBe int
	// Held says that its deliveries wait because it is in an outage, and
	// ProbeAt when the next one is let through to find out whether that is over.
	Held    bool
	ProbeAt time.Time
	// Failures is how many attempts in a row have failed.
	Failures int
	// Rate is how many requests may begin in a second while the lane comes back
	// from an outage; zero: that bounds nothing.
	Rate float64
	// RetryAfter is until when the receiver wants to be left alone; zero or past:
	// it does not.
	RetryAfter time.Time
	// NextAt is when its rate allows the next request.
	NextAt time.Time
}
