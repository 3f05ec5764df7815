package query

import (
	"testing"
	"time"
)

func TestMomentIsRFC3339OrUnixSecondsOrLongAgo(t *testing.T) {
	now := time.Date(2025, 1, 2, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"":                          {},
		"2h":                        now.Add(-2 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
		"0s":                        now,
		"1735819200":                now,
		"2025-01-02T12:00:00Z":      now,
		"2025-01-02T13:00:00+01:00": now,
		"2025-01-02T12:00:00.5Z":    now.Add(500 * time.Millisecond),
	} {
		got, err := parseMoment(in, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"yesterday", "-2h", "-5", "0", "1735819200000", "2025-01-02", "2h ago", " 2h", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"} {
		if got, err := parseMoment(in, now); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}
