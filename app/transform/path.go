package transform

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxKey bounds a key that is the value itself, in bytes.
	maxKey = 100
	// nothing is the key where there is no value, and of null.
	nothing = "null"
)

// A Path is a jq path without anything to compute, such as .data.order_id or
// .data.items[0]["a b"]. The zero value is the whole.
type Path struct{ steps []step }

// A step goes down to the member of the name, or to the element of the index,
// counted from the end where it is negative.
type step struct {
	name  string
	array bool
	index int
}

// ParsePath reads a path: . alone, or steps one after the other, the first of
// which begins with a dot:
//
//	.name  ."any name"  ["any name"]  [0]  [-1]
//
// A dot may stand before a bracket too. Each step may be followed by ?, which
// changes nothing here. It means what jq means by it, save that what jq calls an
// error, such as an element of a string, is nothing to [Path.Key]. The error is a [*SyntaxError].
func ParsePath(source string) (Path, error) {
	p := pathParser{source: source}
	path, reason := p.path()
	if reason != "" {
		return Path{}, faultAt(source, p.at, reason)
	}
	return path, nil
}

// A pathParser is at a byte of the source. Its methods return what is wrong
// there; empty: nothing.
type pathParser struct {
	source string
	at     int
}

func (p *pathParser) path() (path Path, reason string) {
	p.space()
	if !p.take('.') {
		return path, "a path begins with a dot"
	}
	for first := true; ; first = false {
		p.space()
		dot := first || p.take('.')
		if dot && !first {
			p.space()
		}
		var s step
		switch c := p.peek(); {
		case c == '[':
			s, reason = p.bracket()
		case dot && c == '"':
			s.name, reason = p.quoted()
		case dot && nameByte(c) && !digit(c):
			// jq lets no space stand between the dot and the name.
			if p.source[p.at-1] != '.' {
				return path, "a space before the name"
			}
			s.name = p.name()
		case c == 0 && first && p.at == len(p.source):
			return path, ""
		case dot:
			return path, "a name, a string or [ belongs here"
		case p.at == len(p.source):
			return path, ""
		default:
			return path, "only .name, [\"name\"] and [number] make a path"
		}
		if reason != "" {
			return path, reason
		}
		path.steps = append(path.steps, s)
		for p.space(); p.take('?'); p.space() {
		}
	}
}

func (p *pathParser) bracket() (s step, reason string) {
	p.at++
	p.space()
	if p.peek() == '"' {
		s.name, reason = p.quoted()
	} else {
		s.array = true
		s.index, reason = p.number()
	}
	if reason != "" {
		return s, reason
	}
	if p.space(); !p.take(']') {
		return s, "] belongs here"
	}
	return s, ""
}

func (p *pathParser) quoted() (name, reason string) {
	start := p.at
	for i := start + 1; i < len(p.source); i++ {
		switch p.source[i] {
		case '\\':
			if i++; i < len(p.source) && p.source[i] == '(' {
				p.at = i - 1
				return "", "a path computes nothing"
			}
		case '"':
			unquoted, err := jsontext.AppendUnquote(nil, p.source[start:i+1])
			if err != nil {
				return "", "not a string of JSON"
			}
			p.at = i + 1
			return string(unquoted), ""
		}
	}
	return "", "the string has no end"
}

func (p *pathParser) number() (n int, reason string) {
	start := p.at
	p.take('-')
	digits := p.at
	for digit(p.peek()) {
		p.at++
	}
	n, err := strconv.Atoi(p.source[start:p.at])
	if p.at == digits || err != nil {
		p.at = start
		return 0, "a string or a whole number belongs here"
	}
	return n, ""
}

func (p *pathParser) name() string {
	start := p.at
	for nameByte(p.peek()) {
		p.at++
	}
	return p.source[start:p.at]
}

func (p *pathParser) space() {
	for p.at < len(p.source) && strings.IndexByte(" \t\r\n", p.source[p.at]) >= 0 {
		p.at++
	}
}

// peek returns the next byte; zero: there is none.
func (p *pathParser) peek() byte {
	if p.at == len(p.source) {
		return 0
	}
	return p.source[p.at]
}

func (p *pathParser) take(c byte) bool {
	if p.at < len(p.source) && p.source[p.at] == c {
		p.at++
		return true
	}
	return false
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func nameByte(c byte) bool { return c == '_' || digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// Key returns the value at the path in a body, as a key that is equal where the
// values are: its JSON where that takes up to 100 bytes, or else sha256: and the
// digest of it in hex. Where there is nothing at the path, or no JSON, the key is
// null. A key is never empty.
//
// The JSON is the canonical form of RFC 8785, in which neither spaces, nor the
// order of members, nor the way in which a string is escaped make a difference; of
// a name that stands twice the last value counts.
// Integers stay as they are written, however large; other numbers are taken for
// floats of 64 bits, so that 1.0 and 1e0 are 1.
func (p Path) Key(body []byte) string {
	value := jsontext.Value(body)
	for _, s := range p.steps {
		if value = s.down(value); value == nil {
			return nothing
		}
	}
	value, err := canonical(value)
	if err != nil || len(value) == 0 {
		return nothing
	}
	if len(value) <= maxKey {
		return string(value)
	}
	digest := sha256.Sum256(value)
	return "sha256:" + hex.EncodeToString(digest[:])
}

// canonical returns the canonical form of a value.
func canonical(value jsontext.Value) (jsontext.Value, error) {
	form := value.Clone() // since it works in place
	err := form.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.AllowInvalidUTF8(true))
	if !errors.Is(err, jsontext.ErrDuplicateName) {
		return form, err
	}
	single, err := decode(value)
	if err != nil {
		return nil, err
	}
	if form, err = json.Marshal(single); err != nil {
		return nil, err
	}
	return form, form.Canonicalize(jsontext.CanonicalizeRawInts(false))
}

// down returns the member or the element of a value; nil: there is none.
func (s step) down(value jsontext.Value) jsontext.Value {
	d := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	begin, err := d.ReadToken()
	switch {
	case err != nil:
		return nil
	case begin.Kind() == '{' && !s.array:
		return s.member(d)
	case begin.Kind() == '[' && s.array:
		return s.element(d)
	}
	return nil
}

// member reads the rest of an object. Of a name that stands twice the last value
// counts, as it does for expressions.
func (s step) member(d *jsontext.Decoder) (found jsontext.Value) {
	var name []byte
	for d.PeekKind() == '"' {
		quoted, err := d.ReadValue()
		if err != nil {
			return nil
		}
		// What cannot be unquoted is taken as far as it can be.
		name, _ = jsontext.AppendUnquote(name[:0], quoted)
		wanted := string(name) == s.name
		value, err := d.ReadValue()
		if err != nil {
			return nil
		}
		if wanted {
			found = append(found[:0], value...)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil
	}
	return found
}

// element reads the rest of an array.
func (s step) element(d *jsontext.Decoder) (found jsontext.Value) {
	var elements []jsontext.Value // as many of the last as may be asked for
	for i := 0; d.PeekKind() != ']'; i++ {
		value, err := d.ReadValue()
		if err != nil {
			return nil
		}
		switch {
		case i == s.index:
			return append(found, value...)
		case s.index < 0:
			elements = append(elements, bytes.Clone(value))
			if len(elements) > -s.index {
				elements = elements[1:]
			}
		}
	}
	if s.index < 0 && len(elements) == -s.index {
		return elements[0]
	}
	return nil
}
