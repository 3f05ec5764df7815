package security

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// A RateLimiter holds a token bucket for each source and client address, for
// IPv6 for each /64. Their number is bounded: the bucket used longest ago makes
// room for a new one, which is full. Who has more networks to come from than
// there are buckets is therefore not limited, but costs no memory either.
type RateLimiter struct {
	mu      sync.Mutex
	buckets *simplelru.LRU[bucketKey, *rate.Limiter]
}

type bucketKey struct {
	source string
	client netip.Addr
}

// NewRateLimiter returns a limiter that holds at most so many buckets, at least
// one.
func NewRateLimiter(size int) *RateLimiter {
	// It refuses only a size below one.
	buckets, _ := simplelru.NewLRU[bucketKey, *rate.Limiter](max(1, size), nil)
	return &RateLimiter{buckets: buckets}
}

// Allow says whether a client of a source may make a request now, and if not,
// after how long it may: sooner requests are refused too, and do not put it off.
// A bucket gets perSecond tokens a second and holds as many, rounded up. Another
// perSecond than before takes force with this request. If it is zero there is
// no limit.
func (l *RateLimiter) Allow(source string, client netip.Addr, perSecond float64, now time.Time) (retryAfter time.Duration, ok bool) {
	if perSecond <= 0 {
		return 0, true
	}
	limit, burst := rate.Limit(perSecond), int(min(math.Ceil(perSecond), math.MaxInt32))
	key := bucketKey{source, Network(client)}

	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, known := l.buckets.Get(key)
	if !known {
		bucket = rate.NewLimiter(limit, burst)
		l.buckets.Add(key, bucket)
	} else if bucket.Limit() != limit {
		bucket.SetLimitAt(now, limit)
		bucket.SetBurstAt(now, burst)
	}
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	wait := math.Ceil((1 - bucket.TokensAt(now)) / perSecond * float64(time.Second))
	if wait >= math.MaxInt64 {
		return math.MaxInt64, false
	}
	return time.Duration(wait), false
}
