package api

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A Time is RFC 3339 in UTC with milliseconds.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// String writes the time as it stands in JSON.
func (t Time) String() string { return t.UTC().Format(timeLayout) }

// MarshalText writes the time for any encoding of text.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalJSON writes the time as a JSON string.
func (t Time) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, t.String()), nil }

// UnmarshalText reads RFC 3339 with any offset and fraction.
func (t *Time) UnmarshalText(text []byte) error { return t.Time.UnmarshalText(text) }

// UnmarshalJSON reads a JSON string in RFC 3339.
func (t *Time) UnmarshalJSON(data []byte) error { return t.Time.UnmarshalJSON(data) }

// A Duration is written as "5s" or "2m" and read from that or from whole
// seconds.
type Duration time.Duration

// String writes the duration as [webhook.FormatDuration] does.
func (d Duration) String() string { return webhook.FormatDuration(time.Duration(d)) }

// MarshalText writes the duration as [Duration.String] does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "5s", or "5" for whole seconds.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil {
		const most = int64(1<<63-1) / int64(time.Second)
		if seconds > most || seconds < -most {
			return fmt.Errorf("%d seconds is too long", seconds)
		}
		*d = Duration(time.Duration(seconds) * time.Second)
		return nil
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 5s or 2m, nor whole seconds", s)
	}
	*d = Duration(parsed)
	return nil
}

// UnmarshalJSON reads the string "5s", or the number 5 for whole seconds.
func (d *Duration) UnmarshalJSON(data []byte) error {
	text := string(data)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(data, &text); err != nil {
			return fmt.Errorf("read duration: %w", err)
		}
	}
	return d.UnmarshalText([]byte(text))
}

// Millis writes a measured time in milliseconds, to the microsecond.
func Millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
