package api

import "github.com/pintle/pintle/app/webhook"

// A Delivery is one event for one subscriber.
type Delivery struct {
	ID           webhook.DeliveryID   `json:"id"`
	EventID      webhook.EventID      `json:"event_id"`
	EventType    string               `json:"event_type"`
	SubscriberID webhook.SubscriberID `json:"subscriber_id"`
	// SubscriberName is what people call the subscriber; empty when it has been
	// removed.
	SubscriberName string `json:"subscriber_name,omitempty" doc:"what people call the subscriber; missing when it has been removed"`
	// SubscriberPaused says that nothing is sent to it.
	SubscriberPaused bool `json:"subscriber_paused,omitempty" doc:"nothing is sent to the subscriber: what is pending waits until it is resumed"`
	// SubscriberHeld says that it is in an outage.
	SubscriberHeld bool          `json:"subscriber_held,omitempty" doc:"the subscriber is in an outage: what is pending waits until a probe has succeeded"`
	State          webhook.State `json:"state" enum:"pending,delivered,dead,cancelled"`
	// AttemptCount is how often it was tried in all.
	AttemptCount int `json:"attempt_count" doc:"how often it was tried"`
	// LastOutcome is that of the last attempt; empty before the first.
	LastOutcome webhook.Outcome `json:"last_outcome,omitempty" doc:"of the last attempt; missing before the first"`
	// LastCode is the HTTP status of the last attempt; zero without an answer.
	LastCode int `json:"last_code,omitempty" doc:"HTTP status of the last attempt; missing without an answer"`
	// LastError is what went wrong in the last attempt.
	LastError string `json:"last_error,omitempty" doc:"what went wrong in the last attempt"`
	// LastDurationMS is how long the last attempt took, in milliseconds.
	LastDurationMS float64 `json:"last_duration_ms,omitempty" doc:"how long the last attempt took, in milliseconds"`
	// NextAttemptAt is when it is due; zero unless it is pending.
	NextAttemptAt Time `json:"next_attempt_at,omitzero" format:"date-time" doc:"when it is due; only while it is pending"`
	// OrderKey is empty where the delivery stands in no order.
	OrderKey string `json:"order_key,omitempty" doc:"the key whose deliveries come in order; missing: it stands in no order"`
	// Fingerprint is empty unless it is dead.
	Fingerprint string `json:"fingerprint,omitempty" doc:"what killed it, without what differs from one dead letter to the next of its kind; only of dead letters"`
	CreatedAt   Time   `json:"created_at" format:"date-time"`
	// FinishedAt is when it left pending; zero while it is.
	FinishedAt Time `json:"finished_at,omitzero" format:"date-time" doc:"missing while it is pending"`
}

// A DeliveryDetail is one delivery with its attempts.
type DeliveryDetail struct {
	Delivery
	// URL is the subscriber's, as it is now; empty when it has been removed.
	URL string `json:"url,omitempty" doc:"the subscriber's, as it is now; missing when it has been removed"`
	// Spent is how many attempts count against the present schedule.
	Spent int `json:"spent" doc:"how many attempts count against the present schedule"`
	// Schedule is the wait before each retry that is in force for it now.
	Schedule []Duration `json:"schedule" nullable:"false" doc:"the wait before each retry that is in force for it now"`
	// RequestBody is what every attempt sends.
	RequestBody string `json:"request_body" doc:"what every attempt sends"`
	// Transformed says that a transform made it.
	Transformed bool `json:"transformed,omitempty" doc:"a transform made request_body"`
	// Unjudged says that the filter of the subscriber has not been asked yet.
	Unjudged bool `json:"unjudged,omitempty" doc:"the filter of the subscriber has not been asked yet"`
	// Attempts are the first one first.
	Attempts []Attempt `json:"attempts" nullable:"false"`
}

// A Header is one line of an HTTP header.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Timing says where the time of an attempt went, in milliseconds. What did not
// take place is zero: on a connection that was used before there is no DNS,
// Connect or TLS.
type Timing struct {
	DNS     float64 `json:"dns_ms,omitempty" doc:"resolving the name"`
	Connect float64 `json:"connect_ms,omitempty" doc:"making the connection"`
	TLS     float64 `json:"tls_ms,omitempty" doc:"the handshake"`
	// Wait is from the request being written to the first byte of the answer.
	Wait float64 `json:"wait_ms,omitempty" doc:"from the request being written to the first byte of the answer"`
}

// An Attempt is one HTTP try of a delivery.
type Attempt struct {
	ID webhook.AttemptID `json:"id"`
	// Number counts the delivery's attempts from one.
	Number    int  `json:"number"`
	StartedAt Time `json:"started_at" format:"date-time"`
	// DurationMS is how long it took, in milliseconds.
	DurationMS float64         `json:"duration_ms" doc:"how long it took, in milliseconds"`
	Outcome    webhook.Outcome `json:"outcome" enum:"ok,http_status,timeout,dns,connect,tls,reset,blocked,too_large,transform,interrupted"`
	// Code is the HTTP status; zero without an answer.
	Code int `json:"code,omitempty" doc:"HTTP status; missing without an answer"`
	// Error says what went wrong on the way.
	Error string `json:"error,omitempty"`
	// RemoteAddr is the address and port that was called.
	RemoteAddr string `json:"remote_addr,omitempty" doc:"the address and port that was called"`
	// RequestHeader is what was sent; credentials are hidden in it.
	RequestHeader  []Header `json:"request_header,omitempty" nullable:"false" doc:"what was sent; the values of headers that carry credentials are hidden"`
	ResponseHeader []Header `json:"response_header,omitempty" nullable:"false" doc:"what the answer began with, at most 8 KiB"`
	Timing         Timing   `json:"timing,omitzero" doc:"where the time went"`
	// ResponseBody is the beginning of the answer. What is not UTF-8 in it is
	// replaced by U+FFFD.
	ResponseBody string `json:"response_body,omitempty" doc:"the beginning of the answer, at most 16 KiB"`
}

// A DeliveryFilter selects deliveries; the zero value selects all. Among dead
// letters the only state is dead.
type DeliveryFilter struct {
	// Subscriber is an id, or a name with * for any part of it.
	Subscriber string          `query:"subscriber" json:"subscriber,omitempty" doc:"deliveries to this subscriber only: its id, or its name, in which * stands for any part"`
	EventType  webhook.Pattern `query:"event_type" json:"event_type,omitempty" doc:"deliveries of events of this type only: order.created, order.* or order.**"`
	EventID    webhook.EventID `query:"event_id" json:"event_id,omitempty" doc:"deliveries of this event only"`
	ClientID   string          `query:"client_id" json:"client_id,omitempty" doc:"deliveries of this client's events only"`
	State      webhook.State   `query:"state" json:"state,omitempty" enum:"pending,delivered,dead,cancelled" doc:"in this state only"`
	// Outcome and Code are those of the last attempt.
	Outcome webhook.Outcome `query:"outcome" json:"outcome,omitempty" enum:"ok,http_status,timeout,dns,connect,tls,reset,blocked,too_large,transform,interrupted" doc:"whose last attempt came out like this"`
	Code    int             `query:"code" json:"code,omitempty" minimum:"100" maximum:"999" doc:"whose last attempt was answered with this HTTP status"`
	// Fingerprint is that of dead letters.
	Fingerprint string `query:"fingerprint" json:"fingerprint,omitempty" doc:"dead letters with this fingerprint, as their groups have it"`
	// Since and Until bound the time at which the delivery was made, as in
	// [EventFilter].
	Since string `query:"since" json:"since,omitempty" doc:"made at or after: RFC 3339, Unix seconds, or a duration such as 2h for that long ago" example:"2h"`
	Until string `query:"until" json:"until,omitempty" doc:"made before: RFC 3339, Unix seconds, or a duration such as 2h for that long ago"`
	// Q is a query such as "sub:acme-* status:dead since:2h timeout"; what it
	// selects must pass the other fields too.
	Q string `query:"q" json:"q,omitempty" doc:"a query: words to look for, and sub: type: event: client: status: outcome: code: since: until:" example:"sub:acme-* status:dead since:2h"`
}

// A DeadFilter asks for dead letters to be sent again, or to be deleted.
type DeadFilter struct {
	// Filter selects among the dead letters; the zero value selects all.
	Filter DeliveryFilter `json:"filter,omitzero" doc:"an empty one selects all dead letters"`
	// IDs select dead letters by name, in place of a filter: none if there are
	// none in it, which is not the same as nil.
	IDs []webhook.DeliveryID `json:"ids,omitzero" nullable:"false" doc:"these dead letters, in place of a filter"`
	// DryRun only counts.
	DryRun bool `json:"dry_run" required:"false" doc:"count what is selected, and change nothing"`
}

// A DeadReplay asks for dead letters to be sent again.
type DeadReplay struct {
	DeadFilter
	// Rate is how many are sent in a second at most; zero: all at once.
	Rate float64 `json:"rate,omitempty" doc:"how many are sent in a second at most, from 0.001 to 100000; missing or 0: all at once"`
}

// A Cancel asks for pending deliveries to be given up.
type Cancel struct {
	// Filter selects among what is pending; the zero value selects all.
	Filter DeliveryFilter `json:"filter,omitzero" doc:"an empty one selects all that is pending"`
	// DryRun only counts.
	DryRun bool `json:"dry_run" required:"false" doc:"count what is selected, and change nothing"`
}

// Cancelled answers a [Cancel].
type Cancelled struct {
	Matched int `json:"matched"`
	// Cancelled is how many were given up; of a dry run, none.
	Cancelled int `json:"cancelled"`
}

// An EventReplay asks for new deliveries of stored events.
type EventReplay struct {
	Filter EventFilter `json:"filter,omitzero" doc:"an empty one selects all events"`
	// Subscriber limits the replay to one that receives the events; empty: all
	// that do.
	Subscriber webhook.SubscriberID `json:"subscriber,omitempty" doc:"only to this subscriber, of those that receive the events"`
	DryRun     bool                 `json:"dry_run" required:"false" doc:"count what is selected, and change nothing"`
	Rate       float64              `json:"rate,omitempty" doc:"how many deliveries are sent in a second at most, from 0.001 to 100000; missing or 0: all at once"`
}

// A ReplayTo asks for new deliveries of one event.
type ReplayTo struct {
	// Subscriber is the one that gets it, whatever its patterns; empty: all that
	// receive the event.
	Subscriber webhook.SubscriberID `json:"subscriber,omitempty" doc:"only to this subscriber, whatever its patterns; missing: to all that receive the event"`
}

// Replayed answers an [EventReplay] and a [DeadReplay].
type Replayed struct {
	// Matched is how many events or dead letters were selected.
	Matched int `json:"matched"`
	// Replayed is how many deliveries are pending because of it; of a dry run,
	// none. The subscribers of the missing ones have been removed.
	Replayed int `json:"replayed"`
}

// Purged answers the deletion of dead letters.
type Purged struct {
	Matched int `json:"matched"`
	// Purged is how many are gone; of a dry run, none.
	Purged int `json:"purged"`
}

// A DeadGroup is the dead letters of one subscriber that share their cause.
type DeadGroup struct {
	SubscriberID   webhook.SubscriberID `json:"subscriber_id"`
	SubscriberName string               `json:"subscriber_name,omitempty" doc:"missing when the subscriber has been removed"`
	// Outcome and Code are those of the last attempt.
	Outcome webhook.Outcome `json:"outcome"`
	Code    int             `json:"code,omitempty"`
	// Fingerprint tells errors of one outcome apart; empty: it has none.
	Fingerprint string `json:"fingerprint,omitempty" doc:"what went wrong, without what differs from one to the next of its kind"`
	Count       int64  `json:"count"`
	Oldest      Time   `json:"oldest" format:"date-time" doc:"when the first of them was made"`
	Newest      Time   `json:"newest" format:"date-time" doc:"when the last of them was made"`
}

// Alive answers /healthz and /readyz.
type Alive struct {
	Status   string   `json:"status" enum:"ok,ready"`
	Warnings []string `json:"warnings,omitempty" doc:"what works worse than it should"`
}
