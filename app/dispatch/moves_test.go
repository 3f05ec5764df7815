package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

func event() webhook.Event {
	return webhook.Event{Source: "admin", Type: "order.created", Timestamp: 1731602712, Data: []byte(`{}`)}
}

func cancel(t *testing.T, d *dispatch.Dispatcher, ids ...webhook.DeliveryID) []webhook.Delivery {
	t.Helper()
	cancelled, err := d.Cancel(context.Background(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return cancelled
}

func resend(t *testing.T, d *dispatch.Dispatcher, first time.Time, every time.Duration, ids ...webhook.DeliveryID) []webhook.Delivery {
	t.Helper()
	resent, err := d.Resend(context.Background(), ids, first, every)
	if err != nil {
		t.Fatal(err)
	}
	return resent
}

func TestPublishToReachesOneSubscriberWhateverItsPatterns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		subscribe(t, d, "https://all.example")
		s := subscribe(t, d, "https://picky.example", func(s *webhook.Subscriber) { s.Events = []webhook.Pattern{"never"} })
		_, deliveries, err := d.PublishTo(context.Background(), event(), webhook.NewDedupeKey("admin", "1"), s.ID)
		if err != nil || len(deliveries) != 1 || deliveries[0].SubscriberID != s.ID {
			t.Fatalf("published %v, %v", deliveries, err)
		}
		settle()
		if got := r.all(); len(got) != 1 || got[0].host != "picky.example" {
			t.Errorf("requests are %v", got)
		}
		if _, _, err := d.PublishTo(context.Background(), event(), webhook.NewDedupeKey("admin", "2"), "sub_unknown"); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("an unknown subscriber: %v", err)
		}
	})
}

func TestDispatcherTellsItsSubscribersAndTheirPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := start(t, &receiver{})
		first := subscribe(t, d, "https://first.example")
		second := subscribe(t, d, "https://second.example", func(s *webhook.Subscriber) {
			s.Events, s.Schedule, s.Headers = []webhook.Pattern{"user.*"}, webhook.Schedule{time.Second, time.Minute}, map[string]string{"A": "1"}
		})
		list := d.Subscribers()
		if len(list) != 2 || list[0].ID != second.ID || list[1].ID != first.ID {
			t.Fatalf("the subscribers are %v", list)
		}
		if _, err := d.UpdateSubscriber(context.Background(), second.ID, func(s *webhook.Subscriber) error {
			s.Headers["A"], s.Events[0], s.Schedule[0] = "2", "*", time.Hour
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if s := list[0]; s.Headers["A"] != "1" || s.Events[0] != "user.*" || s.Schedule[0] != time.Second {
			t.Errorf("a subscriber that was handed out has changed: %+v", s)
		}
		if s, ok := d.Subscriber(second.ID); !ok || s.Headers["A"] != "2" || d.Subscribers()[0].Headers["A"] != "2" {
			t.Errorf("the change is not seen: %+v", s)
		}
		if _, ok := d.Subscriber("sub_unknown"); ok {
			t.Error("an unknown subscriber is known")
		}
		e := event()
		if got, err := d.Recipients(context.Background(), &e); err != nil || len(got) != 2 {
			t.Errorf("the recipients are %v, %v", got, err)
		}
		if p := d.Policy(second.ID); p.Retries != 2 || p.Schedule[0] != time.Hour {
			t.Errorf("the policy of a subscriber with its own is %+v", p)
		}
		for _, id := range []webhook.SubscriberID{first.ID, "sub_unknown"} {
			if p := d.Policy(id); p.Retries != 6 || len(p.Schedule) != 6 {
				t.Errorf("the policy of %s is %+v", id, p)
			}
		}
	})
}

func TestCancelledRetryIsNotMadeUntilItIsResent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
			if try == 1 {
				return status(500), nil
			}
			return status(200), nil
		}}
		d, store := start(t, r)
		subscribe(t, d, "https://example.com")
		id := publish(t, d, "1")[0].ID
		settle()
		if got := cancel(t, d, id); len(got) != 1 || got[0].State != webhook.Cancelled {
			t.Fatalf("cancelled %+v", got)
		}
		time.Sleep(time.Hour)
		settle()
		if got := find(t, store, id); got.State != webhook.Cancelled || len(r.all()) != 1 {
			t.Fatalf("the delivery is %+v after %d requests", got, len(r.all()))
		}
		resend(t, d, time.Now(), 0, id)
		settle()
		if got := find(t, store, id); got.State != webhook.Delivered || got.Attempts != 2 || len(r.all()) != 2 {
			t.Errorf("the delivery is %+v after %d requests", got, len(r.all()))
		}
	})
}

func TestCancelledDeliveryInFlightEndsAsHistory(t *testing.T) {
	for _, resent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
				time.Sleep(3 * time.Second)
				if try == 1 {
					return status(500), nil
				}
				return status(200), nil
			}}
			d, store := start(t, r)
			subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Concurrency = 1 })
			first, second := publish(t, d, "1")[0].ID, publish(t, d, "2")[0].ID
			settle()
			if n := d.InFlight(); n != 1 {
				t.Errorf("%d are in flight, want 1", n)
			}
			time.Sleep(time.Second)
			if got := cancel(t, d, first, second); len(got) != 2 {
				t.Errorf("cancelled %v, want both", got)
			}
			if resent {
				resend(t, d, time.Now(), 0, first)
			}
			time.Sleep(time.Hour)
			settle()
			want, requests := webhook.Cancelled, 1
			if resent {
				want, requests = webhook.Delivered, 2
			}
			if got := find(t, store, first); got.State != want || got.Attempts != requests {
				t.Errorf("resent %v: the one in flight is %+v", resent, got)
			}
			if got := find(t, store, second); got.State != webhook.Cancelled || got.Attempts != 0 || len(r.all()) != requests || d.InFlight() != 0 {
				t.Errorf("resent %v: the one that waited is %+v after %d requests, %d in flight", resent, got, len(r.all()), d.InFlight())
			}
		})
	}
}

func TestResendsKeepTheirDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Concurrency = 1 })
		var ids []webhook.DeliveryID
		for i := range 300 { // more than a lane holds
			ids = append(ids, publish(t, d, fmt.Sprint(i))[0].ID)
		}
		time.Sleep(time.Minute)
		settle()
		before := len(r.all())
		first := time.Now().Add(10 * time.Second).Truncate(time.Millisecond)
		if got := resend(t, d, first, time.Second, ids...); len(got) != len(ids) {
			t.Fatalf("%d were resent", len(got))
		}
		time.Sleep(10 * time.Minute)
		settle()
		got := r.all()[before:]
		if len(got) != len(ids) {
			t.Fatalf("%d requests for %d resends to %s", len(got), len(ids), s.ID)
		}
		for i, a := range got {
			if want := first.Add(time.Duration(i) * time.Second); !a.at.Equal(want) || a.header["X-Agent-Delivery"][0] != string(ids[i]) {
				t.Fatalf("resend %d came at %v, want %v", i, a.at, want)
			}
		}
	})
}

func TestResendForLaterHoldsBackWhatWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) {
			time.Sleep(time.Second)
			return status(200), nil
		}}
		d, _ := start(t, r)
		subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Concurrency = 1 })
		publish(t, d, "1")
		waiting := publish(t, d, "2")[0].ID
		settle()
		due := time.Now().Add(time.Minute).Truncate(time.Millisecond)
		resend(t, d, due, 0, waiting)
		time.Sleep(time.Hour)
		settle()
		if got := r.all(); len(got) != 2 || got[1].at.Before(due) {
			t.Errorf("the requests are %v, want the second at %v", got, due)
		}
	})
}

func TestReplayMakesDeliveriesDueAtTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, store := start(t, r)
		accepted, _, err := d.Publish(context.Background(), event(), webhook.NewDedupeKey("admin", "1"))
		if err != nil {
			t.Fatal(err)
		}
		s := subscribe(t, d, "https://late.example")
		now := time.Now().Truncate(time.Millisecond)
		var replays []webhook.Replay
		for i := range 3 {
			replays = append(replays, webhook.Replay{EventID: accepted.ID, Delivery: webhook.NewDelivery{SubscriberID: s.ID}, DueAt: now.Add(time.Duration(i) * time.Minute)})
		}
		replays = append(replays, webhook.Replay{EventID: "evt_unknown", Delivery: webhook.NewDelivery{SubscriberID: s.ID}, DueAt: now})
		made, err := d.Replay(context.Background(), replays)
		if err != nil || len(made) != 3 || replays[0].Delivery.ID != "" {
			t.Fatalf("made %v, %v", made, err)
		}
		cancel(t, d, made[2].ID)
		time.Sleep(time.Hour)
		settle()
		got := r.all()
		if len(got) != 2 || got[0].at.Sub(now) > time.Second || got[1].at.Sub(now) < time.Minute || got[0].header["webhook-id"][0] != string(accepted.ID) {
			t.Errorf("the requests are %v", got)
		}
		if found := find(t, store, made[1].ID); found.State != webhook.Delivered {
			t.Errorf("the second is %+v", found)
		}
	})
}

// TestNothingIsLeftBehindWhateverPeopleDo lets people resend and cancel at
// random what is published, failed and retried meanwhile: no delivery may wait
// for ever.
func TestNothingIsLeftBehindWhateverPeopleDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) {
			time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
			if rand.IntN(2) == 0 {
				return status(500), nil
			}
			return status(200), nil
		}}
		d, store := start(t, r, func(o *dispatch.Options) {
			o.Policy.Schedule, o.Policy.Retries = webhook.Schedule{3 * time.Millisecond, 10 * time.Millisecond}, 6
		})
		subscribe(t, d, "https://flaky.example", func(s *webhook.Subscriber) { s.Concurrency = 2 })
		var mu sync.Mutex
		var ids []webhook.DeliveryID
		some := func() []webhook.DeliveryID {
			mu.Lock()
			defer mu.Unlock()
			var some []webhook.DeliveryID
			for range min(len(ids), 5) {
				some = append(some, ids[len(ids)-1-rand.IntN(min(len(ids), 200))])
			}
			return some
		}
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for i := range 100 {
					made := publish(t, d, fmt.Sprint(n, "-", i))
					mu.Lock()
					ids = append(ids, made[0].ID)
					mu.Unlock()
					time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
				}
			})
			wg.Go(func() {
				for range 60 {
					if n%2 == 0 {
						cancel(t, d, some()...)
					} else {
						resend(t, d, time.Now().Add(time.Duration(rand.IntN(3)*20)*time.Millisecond), time.Millisecond, some()...)
					}
					time.Sleep(time.Duration(rand.IntN(6)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		settle()
		left, err := store.Deliveries(context.Background(), webhook.DeliveryFilter{State: webhook.Pending}, webhook.Page{Limit: 500})
		if err != nil || len(left.Items) > 0 {
			t.Errorf("left behind: %+v, %v", left.Items, err)
		}
	})
}

// A witness keeps what it is told.
type witness struct {
	mu        sync.Mutex
	accepted  []string
	attempted []string
}

func (w *witness) Accepted(e *webhook.Event, deliveries int, duplicate bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accepted = append(w.accepted, fmt.Sprint(e.ID, " ", e.Type, " ", deliveries, " ", duplicate))
}

func (w *witness) Attempted(e *webhook.Event, s *webhook.Subscriber, r *webhook.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempted = append(w.attempted, fmt.Sprint(e.ID, " ", s.ID, " ", r.Attempt.DeliveryID, " ", r.Attempt.Number, " ", r.State))
}

func TestObserverIsToldOfEventsAndAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
			if try == 1 {
				return status(500), nil
			}
			return status(200), nil
		}}
		w := &witness{}
		d, _ := start(t, r, func(o *dispatch.Options) { o.Observer = w })
		s := subscribe(t, d, "https://example.com")
		key := webhook.NewDedupeKey("admin", "1")
		accepted, deliveries, err := d.Publish(context.Background(), event(), key)
		if err != nil {
			t.Fatal(err)
		}
		again := event()
		again.Type = "order.other"
		if _, _, err := d.Publish(context.Background(), again, key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		settle()
		w.mu.Lock()
		defer w.mu.Unlock()
		if want := []string{fmt.Sprint(accepted.ID, " order.created 1 false"), fmt.Sprint(accepted.ID, " order.created 0 true")}; !slices.Equal(w.accepted, want) {
			t.Errorf("told of the events %q, want %q", w.accepted, want)
		}
		try := fmt.Sprint(accepted.ID, " ", s.ID, " ", deliveries[0].ID)
		if want := []string{try + " 1 pending", try + " 2 delivered"}; !slices.Equal(w.attempted, want) {
			t.Errorf("told of the attempts %q, want %q", w.attempted, want)
		}
	})
}

func TestReplacedSecretSignsUntilItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		s := subscribe(t, d, "https://example.com")
		old, fresh := s.Secret, webhook.NewSecret()
		if _, err := d.UpdateSubscriber(context.Background(), s.ID, func(s *webhook.Subscriber) error {
			s.Rotate(fresh, time.Now(), time.Now().Add(time.Hour))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, secrets := range [][]webhook.Secret{{fresh, old}, {fresh}} {
			publish(t, d, fmt.Sprint(i))
			settle()
			got := r.all()[i]
			h := got.header
			if want := signature.SignStandard(h["webhook-id"][0], got.at.Unix(), []byte(got.body), secrets...); h["webhook-signature"][0] != want {
				t.Errorf("after %d hours the signature is %s, want %s", i, h["webhook-signature"], want)
			}
			if want := signature.SignAgent(fresh, []byte(got.body)); h["X-Agent-Signature"][0] != want {
				t.Errorf("X-Agent-Signature is %s, want %s", h["X-Agent-Signature"], want)
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestAttemptKeepsBothHeadersWithoutCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) {
			return status(200, "X-Second", "2", "Content-Type", "text/plain", "X-Odd", "a\r\nb\xff", "Set-Cookie", "session=hush"), nil
		}}
		d, store := start(t, r)
		subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
			s.Headers = map[string]string{"x-tenant": "acme", "Authorization": "Bearer hush", "X-Api-Key": "hush"}
		})
		id := publish(t, d, "1")[0].ID
		settle()
		h := r.all()[0].header
		if h["Authorization"][0] != "Bearer hush" || h["X-Api-Key"][0] != "hush" {
			t.Errorf("the credentials were sent as %v", h)
		}
		var want strings.Builder
		for _, name := range []string{"Content-Type", "User-Agent", "X-Agent-ID", "X-Agent-Event", "X-Agent-Delivery", "X-Agent-Attempt",
			"X-Agent-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"} {
			fmt.Fprintf(&want, "%s: %s\n", name, h[name][0])
		}
		want.WriteString("Authorization: ***\nX-Api-Key: ***\nX-Tenant: acme\n")
		attempts, err := store.Attempts(context.Background(), id)
		if err != nil || len(attempts) != 1 {
			t.Fatalf("the attempts are %v, %v", attempts, err)
		}
		if got := string(attempts[0].RequestHeader); got != want.String() {
			t.Errorf("the request's header is\n%swant\n%s", got, want.String())
		}
		if got := string(attempts[0].ResponseHeader); got != "Content-Type: text/plain\nSet-Cookie: ***\nX-Odd: a  b\ufffd\nX-Second: 2\n" {
			t.Errorf("the answer's header is %q", got)
		}
	})
}
