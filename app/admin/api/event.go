package api

import (
	"bytes"
	"encoding/json"

	"github.com/pintle/pintle/app/webhook"
)

// A Publish asks for an event to be accepted.
type Publish struct {
	// Event is the type.
	Event string `json:"event" doc:"the event's type: 1 to 128 of the characters A-Z a-z 0-9 . _ - : /" example:"order.created"`
	// Data is any JSON value; it is delivered byte for byte as it stands here.
	Data json.RawMessage `json:"data,omitempty" required:"true" doc:"any JSON value, delivered byte for byte"`
	// Timestamp is when it happened, in Unix seconds; nil: now.
	Timestamp *int64 `json:"timestamp,omitempty" doc:"when it happened, in whole Unix seconds; now if it is missing"`
	// ID is the publisher's own name of the event: a second one with the same
	// ID is a duplicate. Empty: none, and every publish is an event of its own.
	ID string `json:"id,omitempty" doc:"your own id of the event: a second one with the same id is a duplicate"`
	// ClientID limits the event to that client's subscribers.
	ClientID string `json:"client_id,omitempty" doc:"only this client's subscribers receive it"`
	// AgentID is sent as X-Agent-ID in place of the configured one.
	AgentID string `json:"agent_id,omitempty" doc:"sent as X-Agent-ID"`
}

// The values of [Published.Status].
const (
	StatusReceived  = "received"
	StatusDuplicate = "duplicate"
)

// Published answers a [Publish]: the event and its deliveries are durable.
type Published struct {
	// ID is the event, or the first one with its key.
	ID webhook.EventID `json:"id"`
	// Status is [StatusReceived] or [StatusDuplicate].
	Status string `json:"status" enum:"received,duplicate"`
	// Deliveries are those that were made; none for a duplicate.
	Deliveries []PublishedDelivery `json:"deliveries" nullable:"false"`
}

// A PublishedDelivery is a delivery that an event has caused.
type PublishedDelivery struct {
	ID           webhook.DeliveryID   `json:"id"`
	SubscriberID webhook.SubscriberID `json:"subscriber_id"`
}

// An Event is a stored event as lists show it.
type Event struct {
	ID     webhook.EventID `json:"id"`
	Source string          `json:"source" doc:"the source that accepted it; admin for the admin API"`
	Type   string          `json:"type"`
	// Timestamp is the sender's, in Unix seconds.
	Timestamp int64 `json:"timestamp" doc:"the sender's time of the event, in Unix seconds"`
	// ClientID is empty for an event that is everybody's.
	ClientID string `json:"client_id"`
	// AgentID is empty where the configured one is sent.
	AgentID string `json:"agent_id"`
	// SenderKey is the idempotency key that the sender named; may be empty.
	SenderKey  string `json:"sender_key" doc:"the idempotency key as the sender named it, or empty"`
	ReceivedAt Time   `json:"received_at" format:"date-time"`
	// Size is that of the data, in bytes.
	Size int `json:"size" doc:"size of the data in bytes"`
	// Fanout counts the deliveries by state.
	Fanout map[webhook.State]int `json:"fanout,omitempty" doc:"how many deliveries are in each state"`
	// FanoutPartial says that there are more deliveries than were counted.
	FanoutPartial bool `json:"fanout_partial,omitempty" doc:"there are more deliveries than were counted"`
}

// An EventDetail is one event with all that hangs on it.
type EventDetail struct {
	Event
	// Deliveries are the newest first, at most [MaxLimit] of them; the list of
	// deliveries has all.
	Deliveries []Delivery `json:"deliveries" nullable:"false" doc:"the newest first, at most 500; GET /deliveries?event_id= has all"`
	// Data is the sender's JSON.
	Data json.RawMessage `json:"data,omitempty" required:"true" doc:"the sender's JSON, byte for byte"`
}

// Marshal writes a value of this package as the API does: without escapes for
// HTML, and with an event's data byte for byte, white space included, which
// encoding/json would take out.
func Marshal(v any) ([]byte, error) {
	var data json.RawMessage
	switch t := v.(type) {
	case EventDetail:
		data, t.Data = t.Data, nil
		v = t
	case Publish:
		data, t.Data = t.Data, nil
		v = t
	case SandboxSend:
		data, t.Data = t.Data, nil
		v = t
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	b := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if data != nil {
		// An object with other members before this one.
		b = append(b[:len(b)-1], `,"data":`...)
		b = append(append(b, data...), '}')
	}
	return b, nil
}

// An EventFilter selects events; the zero value selects all.
type EventFilter struct {
	Type     webhook.Pattern `query:"type" json:"type,omitempty" doc:"this type only: order.created, order.* or order.**"`
	Source   string          `query:"source" json:"source,omitempty" doc:"accepted by this source only"`
	ClientID string          `query:"client_id" json:"client_id,omitempty" doc:"events of this client only"`
	// Since and Until bound the time of receipt: RFC 3339, Unix seconds, or a
	// duration such as "2h", which means that long ago.
	Since string `query:"since" json:"since,omitempty" doc:"received at or after: RFC 3339, Unix seconds, or a duration such as 2h for that long ago" example:"2h"`
	Until string `query:"until" json:"until,omitempty" doc:"received before: RFC 3339, Unix seconds, or a duration such as 2h for that long ago"`
	// Q is a query such as "type:order.* since:2h A12345"; what it selects must
	// pass the other fields too.
	Q string `query:"q" json:"q,omitempty" doc:"a query: words to look for, and type: source: client: since: until:" example:"type:order.* since:2h A12345"`
}
