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
	"strings"
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
	// Sum is the digest of the body that subscribers are to receive, and Canonical
	// that of the same value as jq writes it.
	Sum, Canonical string
	// Passes says whether the filter wants the event.
	Passes bool
}

// terms say what a receiver may expect beyond having what was promised.
type terms struct {
	// ordered: of each key one after the other, in the order of their places.
	ordered bool
	// transformed: the canonical value, inside a body that would be another one if
	// it were made again.
	transformed bool
	// filtered: what passes, and nothing else.
	filtered bool
}

func (t terms) wants(p promise) bool { return p.Passes || !t.filtered }

func (t terms) sum(p promise) string {
	if t.transformed {
		return p.Canonical
	}
	return p.Sum
}

// A ledger sets what arrived against what was promised.
type ledger struct {
	mu       sync.Mutex
	promises map[string]promise
	// terms are by receiver, arrivals by receiver and by the sender's id, and orders
	// by receiver and key.
	terms    []terms
	arrivals []map[string]*arrival
	orders   []map[string]*order
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
	accepted []int
	// whole is the digest of all that the last first attempt carried, and made the
	// life that it came from.
	whole string
	made  int
}

// An order is how far a receiver has come with the events of a key, whose places
// count from one.
type order struct {
	// latest is the farthest place that has come, in the life; accepted the farthest
	// that was answered with 200.
	latest, life, accepted int
}

// A request is a delivery as it arrives.
type request struct {
	// sender is the id that the sender gave the event, and id that of the delivery's
	// header.
	sender, id string
	// sum is the digest of the event, and whole that of the body, which differs where
	// a transform has put the one into the other.
	sum, whole string
	// life is that of the appliance, and attempt the one of the delivery that it says
	// this is.
	life, attempt int
	// key and place are what order goes by.
	key   string
	place int
	// at is when the event was first sent.
	at time.Time
}

func newLedger(receivers ...terms) *ledger {
	l := &ledger{promises: map[string]promise{}, terms: receivers, settled: make(chan struct{}), faulty: make(chan struct{})}
	for range receivers {
		l.arrivals = append(l.arrivals, map[string]*arrival{})
		l.orders = append(l.orders, map[string]*order{})
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
		if l.terms[receiver].wants(p) && (a == nil || len(a.accepted) == 0) {
			l.outstanding++
		}
	}
}

// arrive notes that a delivery has come, before it is answered: what comes too
// early is not excused by an answer that is given meanwhile.
func (l *ledger) arrive(receiver int, r request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.arrivals[receiver][r.sender]
	if a == nil {
		a = &arrival{id: r.id, sum: r.sum}
		l.arrivals[receiver][r.sender] = a
	} else if a.id != r.id || a.sum != r.sum {
		l.faultLocked("event %s came to receiver %d as %s with body %s and again as %s with body %s",
			r.sender, receiver, a.id, a.sum, r.id, r.sum)
	}
	if p, promised := l.promises[r.sender]; promised {
		l.compareLocked(receiver, p, r.id, r.sum)
	}
	if l.terms[receiver].ordered {
		l.followLocked(receiver, r)
	}
	l.repeatLocked(receiver, a, r)
}

// followLocked checks that all before the request in its order were answered with
// 200. It may be one that was: a kill has it come again, as long as the next has not
// come. What the kernel had of an appliance that is gone may come later still.
func (l *ledger) followLocked(receiver int, r request) {
	o := l.orders[receiver][r.key]
	if o == nil {
		o = &order{}
		l.orders[receiver][r.key] = o
	}
	switch {
	case r.place > o.accepted+1:
		l.faultLocked("event %s came to receiver %d as the %d. of %s, of which it has accepted %d",
			r.sender, receiver, r.place, r.key, o.accepted)
	case r.place < o.latest && r.life >= o.life:
		l.faultLocked("event %s came to receiver %d as the %d. of %s, behind the %d.",
			r.sender, receiver, r.place, r.key, o.latest)
	}
	o.latest, o.life = max(o.latest, r.place), max(o.life, r.life)
}

// repeatLocked checks that attempts carry what the first one did. Of a first attempt
// that was not recorded before a kill nobody knows: then there is another first one.
func (l *ledger) repeatLocked(receiver int, a *arrival, r request) {
	switch {
	case r.life < a.made:
	case r.attempt == 1 && r.life > a.made:
		a.whole, a.made = r.whole, r.life
	case r.whole != a.whole:
		l.faultLocked("event %s came to receiver %d in attempt %d with another body than in the first", r.sender, receiver, r.attempt)
	}
}

// accept notes that a delivery which has come is answered with 200. Only a kill
// excuses that it comes again.
func (l *ledger) accept(receiver int, r request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.arrivals[receiver][r.sender]
	if slices.Contains(a.accepted, r.life) {
		l.faultLocked("event %s came to receiver %d as %s and was accepted, and came again in the same life %d", r.sender, receiver, r.id, r.life)
	}
	a.accepted = append(a.accepted, r.life)
	if o := l.orders[receiver][r.key]; o != nil {
		o.accepted = max(o.accepted, r.place)
	}
	if p, promised := l.promises[r.sender]; promised && l.terms[receiver].wants(p) && len(a.accepted) == 1 {
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
	if want := l.terms[receiver].sum(p); id != p.ID || sum != want {
		l.faultLocked("event %s was acknowledged as %s with body %s but came to receiver %d as %s with body %s",
			p.Sender, p.ID, want, receiver, id, sum)
	}
	if !l.terms[receiver].wants(p) {
		l.faultLocked("event %s came to receiver %d, whose filter does not want it", p.Sender, receiver)
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
			if a := arrivals[sender]; l.terms[receiver].wants(p) && (a == nil || len(a.accepted) == 0) {
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
	terms
	ledger *ledger
	number int
	// failing is the part of the tries that get 503 for an answer, once they have
	// waited so long.
	failing float64
	failure time.Duration
	// hanging is the part that get no answer at all.
	hanging float64
	// slow is how long it thinks about one at most.
	slow time.Duration
	// took, if not nil, is told how long after the event was first sent its first
	// attempt came.
	took func(time.Duration)
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		// The appliance was killed in the middle; nothing has arrived.
		return
	}
	got, err := r.read(req.Header, body)
	if err != nil {
		r.ledger.fault("receiver %d: %v: %.200s", r.number, err, body)
		return
	}
	r.ledger.arrive(r.number, got)
	if r.took != nil && got.attempt == 1 {
		r.took(time.Since(got.at))
	}
	if rand.Float64() < r.hanging {
		<-req.Context().Done()
		return
	}
	wait, fails := r.failure, rand.Float64() < r.failing
	if !fails && r.slow > 0 {
		wait = rand.N(r.slow)
	}
	select {
	case <-time.After(wait):
	case <-req.Context().Done():
	}
	if fails {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.ledger.accept(r.number, got)
}

// read verifies a delivery and tells what it is.
func (r *receiver) read(h http.Header, body []byte) (request, error) {
	got := request{id: h.Get("webhook-id"), whole: sumOf(body)}
	event := body
	if r.transformed {
		var made struct{ Of json.RawMessage }
		if err := json.Unmarshal(body, &made); err != nil {
			return got, err
		}
		event = made.Of
	}
	got.sum = sumOf(event)
	var e struct{ Data data }
	err := json.Unmarshal(event, &e)
	got.sender, got.key, got.place = e.Data.ID, e.Data.Key, e.Data.Place
	got.at = time.UnixMicro(e.Data.At)
	life, errLife := strconv.Atoi(strings.TrimPrefix(h.Get("X-Agent-ID"), lifePrefix))
	attempt, errAttempt := strconv.Atoi(h.Get("X-Agent-Attempt"))
	got.life, got.attempt = life, attempt
	if err == nil && got.sender == "" {
		err = errors.New("not an event of the sender")
	}
	return got, errors.Join(err, errLife, errAttempt, verify(h, body))
}

func verify(h http.Header, body []byte) error {
	timestamp, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	return errors.Join(err,
		signature.VerifyAgent(h.Get("X-Agent-Signature"), body, subscriberSecret),
		signature.VerifyStandard(h.Get("webhook-signature"), h.Get("webhook-id"), timestamp, body, webhook.Secret(subscriberSecret)))
}

// The ledger is what all the rest relies on, so it has to be seen to fail.
func TestTheLedgerNoticesEveryBrokenPromise(t *testing.T) {
	kept := promise{Sender: "a", ID: "evt_1", Sum: "x", Canonical: "c", Passes: true}
	// came is the event as it arrives in a life, made again if it is a first attempt.
	came := func(life int) request {
		return request{sender: "a", id: "evt_1", sum: "x", whole: "x", life: life, attempt: 1}
	}
	made := func(life, attempt int, whole string) request {
		return request{sender: "a", id: "evt_1", sum: "c", whole: whole, life: life, attempt: attempt}
	}
	at := func(place, life int) request {
		id := strconv.Itoa(place)
		return request{sender: id, id: "evt_" + id, sum: "x", whole: "x", life: life, attempt: 1, key: "k", place: place}
	}
	accept := func(l *ledger, receiver int, r request) {
		l.arrive(receiver, r)
		l.accept(receiver, r)
	}
	promiseOf := func(places ...int) (promises []promise) {
		for _, place := range places {
			r := at(place, 0)
			promises = append(promises, promise{Sender: r.sender, ID: r.id, Sum: r.sum, Passes: true})
		}
		return promises
	}
	two := []terms{{}, {}}
	for name, c := range map[string]struct {
		receivers []terms
		promises  []promise
		play      func(l *ledger)
		want      balance
	}{
		"kept before and after the acknowledgement": {
			two, nil, func(l *ledger) {
				accept(l, 0, came(1))
				l.promise(kept)
				l.arrive(1, came(1))
				accept(l, 1, came(1))
			},
			balance{acknowledged: 1, delivered: 2},
		},
		"lost at one of two": {
			two, []promise{kept}, func(l *ledger) { accept(l, 0, came(1)) },
			balance{acknowledged: 1, delivered: 1, lost: make([]string, 1)},
		},
		"refused by the receiver and not retried": {
			two, nil, func(l *ledger) {
				l.arrive(0, came(1))
				l.promise(kept)
				accept(l, 1, came(1))
			},
			balance{acknowledged: 1, delivered: 1, lost: make([]string, 1)},
		},
		"repeated after a kill": {
			two, []promise{kept}, func(l *ledger) {
				accept(l, 0, came(1))
				accept(l, 0, came(2))
				accept(l, 1, came(1))
			},
			balance{acknowledged: 1, delivered: 3, repeats: 1},
		},
		"repeated without a kill": {
			two, []promise{kept}, func(l *ledger) {
				accept(l, 0, came(1))
				accept(l, 0, came(1))
				accept(l, 1, came(1))
			},
			balance{acknowledged: 1, delivered: 3, repeats: 1, faults: make([]string, 1)},
		},
		"another id in the acknowledgement of a repeat": {
			two, []promise{kept, {Sender: "a", ID: "evt_2", Sum: "x", Canonical: "c", Passes: true}}, func(l *ledger) {
				accept(l, 0, came(1))
				accept(l, 1, came(1))
			},
			balance{acknowledged: 1, delivered: 2, faults: make([]string, 1)},
		},
		"another body": {
			two, nil, func(l *ledger) {
				accept(l, 0, request{sender: "a", id: "evt_1", sum: "y", life: 1, attempt: 1})
				l.promise(kept)
				accept(l, 1, came(1))
			},
			balance{acknowledged: 1, delivered: 2, faults: make([]string, 1)},
		},
		"never acknowledged": {
			two, nil, func(l *ledger) { accept(l, 0, request{sender: "b", id: "evt_2", sum: "x", life: 1, attempt: 1}) },
			balance{delivered: 1, strangers: make([]string, 1)},
		},
		"in order, with a refusal and a kill": {
			[]terms{{ordered: true}}, promiseOf(1, 2), func(l *ledger) {
				l.arrive(0, at(1, 1))
				accept(l, 0, at(1, 1))
				accept(l, 0, at(1, 2))
				accept(l, 0, at(2, 2))
				l.arrive(0, at(1, 1)) // what the kernel had of the first life
			},
			balance{acknowledged: 2, delivered: 3, repeats: 1},
		},
		"out of order": {
			[]terms{{ordered: true}}, promiseOf(1, 2), func(l *ledger) {
				accept(l, 0, at(2, 1))
				accept(l, 0, at(1, 2))
			},
			balance{acknowledged: 2, delivered: 2, faults: make([]string, 2)},
		},
		"in order, but before the answer to the one before": {
			[]terms{{ordered: true}}, promiseOf(1, 2), func(l *ledger) {
				l.arrive(0, at(1, 1))
				l.arrive(0, at(2, 1))
				l.accept(0, at(1, 1))
				l.accept(0, at(2, 1))
			},
			balance{acknowledged: 2, delivered: 2, faults: make([]string, 1)},
		},
		"repeated behind the next": {
			[]terms{{ordered: true}}, promiseOf(1, 2), func(l *ledger) {
				accept(l, 0, at(1, 1))
				accept(l, 0, at(2, 1))
				accept(l, 0, at(1, 2))
			},
			balance{acknowledged: 2, delivered: 3, repeats: 1, faults: make([]string, 1)},
		},
		"transformed once, and after a kill once more": {
			[]terms{{transformed: true}}, []promise{kept}, func(l *ledger) {
				l.arrive(0, made(1, 1, "p"))
				l.arrive(0, made(2, 1, "q"))
				accept(l, 0, made(2, 2, "q"))
			},
			balance{acknowledged: 1, delivered: 1},
		},
		"transformed for each attempt": {
			[]terms{{transformed: true}}, []promise{kept}, func(l *ledger) {
				l.arrive(0, made(1, 1, "p"))
				accept(l, 0, made(1, 2, "q"))
			},
			balance{acknowledged: 1, delivered: 1, faults: make([]string, 1)},
		},
		"transformed again after a kill, though the first attempt was recorded": {
			[]terms{{transformed: true}}, []promise{kept}, func(l *ledger) {
				l.arrive(0, made(1, 1, "p"))
				accept(l, 0, made(2, 2, "q"))
			},
			balance{acknowledged: 1, delivered: 1, faults: make([]string, 1)},
		},
		"not transformed": {
			[]terms{{transformed: true}}, []promise{kept}, func(l *ledger) { accept(l, 0, came(1)) },
			balance{acknowledged: 1, delivered: 1, faults: make([]string, 1)},
		},
		"kept away by the filter": {
			[]terms{{filtered: true}}, []promise{{Sender: "a", ID: "evt_1"}}, func(*ledger) {},
			balance{acknowledged: 1},
		},
		"not kept away by the filter": {
			[]terms{{filtered: true}}, []promise{{Sender: "a", ID: "evt_1", Sum: "x"}}, func(l *ledger) { accept(l, 0, came(1)) },
			balance{acknowledged: 1, delivered: 1, faults: make([]string, 1)},
		},
		"lost in the filter": {
			[]terms{{filtered: true}}, []promise{kept}, func(*ledger) {},
			balance{acknowledged: 1, lost: make([]string, 1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(c.receivers...)
			for _, p := range c.promises {
				l.promise(p)
			}
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
