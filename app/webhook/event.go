package webhook

import (
	"crypto/sha256"
	"strconv"
	"time"
)

// An Event is what happened, as its sender told it: accepted once, and never
// changed afterwards.
type Event struct {
	ID EventID
	// Source is the name of the source that accepted it.
	Source string
	// Type is what happened; see [ValidType].
	Type string
	// Timestamp is the sender's time of the event, in Unix seconds.
	Timestamp int64
	// Data is the JSON value that the sender gave, byte for byte.
	Data []byte
	// ClientID limits the event to that client's subscribers; empty: to none.
	ClientID string
	// AgentID is sent as X-Agent-ID in place of the configured one; may be empty.
	AgentID string
	// SenderKey is the idempotency key that the sender named; empty where the
	// body's digest stood in for one.
	SenderKey string
	// ReceivedAt is when it was accepted, to the millisecond.
	ReceivedAt time.Time
}

// Body returns what subscribers receive before any transform: the type, the
// timestamp and the data, the last as its sender wrote it.
func (e *Event) Body() []byte {
	b := make([]byte, 0, len(e.Data)+len(e.Type)+64)
	b = append(b, `{"event":"`...)
	b = append(b, e.Type...)
	b = append(b, `","timestamp":`...)
	b = strconv.AppendInt(b, e.Timestamp, 10)
	b = append(b, `,"data":`...)
	b = append(b, e.Data...)
	return append(b, '}')
}

// A DedupeKey recognises a repeat of an event that its source has accepted. It
// is a digest: keys of any length and content cost the same to keep.
type DedupeKey [16]byte

// NewDedupeKey makes the key of an event that its sender named; the name is
// the sender's own, so it is only compared within the source.
func NewDedupeKey(source, name string) DedupeKey {
	h := sha256.New()
	h.Write([]byte(source))
	h.Write([]byte{0})
	h.Write([]byte(name))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return DedupeKey(sum[:len(DedupeKey{})])
}

// An EventSummary is an event as lists have it.
type EventSummary struct {
	// Event lacks its Data.
	Event
	// Size is that of the data, in bytes.
	Size int
	// Deliveries counts its deliveries by state, as far as they were counted.
	Deliveries map[State]int
	// Partial says that it has more deliveries than were counted.
	Partial bool
}

// EventFilter selects events. The zero value selects all.
type EventFilter struct {
	ID EventID
	// Type selects exactly or with wildcards.
	Type     Pattern
	Source   string
	ClientID string
	// Since and Until bound ReceivedAt: not before Since, before Until. Zero: open.
	Since, Until time.Time
	// Text is looked for in the type, the sender key and the data, without
	// regard to the case of ASCII letters.
	Text string
}

// A Page asks for a part of a list, which runs from the newest to the oldest.
type Page struct {
	// Limit is how many at most.
	Limit int
	// Before is where to go on: the Next of the part before, or the id of the
	// last item seen; empty: start at the newest.
	Before string
}

// A List is a part of a list.
type List[T any] struct {
	Items []T
	// Next is where to go on; empty at the end. A search that finds little
	// stops after a bounded number of rows: there may be more although there
	// are fewer items than asked for, even none.
	Next string
}
