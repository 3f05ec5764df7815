package security_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/security"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// passing counts which of n requests in a row pass.
func passing(l *security.RateLimiter, source, client string, perSecond float64, n int, now time.Time) (passed int) {
	for range n {
		if _, ok := l.Allow(source, netip.MustParseAddr(client), perSecond, now); ok {
			passed++
		}
	}
	return passed
}

func TestABucketHoldsASecondOfRequests(t *testing.T) {
	for perSecond, burst := range map[float64]int{0.1: 1, 1: 1, 1.5: 2, 10: 10, 99.01: 100} {
		l := security.NewRateLimiter(10)
		if got := passing(l, "inbound", "203.0.113.9", perSecond, 1000, noon); got != burst {
			t.Errorf("%v per second: %d at once, want %d", perSecond, got, burst)
		}
	}
}

// TestAFloodIsRefused: a thousand requests within a second, from one address and
// from one network of IPv6.
func TestAFloodIsRefused(t *testing.T) {
	l := security.NewRateLimiter(10)
	passed := map[bool]int{}
	for i := range 1000 {
		now := noon.Add(time.Duration(i) * time.Millisecond)
		var v6 [16]byte
		copy(v6[:], []byte{0x20, 0x01, 0x0d, 0xb8})
		binary.BigEndian.PutUint64(v6[8:], uint64(i)*0x123456789abcdef)
		for _, client := range []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.AddrFrom16(v6)} {
			retryAfter, ok := l.Allow("inbound", client, 10, now)
			if ok {
				passed[client.Is6()]++
			}
			if ok != (retryAfter == 0) || retryAfter > 100*time.Millisecond {
				t.Fatalf("allowed %v, retry after %s", ok, retryAfter)
			}
		}
	}
	// Ten at once, and those of the second less its last moment.
	if passed[false] != 19 || passed[true] != 19 {
		t.Errorf("passed of IPv4 %d and of IPv6 %d, want 19 of both", passed[false], passed[true])
	}
	now := noon.Add(time.Second)
	for _, spent := range []string{"203.0.113.9", "2001:db8::1"} {
		if got := passing(l, "inbound", spent, 10, 10, now); got != 1 {
			t.Errorf("%d of %s pass, want that of a tenth of a second", got, spent)
		}
	}
	for _, other := range []struct{ source, client string }{
		{"github", "203.0.113.9"}, {"github", "2001:db8::1"}, {"inbound", "203.0.113.10"}, {"inbound", "2001:db8:0:1::1"},
	} {
		if _, ok := l.Allow(other.source, netip.MustParseAddr(other.client), 10, now); !ok {
			t.Errorf("%v is refused for another's flood", other)
		}
	}
}

func TestTheFormsOfAnAddressShareABucket(t *testing.T) {
	for _, same := range [][2]string{
		{"203.0.113.9", "::ffff:203.0.113.9"}, {"fe80::1", "fe80::1%eth0"}, {"2001:db8::1", "2001:db8::ffff:1"},
	} {
		l := security.NewRateLimiter(10)
		if passing(l, "inbound", same[0], 1, 1, noon) != 1 || passing(l, "inbound", same[1], 1, 1, noon) != 0 {
			t.Errorf("%v have two buckets", same)
		}
	}
}

// TestRetryAfterIsWhenTheNextRequestPasses: not before, then, and asking
// meanwhile does not put it off.
func TestRetryAfterIsWhenTheNextRequestPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, client := security.NewRateLimiter(10), netip.MustParseAddr("203.0.113.9")
		perSecond := rapid.Float64Range(0.001, 5000).Draw(t, "per second")
		now := noon
		for range rapid.IntRange(1, 50).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2/perSecond*1e9)).Draw(t, "pause")))
			retryAfter, ok := l.Allow("inbound", client, perSecond, now)
			if ok {
				continue
			}
			if retryAfter <= 0 {
				t.Fatalf("retry after %s", retryAfter)
			}
			if early := retryAfter - time.Microsecond; early > 0 {
				if _, ok := l.Allow("inbound", client, perSecond, now.Add(early)); ok {
					t.Fatalf("passes a microsecond before %s", retryAfter)
				}
			}
			now = now.Add(retryAfter)
			if wait, ok := l.Allow("inbound", client, perSecond, now); !ok {
				t.Fatalf("does not pass after %s, but %s later", retryAfter, wait)
			}
		}
	})
}

func TestAnotherRateTakesForceAtOnce(t *testing.T) {
	l, now := security.NewRateLimiter(10), noon
	if got := passing(l, "inbound", "203.0.113.9", 100, 200, now); got != 100 {
		t.Fatalf("%d passed of 100 a second", got)
	}
	if retryAfter, _ := l.Allow("inbound", netip.MustParseAddr("203.0.113.9"), 0.5, now); retryAfter != 2*time.Second {
		t.Errorf("retry after %s, want that of the new rate", retryAfter)
	}
	if got := passing(l, "inbound", "203.0.113.9", 0.5, 1, now.Add(1999*time.Millisecond)); got != 0 {
		t.Error("the bucket is filled at the rate of before")
	}
	// What it has of before is cut to what it may have now.
	now = now.Add(time.Hour)
	if got := passing(l, "inbound", "203.0.113.9", 2, 200, now); got != 1 && got != 2 {
		t.Errorf("%d passed of 2 a second", got)
	}
	now = now.Add(time.Hour)
	if got := passing(l, "inbound", "203.0.113.9", 100, 200, now.Add(time.Hour)); got < 2 || got > 100 {
		t.Errorf("%d passed of 100 a second again", got)
	}
	if got := passing(l, "inbound", "203.0.113.9", 0, 200, now); got != 200 {
		t.Errorf("%d passed without a limit", got)
	}
}

func TestTheBucketUsedLongestAgoMakesRoom(t *testing.T) {
	l := security.NewRateLimiter(2)
	empty := func(client string) bool { return passing(l, "inbound", client, 1, 1, noon) == 0 }
	empty("203.0.113.1")
	empty("203.0.113.2")
	if !empty("203.0.113.1") {
		t.Fatal("a bucket is forgotten while there is room")
	}
	empty("203.0.113.3") // in place of that of .2
	if !empty("203.0.113.1") {
		t.Error("the bucket used last was given up")
	}
	if empty("203.0.113.2") {
		t.Error("there are more buckets than allowed")
	}
}

func TestExtremeRatesDoNotOverflow(t *testing.T) {
	for _, perSecond := range []float64{math.MaxFloat64, math.MaxInt64, math.SmallestNonzeroFloat64, 1e-12} {
		l, client := security.NewRateLimiter(1), netip.MustParseAddr("203.0.113.9")
		if _, ok := l.Allow("inbound", client, perSecond, noon); !ok {
			t.Errorf("%v per second: the first is refused", perSecond)
		}
		if retryAfter, ok := l.Allow("inbound", client, perSecond, noon); ok != (perSecond > 1) || !ok && retryAfter < 24*time.Hour {
			t.Errorf("%v per second: the second passes %v, retry after %s", perSecond, ok, retryAfter)
		}
	}
}

// TestParallelRequestsShareABucket: not one more passes than there are tokens.
func TestParallelRequestsShareABucket(t *testing.T) {
	l := security.NewRateLimiter(10)
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { passed.Add(int64(passing(l, "inbound", "203.0.113.9", 100, 500, noon))) })
	}
	all.Wait()
	if got := passed.Load(); got != 100 {
		t.Errorf("%d passed, want 100", got)
	}
}

func BenchmarkAllow(b *testing.B) {
	for _, clients := range []uint32{1, 1_000, 200_000} { // the last with eviction
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			l, now := security.NewRateLimiter(65_536), time.Now()
			var next atomic.Uint32
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					var a [4]byte
					binary.BigEndian.PutUint32(a[:], next.Add(1)%clients)
					l.Allow("inbound", netip.AddrFrom4(a), 1000, now)
				}
			})
		})
	}
}
