package signature

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// A reading is a signature that came, read as kindly as can be.
type reading struct {
	// text is the digest as it is written, and sum what it stands for; nil if
	// that cannot be told.
	text string
	sum  []byte
	// fault is what is wrong with how it is written; empty if nothing is.
	fault string
}

// readings reads all the signatures that came. The fault is what is wrong with
// the list; empty if nothing is.
func (v *Verifier) readings(c *claim) (readings []reading, fault string) {
	l := v.layout
	list, separator := c.signature, l.separator
	if separator == " " && !strings.Contains(list, " ") && strings.Count(list, l.digest.prefix) > 1 {
		fault = c.place + " separates its signatures by something else than a space"
		list = strings.ReplaceAll(list, ","+l.digest.prefix, " "+l.digest.prefix)
	}
	if separator == "," && strings.Contains(list, ", ") {
		fault = c.place + " has a space behind a comma, which must not be there"
		list = strings.ReplaceAll(list, ", ", ",")
	}
	for count := 0; count < maxSignatures; {
		item, rest := next(list, separator)
		isField := l.field != "" && strings.HasPrefix(item, l.field)
		isAsymmetric := separator == " " && strings.HasPrefix(item, ed25519Prefix)
		if (item != "" || separator == "") && !isField && !isAsymmetric {
			readings = append(readings, l.digest.reading(c.place, item))
			count++
		}
		if list = rest; list == "" {
			break
		}
	}
	return readings, fault
}

// faults are those of the readings, unless one of them has none.
func faults(readings []reading) []string {
	var all []string
	for _, r := range readings {
		if r.fault == "" {
			return nil
		}
		all = append(all, r.fault)
	}
	return all
}

// reading reads one signature.
func (d *digest) reading(place, text string) reading {
	var wrong []string
	if trimmed := strings.TrimSpace(text); trimmed != text {
		text = trimmed
		wrong = append(wrong, "has white space around the signature")
	}
	if trimmed := strings.Trim(text, `"'`); trimmed != text {
		text = trimmed
		wrong = append(wrong, "has quotes around the signature")
	}
	text, fault := d.cutPrefix(text)
	if fault != "" {
		wrong = append(wrong, fault)
	}
	r := reading{text: text}
	r.sum, fault = d.decode(text)
	if fault != "" {
		wrong = append(wrong, fault)
	}
	if len(wrong) > 0 {
		r.fault = place + " " + strings.Join(wrong, " and ")
	}
	return r
}

// cutPrefix takes a prefix off, be it the right one or not.
func (d *digest) cutPrefix(text string) (rest, fault string) {
	foreign := foreignPrefix(text)
	if rest, ok := strings.CutPrefix(text, d.prefix); ok && (d.prefix != "" || foreign == "") {
		return rest, ""
	}
	if n := len(d.prefix); n > 0 && len(text) >= n && strings.EqualFold(text[:n], d.prefix) {
		return text[n:], fmt.Sprintf("begins with %s, which must be written %s", text[:n], d.prefix)
	}
	switch {
	case foreign != "" && d.prefix == "":
		return text[len(foreign):], fmt.Sprintf("begins with %s, which must not be there", foreign)
	case foreign != "":
		return text[len(foreign):], fmt.Sprintf("begins with %s in place of %s", foreign, d.prefix)
	}
	return text, fmt.Sprintf("lacks %s before the signature", d.prefix)
}

// foreignPrefix returns the prefix of another scheme that the text begins with.
// Only known ones are told apart, since anything else may be a secret.
func foreignPrefix(text string) string {
	end := strings.IndexAny(text, "=,: ")
	if end < 0 {
		return ""
	}
	switch strings.ToLower(text[:end]) {
	case "sha1", "sha256", "sha512", "sha-1", "sha-256", "sha-512", "md5", "hmac", "hmac-sha256", "hmac-sha1", "hmac-sha512",
		"v0", "v1", "v1a", "v2", "s", "sig", "signature", "bearer", "basic", "token", "digest":
		return text[:end+1]
	}
	return ""
}

// decode reads a digest in any encoding.
func (d *digest) decode(text string) (sum []byte, fault string) {
	if text == "" {
		return nil, "is empty"
	}
	if sum, err := hex.DecodeString(text); err == nil && (!d.base64 || len(sum) >= d.size/2) {
		switch {
		case d.base64:
			return sum, "is written in hex digits where base64 is expected"
		case len(sum) == d.size:
			return sum, ""
		}
		return sum, fmt.Sprintf("has %d hex digits in place of %d%s", len(text), d.length(), madeBy(len(sum)))
	}
	for _, encoding := range []struct {
		base64 *base64.Encoding
		fault  string
	}{
		{base64.StdEncoding, ""},
		{base64.RawStdEncoding, " without padding"},
		{base64.URLEncoding, " in the URL alphabet"},
		{base64.RawURLEncoding, " in the URL alphabet and without padding"},
	} {
		sum, err := encoding.base64.DecodeString(text)
		if err != nil {
			continue
		}
		if inner, err := hex.DecodeString(string(sum)); err == nil && len(inner) >= d.size/2 {
			return inner, "is the base64 of hex digits: the digest was encoded twice"
		}
		switch {
		case !d.base64 && len(sum) == d.size:
			return sum, "is written in base64 where hex digits are expected"
		case d.base64 && len(sum) == d.size && encoding.fault != "":
			return sum, "is written in base64" + encoding.fault
		case d.base64 && len(sum) == d.size:
			return sum, ""
		case d.base64:
			return sum, fmt.Sprintf("has %d characters of base64 in place of %d%s", len(text), d.length(), madeBy(len(sum)))
		}
		break
	}
	if d.base64 {
		return nil, fmt.Sprintf("is not %d characters of base64", d.length())
	}
	return nil, fmt.Sprintf("is not %d hex digits", d.length())
}

// madeBy names the algorithm whose digests are so long.
func madeBy(size int) string {
	switch size {
	case 16:
		return ", as MD5 makes"
	case 20:
		return ", as SHA-1 makes"
	case 32:
		return ", as SHA-256 makes"
	case 64:
		return ", as SHA-512 makes"
	}
	return ": it was cut or copied wrongly"
}
