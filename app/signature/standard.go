package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pintle/pintle/app/webhook"
)

const (
	standardPrefix = "v1,"
	// standardLength is that of one signature: 32 bytes make 44 characters of
	// base64, the last of them padding.
	standardLength = len(standardPrefix) + (sha256.Size+2)/3*4

	ed25519Prefix = "v1a,"
	// maxEd25519 bounds the v1a signatures in one header: to check one takes as
	// long as to hash the body twice, for each of the keys.
	maxEd25519 = 4
	// The prefixes of Ed25519 keys.
	publicPrefix  = "whpk_"
	privatePrefix = "whsk_"
)

func standardDigest() digest {
	return digest{prefix: standardPrefix, base64: true, algorithm: "sha256", hash: sha256.New, size: sha256.Size}
}

// SignStandard returns the value of webhook-signature for a message: one
// signature for each secret, in their order, separated by spaces. The id and
// the timestamp, in Unix seconds, are those sent as webhook-id and
// webhook-timestamp.
//
// The key is the part of the secret after "whsec_", decoded from base64. A
// secret without that prefix, or whose rest is not base64, is itself the key,
// byte for byte.
func SignStandard(id string, timestamp int64, body []byte, secrets ...webhook.Secret) string {
	var prefixBuffer [96]byte
	var headerBuffer [2*standardLength + 1]byte
	prefix := appendStandardPrefix(prefixBuffer[:0], id, timestamp)
	header := headerBuffer[:0]
	d := standardDigest()
	for i, secret := range secrets {
		if i > 0 {
			header = append(header, ' ')
		}
		var key [256]byte
		header = d.appendSum(append(header, standardPrefix...), appendStandardKey(key[:0], secret.Reveal()), prefix, body)
	}
	return string(header)
}

// VerifyStandard returns nil if one of the v1 signatures in the header is that
// of the message under one of the secrets. Signatures of other versions are
// passed over, as the specification asks. It returns [ErrMalformed] if the
// header holds no well-formed v1 signature at all, and [ErrMismatch] if it
// holds one but none is good, or if there is no secret.
//
// The timestamp is the one in webhook-timestamp. That it is genuine does not
// make it recent: the caller compares it with the clock.
func VerifyStandard(header, id string, timestamp int64, body []byte, secrets ...webhook.Secret) error {
	d := standardDigest()
	if ok, items := d.holds(header, " "); !ok || items > maxSignatures {
		return ErrMalformed
	}
	var prefixBuffer [96]byte
	var want [maxDigest]byte
	prefix := appendStandardPrefix(prefixBuffer[:0], id, timestamp)
	match := false
	for _, secret := range secrets {
		var key [256]byte
		equal := d.found(d.appendSum(want[:0], appendStandardKey(key[:0], secret.Reveal()), prefix, body), header, " ")
		match = match || equal && secret != ""
	}
	if !match {
		return ErrMismatch
	}
	return nil
}

// appendStandardPrefix appends what is signed before the body.
func appendStandardPrefix(dst []byte, id string, timestamp int64) []byte {
	dst = append(dst, id...)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, timestamp, 10)
	return append(dst, '.')
}

// appendStandardKey appends the key that the secret stands for. An empty rest
// after the prefix is valid base64 of an empty key, with which anybody could
// sign; such a secret is taken as written too.
func appendStandardKey(dst []byte, secret string) []byte {
	if encoded, ok := strings.CutPrefix(secret, webhook.SecretPrefix); ok && encoded != "" {
		if key, err := base64.StdEncoding.AppendDecode(dst, []byte(encoded)); err == nil && len(key) > len(dst) {
			return key
		}
	}
	return append(dst, secret...)
}

// standardKeys are what a secret stands for under Standard Webhooks: the key of
// an HMAC, or a pair of which the private half may be missing.
type standardKeys struct {
	hmac    []byte
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

// parseStandard reads a secret. The errors do not repeat it.
func parseStandard(secret webhook.Secret) (standardKeys, error) {
	for _, prefix := range []string{webhook.SecretPrefix, publicPrefix, privatePrefix} {
		encoded, ok := strings.CutPrefix(secret.Reveal(), prefix)
		if !ok {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) == 0 {
			return standardKeys{}, fmt.Errorf("what follows %s in the secret is not base64", prefix)
		}
		switch {
		case prefix == webhook.SecretPrefix:
			return standardKeys{hmac: key}, nil
		case prefix == publicPrefix && len(key) == ed25519.PublicKeySize:
			return standardKeys{public: key}, nil
		case prefix == publicPrefix:
			return standardKeys{}, fmt.Errorf("%s must be followed by 32 bytes in base64, not %d", prefix, len(key))
		}
		return parsePrivate(key)
	}
	return standardKeys{hmac: []byte(secret.Reveal())}, nil
}

// parsePrivate reads a private key: the seed, which the public key may follow.
func parsePrivate(key []byte) (standardKeys, error) {
	if len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize {
		return standardKeys{}, fmt.Errorf("%s must be followed by 32 or 64 bytes in base64, not %d", privatePrefix, len(key))
	}
	private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
	if len(key) == ed25519.PrivateKeySize && !private.Equal(ed25519.PrivateKey(key)) {
		return standardKeys{}, errors.New("the public half of the " + privatePrefix + " key is not that of its private half")
	}
	return standardKeys{public: private.Public().(ed25519.PublicKey), private: private}, nil
}

// cutEd25519 returns the v1a signature that the text is.
func cutEd25519(text string) ([]byte, bool) {
	encoded, ok := strings.CutPrefix(text, ed25519Prefix)
	if !ok || len(encoded) != base64.StdEncoding.EncodedLen(ed25519.SignatureSize) {
		return nil, false
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return signature, err == nil && len(signature) == ed25519.SignatureSize
}

// verifyEd25519 reports whether one of the v1a signatures in the list is one of
// the signed bytes under one of the keys.
func verifyEd25519(keys []ed25519.PublicKey, list string, signed []byte) bool {
	match := false
	for item := range strings.SplitSeq(list, " ") {
		if signature, ok := cutEd25519(item); ok {
			for _, key := range keys {
				good := ed25519.Verify(key, signed, signature)
				match = match || good
			}
		}
	}
	return match
}

// countEd25519 says how many of the signatures in the list are v1a.
func countEd25519(list string) (n int) {
	for item := range strings.SplitSeq(list, " ") {
		if _, ok := cutEd25519(item); ok {
			n++
		}
	}
	return n
}
