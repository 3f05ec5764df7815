// Package signature makes and checks the signatures of webhooks, under every
// scheme that Pintle speaks. Its functions are pure: bytes in, an answer out.
// They read no clock, so whether a timestamp is fresh is for the caller to
// judge, once the signature over it has been verified.
//
// # Schemes
//
// All schemes but gitlab and none have one shape: an HMAC over a template in
// which the body stands, and a timestamp or an id may, written in hexadecimal
// digits or in base64 behind a prefix. The key is the secret's bytes as they
// are written, "whsec_" included, except under standard.
//
//	scheme    header                what is in it           what is signed
//	agent     X-Agent-Signature     sha256=HEX              {body}
//	standard  webhook-signature     v1,BASE64 v1a,BASE64 …  {id}.{timestamp}.{body}
//	stripe    Stripe-Signature      t=SECONDS,v1=HEX,…      {timestamp}.{body}
//	github    X-Hub-Signature-256   sha256=HEX              {body}
//	gitlab    X-Gitlab-Token        the secret itself       nothing
//	shopify   X-Shopify-Hmac-Sha256 BASE64                  {body}
//	slack     X-Slack-Signature     v0=HEX                  v0:{timestamp}:{body}
//	hmac      as a [webhook.SignatureForm] says
//	none      none                                          nothing
//
// The agent scheme reads X-Signature too, and, where neither header is there,
// the member signature of the body, which is then cut out before the rest is
// verified.
//
// Standard Webhooks takes the id from webhook-id and the timestamp from
// webhook-timestamp; all three headers may be spelled svix- in place of
// webhook-. A secret that begins with "whsec_" stands for the key that the rest
// is the base64 of, and signs by HMAC, as v1. A secret that begins with "whpk_"
// is an Ed25519 public key of 32 bytes and verifies v1a; one with "whsk_" is
// the private key, as seed and public key or as the seed alone, and signs v1a.
// Any other is an HMAC key as written. The header lists several signatures
// during a rotation, and a receiver accepts the message if one of them is good;
// see
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
//
// Stripe's list is read in the same way; its fields other than t and v1 are
// passed over. Slack sends its timestamp in X-Slack-Request-Timestamp. GitHub's
// older header X-Hub-Signature, of SHA-1, is never looked at.
//
// A gitlab token says who sent a request but not what: whoever sees one can
// send another. The schemes agent, github and shopify sign no timestamp in a
// header, so that only the id of an event tells a replay.
//
// # Reading
//
// What is signed is the text of the timestamp and the id as they came, never
// one that was made from them. A timestamp is 1 to 12 digits and not zero, so
// that milliseconds are refused rather than taken for the far future. A header
// has one value, over all its spellings: two are refused, since the next
// program might choose the other one. Hexadecimal digits may be in either case;
// base64 has exactly one spelling, padded and in the standard alphabet. At most
// 16 signatures are read of a list, and 4 of Ed25519.
//
// # Checking
//
// Every comparison takes the same time wherever the first difference stands,
// and every secret is tried even after one has matched, so that the time tells
// nobody which of them did. An empty secret never verifies anything: anybody
// can sign with it.
//
// [Verifier.Explain] looks for the reason why a signature does not verify by
// trying what is known to go wrong. It is for the people who hold the secret.
package signature

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"hash"
	"net/http"
)

// Why a signature is refused; test with [errors.Is].
var (
	// ErrMissing says that the request carries no signature of its scheme.
	ErrMissing = errors.New("no signature")
	// ErrMalformed says that the signature, or a header that is signed with it,
	// is not one of its scheme, whatever the secret.
	ErrMalformed = errors.New("malformed signature")
	// ErrMismatch says that the header is well formed, and that no secret makes
	// this signature for this message.
	ErrMismatch = errors.New("signature does not match")
)

// fault says in words what is wrong, as a kind that [errors.Is] finds.
func fault(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}

// A Message is a request as far as signatures are concerned.
type Message struct {
	// Header has its names in their canonical form, as net/http makes them.
	Header http.Header
	// Body is the body as it came.
	Body []byte
	// Member is the agent scheme's signature member of the body, nil if it has
	// none; Unsigned is then the body without it.
	Member   *string
	Unsigned []byte
}

// A Proof is what a verified signature vouches for.
type Proof struct {
	// Timestamp is the signed time in Unix seconds; zero where the scheme signs
	// none.
	Timestamp int64
	// ID is the signed id of the message; empty where the scheme signs none.
	ID string
}

// hmacOf returns the HMAC of the parts, one after the other, under the key.
func hmacOf(newHash func() hash.Hash, key []byte, parts ...[]byte) []byte {
	h := hmac.New(newHash, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}
