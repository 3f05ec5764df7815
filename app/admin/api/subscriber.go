package api

import "github.com/pintle/pintle/app/webhook"

// A Subscriber is who receives.
type Subscriber struct {
	ID       webhook.SubscriberID `json:"id"`
	ClientID string               `json:"client_id"`
	URL      string               `json:"url"`
	// Secret is there in the answer that made it, with the subscriber or by a
	// rotation, and empty in all others.
	Secret      string            `json:"secret,omitempty" doc:"only in the answer that made it: with the subscriber, or by a rotation"`
	Events      []webhook.Pattern `json:"events" nullable:"false"`
	Active      bool              `json:"active"`
	Description string            `json:"description"`
	Headers     map[string]string `json:"headers,omitempty" doc:"sent with every delivery; credentials are *** without the role admin"`
	// Timeout, Concurrency and Schedule are missing where the configured ones
	// are in force.
	Timeout     Duration   `json:"timeout,omitzero" example:"5s" doc:"of a whole request; missing: outbound.timeout"`
	Concurrency int        `json:"concurrency,omitempty" doc:"requests in flight at most; missing: outbound.concurrency"`
	Schedule    []Duration `json:"schedule,omitempty" nullable:"false" doc:"the wait before each retry; missing: outbound.schedule"`
	FinalOn4xx  bool       `json:"final_on_4xx"`
	CreatedAt   Time       `json:"created_at" format:"date-time"`
	UpdatedAt   Time       `json:"updated_at" format:"date-time"`
	// PausedReason says who or what paused it.
	PausedReason string `json:"paused_reason,omitempty" doc:"who or what paused it; missing while it is active"`
	// OldSecretUntil is until when a secret that was replaced is valid too, the
	// last of them if there are more; zero: none is.
	OldSecretUntil Time `json:"old_secret_until,omitzero" format:"date-time" doc:"until when a secret that was replaced still signs too; missing: none does"`
	// Health is how it does; only where a subscriber is listed or shown.
	Health *Health `json:"health,omitempty" doc:"how it does; only where a subscriber is listed or shown"`
}

// Health is how a subscriber does. Attempts and latencies are those of the last
// hour; in [SubscriberStats], of the last five minutes.
type Health struct {
	Attempts int64 `json:"attempts" doc:"attempts in the last hour; in the statistics, in the last five minutes"`
	Failed   int64 `json:"failed" doc:"how many of those attempts failed"`
	// P50MS and P95MS are latencies in milliseconds; zero without attempts.
	P50MS float64 `json:"p50_ms" doc:"median duration of an attempt, in milliseconds"`
	P95MS float64 `json:"p95_ms" doc:"95th percentile of it"`
	// Pending is how many deliveries wait, Retrying how many of those after at
	// least one attempt, and Dead how many are dead letters.
	Pending  int64 `json:"pending" doc:"deliveries that wait"`
	Retrying int64 `json:"retrying" doc:"how many of those that wait were tried"`
	Dead     int64 `json:"dead" doc:"dead letters"`
	// LastAt is when the last of the attempts ended; zero: there was none.
	LastAt      Time            `json:"last_at,omitzero" format:"date-time" doc:"when the last of the attempts ended; missing: there was none"`
	LastOutcome webhook.Outcome `json:"last_outcome,omitempty"`
	LastCode    int             `json:"last_code,omitempty"`
}

// A SubscriberChange holds fields of a subscriber. What is nil keeps its value,
// or takes its default in a new subscriber. In JSON, null gives a field its
// default.
type SubscriberChange struct {
	ClientID    *string            `json:"client_id,omitempty" nullable:"true" doc:"receives this client's events beside those of nobody in particular"`
	URL         *string            `json:"url,omitempty" doc:"where deliveries are posted; http or https" example:"https://example.com/hooks"`
	Secret      *string            `json:"secret,omitempty" doc:"signs the deliveries; made for a new subscriber without one"`
	Events      *[]webhook.Pattern `json:"events,omitempty" doc:"patterns of the types received: order.created, order.*, order.** or *"`
	Active      *bool              `json:"active,omitempty" doc:"false pauses it: deliveries are made, and wait"`
	Description *string            `json:"description,omitempty" nullable:"true" doc:"free text for people"`
	Headers     *map[string]string `json:"headers,omitempty" nullable:"true" doc:"sent with every delivery"`
	Timeout     *Duration          `json:"timeout,omitempty" nullable:"true" doc:"of a whole request, at most 60s; a string such as 5s, or whole seconds" example:"5s"`
	Concurrency *int               `json:"concurrency,omitempty" nullable:"true" doc:"requests in flight at most"`
	Schedule    *[]Duration        `json:"schedule,omitempty" nullable:"true" doc:"the wait before each retry"`
	FinalOn4xx  *bool              `json:"final_on_4xx,omitempty" doc:"makes an answer 4xx final, save 408, 425 and 429"`
}

// A Pause asks for a subscriber to be paused.
type Pause struct {
	// Reason is shown as paused_reason; empty: a person did it.
	Reason string `json:"reason,omitempty" doc:"shown as paused_reason"`
}

// A Rotation asks for the secret of a subscriber to be replaced.
type Rotation struct {
	// Secret is the new one; empty: one is made.
	Secret string `json:"secret,omitempty" doc:"the new secret; one is made if it is missing"`
	// Overlap is how long the old one stays valid beside it; nil: a day.
	Overlap *Duration `json:"overlap,omitempty" doc:"how long deliveries are signed with the old secret too; missing: 24h" example:"24h"`
}

// A Secret answers an explicit request for one.
type Secret struct {
	Secret string `json:"secret"`
}
