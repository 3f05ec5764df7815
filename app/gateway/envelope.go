package gateway

import (
	"errors"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/pintle/pintle/app/strictjson"
	"github.com/pintle/pintle/app/webhook"
)

// A timestamp from here on, in the year 5138, is plainly in milliseconds.
const firstMillis = 100_000_000_000

// An envelope is the body of the agent scheme, taken apart but not altered.
type envelope struct {
	event     string
	timestamp int64
	data      []byte // as it stands in the body
	id        string // the sender's own; empty if there is none
	// signature is the member of that name, nil if there is none. unsigned is
	// the body without it, which is what was signed.
	signature *string
	unsigned  []byte
}

// parseEnvelope reads a body of the agent scheme. A fault is a [*rejection].
// The result points into the body.
func parseEnvelope(body []byte) (*envelope, error) {
	members, err := strictjson.Object(body, "event", "timestamp", "data", "id", "signature")
	if err != nil {
		return nil, reject(invalidJSON, "the body is not one JSON object in UTF-8: %v", err)
	}
	e := &envelope{}
	var event, timestamp, id, signature jsontext.Value
	known := map[string]*jsontext.Value{"event": &event, "timestamp": &timestamp, "data": (*jsontext.Value)(&e.data), "id": &id, "signature": &signature}
	for _, m := range members {
		value := known[m.Name]
		if *value != nil {
			return nil, reject(invalidJSON, "the body is not one JSON object in UTF-8: %s stands twice", m.Name)
		}
		*value = m.Value
		if m.Name == "signature" {
			e.unsigned = strictjson.Without(body, m)
		}
	}
	if e.event, err = strictjson.String(event); err != nil || !webhook.ValidType(e.event) {
		return nil, reject(invalidEvent, "event must be a string of 1 to 128 of the characters A-Z a-z 0-9 . _ - : /")
	}
	if e.timestamp, err = wholeSeconds(timestamp); err != nil {
		return nil, reject(invalidTimestamp, "timestamp %v", err)
	}
	if e.data == nil {
		return nil, reject(invalidData, "data is missing")
	}
	if id != nil {
		if e.id, err = strictjson.String(id); err != nil || !webhook.ValidSenderID(e.id) {
			return nil, reject(invalidID, "id must be a string of 1 to 128 printable characters")
		}
	}
	if signature != nil {
		text, _ := strictjson.String(signature) // one that is no string matches nothing
		e.signature = &text
	}
	return e, nil
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
