package webhook

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// EventID names an [Event]: "evt_" and 26 hexadecimal digits.
type EventID string

// SubscriberID names a [Subscriber]: "sub_" and 26 hexadecimal digits.
type SubscriberID string

// DeliveryID names a [Delivery]: "dlv_" and 26 hexadecimal digits.
type DeliveryID string

// AttemptID names an [Attempt]: "att_", the digits of its delivery, a dash and
// the attempt's number.
type AttemptID string

// RejectionID names a refused request: "rej_" and 26 hexadecimal digits.
type RejectionID string

// TokenID names a [Token]: "tok_" and 26 hexadecimal digits.
type TokenID string

// The prefixes of the ids, as every screen, table and answer shows them.
const (
	EventPrefix      = "evt_"
	SubscriberPrefix = "sub_"
	DeliveryPrefix   = "dlv_"
	AttemptPrefix    = "att_"
	RejectionPrefix  = "rej_"
	TokenPrefix      = "tok_"
)

const (
	sequenceDigits = 16
	instanceDigits = 10
	counterBits    = 21 // room for two million ids in one millisecond
)

// IDs makes the ids of one installation. An id is a sequence number, unique in
// its file and growing with time, followed by the number of the installation,
// so that two appliances that deliver to one receiver never collide. Sorting
// ids as text sorts them by the time at which they were made.
//
// IDs is safe for concurrent use.
type IDs struct {
	instance string

	mu   sync.Mutex
	last int64
}

// NewIDs continues after the sequence number last, which is zero for a new
// installation: even when the clock has jumped back, no id is made twice.
// The instance is a number of 40 bits in ten hexadecimal digits.
func NewIDs(instance string, last int64) *IDs {
	return &IDs{instance: instance, last: last}
}

// NewInstance draws a number for a new installation.
func NewInstance() string {
	return fmt.Sprintf("%0*x", instanceDigits, rand.Uint64N(1<<(4*instanceDigits)))
}

// Event makes an id for an event that is accepted now.
func (g *IDs) Event(now time.Time) EventID { return EventID(g.Format(EventPrefix, g.next(now))) }

// Subscriber makes an id for a subscriber that is created now.
func (g *IDs) Subscriber(now time.Time) SubscriberID {
	return SubscriberID(g.Format(SubscriberPrefix, g.next(now)))
}

// Delivery makes an id for a delivery that is created now.
func (g *IDs) Delivery(now time.Time) DeliveryID {
	return DeliveryID(g.Format(DeliveryPrefix, g.next(now)))
}

// Rejection makes an id for a request that is refused now.
func (g *IDs) Rejection(now time.Time) RejectionID {
	return RejectionID(g.Format(RejectionPrefix, g.next(now)))
}

// Token makes an id for a token that is made now.
func (g *IDs) Token(now time.Time) TokenID { return TokenID(g.Format(TokenPrefix, g.next(now))) }

// Parse reads the sequence number of an id of this installation. It reports
// false for an id of another form, kind or installation.
func (g *IDs) Parse(prefix, id string) (sequence int64, ok bool) {
	const digits = sequenceDigits + instanceDigits
	if len(id) != len(prefix)+digits || id[:len(prefix)] != prefix || id[len(id)-instanceDigits:] != g.instance {
		return 0, false
	}
	return parseHex(id[len(prefix) : len(prefix)+sequenceDigits])
}

// MadeAt returns when the id with this sequence number was made. It is off by
// as much as the clock had jumped back by then.
func MadeAt(sequence int64) time.Time { return time.UnixMilli(sequence >> counterBits).UTC() }

// FirstAt returns the smallest sequence number of an id that is made at t. Of a
// time before any id, or behind all, it returns the bound of what ids can be.
func FirstAt(t time.Time) int64 {
	return min(max(t.UnixMilli(), 0), math.MaxInt64>>counterBits) << counterBits
}

func (g *IDs) next(now time.Time) int64 {
	sequence := now.UnixMilli()<<counterBits | rand.Int64N(1<<(counterBits-1))
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.UnixMilli() <= g.last>>counterBits {
		sequence = g.last + 1
	}
	g.last = sequence
	return sequence
}

// Format writes the id with this prefix and sequence number.
func (g *IDs) Format(prefix string, sequence int64) string {
	const digits = "0123456789abcdef"
	var buf [4 + sequenceDigits + instanceDigits]byte
	b := append(buf[:0], prefix...)
	for shift := 4 * (sequenceDigits - 1); shift >= 0; shift -= 4 {
		b = append(b, digits[sequence>>shift&0xf])
	}
	return string(append(b, g.instance...))
}

func parseHex(s string) (int64, bool) {
	var n int64
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n = n<<4 | int64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, n >= 0
}

// Attempt names the delivery's attempt with this number, counted from one.
func (id DeliveryID) Attempt(number int) AttemptID {
	return AttemptID(AttemptPrefix + string(id[len(DeliveryPrefix):]) + "-" + strconv.Itoa(number))
}

// After returns the smallest text that sorts behind the id and has its form, so
// that a list which goes on before it begins with the thing itself. Of a text
// that is no id it returns the text.
func After(id string) string {
	prefix, digits, found := strings.Cut(id, "_")
	if !found || len(digits) != sequenceDigits+instanceDigits {
		return id
	}
	sequence, ok := parseHex(digits[:sequenceDigits])
	if !ok || sequence == math.MaxInt64 {
		return id
	}
	return fmt.Sprintf("%s_%0*x%s", prefix, sequenceDigits, sequence+1, digits[sequenceDigits:])
}
