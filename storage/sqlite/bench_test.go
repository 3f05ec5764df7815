package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// BenchmarkLife measures what the store does for an event of 1 KB in its whole
// life, with many senders at once: accept it with its deliveries, and record an
// attempt of each, without headers and with as much of them as is usual.
// cpu-µs/op is the processor time of it all, and written-B/op what went to the disk.
func BenchmarkLife(b *testing.B) {
	bare := webhook.Attempt{Number: 1, Duration: time.Millisecond, Outcome: webhook.OK, Code: 200}
	full := bare
	full.RemoteAddr = "192.0.2.1:443"
	full.RequestHeader = webhook.HeaderBlock(strings.Repeat("X-Header: 0123456789abcdefghi\n", 15))
	full.ResponseHeader = webhook.HeaderBlock(strings.Repeat("X-Header: 0123456789abc\n", 8))
	full.Timing = webhook.Timing{Wait: time.Millisecond}
	for _, subscribers := range []int{1, 10} {
		for _, senders := range []int{1, 64} {
			b.Run(fmt.Sprintf("subs=%d/senders=%d", subscribers, senders), func(b *testing.B) { benchmarkLife(b, subscribers, senders, bare) })
		}
		b.Run(fmt.Sprintf("subs=%d/senders=64/headers", subscribers), func(b *testing.B) { benchmarkLife(b, subscribers, 64, full) })
	}
}

func benchmarkLife(b *testing.B, subscribers, senders int, attempt webhook.Attempt) {
	ctx := context.Background()
	s, err := open(b, filepath.Join(b.TempDir(), "pintle.db"))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	var to []webhook.SubscriberID
	for range subscribers {
		sub := webhook.Subscriber{ID: s.IDs().Subscriber(now), URL: "https://example.com", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: now, UpdatedAt: now}
		if err := s.PutSubscriber(ctx, sub); err != nil {
			b.Fatal(err)
		}
		to = append(to, sub.ID)
	}
	live(b, s, to, senders, attempt)
}

func live(b *testing.B, s *sqlite.Store, to []webhook.SubscriberID, senders int, attempt webhook.Attempt) {
	ctx := context.Background()
	data := append(append([]byte(`"`), bytes.Repeat([]byte("x"), 1000)...), '"')
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
	before, written := cpu(b), usage(b).Oublock
	b.ReportAllocs()
	b.ResetTimer()
	var work sync.WaitGroup
	for sender := range senders {
		work.Go(func() {
			for n := sender; n < b.N; n += senders {
				now := time.Now()
				a := webhook.Accept{
					Event: webhook.Event{ID: s.IDs().Event(now), Source: "inbound", Type: "order.created", Timestamp: now.Unix(), Data: data, ReceivedAt: now},
					Key:   webhook.NewDedupeKey("inbound", fmt.Sprint(n)),
				}
				for _, id := range to {
					a.Deliveries = append(a.Deliveries, webhook.NewDelivery{ID: s.IDs().Delivery(now), SubscriberID: id})
				}
				if _, err := s.Accept(ctx, []webhook.Accept{a}); err != nil {
					b.Error(err)
					return
				}
				for _, d := range a.Deliveries {
					made := attempt
					made.DeliveryID, made.StartedAt = d.ID, now
					results <- webhook.Result{DueAt: now, State: webhook.Delivered, Spent: 1, Attempt: made}
				}
			}
		})
	}
	work.Wait()
	close(results)
	recorder.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64((usage(b).Oublock-written)*512)/float64(b.N), "written-B/op")
}

// BenchmarkReject measures what it costs to keep a refused request with a head
// of 1 KB while as many are kept as may be, so that the oldest go.
func BenchmarkReject(b *testing.B) {
	ctx := context.Background()
	s, err := open(b, filepath.Join(b.TempDir(), "pintle.db"))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	header := strings.Repeat("X-Header: 0123456789abcdefghi\n", 33)
	reject := func(n int) {
		some := make([]webhook.Rejection, n)
		for i := range some {
			some[i] = webhook.Rejection{ID: s.IDs().Rejection(now), At: now, Source: "inbound", Status: 401, Code: "invalid_signature", Header: header}
		}
		if err := s.Reject(ctx, some); err != nil {
			b.Fatal(err)
		}
	}
	reject(webhook.MaxRejections)
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("together=%d", n), func(b *testing.B) {
			before := cpu(b)
			for range b.N {
				reject(n)
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N*n), "cpu-µs/rejection")
		})
	}
	for name, filter := range map[string]webhook.RejectionFilter{
		"newest": {}, "text absent": {Text: "nowhere"}, "client absent": {Client: netip.MustParsePrefix("192.0.2.0/24")},
	} {
		b.Run("list/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Rejections(ctx, filter, webhook.Page{Limit: 50}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDueInOrder measures one fetch for an ordered subscriber of whom 100,000
// deliveries wait, where the first of each key is as the name says.
func BenchmarkDueInOrder(b *testing.B) {
	ctx := context.Background()
	now := time.Date(2024, 11, 14, 16, 38, 32, 0, time.UTC)
	for _, keys := range []int{1, 10_000} {
		for _, first := range []string{"due", "waiting", "dead"} {
			b.Run(fmt.Sprintf("keys=%d/%s", keys, first), func(b *testing.B) {
				path := filepath.Join(b.TempDir(), "pintle.db")
				s, err := open(b, path)
				if err != nil {
					b.Fatal(err)
				}
				sub := webhook.Subscriber{ID: s.IDs().Subscriber(now), URL: "https://example.com", Secret: "s", Events: []webhook.Pattern{"*"}, Ordered: ".data.key", CreatedAt: now, UpdatedAt: now}
				if err := s.PutSubscriber(ctx, sub); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				fill(b, path, strings.NewReplacer("$keys", fmt.Sprint(keys), "$first", first, "$now", fmt.Sprint(now.UnixMilli())).Replace(`
					INSERT INTO events SELECT i, 'inbound', 'a.b', 0, '', '', '', zeroblob(16), $now, '{"order_id":"A12345"}' FROM n;
					INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at, finished_at, order_key)
						SELECT i, i, (SELECT number FROM webhook_subscribers), iif('$first' = 'dead' AND i <= $keys, 'dead', 'pending'), 0, 0,
							CASE WHEN i > $keys OR '$first' = 'due' THEN $now WHEN '$first' = 'waiting' THEN $now + 60000 END,
							iif('$first' = 'dead' AND i <= $keys, $now, NULL), 'customer ' || (i % $keys) FROM n`))
				if s, err = open(b, path); err != nil {
					b.Fatal(err)
				}
				q := webhook.DueQuery{SubscriberID: sub.ID, Now: now, Ordered: true, Limit: 64, Bytes: 1 << 20}
				for b.Loop() {
					if jobs, _, err := s.Due(ctx, q); err != nil || (len(jobs) > 0) != (first == "due") {
						b.Fatal(len(jobs), err)
					}
				}
			})
		}
	}
}

// BenchmarkDueOfMany measures one fetch of 64 retries that are due, of a subscriber
// of whom so many more are scheduled for later.
func BenchmarkDueOfMany(b *testing.B) {
	ctx, now := context.Background(), time.Date(2024, 11, 14, 16, 38, 32, 0, time.UTC)
	for _, scheduled := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint("scheduled=", scheduled), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "pintle.db")
			s, to := withHistory(b, path, scheduled, 'p')
			const due = 64
			edit := `UPDATE deliveries SET next_attempt_at = ` + fmt.Sprint(now.UnixMilli()-1) + ` WHERE id IN (SELECT id FROM deliveries ORDER BY id DESC LIMIT 64)`
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			fill(b, path, edit)
			s, err := open(b, path)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				jobs, next, err := s.Due(ctx, webhook.DueQuery{SubscriberID: to, Now: now, Retries: true, Limit: due, Bytes: 1 << 20})
				if err != nil || len(jobs) != due || !next.After(now) {
					b.Fatal(len(jobs), next, err)
				}
			}
		})
	}
}

// BenchmarkLifeAfter is [BenchmarkLife] with one subscriber and 64 senders, on a file
// that has a history of so many events.
func BenchmarkLifeAfter(b *testing.B) {
	for _, history := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint("history=", history), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "pintle.db")
			s, to := withHistory(b, path, history, 'd')
			live(b, s, []webhook.SubscriberID{to}, 64, webhook.Attempt{Number: 1, Duration: time.Millisecond, Outcome: webhook.OK, Code: 200})
		})
	}
}

// withHistory makes a file with so many events for one subscriber, whose deliveries
// are delivered or, for 'p', retries that wait for later.
func withHistory(b *testing.B, path string, events int, state byte) (*sqlite.Store, webhook.SubscriberID) {
	b.Helper()
	s, err := open(b, path)
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2024, 11, 1, 0, 0, 0, 0, time.UTC)
	sub := webhook.Subscriber{ID: s.IDs().Subscriber(at), URL: "https://example.com", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: at, UpdatedAt: at}
	if err := s.PutSubscriber(context.Background(), sub); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	delivered, later := "'delivered'", at.AddDate(1, 0, 0).UnixMilli()
	if state == 'p' {
		delivered = "'pending'"
	}
	fill(b, path, strings.NewReplacer("$events", fmt.Sprint(events), "$at", fmt.Sprint(at.UnixMilli()), "$later", fmt.Sprint(later), "$state", delivered).Replace(`
		CREATE TEMP TABLE m AS WITH RECURSIVE m (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM m WHERE i < $events) SELECT i, randomblob(16) AS key FROM m;
		INSERT INTO events SELECT ($at + i) << 21, 'inbound', 'a.b', 0, '', '', '', key, $at + i, '"' || hex(zeroblob(100)) || '"' FROM m;
		INSERT INTO dedupe SELECT key, ($at + i) << 21 FROM m ORDER BY key;
		INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at, finished_at, last_outcome, last_code)
			SELECT (($at + i) << 21) + 1, ($at + i) << 21, (SELECT number FROM webhook_subscribers), $state, 1, 1,
				iif($state = 'pending', $later + i, NULL), iif($state = 'pending', NULL, $at + i), 'ok', 200 FROM m;
		INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code)
			SELECT (($at + i) << 21) + 1, 1, $at + i, 1000, 'ok', 200 FROM m`))
	if s, err = open(b, path); err != nil {
		b.Fatal(err)
	}
	return s, sub.ID
}

// fill runs statements on a file, with the numbers from 1 to 100,000 in n.
func fill(b *testing.B, path, statements string) {
	b.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`BEGIN;
		CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n;
		` + statements + `; COMMIT`)
	if err != nil {
		b.Fatal(err)
	}
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	u := usage(b)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func usage(b *testing.B) (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u
}
