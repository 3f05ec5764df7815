package sqlite_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// expiring has 200,000 events of 1 KB from the day before yesterday, delivered at
// the first try. It is made once, as it takes a while.
func expiring(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "pintle.db")
	s, err := open(b, path)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	then := time.Now().Add(-48 * time.Hour)
	fill(b, path, strings.NewReplacer("$id", fmt.Sprint(webhook.FirstAt(then)), "$at", fmt.Sprint(then.UnixMilli())).Replace(`
		INSERT INTO n SELECT i + 100000 FROM n;
		CREATE TEMP TABLE keys AS SELECT i, randomblob(16) AS key FROM n;
		INSERT INTO events SELECT $id + i, 'inbound', 'order.created', $at / 1000, '', '', '', key, $at, '"' || printf('%1000s', '') || '"' FROM keys;
		INSERT INTO dedupe SELECT key, $id + i FROM keys ORDER BY key;
		INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, finished_at, last_outcome, last_code)
			SELECT $id + 500000 + i, $id + i, 1, 'delivered', 1, 1, $at, 'ok', 200 FROM n;
		INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code, remote_addr, request_header, response_header, wait)
			SELECT $id + 500000 + i, 1, $at, 1000, 'ok', 200, '192.0.2.1:443', printf('%450s', ''), printf('%200s', ''), 1000 FROM n;
		INSERT INTO tallies VALUES ('delivered', 0, '', 0, '', 200000), ('delivered', 1, '', 0, '', 200000)`))
	return path
}

// BenchmarkAcceptWhileExpiring measures how long an event waits to be accepted
// while older ones expire and while none does, in turns of four seconds: with as
// many as 16 senders can send, and with 500 a second. Each is delivered too. An
// operation is one turn of both; p99-ratio is between the middles of all.
func BenchmarkAcceptWhileExpiring(b *testing.B) {
	template := expiring(b)
	for name, load := range map[string]rate.Limit{"full": rate.Inf, "rate=500": 500} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "pintle.db")
			whole, err := os.ReadFile(template)
			if err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				b.Fatal(err)
			}
			benchmarkAccept(b, path, load)
		})
	}
}

// A turn is how long events waited while others expired or did not.
type turn struct {
	mu    sync.Mutex
	waits []time.Duration
}

func (t *turn) quantile(q float64) float64 {
	slices.Sort(t.waits)
	return t.waits[int(float64(len(t.waits))*q)].Seconds() * 1e3
}

func benchmarkAccept(b *testing.B, path string, load rate.Limit) {
	ctx := context.Background()
	var expires atomic.Bool
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path, Schema: schema(b), Synchronous: "full", Expired: func() time.Time {
		if !expires.Load() {
			return time.Time{}
		}
		return time.Now().Add(-24 * time.Hour)
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	now := time.Now()
	sub := webhook.Subscriber{ID: s.IDs().Subscriber(now), URL: "https://example.com", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: now, UpdatedAt: now}
	if err := s.PutSubscriber(ctx, sub); err != nil {
		b.Fatal(err)
	}
	results := make(chan webhook.Result, 1000)
	var recorder sync.WaitGroup
	recorder.Go(func() {
		for r := range results {
			batch := []webhook.Result{r}
			for len(results) > 0 {
				batch = append(batch, <-results)
			}
			if err := s.Record(ctx, batch); err != nil {
				b.Error(err)
			}
		}
	})
	var (
		present atomic.Pointer[turn] // nil: what is measured is neither
		sent    atomic.Int64
		work    sync.WaitGroup
		data    = append(append([]byte(`"`), bytes.Repeat([]byte("x"), 1000)...), '"')
		limiter = rate.NewLimiter(load, 1)
		end     = make(chan struct{})
	)
	for range 16 {
		work.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if err := limiter.Wait(ctx); err != nil {
					b.Error(err)
					return
				}
				now, of := time.Now(), present.Load()
				a := webhook.Accept{
					Event:      webhook.Event{ID: s.IDs().Event(now), Source: "inbound", Type: "order.created", Timestamp: now.Unix(), Data: data, ReceivedAt: now},
					Key:        webhook.NewDedupeKey("inbound", fmt.Sprint(sent.Add(1))),
					Deliveries: []webhook.NewDelivery{{ID: s.IDs().Delivery(now), SubscriberID: sub.ID}},
				}
				if _, err := s.Accept(ctx, []webhook.Accept{a}); err != nil {
					b.Error(err)
					return
				}
				if of != nil {
					of.mu.Lock()
					of.waits = append(of.waits, time.Since(now))
					of.mu.Unlock()
				}
				results <- webhook.Result{DueAt: now, State: webhook.Delivered, Spent: 1, Attempt: webhook.Attempt{
					DeliveryID: a.Deliveries[0].ID, Number: 1, StartedAt: now, Duration: time.Millisecond, Outcome: webhook.OK, Code: 200}}
			}
		})
	}
	var (
		p99s [2][]float64
		gone int64
		took time.Duration
		p50s [2][]float64
	)
	b.ResetTimer()
	for range b.N {
		var turns [2]turn
		for i := range turns {
			expires.Store(i == 1)
			present.Store(nil)
			<-time.After(1500 * time.Millisecond) // until the upkeep has seen it
			oldest, begun := history(b, s)-sent.Load(), time.Now()
			present.Store(&turns[i])
			<-time.After(4 * time.Second)
			if i == 1 {
				gone += oldest - (history(b, s) - sent.Load())
				took += time.Since(begun)
			}
		}
		present.Store(nil)
		for i := range turns {
			turns[i].mu.Lock()
			p50s[i] = append(p50s[i], turns[i].quantile(0.5))
			p99s[i] = append(p99s[i], turns[i].quantile(0.99))
			turns[i].mu.Unlock()
		}
		b.Logf("p99 %.1f ms, expiring %.1f ms", p99s[0][len(p99s[0])-1], p99s[1][len(p99s[1])-1])
	}
	b.StopTimer()
	close(end)
	work.Wait()
	close(results)
	recorder.Wait()
	b.ReportMetric(median(p50s[0]), "p50-ms")
	b.ReportMetric(median(p50s[1]), "expiring-p50-ms")
	b.ReportMetric(median(p99s[0]), "p99-ms")
	b.ReportMetric(median(p99s[1]), "expiring-p99-ms")
	b.ReportMetric(median(p99s[1])/median(p99s[0]), "p99-ratio")
	b.ReportMetric(float64(gone)/took.Seconds(), "expired/s")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// history is how many finished deliveries there are.
func history(b *testing.B, s *sqlite.Store) int64 {
	b.Helper()
	stats, err := s.Stats(context.Background(), webhook.StatsQuery{})
	if err != nil {
		b.Fatal(err)
	}
	return stats.Deliveries[webhook.Delivered]
}
