// Package query says which events, deliveries and rejections a request means.
// [Parse] reads the one grammar in which people select them: on the filter line
// of the dashboard, behind a command, and as the parameter q of the admin API.
// [Events], [Deliveries], [DeadLetters] and [Rejections] make filters of it and
// of the other parameters.
//
//	sub:acme-* status:dead since:2h timeout
//
// A query consists of terms between spaces, all of which must hold. A term is a
// key and a value around a colon, the id of an event, a delivery or a rejection,
// or text to be looked for; several pieces of text are one phrase. Quotes keep
// spaces together, and make text of what looks like a key. A colon behind what
// cannot be a key, as in an address or a URL, is part of the text.
package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/pintle/pintle/app/spelling"
	"github.com/pintle/pintle/app/webhook"
)

// A Query is what was read. An empty field was not given.
type Query struct {
	// Subscriber is an id, or a name with * for any part.
	Subscriber string
	// Type is a pattern of event types.
	Type string
	// Source and Client are names.
	Source, Client string
	// Status is a state of deliveries, or "retrying"; of rejections an HTTP status
	// such as 401, or a class such as 4xx.
	Status string
	// Outcome is that of the last attempt.
	Outcome string
	// Code is an HTTP status such as 503, or a class such as 5xx; of rejections an
	// error such as invalid_signature.
	Code string
	// Fingerprint tells dead letters of one cause from others.
	Fingerprint string
	// IP is an address, or a range of them.
	IP string
	// Since and Until are times, or durations that mean so long ago.
	Since, Until string
	// Event, Delivery and Rejection are ids.
	Event, Delivery, Rejection string
	// Text is to be looked for.
	Text string
}

// A key is a field of a query under the names that it goes by, the first of them
// its own.
type key struct {
	names []string
	field *string
}

func (q *Query) keys() []key {
	return []key{
		{[]string{"sub", "subscriber"}, &q.Subscriber},
		{[]string{"type", "event", "event_type"}, &q.Type},
		{[]string{"source"}, &q.Source},
		{[]string{"client", "client_id"}, &q.Client},
		{[]string{"status", "state"}, &q.Status},
		{[]string{"outcome"}, &q.Outcome},
		{[]string{"code"}, &q.Code},
		{[]string{"fingerprint"}, &q.Fingerprint},
		{[]string{"ip", "client_ip"}, &q.IP},
		{[]string{"since"}, &q.Since},
		{[]string{"until"}, &q.Until},
	}
}

// maxKey is more than the longest key has, with room for mistakes.
const maxKey = 32

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
		name, after := cutKey(rest)
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

// cutKey returns the key that s begins with, and what stands behind its colon; an
// empty one if s begins with something else. Long words are no keys, whatever
// they consist of.
func cutKey(s string) (name, after string) {
	name, after, found := strings.Cut(s, ":")
	if !found || name == "" || len(name) > maxKey || strings.HasPrefix(after, "//") {
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
	case strings.HasPrefix(word, webhook.EventPrefix):
		return true, assign(&q.Event, "the event", word)
	case strings.HasPrefix(word, webhook.DeliveryPrefix):
		return true, assign(&q.Delivery, "the delivery", word)
	case strings.HasPrefix(word, webhook.RejectionPrefix):
		return true, assign(&q.Rejection, "the rejection", word)
	}
	return false, nil
}

func (q *Query) set(name, value string) error {
	if value == "" {
		return fmt.Errorf("%s: has no value", name)
	}
	if name == "event" && strings.HasPrefix(value, webhook.EventPrefix) {
		return assign(&q.Event, name, value)
	}
	var own, all []string
	for _, k := range q.keys() {
		if slices.Contains(k.names, name) {
			return assign(k.field, name, value)
		}
		own, all = append(own, k.names[0]), append(all, k.names...)
	}
	return fmt.Errorf("there is no key %q; did you mean %s? The keys are %s, and quotes make text of it",
		name, nearest(name, all), strings.Join(own, ", "))
}

// nearest returns the name that differs least from what was written.
func nearest(written string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return spelling.Distance(written, a) - spelling.Distance(written, b) })
}

// assign gives a field its value, once.
func assign(field *string, name, value string) error {
	if *field != "" {
		return fmt.Errorf("%s is given twice: %q and %q", name, *field, value)
	}
	*field = value
	return nil
}
