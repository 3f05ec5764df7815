package api

import "github.com/pintle/pintle/app/webhook"

// A Delivery is one event for one subscriber.
type Delivery struct {
	ID           webhook.DeliveryID   `json:"id"`
	EventID      webhook.EventID      `json:"event_id"`
	EventType    string               `json:"event_type"`
	SubscriberID webhook.SubscriberID `json:"subscriber_id"`
	State        webhook.State        `json:"state" enum:"pending,delivered,dead,cancelled"`
	// AttemptCount is how often it was tried in all.
	AttemptCount int `json:"attempt_count" doc:"how often it was tried"`
	// LastOutcome is that of the last attempt; empty before the first.
	LastOutcome webhook.Outcome `json:"last_outcome,omitempty" doc:"of the last attempt; missing before the first"`
	// LastCode is the HTTP status of the last attempt; zero without an answer.
	LastCode int `json:"last_code,omitempty" doc:"HTTP status of the last attempt; missing without an answer"`
	// NextAttemptAt is when it is due; zero unless it is pending.
	NextAttemptAt Time `json:"next_attempt_at,omitzero" format:"date-time" doc:"when it is due; only while it is pending"`
	CreatedAt     Time `json:"created_at" format:"date-time"`
	// FinishedAt is when it left pending; zero while it is.
	FinishedAt Time `json:"finished_at,omitzero" format:"date-time" doc:"missing while it is pending"`
}

// A DeliveryDetail is one delivery with its attempts.
type DeliveryDetail struct {
	Delivery
	// Attempts are the first one first.
	Attempts []Attempt `json:"attempts" nullable:"false"`
}

// An Attempt is one HTTP try of a delivery.
type Attempt struct {
	ID webhook.AttemptID `json:"id"`
	// Number counts the delivery's attempts from one.
	Number    int  `json:"number"`
	StartedAt Time `json:"started_at" format:"date-time"`
	// DurationMS is how long it took, in milliseconds.
	DurationMS float64         `json:"duration_ms" doc:"how long it took, in milliseconds"`
	Outcome    webhook.Outcome `json:"outcome" enum:"ok,http_status,timeout,dns,connect,tls,reset,blocked,too_large,interrupted"`
	// Code is the HTTP status; zero without an answer.
	Code int `json:"code,omitempty" doc:"HTTP status; missing without an answer"`
	// Error says what went wrong on the way.
	Error string `json:"error,omitempty"`
	// ResponseBody is the beginning of the answer. What is not UTF-8 in it is
	// replaced by U+FFFD.
	ResponseBody string `json:"response_body,omitempty" doc:"the beginning of the answer, at most 16 KiB"`
}

// A DeliveryFilter selects deliveries; the zero value selects all. Among dead
// letters the only state is dead.
type DeliveryFilter struct {
	Subscriber webhook.SubscriberID `query:"subscriber" json:"subscriber,omitempty" doc:"deliveries to this subscriber only"`
	EventType  string               `query:"event_type" json:"event_type,omitempty" doc:"deliveries of events of this type only"`
	EventID    webhook.EventID      `query:"event_id" json:"event_id,omitempty" doc:"deliveries of this event only"`
	State      webhook.State        `query:"state" json:"state,omitempty" enum:"pending,delivered,dead,cancelled" doc:"in this state only"`
	// Outcome and Code are those of the last attempt.
	Outcome webhook.Outcome `query:"outcome" json:"outcome,omitempty" enum:"ok,http_status,timeout,dns,connect,tls,reset,blocked,too_large,interrupted" doc:"whose last attempt came out like this"`
	Code    int             `query:"code" json:"code,omitempty" minimum:"100" maximum:"999" doc:"whose last attempt was answered with this HTTP status"`
	// Since and Until bound the time at which the delivery was made, as in
	// [EventFilter].
	Since string `query:"since" json:"since,omitempty" doc:"made at or after: RFC 3339, Unix seconds, or a duration such as 2h for that long ago" example:"2h"`
	Until string `query:"until" json:"until,omitempty" doc:"made before: RFC 3339, Unix seconds, or a duration such as 2h for that long ago"`
}

// A Replay asks for dead letters to be sent again.
type Replay struct {
	// Filter selects among the dead letters; the zero value selects all.
	Filter DeliveryFilter `json:"filter,omitzero" doc:"an empty one selects all dead letters"`
	// IDs select dead letters by name, in place of a filter.
	IDs []webhook.DeliveryID `json:"ids,omitempty" nullable:"false" doc:"these dead letters, in place of a filter"`
	// DryRun only counts.
	DryRun bool `json:"dry_run" required:"false" doc:"count what would be replayed, and change nothing"`
}

// Replayed answers a [Replay].
type Replayed struct {
	// Matched is how many dead letters were selected.
	Matched int `json:"matched"`
	// Replayed is how many of them are pending again. The others' subscribers
	// have been removed.
	Replayed int `json:"replayed"`
}

// Health answers /healthz and /readyz.
type Health struct {
	Status string `json:"status" enum:"ok,ready"`
}
