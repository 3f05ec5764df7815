package admin

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// maxDepth bounds how deep a member's value is nested, as at the inbound
// endpoints.
const maxDepth = 64

// decode reads a JSON object into the struct that target points to. It returns
// the faults of its members by name: a wrong type, or a name that the struct
// does not have. The error is a [*problem] with the body as a whole.
//
// Names are compared exactly. A null leaves a field as it is; where the field
// is a pointer, it is set to a zero value instead, so that a change can say
// "the default again". A truth value cannot be null, as nobody could tell which
// of the two that is. What stands in a field of raw JSON is kept byte for byte.
func decode(raw []byte, target any) (webhook.FieldsError, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, badRequest("empty_body", "The request has no body.")
	}
	members, err := parseMembers(raw)
	if err != nil {
		return nil, badRequest("invalid_json", fmt.Sprintf("The body is not one JSON object in UTF-8: %v.", err))
	}
	faults := webhook.FieldsError{}
	fill(members, reflect.ValueOf(target).Elem(), "", faults)
	return faults, nil
}

// fill sets the fields of the struct from members of their names.
func fill(members map[string]jsontext.Value, target reflect.Value, prefix string, faults webhook.FieldsError) {
	for _, field := range reflect.VisibleFields(target.Type()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		value, ok := members[name]
		if name == "" || !ok {
			continue
		}
		delete(members, name)
		set(value, target.FieldByIndex(field.Index), prefix+name, faults)
	}
	for name := range members {
		faults[prefix+name] = "there is no such field"
	}
}

// set gives a field the value.
func set(value jsontext.Value, field reflect.Value, name string, faults webhook.FieldsError) {
	if raw, ok := field.Addr().Interface().(*stdjson.RawMessage); ok {
		*raw = stdjson.RawMessage(value.Clone())
		return
	}
	null := value.Kind() == 'n'
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	if null && field.Kind() != reflect.Bool {
		return
	}
	if field.Kind() == reflect.Struct {
		members, err := parseMembers(value)
		if err != nil {
			faults[name] = "must be an object: " + err.Error()
			return
		}
		fill(members, field, name+".", faults)
		return
	}
	if err := json.Unmarshal(value, field.Addr().Interface()); err != nil || null {
		field.SetZero()
		faults[name] = "must be " + expected(field.Type())
	}
}

// expected names the values that a field takes.
func expected(t reflect.Type) string {
	if t == reflect.TypeFor[api.Duration]() {
		return "a duration such as 5s or 2m, or whole seconds"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list, each item of it " + expected(t.Elem())
	case reflect.Map:
		return "an object, each value of it " + expected(t.Elem()) + " and no name twice"
	}
	return "a string"
}

// parseMembers reads one JSON object. Inside the values everything that JSON
// allows is left alone, duplicate names and unpaired surrogates included: what
// they mean is for whoever reads the value. The values point into the body.
func parseMembers(body []byte) (map[string]jsontext.Value, error) {
	if bytes.HasPrefix(body, []byte("\ufeff")) {
		return nil, errors.New("it begins with a byte order mark")
	}
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	begin, err := d.ReadToken()
	if err != nil {
		return nil, describe(err)
	}
	if begin.Kind() != '{' {
		return nil, errors.New("it is not an object")
	}
	members := map[string]jsontext.Value{}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return nil, describe(err)
		}
		name := token.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, describe(err)
		}
		if tooDeep(value) {
			return nil, fmt.Errorf("a value is nested deeper than %d", maxDepth)
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%q stands twice", name)
		}
		end := d.InputOffset()
		members[name] = body[end-int64(len(value)) : end : end]
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, describe(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return members, nil
}

// describe shortens what the decoder says to the place.
func describe(err error) error {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return fmt.Errorf("there is a syntax error at byte %d", syntactic.ByteOffset)
	}
	return errors.New("it ends too early")
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
