package admin

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/strictjson"
	"github.com/pintle/pintle/app/webhook"
)

// decode reads a JSON object into the struct that target points to. It returns
// the faults of its members by name: a wrong type, or a name that the struct
// does not have. The error is a [*problem] with the body as a whole.
//
// Names are compared exactly. A null leaves a field as it is; where the field
// is a pointer to nothing, it is set to a zero value instead, so that a change
// can say "the default again". A truth value cannot be null, as nobody could tell
// which of the two that is, nor can a list, which could be empty or not given.
// What stands in a field of raw JSON is kept byte for byte.
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
	definite := field.Kind() == reflect.Bool || field.Kind() == reflect.Slice
	if field.Kind() == reflect.Pointer {
		if field.IsNil() {
			field.Set(reflect.New(field.Type().Elem()))
		}
		field = field.Elem()
		definite = field.Kind() == reflect.Bool
	}
	if null && !definite {
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
	switch t {
	case reflect.TypeFor[api.Duration]():
		return "a duration such as 5s or 2m, or whole seconds"
	case reflect.TypeFor[api.Ordered]():
		return "true, false or a jq path such as .data.order_id"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list, each item of it " + expected(t.Elem())
	case reflect.Map:
		return "an object, each value of it " + expected(t.Elem()) + " and no name twice"
	}
	return "a string"
}

// parseMembers reads one JSON object in which no name stands twice.
func parseMembers(body []byte) (map[string]jsontext.Value, error) {
	list, err := strictjson.Object(body)
	if err != nil {
		return nil, err
	}
	members := make(map[string]jsontext.Value, len(list))
	for _, m := range list {
		if _, twice := members[m.Name]; twice {
			return nil, fmt.Errorf("%q stands twice", m.Name)
		}
		members[m.Name] = m.Value
	}
	return members, nil
}
