package webhook

import "time"

// latencyBounds are the upper ends of the buckets of a [Histogram].
var latencyBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
	10 * time.Second, 20 * time.Second, MaxTimeout,
}

// A Histogram counts attempts by how long they took, in buckets that double or
// so from one millisecond to a minute.
type Histogram [len(latencyBounds)]int64

// Bucket is the place in a [Histogram] for an attempt that took so long.
func Bucket(d time.Duration) int {
	for i, bound := range latencyBounds {
		if d <= bound {
			return i
		}
	}
	return len(latencyBounds) - 1
}

// Add adds the counts of the other.
func (h *Histogram) Add(other *Histogram) {
	for i := range h {
		h[i] += other[i]
	}
}

// Quantile estimates how long the share q of the attempts, 0 to 1, took at
// most: within the bucket, they are taken to be spread evenly. It is zero where
// there were none.
func (h *Histogram) Quantile(q float64) time.Duration {
	var total int64
	for _, n := range h {
		total += n
	}
	rank, low := q*float64(total), time.Duration(0)
	for i, n := range h {
		if n > 0 && rank <= float64(n) {
			return low + time.Duration(float64(latencyBounds[i]-low)*max(rank, 0)/float64(n))
		}
		rank -= float64(n)
		low = latencyBounds[i]
	}
	return 0
}

// Traffic counts what happened in a span of time.
type Traffic struct {
	// Attempts is how many were made, and Failed how many of those had another
	// outcome than [OK] and [Interrupted].
	Attempts, Failed int64
	// Delivered and Dead are how many deliveries came to that end.
	Delivered, Dead int64
	// Latency counts the attempts by how long they took.
	Latency Histogram
}

// Add adds the counts of the other.
func (t *Traffic) Add(other *Traffic) {
	t.Attempts += other.Attempts
	t.Failed += other.Failed
	t.Delivered += other.Delivered
	t.Dead += other.Dead
	t.Latency.Add(&other.Latency)
}

// A Minute is what happened in one minute.
type Minute struct {
	// Start is the first moment of the minute.
	Start time.Time
	// Events is how many were accepted.
	Events int64
	Traffic
}

// A StatsQuery says which statistics are wanted beside the totals.
type StatsQuery struct {
	// MinutesFrom asks for the minutes from that one to the one of MinutesTo,
	// both inclusive; zero: none.
	MinutesFrom, MinutesTo time.Time
	// ActivityFrom asks for the traffic of subscribers from that minute to the
	// one of MinutesTo; zero: none.
	ActivityFrom time.Time
	// Subscribers are those whose activity is wanted, with their backlog even
	// where there was no traffic; nil: all that had any.
	Subscribers []SubscriberID
	// DeadGroups asks for the dead letters by subscriber and cause.
	DeadGroups bool
}

// Stats answers a [StatsQuery].
type Stats struct {
	// Events and Attempts count all since the store was made.
	Events, Attempts int64
	// Deliveries counts those that are in each state now.
	Deliveries map[State]int64
	// Retrying is how many are pending after at least one attempt.
	Retrying int64
	// OldestDue is when the first pending delivery to an active subscriber fell
	// or falls due; zero if none is pending.
	OldestDue time.Time
	// Bytes is the size of the store, and LogBytes of its write-ahead log. Of the
	// former, UnusedBytes are used again before it grows.
	Bytes, UnusedBytes, LogBytes int64
	// LogHeld says that the log has grown and cannot be emptied, since another
	// process reads the store.
	LogHeld bool
	// LogFault is why what is in the log could not be moved out of it; empty: it
	// could. Nothing is lost meanwhile, but the log grows.
	LogFault string
	// UpkeepFault is why what is too old cannot be deleted, room be made or given
	// back; empty: it can.
	UpkeepFault string
	// OldestEvent is when the first event was received that is kept; zero: there
	// is none.
	OldestEvent time.Time
	// Minutes are the oldest first; one in which nothing happened is missing.
	Minutes    []Minute
	Activity   map[SubscriberID]Activity
	DeadGroups []DeadGroup
}

// Activity is how a subscriber does.
type Activity struct {
	Traffic
	// Pending is how many of its deliveries wait, and Retrying how many of
	// those after at least one attempt.
	Pending, Retrying int64
	// Dead is how many of its deliveries are dead letters.
	DeadLetters int64
	// LastAttempt is the latest one that ended; LastAt is zero if there was
	// none in the time asked for.
	LastAt      time.Time
	LastOutcome Outcome
	LastCode    int
}

// A DeadGroup is the dead letters of one subscriber that share their cause.
type DeadGroup struct {
	SubscriberID SubscriberID
	// Outcome and Code are those of the last attempt, and Fingerprint that of
	// its error; see [Fingerprint].
	Outcome     Outcome
	Code        int
	Fingerprint string
	Count       int64
	// Oldest and Newest are when the first and the last of them was made.
	Oldest, Newest time.Time
}
