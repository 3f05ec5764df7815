package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/pintle/pintle/app/webhook"
)

// SignStripe returns what Stripe's scheme puts in its header for the body:
// "t=" and the timestamp, in Unix seconds, and "v1=" and the HMAC-SHA256 of the
// timestamp, a full stop and the body, under the secret as written, in 64
// lower-case hexadecimal digits.
func SignStripe(secret webhook.Secret, timestamp int64, body []byte) string {
	seconds := strconv.FormatInt(timestamp, 10)
	sum := hmacOf(sha256.New, []byte(secret.Reveal()), []byte(seconds), []byte{'.'}, body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(sum)
}
