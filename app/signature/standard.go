package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/pintle/pintle/app/webhook"
)

const (
	standardPrefix = "v1,"
	// standardLength is that of one signature: 32 bytes make 44 characters of
	// base64, the last of them padding.
	standardLength = len(standardPrefix) + (sha256.Size+2)/3*4
)

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
	for i, secret := range secrets {
		if i > 0 {
			header = append(header, ' ')
		}
		header = appendStandard(header, secret, prefix, body)
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
	if !holdsStandard(header) {
		return ErrMalformed
	}
	var prefixBuffer [96]byte
	var wantBuffer, gotBuffer [standardLength]byte
	prefix := appendStandardPrefix(prefixBuffer[:0], id, timestamp)
	match := false
	for _, secret := range secrets {
		// The text is compared, not what it decodes to: base64 has several
		// spellings of the same bytes, and a signer writes only one.
		want := appendStandard(wantBuffer[:0], secret, prefix, body)
		for got := range strings.SplitSeq(header, " ") {
			if len(got) != standardLength {
				continue
			}
			equal := hmac.Equal(want, append(gotBuffer[:0], got...))
			match = match || equal && secret != ""
		}
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

// appendStandard appends one signature.
func appendStandard(dst []byte, secret webhook.Secret, prefix, body []byte) []byte {
	var keyBuffer [256]byte
	var sum [sha256.Size]byte
	appendHMAC(sum[:0], appendStandardKey(keyBuffer[:0], secret.Reveal()), prefix, body)
	return base64.StdEncoding.AppendEncode(append(dst, standardPrefix...), sum[:])
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

// holdsStandard reports whether one of the signatures in the header has the
// form of v1.
func holdsStandard(header string) bool {
	for one := range strings.SplitSeq(header, " ") {
		if len(one) == standardLength && strings.HasPrefix(one, standardPrefix) && base64Text(one[len(standardPrefix):]) {
			return true
		}
	}
	return false
}

// base64Text reports whether s is written in the standard alphabet and padded
// as 32 bytes are.
func base64Text(s string) bool {
	for i := range len(s) - 1 {
		c := s[i]
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/') {
			return false
		}
	}
	return s[len(s)-1] == '='
}
