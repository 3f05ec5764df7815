package crash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// sumOf is the digest by which two bodies are compared.
func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// A promise is an event that the appliance has acknowledged.
type promise struct {
	// Sender is the id that the sender gave the event, ID that of the answer.
	Sender, ID string
	// Sum is the digest of the body that subscribers are to receive.
	Sum string
}

// A ledger sets what arrived against what was promised.
type ledger struct {
	mu       sync.Mutex
	promises map[string]promise
	// arrivals are by receiver and by the sender's id.
	arrivals []map[string]*arrival
	// outstanding counts the promises, by receiver, that are still to be kept.
	outstanding int
	// complete says that no more promises are made.
	complete bool
	// settled is closed when all promises have been made and kept.
	settled chan struct{}
	// faults are what must never happen; the first one closes faulty.
	faults []string
	faulty chan struct{}
}

// An arrival is what a receiver has seen of an event.
type arrival struct {
	id, sum string
	// accepted are the lives of the appliance in which a try was answered with
	// 200.
	accepted []string
}

func newLedger(receivers int) *ledger {
	l := &ledger{promises: map[string]promise{}, settled: make(chan struct{}), faulty: make(chan struct{})}
	for range receivers {
		l.arrivals = append(l.arrivals, map[string]*arrival{})
	}
	return l
}

// promise notes an acknowledgement. One event may be acknowledged many times,
// always in the same way.
func (l *ledger) promise(p promise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first, ok := l.promises[p.Sender]; ok {
		if p != first {
			l.faultLocked("event %s was acknowledged as %+v and again as %+v", p.Sender, first, p)
		}
		return
	}
	l.promises[p.Sender] = p
	for receiver, arrivals := range l.arrivals {
		a := arrivals[p.Sender]
		if a != nil {
			l.compareLocked(receiver, p, a.id, a.sum)
		}
		if a == nil || len(a.accepted) == 0 {
			l.outstanding++
		}
	}
}

// arrive notes a delivery, from the appliance in one of its lives, and whether it is
// answered with 200. Only a kill excuses that an accepted one comes again.
func (l *ledger) arrive(receiver int, sender, id, sum, life string, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.arrivals[receiver][sender]
	if a == nil {
		a = &arrival{id: id, sum: sum}
		l.arrivals[receiver][sender] = a
	} else if a.id != id || a.sum != sum {
		l.faultLocked("event %s came to receiver %d as %s with body %s and again as %s with body %s",
			sender, receiver, a.id, a.sum, id, sum)
	}
	p, promised := l.promises[sender]
	if promised {
		l.compareLocked(receiver, p, id, sum)
	}
	if !accepted {
		return
	}
	if slices.Contains(a.accepted, life) {
		l.faultLocked("event %s came to receiver %d as %s and was accepted, and came again in the same %s", sender, receiver, id, life)
	}
	a.accepted = append(a.accepted, life)
	if promised && len(a.accepted) == 1 {
		l.outstanding--
		l.settleLocked()
	}
}

// noMore says that all promises have been made.
func (l *ledger) noMore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complete = true
	l.settleLocked()
}

// fault notes what must never happen.
func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faultLocked(format, args...)
}

func (l *ledger) compareLocked(receiver int, p promise, id, sum string) {
	if id != p.ID || sum != p.Sum {
		l.faultLocked("event %s was acknowledged as %s with body %s but came to receiver %d as %s with body %s",
			p.Sender, p.ID, p.Sum, receiver, id, sum)
	}
}

func (l *ledger) settleLocked() {
	if l.complete && l.outstanding == 0 {
		select {
		case <-l.settled:
		default:
			close(l.settled)
		}
	}
}

func (l *ledger) faultLocked(format string, args ...any) {
	if len(l.faults) == 0 {
		close(l.faulty)
	}
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// A balance is what the ledger says at a moment.
type balance struct {
	// acknowledged counts events, delivered the deliveries answered with 200,
	// and repeats those among them that came again.
	acknowledged, delivered, repeats int
	// lost are the promises not kept, and strangers the arrivals of events that
	// were never acknowledged; each as a sentence.
	lost, strangers []string
	faults          []string
}

func (l *ledger) balance() balance {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := balance{acknowledged: len(l.promises), faults: l.faults}
	for receiver, arrivals := range l.arrivals {
		for sender, p := range l.promises {
			if a := arrivals[sender]; a == nil || len(a.accepted) == 0 {
				b.lost = append(b.lost, fmt.Sprintf("event %s, acknowledged as %s, did not reach receiver %d", sender, p.ID, receiver))
			}
		}
		for sender, a := range arrivals {
			b.delivered += len(a.accepted)
			b.repeats += max(0, len(a.accepted)-1)
			if _, ok := l.promises[sender]; !ok {
				b.strangers = append(b.strangers, fmt.Sprintf("event %s reached receiver %d as %s, and was never acknowledged", sender, receiver, a.id))
			}
		}
	}
	return b
}

// A receiver answers deliveries and notes them in the ledger.
type receiver struct {
	ledger *ledger
	number int
	// failing is the part of the tries that get 503 for an answer.
	failing float64
	// slow is how long it thinks about one at most.
	slow time.Duration
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		// The appliance was killed in the middle; nothing has arrived.
		return
	}
	if err := verify(req.Header, body); err != nil {
		r.ledger.fault("receiver %d: %v: %.200s", r.number, err, body)
	}
	var e struct{ Data struct{ ID string } }
	if err := json.Unmarshal(body, &e); err != nil || e.Data.ID == "" {
		r.ledger.fault("receiver %d: not an event of the sender (%v): %.200s", r.number, err, body)
		return
	}
	if r.slow > 0 {
		select {
		case <-time.After(rand.N(r.slow)):
		case <-req.Context().Done():
		}
	}
	status := http.StatusOK
	if rand.Float64() < r.failing {
		status = http.StatusServiceUnavailable
	}
	r.ledger.arrive(r.number, e.Data.ID, req.Header.Get("webhook-id"), sumOf(body), req.Header.Get("X-Agent-ID"), status == http.StatusOK)
	w.WriteHeader(status)
}

func verify(h http.Header, body []byte) error {
	timestamp, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	return errors.Join(err,
		signature.VerifyAgent(h.Get("X-Agent-Signature"), body, subscriberSecret),
		signature.VerifyStandard(h.Get("webhook-signature"), h.Get("webhook-id"), timestamp, body, webhook.Secret(subscriberSecret)))
}

// The ledger is what all the rest relies on, so it has to be seen to fail.
func TestTheLedgerNoticesEveryBrokenPromise(t *testing.T) {
	kept := promise{Sender: "a", ID: "evt_1", Sum: "x"}
	for name, c := range map[string]struct {
		play func(l *ledger)
		want balance
	}{
		"kept before and after the acknowledgement": {
			func(l *ledger) {
				l.arrive(0, "a", "evt_1", "x", "life-1", true)
				l.promise(kept)
				l.arrive(1, "a", "evt_1", "x", "life-1", false)
				l.arrive(1, "a", "evt_1", "x", "life-1", true)
			},
			balance{acknowledged: 1, delivered: 2},
		},
		"lost at one of two": {
			func(l *ledger) { l.promise(kept); l.arrive(0, "a", "evt_1", "x", "life-1", true) },
			balance{acknowledged: 1, delivered: 1, lost: make([]string, 1)},
		},
		"refused by the receiver and not retried": {
			func(l *ledger) {
				l.arrive(0, "a", "evt_1", "x", "life-1", false)
				l.promise(kept)
				l.arrive(1, "a", "evt_1", "x", "life-1", true)
			},
			balance{acknowledged: 1, delivered: 1, lost: make([]string, 1)},
		},
		"repeated after a kill": {
			func(l *ledger) {
				l.promise(kept)
				l.arrive(0, "a", "evt_1", "x", "life-1", true)
				l.arrive(0, "a", "evt_1", "x", "life-2", true)
				l.arrive(1, "a", "evt_1", "x", "life-1", true)
			},
			balance{acknowledged: 1, delivered: 3, repeats: 1},
		},
		"repeated without a kill": {
			func(l *ledger) {
				l.promise(kept)
				l.arrive(0, "a", "evt_1", "x", "life-1", true)
				l.arrive(0, "a", "evt_1", "x", "life-1", true)
				l.arrive(1, "a", "evt_1", "x", "life-1", true)
			},
			balance{acknowledged: 1, delivered: 3, repeats: 1, faults: make([]string, 1)},
		},
		"another id in the acknowledgement of a repeat": {
			func(l *ledger) {
				l.promise(kept)
				l.promise(promise{Sender: "a", ID: "evt_2", Sum: "x"})
				l.arrive(0, "a", "evt_1", "x", "life-1", true)
				l.arrive(1, "a", "evt_1", "x", "life-1", true)
			},
			balance{acknowledged: 1, delivered: 2, faults: make([]string, 1)},
		},
		"another body": {
			func(l *ledger) {
				l.arrive(0, "a", "evt_1", "y", "life-1", true)
				l.promise(kept)
				l.arrive(1, "a", "evt_1", "x", "life-1", true)
			},
			balance{acknowledged: 1, delivered: 2, faults: make([]string, 1)},
		},
		"never acknowledged": {
			func(l *ledger) { l.arrive(0, "b", "evt_2", "x", "life-1", true) },
			balance{delivered: 1, strangers: make([]string, 1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(2)
			c.play(l)
			l.noMore()
			b := l.balance()
			if b.acknowledged != c.want.acknowledged || b.delivered != c.want.delivered || b.repeats != c.want.repeats ||
				len(b.lost) != len(c.want.lost) || len(b.strangers) != len(c.want.strangers) || len(b.faults) != len(c.want.faults) {
				t.Errorf("got %+v", b)
			}
			settled := false
			select {
			case <-l.settled:
				settled = true
			default:
			}
			if settled != (len(c.want.lost) == 0) {
				t.Errorf("settled: %t", settled)
			}
		})
	}
}
