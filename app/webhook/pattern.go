package webhook

import (
	"fmt"
	"strings"
)

const (
	maxTypeLength    = 128
	maxPatternLength = 128
)

// ValidType reports whether s can be an event's type: 1 to 128 of the
// characters A–Z a–z 0–9 . _ - : /. None of them needs escaping in JSON or in
// an HTTP header.
func ValidType(s string) bool {
	if s == "" || len(s) > maxTypeLength {
		return false
	}
	for i := range len(s) {
		if !typeByte(s[i]) {
			return false
		}
	}
	return true
}

func typeByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '_' || c == '-' || c == ':' || c == '/'
}

// A Pattern selects events by type. Types are read in segments between dots:
// an exact type selects itself, "order.*" any type with one segment after
// "order", "order.**" with one or more; "*" and "**" alone select everything.
type Pattern string

// Validate says what is wrong with the pattern, or returns nil. A wildcard
// stands for whole segments, and only at the end: "order.*", not "*.created".
func (p Pattern) Validate() error {
	s := string(p)
	switch {
	case s == "":
		return fmt.Errorf("a pattern is empty")
	case len(s) > maxPatternLength:
		return fmt.Errorf("%.20q… is longer than %d characters", s, maxPatternLength)
	case s == "*" || s == "**":
		return nil
	}
	stem := strings.TrimSuffix(strings.TrimSuffix(s, ".**"), ".*")
	if strings.Contains(stem, "*") {
		return fmt.Errorf("%q: a wildcard is the whole last segment, as in order.* or order.**", s)
	}
	if !ValidType(stem) {
		return fmt.Errorf("%q: only A–Z a–z 0–9 . _ - : / and a final .* or .** are allowed", s)
	}
	return nil
}

// Match reports whether the pattern selects the event type.
func (p Pattern) Match(eventType string) bool {
	s := string(p)
	if s == "*" || s == "**" {
		return true
	}
	if stem, ok := strings.CutSuffix(s, ".**"); ok {
		rest, ok := strings.CutPrefix(eventType, stem)
		return ok && len(rest) > 1 && rest[0] == '.'
	}
	if stem, ok := strings.CutSuffix(s, ".*"); ok {
		rest, ok := strings.CutPrefix(eventType, stem)
		return ok && len(rest) > 1 && rest[0] == '.' && strings.IndexByte(rest[1:], '.') < 0
	}
	return s == eventType
}
