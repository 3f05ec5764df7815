package dispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/webhook"
)

// hold is the policy of the defaults, save that it pauses after half a day.
func hold(o *dispatch.Options) {
	o.Hold = webhook.HoldPolicy{Hold: true, Failures: 10, After: time.Minute, PauseAfter: 12 * time.Hour}
}

// A ward is a receiver that is down until it is told otherwise. Requests to it
// take their time even so.
type ward struct {
	receiver
	up atomic.Bool
	// instead, if it is set, says what the receiver answers now.
	instead atomic.Pointer[func(*http.Request) (*http.Response, error)]
}

// turn has the receiver answer in another way from now on.
func (w *ward) turn(answer func(*http.Request) (*http.Response, error)) { w.instead.Store(&answer) }

func newWard(takes time.Duration) *ward {
	w := &ward{}
	w.answer = func(r *http.Request, _ int) (*http.Response, error) {
		if answer := w.instead.Load(); answer != nil {
			return (*answer)(r)
		}
		if r.URL.Host != "ill.example" || w.up.Load() {
			return status(200), nil
		}
		time.Sleep(takes)
		return status(503), nil
	}
	return w
}

// to are the requests to the host.
func (w *ward) to(host string) []arrival {
	var list []arrival
	for _, a := range w.all() {
		if a.host == host {
			list = append(list, a)
		}
	}
	return list
}

// one has requests go out one by one, so that failures come one after the other.
func one(s *webhook.Subscriber) { s.Concurrency = 1 }

func pass(d time.Duration) {
	time.Sleep(d)
	settle()
}

func stored(t *testing.T, store webhook.Store, id webhook.SubscriberID) webhook.Subscriber {
	t.Helper()
	list, err := store.Subscribers(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("%s is not stored", id)
	return webhook.Subscriber{}
}

// tally counts the deliveries to a subscriber by state, and what they have spent.
func tally(t *testing.T, store webhook.Store, id webhook.SubscriberID) (states map[webhook.State]int, spent int) {
	t.Helper()
	list, err := store.Deliveries(context.Background(), webhook.DeliveryFilter{Subscribers: []webhook.SubscriberID{id}}, webhook.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	states = map[webhook.State]int{}
	for _, d := range list.Items {
		states[d.State]++
		spent += d.Spent
	}
	return states, spent
}

func lane(t *testing.T, d *dispatch.Dispatcher, id webhook.SubscriberID) webhook.LaneState {
	t.Helper()
	state, err := d.LaneState(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func change(t *testing.T, d *dispatch.Dispatcher, id webhook.SubscriberID, f func(*webhook.Subscriber)) webhook.Subscriber {
	t.Helper()
	s, err := d.UpdateSubscriber(context.Background(), id, func(s *webhook.Subscriber) error {
		f(s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func resume(s *webhook.Subscriber) { s.Active, s.PausedReason = true, "" }

// fallIll publishes so many events for ill.example, and waits until the outage has
// begun: attempts take seven seconds each, so that the tenth failure comes a
// minute after the first.
func fallIll(t *testing.T, d *dispatch.Dispatcher, events int) {
	t.Helper()
	for i := range events {
		publish(t, d, fmt.Sprint(i))
	}
	pass(70 * time.Second)
}

func TestOutageHoldsWhatWaitsAndSpendsNoRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(7 * time.Second)
		d, store := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout = 10 * time.Second })
		s := subscribe(t, d, "https://ill.example", one)
		begin := time.Now()
		fallIll(t, d, 50)
		failing := stored(t, store, s.ID)
		if !failing.FailingSince.Equal(begin.Add(7*time.Second)) || !failing.UpdatedAt.Equal(s.UpdatedAt) || !failing.Active {
			t.Fatalf("the subscriber is stored as failing since %s, updated %s", failing.FailingSince, failing.UpdatedAt)
		}
		if known, _ := d.Subscriber(s.ID); !known.FailingSince.Equal(failing.FailingSince) {
			t.Errorf("the dispatcher tells that it fails since %s", known.FailingSince)
		}
		if l := lane(t, d, s.ID); !l.Held || !l.ProbeAt.Equal(time.Now().Add(10*time.Second)) || l.Failures != 10 || l.MayBe != 1 || l.InFlight != 0 {
			t.Errorf("the lane is %+v", l)
		}
		before := len(w.all())
		pass(2 * time.Hour)
		probes := w.all()[before:]
		end := begin.Add(70 * time.Second)
		wait := 10 * time.Second
		for i, probe := range probes {
			if got := probe.at.Sub(end); got < wait || got > wait+10*time.Millisecond {
				t.Errorf("probe %d went %s after the last attempt, want %s", i+1, got, wait)
			}
			end, wait = probe.at.Add(7*time.Second), min(2*wait, 10*time.Minute)
		}
		if len(probes) < 15 {
			t.Errorf("%d probes in two hours", len(probes))
		}
		if states, spent := tally(t, store, s.ID); states[webhook.Pending] != 50 || spent != 10 {
			t.Errorf("the deliveries are %v and have spent %d retries, want those of the ten failures", states, spent)
		}

		w.up.Store(true)
		before = len(w.all())
		pass(10 * time.Minute)
		drained := w.all()[before:]
		seconds := map[int]int{}
		for i, a := range drained {
			seconds[int(a.at.Sub(drained[0].at)/time.Second)]++
			if i > 0 && a.at.Before(drained[i-1].at) {
				t.Errorf("request %d began before the one before it", i)
			}
		}
		for second, n := range seconds {
			if second < 10 && n > 2<<second+1 {
				t.Errorf("%d requests began in second %d after the outage", n, second)
			}
		}
		if len(drained) != 50 || drained[49].at.Sub(drained[0].at) < 2*time.Second {
			t.Errorf("%d arrived after the outage, by second %v", len(drained), seconds)
		}
		if states, _ := tally(t, store, s.ID); states[webhook.Delivered] != 50 {
			t.Errorf("the deliveries are %v", states)
		}
		if healed := stored(t, store, s.ID); !healed.FailingSince.IsZero() || !healed.UpdatedAt.Equal(s.UpdatedAt) {
			t.Errorf("the subscriber is stored as failing since %s, updated %s", healed.FailingSince, healed.UpdatedAt)
		}
	})
}

func TestRateAfterAnOutageRisesToWhatTheLaneCanDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(7 * time.Second)
		d, store := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout = 10 * time.Second })
		s := subscribe(t, d, "https://ill.example", one)
		fallIll(t, d, 400)
		change(t, d, s.ID, func(s *webhook.Subscriber) { s.Concurrency = 10 })
		w.up.Store(true)
		before := len(w.all())
		pass(10 * time.Second)
		if l := lane(t, d, s.ID); l.Held || l.Rate != 2 || l.MayBe != 2 {
			t.Errorf("after the probe the lane is %+v", l)
		}
		pass(9 * time.Second)
		seconds := map[int]int{}
		arrived := w.all()[before:]
		for _, a := range arrived {
			seconds[int(a.at.Sub(arrived[0].at)/time.Second)]++
		}
		for second := range 7 {
			if n, want := seconds[second], 2<<second; n > want+1 || n < want/2 {
				t.Errorf("%d requests began in second %d, want %d", n, second, want)
			}
		}
		if states, _ := tally(t, store, s.ID); states[webhook.Delivered] != 400 {
			t.Errorf("the deliveries are %v", states)
		}
	})
}

// TestDeliveryThatFailsByItsOwnFaultDoesNotKeepTheOutage is about a probe that
// cannot succeed, though the receiver takes all others.
func TestDeliveryThatFailsByItsOwnFaultDoesNotKeepTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(7 * time.Second)
		d, store := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout = 10 * time.Second })
		s := subscribe(t, d, "https://ill.example", one)
		fallIll(t, d, 20)
		before := len(w.all())
		pass(10 * time.Second)
		bad := w.all()[before].header["X-Agent-Delivery"][0] // the first probe
		w.turn(func(r *http.Request) (*http.Response, error) {
			if r.Header["X-Agent-Delivery"][0] == bad {
				return status(500), nil
			}
			return status(200), nil
		})
		pass(time.Hour)
		states, _ := tally(t, store, s.ID)
		if states[webhook.Delivered] != 19 || states[webhook.Dead] != 1 || !stored(t, store, s.ID).FailingSince.IsZero() {
			t.Errorf("the deliveries are %v", states)
		}
	})
}

func TestFinalAnswerToAProbeIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(7 * time.Second)
		d, store := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout = 10 * time.Second })
		s := subscribe(t, d, "https://ill.example", one, func(s *webhook.Subscriber) { s.FinalOn4xx = true })
		fallIll(t, d, 20)
		w.turn(func(*http.Request) (*http.Response, error) { return status(404), nil })
		pass(35 * time.Second)
		if states, _ := tally(t, store, s.ID); states[webhook.Dead] != 2 || !lane(t, d, s.ID).Held {
			t.Errorf("after two probes that were answered 404 the deliveries are %v", states)
		}
		w.turn(func(*http.Request) (*http.Response, error) { return status(410), nil })
		pass(time.Hour)
		states, _ := tally(t, store, s.ID)
		if got := stored(t, store, s.ID); states[webhook.Dead] != 3 || got.Active || got.PausedReason != "the receiver answered 410 Gone" {
			t.Errorf("after 410 the deliveries are %v, the subscriber %+v", states, got)
		}
	})
}

func TestLongOutagePausesAndTellsOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(7 * time.Second)
		d, store := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout, o.Hold.PauseAfter = 10*time.Second, 120*time.Hour })
		wants := func(client string) func(*webhook.Subscriber) {
			return func(s *webhook.Subscriber) { s.ClientID, s.Events = client, []webhook.Pattern{"pintle.**"} }
		}
		subscribe(t, d, "https://operator.example", wants(""))
		subscribe(t, d, "https://own.example", wants("acme"))
		subscribe(t, d, "https://foreign.example", wants("other"))
		s := subscribe(t, d, "https://ill.example/hook?a=1&b=2", one, func(s *webhook.Subscriber) {
			s.ClientID, s.Description, s.Events = "acme", "Acme's hook", []webhook.Pattern{"**"}
		})
		begin := time.Now()
		fallIll(t, d, 30)
		pass(120*time.Hour - time.Minute - 3*time.Second)
		if !stored(t, store, s.ID).Active {
			t.Fatal("it is paused too early")
		}
		pass(11 * time.Minute)
		paused := stored(t, store, s.ID)
		reason := "no delivery has succeeded since " + begin.Add(7*time.Second).UTC().Format(time.RFC3339) + ": the last attempt ended with status 503"
		if paused.Active || paused.PausedReason != reason || !paused.FailingSince.Equal(begin.Add(7*time.Second)) {
			t.Fatalf("after five days the subscriber is %+v", paused)
		}
		if told := w.to("operator.example"); len(told) != 1 || len(w.to("own.example")) != 1 || len(w.to("foreign.example")) != 0 {
			t.Fatalf("%d operators were told, %d of its client, %d of another", len(told), len(w.to("own.example")), len(w.to("foreign.example")))
		}
		var body struct {
			Event string
			Data  map[string]any
		}
		told := w.to("operator.example")[0]
		if err := json.Unmarshal([]byte(told.body), &body); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"subscriber_id": string(s.ID), "url": s.URL, "description": "Acme's hook", "reason": reason,
			"failing_since": paused.FailingSince.UTC().Format(time.RFC3339Nano), "paused_at": paused.UpdatedAt.UTC().Format(time.RFC3339Nano),
		}
		if body.Event != "pintle.subscriber.paused" || fmt.Sprint(body.Data) != fmt.Sprint(want) {
			t.Errorf("the event is %s %v, want %v", body.Event, body.Data, want)
		}
		if !strings.Contains(told.body, "a=1&b=2") {
			t.Errorf("the URL cannot be read: %s", told.body)
		}
		if e, err := store.Event(context.Background(), webhook.EventID(told.header["webhook-id"][0])); err != nil || e.Source != webhook.SourcePintle || e.ClientID != "acme" {
			t.Errorf("the event is stored as %+v, %v", e, err)
		}
		before := len(w.all())
		publish(t, d, "during the pause")
		pass(time.Hour)
		if got := w.all()[before:]; len(got) > 0 {
			t.Errorf("a paused subscriber was sent %v", got)
		}

		w.up.Store(true)
		change(t, d, s.ID, resume)
		settle()
		if got := len(w.all()) - before; got < 1 || got > 2 {
			t.Errorf("%d went out as soon as it was resumed", got)
		}
		pass(10 * time.Minute)
		resumed := stored(t, store, s.ID)
		if states, _ := tally(t, store, s.ID); states[webhook.Delivered] != 31 || !resumed.FailingSince.IsZero() {
			t.Errorf("after it was resumed the deliveries are %v, and it fails since %s", states, resumed.FailingSince)
		}
		change(t, d, s.ID, func(s *webhook.Subscriber) { s.Active, s.PausedReason = false, "by a person" })
		pass(time.Minute)
		if n := len(w.to("operator.example")); n != 1 {
			t.Errorf("operators were told %d times", n)
		}
	})
}

func TestPauseByGoneTellsOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(r *http.Request, _ int) (*http.Response, error) {
			if r.URL.Host == "gone.example" {
				return status(410), nil
			}
			return status(200), nil
		}}
		d, _ := start(t, r, hold)
		subscribe(t, d, "https://operator.example", func(s *webhook.Subscriber) { s.Events = []webhook.Pattern{"pintle.subscriber.paused"} })
		subscribe(t, d, "https://gone.example")
		publish(t, d, "1")
		publish(t, d, "2")
		pass(time.Minute)
		var told []arrival
		for _, a := range r.all() {
			if a.host == "operator.example" {
				told = append(told, a)
			}
		}
		if len(told) != 1 || !strings.Contains(told[0].body, `"reason":"the receiver answered 410 Gone","failing_since":null,`) {
			t.Errorf("operators were told %v", told)
		}
	})
}

func TestWithoutHoldEveryDeliverySpendsItsRetries(t *testing.T) {
	for name, off := range map[string]struct {
		options    func(*dispatch.Options)
		subscriber func(*webhook.Subscriber)
	}{
		"everywhere":         {func(o *dispatch.Options) { o.Hold.Hold = false }, func(*webhook.Subscriber) {}},
		"for the subscriber": {func(*dispatch.Options) {}, func(s *webhook.Subscriber) { s.NoHold = true }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWard(0)
				d, store := start(t, &w.receiver, hold, off.options)
				subscribe(t, d, "https://operator.example", func(s *webhook.Subscriber) { s.Events = []webhook.Pattern{"pintle.subscriber.*", "pintle.**"} })
				s := subscribe(t, d, "https://ill.example", off.subscriber)
				begin := time.Now()
				for i := range 20 {
					publish(t, d, fmt.Sprint(i))
				}
				pass(time.Hour)
				if states, spent := tally(t, store, s.ID); states[webhook.Dead] != 20 || spent != 20*7 {
					t.Errorf("after an hour the deliveries are %v and have spent %d", states, spent)
				}
				if got := stored(t, store, s.ID); !got.FailingSince.Equal(begin) || !got.Active || lane(t, d, s.ID).Held {
					t.Errorf("it is known to fail since %s, want %s", got.FailingSince, begin)
				}
				pass(11*time.Hour + time.Minute)
				publish(t, d, "the last")
				settle()
				if got := stored(t, store, s.ID); got.Active || len(w.to("operator.example")) != 1 {
					t.Errorf("after half a day it is %+v", got)
				}
			})
		})
	}
}

func TestSubscriberWithoutAutomaticPauseIsProbedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(7 * time.Second)
		d, store := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout, o.Hold.PauseAfter = 10*time.Second, time.Hour })
		s := subscribe(t, d, "https://ill.example", one, func(s *webhook.Subscriber) { s.NoAutoPause = true })
		fallIll(t, d, 12)
		pass(24 * time.Hour)
		if got := stored(t, store, s.ID); !got.Active || len(w.all()) < 100 {
			t.Errorf("after a day, and %d requests, it is %+v", len(w.all()), got)
		}
		w.up.Store(true)
		pass(11 * time.Minute)
		if states, _ := tally(t, store, s.ID); states[webhook.Delivered] != 12 {
			t.Errorf("the deliveries are %v", states)
		}
	})
}

func TestAnotherURLEndsTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(7 * time.Second)
		d, store := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout = 10 * time.Second })
		s := subscribe(t, d, "https://ill.example", one)
		fallIll(t, d, 15)
		change(t, d, s.ID, func(s *webhook.Subscriber) { s.Description = "new" })
		if l := lane(t, d, s.ID); !l.Held || stored(t, store, s.ID).FailingSince.IsZero() {
			t.Errorf("a new description ended the outage: %+v", l)
		}
		pass(12 * time.Second) // a probe is under way
		if moved := change(t, d, s.ID, func(s *webhook.Subscriber) { s.URL = "https://well.example" }); !moved.FailingSince.IsZero() {
			t.Errorf("it is said to fail since %s", moved.FailingSince)
		}
		pass(2 * time.Hour)
		if states, _ := tally(t, store, s.ID); states[webhook.Delivered] != 15 {
			t.Errorf("the deliveries are %v", states)
		}
		if got := stored(t, store, s.ID); !got.FailingSince.IsZero() {
			t.Errorf("it is stored as failing since %s", got.FailingSince)
		}
	})
}

func TestLaneStateOfWhomItIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := start(t, &receiver{}, hold)
		s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Concurrency = 3 })
		if l := lane(t, d, s.ID); l != (webhook.LaneState{MayBe: 3}) {
			t.Errorf("a lane that was never used is %+v", l)
		}
		if _, err := d.LaneState(context.Background(), "sub_unknown"); err == nil {
			t.Error("an unknown subscriber has a lane")
		}
		stop(d, 0)
		if _, err := d.LaneState(context.Background(), s.ID); err == nil {
			t.Error("a dispatcher that has stopped tells of a lane")
		}
	})
}
