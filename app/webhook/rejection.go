package webhook

import (
	"net/netip"
	"time"
)

// What a store keeps of rejections, whatever comes in.
const (
	MaxRejections     = 10_000
	MaxRejectionBytes = 16 << 20
)

// A Check is one of the gates that a request passes, in the order in which it
// does.
type Check string

// The checks, in their order.
const (
	CheckPath      Check = "path"
	CheckMethod    Check = "method"
	CheckMediaType Check = "media_type"
	CheckAddress   Check = "address"
	CheckRate      Check = "rate"
	CheckSize      Check = "size"
	CheckEmpty     Check = "empty"
	CheckJSON      Check = "json"
	CheckMembers   Check = "members"
	CheckSignature Check = "signature"
	CheckWindow    Check = "window"
	CheckStorage   Check = "storage" // it could not be stored
)

// Checks lists the checks in their order.
func Checks() []Check {
	return []Check{CheckPath, CheckMethod, CheckMediaType, CheckAddress, CheckRate, CheckSize, CheckEmpty,
		CheckJSON, CheckMembers, CheckSignature, CheckWindow, CheckStorage}
}

// RejectionCodes lists the codes with which an inbound request is refused, in
// the order of the contract.
func RejectionCodes() []string {
	return []string{
		"method_not_allowed", "ip_not_allowed", "rate_limited", "unsupported_media_type", "payload_too_large",
		"too_many_headers", "request_timeout", "empty_body", "invalid_json", "invalid_event", "invalid_timestamp", "invalid_data", "invalid_id",
		"missing_signature", "invalid_signature", "unknown_source", "inbound_disabled", "internal_error", "overloaded", "storage_full",
	}
}

// A Rejection is an inbound request that was refused, kept so that a person can
// see why without the sender's help. How many are kept is bounded.
type Rejection struct {
	ID RejectionID
	// At is when it was refused, to the millisecond.
	At time.Time
	// Source is the name of the source; empty where no source has the path.
	Source string
	// Status, Code and Message are what it was answered with.
	Status  int
	Code    string
	Message string
	// Check is the gate that refused it: it passed those before.
	Check Check
	// Rule says in the operator's words which setting refused it, such as
	// "inbound.max_clock_skew = 5m"; may be empty.
	Rule string

	// Peer is the address of the other end of the connection, and Client that
	// of who sent the request: another one behind a trusted proxy.
	Peer, Client netip.Addr
	// ASN is the autonomous system of the client, and Organisation its name;
	// zero and empty where no database says.
	ASN          uint32
	Organisation string

	// Skew is how far the request's timestamp was ahead of our clock, in
	// seconds, negative behind it; nil where there was none to measure.
	Skew *int64
	// Expected says which signature was expected, in which form; empty where
	// the request did not come to that check. It holds no secret.
	Expected string
	// Diagnosis is what is known of why the signature did not match; may be
	// empty.
	Diagnosis string

	// EventType and SenderKey are those of the request, as far as it was read.
	EventType string
	SenderKey string

	// Method, Path and Header are the head of the request, cut to a bounded
	// length. Header has a line "Name: value" for each field, credentials and
	// signatures hidden.
	Method, Path string
	Header       string
	// BodySize is how many bytes of body were read, and BodyDigest the SHA-256
	// of them in hexadecimal digits; zero and empty where it was not read.
	BodySize   int64
	BodyDigest string

	// Unkept is how many refusals of the same source, client and code came
	// since the one before this, and were not kept because they were too many.
	Unkept int
}

// RejectionFilter selects rejections. The zero value selects all.
type RejectionFilter struct {
	ID     RejectionID
	Source string
	Code   string
	// StatusFrom and StatusTo bound Status, both inclusive; zero: open.
	StatusFrom, StatusTo int
	// Client is a range that the client's address is in; the zero Prefix: any.
	Client netip.Prefix
	// Since and Until bound At: not before Since, before Until. Zero: open.
	Since, Until time.Time
	// Text is looked for in the message, the rule, the diagnosis, the type, the
	// sender key and the head, without regard to the case of ASCII letters.
	Text string
}
