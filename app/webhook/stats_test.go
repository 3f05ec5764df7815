package webhook_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

var bounds = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, time.Minute,
}

func TestBucketsEndWhereTheirBoundsAre(t *testing.T) {
	for i, bound := range bounds {
		if got := webhook.Bucket(bound); got != i {
			t.Errorf("%s is in bucket %d, want %d", bound, got, i)
		}
		if got, want := webhook.Bucket(bound+1), min(i+1, len(bounds)-1); got != want {
			t.Errorf("a moment more than %s is in bucket %d, want %d", bound, got, want)
		}
	}
	if len(bounds) != len(webhook.Histogram{}) || webhook.Bucket(0) != 0 || webhook.Bucket(-1) != 0 || webhook.Bucket(time.Hour) != len(bounds)-1 {
		t.Error("a duration has no bucket")
	}
}

// TestQuantileLiesInItsBucketAndGrows holds the estimate against the bucket
// that is found by counting.
func TestQuantileLiesInItsBucketAndGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h webhook.Histogram
		var total int64
		for i := range h {
			if rapid.Bool().Draw(t, "some") {
				h[i] = rapid.Int64Range(0, 1e12).Draw(t, "count")
				total += h[i]
			}
		}
		last := time.Duration(0)
		for step := range 101 {
			q := float64(step) / 100
			got := h.Quantile(q)
			if total == 0 {
				if got != 0 {
					t.Fatalf("the quantile of nothing is %s", got)
				}
				continue
			}
			if got < last {
				t.Fatalf("the quantile %v is %s, less than the one before, %s", q, got, last)
			}
			last = got
			sum, low, i := float64(0), time.Duration(0), 0
			for h[i] == 0 || sum+float64(h[i]) < q*float64(total) {
				sum, low = sum+float64(h[i]), bounds[i]
				i++
			}
			if got < low || got > bounds[i] {
				t.Fatalf("the quantile %v is %s, outside of %s to %s", q, got, low, bounds[i])
			}
		}
	})
	h := webhook.Histogram{3: 10}
	if got := h.Quantile(0.5); got != 7500*time.Microsecond {
		t.Errorf("the median of a single bucket from 5ms to 10ms is %s", got)
	}
}
