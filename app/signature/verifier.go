package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pintle/pintle/app/webhook"
)

const tokenHeader = "X-Gitlab-Token"

// A Verifier checks the signatures of one scheme under fixed secrets. It is
// safe for concurrent use.
type Verifier struct {
	scheme  webhook.Scheme
	layout  *layout // nil for gitlab and none
	secrets []webhook.Secret
	// keys and publics are what the secrets stand for.
	keys    [][]byte
	publics []ed25519.PublicKey
	// mismatch is made once: whoever floods us with wrong signatures gets it
	// often.
	mismatch error
}

// NewVerifier makes a verifier. It refuses a form or a secret that could never
// verify anything; the error names no secret. The form is that of
// [webhook.SchemeHMAC]; other schemes ignore it. Empty secrets are left out,
// and a verifier without any refuses every signature.
func NewVerifier(scheme webhook.Scheme, form webhook.SignatureForm, secrets []webhook.Secret) (*Verifier, error) {
	if !slices.Contains(webhook.Schemes(), scheme) {
		return nil, fmt.Errorf("no scheme is called %q", scheme)
	}
	l, err := newLayout(scheme, form)
	if err != nil {
		return nil, err
	}
	v := &Verifier{scheme: scheme, layout: l}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		if scheme == webhook.SchemeGitLab && !validToken(secret.Reveal()) {
			return nil, errors.New("the secret has white space at an end, or a control character: it can never come in a header")
		}
		keys := standardKeys{hmac: []byte(secret.Reveal())}
		if scheme == webhook.SchemeStandard {
			if keys, err = parseStandard(secret); err != nil {
				return nil, err
			}
		}
		v.secrets = append(v.secrets, secret)
		if keys.hmac != nil {
			v.keys = append(v.keys, keys.hmac)
		} else {
			v.publics = append(v.publics, keys.public)
		}
	}
	switch {
	case scheme == webhook.SchemeGitLab:
		v.mismatch = fault(ErrMismatch, "%s is not the token that was agreed", shownName(tokenHeader))
	case l != nil:
		v.mismatch = fault(ErrMismatch, "%s is not %s", l.shownNames(), v.shownWork())
	}
	return v, nil
}

// Verify returns what the signature of the message vouches for. The error is
// [ErrMissing], [ErrMalformed] or [ErrMismatch], and says which header is wrong
// and what it must be; it holds neither a secret nor a right signature.
func (v *Verifier) Verify(m Message) (Proof, error) {
	switch v.scheme {
	case webhook.SchemeNone:
		return Proof{}, nil
	case webhook.SchemeGitLab:
		return Proof{}, v.verifyToken(&m)
	}
	c, err := v.layout.read(&m)
	if err != nil {
		return Proof{}, err
	}
	if err := v.checkForm(&c); err != nil {
		return Proof{}, err
	}
	if !v.matches(&c) {
		return Proof{}, v.mismatch
	}
	return c.proof, nil
}

// checkForm refuses a signature that is not written as the scheme has it.
func (v *Verifier) checkForm(c *claim) error {
	l := v.layout
	ok, items := l.digest.holds(c.signature, l.separator)
	asymmetric := 0
	if len(v.publics) > 0 && items <= maxSignatures {
		asymmetric = countEd25519(c.signature)
		ok = ok || asymmetric > 0
	}
	switch {
	case asymmetric > maxEd25519:
		return fault(ErrMalformed, "%s lists %d v1a signatures; at most %d are read", c.place, asymmetric, maxEd25519)
	case items > maxSignatures:
		return fault(ErrMalformed, "%s lists %d signatures; at most %d are read", c.place, items, maxSignatures)
	case !ok:
		return fault(ErrMalformed, "%s must be %s", c.place, v.shownValue())
	}
	return nil
}

// matches reports whether one of the signatures is right under one of the
// secrets. All are tried.
func (v *Verifier) matches(c *claim) bool {
	l := v.layout
	before, after := fill(l.before, c.timestamp, c.id), fill(l.after, c.timestamp, c.id)
	var want [maxDigest]byte
	match := false
	for _, key := range v.keys {
		equal := l.digest.found(l.digest.appendSum(want[:0], key, before, c.body, after), c.signature, l.separator)
		match = match || equal
	}
	if len(v.publics) > 0 {
		good := verifyEd25519(v.publics, c.signature, slices.Concat(before, c.body, after))
		match = match || good
	}
	return match
}

// verifyToken compares digests, since a comparison of the tokens themselves
// would tell their length.
func (v *Verifier) verifyToken(m *Message) error {
	switch values := m.Header[tokenHeader]; {
	case len(values) == 0:
		return fault(ErrMissing, "there is no %s; it must be the token that was agreed", tokenHeader)
	case len(values) > 1:
		return fault(ErrMalformed, "%s has %d values; it must have one", tokenHeader, len(values))
	case values[0] == "":
		return fault(ErrMalformed, "%s is empty", tokenHeader)
	}
	got := sha256.Sum256([]byte(m.Header[tokenHeader][0]))
	match := false
	for _, key := range v.keys {
		want := sha256.Sum256(key)
		equal := hmac.Equal(want[:], got[:])
		match = match || equal
	}
	if !match {
		return v.mismatch
	}
	return nil
}

// validToken reports whether the token can come in a header, where white space
// around it is lost.
func validToken(token string) bool {
	return strings.TrimSpace(token) == token && !strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Claims returns the timestamp and the id that the request claims, whether or
// not its signature is good or even there; zero where they are absent or
// malformed.
func (v *Verifier) Claims(m Message) Proof {
	l := v.layout
	if l == nil {
		return Proof{}
	}
	c := claim{names: l.names[0]}
	for _, n := range slices.Backward(l.names) {
		values := m.Header[n.signature]
		if len(values) == 1 {
			c.signature = values[0]
		}
		if len(values) > 0 || len(m.Header[n.timestamp]) > 0 || len(m.Header[n.id]) > 0 {
			c.names = n
		}
	}
	// Each is read by itself: a fault of one is none of the other.
	_ = l.readTimestamp(&m, &c)
	if l.readID(&m, &c) != nil {
		c.proof.ID = ""
	}
	return c.proof
}

// Expects says in words which signature is expected, and in which form. It
// holds no secret.
func (v *Verifier) Expects() string {
	switch v.scheme {
	case webhook.SchemeNone:
		return "no signature"
	case webhook.SchemeGitLab:
		return tokenHeader + ": the token that was agreed"
	}
	return v.layout.shownNames() + ": " + v.shownValue() + ", " + v.shownWork()
}

// shownValue says how the signature is written.
func (v *Verifier) shownValue() string {
	form := v.layout.shownForm()
	if v.scheme != webhook.SchemeStandard || len(v.publics) == 0 {
		return form
	}
	ed := ed25519Prefix + "<88 characters of base64>"
	if len(v.keys) == 0 {
		return ed
	}
	return form + " or " + ed
}

// shownWork says what the signature is made of.
func (v *Verifier) shownWork() string {
	of := " of " + v.layout.shownSigned()
	if v.scheme != webhook.SchemeStandard || len(v.publics) == 0 {
		return "the " + v.layout.digest.shownAlgorithm() + of
	}
	if len(v.keys) == 0 {
		return "the Ed25519 signature" + of
	}
	return "the " + v.layout.digest.shownAlgorithm() + " or Ed25519 signature" + of
}

// shownNames names the places where the signature may stand.
func (l *layout) shownNames() string {
	var all []string
	for _, n := range l.names {
		all = append(all, shownName(n.signature))
	}
	return strings.Join(all, " or ")
}

// shownForm says how a signature is written.
func (l *layout) shownForm() string {
	form := l.digest.shownForm()
	if l.field != "" {
		form = l.field + "<Unix seconds>" + l.separator + form
	}
	return form
}

func (d *digest) shownForm() string {
	if d.base64 {
		return fmt.Sprintf("%s<%d characters of base64>", d.prefix, d.length())
	}
	return fmt.Sprintf("%s<%d hex digits>", d.prefix, d.length())
}

func (d *digest) shownAlgorithm() string {
	return "HMAC-SHA" + strings.TrimPrefix(d.algorithm, "sha")
}

// shownSigned says which bytes are signed.
func (l *layout) shownSigned() string {
	if len(l.before)+len(l.after) == 0 {
		return "the body"
	}
	var b strings.Builder
	for _, p := range l.before {
		b.WriteString(p.text)
	}
	b.WriteString("{body}")
	for _, p := range l.after {
		b.WriteString(p.text)
	}
	n := l.names[0]
	signed := b.String()
	var where []string
	if n.id != "" {
		where = append(where, "{id} is "+shownName(n.id))
	}
	if n.timestamp != "" {
		where = append(where, "{timestamp} is "+shownName(n.timestamp))
	}
	if len(where) == 0 {
		return signed
	}
	return signed + ", where " + strings.Join(where, " and ")
}

// shownName is how the name of a header is usually written.
func shownName(name string) string {
	if strings.HasPrefix(name, "Webhook-") || strings.HasPrefix(name, "Svix-") {
		return strings.ToLower(name)
	}
	return name
}
