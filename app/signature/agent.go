package signature

import (
	"crypto/sha256"

	"github.com/pintle/pintle/app/webhook"
)

const (
	agentPrefix = "sha256="
	agentLength = len(agentPrefix) + 2*sha256.Size
)

func agentDigest() digest {
	return digest{prefix: agentPrefix, algorithm: "sha256", hash: sha256.New, size: sha256.Size}
}

// SignAgent returns the value of X-Agent-Signature for the body: "sha256=" and
// the HMAC-SHA256 in 64 lower-case hexadecimal digits.
func SignAgent(secret webhook.Secret, body []byte) string {
	var header [agentLength]byte
	d := agentDigest()
	return string(d.appendSum(append(header[:0], agentPrefix...), []byte(secret.Reveal()), body))
}

// VerifyAgent returns nil if the header is the agent signature of the body
// under one of the secrets. It returns [ErrMalformed] unless the header is
// exactly "sha256=" and 64 hexadecimal digits, in either case, and
// [ErrMismatch] if it is the signature of something else, or if there is no
// secret.
func VerifyAgent(header string, body []byte, secrets ...webhook.Secret) error {
	d := agentDigest()
	if ok, _ := d.holds(header, ""); !ok {
		return ErrMalformed
	}
	var want [maxDigest]byte
	match := false
	for _, secret := range secrets {
		equal := d.found(d.appendSum(want[:0], []byte(secret.Reveal()), body), header, "")
		match = match || equal && secret != ""
	}
	if !match {
		return ErrMismatch
	}
	return nil
}
