package gateway

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/strictjson"
	"github.com/pintle/pintle/app/webhook"
)

// maxChallenge bounds what is repeated to a sender, in bytes.
const maxChallenge = 1024

// A reading is what a body and its header say, whatever the scheme.
type reading struct {
	// data is the event's payload, in memory of its own.
	data []byte
	// timestamp is the event's, in Unix seconds; zero where the sender gives
	// none.
	timestamp int64
	// windowTime is what the window is measured on where the scheme signs no
	// time of its own; zero: nothing is.
	windowTime int64
	// id is the sender's own name of the event; empty where it gives none.
	id string
	// challenge is to be repeated to the sender, and nothing stored; may be
	// empty.
	challenge string
}

// read takes the request apart.
func (v *visit) read() (*reading, error) {
	if v.source.Scheme == webhook.SchemeAgent {
		return v.readAgent()
	}
	return v.readPayload()
}

func (v *visit) readAgent() (*reading, error) {
	e, err := parseEnvelope(v.body)
	if err != nil {
		return nil, err
	}
	// The data in a copy, so that the event does not hold the whole body, whose
	// other members nobody counts.
	read := &reading{data: bytes.Clone(e.data), timestamp: e.timestamp, windowTime: e.timestamp}
	v.message = signature.Message{Header: v.r.Header, Body: v.body, Member: e.signature, Unsigned: e.unsigned}
	v.eventType = v.source.EventType(e.event)
	if !webhook.ValidType(v.eventType) {
		return nil, reject(invalidEvent, "event is too long behind the prefix of its source")
	}
	id, err := headerKey(v.r.Header)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = e.id
	}
	if id != "" {
		return read, v.name(read, id)
	}
	return read, nil
}

// headerKey returns the name that a header gives the event; empty: none does.
func headerKey(header http.Header) (string, error) {
	for _, name := range [...]string{"Idempotency-Key", "Webhook-Id"} {
		switch values := header[name]; {
		case len(values) == 0 || len(values) == 1 && values[0] == "":
		case len(values) > 1 || !webhook.ValidSenderID(values[0]):
			return "", reject(invalidID, "%s must be one value of 1 to 128 printable characters", name)
		default:
			return values[0], nil
		}
	}
	return "", nil
}

// readPayload takes a request apart whose whole body is the data.
func (v *visit) readPayload() (*reading, error) {
	if err := strictjson.Check(v.body); err != nil {
		return nil, reject(invalidJSON, "the body is not JSON in UTF-8: %v", err)
	}
	if names := v.source.places.members; len(names) > 0 && bytes.TrimSpace(v.body)[0] == '{' {
		var err error
		if v.members, err = strictjson.Object(v.body, names...); err != nil {
			return nil, reject(invalidJSON, "the body is not JSON in UTF-8: %v", err)
		}
	}
	read := &reading{data: v.body}
	v.message = signature.Message{Header: v.r.Header, Body: v.body}
	for _, part := range []func(*reading) error{v.readType, v.readTime, v.readID, v.readChallenge} {
		if err := part(read); err != nil {
			return nil, err
		}
	}
	return read, nil
}

func (v *visit) readType(*reading) error {
	name, _, err := v.find(v.source.places.eventType)
	if err != nil {
		return err
	}
	if v.source.Scheme == webhook.SchemeGitLab {
		// Its header says "Push Hook".
		name = strings.ReplaceAll(strings.ToLower(name), " ", "_")
	}
	if name != "" {
		name = v.source.EventType(name)
	}
	if !webhook.ValidType(name) {
		return reject(invalidEvent, "the event's type, which is looked for at %s, must be 1 to 128 of the characters A-Z a-z 0-9 . _ - : /",
			v.source.places.eventType)
	}
	v.eventType = name
	return nil
}

// readTime finds the time of the event. Where the source names a place in the
// body, the signature covers it, and the window is measured on it.
func (v *visit) readTime(read *reading) error {
	text, from, err := v.find(v.source.places.time)
	if err != nil {
		return err
	}
	read.timestamp = anyTime(text)
	if v.source.TimeFrom == "" {
		return nil
	}
	if read.timestamp == 0 {
		return reject(invalidTimestamp, "the event's time, which is looked for at %s, must be in Unix seconds or as in RFC 3339", v.source.TimeFrom)
	}
	if _, body := strings.CutPrefix(string(from), inBody); body {
		read.windowTime = read.timestamp
	}
	return nil
}

func (v *visit) readID(read *reading) error {
	id, _, err := v.find(v.source.places.id)
	if err == nil && id == "" {
		id, err = headerKey(v.r.Header)
	}
	if err != nil || id == "" {
		return err
	}
	return v.name(read, id)
}

// readChallenge finds what Slack asks of a new endpoint.
func (v *visit) readChallenge(read *reading) error {
	if v.source.Scheme != webhook.SchemeSlack {
		return nil
	}
	if kind, err := v.bodyText("type"); err != nil || kind != "url_verification" {
		return err
	}
	challenge, err := v.bodyText("challenge")
	if err != nil {
		return err
	}
	if challenge == "" || len(challenge) > maxChallenge {
		return reject(invalidData, "challenge must be a string of 1 to %d bytes", maxChallenge)
	}
	read.challenge = challenge
	return nil
}

// event makes the event of a request that has passed all checks, and the key
// that recognises a repeat.
func (v *visit) event(read *reading) (webhook.Event, webhook.DedupeKey) {
	key := read.id
	if key == "" {
		digest := sha256.Sum256(v.body)
		key = string(digest[:])
	}
	if read.timestamp == 0 {
		read.timestamp = v.now.Unix()
	}
	return webhook.Event{
		Source: v.source.Name, Type: v.eventType, Timestamp: read.timestamp, Data: read.data,
		ClientID: v.source.ClientID, SenderKey: read.id,
	}, webhook.NewDedupeKey(v.source.Name, key)
}

// How a [webhook.Place] begins.
const (
	inHeader = "header:"
	inBody   = "body:"
	constant = "const:"
)

// A search is where something is looked for, the best place first.
type search []webhook.Place

func (s search) String() string {
	names := make([]string, len(s))
	for i, place := range s {
		names[i] = string(place)
	}
	return strings.Join(names, ", ")
}

// places are where a source's requests have what is read from them.
type places struct {
	eventType, id, time search
	// members are the names in the body with which they begin.
	members []string
}

// placesOf returns the places of the source: those that it names, and otherwise
// those of its scheme. Nothing is ever taken for the id only because it is
// called id: that of a customer would make all his events one.
func placesOf(s *webhook.Source) places {
	var p places
	switch s.Scheme {
	case webhook.SchemeStripe:
		p = places{search{"body:type"}, search{"body:id"}, search{"body:created"}, nil}
	case webhook.SchemeGitHub:
		p = places{search{"header:X-GitHub-Event"}, search{"header:X-GitHub-Delivery"}, nil, nil}
	case webhook.SchemeGitLab:
		p = places{search{"body:object_kind", "body:event_name", "header:X-Gitlab-Event"}, search{"header:Idempotency-Key", "header:X-Gitlab-Webhook-UUID"}, nil, nil}
	case webhook.SchemeShopify:
		p = places{search{"header:X-Shopify-Topic"}, search{"header:X-Shopify-Webhook-Id"}, search{"header:X-Shopify-Triggered-At"}, nil}
	case webhook.SchemeSlack:
		p = places{search{"body:event.type", "body:type"}, search{"body:event_id"}, search{"body:event_time"}, nil}
	default:
		p = places{search{"body:type", "body:event"}, nil, search{"body:timestamp"}, nil}
	}
	for _, own := range []struct {
		place webhook.Place
		at    *search
	}{{s.TypeFrom, &p.eventType}, {s.IDFrom, &p.id}, {s.TimeFrom, &p.time}} {
		if own.place != "" {
			*own.at = search{own.place}
		}
	}
	if s.Scheme == webhook.SchemeSlack {
		p.members = []string{"type", "challenge"}
	}
	for _, place := range slices.Concat(p.eventType, p.id, p.time) {
		if path, ok := strings.CutPrefix(string(place), inBody); ok {
			name, _, _ := strings.Cut(path, ".")
			p.members = append(p.members, name)
		}
	}
	return p
}

// find returns the first text that one of the places has, and which; empty:
// none has. It is that of a string or a number.
func (v *visit) find(s search) (text string, at webhook.Place, err error) {
	for _, place := range s {
		if name, ok := strings.CutPrefix(string(place), inHeader); ok {
			// Two fields are one list, as in RFC 9110, and no choice.
			text = strings.Join(v.r.Header.Values(name), ", ")
		} else if path, ok := strings.CutPrefix(string(place), inBody); ok {
			text, err = v.bodyText(strings.Split(path, ".")...)
		} else {
			text = strings.TrimPrefix(string(place), constant)
		}
		if err != nil || text != "" {
			return text, place, err
		}
	}
	return "", "", nil
}

// bodyText returns the string or number that the names lead to in the body.
func (v *visit) bodyText(names ...string) (string, error) {
	value, err := strictjson.Find(v.members, names...)
	if err != nil {
		return "", reject(invalidJSON, "the body is ambiguous: %v", err)
	}
	return scalar(value), nil
}

// scalar is the text of a string or a number, and empty for all else.
func scalar(value jsontext.Value) string {
	switch value.Kind() {
	case '"':
		text, err := strictjson.String(value)
		if err != nil {
			return "" // an unpaired surrogate names nothing
		}
		return text
	case '0':
		return string(value)
	}
	return ""
}

// anyTime reads a time in Unix seconds or milliseconds, or as in RFC 3339, and
// returns it in Unix seconds; zero: it is none of these, such as one in
// microseconds.
func anyTime(text string) int64 {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return max(at.Unix(), 0)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || n < 0 || n >= 1000*firstMillis:
		return 0
	case n >= firstMillis:
		return n / 1000
	}
	return n
}
