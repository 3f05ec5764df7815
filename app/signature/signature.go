// Package signature makes and checks the signatures of webhooks, under every
// scheme that Pintle speaks. Its functions are pure: bytes in, an answer out.
// They read no clock, so whether a timestamp is fresh is for the caller to
// judge, once the signature over it has been verified.
//
// # Schemes
//
// The agent scheme is "sha256=" and the hexadecimal HMAC-SHA256 of the body,
// under the secret's bytes as they are written, "whsec_" included. GitHub
// signs in the same way.
//
// Standard Webhooks v1 is "v1," and the base64 HMAC-SHA256 of the message's
// id, its timestamp and its body, joined by dots. The key is what the base64
// after "whsec_" stands for. Several signatures are separated by spaces, and a
// receiver accepts the message if one of them is good; see
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
//
// # Checking
//
// Every comparison takes the same time wherever the first difference stands,
// and every secret is tried even after one has matched, so that the time tells
// nobody which of them did. An empty secret never verifies anything: anybody
// can sign with it.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
)

// Why a signature is refused; test with [errors.Is].
var (
	// ErrMalformed says that the header is not one of its scheme, whatever the
	// secret.
	ErrMalformed = errors.New("malformed signature")
	// ErrMismatch says that the header is well formed, and that no secret makes
	// this signature for this message.
	ErrMismatch = errors.New("signature does not match")
)

// appendHMAC appends the HMAC-SHA256 of the parts, one after the other, under
// the key.
func appendHMAC(dst, key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(dst)
}
