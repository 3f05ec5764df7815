package api

import "github.com/pintle/pintle/app/webhook"

// A Subscriber is who receives.
type Subscriber struct {
	ID       webhook.SubscriberID `json:"id"`
	ClientID string               `json:"client_id"`
	URL      string               `json:"url"`
	// Secret is there in the answer that made the subscriber, and empty in all
	// others.
	Secret      string            `json:"secret,omitempty" doc:"only in the answer that made the subscriber"`
	Events      []webhook.Pattern `json:"events" nullable:"false"`
	Active      bool              `json:"active"`
	Description string            `json:"description"`
	Headers     map[string]string `json:"headers,omitempty"`
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
}

// A SubscriberChange holds fields of a subscriber. What is nil keeps its value,
// or takes its default in a new subscriber. In JSON, null gives a field its
// default.
type SubscriberChange struct {
	ClientID    *string            `json:"client_id,omitempty" doc:"receives this client's events beside those of nobody in particular"`
	URL         *string            `json:"url,omitempty" doc:"where deliveries are posted; http or https" example:"https://example.com/hooks"`
	Secret      *string            `json:"secret,omitempty" doc:"signs the deliveries; made for a new subscriber without one"`
	Events      *[]webhook.Pattern `json:"events,omitempty" doc:"patterns of the types received: order.created, order.*, order.** or *"`
	Active      *bool              `json:"active,omitempty" doc:"false pauses it: deliveries are made, and wait"`
	Description *string            `json:"description,omitempty" doc:"free text for people"`
	Headers     *map[string]string `json:"headers,omitempty" doc:"sent with every delivery"`
	Timeout     *Duration          `json:"timeout,omitempty" doc:"of a whole request, at most 60s; a string such as 5s, or whole seconds" example:"5s"`
	Concurrency *int               `json:"concurrency,omitempty" doc:"requests in flight at most"`
	Schedule    *[]Duration        `json:"schedule,omitempty" doc:"the wait before each retry"`
	FinalOn4xx  *bool              `json:"final_on_4xx,omitempty" doc:"makes an answer 4xx final, save 408, 425 and 429"`
}

// A Pause asks for a subscriber to be paused.
type Pause struct {
	// Reason is shown as paused_reason; empty: a person did it.
	Reason string `json:"reason,omitempty" doc:"shown as paused_reason"`
}

// A Secret answers an explicit request for one.
type Secret struct {
	Secret string `json:"secret"`
}
