package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/pintle/pintle/app/webhook"
)

const (
	agentPrefix = "sha256="
	agentLength = len(agentPrefix) + 2*sha256.Size
)

// SignAgent returns the value of X-Agent-Signature for the body: "sha256=" and
// the HMAC-SHA256 in 64 lower-case hexadecimal digits.
func SignAgent(secret webhook.Secret, body []byte) string {
	var sum [sha256.Size]byte
	var header [agentLength]byte
	appendHMAC(sum[:0], []byte(secret.Reveal()), body)
	return string(hex.AppendEncode(append(header[:0], agentPrefix...), sum[:]))
}

// VerifyAgent returns nil if the header is the agent signature of the body
// under one of the secrets. It returns [ErrMalformed] unless the header is
// exactly "sha256=" and 64 hexadecimal digits, in either case, and
// [ErrMismatch] if it is the signature of something else, or if there is no
// secret.
func VerifyAgent(header string, body []byte, secrets ...webhook.Secret) error {
	if len(header) != agentLength || header[:len(agentPrefix)] != agentPrefix {
		return ErrMalformed
	}
	var digits [2 * sha256.Size]byte
	var got, want [sha256.Size]byte
	copy(digits[:], header[len(agentPrefix):])
	if _, err := hex.Decode(got[:], digits[:]); err != nil {
		return ErrMalformed
	}
	match := false
	for _, secret := range secrets {
		appendHMAC(want[:0], []byte(secret.Reveal()), body)
		equal := hmac.Equal(got[:], want[:])
		match = match || equal && secret != ""
	}
	if !match {
		return ErrMismatch
	}
	return nil
}
