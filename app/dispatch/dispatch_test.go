package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// TestMain makes the test the child of the pools that it uses.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == transform.WorkerCommand {
		os.Exit(transform.Serve())
	}
	goleak.VerifyTestMain(m)
}

// A receiver answers the requests of a dispatcher without a network, so that a
// test can run on synthetic time.
type receiver struct {
	answer func(r *http.Request, try int) (*http.Response, error)

	mu       sync.Mutex
	arrivals []arrival
	tries    map[string]int // by delivery
}

type arrival struct {
	at      time.Time
	host    string
	header  map[string][]string // the names as they were written
	body    string
	try     int
	attempt string
}

func (r *receiver) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	if request.URL.Path == "/token" {
		answer := status(200, "Content-Type", "application/json")
		answer.Body = io.NopCloser(strings.NewReader(`{"access_token":"token","token_type":"Bearer","expires_in":3600}`))
		return answer, nil
	}
	r.mu.Lock()
	id := request.Header["X-Agent-Delivery"][0]
	if r.tries == nil {
		r.tries = map[string]int{}
	}
	r.tries[id]++
	try := r.tries[id]
	r.arrivals = append(r.arrivals, arrival{time.Now(), request.URL.Host, request.Header, string(body), try, request.Header["X-Agent-Attempt"][0]})
	r.mu.Unlock()
	if r.answer == nil {
		return status(200), nil
	}
	return r.answer(request, try)
}

func (r *receiver) all() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrival(nil), r.arrivals...)
}

func status(code int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader("answer " + strconv.Itoa(code)))}
}

// hang waits until the request is given up.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func openStore(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(context.Background(), sqlite.Options{Path: path, Schema: string(schema), Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func options(store webhook.Store, transport http.RoundTripper) dispatch.Options {
	return dispatch.Options{
		Store: store, Logger: slog.New(slog.DiscardHandler), Transport: transport,
		Policy:  webhook.RetryPolicy{Retries: 6, Schedule: webhook.DefaultSchedule(), Jitter: 0.1},
		Timeout: 5 * time.Second, Concurrency: 10, MaxInFlight: 256, UserAgent: "AI-Agent-Webhook/1.0", AgentID: "agent_123",
	}
}

// start returns a running dispatcher on a store of its own; both are stopped at
// the end of the test.
func start(t *testing.T, r *receiver, change ...func(*dispatch.Options)) (*dispatch.Dispatcher, *sqlite.Store) {
	t.Helper()
	store := openStore(t, filepath.Join(t.TempDir(), "pintle.db"))
	o := options(store, r)
	for _, f := range change {
		f(&o)
	}
	d := dispatch.New(o)
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(d, 0)
		store.Close()
	})
	return d, store
}

func stop(d *dispatch.Dispatcher, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d.Stop(ctx)
}

func subscribe(t *testing.T, d *dispatch.Dispatcher, url string, change ...func(*webhook.Subscriber)) webhook.Subscriber {
	t.Helper()
	s := webhook.Subscriber{URL: url, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Events: []webhook.Pattern{"*"}, Active: true}
	for _, f := range change {
		f(&s)
	}
	s, err := d.AddSubscriber(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t *testing.T, d *dispatch.Dispatcher, key string) []webhook.NewDelivery {
	t.Helper()
	_, deliveries, err := d.Publish(context.Background(), webhook.Event{
		Source: "inbound", Type: "order.created", Timestamp: 1731602712, Data: []byte(`{"order_id": "A12345"}`),
	}, webhook.NewDedupeKey("inbound", key))
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

func find(t *testing.T, store webhook.Store, id webhook.DeliveryID) webhook.Delivery {
	t.Helper()
	d, err := webhook.FindDelivery(context.Background(), store, id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// settle lets everything happen that can happen without time passing. The
// writer of the store waits for the disk outside the bubble, which synctest
// takes for running, so it is waited for too.
func settle() { synctest.Wait() }

func TestRequestIsWhatTheContractSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		s := subscribe(t, d, "https://example.com/hook?x=1", func(s *webhook.Subscriber) { s.Headers = map[string]string{"X-Api-Key": "k"} })
		deliveries := publish(t, d, "1")
		settle()
		got := r.all()
		if len(got) != 1 {
			t.Fatalf("%d requests arrived, want 1", len(got))
		}
		body := `{"event":"order.created","timestamp":1731602712,"data":{"order_id": "A12345"}}`
		if got[0].body != body {
			t.Errorf("body is %s, want %s", got[0].body, body)
		}
		h := got[0].header
		now := strconv.FormatInt(time.Now().Unix(), 10)
		id := h["webhook-id"][0]
		want := map[string]string{
			"Content-Type": "application/json", "User-Agent": "AI-Agent-Webhook/1.0", "X-Agent-ID": "agent_123",
			"X-Agent-Event": "order.created", "X-Agent-Delivery": string(deliveries[0].ID), "X-Agent-Attempt": "1",
			"X-Agent-Signature": signature.SignAgent(s.Secret, []byte(body)),
			"webhook-timestamp": now,
			"webhook-signature": signature.SignStandard(id, time.Now().Unix(), []byte(body), s.Secret),
			"webhook-id":        id, "X-Api-Key": "k",
		}
		if !strings.HasPrefix(id, "evt_") || len(h) != len(want) {
			t.Errorf("header is %v", h)
		}
		for name, value := range want {
			if len(h[name]) != 1 || h[name][0] != value {
				t.Errorf("%s is %q, want %q", name, h[name], value)
			}
		}
	})
}

func TestFailedDeliveryFollowsTheScheduleAndDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) { return status(500), nil }}
		d, store := start(t, r)
		subscribe(t, d, "https://example.com")
		id := publish(t, d, "1")[0].ID
		begin := time.Now()
		time.Sleep(50 * time.Minute)
		settle()
		got := r.all()
		if len(got) != 7 {
			t.Fatalf("%d tries were made, want 7", len(got))
		}
		for i, wait := range webhook.DefaultSchedule() {
			gap := got[i+1].at.Sub(got[i].at)
			// Time is kept to the millisecond, and rounded up.
			if gap < wait || gap > wait+wait/10+2*time.Millisecond {
				t.Errorf("retry %d came after %s, want %s and at most a tenth more", i+1, gap, wait)
			}
		}
		for i, a := range got {
			if a.attempt != strconv.Itoa(i+1) || a.header["webhook-id"][0] != got[0].header["webhook-id"][0] || a.body != got[0].body {
				t.Errorf("try %d: attempt %s, id %s, body %s", i+1, a.attempt, a.header["webhook-id"], a.body)
			}
			if want := strconv.FormatInt(a.at.Unix(), 10); a.header["webhook-timestamp"][0] != want {
				t.Errorf("try %d is stamped %s, want %s", i+1, a.header["webhook-timestamp"][0], want)
			}
		}
		delivery := find(t, store, id)
		if delivery.State != webhook.Dead || delivery.Attempts != 7 || delivery.LastCode != 500 {
			t.Errorf("the delivery is %+v", delivery)
		}
		attempts, err := store.Attempts(context.Background(), id)
		if err != nil || len(attempts) != 7 {
			t.Fatalf("%d attempts are kept: %v", len(attempts), err)
		}
		if a := attempts[0]; a.Outcome != webhook.HTTPStatus || a.Code != 500 || string(a.ResponseBody) != "answer 500" || a.StartedAt.Before(begin.Truncate(time.Millisecond)) {
			t.Errorf("the first attempt is %+v", a)
		}
	})
}

func TestRetryThatSucceedsEndsTheDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
			if try < 3 {
				return nil, errors.New("broken pipe")
			}
			return status(204), nil
		}}
		d, store := start(t, r)
		subscribe(t, d, "https://example.com")
		id := publish(t, d, "1")[0].ID
		time.Sleep(time.Hour)
		settle()
		if delivery := find(t, store, id); delivery.State != webhook.Delivered || delivery.Attempts != 3 || len(r.all()) != 3 {
			t.Errorf("the delivery is %+v after %d tries", delivery, len(r.all()))
		}
	})
}

func TestAnswersAreJudged(t *testing.T) {
	tests := []struct {
		name    string
		code    int
		header  []string
		final   bool // the subscriber's final_on_4xx
		state   webhook.State
		next    time.Duration // at least
		active  bool
		outcome webhook.Outcome
	}{
		{"200", 200, nil, false, webhook.Delivered, 0, true, webhook.OK},
		{"299", 299, nil, false, webhook.Delivered, 0, true, webhook.OK},
		{"a redirect is a failure", 302, []string{"Location", "http://169.254.169.254/"}, false, webhook.Pending, time.Second, true, webhook.HTTPStatus},
		{"400 is retried", 400, nil, false, webhook.Pending, time.Second, true, webhook.HTTPStatus},
		{"400 is final where the subscriber says so", 400, nil, true, webhook.Dead, 0, true, webhook.HTTPStatus},
		{"408 is retried even so", 408, nil, true, webhook.Pending, time.Second, true, webhook.HTTPStatus},
		{"425 too", 425, nil, true, webhook.Pending, time.Second, true, webhook.HTTPStatus},
		{"429 too, not before it is welcome", 429, []string{"Retry-After", "90"}, true, webhook.Pending, 90 * time.Second, true, webhook.HTTPStatus},
		{"503 with a hint below the schedule", 503, []string{"Retry-After", "0"}, false, webhook.Pending, time.Second, true, webhook.HTTPStatus},
		{"503 with a hint beyond reason", 503, []string{"Retry-After", "99999999999999"}, false, webhook.Pending, time.Hour, true, webhook.HTTPStatus},
		{"410 is final and pauses", 410, nil, false, webhook.Dead, 0, false, webhook.HTTPStatus},
		{"999 is a failure", 999, nil, false, webhook.Pending, time.Second, true, webhook.HTTPStatus},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answer: func(*http.Request, int) (*http.Response, error) { return status(tt.code, tt.header...), nil }}
				d, store := start(t, r)
				subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.FinalOn4xx = tt.final })
				id := publish(t, d, "1")[0].ID
				now := time.Now()
				settle()
				got := find(t, store, id)
				if got.State != tt.state || got.LastOutcome != tt.outcome || got.LastCode != tt.code {
					t.Fatalf("the delivery is %+v", got)
				}
				if wait := got.NextAttemptAt.Sub(now); tt.state == webhook.Pending && (wait < tt.next || wait > tt.next+tt.next/10+2*time.Millisecond) {
					t.Errorf("the retry is due after %s, want %s", wait, tt.next)
				}
				list, err := store.Subscribers(context.Background())
				if err != nil || list[0].Active != tt.active || (list[0].PausedReason == "") != tt.active {
					t.Errorf("the subscriber is %+v, %v", list, err)
				}
			})
		})
	}
}

// TestRefusedTokenIsNotFinal: a token can be revoked before its end, which is no
// fault of the delivery, even where an answer 4xx is final.
func TestRefusedTokenIsNotFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, store := start(t, &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
			if try == 1 {
				return status(401), nil
			}
			return status(200), nil
		}})
		terms := func(s *webhook.Subscriber) { s.FinalOn4xx = true }
		subscribe(t, d, "https://plain.example", terms)
		subscribe(t, d, "https://oauth2.example", terms, func(s *webhook.Subscriber) {
			s.OAuth2 = webhook.OAuth2{TokenURL: "https://oauth2.example/token", ClientID: "pintle", ClientSecret: "secret"}
		})
		deliveries := publish(t, d, "1")
		time.Sleep(2 * time.Second)
		settle()
		var states []webhook.State
		for _, delivery := range deliveries {
			states = append(states, find(t, store, delivery.ID).State)
		}
		slices.Sort(states)
		if !slices.Equal(states, []webhook.State{webhook.Dead, webhook.Delivered}) {
			t.Errorf("they are %v, want one dead and, with a new token, one delivered", states)
		}
	})
}

func TestRetryAfterHoldsTheWholeSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
			return status(429, "Retry-After", "60"), nil
		}}
		d, _ := start(t, r)
		subscribe(t, d, "https://busy.example")
		publish(t, d, "1")
		settle()
		publish(t, d, "2")
		publish(t, d, "3")
		time.Sleep(59 * time.Second)
		settle()
		if got := r.all(); len(got) != 1 {
			t.Fatalf("%d requests were made while the subscriber wants none", len(got))
		}
		time.Sleep(2 * time.Second)
		settle()
		if got := r.all(); len(got) < 2 {
			t.Fatal("nothing was sent after the hold")
		}
	})
}

func TestHangingSubscriberDoesNotSlowTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(r *http.Request, _ int) (*http.Response, error) {
			if r.URL.Host == "hangs.example" {
				return hang(r)
			}
			return status(200), nil
		}}
		d, _ := start(t, r, func(o *dispatch.Options) { o.MaxInFlight = 20 })
		subscribe(t, d, "https://hangs.example")
		subscribe(t, d, "https://healthy.example")
		begin := time.Now()
		const events = 500
		for i := range events {
			publish(t, d, fmt.Sprint(i))
		}
		settle()
		healthy, hanging := 0, 0
		for _, a := range r.all() {
			if a.host == "healthy.example" {
				healthy++
			} else {
				hanging++
			}
			if !a.at.Equal(begin) {
				t.Errorf("%s was asked after %s", a.host, a.at.Sub(begin))
			}
		}
		if healthy != events || hanging != 5 {
			t.Errorf("%d of %d reached the healthy one at once, and %d are held by the other, want a quarter of all places", healthy, events, hanging)
		}
	})
}

func TestWhatDoesNotFitInMemoryIsSentAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) {
			time.Sleep(time.Second)
			return status(200), nil
		}}
		d, store := start(t, r)
		subscribe(t, d, "https://slow.example")
		const events = 700
		for i := range events {
			publish(t, d, fmt.Sprint(i))
		}
		time.Sleep(2 * time.Minute)
		settle()
		if got := r.all(); len(got) != events {
			t.Errorf("%d requests, want each of %d once", len(got), events)
		}
		left, err := store.Deliveries(context.Background(), webhook.DeliveryFilter{State: webhook.Pending}, webhook.Page{Limit: 10})
		if err != nil || len(left.Items) > 0 {
			t.Errorf("left pending: %v, %v", left.Items, err)
		}
	})
}

func TestStopFinishesWhatIsInFlightAndLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pintle.db")
		store := openStore(t, path)
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			return status(200), nil
		}}
		d := dispatch.New(options(store, r))
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		subscribe(t, d, "https://example.com")
		for i := range 25 {
			publish(t, d, fmt.Sprint(i))
		}
		settle()
		stop(d, 10*time.Second)
		stop(d, 0) // a second stop does nothing more
		store.Close()
		if got := len(r.all()); got != 10 {
			t.Fatalf("%d attempts were begun, want 10", got)
		}
		store = openStore(t, path)
		defer store.Close()
		delivered, err := store.Deliveries(context.Background(), webhook.DeliveryFilter{State: webhook.Delivered}, webhook.Page{Limit: 100})
		if err != nil || len(delivered.Items) != 10 {
			t.Fatalf("%d were delivered, want 10: %v", len(delivered.Items), err)
		}
		d = dispatch.New(options(store, r))
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		settle()
		stop(d, 0)
		if got := len(r.all()); got != 25 {
			t.Errorf("%d requests in all, want each of 25 once", got)
		}
	})
}

func TestAttemptThatAStopCutsShortDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t, filepath.Join(t.TempDir(), "pintle.db"))
		defer store.Close()
		r := &receiver{answer: func(r *http.Request, _ int) (*http.Response, error) { return hang(r) }}
		d := dispatch.New(options(store, r))
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		subscribe(t, d, "https://example.com")
		id := publish(t, d, "1")[0].ID
		settle()
		begin := time.Now()
		stop(d, time.Second)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("the stop took %s, want the second that it was given", took)
		}
		got := find(t, store, id)
		if got.State != webhook.Pending || got.LastOutcome != webhook.Interrupted || got.Attempts != 1 || got.Spent != 0 || got.NextAttemptAt.After(time.Now()) {
			t.Errorf("the delivery is %+v", got)
		}
	})
}

func TestPausedSubscriberWaitsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Active = false })
		set := func(active bool) {
			if _, err := d.UpdateSubscriber(context.Background(), s.ID, func(s *webhook.Subscriber) error { s.Active = active; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, d, "1")
		time.Sleep(time.Hour)
		settle()
		if len(r.all()) != 0 {
			t.Fatal("a paused subscriber was sent something")
		}
		set(true)
		settle()
		if len(r.all()) != 1 {
			t.Fatalf("%d requests after resuming, want 1", len(r.all()))
		}
		set(false)
		publish(t, d, "2")
		settle()
		set(true)
		publish(t, d, "3")
		settle()
		if len(r.all()) != 3 {
			t.Errorf("%d requests in the end, want 3", len(r.all()))
		}
	})
}

func TestChangeDoesNotBringARemovedSubscriberBack(t *testing.T) {
	d, store := start(t, &receiver{})
	for range 50 {
		s := subscribe(t, d, "https://example.com")
		var both sync.WaitGroup
		both.Go(func() {
			_, err := d.UpdateSubscriber(context.Background(), s.ID, func(s *webhook.Subscriber) error { s.Description = "changed"; return nil })
			if err != nil && !errors.Is(err, webhook.ErrNotFound) {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := d.RemoveSubscriber(context.Background(), s.ID); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if left, err := store.Subscribers(t.Context()); err != nil || len(left) > 0 {
			t.Fatalf("after the removal there are %v, %v", left, err)
		}
	}
}

func TestRemovedSubscriberIsSentNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(*http.Request, int) (*http.Response, error) { return status(500), nil }}
		d, store := start(t, r)
		s := subscribe(t, d, "https://example.com")
		id := publish(t, d, "1")[0].ID
		settle()
		if err := d.RemoveSubscriber(context.Background(), s.ID); err != nil {
			t.Fatal(err)
		}
		if got := publish(t, d, "2"); len(got) != 0 {
			t.Errorf("an event was addressed to a removed subscriber: %v", got)
		}
		time.Sleep(time.Hour)
		settle()
		if got := find(t, store, id); got.State != webhook.Cancelled || len(r.all()) != 1 {
			t.Errorf("the delivery is %+v after %d requests", got, len(r.all()))
		}
	})
}

func TestResendHasTheWholeScheduleBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
			if try <= 4 {
				return status(500), nil
			}
			return status(200), nil
		}}
		d, store := start(t, r, func(o *dispatch.Options) { o.Policy.Retries = 2 })
		subscribe(t, d, "https://example.com")
		id := publish(t, d, "1")[0].ID
		time.Sleep(time.Hour)
		settle()
		if got := find(t, store, id); got.State != webhook.Dead || got.Attempts != 3 {
			t.Fatalf("the delivery is %+v", got)
		}
		if resent, err := d.Resend(context.Background(), []webhook.DeliveryID{id}, time.Now(), 0); err != nil || len(resent) != 1 {
			t.Fatalf("resent %v, %v", resent, err)
		}
		time.Sleep(time.Hour)
		settle()
		got := r.all()
		if found := find(t, store, id); found.State != webhook.Delivered || found.Attempts != 5 || len(got) != 5 {
			t.Fatalf("the delivery is %+v after %d tries", found, len(got))
		}
		if gap := got[4].at.Sub(got[3].at); gap < time.Second || gap > 1102*time.Millisecond {
			t.Errorf("the resend was retried after %s, want the schedule's first second", gap)
		}
		if got[4].header["webhook-id"][0] != got[0].header["webhook-id"][0] || got[4].attempt != "5" {
			t.Errorf("the resend came as %v", got[4].header)
		}
	})
}

func TestRepeatIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		d, _ := start(t, r)
		subscribe(t, d, "https://example.com")
		publish(t, d, "same")
		publish(t, d, "same")
		settle()
		if len(r.all()) != 1 {
			t.Errorf("%d requests, want 1", len(r.all()))
		}
	})
}

func TestSubscriberHasTermsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(r *http.Request, _ int) (*http.Response, error) { return hang(r) }}
		d, store := start(t, r)
		subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
			s.Timeout, s.Concurrency, s.Schedule = 2*time.Second, 1, webhook.Schedule{10 * time.Second}
		})
		first, second := publish(t, d, "1")[0].ID, publish(t, d, "2")[0].ID
		settle()
		if len(r.all()) != 1 {
			t.Fatalf("%d are in flight, want 1", len(r.all()))
		}
		time.Sleep(time.Hour)
		settle()
		got := r.all()
		if len(got) != 4 || got[1].at.Sub(got[0].at) != 2*time.Second {
			t.Errorf("%d tries, the second after %s", len(got), got[1].at.Sub(got[0].at))
		}
		for _, id := range []webhook.DeliveryID{first, second} {
			if d := find(t, store, id); d.State != webhook.Dead || d.Attempts != 2 || d.LastOutcome != webhook.Timeout {
				t.Errorf("the delivery is %+v", d)
			}
		}
	})
}

func TestNothingIsSentAgainAfterItWasDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		done := map[string]bool{}
		again := 0
		r := &receiver{answer: func(r *http.Request, try int) (*http.Response, error) {
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			id := r.Header["X-Agent-Delivery"][0]
			if done[id] {
				again++
			}
			if r.URL.Host == "flaky.example" && rand.IntN(5) == 0 {
				return status(503), nil
			}
			done[id] = true
			return status(200), nil
		}}
		d, store := start(t, r, func(o *dispatch.Options) {
			o.Policy.Schedule, o.Policy.Retries = webhook.Schedule{20 * time.Millisecond, 50 * time.Millisecond}, 50
		})
		subscribe(t, d, "https://healthy.example")
		subscribe(t, d, "https://flaky.example")
		const senders, events = 16, 100
		var wg sync.WaitGroup
		for sender := range senders {
			wg.Go(func() {
				for n := range events {
					publish(t, d, fmt.Sprint(sender, "-", n))
					time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		settle()
		left, err := store.Deliveries(context.Background(), webhook.DeliveryFilter{State: webhook.Pending}, webhook.Page{Limit: 10})
		if err != nil || len(left.Items) > 0 || len(done) != 2*senders*events || again > 0 {
			t.Errorf("%d of %d were delivered, %d came again afterwards, left are %v, %v", len(done), 2*senders*events, again, left.Items, err)
		}
	})
}
