package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxDepth bounds how deep a value is nested inside the envelope.
	maxDepth = 64
	// A timestamp from here on, in the year 5138, is plainly in milliseconds.
	firstMillis = 100_000_000_000
)

// An envelope is the body of the agent scheme, taken apart but not altered.
type envelope struct {
	event     string
	timestamp int64
	data      []byte // as it stands in the body
	id        string // the sender's own; empty if there is none
	// signature is the member of that name, and hasSignature whether there is
	// one. unsigned is then the body without it, which is what was signed.
	signature    string
	hasSignature bool
	unsigned     []byte
}

// parseEnvelope reads a body of the agent scheme. A fault is a [*rejection].
// The result points into the body.
func parseEnvelope(body []byte) (*envelope, error) {
	m, err := parseMembers(body)
	if err != nil {
		return nil, reject(invalidJSON, "the body is not one JSON object in UTF-8: %v", err)
	}
	e := &envelope{data: m.values["data"]}
	if e.event, err = text(m.values["event"]); err != nil || !webhook.ValidType(e.event) {
		return nil, reject(invalidEvent, "event must be a string of 1 to 128 of the characters A-Z a-z 0-9 . _ - : /")
	}
	if e.timestamp, err = wholeSeconds(m.values["timestamp"]); err != nil {
		return nil, reject(invalidTimestamp, "timestamp %v", err)
	}
	if e.data == nil {
		return nil, reject(invalidData, "data is missing")
	}
	if raw, ok := m.values["id"]; ok {
		if e.id, err = text(raw); err != nil || !webhook.ValidSenderID(e.id) {
			return nil, reject(invalidID, "id must be a string of 1 to 128 printable characters")
		}
	}
	if raw, ok := m.values["signature"]; ok {
		e.hasSignature = true
		e.signature, _ = text(raw) // one that is no string matches nothing
		e.unsigned = slices.Concat(body[:m.cutFrom], body[m.cutTo:])
	}
	return e, nil
}

// members are the known members of a JSON object.
type members struct {
	values map[string]jsontext.Value
	// cutFrom and cutTo bound the member "signature" together with what joins
	// it to the member before it, or, where it stands first, to the one after.
	cutFrom, cutTo int64
}

// parseMembers reads one JSON object. Names are compared as they are after
// unescaping; a known name that stands twice is a fault, and so is a value,
// known or not, that is nested too deep. Inside the values everything that JSON
// allows is left alone, duplicate names and unpaired surrogates included.
func parseMembers(body []byte) (*members, error) {
	if bytes.HasPrefix(body, []byte("\ufeff")) {
		return nil, errors.New("it begins with a byte order mark")
	}
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if d.PeekKind() != '{' {
		if _, err := d.ReadToken(); err != nil {
			return nil, describe(err)
		}
		return nil, errors.New("it is not an object")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, describe(err)
	}
	m := &members{values: make(map[string]jsontext.Value, 5)}
	first, cutNext := true, false
	var lastEnd int64 // where the member before ends
	for d.PeekKind() != '}' {
		quoted, err := d.ReadValue()
		if err != nil {
			return nil, describe(err)
		}
		start := d.InputOffset() - int64(len(quoted))
		name, err := text(quoted)
		if err != nil {
			return nil, describe(err)
		}
		if cutNext {
			m.cutTo, cutNext = start, false
		}
		value, err := d.ReadValue()
		if err != nil {
			return nil, describe(err)
		}
		if tooDeep(value) {
			return nil, fmt.Errorf("a value is nested deeper than %d", maxDepth)
		}
		end := d.InputOffset()
		switch name {
		case "event", "timestamp", "data", "id", "signature":
			if _, twice := m.values[name]; twice {
				return nil, fmt.Errorf("%s stands twice", name)
			}
			m.values[name] = body[end-int64(len(value)) : end : end]
		}
		if name == "signature" {
			m.cutFrom, m.cutTo = lastEnd, end
			if first {
				m.cutFrom, cutNext = start, true
			}
		}
		first, lastEnd = false, end
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, describe(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return m, nil
}

// describe shortens what the decoder says: its place is enough, and what
// stands there is the sender's.
func describe(err error) error {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return fmt.Errorf("syntax error at byte %d", syntactic.ByteOffset)
	}
	return errors.New("it ends too early")
}

// text reads a JSON string.
func text(raw jsontext.Value) (string, error) {
	if raw.Kind() != '"' {
		return "", errors.New("not a string")
	}
	// The fast path: a string without escapes stands for itself.
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), nil
	}
	unquoted, err := jsontext.AppendUnquote(nil, raw)
	return string(unquoted), err
}

// wholeSeconds reads a timestamp, which never passes through a float.
func wholeSeconds(raw jsontext.Value) (int64, error) {
	if raw == nil {
		return 0, errors.New("is missing")
	}
	seconds, err := strconv.ParseInt(string(raw), 10, 64)
	switch {
	case err != nil || seconds <= 0:
		return 0, errors.New("must be a whole number of Unix seconds")
	case seconds >= firstMillis:
		return 0, errors.New("must be in seconds; this one looks like milliseconds")
	}
	return seconds, nil
}

// tooDeep reports whether a valid JSON value is nested deeper than maxDepth.
func tooDeep(value jsontext.Value) bool {
	depth := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			for i++; value[i] != '"'; i++ {
				if value[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if depth++; depth > maxDepth {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}
