package dispatch_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/webhook"
)

// latencies has events arrive at a steady rate for some hundred subscribers, each
// for one of them, and returns how long those took, in order, that are not for the
// first so many, which hang. The first seconds do not count: until the first timeouts
// nobody knows who hangs.
func latencies(t *testing.T, hanging int) []time.Duration {
	const subscribers, events, uncounted = 400, 2400, 1400
	var all []time.Duration
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(r *http.Request, _ int) (*http.Response, error) {
			n, err := strconv.Atoi(strings.TrimSuffix(r.URL.Host, ".example"))
			if err != nil {
				return nil, err
			}
			if n < hanging {
				return hang(r)
			}
			time.Sleep(2 * time.Millisecond)
			return status(200), nil
		}}
		d, _ := start(t, r, func(o *dispatch.Options) { o.MaxInFlight = 100 })
		for n := range subscribers {
			subscribe(t, d, fmt.Sprintf("https://%d.example", n), func(s *webhook.Subscriber) {
				s.Events = []webhook.Pattern{webhook.Pattern(strconv.Itoa(n))}
			})
		}
		sent := map[string]time.Time{}
		for n := range events {
			e := webhook.Event{Source: "inbound", Type: strconv.Itoa(n % subscribers), Timestamp: 1, Data: []byte("1")}
			now := time.Now()
			_, deliveries, err := d.Publish(context.Background(), e, webhook.NewDedupeKey("inbound", strconv.Itoa(n)))
			if err != nil {
				t.Fatal(err)
			}
			if n >= uncounted {
				sent[string(deliveries[0].ID)] = now
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		for _, a := range r.all() {
			at, counted := sent[a.header["X-Agent-Delivery"][0]]
			if n, _ := strconv.Atoi(strings.TrimSuffix(a.host, ".example")); counted && n >= hanging {
				all = append(all, a.at.Sub(at)+2*time.Millisecond)
			}
		}
	})
	slices.Sort(all)
	return all
}

func TestReceiversThatHangDoNotSlowTheOthers(t *testing.T) {
	p99 := func(hanging int) time.Duration {
		all := latencies(t, hanging)
		if len(all) < 700 {
			t.Fatalf("%d arrivals were counted", len(all))
		}
		return all[len(all)*99/100]
	}
	well, ill := p99(0), p99(120)
	if ill > well*3/2 {
		t.Errorf("p99 is %s while so many hang that they could take all places, and %s while none does", ill, well)
	}
}

// TestReceiversThatAreSlowLeavePlacesToOthers: they answer, so they are trusted,
// and there are enough of them to take all places.
func TestReceiversThatAreSlowLeavePlacesToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(r *http.Request, _ int) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "slow") {
				time.Sleep(2 * time.Second)
			}
			return status(200), nil
		}}
		d, _ := start(t, r, func(o *dispatch.Options) { o.MaxInFlight = 40 })
		for n := range 10 {
			subscribe(t, d, fmt.Sprintf("https://slow%d.example", n))
		}
		for n := range 30 {
			publish(t, d, fmt.Sprint("slow ", n))
		}
		time.Sleep(5 * time.Second) // they have proved themselves, and are busy
		quick := subscribe(t, d, "https://quick.example")
		before := time.Now()
		published := publish(t, d, "quick")
		settle()
		for _, a := range r.all() {
			if a.host == "quick.example" && !a.at.Equal(before) {
				t.Errorf("%s waited %s for a place", quick.ID, a.at.Sub(before))
			}
		}
		if !slices.ContainsFunc(r.all(), func(a arrival) bool { return a.host == "quick.example" }) {
			t.Errorf("of %v nothing reached the quick one", published)
		}
	})
}

func TestFreshDeliveriesGoBeforeRetriesWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := true
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) {
			if failing {
				return status(500), nil
			}
			time.Sleep(time.Second)
			return status(200), nil
		}}
		d, _ := start(t, r)
		subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
			s.Concurrency, s.Schedule = 1, webhook.Schedule{time.Minute}
		})
		for n := range 40 {
			publish(t, d, fmt.Sprint("old ", n))
		}
		settle()
		failing = false
		time.Sleep(59 * time.Second)
		settle()
		began := len(r.all())
		for n := range 40 {
			publish(t, d, fmt.Sprint("new ", n))
		}
		time.Sleep(80 * time.Second)
		var attempts []string
		for _, a := range r.all()[began:] {
			attempts = append(attempts, a.attempt)
		}
		if len(attempts) < 60 {
			t.Fatalf("%d attempts were made", len(attempts))
		}
		// The retries fall due a little later than the first of the fresh ones.
		fresh, longest, run := 0, 0, 0
		for _, attempt := range attempts[8:48] {
			if attempt == "1" {
				fresh, run = fresh+1, run+1
				longest = max(longest, run)
			} else {
				run = 0
			}
		}
		if fresh != 30 || longest != 3 {
			t.Errorf("of 40 attempts %d were fresh, and at most %d between two retries: %v", fresh, longest, attempts)
		}
	})
}

func TestRateLimitSpacesTheRequestsOfItsSubscriberOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		subscribe(t, d, "https://slow.example", func(s *webhook.Subscriber) { s.RateLimit = 4 })
		subscribe(t, d, "https://quick.example")
		begin := time.Now()
		for n := range 20 {
			publish(t, d, strconv.Itoa(n))
		}
		time.Sleep(10 * time.Second)
		var slow []time.Time
		for _, a := range r.all() {
			if a.host == "slow.example" {
				slow = append(slow, a.at)
			} else if !a.at.Equal(begin) {
				t.Errorf("another subscriber waited %s", a.at.Sub(begin))
			}
		}
		if len(slow) != 20 {
			t.Fatalf("%d of 20 arrived", len(slow))
		}
		for i := range slow[1:] {
			if gap := slow[i+1].Sub(slow[i]); gap < 240*time.Millisecond || gap > 260*time.Millisecond {
				t.Errorf("request %d came %s after the one before", i+1, gap)
			}
		}
	})
}

func TestRateLimitOutlivesAnIdleLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.RateLimit = 0.1 })
		publish(t, d, "1")
		time.Sleep(3 * time.Second)
		publish(t, d, "2")
		time.Sleep(time.Minute)
		got := r.all()
		if len(got) != 2 || got[1].at.Sub(got[0].at) < 9*time.Second {
			t.Errorf("arrivals: %v", got)
		}
	})
}

// ordered publishes an event with this key.
func ordered(t *testing.T, d *dispatch.Dispatcher, key string, n int) webhook.DeliveryID {
	t.Helper()
	_, deliveries, err := d.Publish(context.Background(), webhook.Event{
		Source: "inbound", Type: "order.changed", Timestamp: 1, Data: fmt.Appendf(nil, `{"order":%q,"n":%d}`, key, n),
	}, webhook.NewDedupeKey("inbound", fmt.Sprint(key, " ", n)))
	if err != nil {
		t.Fatal(err)
	}
	return deliveries[0].ID
}

func TestFailingHeadBlocksItsOwnKeyOnly(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &receiver{}
			first := ""
			r.answer = func(r *http.Request, try int) (*http.Response, error) {
				if r.Header["X-Agent-Delivery"][0] == first && try < 3 {
					return status(500), nil
				}
				return status(200), nil
			}
			d, store := start(t, r)
			s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
				s.Active, s.Ordered, s.PausedReason = false, ".data.order", "until all is there"
			})
			first = string(ordered(t, d, "a", 1))
			for n := range 300 {
				ordered(t, d, "a", n+2)
				ordered(t, d, "b", n+1)
			}
			if _, err := d.UpdateSubscriber(t.Context(), s.ID, func(s *webhook.Subscriber) error {
				s.Active, s.PausedReason = true, ""
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			settle()
			for _, a := range r.all() {
				if strings.Contains(a.body, `"order":"a"`) && a.header["X-Agent-Delivery"][0] != first {
					t.Fatalf("%s overtook the head of its key", a.body)
				}
			}
			if got := len(r.all()); got != 301 {
				t.Errorf("%d requests were made while the head of one key waits, want the head and 300 of the other key", got)
			}
			if stopped {
				stop(d, 0)
				d = dispatch.New(options(store, r))
				if err := d.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				defer stop(d, 0)
			}
			time.Sleep(10 * time.Second)
			settle()
			next := map[string]int{}
			for _, a := range r.all() {
				for _, key := range []string{"a", "b"} {
					var n int
					if _, err := fmt.Sscanf(a.body, `{"event":"order.changed","timestamp":1,"data":{"order":"`+key+`","n":%d}}`, &n); err != nil {
						continue
					}
					if n != next[key]+1 && n != next[key] {
						t.Fatalf("%s: %d after %d", key, n, next[key])
					}
					next[key] = n
				}
			}
			if next["a"] != 301 || next["b"] != 300 {
				t.Errorf("the last ones are %v", next)
			}
		})
	}
}

func TestDeadHeadDoesWhatOnDeadSays(t *testing.T) {
	const of = "a"
	setup := func(t *testing.T, onDead webhook.OnDead) (*dispatch.Dispatcher, *receiver, []webhook.DeliveryID) {
		r := &receiver{}
		first := ""
		r.answer = func(r *http.Request, _ int) (*http.Response, error) {
			if r.Header["X-Agent-Delivery"][0] == first {
				return status(500), nil
			}
			return status(200), nil
		}
		d, _ := start(t, r)
		subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
			s.Ordered, s.OnDead, s.Schedule, s.Active, s.PausedReason = ".data.order", onDead, webhook.Schedule{time.Second}, false, "x"
		})
		ids := []webhook.DeliveryID{ordered(t, d, of, 1), ordered(t, d, of, 2), ordered(t, d, of, 3)}
		first = string(ids[0])
		s := d.Subscribers()[0]
		if _, err := d.UpdateSubscriber(t.Context(), s.ID, func(s *webhook.Subscriber) error { s.Active, s.PausedReason = true, ""; return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		settle()
		return d, r, ids
	}
	delivered := func(r *receiver, id webhook.DeliveryID) bool {
		return slices.ContainsFunc(r.all(), func(a arrival) bool { return a.header["X-Agent-Delivery"][0] == string(id) })
	}
	synctest.Test(t, func(t *testing.T) {
		_, r, ids := setup(t, webhook.OnDeadSkip)
		if !delivered(r, ids[1]) || !delivered(r, ids[2]) {
			t.Error("skip: a dead head holds up the later ones of its key")
		}
	})
	ways := map[string]func(t *testing.T, d *dispatch.Dispatcher, head webhook.DeliveryID){
		"purge": func(t *testing.T, d *dispatch.Dispatcher, head webhook.DeliveryID) {
			if n, err := d.Purge(t.Context(), []webhook.DeliveryID{head}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		},
		"skip": func(t *testing.T, d *dispatch.Dispatcher, _ webhook.DeliveryID) {
			if _, err := d.UpdateSubscriber(t.Context(), d.Subscribers()[0].ID, func(s *webhook.Subscriber) error {
				s.OnDead = webhook.OnDeadSkip
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		},
		"resend and cancel": func(t *testing.T, d *dispatch.Dispatcher, head webhook.DeliveryID) {
			if _, err := d.Resend(t.Context(), []webhook.DeliveryID{head}, time.Now().Add(time.Hour), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Cancel(t.Context(), []webhook.DeliveryID{head}); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, way := range ways {
		synctest.Test(t, func(t *testing.T) {
			d, r, ids := setup(t, webhook.OnDeadBlock)
			later := ordered(t, d, of, 4)
			free := ordered(t, d, "b", 1)
			settle()
			if delivered(r, ids[1]) || delivered(r, later) || !delivered(r, free) {
				t.Fatalf("%s: a dead head does not block its key, or blocks another", name)
			}
			way(t, d, ids[0])
			settle()
			if !delivered(r, ids[1]) || !delivered(r, ids[2]) || !delivered(r, later) {
				t.Errorf("%s: the key stays blocked", name)
			}
		})
	}
}

// TestSlowKeyLeavesRoomToTheOthers: however much waits of one key, and however long
// its head takes, another key is served at once.
func TestSlowKeyLeavesRoomToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		r.answer = func(request *http.Request, _ int) (*http.Response, error) {
			if slices.ContainsFunc(r.all(), func(a arrival) bool {
				return a.header["X-Agent-Delivery"][0] == request.Header["X-Agent-Delivery"][0] && strings.Contains(a.body, `"slow"`)
			}) {
				time.Sleep(4 * time.Second)
			}
			return status(200), nil
		}
		d, _ := start(t, r)
		subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Ordered = ".data.order" })
		const slow = 200
		for n := range slow {
			ordered(t, d, "slow", n)
		}
		settle()
		for n := range 20 {
			id := ordered(t, d, "quick", n)
			settle()
			if !slices.ContainsFunc(r.all(), func(a arrival) bool { return a.header["X-Agent-Delivery"][0] == string(id) }) {
				t.Fatalf("%d of the other key waits", n)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(slow * 5 * time.Second)
		if got := len(r.all()); got != slow+20 {
			t.Errorf("%d requests, want %d", got, slow+20)
		}
	})
}

// TestWhatWaitsBehindACancelledHeadGoesOn, though its last attempt was under way and
// failed.
func TestWhatWaitsBehindACancelledHeadGoesOn(t *testing.T) {
	for name, schedule := range map[string]webhook.Schedule{"a retry would follow": {time.Hour}, "it would be dead": {}} {
		synctest.Test(t, func(t *testing.T) {
			first := ""
			r := &receiver{}
			r.answer = func(r *http.Request, _ int) (*http.Response, error) {
				if r.Header["X-Agent-Delivery"][0] == first {
					time.Sleep(time.Second)
					return status(500), nil
				}
				return status(200), nil
			}
			d, _ := start(t, r)
			s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
				s.Ordered, s.Schedule, s.Active, s.PausedReason = webhook.OrderedStrictly, schedule, false, "until all is there"
			})
			first = string(ordered(t, d, "a", 1))
			ordered(t, d, "a", 2)
			change(t, d, s.ID, resume)
			settle()
			cancel(t, d, webhook.DeliveryID(first))
			time.Sleep(2 * time.Second)
			if got := len(r.all()); got != 2 {
				t.Errorf("%s: %d requests, want the head and the next", name, got)
			}
		})
	}
}
