package webhook

import (
	"iter"
	"strings"
	"time"
)

// State is where a delivery stands.
type State string

// The states of a delivery.
const (
	// Pending waits for its first try or for a retry.
	Pending State = "pending"
	// Delivered was answered with 2xx.
	Delivered State = "delivered"
	// Dead has used up its retries, or the answer was final: a dead letter.
	Dead State = "dead"
	// Cancelled was given up by a person, or its subscriber is gone.
	Cancelled State = "cancelled"
)

// States lists all states.
func States() []State { return []State{Pending, Delivered, Dead, Cancelled} }

// A Delivery is one event for one subscriber.
type Delivery struct {
	ID           DeliveryID
	EventID      EventID
	EventType    string
	SubscriberID SubscriberID
	State        State
	// Attempts is how often it was tried in all.
	Attempts int
	// Spent is how many of those count against its present schedule: all, save
	// the ones before the last resend and the ones that a stop cut short.
	Spent int
	// NextAttemptAt is when it is due; zero unless Pending.
	NextAttemptAt time.Time
	// CreatedAt is when the delivery was made, to the millisecond.
	CreatedAt time.Time
	// FinishedAt is when it left Pending; zero while Pending.
	FinishedAt time.Time
	// LastOutcome is that of the last attempt; empty before the first.
	LastOutcome Outcome
	// LastCode is the HTTP status of the last attempt; zero without an answer.
	LastCode int
	// LastError is the Error of the last attempt; may be empty.
	LastError string
	// LastDuration is how long the last attempt took; zero before the first.
	LastDuration time.Duration
	// OrderKey is the key of its event for a subscriber that wants order; empty:
	// it stands in no order.
	OrderKey string
	// Unjudged says that the subscriber's filter has not been asked yet.
	Unjudged bool
	// Fingerprint tells what killed a dead letter, without what differs from one
	// to the next of its kind; empty unless Dead. See [Fingerprint].
	Fingerprint string
	// Body is what its attempts send in place of [Event.Body], where a transform
	// made another one. Only a delivery that was asked for by its id has it.
	Body []byte
}

// Outcome is what came of an attempt.
type Outcome string

// The outcomes of an attempt: a closed list, the same in the table, the API,
// the metrics and on screen.
const (
	// OK is an answer 2xx.
	OK Outcome = "ok"
	// HTTPStatus is any other answer.
	HTTPStatus Outcome = "http_status"
	// Timeout means that the time allowed ran out, wherever it was spent.
	Timeout Outcome = "timeout"
	// DNS means that the host has no address.
	DNS Outcome = "dns"
	// Connect means that no connection was made, or that none was tried since there
	// was no token to bear.
	Connect Outcome = "connect"
	// TLS means that the handshake or the certificate failed.
	TLS Outcome = "tls"
	// Reset means that the connection ended before the answer.
	Reset Outcome = "reset"
	// Blocked means that the address is not one that Pintle may call.
	Blocked Outcome = "blocked"
	// TooLarge means that the answer's header exceeded its bound.
	TooLarge Outcome = "too_large"
	// Transformation means that a filter or a transform failed: nothing was sent.
	Transformation Outcome = "transform"
	// Interrupted means that Pintle was stopped during the attempt, which does
	// not count against the schedule.
	Interrupted Outcome = "interrupted"
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{OK, HTTPStatus, Timeout, DNS, Connect, TLS, Reset, Blocked, TooLarge, Transformation, Interrupted}
}

// An Attempt is one HTTP try of a delivery.
type Attempt struct {
	DeliveryID DeliveryID
	// Number counts the delivery's attempts from one.
	Number int
	// StartedAt is when the request began, to the millisecond.
	StartedAt time.Time
	// Duration is how long it took, to the microsecond.
	Duration time.Duration
	Outcome  Outcome
	// Code is the HTTP status; zero without an answer.
	Code int
	// Error says what went wrong where there was no answer, and where there
	// was one but its body could not be read.
	Error string
	// RemoteAddr is the address and port that was called, which behind a proxy is
	// the proxy's; empty where there was no connection.
	RemoteAddr string
	// RequestHeader is what was sent, at most 8 KiB. The values of headers that
	// carry credentials are hidden.
	RequestHeader HeaderBlock
	// ResponseHeader is that of the answer, at most 8 KiB; empty without one.
	ResponseHeader HeaderBlock
	// ResponseBody is the beginning of the answer, at most 16 KiB.
	ResponseBody []byte
	Timing       Timing
}

// Timing says where the time of an attempt went, to the microsecond. A part
// that did not take place is zero: on a connection that was used before there
// is no DNS, Connect or TLS. A part that was under way when the attempt was given
// up lasts until then.
type Timing struct {
	// DNS is how long the name took to resolve.
	DNS time.Duration
	// Connect is how long the connection took.
	Connect time.Duration
	// TLS is how long the handshake took.
	TLS time.Duration
	// Wait is from the request being written to the first byte of the answer.
	Wait time.Duration
}

// A HeaderBlock is an HTTP header as text: a line "Name: value" for each value,
// every one ended by a line feed.
type HeaderBlock string

// All yields the names and values in their order.
func (b HeaderBlock) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if !yield(name, value) {
				return
			}
		}
	}
}

// ID names the attempt.
func (a *Attempt) ID() AttemptID { return a.DeliveryID.Attempt(a.Number) }

// DeliveryFilter selects deliveries. The zero value selects all.
type DeliveryFilter struct {
	ID DeliveryID
	// Subscribers are those of whom it may be one; nil: any.
	Subscribers []SubscriberID
	EventID     EventID
	// EventType selects by the event's type, exactly or with wildcards.
	EventType Pattern
	// ClientID is that of the event.
	ClientID string
	State    State
	// Retrying selects what is pending after at least one attempt.
	Retrying bool
	// Outcome is that of the last attempt.
	Outcome Outcome
	// CodeFrom and CodeTo bound the HTTP status of the last attempt, both
	// inclusive; zero: any.
	CodeFrom, CodeTo int
	// OrderKey selects what stands in the order of this key.
	OrderKey string
	// Fingerprint selects dead letters by theirs.
	Fingerprint string
	// Since and Until bound CreatedAt: not before Since, before Until. Zero: open.
	Since, Until time.Time
	// Text is looked for in the event's type, sender key and data and in the
	// error of the last attempt, without regard to the case of ASCII letters.
	Text string
}
