package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"slices"
	"strings"

	"github.com/pintle/pintle/app/signature/rewriting"
	"github.com/pintle/pintle/app/webhook"
)

// A search tries what senders are known to do wrong, until one of the
// signatures that came is the result.
type search struct {
	v        *Verifier
	m        *Message
	json     rewriting.Body
	c        *claim
	readings []reading
	hashed   int
}

// An attempt is what goes into a signature.
type attempt struct {
	key, before, body, after []byte
	hash                     func() hash.Hash
}

// A variant is another way to make a part of an attempt. Its sentence follows
// "the sender signed"; it is empty for the right way.
type variant struct {
	sentence string
	change   func(*attempt)
}

// run returns the sentence of what the sender did; right is true if it did
// everything right, apart from how the signature is written.
func (s *search) run() (sentence string, right bool) {
	if s.asymmetric() {
		return "", true
	}
	var rights []variant
	for _, key := range s.v.keys {
		rights = append(rights, variant{change: func(a *attempt) { a.key = key }})
	}
	wrongs := s.keys()
	for _, key := range rights {
		if s.symmetric(key) {
			return "", true
		}
	}
	for _, key := range wrongs {
		if s.symmetric(key) {
			return sentenceOf(key), false
		}
	}
	if len(s.c.body) > maxExplained {
		return "", false
	}
	around, hashes := slices.Concat(s.frames(), s.bodies()), s.hashes()
	for _, v := range slices.Concat(around, hashes) {
		if slices.ContainsFunc(rights, func(key variant) bool { return s.symmetric(key, v) }) {
			return sentenceOf(v), false
		}
	}
	for _, v := range around {
		if s.asymmetric(v) {
			return sentenceOf(v), false
		}
	}
	if plain := s.plain(); plain != "" {
		return plain, false
	}
	if len(s.c.body) > maxPaired {
		return "", false
	}
	// Two mistakes at once.
	for _, key := range wrongs {
		for _, v := range slices.Concat(hashes, around) {
			if s.symmetric(key, v) {
				return sentenceOf(v, key), false
			}
		}
	}
	for _, key := range rights {
		for _, h := range hashes {
			for _, v := range around {
				if s.symmetric(key, h, v) {
					return sentenceOf(v, h), false
				}
			}
		}
	}
	return "", false
}

// sentenceOf says what the sender did.
func sentenceOf(variants ...variant) string {
	var did []string
	for _, v := range variants {
		did = append(did, v.sentence)
	}
	return "the sender signed " + strings.Join(did, ", and ")
}

// attempt is the right one but for the variants.
func (s *search) attempt(variants []variant) attempt {
	l := s.v.layout
	a := attempt{
		before: fill(l.before, s.c.timestamp, s.c.id), body: s.c.body, after: fill(l.after, s.c.timestamp, s.c.id),
		hash: l.digest.hash,
	}
	for _, v := range variants {
		v.change(&a)
	}
	return a
}

// symmetric reports whether an HMAC that came was made so. What it may hash in
// all is bounded.
func (s *search) symmetric(variants ...variant) bool {
	a := s.attempt(variants)
	if s.hashed += len(a.body) + 256; s.hashed > maxHashed {
		return false
	}
	return s.came(hmacOf(a.hash, a.key, a.before, a.body, a.after))
}

// asymmetric reports whether a v1a signature that came was made so.
func (s *search) asymmetric(variants ...variant) bool {
	count := countEd25519(s.c.signature)
	if len(s.v.publics) == 0 || count == 0 || count > maxEd25519 {
		return false
	}
	a := s.attempt(variants)
	// A verification costs as much as hashing some tens of kilobytes.
	if s.hashed += count * len(s.v.publics) * (len(a.body) + 64<<10); s.hashed > maxHashed {
		return false
	}
	return verifyEd25519(s.v.publics, s.c.signature, slices.Concat(a.before, a.body, a.after))
}

// came reports whether a digest is one of those that came, which may have been
// cut short.
func (s *search) came(sum []byte) bool {
	return slices.ContainsFunc(s.readings, func(r reading) bool {
		return len(r.sum) >= shownDigest && len(r.sum) <= len(sum) && hmac.Equal(r.sum, sum[:len(r.sum)])
	})
}

// frames are other things that senders sign around the body.
func (s *search) frames() []variant {
	l, c := s.v.layout, s.c
	timestamp, id := c.timestamp, c.id
	right := l.template()
	var all []variant
	add := func(sentence, template, timestamp, id string) {
		if before, after, err := parseTemplate(template); err == nil {
			all = append(all, variant{sentence, func(a *attempt) {
				a.before, a.after = fill(before, timestamp, id), fill(after, timestamp, id)
			}})
		}
	}
	if !l.signs(timestampPiece) {
		// Some other library's habit, and its timestamp wherever it is.
		timestamp = s.timestampNearby()
	}
	switch {
	case timestamp == "" || !l.signs(timestampPiece):
	case len(timestamp) > maxSeconds:
		add("the timestamp in seconds, and sent it in milliseconds", right, timestamp[:len(timestamp)-3], id)
	default:
		add("the timestamp in milliseconds, and sent it in seconds", right, timestamp+"000", id)
	}
	for _, template := range []string{"{body}", "{timestamp}.{body}", "{id}.{body}", "{timestamp}{body}", "{body}{timestamp}", "{timestamp}:{body}", "v0:{timestamp}:{body}", "{timestamp},{body}", ".{timestamp}.{body}", "{id}.{timestamp}.{body}"} {
		needsTime, needsID := strings.Contains(template, "{timestamp}"), strings.Contains(template, "{id}")
		if template == right || needsTime && timestamp == "" || needsID && id == "" {
			continue
		}
		sentence := template + " in place of " + right
		switch withoutTime, withoutID := l.signs(timestampPiece) && !needsTime, l.signs(idPiece) && !needsID; {
		case withoutTime && withoutID:
			sentence += ": the timestamp and the id are missing"
		case withoutTime:
			sentence += ": the timestamp is missing"
		case withoutID:
			sentence += ": the id is missing"
		}
		add(sentence, template, timestamp, id)
	}
	return all
}

// template is the text that the layout was made of.
func (l *layout) template() string {
	var b strings.Builder
	for _, p := range l.before {
		b.WriteString(p.text)
	}
	b.WriteString("{body}")
	for _, p := range l.after {
		b.WriteString(p.text)
	}
	return b.String()
}

// timestampNearby is one that a sender may have signed though the scheme has
// none: from a header of another scheme, or from the body.
func (s *search) timestampNearby() string {
	for _, name := range []string{"Webhook-Timestamp", "Svix-Timestamp", "X-Timestamp", "X-Agent-Timestamp", "X-Slack-Request-Timestamp", "X-Signature-Timestamp"} {
		if values := s.m.Header[name]; len(values) == 1 {
			return values[0]
		}
	}
	value := string(s.json.Member("timestamp"))
	if _, err := parseTimestamp(value); err != nil {
		return ""
	}
	return value
}

// keys are other keys that are made of the secrets.
func (s *search) keys() []variant {
	var wrong []variant
	add := func(sentence string, key []byte) {
		wrong = append(wrong, variant{sentence, func(a *attempt) { a.key = key }})
	}
	for _, secret := range s.v.secrets {
		text := secret.Reveal()
		encoded, prefixed := strings.CutPrefix(text, webhook.SecretPrefix)
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		isBase64 := err == nil && len(decoded) > 0
		standard := s.v.scheme == webhook.SchemeStandard
		switch {
		case standard && prefixed:
			add("with the secret as it is written: what follows "+webhook.SecretPrefix+" must be decoded from base64", []byte(text))
			add("with what follows "+webhook.SecretPrefix+" as it is written: it must be decoded from base64", []byte(encoded))
		case standard && isBase64:
			add("with what the secret is the base64 of: here it is taken as written, unless "+webhook.SecretPrefix+" stands before it", decoded)
		case prefixed:
			if isBase64 {
				add("with what follows "+webhook.SecretPrefix+" decoded from base64: this scheme takes the secret as it is written", decoded)
			}
			add("with what follows "+webhook.SecretPrefix+" only: the prefix is a part of the secret", []byte(encoded))
		case isBase64:
			add("with what the secret is the base64 of: this scheme takes it as it is written", decoded)
		}
		if raw, err := hex.DecodeString(text); err == nil && len(raw) > 0 {
			add("with what the hex digits of the secret stand for: it is taken as it is written", raw)
		}
		if trimmed := strings.TrimSpace(text); trimmed != text {
			add("with the secret without the white space around it, which ours has: it was copied with it", []byte(trimmed))
		}
		for _, end := range []struct{ text, name string }{{"\n", "a newline"}, {"\r\n", "a carriage return and a newline"}, {" ", "a space"}} {
			add("with "+end.name+" behind the secret: it was read from a file or copied with it", []byte(text+end.text))
		}
		add("with the secret in quotes", []byte(`"`+text+`"`))
	}
	if len(s.v.secrets) > 0 {
		add("with an empty secret: its setting does not reach the code that signs", nil)
	}
	return wrong
}

// hashes are other algorithms that make digests as long as one that came.
func (s *search) hashes() []variant {
	var all []variant
	for _, other := range []struct {
		name, shown string
		hash        func() hash.Hash
		size        int
	}{
		{"sha256", "SHA256", sha256.New, sha256.Size},
		{"sha1", "SHA1", sha1.New, sha1.Size},
		{"sha512", "SHA512", sha512.New, sha512.Size},
	} {
		came := slices.ContainsFunc(s.readings, func(r reading) bool { return len(r.sum) == other.size })
		if came && other.name != s.v.layout.digest.algorithm {
			sentence := "by HMAC-" + other.shown + " in place of " + s.v.layout.digest.shownAlgorithm()
			all = append(all, variant{sentence, func(a *attempt) { a.hash = other.hash }})
		}
	}
	return all
}

// plain looks for a digest that is no HMAC.
func (s *search) plain() string {
	body := s.c.body
	if sum := sha256.Sum256(body); s.came(sum[:]) {
		return "the signature is the plain SHA-256 of the body, without the secret, so that anybody can make it"
	}
	for _, secret := range s.v.secrets {
		text := []byte(secret.Reveal())
		first, last := sha256.Sum256(slices.Concat(text, body)), sha256.Sum256(slices.Concat(body, text))
		if s.came(first[:]) || s.came(last[:]) {
			return "the signature is the plain SHA-256 of the secret and the body: it must be their HMAC"
		}
	}
	return ""
}

// bodies are other ways to write the body.
func (s *search) bodies() []variant {
	body := s.c.body
	var all []variant
	seen := map[string]bool{string(body): true}
	add := func(sentence string, other []byte) {
		if !seen[string(other)] {
			seen[string(other)] = true
			all = append(all, variant{sentence, func(a *attempt) { a.body = other }})
		}
	}
	const exact = ": the bytes that are signed must be those that are sent"
	if s.m.Member != nil {
		add("the body with the member signature in it: it must be cut out first", s.m.Body)
		add("the body without the member signature: with a signature in a header, the body is signed as it is", s.m.Unsigned)
	}
	add("the body without the newline at its end"+exact, bytes.TrimRight(body, "\r\n"))
	add("the body with a newline at its end, which was not sent"+exact, append(bytes.Clone(body), '\n'))
	add("the body with the line ends LF, and they came as CRLF"+exact, bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
	add("the body with the line ends CRLF, and they came as LF"+exact, bytes.ReplaceAll(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")))
	add("the body without the white space around it"+exact, bytes.TrimSpace(body))
	add("an empty body: the code that signs has read the body already, or does not get it", nil)
	bom := []byte("\ufeff")
	add("the body without the byte order mark at its beginning"+exact, bytes.TrimPrefix(body, bom))
	if data := s.json.Member("data"); data != nil {
		add("the member data only: the whole body is signed", data)
	}
	for sentence, other := range s.json.All() {
		add("the body as "+sentence+", and it came otherwise"+exact, other)
	}
	return all
}
