// Package strictjson takes one JSON object apart without altering it: the names
// and values of its members, and where each stands, down to the byte.
//
// It is strict about what is around the values and lenient inside them. The
// body must be one object in UTF-8, without a byte order mark and with nothing
// behind it, and no value may be nested deeper than [MaxDepth]. Inside a value
// everything that JSON allows is left alone, duplicate names and unpaired
// surrogates included: what they mean is for whoever reads the value.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep the value of a member may be nested.
const MaxDepth = 64

// A Member is a name with its value.
type Member struct {
	// Name is the name after unescaping; one that cannot be unescaped, as it
	// stands in the body.
	Name string
	// Value is the value as it stands in the body, which it points into.
	Value jsontext.Value
	// Start is where the quoted name begins in the body, and End is where the
	// value ends, in bytes.
	Start, End int
	// from and to are what is cut out with it; see [Without].
	from, to int
}

// Object returns the members of the object in their order: all of them, or, if
// names are given, those called so, and of each name the first two. A member
// takes many times the memory of its text, so that who reads a stranger's body
// asks for names. Whether a name may stand twice is for the caller to say.
func Object(body []byte, names ...string) ([]Member, error) {
	if err := checkText(body); err != nil {
		return nil, err
	}
	d := newDecoder(body)
	begin, err := d.ReadToken()
	if err != nil {
		return nil, describe(err)
	}
	if begin.Kind() != '{' {
		return nil, errors.New("it is not an object")
	}
	members := make([]Member, 0, 5)
	end := 0          // of the member before
	var first *Member // as long as no other has come
	for d.PeekKind() != '}' {
		quoted, err := d.ReadValue()
		if err != nil {
			return nil, describe(err)
		}
		m := Member{Start: int(d.InputOffset()) - len(quoted)}
		if first != nil {
			first.to, first = m.Start, nil
		}
		name, wanted := wantedName(quoted, names)
		value, err := d.ReadValue()
		if err != nil {
			return nil, describe(err)
		}
		if tooDeep(value) {
			return nil, fmt.Errorf("a value is nested deeper than %d", MaxDepth)
		}
		m.End = int(d.InputOffset())
		isFirst := end == 0
		m.from, m.to, end = end, m.End, m.End
		if isFirst {
			m.from = m.Start
		}
		if !wanted || len(names) > 0 && count(members, name) == 2 {
			continue
		}
		m.Name, m.Value = name, body[m.End-len(value):m.End:m.End]
		members = append(members, m)
		if isFirst {
			first = &members[0]
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, describe(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return members, nil
}

// wantedName returns the name, and whether it is one of the names; all are if
// there are none.
func wantedName(quoted jsontext.Value, names []string) (name string, wanted bool) {
	if inner := quoted[1 : len(quoted)-1]; len(names) > 0 && bytes.IndexByte(inner, '\\') < 0 {
		for _, name := range names {
			if string(inner) == name {
				return name, true
			}
		}
		return "", false
	}
	name, err := String(quoted)
	if err != nil {
		// Half a surrogate pair stands for no character, and so in no name
		// that anybody asks for.
		name = string(quoted)
	}
	return name, len(names) == 0 || slices.Contains(names, name)
}

// count says how many members are called so.
func count(members []Member, name string) (n int) {
	for _, m := range members {
		if m.Name == name {
			n++
		}
	}
	return n
}

// Without returns the body with a member of it cut out, together with what
// joins it to the member before it, or, where it stands first, to the one after
// it.
func Without(body []byte, m Member) []byte { return slices.Concat(body[:m.from], body[m.to:]) }

// String reads a JSON string. The value nil, of a member that is not there, is
// none.
func String(value jsontext.Value) (string, error) {
	if value.Kind() != '"' {
		return "", errors.New("not a string")
	}
	// Most strings have no escapes and stand for themselves.
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), nil
	}
	unquoted, err := jsontext.AppendUnquote(nil, value)
	return string(unquoted), err
}

// describe shortens what the decoder says: its place is enough, and what
// stands there is the sender's.
func describe(err error) error {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return fmt.Errorf("there is a syntax error at byte %d", syntactic.ByteOffset)
	}
	return errors.New("it ends too early")
}

// tooDeep reports whether a valid JSON value is nested deeper than MaxDepth.
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
			if depth++; depth > MaxDepth {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}
