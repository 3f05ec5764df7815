// Package api is the wire of the admin API: what its requests and answers look
// like in JSON. Server and client share these types, so that neither can drift
// from the other.
//
// A time is RFC 3339 in UTC with milliseconds, save an event's timestamp, which
// is the sender's and stays whole Unix seconds. A duration is written as "5s"
// and may be given in whole seconds too. Secrets appear where they were made or
// asked for, and nowhere else.
package api

// Prefix stands before the path of every endpoint but /healthz, /readyz and
// /openapi.json.
const Prefix = "/api/v1"

// MaxLimit is how many items one page of a list has at most, and DefaultLimit
// how many it has when nothing is said.
const (
	MaxLimit     = 500
	DefaultLimit = 50
)
