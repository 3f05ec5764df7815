package webhook

import (
	"net/netip"
	"strings"
	"time"
)

// The names of the sources that every installation has.
const (
	// SourceInbound is the endpoint of the [inbound] section.
	SourceInbound = "inbound"
	// SourceAdmin stands for events published through the admin API.
	SourceAdmin = "admin"
	// SourcePintle stands for what Pintle itself has to tell.
	SourcePintle = "pintle"
)

// A Scheme is how a sender signs, and where in a request it puts the type, the
// id and the time of an event.
type Scheme string

// The schemes.
const (
	SchemeAgent    Scheme = "agent"    // Pintle's own envelope and signature
	SchemeStandard Scheme = "standard" // Standard Webhooks, v1 and v1a
	SchemeStripe   Scheme = "stripe"
	SchemeGitHub   Scheme = "github"
	SchemeGitLab   Scheme = "gitlab" // a shared token, not a signature
	SchemeShopify  Scheme = "shopify"
	SchemeSlack    Scheme = "slack"
	SchemeHMAC     Scheme = "hmac" // as a [SignatureForm] says
	SchemeNone     Scheme = "none" // not signed
)

// Schemes lists all schemes.
func Schemes() []Scheme {
	return []Scheme{SchemeAgent, SchemeStandard, SchemeStripe, SchemeGitHub, SchemeGitLab, SchemeShopify, SchemeSlack, SchemeHMAC, SchemeNone}
}

// A SignatureForm is how the senders of a source with [SchemeHMAC] sign.
type SignatureForm struct {
	// Header carries the signature.
	Header string
	// Algorithm is "sha256", "sha1" or "sha512".
	Algorithm string
	// Encoding is "hex" or "base64".
	Encoding string
	// Prefix stands before the encoded signature, such as "sha256="; may be empty.
	Prefix string
	// Template is what is signed: a text in which {body}, {timestamp} and {id}
	// stand for the body, and for the values of the two headers below. It has
	// {body} exactly once, at its end or anywhere else.
	Template string
	// TimestampHeader carries the Unix seconds that {timestamp} stands for, and
	// IDHeader the id that {id} stands for; empty unless the template has them.
	TimestampHeader, IDHeader string
}

// A Place is where in a request something is found: "header:Name", or
// "body:member.member" of a JSON body, or "const:text" for the text itself.
// Empty: where the scheme has it.
type Place string

// A Source is an inbound endpoint: where senders post, how they sign, and what
// is let in.
type Source struct {
	// Name identifies the source in events, logs and metrics.
	Name string
	// Path is the URL path that it answers on.
	Path string
	// Scheme is how its senders sign.
	Scheme Scheme
	// Form is set for [SchemeHMAC].
	Form SignatureForm
	// Secrets are the keys that are valid at the moment.
	Secrets []Secret
	// ClientID is given to the source's events; empty: they are everybody's.
	ClientID string
	// EventPrefix is put before the type of each event; see [Source.EventType].
	EventPrefix string
	// TypeFrom, IDFrom and TimeFrom say where the type, the sender's id and the
	// time of an event are, in place of where the scheme has them.
	TypeFrom, IDFrom, TimeFrom Place

	// Enabled is false when nothing is let in.
	Enabled bool
	// ValidateSignature is false when anyone is believed.
	ValidateSignature bool
	// MaxClockSkew is how far a timestamp may be off, either way; zero: any.
	MaxClockSkew time.Duration
	// MaxBody bounds a body, in bytes.
	MaxBody int64
	// AllowIPs and AllowASNs are who may come in: a request passes if its
	// address is in one of the ranges, or its autonomous system is listed. Both
	// empty: anybody.
	AllowIPs  []netip.Prefix
	AllowASNs []uint32
	// RateLimit is how many requests a second one client address may make, for
	// IPv6 one network of 64 bits; zero: any number.
	RateLimit float64
}

// EventType returns the type of an event that its sender calls so. A prefix
// that ends in none of the separators . _ - : / is set off by a dot.
func (s *Source) EventType(name string) string {
	if s.EventPrefix == "" || strings.ContainsAny(s.EventPrefix[len(s.EventPrefix)-1:], "._-:/") {
		return s.EventPrefix + name
	}
	return s.EventPrefix + "." + name
}
