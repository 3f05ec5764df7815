package dispatch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

func TestClockNoticesOnlyThatItWasSetBack(t *testing.T) {
	start := time.Now() // with the monotonic clock
	for name, c := range map[string]struct {
		// wall is by how much the wall clock is off after a second.
		wall time.Duration
		back bool
	}{
		"as it should be":  {0, false},
		"made to go slow":  {-500 * time.Microsecond, false},
		"set forward":      {3 * time.Hour, false},
		"set back":         {-3 * time.Hour, true},
		"set back by 1.1s": {-1100 * time.Millisecond, true},
	} {
		var watch clock
		watch.read(start)
		watch.wall = watch.wall.Add(-c.wall) // it is not possible to make the other
		watch.read(start.Add(time.Second))
		if watch.wasSetBack() != c.back {
			t.Errorf("%s: noticed %t", name, watch.wasSetBack())
		}
		if c.back && watch.by != -c.wall {
			t.Errorf("%s: by %s", name, watch.by)
		}
	}
}

// read is the time as it would have been read with the wall clock ahead by as much, in
// whole seconds, and the monotonic clock as it was.
func read(t time.Time, ahead time.Duration) time.Time {
	layout := (*struct{ wall, ext uint64 })(unsafe.Pointer(&t))
	layout.wall += uint64(ahead/time.Second) << 30
	return t
}

// TestWhatIsStoredAfterTheStepWithATimeFromBeforeIsLate is about an attempt that was
// judged, and an event that was accepted, before the clock was set back, and stored
// when what is in the store had been brought forward already.
func TestWhatIsStoredAfterTheStepWithATimeFromBeforeIsLate(t *testing.T) {
	for _, ahead := range []time.Duration{0, 3 * time.Hour} {
		s, l := newTestScheduler()
		at := read(time.Now(), ahead)
		if got := at.Round(0).Sub(time.Now().Round(0)).Round(time.Second); got != ahead {
			t.Fatalf("the time is %s ahead, want %s", got, ahead)
		}
		s.recorded([]trial{{
			assignment: assignment{lane: l}, judgedAt: at,
			result: webhook.Result{Attempt: webhook.Attempt{DeliveryID: "judged"}, State: webhook.Pending, Spent: 1, NextAttemptAt: at.Add(time.Second).Round(0)},
		}})
		s.await(l, fresh, time.Now()) // no room for what comes
		e := &webhook.Event{Data: []byte("1"), ReceivedAt: at}
		s.accepted(e, []webhook.NewDelivery{{ID: "accepted", SubscriberID: "sub"}}, true)
		l.ready[fresh] = []webhook.Job{{Delivery: "ready", DueAt: at, Event: e}, {Delivery: "stored", DueAt: at.Round(0), Event: e}}
		s.spill(l)
		want := []webhook.DeliveryID{"judged", "accepted", "ready"}
		if ahead == 0 {
			want = nil
		}
		if !slices.Equal(s.clock.late, want) || s.clock.lateBy.Round(time.Second) != ahead {
			t.Errorf("%s ahead: %v are late, by %s; want %v", ahead, s.clock.late, s.clock.lateBy, want)
		}
	}
}

// A called is a transport that tells of each request.
type called chan *http.Request

func (c called) RoundTrip(r *http.Request) (*http.Response, error) {
	c <- r
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}, nil
}

// TestNothingWaitsForATimeThatHasBeen has one delivery in the store that was made,
// and one that failed, when the clock was three hours ahead.
func TestNothingWaitsForATimeThatHasBeen(t *testing.T) {
	const ahead, wait = 3 * time.Hour, 300 * time.Millisecond
	for name, running := range map[string]bool{"set back while running": true, "set back before the start": false} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			schema, err := os.ReadFile("../../schema.sql")
			if err != nil {
				t.Fatal(err)
			}
			store, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(t.TempDir(), "pintle.db"), Schema: string(schema), Synchronous: "normal"})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			arrivals := make(called, 10)
			d := New(Options{
				Store: store, Logger: slog.New(slog.DiscardHandler), Transport: arrivals, Timeout: time.Second, Concurrency: 10, MaxInFlight: 10,
				Policy: webhook.RetryPolicy{Retries: 6, Schedule: webhook.DefaultSchedule()},
			})
			begin := func() {
				if err := d.Start(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if running {
				begin()
			}
			sub, err := d.AddSubscriber(ctx, webhook.Subscriber{URL: "https://example.com", Secret: webhook.NewSecret(), Events: []webhook.Pattern{"*"}, Active: true})
			if err != nil {
				t.Fatal(err)
			}
			then := time.Now().Add(ahead)
			var ids []webhook.DeliveryID
			for _, key := range []string{"made", "failed"} {
				id := store.IDs().Delivery(then)
				ids = append(ids, id)
				if _, err := store.Accept(ctx, []webhook.Accept{{
					Event: webhook.Event{ID: store.IDs().Event(then), Source: "inbound", Type: "a.b", Data: []byte("1"), ReceivedAt: then},
					Key:   webhook.NewDedupeKey("inbound", key), Deliveries: []webhook.NewDelivery{{ID: id, SubscriberID: sub.ID}},
				}}); err != nil {
					t.Fatal(err)
				}
			}
			begun := time.Now()
			if err := store.Record(ctx, []webhook.Result{{
				Attempt: webhook.Attempt{DeliveryID: ids[1], Number: 1, StartedAt: then, Outcome: webhook.Timeout},
				DueAt:   then, State: webhook.Pending, Spent: 1, NextAttemptAt: then.Add(wait),
			}}); err != nil {
				t.Fatal(err)
			}
			if running {
				d.scheduler.post(func() { d.scheduler.clock.wall = d.scheduler.clock.wall.Add(ahead) })
			} else {
				begin()
			}
			defer func() {
				cut, cancel := context.WithCancel(context.Background())
				cancel()
				d.Stop(cut)
			}()
			for range ids {
				select {
				case r := <-arrivals:
					if r.Header.Get("X-Agent-Attempt") == "2" && time.Since(begun) < wait-10*time.Millisecond {
						t.Errorf("the retry came after %s, want its wait of %s", time.Since(begun), wait)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("a delivery still waits")
				}
			}
		})
	}
}

// A forgetful store cannot answer for a while.
type forgetful struct {
	webhook.Store
	fails int
	asked chan webhook.SetBack
}

func (f *forgetful) Backlog(ctx context.Context, clock webhook.SetBack) (map[webhook.SubscriberID]webhook.Backlog, error) {
	f.asked <- clock
	if f.fails--; f.fails >= 0 {
		return nil, errors.New("the disk has failed")
	}
	return nil, nil
}

// TestWhatIsMadeGoodLateIsMadeGoodAsItWas has the store fail for a minute: what the
// clock was set back by is no less by then.
func TestWhatIsMadeGoodLateIsMadeGoodAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tries = 60
		store := &forgetful{fails: tries, asked: make(chan webhook.SetBack, tries+3)}
		d := New(Options{Store: store, Logger: slog.New(slog.DiscardHandler), Concurrency: 1, MaxInFlight: 1})
		go d.scheduler.run()
		defer d.scheduler.stop()
		time.Sleep(2 * tick)
		begun := time.Now()
		setBack := func(by time.Duration) {
			d.scheduler.post(func() { d.scheduler.clock.wall = d.scheduler.clock.wall.Add(by) })
		}
		setBack(10 * time.Second)
		time.Sleep(tick)
		setBack(5 * time.Second) // meanwhile
		time.Sleep(2 * time.Minute)
		var asked []webhook.SetBack
		for range len(store.asked) {
			asked = append(asked, <-store.asked)
		}
		if len(asked) != tries+2 {
			t.Fatalf("asked %d times, want %d", len(asked), tries+2)
		}
		for i, setBack := range asked[:tries+1] {
			if !setBack.From.Equal(asked[0].From) || setBack.From.Sub(setBack.To) != 10*time.Second || setBack.To.Sub(begun) > 2*tick {
				t.Errorf("try %d: from %s to %s", i+1, setBack.From, setBack.To)
			}
		}
		if last := asked[tries+1]; last.From.Sub(last.To) != 5*time.Second {
			t.Errorf("the second: from %s to %s", last.From, last.To)
		}
	})
}
