// Package query reads the one grammar in which people select events and
// deliveries: on the filter line of the dashboard, behind a command, and as the
// parameter q of the admin API.
//
//	sub:acme-* status:dead since:2h timeout
//
// A query consists of terms between spaces, all of which must hold. A term is a
// key and a value around a colon, the id of an event or a delivery, or text to
// be looked for; several pieces of text are one phrase. Quotes keep spaces
// together, and make text of what looks like a key.
package query

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// A Query is what was read. An empty field was not given.
type Query struct {
	// Subscriber is an id, or a name with * for any part.
	Subscriber string
	// Type is a pattern of event types.
	Type string
	// Source and Client are names.
	Source, Client string
	// Status is a state of deliveries, or "retrying".
	Status string
	// Outcome is that of the last attempt.
	Outcome string
	// Code is an HTTP status such as 503, or a class such as 5xx.
	Code string
	// Since and Until are times, or durations that mean so long ago.
	Since, Until string
	// Event and Delivery are ids.
	Event, Delivery string
	// Text is to be looked for.
	Text string
}

// keys are the names of the fields, with the ones that they also go by.
var keys = []struct {
	names []string
	field func(*Query) *string
}{
	{[]string{"sub", "subscriber"}, func(q *Query) *string { return &q.Subscriber }},
	{[]string{"type", "event", "event_type"}, func(q *Query) *string { return &q.Type }},
	{[]string{"source"}, func(q *Query) *string { return &q.Source }},
	{[]string{"client", "client_id"}, func(q *Query) *string { return &q.Client }},
	{[]string{"status", "state"}, func(q *Query) *string { return &q.Status }},
	{[]string{"outcome"}, func(q *Query) *string { return &q.Outcome }},
	{[]string{"code"}, func(q *Query) *string { return &q.Code }},
	{[]string{"since"}, func(q *Query) *string { return &q.Since }},
	{[]string{"until"}, func(q *Query) *string { return &q.Until }},
}

const (
	eventPrefix    = "evt_"
	deliveryPrefix = "dlv_"
)

// Parse reads a query. Its error says which term is wrong. What a value means
// is for whoever uses it: here, any is good that is not empty.
func Parse(s string) (Query, error) {
	var q Query
	var text []string
	for rest := strings.TrimSpace(s); rest != ""; rest = strings.TrimLeftFunc(rest, unicode.IsSpace) {
		if rest[0] == '"' {
			var quoted string
			var err error
			if quoted, rest, err = unquote(rest); err != nil {
				return Query{}, err
			}
			if quoted = strings.TrimSpace(quoted); quoted != "" {
				text = append(text, quoted)
			}
			continue
		}
		name, after := key(rest)
		if name == "" {
			var word string
			word, rest = cut(rest)
			known, err := q.take(word)
			if err != nil {
				return Query{}, err
			}
			if !known {
				text = append(text, word)
			}
			continue
		}
		var value string
		var err error
		if strings.HasPrefix(after, `"`) {
			value, rest, err = unquote(after)
		} else {
			value, rest = cut(after)
		}
		if err == nil {
			err = q.set(name, value)
		}
		if err != nil {
			return Query{}, err
		}
	}
	q.Text = strings.Join(text, " ")
	return q, nil
}

// key returns the key that s begins with, and what stands behind its colon;
// an empty one if s begins with something else.
func key(s string) (name, after string) {
	name, after, found := strings.Cut(s, ":")
	if !found || name == "" || strings.HasPrefix(after, "//") {
		return "", s // nothing, or a URL
	}
	for _, r := range name {
		if r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r)) {
			return "", s
		}
	}
	return strings.ToLower(name), after
}

// cut takes the word that s begins with, which may be empty.
func cut(s string) (word, rest string) {
	if end := strings.IndexFunc(s, unicode.IsSpace); end >= 0 {
		return s[:end], s[end:]
	}
	return s, ""
}

// unquote takes the quoted text that s begins with. In it, a backslash stands
// before a quote or a backslash that means itself.
func unquote(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("a quote is not closed")
}

// take takes a word that is an id.
func (q *Query) take(word string) (known bool, err error) {
	switch {
	case strings.HasPrefix(word, eventPrefix):
		return true, assign(&q.Event, "the event", word)
	case strings.HasPrefix(word, deliveryPrefix):
		return true, assign(&q.Delivery, "the delivery", word)
	}
	return false, nil
}

func (q *Query) set(name, value string) error {
	if value == "" {
		return fmt.Errorf("%s: has no value", name)
	}
	if name == "event" && strings.HasPrefix(value, eventPrefix) {
		return assign(&q.Event, name, value)
	}
	var known []string
	for _, k := range keys {
		for _, n := range k.names {
			if n == name {
				return assign(k.field(q), name, value)
			}
		}
		known = append(known, k.names[0])
	}
	return fmt.Errorf("there is no key %q; the keys are %s, and quotes make it text", name, strings.Join(known, ", "))
}

// assign gives a field its value. What is said twice must be the same.
func assign(field *string, name, value string) error {
	if *field != "" && *field != value {
		return fmt.Errorf("%s is given twice", name)
	}
	*field = value
	return nil
}

// String writes the query so that it is read as the same again.
func (q Query) String() string {
	var terms []string
	for _, k := range keys {
		if value := *k.field(&q); value != "" {
			terms = append(terms, k.names[0]+":"+quote(value))
		}
	}
	for _, id := range []string{q.Event, q.Delivery} {
		if id != "" {
			terms = append(terms, id)
		}
	}
	if q.Text != "" {
		terms = append(terms, `"`+escape(q.Text)+`"`)
	}
	return strings.Join(terms, " ")
}

// quote writes a value in quotes where it could be read as something else.
func quote(value string) string {
	if strings.HasPrefix(value, `"`) || strings.ContainsFunc(value, unicode.IsSpace) || strings.HasPrefix(value, "//") {
		return `"` + escape(value) + `"`
	}
	return value
}

func escape(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }
