package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Check returns nil if the body is one JSON value of any kind, as strict and as
// lenient as [Object] is, and not nested deeper than [MaxDepth].
func Check(body []byte) error {
	if err := checkText(body); err != nil {
		return err
	}
	d := newDecoder(body)
	value, err := d.ReadValue()
	if err != nil {
		return describe(err)
	}
	if tooDeep(value) {
		return fmt.Errorf("it is nested deeper than %d", MaxDepth)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

// ErrTwice says that a name which was asked for stands twice.
var ErrTwice = errors.New("stands twice")

// Find returns the value that the names lead to: that of one of the members, and
// on from there through objects; nil if there is none. Of a name that stands
// twice it returns [ErrTwice], since readers differ on which of them counts.
func Find(members []Member, names ...string) (jsontext.Value, error) {
	var found jsontext.Value
	for _, m := range members {
		switch {
		case m.Name != names[0]:
		case found != nil:
			return nil, fmt.Errorf("%s %w", m.Name, ErrTwice)
		default:
			found = m.Value
		}
	}
	if len(names) == 1 {
		return found, nil
	}
	if found.Kind() != '{' {
		return nil, nil
	}
	below, err := Object(found, names[1])
	if err != nil {
		return nil, err
	}
	return Find(below, names[1:]...)
}

// checkText refuses what is no JSON text in UTF-8, whatever stands in it.
func checkText(body []byte) error {
	if bytes.HasPrefix(body, []byte("\ufeff")) {
		return errors.New("it begins with a byte order mark")
	}
	if !utf8.Valid(body) {
		return errors.New("it is not UTF-8")
	}
	return nil
}

func newDecoder(body []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}
