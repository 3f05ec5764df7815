package api

import "github.com/pintle/pintle/app/webhook"

// Stats is how the appliance does.
type Stats struct {
	Version   string `json:"version"`
	StartedAt Time   `json:"started_at" format:"date-time" doc:"when the process started"`
	Now       Time   `json:"now" format:"date-time" doc:"the appliance's clock"`
	// InboundURL is where senders post.
	InboundURL string `json:"inbound_url" doc:"where senders post, as this process sees it"`
	// Role is what the asker may do.
	Role webhook.Role `json:"role" enum:"viewer,operator,admin" doc:"what you may do"`
	// Rate is that of the last seconds.
	Rate Rate `json:"rate" doc:"of the last ten seconds"`
	// LastHour and LastDay sum up the minutes.
	LastHour Span `json:"last_hour"`
	LastDay  Span `json:"last_day"`
	// Minutes are the last sixty and the one that has begun, the oldest first.
	Minutes []Minute `json:"minutes" nullable:"false" doc:"the last sixty and the one that has begun, the oldest first"`
	Queue   Queue    `json:"queue"`
	Totals  Totals   `json:"totals"`
	Storage Storage  `json:"storage"`
	// Worst are the subscribers that did worst in the last five minutes, the
	// worst first.
	Worst []SubscriberStats `json:"worst" nullable:"false" doc:"the subscribers that did worst in the last five minutes, the worst first"`
	// Attention is what a person should look at, the worst first.
	Attention []Finding `json:"attention" nullable:"false" doc:"what a person should look at, the worst first"`
}

// A Rate is a number of things per second.
type Rate struct {
	Events   float64 `json:"events" doc:"events accepted per second"`
	Attempts float64 `json:"attempts" doc:"attempts per second"`
	Failed   float64 `json:"failed" doc:"failed attempts per second"`
}

// A Span sums up a span of time.
type Span struct {
	Events    int64   `json:"events"`
	Attempts  int64   `json:"attempts"`
	Failed    int64   `json:"failed" doc:"attempts that failed"`
	Delivered int64   `json:"delivered" doc:"deliveries that came to that end"`
	Dead      int64   `json:"dead" doc:"deliveries that came to that end"`
	P50MS     float64 `json:"p50_ms" doc:"median duration of an attempt, in milliseconds"`
	P95MS     float64 `json:"p95_ms" doc:"95th percentile of it"`
}

// A Minute is what happened in one minute.
type Minute struct {
	Start Time `json:"start" format:"date-time"`
	Span
}

// Queue is what waits.
type Queue struct {
	Pending  int64 `json:"pending" doc:"deliveries that wait, retries included"`
	Retrying int64 `json:"retrying" doc:"how many of those after at least one attempt"`
	InFlight int   `json:"in_flight" doc:"requests under way"`
	// MaxInFlight is how many may be.
	MaxInFlight int `json:"max_in_flight" doc:"how many may be"`
	// OldestDue is when the first pending delivery to an active subscriber fell
	// or falls due.
	OldestDue Time `json:"oldest_due,omitzero" format:"date-time" doc:"when the first pending delivery to an active subscriber fell or falls due; missing if none is pending"`
}

// Totals count since the database was made.
type Totals struct {
	Events   int64 `json:"events"`
	Attempts int64 `json:"attempts"`
	// Deliveries counts those that are in each state now.
	Deliveries map[webhook.State]int64 `json:"deliveries" doc:"how many are in each state now"`
	// Subscribers is how many there are, and Paused how many of them are paused.
	Subscribers int `json:"subscribers"`
	Paused      int `json:"paused"`
}

// Storage is the database.
type Storage struct {
	Bytes       int64 `json:"bytes" doc:"size of the database file"`
	UnusedBytes int64 `json:"unused_bytes" doc:"what of that is used again before it grows"`
	LogBytes    int64 `json:"log_bytes" doc:"size of its write-ahead log"`
	// FreeBytes is what the disk has left; zero where that is not known.
	FreeBytes int64 `json:"free_bytes,omitempty" doc:"what the disk has left; missing where that is not known"`
}

// SubscriberStats is how one subscriber did in the last five minutes.
type SubscriberStats struct {
	ID     webhook.SubscriberID `json:"id"`
	Name   string               `json:"name"`
	Active bool                 `json:"active"`
	// FailingSince is when the present outage began; zero: there is none. Held says
	// that its deliveries wait because of that.
	FailingSince Time `json:"failing_since,omitzero" format:"date-time" doc:"when the present outage began; missing: there is none"`
	Held         bool `json:"held,omitempty" doc:"its deliveries wait because of the outage"`
	Health
}

// A Severity says how bad something is.
type Severity string

// The severities, the worst first.
const (
	Critical Severity = "critical" // events are not stored or not delivered
	Warning  Severity = "warning"  // they soon may not be
)

// Rejections is the subject of a finding on requests that were refused.
const Rejections = "rejections"

// A Finding is something that a person should look at.
type Finding struct {
	Severity Severity `json:"severity" enum:"critical,warning"`
	// Subject is what it is about, such as a subscriber's name.
	Subject string `json:"subject"`
	Text    string `json:"text"`
	// SubscriberID is set where it is about one.
	SubscriberID webhook.SubscriberID `json:"subscriber_id,omitempty"`
	// Query selects the deliveries that it is about, or, where the subject is
	// [Rejections], the rejections; empty: none.
	Query string `json:"query,omitempty" doc:"selects the deliveries that it is about, as q of GET /deliveries; where the subject is rejections, those"`
}
