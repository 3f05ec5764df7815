package spelling_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/spelling"
)

func TestDistanceCountsWhatWasChanged(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"retrys", "retries", 2}, {"stauts", "status", 2}, {"kitten", "sitting", 3}, {"a", "b", 1}} {
		if got := spelling.Distance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q it is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDistanceIsAMetric(t *testing.T) {
	word := rapid.StringMatching(`[a-c]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		ab := spelling.Distance(a, b)
		if (ab == 0) != (a == b) || ab != spelling.Distance(b, a) || ab > spelling.Distance(a, c)+spelling.Distance(c, b) {
			t.Errorf("%q, %q and %q are %d apart in a way that no distance is", a, b, c, ab)
		}
	})
}
