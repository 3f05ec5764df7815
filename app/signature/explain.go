package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/signature/rewriting"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxExplained bounds the bodies of which variants are tried, and
	// maxRewritten those that are tried as other programs would write them.
	maxExplained = 256 << 10
	maxRewritten = 64 << 10
	// maxHashed bounds the bytes that one explanation hashes: some ten
	// milliseconds of work.
	maxHashed = 8 << 20
	// maxPaired bounds the bodies of which pairs of mistakes are tried.
	maxPaired = 8 << 10
	// usualSkew is what senders and receivers agree on as a rule.
	usualSkew = 5 * time.Minute
	// shownDigest is how much of a signature that came is shown.
	shownDigest = 8
)

// Explain says why the message does not verify: the most likely reasons first,
// each of them a sentence. It is empty if the message verifies and its
// timestamp is within five minutes of the time given. It costs much more than
// [Verifier.Verify], though never more than some tens of milliseconds: of a
// body of more than 256 KiB no variants are tried, and of one of more than 64
// KiB none that need it to be read as JSON. The reasons hold neither a secret
// nor more than 8 characters of a signature.
func (v *Verifier) Explain(m Message, now time.Time) []string {
	switch v.scheme {
	case webhook.SchemeNone:
		return nil
	case webhook.SchemeGitLab:
		return v.explainToken(&m)
	}
	c, err := v.layout.read(&m)
	var body rewriting.Body
	if len(c.body) <= maxRewritten {
		body = rewriting.Read(c.body)
	}
	_, refused := v.Verify(m)
	if refused == nil {
		return withReason(nil, staleness(body, &c, now))
	}
	if errors.Is(err, ErrMissing) {
		return []string{v.explainMissing(m.Header)}
	}
	if v.countValues(m.Header) > 1 {
		return []string{withoutKind(err) + ": the sender signs twice, or something on the way adds one"}
	}
	var reasons []string
	if err != nil {
		reasons = append(reasons, withoutKind(err))
	}
	// A fault of the timestamp came before the id was looked at.
	if fault := v.layout.readID(&m, &c); fault != nil && fault.Error() != err.Error() {
		reasons = append(reasons, withoutKind(fault))
	}
	readings, fault := v.readings(&c)
	for _, secret := range v.secrets {
		if c.signature == secret.Reveal() || slices.ContainsFunc(readings, func(r reading) bool { return r.text == secret.Reveal() }) {
			return append(reasons, c.place+" carries the secret itself, which is now known to all who saw the request: it must carry a signature that is made with it")
		}
	}
	search := &search{v: v, m: &m, json: body, c: &c, readings: readings}
	cause, right := search.run()
	written := append(withReason(nil, fault), faults(readings)...)
	if right && len(written) > 0 {
		written[0] += "; apart from that it is right"
	}
	reasons = append(reasons, written...)
	reasons = withReason(reasons, cause)
	reasons = withReason(reasons, v.explainVersions(&c))
	if right && len(reasons) == 0 {
		reasons = append(reasons, withoutKind(refused))
	}
	reasons = withReason(reasons, staleness(body, &c, now))
	if cause == "" && !right {
		reasons = append(reasons, v.unexplained(&m, readings))
	}
	return reasons
}

// withReason adds a reason, if there is one.
func withReason(reasons []string, reason string) []string {
	if reason == "" {
		return reasons
	}
	return append(reasons, reason)
}

// countValues counts the signature headers over all spellings.
func (v *Verifier) countValues(header http.Header) int {
	count := 0
	for _, n := range v.layout.names {
		count += len(header[n.signature])
	}
	return count
}

// withoutKind is what an error says beside its kind.
func withoutKind(err error) string {
	_, text, _ := strings.Cut(err.Error(), ": ")
	return text
}

// explainMissing looks for the signature of another scheme.
func (v *Verifier) explainMissing(header http.Header) string {
	expected := "there is no " + v.layout.shownNames()
	for _, other := range []struct {
		name   string
		scheme webhook.Scheme
	}{
		{"Webhook-Signature", webhook.SchemeStandard},
		{"Svix-Signature", webhook.SchemeStandard},
		{"Stripe-Signature", webhook.SchemeStripe},
		{"X-Hub-Signature-256", webhook.SchemeGitHub},
		{tokenHeader, webhook.SchemeGitLab},
		{"X-Shopify-Hmac-Sha256", webhook.SchemeShopify},
		{"X-Slack-Signature", webhook.SchemeSlack},
		{"X-Agent-Signature", webhook.SchemeAgent},
		{"X-Signature", webhook.SchemeAgent},
	} {
		if len(header[other.name]) > 0 {
			return fmt.Sprintf("%s, but there is %s, of the scheme %s: the sender speaks that one, and %s is expected here", expected, shownName(other.name), other.scheme, v.scheme)
		}
	}
	if len(header["X-Hub-Signature"]) > 0 {
		return expected + ", but there is X-Hub-Signature, an older one of SHA-1, which is not read: the sender must send X-Hub-Signature-256"
	}
	// Map order would make the sentence another one each time.
	names := make([]string, 0, 1)
	for name := range header {
		if lower := strings.ToLower(name); strings.Contains(lower, "signature") || strings.Contains(lower, "hmac") {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		return fmt.Sprintf("%s, but there is %.64s: if that is the signature, the scheme hmac can be told how it is made", expected, slices.Min(names))
	}
	return expected + " nor any other signature: the sender does not sign, or something on the way drops the header"
}

// explainToken says why a token is not the right one. It shows nothing of it.
func (v *Verifier) explainToken(m *Message) []string {
	err := v.verifyToken(m)
	if errors.Is(err, ErrMissing) {
		text := "there is no " + tokenHeader + ": the sender has no secret token set, or something on the way drops the header"
		for _, name := range []string{"Webhook-Signature", "X-Hub-Signature-256", "X-Agent-Signature"} {
			if len(m.Header[name]) > 0 {
				text = fmt.Sprintf("there is no %s, but there is %s: the sender speaks another scheme, and gitlab is expected here", tokenHeader, shownName(name))
				break
			}
		}
		return []string{text}
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrMismatch) {
		return []string{withoutKind(err)}
	}
	got := m.Header[tokenHeader][0]
	for _, secret := range v.secrets {
		s := secret.Reveal()
		switch {
		case strings.TrimSpace(got) == strings.TrimSpace(s):
			return []string{"the token and the secret differ only in white space at an end: one of them was copied with it"}
		case strings.Trim(got, `"'`) == s:
			return []string{"there are quotes around the token, which belong to no token"}
		case strings.EqualFold(got, s):
			return []string{"the token and the secret differ only in upper and lower case"}
		case len(got) >= shownDigest && strings.HasPrefix(s, got):
			return []string{"the token is the beginning of the secret: it was cut short"}
		}
	}
	return []string{fmt.Sprintf("the token is another one than the secret: %d characters came", len(got))}
}

// explainVersions says so where the signature and the secrets are of different
// versions of Standard Webhooks, or too many are of the one that costs most.
func (v *Verifier) explainVersions(c *claim) string {
	if v.scheme != webhook.SchemeStandard {
		return ""
	}
	symmetric, _ := v.layout.digest.holds(c.signature, " ")
	count := countEd25519(c.signature)
	asymmetric := count > 0
	switch {
	case count > maxEd25519 && len(v.publics) > 0:
		return fmt.Sprintf("%s lists %d v1a signatures, and at most %d are read", c.place, count, maxEd25519)
	case symmetric && !asymmetric && len(v.keys) == 0 && len(v.publics) > 0:
		return fmt.Sprintf("%s holds v1, which a shared secret verifies, and only public keys (%s) are set", c.place, publicPrefix)
	case asymmetric && !symmetric && len(v.publics) == 0:
		return fmt.Sprintf("%s holds v1a, which a public key (%s) verifies, and none is set", c.place, publicPrefix)
	}
	return ""
}

// staleness says how far the timestamp is from the clock; empty if it is near.
func staleness(body rewriting.Body, c *claim, now time.Time) string {
	seconds, what := c.proof.Timestamp, "the timestamp "
	if seconds == 0 && c.timestamp == "" && c.names.timestamp == "" {
		value := body.Member("timestamp")
		if value == nil {
			return ""
		}
		what = "the timestamp in the body "
		text := string(value)
		var err error
		if seconds, err = parseTimestamp(text); err != nil {
			if len(text) > maxSeconds {
				return what + withClean(text) + " " + err.Error()
			}
			return ""
		}
	}
	if seconds == 0 {
		return ""
	}
	// Compared in seconds: a duration could not hold every timestamp.
	skew, side := seconds-now.Unix(), "ahead of"
	if skew < 0 {
		skew, side = -skew, "behind"
	}
	if skew <= int64(usualSkew/time.Second) {
		return ""
	}
	far := strconv.FormatInt(skew, 10) + " s"
	if skew < int64(100*365*24*time.Hour/time.Second) {
		far = (time.Duration(skew) * time.Second).String()
	}
	return fmt.Sprintf("%s%d is %s %s our clock: the request is an old one sent again, or a clock is wrong", what, seconds, far, side)
}

// withClean bounds what came from outside and makes it safe to print.
func withClean(text string) string {
	if len(text) > 2*shownDigest {
		text = text[:2*shownDigest] + "…"
	}
	return strings.Trim(strconv.QuoteToGraphic(text), `"`)
}

// unexplained is the last reason, where there is no proof of another.
func (v *Verifier) unexplained(m *Message, readings []reading) string {
	came := ""
	for _, r := range readings {
		if came = r.text; len(r.sum) > 0 {
			break
		}
	}
	came = came[:min(len(came), shownDigest)]
	for _, secret := range v.secrets {
		if came != "" && strings.Contains(secret.Reveal(), came) {
			came = ""
		}
	}
	shown := ""
	if came != "" {
		shown = " (the signature that came begins with " + strings.Trim(strconv.QuoteToGraphic(came), `"`) + ")"
	}
	sum := sha256.Sum256(m.Body)
	return fmt.Sprintf("the body was changed on its way, or the secret is another one%s: the body that came has %d bytes and the SHA-256 %s", shown, len(m.Body), hex.EncodeToString(sum[:]))
}
