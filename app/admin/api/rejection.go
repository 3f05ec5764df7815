package api

import "github.com/pintle/pintle/app/webhook"

// A Rejection is an inbound request that was refused, as lists show it.
type Rejection struct {
	// ID is what the answer called the request.
	ID webhook.RejectionID `json:"id" doc:"the request_id of the answer"`
	// At is when it was refused.
	At Time `json:"at" format:"date-time" doc:"when it was refused"`
	// Source is empty where no source has the path.
	Source string `json:"source" doc:"the name of the source; empty where no source has the path"`
	// Status, Code and Message are what it was answered with.
	Status  int    `json:"status" doc:"HTTP status of the answer" example:"401"`
	Code    string `json:"code" doc:"the error of the answer" example:"invalid_signature"`
	Message string `json:"message" doc:"the sentence of the answer" example:"the signature does not match"`
	// Check is the gate that refused it; it passed those before.
	Check webhook.Check `json:"check" enum:"path,method,media_type,address,rate,size,empty,json,members,signature,window,storage" doc:"the check that refused it; it passed those before"`
	// ClientIP is who sent it, and PeerIP the other end of the connection,
	// which is another one behind a trusted proxy.
	ClientIP string `json:"client_ip" doc:"the address of who sent it" example:"203.0.113.7"`
	PeerIP   string `json:"peer_ip" doc:"the other end of the connection: the proxy, where there is one"`
	// ASN is the autonomous system of the client; zero where no database says.
	ASN uint32 `json:"asn,omitempty" doc:"autonomous system of the client; missing where no database says" example:"64500"`
	// Organisation runs that system.
	Organisation string `json:"organisation,omitempty" doc:"who runs that system"`
	// SkewSeconds is how far the request's timestamp was ahead of our clock,
	// negative behind it; nil where there was none to measure.
	SkewSeconds *int64 `json:"skew_seconds,omitempty" doc:"how far its timestamp was ahead of the clock, in seconds, negative behind it; missing where there was none to measure"`
	// EventType and SenderKey are those of the request, as far as it was read.
	EventType string `json:"event_type,omitempty" doc:"the type of its event; missing where it was not read"`
	SenderKey string `json:"sender_key,omitempty" doc:"the idempotency key as the sender named it; missing where it was not read"`
	// Unkept is how many refusals like it, before it, were not kept.
	Unkept int `json:"unkept,omitempty" doc:"how many rejections of the same source, client and code, just before this one, were too many to be kept"`
}

// A RejectionDetail is one rejection with all that is known of it.
type RejectionDetail struct {
	Rejection
	// Passed are the checks that it passed, in their order.
	Passed []webhook.Check `json:"passed" nullable:"false" doc:"the checks that it passed, in their order"`
	// Rule is the setting that refused it; may be empty.
	Rule string `json:"rule,omitempty" doc:"the setting that refused it" example:"inbound.max_clock_skew = 5m"`
	// Expected says which signature was expected, in which form; empty where the
	// request did not come to that check.
	Expected string `json:"expected,omitempty" doc:"which signature was expected, in which form; missing where it did not come to that check"`
	// Diagnosis is why the signature did not match, as far as that is known.
	Diagnosis string `json:"diagnosis,omitempty" doc:"why the signature did not match, as far as that can be told"`
	// Method and Path are those of the request.
	Method string `json:"method" example:"POST"`
	Path   string `json:"path" example:"/webhook/inbound"`
	// Header is the head of the request, cut to a bounded length, credentials and
	// signatures hidden.
	Header []Header `json:"header" nullable:"false" doc:"the head of the request, cut short; the values of headers that carry credentials or signatures are hidden"`
	// BodySize is how many bytes of body were read.
	BodySize int64 `json:"body_size" doc:"how many bytes of body were read"`
	// BodySHA256 is the digest of them in hexadecimal digits.
	BodySHA256 string `json:"body_sha256,omitempty" doc:"SHA-256 of the body in hexadecimal digits, to compare with the sender's; missing where none was read"`
}

// A RejectionFilter selects rejections; the zero value selects all.
type RejectionFilter struct {
	Source string `query:"source" doc:"refused by this source only"`
	// Code is the error of the answer.
	Code string `query:"code" doc:"answered with this error only" example:"invalid_signature"`
	// Status is the HTTP status of the answer, or a class, such as 401 or 4xx.
	Status string `query:"status" doc:"answered with this HTTP status only, or with one of a class such as 4xx" example:"401"`
	// IP is the address of the client, or a range that it is in.
	IP string `query:"ip" doc:"from this client only, or from those of a range such as 203.0.113.0/24" example:"203.0.113.7"`
	// Since and Until bound the time of the refusal, as in [EventFilter].
	Since string `query:"since" doc:"refused at or after: RFC 3339, Unix seconds, or a duration such as 2h for that long ago" example:"2h"`
	Until string `query:"until" doc:"refused before: RFC 3339, Unix seconds, or a duration such as 2h for that long ago"`
	// Q is a query such as "code:invalid_signature ip:203.0.113.0/24 since:2h";
	// what it selects must pass the other fields too.
	Q string `query:"q" doc:"a query: words to look for, and source: code: status: ip: since: until:" example:"code:invalid_signature ip:203.0.113.0/24 since:2h"`
}

// A Source is an inbound endpoint.
type Source struct {
	// Name identifies it, as in [Event.Source].
	Name string `json:"name" doc:"the source of its events"`
	// URL is where its senders post.
	URL    string         `json:"url" doc:"where its senders post, as this process sees it"`
	Path   string         `json:"path" example:"/webhook/inbound"`
	Scheme webhook.Scheme `json:"scheme" enum:"agent,standard,stripe,github,gitlab,shopify,slack,hmac,none"`
	// Expects says how its senders sign.
	Expects string `json:"expects" doc:"how its senders sign"`
	// Secrets is how many secrets are valid.
	Secrets int `json:"secrets" doc:"how many secrets are valid"`
	// ClientID is given to its events; empty: they are everybody's.
	ClientID string `json:"client_id,omitempty" doc:"whose its events are; missing: everybody's"`
	// EventPrefix stands before the type of each event.
	EventPrefix string `json:"event_prefix,omitempty" doc:"stands before the type of each of its events"`
	// Enabled is false when nothing is let in.
	Enabled bool `json:"enabled" doc:"false: nothing is let in"`
	// ValidateSignature is false when anyone is believed.
	ValidateSignature bool `json:"validate_signature" doc:"false: anyone is believed"`
	// MaxClockSkew is how far a timestamp may be off; zero: any.
	MaxClockSkew Duration `json:"max_clock_skew" doc:"how far a timestamp may be off, either way; 0s: the clock is not checked" example:"5m"`
	// MaxBody bounds a body, in bytes.
	MaxBody int64 `json:"max_body" doc:"how large a body may be, in bytes"`
	// AllowIPs and AllowASNs are who may come in; both empty: anybody.
	AllowIPs  []string `json:"allow_ips" nullable:"false" doc:"the ranges whose addresses may come in; anybody if there are neither these nor allow_asns"`
	AllowASNs []uint32 `json:"allow_asns" nullable:"false" doc:"the autonomous systems whose addresses may come in"`
	// RateLimit is how many requests a second one client address may make; zero:
	// any number.
	RateLimit float64 `json:"rate_limit" doc:"requests per second and client address; 0: any number"`
}
