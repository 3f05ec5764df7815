package dispatch_test

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/webhook"
)

func TestOutageOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pintle.db")
		w := newWard(7 * time.Second)
		var (
			d     *dispatch.Dispatcher
			store webhook.Store
		)
		run := func() (end func()) {
			s := openStore(t, path)
			o := options(s, w)
			hold(&o)
			o.Timeout = 10 * time.Second
			d, store = dispatch.New(o), s
			if err := d.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return func() {
				stop(d, 0)
				s.Close()
			}
		}
		end := run()
		s := subscribe(t, d, "https://ill.example", one)
		begin := time.Now()
		fallIll(t, d, 30)
		pass(4*time.Hour + 5*time.Minute) // in the middle of a wait
		end()
		pass(2 * time.Hour)
		before := len(w.all())
		end = run()
		settle()
		if l := lane(t, d, s.ID); !l.Held || l.MayBe != 1 || l.InFlight != 1 {
			t.Errorf("after the restart the lane is %+v", l)
		}
		pass(time.Hour)
		if n := len(w.all()) - before; n < 5 || n > 12 {
			t.Errorf("%d requests in the first hour after the restart", n)
		}
		if states, spent := tally(t, store, s.ID); states[webhook.Pending] != 30 || spent != 10 {
			t.Errorf("the deliveries are %v and have spent %d", states, spent)
		}
		pass(4*time.Hour + 50*time.Minute)
		if !stored(t, store, s.ID).Active {
			t.Error("it is paused too early")
		}
		pass(20 * time.Minute)
		if got := stored(t, store, s.ID); got.Active || !got.FailingSince.Equal(begin.Add(7*time.Second)) {
			t.Errorf("half a day after it began to fail it is %+v", got)
		}
		end()
		end = run()
		w.up.Store(true)
		change(t, d, s.ID, resume)
		pass(10 * time.Minute)
		if states, _ := tally(t, store, s.ID); states[webhook.Delivered] != 30 {
			t.Errorf("after it was resumed the deliveries are %v", states)
		}
		end()
	})
}

func TestProbeCutShortByAStopIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pintle.db")
		store := openStore(t, path)
		w := newWard(7 * time.Second)
		o := options(store, w)
		hold(&o)
		o.Timeout = 10 * time.Second
		d := dispatch.New(o)
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := subscribe(t, d, "https://ill.example", one)
		fallIll(t, d, 11)
		w.turn(hang)
		pass(10 * time.Second)
		stop(d, 0)
		store.Close()
		store = openStore(t, path)
		defer store.Close()
		w.turn(func(*http.Request) (*http.Response, error) { return status(200), nil })
		o.Store = store
		d = dispatch.New(o)
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		if states, spent := tally(t, store, s.ID); states[webhook.Delivered] != 11 || spent > 21 {
			t.Errorf("the deliveries are %v and have spent %d", states, spent)
		}
		stop(d, 0)
	})
}

// A reluctant store refuses subscribers for a while.
type reluctant struct {
	webhook.Store
	refuses atomic.Pointer[func(webhook.Subscriber) bool]
	refused atomic.Int64
}

func (r *reluctant) PutSubscriber(ctx context.Context, s webhook.Subscriber) error {
	if refuses := r.refuses.Load(); refuses != nil && (*refuses)(s) {
		r.refused.Add(1)
		return webhook.ErrStorageFull
	}
	return r.Store.PutSubscriber(ctx, s)
}

func TestOutageIsStoredAsSoonAsItCanBe(t *testing.T) {
	failing := func(s webhook.Subscriber) bool { return !s.FailingSince.IsZero() }
	tests := map[string]struct {
		meanwhile func(t *testing.T, d *dispatch.Dispatcher, w *ward, id webhook.SubscriberID)
		failing   bool
	}{
		"nothing happens meanwhile": {func(*testing.T, *dispatch.Dispatcher, *ward, webhook.SubscriberID) {}, true},
		"a person describes it": {func(t *testing.T, d *dispatch.Dispatcher, _ *ward, id webhook.SubscriberID) {
			change(t, d, id, func(s *webhook.Subscriber) { s.Description = "new" })
		}, true},
		"it is over": {func(_ *testing.T, _ *dispatch.Dispatcher, w *ward, _ webhook.SubscriberID) { w.up.Store(true) }, false},
		"a person has it call another URL": {func(t *testing.T, d *dispatch.Dispatcher, _ *ward, id webhook.SubscriberID) {
			change(t, d, id, func(s *webhook.Subscriber) { s.URL, s.Description = "https://well.example", "new" })
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWard(7 * time.Second)
				store := &reluctant{}
				d, _ := start(t, &w.receiver, hold, func(o *dispatch.Options) {
					o.Timeout, store.Store = 10*time.Second, o.Store
					o.Store = store
				})
				s := subscribe(t, d, "https://ill.example", one)
				store.refuses.Store(&failing)
				fallIll(t, d, 15)
				tt.meanwhile(t, d, w, s.ID)
				pass(time.Minute)
				if store.refused.Load() == 0 {
					t.Fatal("nothing was refused")
				}
				// Whatever is not wanted any more must not be stored later.
				store.refuses.Store(nil)
				for range 10 {
					pass(time.Second / 2)
					got := stored(t, store, s.ID)
					known, _ := d.Subscriber(s.ID)
					if got.FailingSince.IsZero() == tt.failing || !known.FailingSince.Equal(got.FailingSince) {
						t.Fatalf("it is stored as failing since %s, and known since %s", got.FailingSince, known.FailingSince)
					}
					if got.Description != known.Description || got.URL != known.URL {
						t.Fatalf("stored is %+v, known %+v", got, known)
					}
				}
			})
		})
	}
}

func TestPauseIsTriedUntilItIsStoredUnlessAPersonIsFirst(t *testing.T) {
	const reason = "by a person"
	automatic := func(s webhook.Subscriber) bool { return !s.Active && s.PausedReason != reason }
	tests := map[string]struct {
		person func(*webhook.Subscriber)
		active bool
		told   int
	}{
		"nobody":                      {func(s *webhook.Subscriber) { s.Description = "new" }, false, 1},
		"who pauses it":               {func(s *webhook.Subscriber) { s.Active, s.PausedReason = false, reason }, false, 0},
		"who wants it to stay active": {func(s *webhook.Subscriber) { s.NoAutoPause = true }, true, 0},
		"who has it call another URL": {func(s *webhook.Subscriber) { s.URL = "https://well.example" }, true, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWard(7 * time.Second)
				store := &reluctant{}
				d, _ := start(t, &w.receiver, hold, func(o *dispatch.Options) {
					o.Timeout, o.Hold.PauseAfter, store.Store = 10*time.Second, time.Hour, o.Store
					o.Store = store
				})
				subscribe(t, d, "https://operator.example", func(s *webhook.Subscriber) { s.Events = []webhook.Pattern{"pintle.**"} })
				s := subscribe(t, d, "https://ill.example", one)
				store.refuses.Store(&automatic)
				fallIll(t, d, 15)
				pass(80 * time.Minute)
				change(t, d, s.ID, tt.person)
				store.refuses.Store(nil)
				pass(time.Minute)
				got, told := stored(t, store, s.ID), len(w.to("operator.example"))
				if got.Active != tt.active || automatic(got) != (tt.told > 0) || told != tt.told {
					t.Errorf("operators were told %d times, want %d; active %v, want %v, paused with %q", told, tt.told, got.Active, tt.active, got.PausedReason)
				}
			})
		})
	}
}

// An onlooker keeps since when the subscribers fail that it is told of.
type onlooker struct{ since chan time.Time }

func (o *onlooker) Accepted(*webhook.Event, int, bool) {}

func (o *onlooker) Attempted(_ *webhook.Event, s *webhook.Subscriber, _ *webhook.Result) {
	o.since <- s.FailingSince
}

func TestObserverSeesWhoIsInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, observer := newWard(7*time.Second), &onlooker{make(chan time.Time, 100)}
		d, _ := start(t, &w.receiver, hold, func(o *dispatch.Options) { o.Timeout, o.Observer = 10*time.Second, observer })
		subscribe(t, d, "https://ill.example", one)
		begin := time.Now()
		fallIll(t, d, 11)
		for range 10 {
			if since := <-observer.since; !since.IsZero() {
				t.Errorf("told of an outage since %s before it began", since)
			}
		}
		if since := <-observer.since; !since.Equal(begin.Add(7 * time.Second)) {
			t.Errorf("the probe is told with an outage since %s", since)
		}
	})
}
