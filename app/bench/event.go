package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// eventType is the type of the events sent, and begins those of a load of several
// types.
const eventType = "bench.sent"

// typeOf is the type of the event with this number, of so many types; of none, all
// have the same.
func typeOf(number, types int) string {
	if types == 0 {
		return eventType
	}
	return eventType + "." + strconv.Itoa(number%types)
}

// The members of data that the sink reads back. Their values are strings of
// fixed width, so that finding them costs next to nothing. The members stand in
// alphabetical order, which a transform leaves them in.
const (
	numberMember = `"n":"`
	sentMember   = `","sent":"`
	numberDigits = 12
	sentDigits   = 19 // nanoseconds since 1970, until the year 2286
)

// appendEvent appends the event of this type and number, padded to size bytes.
func appendEvent(b []byte, eventType string, number int, sent time.Time, size int) []byte {
	start := len(b)
	b = append(b, `{"event":"`...)
	b = append(b, eventType...)
	b = append(b, `","timestamp":`...)
	b = strconv.AppendInt(b, sent.Unix(), 10)
	b = append(b, `,"data":{`+numberMember...)
	b = fmt.Appendf(b, "%0*d", numberDigits, number)
	b = append(b, sentMember...)
	b = strconv.AppendInt(b, sent.UnixNano(), 10)
	b = append(b, `","text":"`...)
	const tail = `"}}`
	if pad := size - (len(b) - start) - len(tail); pad > 0 {
		b = slices.Grow(b, pad+len(tail))
		for range pad {
			b = append(b, 'x')
		}
	}
	return append(b, tail...)
}

// parseEvent reads the number and the time of sending back out of a delivery.
func parseEvent(body []byte) (number int, sent time.Time, err error) {
	_, rest, ok := bytes.Cut(body, []byte(numberMember))
	if !ok || len(rest) < numberDigits+len(sentMember)+sentDigits {
		return 0, time.Time{}, fmt.Errorf("parse delivery: not an event of the load generator")
	}
	number, err = strconv.Atoi(string(rest[:numberDigits]))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("parse delivery: %w", err)
	}
	rest = rest[numberDigits+len(sentMember):]
	nanoseconds, err := strconv.ParseInt(string(rest[:sentDigits]), 10, 64)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("parse delivery: %w", err)
	}
	return number, time.Unix(0, nanoseconds), nil
}

// quantile returns the value below which the part q of the durations lies, by
// the nearest rank; zero of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
