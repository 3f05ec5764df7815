package signature

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxSignatures bounds the signatures in one header.
	maxSignatures = 16
	// maxSeconds is how many digits a timestamp has at most. Milliseconds have
	// one more.
	maxSeconds = 12
	// maxDigest is the length of the longest digest as it is written.
	maxDigest = 2 * sha512.Size
)

// A layout is how a scheme signs: which headers carry what, how a digest is
// written, and which bytes are signed.
type layout struct {
	// names are the headers, in each of the spellings that senders use.
	names []names
	// member says that the signature may stand in the body.
	member bool
	// separator stands between the signatures of a list; empty: there is one.
	separator string
	// field is what the timestamp follows where it stands in that list.
	field  string
	digest digest
	// before and after are what is signed around the body.
	before, after []piece
}

// names are the canonical names of the headers of a message. Those of the
// timestamp and the id are empty where no header carries them.
type names struct{ signature, timestamp, id string }

// A digest is how one signature is written.
type digest struct {
	prefix    string
	base64    bool // otherwise in hexadecimal digits
	algorithm string
	hash      func() hash.Hash
	size      int // in bytes, before it is encoded
}

// A piece of a template stands for itself, or for what its kind says.
type piece struct {
	kind pieceKind
	text string
}

type pieceKind int

const (
	literal pieceKind = iota
	timestampPiece
	idPiece
	bodyPiece
)

// formOf returns the form of a scheme that has one. Where it has more than a
// form can say, newLayout adds it.
func formOf(scheme webhook.Scheme, form webhook.SignatureForm) (webhook.SignatureForm, bool) {
	known := webhook.SignatureForm{Algorithm: "sha256", Encoding: "hex", Template: "{body}"}
	switch scheme {
	case webhook.SchemeHMAC:
		known = form
	case webhook.SchemeAgent:
		known.Header, known.Prefix = "X-Agent-Signature", agentPrefix
	case webhook.SchemeGitHub:
		known.Header, known.Prefix = "X-Hub-Signature-256", "sha256="
	case webhook.SchemeShopify:
		known.Header, known.Encoding = "X-Shopify-Hmac-Sha256", "base64"
	case webhook.SchemeSlack:
		known.Header, known.Prefix, known.Template = "X-Slack-Signature", "v0=", "v0:{timestamp}:{body}"
		known.TimestampHeader = "X-Slack-Request-Timestamp"
	case webhook.SchemeStripe:
		known.Header, known.Prefix, known.Template = "Stripe-Signature", "v1=", "{timestamp}.{body}"
	case webhook.SchemeStandard:
		known.Header, known.Prefix, known.Encoding = "Webhook-Signature", standardPrefix, "base64"
		known.Template, known.TimestampHeader, known.IDHeader = "{id}.{timestamp}.{body}", "Webhook-Timestamp", "Webhook-Id"
	default:
		return webhook.SignatureForm{}, false
	}
	return known, true
}

// newLayout makes the layout of a scheme ready for use; nil for the schemes
// that have none. An error says why nothing could ever verify.
func newLayout(scheme webhook.Scheme, form webhook.SignatureForm) (*layout, error) {
	form, ok := formOf(scheme, form)
	if !ok {
		return nil, nil
	}
	l := &layout{names: []names{{
		http.CanonicalHeaderKey(form.Header), http.CanonicalHeaderKey(form.TimestampHeader), http.CanonicalHeaderKey(form.IDHeader),
	}}}
	switch scheme {
	case webhook.SchemeAgent:
		l.names, l.member = append(l.names, names{signature: "X-Signature"}), true
	case webhook.SchemeStandard:
		l.names, l.separator = append(l.names, names{"Svix-Signature", "Svix-Timestamp", "Svix-Id"}), " "
	case webhook.SchemeStripe:
		l.separator, l.field = ",", "t="
	}
	var err error
	if l.digest, err = newDigest(form); err != nil {
		return nil, err
	}
	if l.before, l.after, err = parseTemplate(form.Template); err != nil {
		return nil, err
	}
	if scheme == webhook.SchemeHMAC {
		err = l.check()
	}
	return l, err
}

func newDigest(form webhook.SignatureForm) (digest, error) {
	d := digest{prefix: form.Prefix, base64: form.Encoding == "base64", algorithm: form.Algorithm}
	switch form.Algorithm {
	case "sha256":
		d.hash, d.size = sha256.New, sha256.Size
	case "sha1":
		d.hash, d.size = sha1.New, sha1.Size
	case "sha512":
		d.hash, d.size = sha512.New, sha512.Size
	default:
		return d, fmt.Errorf("algorithm is sha256, sha1 or sha512, not %q", form.Algorithm)
	}
	if form.Encoding != "hex" && form.Encoding != "base64" {
		return d, fmt.Errorf("encoding is hex or base64, not %q", form.Encoding)
	}
	if strings.TrimLeft(form.Prefix, " ") != form.Prefix || !validValue(form.Prefix) {
		return d, fmt.Errorf("prefix %q cannot stand at the beginning of a header", form.Prefix)
	}
	return d, nil
}

// parseTemplate takes the template apart at its one {body}.
func parseTemplate(template string) (before, after []piece, err error) {
	parts := &before
	bodies := 0
	for rest := template; rest != ""; {
		p := piece{literal, rest}
		if begin := strings.IndexByte(rest, '{'); begin > 0 {
			p.text = rest[:begin]
		} else if end := 1 + strings.IndexAny(rest[1:], "{}"); begin == 0 && end > 0 && rest[end] == '{' {
			p.text = rest[:end] // a brace that is signed
		} else if begin == 0 && end > 0 {
			p.text = rest[:end+1]
			switch p.text {
			case "{body}":
				p.kind = bodyPiece
			case "{timestamp}":
				p.kind = timestampPiece
			case "{id}":
				p.kind = idPiece
			default:
				return nil, nil, fmt.Errorf("template has %s; it may have {body}, {timestamp} and {id}", strconv.Quote(p.text))
			}
		}
		rest = rest[len(p.text):]
		if p.kind == bodyPiece {
			bodies++
			parts = &after
			continue
		}
		// Digits could move from one to the other, and the signature would hold.
		if last := len(*parts) - 1; last >= 0 && p.kind != literal && (*parts)[last].kind != literal {
			return nil, nil, fmt.Errorf("template has %s right behind %s, so that nobody can tell where one ends", p.text, (*parts)[last].text)
		}
		*parts = append(*parts, p)
	}
	if bodies != 1 {
		return nil, nil, fmt.Errorf("template must have {body} once, not %d times", bodies)
	}
	return before, after, nil
}

// check looks for what keeps a form that somebody wrote from ever verifying.
func (l *layout) check() error {
	n := l.names[0]
	for _, needed := range []struct {
		key, name, placeholder string
		signed                 bool
	}{
		{"timestamp_header", n.timestamp, "{timestamp}", l.signs(timestampPiece)},
		{"id_header", n.id, "{id}", l.signs(idPiece)},
	} {
		switch {
		case needed.signed && needed.name == "":
			return fmt.Errorf("template has %s: %s must say which header carries it", needed.placeholder, needed.key)
		case !needed.signed && needed.name != "":
			return fmt.Errorf("%s is set, but template has no %s", needed.key, needed.placeholder)
		case needed.signed && !validName(needed.name):
			return fmt.Errorf("%s: %q is no header name", needed.key, needed.name)
		}
	}
	if !validName(n.signature) {
		return fmt.Errorf("header: %q is no header name", n.signature)
	}
	if n.signature == n.timestamp || n.signature == n.id || n.timestamp == n.id && n.id != "" {
		return fmt.Errorf("one header, %s, cannot carry two things", n.signature)
	}
	return nil
}

// signs reports whether a piece of the kind is signed.
func (l *layout) signs(kind pieceKind) bool {
	for _, pieces := range [][]piece{l.before, l.after} {
		for _, p := range pieces {
			if p.kind == kind {
				return true
			}
		}
	}
	return false
}

// A claim is what a request says of itself, read but not verified.
type claim struct {
	// names are the headers it was read from.
	names names
	// signature is the value of the header, or of the member of the body, and
	// place says in words which.
	signature, place string
	// timestamp and id are as they came; empty where the scheme signs none.
	timestamp, id string
	proof         Proof
	// body is what is signed of the body.
	body []byte
}

// read takes the claim from the headers.
func (l *layout) read(m *Message) (claim, error) {
	c := claim{names: l.names[0], body: m.Body}
	count := 0
	for _, n := range l.names {
		if values := m.Header[n.signature]; len(values) > 0 {
			c.names, c.signature, c.place = n, values[0], shownName(n.signature)
			count += len(values)
		}
	}
	switch {
	case count > 1:
		return c, fault(ErrMalformed, "%s has %d values; it must have one", l.shownNames(), count)
	case count == 0 && l.member && m.Member != nil:
		c.signature, c.place, c.body = *m.Member, "signature in the body", m.Unsigned
	case count == 0:
		return c, fault(ErrMissing, "there is no %s; it must be %s", l.shownNames(), l.shownForm())
	}
	if err := l.readTimestamp(m, &c); err != nil {
		return c, err
	}
	return c, l.readID(m, &c)
}

// readTimestamp reads the timestamp, if the scheme signs one.
func (l *layout) readTimestamp(m *Message, c *claim) error {
	var err error
	from := shownName(c.names.timestamp)
	switch {
	case c.names.timestamp != "":
		c.timestamp, err = one(m.Header, c.names.timestamp)
	case l.field != "":
		from = strings.TrimSuffix(l.field, "=") + " of " + shownName(c.names.signature)
		c.timestamp, err = l.findField(c)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if c.proof.Timestamp, err = parseTimestamp(c.timestamp); err != nil {
		return fault(ErrMalformed, "%s %v", from, err)
	}
	return nil
}

// readID reads the id, if the scheme signs one.
func (l *layout) readID(m *Message, c *claim) error {
	if c.names.id == "" {
		return nil
	}
	id, err := one(m.Header, c.names.id)
	if err == nil && id == "" {
		err = fault(ErrMalformed, "%s is empty", shownName(c.names.id))
	}
	c.id, c.proof.ID = id, id
	return err
}

// findField returns the one timestamp in a list of signatures.
func (l *layout) findField(c *claim) (string, error) {
	found, count := "", 0
	for item := range strings.SplitSeq(c.signature, l.separator) {
		if value, ok := strings.CutPrefix(item, l.field); ok {
			found = value
			count++
		}
	}
	if count != 1 {
		return "", fault(ErrMalformed, "%s has %d fields %s; it must have one", shownName(c.names.signature), count, l.field)
	}
	return found, nil
}

// one returns the value of a header that must have exactly one.
func one(header http.Header, name string) (string, error) {
	switch values := header[name]; len(values) {
	case 0:
		return "", fault(ErrMalformed, "there is no %s", shownName(name))
	case 1:
		return values[0], nil
	default:
		return "", fault(ErrMalformed, "%s has %d values; it must have one", shownName(name), len(values))
	}
}

// parseTimestamp reads Unix seconds.
func parseTimestamp(text string) (int64, error) {
	seconds := int64(0)
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, errors.New("is not a number of Unix seconds")
		}
	}
	if text == "" {
		return 0, errors.New("is empty")
	}
	if len(text) == maxSeconds+1 {
		return 0, errors.New("is in milliseconds; it must be in seconds")
	}
	if len(text) > maxSeconds {
		return 0, fmt.Errorf("has %d digits; Unix seconds have at most %d", len(text), maxSeconds)
	}
	for _, c := range []byte(text) {
		seconds = 10*seconds + int64(c-'0')
	}
	if seconds == 0 {
		return 0, errors.New("is zero")
	}
	return seconds, nil
}

// fill returns what is signed on one side of the body; nil if nothing is.
func fill(pieces []piece, timestamp, id string) []byte {
	if len(pieces) == 0 {
		return nil
	}
	filled := make([]byte, 0, 64+len(timestamp)+len(id))
	for _, p := range pieces {
		switch p.kind {
		case timestampPiece:
			filled = append(filled, timestamp...)
		case idPiece:
			filled = append(filled, id...)
		default:
			filled = append(filled, p.text...)
		}
	}
	return filled
}

// length is that of a digest as it is written, without the prefix.
func (d *digest) length() int {
	if d.base64 {
		return base64.StdEncoding.EncodedLen(d.size)
	}
	return hex.EncodedLen(d.size)
}

// appendSum appends the digest of the parts as it is written, without the
// prefix.
func (d *digest) appendSum(dst, key []byte, parts ...[]byte) []byte {
	sum := hmacOf(d.hash, key, parts...)
	if d.base64 {
		return base64.StdEncoding.AppendEncode(dst, sum)
	}
	return hex.AppendEncode(dst, sum)
}

// cut appends the digest that is written in the text, its hexadecimal digits
// in lower case, and reports whether there is one.
func (d *digest) cut(dst []byte, text string) ([]byte, bool) {
	if len(text) != len(d.prefix)+d.length() || text[:len(d.prefix)] != d.prefix {
		return dst, false
	}
	text = text[len(d.prefix):]
	if d.base64 {
		// The text is compared, not what it decodes to: base64 has several
		// spellings of the same bytes, and a signer writes only one.
		return append(dst, text...), base64Text(text, d.size)
	}
	for _, c := range []byte(text) {
		switch {
		case c >= 'A' && c <= 'F':
			c |= 0x20
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, true
}

// base64Text reports whether s is written in the standard alphabet, and padded
// as so many bytes are.
func base64Text(s string, size int) bool {
	trimmed := strings.TrimRight(s, "=")
	if len(s)-len(trimmed) != (3-size%3)%3 {
		return false
	}
	for _, c := range []byte(trimmed) {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/') {
			return false
		}
	}
	return true
}

// next takes the first signature off a list.
func next(list, separator string) (item, rest string) {
	if separator == "" {
		return list, ""
	}
	item, rest, _ = strings.Cut(list, separator)
	return item, rest
}

// holds reports whether one of the signatures in a list is written as the
// digest is, and how many items the list has.
func (d *digest) holds(list, separator string) (ok bool, items int) {
	var buffer [maxDigest]byte
	for {
		item, rest := next(list, separator)
		if item != "" {
			items++
		}
		if _, good := d.cut(buffer[:0], item); good {
			ok = true
		}
		if list = rest; list == "" {
			return ok, items
		}
	}
}

// found reports whether the digest that was made is one of those in a list. It
// compares with all of them, in constant time.
func (d *digest) found(want []byte, list, separator string) bool {
	var buffer [maxDigest]byte
	match := false
	for {
		item, rest := next(list, separator)
		if got, good := d.cut(buffer[:0], item); good {
			equal := hmac.Equal(want, got)
			match = match || equal
		}
		if list = rest; list == "" {
			return match
		}
	}
}

// validName reports whether a header can be called so.
func validName(name string) bool {
	for _, c := range []byte(name) {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return name != ""
}

// validValue reports whether the text may stand in a header.
func validValue(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
