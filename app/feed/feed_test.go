package feed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2025, 1, 2, 12, 0, 0, 0, time.UTC)

// publish publishes n events, of the types 0, 1, 2…
func publish(f *Feed, n int) {
	for i := range n {
		f.Accepted(&webhook.Event{Type: fmt.Sprint(i), ReceivedAt: noon}, 1, false)
	}
}

func next(t *testing.T, r *Reader) []api.Happening {
	t.Helper()
	batch, err := r.Next(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func TestEachObservationBecomesOneHappening(t *testing.T) {
	f := New(noon)
	r := f.Read(0)
	e := &webhook.Event{ID: "evt_1", Type: "order.created", Source: "inbound", ClientID: "acme", ReceivedAt: noon}
	s := &webhook.Subscriber{ID: "sub_1", URL: "https://a.example/hook"}
	f.Accepted(e, 3, false)
	f.Accepted(e, 0, true)
	f.Attempted(e, s, &webhook.Result{
		Attempt: webhook.Attempt{
			DeliveryID: "dlv_1", Number: 2, StartedAt: noon, Duration: 1500 * time.Microsecond,
			Outcome: webhook.Reset, Error: "connection reset", Code: 0,
		},
		State: webhook.Pending, NextAttemptAt: noon.Add(time.Minute),
	})
	f.Rejected(Rejection{ID: "rej_1", Source: "inbound", Client: netip.MustParseAddr("203.0.113.7"), Status: 401, Code: "invalid_signature", At: noon})
	f.Rejected(Rejection{ID: "rej_2", Status: 404, Code: "unknown_source", At: noon})
	first := f.first
	at := api.Time{Time: noon}
	want := []api.Happening{
		{Sequence: first, Kind: api.KindEvent, Time: at, EventID: "evt_1", EventType: "order.created", Source: "inbound", ClientID: "acme", Deliveries: 3},
		{Sequence: first + 1, Kind: api.KindEvent, Time: at, EventID: "evt_1", EventType: "order.created", Source: "inbound", ClientID: "acme", Duplicate: true},
		{
			Sequence: first + 2, Kind: api.KindAttempt, Time: api.Time{Time: noon.Add(1500 * time.Microsecond)},
			EventID: "evt_1", EventType: "order.created", Source: "inbound", ClientID: "acme",
			DeliveryID: "dlv_1", SubscriberID: "sub_1", SubscriberName: "a.example/hook", Attempt: 2, State: webhook.Pending,
			Outcome: webhook.Reset, Error: "connection reset", DurationMS: 1.5, NextAttemptAt: api.Time{Time: noon.Add(time.Minute)},
		},
		{Sequence: first + 3, Kind: api.KindRejection, Time: at, Source: "inbound", RequestID: "rej_1", Status: 401, Error: "invalid_signature", ClientIP: "203.0.113.7"},
		{Sequence: first + 4, Kind: api.KindRejection, Time: at, RequestID: "rej_2", Status: 404, Error: "unknown_source"},
	}
	got := next(t, r)
	if age := time.Since(got[1].Time.Time); age < 0 || age > time.Minute {
		t.Errorf("a repeat happened %s ago", age)
	}
	got[1].Time = at
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReaderGoesOnAfterTheSequenceThatItNames(t *testing.T) {
	f := New(noon)
	publish(f, 5)
	if got := next(t, f.Read(f.first+2)); len(got) != 2 || got[0].EventType != "3" {
		t.Errorf("after the third of five: %v", got)
	}
	synctest.Test(t, func(t *testing.T) {
		f := New(noon)
		publish(f, 5)
		for _, r := range []*Reader{f.Read(0), f.Read(f.next - 1)} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if got, err := r.Next(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a reader of what is to come got %v, %v", got, err)
			}
			cancel()
		}
	})
}

func TestReaderThatFallsBehindTheRingGetsAGapWithTheNumberMissed(t *testing.T) {
	f := New(noon)
	r := f.Read(0)
	publish(f, Size+7)
	got := next(t, r)
	want := api.Happening{Kind: api.KindGap, Sequence: f.first + 6, Time: api.Time{Time: noon}, Missed: 7}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error(diff)
	}
	n := len(got) - 1
	for n < Size {
		got = next(t, r)
		n += len(got)
		for _, h := range got {
			if h.Kind == api.KindGap {
				t.Fatal("one gap became two")
			}
		}
	}
	if n != Size || got[len(got)-1].Sequence != f.next-1 {
		t.Errorf("read %d after the gap, up to %d, want all %d up to %d", n, got[len(got)-1].Sequence, Size, f.next-1)
	}
	if resumed := next(t, f.Read(want.Sequence)); resumed[0].Sequence != want.Sequence+1 || resumed[0].Kind == api.KindGap {
		t.Errorf("a reader that goes on after the gap begins with %+v", resumed[0])
	}
}

func TestSequenceOfAnotherProcessBeginsWithAGap(t *testing.T) {
	before := New(noon)
	publish(before, 900)
	f := New(noon.Add(time.Millisecond))
	publish(f, 2)
	for _, after := range []uint64{1, before.next - 1, f.next, f.next + 1000} {
		got := next(t, f.Read(after))
		if len(got) != 3 || got[0].Kind != api.KindGap || got[0].Missed != 0 || got[1].Sequence != f.first {
			t.Errorf("after %d: %+v", after, got)
		}
	}
	empty := New(noon)
	if got := next(t, empty.Read(5)); len(got) != 1 || got[0].Kind != api.KindGap || got[0].Time.IsZero() {
		t.Errorf("where nothing has happened yet: %+v", got)
	}
}

func TestReaderWakesAtOnceWhenIdleAndTenTimesASecondUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(time.Now())
		defer f.Close()
		r := f.Read(0)
		woken := make(chan int, 1000)
		var readers sync.WaitGroup
		readers.Go(func() {
			for {
				batch, err := r.Next(t.Context(), nil)
				if err != nil {
					return
				}
				woken <- len(batch)
			}
		})
		time.Sleep(time.Hour)
		publish(f, 1)
		synctest.Wait()
		if len(woken) != 1 {
			t.Fatal("an idle reader did not wake at once")
		}
		<-woken
		for range 1000 {
			time.Sleep(time.Millisecond)
			publish(f, 1)
		}
		synctest.Wait()
		wakes, read := len(woken), 0
		for range wakes {
			read += <-woken
		}
		if wakes > 10 || read < 900 {
			t.Errorf("woke %d times in a second for %d happenings", wakes, read)
		}
		f.Close()
		readers.Wait()
	})
}

func TestCloseEndsReadersAndPublishersGoOn(t *testing.T) {
	f := New(noon)
	errs := make(chan error, 10)
	for range cap(errs) {
		r := f.Read(0)
		go func() {
			_, err := r.Next(t.Context(), nil)
			errs <- err
		}()
	}
	f.Close()
	f.Close()
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	publish(f, 1)
	if _, err := f.Read(f.first-1).Next(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a reader after the end: %v", err)
	}
}

func TestReadersSeeEverythingInOrderWhileManyPublish(t *testing.T) {
	const publishers, each = 4, 500
	f := New(noon)
	r := f.Read(0)
	var all sync.WaitGroup
	for range publishers {
		all.Go(func() { publish(f, each) })
	}
	for sequence := f.first; sequence < f.first+publishers*each; {
		for _, h := range next(t, r) {
			if h.Sequence != sequence {
				t.Fatalf("got %d, want %d", h.Sequence, sequence)
			}
			sequence++
		}
	}
	all.Wait()
}

func TestRateIsThatOfTheLastTenCompleteSeconds(t *testing.T) {
	f := New(noon)
	s := &webhook.Subscriber{}
	for second := range 30 {
		at := noon.Add(time.Duration(second) * time.Second)
		for range 4 {
			f.Accepted(&webhook.Event{ReceivedAt: at}, 1, false)
			f.Accepted(&webhook.Event{ReceivedAt: at}, 0, true)
			f.Attempted(&webhook.Event{}, s, &webhook.Result{Attempt: webhook.Attempt{StartedAt: at, Outcome: webhook.OK}})
		}
		f.Attempted(&webhook.Event{}, s, &webhook.Result{Attempt: webhook.Attempt{StartedAt: at, Outcome: webhook.Timeout}})
	}
	// One whose recording took long is not counted, and takes nothing away.
	f.Accepted(&webhook.Event{ReceivedAt: noon}, 1, false)
	for after, want := range map[time.Duration]api.Rate{
		29 * time.Second:         {Events: 4, Attempts: 5, Failed: 1},
		29500 * time.Millisecond: {Events: 4, Attempts: 5, Failed: 1},
		35 * time.Second:         {Events: 2, Attempts: 2.5, Failed: 0.5},
		time.Hour:                {},
	} {
		if got := f.Rate(noon.Add(after)); got != want {
			t.Errorf("after %s: %+v, want %+v", after, got, want)
		}
	}
	// The clock is set back by an hour.
	f.Accepted(&webhook.Event{ReceivedAt: noon.Add(-time.Hour)}, 1, false)
	if got := f.Rate(noon.Add(-time.Hour + time.Second)); got.Events != 0.1 {
		t.Errorf("after the clock was set back: %+v", got)
	}
}

func BenchmarkPublishWithoutReaders(b *testing.B) {
	f := New(noon)
	e := &webhook.Event{ID: "evt_1", Type: "order.created", ReceivedAt: noon}
	s := &webhook.Subscriber{ID: "sub_1", URL: "https://a.example"}
	r := &webhook.Result{Attempt: webhook.Attempt{StartedAt: noon, Outcome: webhook.OK}}
	b.ReportAllocs()
	for b.Loop() {
		f.Attempted(e, s, r)
	}
}
