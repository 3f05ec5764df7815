package api

import (
	"encoding/json"

	"github.com/pintle/pintle/app/webhook"
)

// A Kind is what a [Happening] is about.
type Kind string

// The kinds of happenings.
const (
	KindEvent     Kind = "event"     // an event was accepted
	KindAttempt   Kind = "attempt"   // an attempt ended
	KindRejection Kind = "rejection" // an inbound request was refused
	KindGap       Kind = "gap"       // the reader was too slow: some are missing
)

// Kinds lists the kinds that a tail can be limited to.
func Kinds() []Kind { return []Kind{KindEvent, KindAttempt, KindRejection} }

// A Happening is one message of the live stream. Which fields it has depends on
// its kind.
type Happening struct {
	// Sequence counts the happenings of this process; it is the id of the
	// server-sent event, so that a reader can go on where it was.
	Sequence uint64 `json:"sequence"`
	Kind     Kind   `json:"kind" enum:"event,attempt,rejection,gap"`
	Time     Time   `json:"time" format:"date-time"`

	EventID   webhook.EventID `json:"event_id,omitempty"`
	EventType string          `json:"event_type,omitempty"`
	Source    string          `json:"source,omitempty"`
	ClientID  string          `json:"client_id,omitempty"`
	// Duplicate says that the event was known before.
	Duplicate bool `json:"duplicate,omitempty"`
	// Deliveries is how many an accepted event has.
	Deliveries int `json:"deliveries,omitempty"`

	DeliveryID     webhook.DeliveryID   `json:"delivery_id,omitempty"`
	SubscriberID   webhook.SubscriberID `json:"subscriber_id,omitempty"`
	SubscriberName string               `json:"subscriber_name,omitempty"`
	// Attempt counts the delivery's attempts from one.
	Attempt int `json:"attempt,omitempty"`
	// State is where the delivery stands after the attempt.
	State         webhook.State   `json:"state,omitempty"`
	Outcome       webhook.Outcome `json:"outcome,omitempty"`
	Code          int             `json:"code,omitempty"`
	DurationMS    float64         `json:"duration_ms,omitempty"`
	NextAttemptAt Time            `json:"next_attempt_at,omitzero" format:"date-time"`

	// Error is why an attempt failed, or the code of a rejection.
	Error string `json:"error,omitempty"`
	// RequestID names a rejection, Status is what it was answered with, and
	// ClientIP who sent it.
	RequestID webhook.RejectionID `json:"request_id,omitempty"`
	Status    int                 `json:"status,omitempty"`
	ClientIP  string              `json:"client_ip,omitempty"`
	// Missed is how many happenings a gap stands for.
	Missed uint64 `json:"missed,omitempty"`
}

// A TailQuery selects happenings.
type TailQuery struct {
	// Kinds are those wanted; empty: all.
	Kinds []Kind `query:"kind" doc:"event, attempt, rejection; all if none is given"`
	// Subscriber, EventType and ClientID select as in the lists.
	Subscriber string          `query:"subscriber" doc:"attempts for this subscriber only: its id, or its name with *"`
	EventType  webhook.Pattern `query:"event_type" doc:"of events of this type only"`
	ClientID   string          `query:"client_id" doc:"of this client's events only"`
}

// A SandboxSend asks the appliance to post an event to its own inbound
// endpoint, over HTTP and signed, as an external system would.
type SandboxSend struct {
	Event string          `json:"event" doc:"the event's type" example:"order.created"`
	Data  json.RawMessage `json:"data,omitempty" required:"true" doc:"any JSON value"`
	// Signing is "header", "body", "none" or "wrong"; empty: header.
	Signing string `json:"signing,omitempty" enum:"header,body,none,wrong" doc:"how it is signed; header if it is missing"`
	// Skew shifts the timestamp.
	Skew Duration `json:"skew,omitzero" doc:"how far the sender's clock is off" example:"-10m"`
	// IdempotencyKey is sent as the header of that name; empty: it is not.
	IdempotencyKey string `json:"idempotency_key,omitempty" doc:"sent as Idempotency-Key"`
}

// A SandboxAnswer is what the inbound endpoint answered.
type SandboxAnswer struct {
	Status     int     `json:"status" doc:"HTTP status"`
	DurationMS float64 `json:"duration_ms"`
	// EventID is the stored event; empty where it was refused.
	EventID   webhook.EventID `json:"event_id,omitempty"`
	Duplicate bool            `json:"duplicate,omitempty"`
	// Error and Message say why it was refused, and RequestID names the refusal.
	Error     string              `json:"error,omitempty"`
	Message   string              `json:"message,omitempty"`
	RequestID webhook.RejectionID `json:"request_id,omitempty" doc:"names the refusal, as in GET /rejections/{id}"`
}

// A Sample is an event to begin with.
type Sample struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data,omitempty" required:"true"`
}
