package api

import (
	"encoding/json"
	"errors"

	"github.com/pintle/pintle/app/webhook"
)

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
	// RateLimit is in requests per second; missing: no bound.
	RateLimit float64         `json:"rate_limit,omitempty" doc:"requests per second that begin at most, evenly spaced; missing: no bound"`
	Scheme    webhook.Signing `json:"scheme" enum:"plain,stripe" doc:"the form of X-Agent-Signature"`
	Filter    string          `json:"filter,omitempty" doc:"a jq expression: only events for which it is true are delivered"`
	Transform string          `json:"transform,omitempty" doc:"a jq expression that makes the body that is sent"`
	// Ordered is missing where there is no order.
	Ordered Ordered        `json:"ordered,omitzero" doc:"the jq path of the key whose events are delivered in order, or true for all events in order; missing: no order"`
	OnDead  webhook.OnDead `json:"on_dead,omitempty" enum:"block,skip" doc:"what a dead letter does to the later events of its key; only with ordered"`
	// The credentials among these are always hidden.
	BasicUsername      string   `json:"basic_username,omitempty" doc:"of HTTP basic authentication"`
	BasicPassword      string   `json:"basic_password,omitempty" doc:"*** where there is one"`
	OAuth2TokenURL     string   `json:"oauth2_token_url,omitempty" doc:"where bearer tokens are got, by the client credentials grant"`
	OAuth2ClientID     string   `json:"oauth2_client_id,omitempty"`
	OAuth2ClientSecret string   `json:"oauth2_client_secret,omitempty" doc:"*** where there is one"`
	OAuth2Scopes       []string `json:"oauth2_scopes,omitempty" nullable:"false"`
	OAuth2Audience     string   `json:"oauth2_audience,omitempty"`
	TLSCert            string   `json:"tls_cert,omitempty" doc:"the client's certificate chain, in PEM"`
	TLSKey             string   `json:"tls_key,omitempty" doc:"*** where there is one"`
	TLSCA              string   `json:"tls_ca,omitempty" doc:"the authorities that the receiver's certificate must come from, in PEM; missing: those of the system"`
	Hold               bool     `json:"hold" doc:"whether its deliveries wait through an outage without spending retries"`
	AutoPause          bool     `json:"auto_pause" doc:"whether it is paused when an outage has lasted for outbound.pause_after"`
	// FailingSince is when the present outage began; zero: there is none.
	FailingSince Time `json:"failing_since,omitzero" format:"date-time" doc:"when the present outage began; missing: there is none"`
	// Held says that its deliveries wait because of that, and ProbeAt when the
	// next one is tried.
	Held      bool `json:"held,omitempty" doc:"its deliveries wait because of the outage"`
	ProbeAt   Time `json:"probe_at,omitzero" format:"date-time" doc:"when the next delivery finds out whether the outage is over; only while held"`
	CreatedAt Time `json:"created_at" format:"date-time"`
	UpdatedAt Time `json:"updated_at" format:"date-time"`
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
	FinalOn4xx  *bool              `json:"final_on_4xx,omitempty" doc:"makes an answer 4xx final, save 408, 425 and 429, and 401 under OAuth2"`
	RateLimit   *float64           `json:"rate_limit,omitempty" nullable:"true" doc:"requests per second that begin at most, evenly spaced; 0: no bound"`
	Scheme      *webhook.Signing   `json:"scheme,omitempty" nullable:"true" enum:"plain,stripe" doc:"the form of X-Agent-Signature"`
	Filter      *string            `json:"filter,omitempty" nullable:"true" doc:"a jq expression: only events for which it is true are delivered" example:".data.amount > 100"`
	Transform   *string            `json:"transform,omitempty" nullable:"true" doc:"a jq expression that makes the body that is sent" example:"{text: .data.message}"`
	Ordered     *Ordered           `json:"ordered,omitempty" nullable:"true" doc:"the jq path of the key whose events are delivered in order, or true for all events in order; false: no order"`
	OnDead      *webhook.OnDead    `json:"on_dead,omitempty" nullable:"true" enum:"block,skip" doc:"what a dead letter does to the later events of its key: block has them wait until it is dealt with"`
	// In these, *** keeps the value that is there.
	BasicUsername      *string   `json:"basic_username,omitempty" nullable:"true" doc:"of HTTP basic authentication"`
	BasicPassword      *string   `json:"basic_password,omitempty" nullable:"true" doc:"*** keeps the one that is there"`
	OAuth2TokenURL     *string   `json:"oauth2_token_url,omitempty" nullable:"true" doc:"where bearer tokens are got, by the client credentials grant"`
	OAuth2ClientID     *string   `json:"oauth2_client_id,omitempty" nullable:"true"`
	OAuth2ClientSecret *string   `json:"oauth2_client_secret,omitempty" nullable:"true" doc:"*** keeps the one that is there"`
	OAuth2Scopes       *[]string `json:"oauth2_scopes,omitempty" nullable:"true"`
	OAuth2Audience     *string   `json:"oauth2_audience,omitempty" nullable:"true" doc:"sent as the parameter audience, which some servers want"`
	TLSCert            *string   `json:"tls_cert,omitempty" nullable:"true" doc:"the client's certificate chain, in PEM"`
	TLSKey             *string   `json:"tls_key,omitempty" nullable:"true" doc:"its private key, in PEM; *** keeps the one that is there"`
	TLSCA              *string   `json:"tls_ca,omitempty" nullable:"true" doc:"the authorities that the receiver's certificate must come from, in PEM"`
	Hold               *bool     `json:"hold,omitempty" doc:"whether its deliveries wait through an outage without spending retries"`
	AutoPause          *bool     `json:"auto_pause,omitempty" doc:"whether it is paused when an outage has lasted for outbound.pause_after"`
}

// Ordered is [webhook.Subscriber.Ordered]: in JSON true, a jq path, or false for
// no order.
type Ordered string

// MarshalJSON writes true, false or the path.
func (o Ordered) MarshalJSON() ([]byte, error) {
	switch o {
	case "":
		return []byte("false"), nil
	case webhook.OrderedStrictly:
		return []byte("true"), nil
	}
	return Marshal(string(o))
}

// UnmarshalJSON reads true, false or a path.
func (o *Ordered) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "false", `"false"`:
		*o = ""
		return nil
	case "true":
		*o = webhook.OrderedStrictly
		return nil
	}
	if len(data) == 0 || data[0] != '"' {
		return errors.New("must be true, false or a jq path such as .data.order_id")
	}
	return json.Unmarshal(data, (*string)(o))
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
