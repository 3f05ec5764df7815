package sqlite_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// The file of [BenchmarkScreens]: events a tenth of a second apart, two
// deliveries of each, one attempt of each of those.
var screenEvents = flag.Int("screens", 500_000, "events in the file of BenchmarkScreens, each with two deliveries")

const screenSubscribers = 50

var screenStart = time.Date(2024, 11, 14, 16, 38, 32, 0, time.UTC)

// million makes a file with a million attempts, or as many as were asked for. Of each
// thousand deliveries three are dead; the newest are pending; what is rare is at the
// old end.
func million(b *testing.B) (*sqlite.Store, []webhook.SubscriberID) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "pintle.db")
	s, err := open(b, path)
	if err != nil {
		b.Fatal(err)
	}
	var subscribers []webhook.SubscriberID
	for range screenSubscribers {
		sub := webhook.Subscriber{ID: s.IDs().Subscriber(screenStart.Add(-time.Hour)), URL: "https://example.com", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: screenStart, UpdatedAt: screenStart}
		if err := s.PutSubscriber(context.Background(), sub); err != nil {
			b.Fatal(err)
		}
		subscribers = append(subscribers, sub.ID)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	migration, err := os.ReadFile("dbfile/migrations/0002-counts.sql")
	if err != nil {
		b.Fatal(err)
	}
	_, count, _ := strings.Cut(string(migration), "counted as if it had been from the beginning.")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	const fill = `
		PRAGMA synchronous = 0;
		BEGIN;
		CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < $events - 1) SELECT i FROM n;
		CREATE TEMP TABLE s AS SELECT number, row_number() OVER (ORDER BY number) - 1 AS i FROM webhook_subscribers;
		CREATE INDEX temp.si ON s (i);
		INSERT INTO events SELECT ($start + i * 100) << 21, 'inbound', iif(i % 10 = 0, 'user.created', 'order.created'), 0,
			iif(i % 7 = 0, 'acme', ''), '', 'key-' || i, zeroblob(16), $start + i * 100, '{"order_id":"A' || i || '","note":"' || hex(zeroblob(150)) || '"}' FROM n;
		INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at, finished_at, last_outcome, last_code)
			SELECT (($start + n.i * 100) << 21) + k.value, ($start + n.i * 100) << 21, s.number,
			CASE WHEN n.i % 333 = 0 THEN 'dead' WHEN n.i > $events - 500 THEN 'pending' ELSE 'delivered' END, 1, 1,
			iif(n.i > $events - 500 AND n.i % 333 <> 0, $start + n.i * 100, NULL), iif(n.i > $events - 500 AND n.i % 333 <> 0, NULL, $start + n.i * 100),
			CASE WHEN n.i = 3 THEN 'tls' WHEN n.i % 333 = 0 THEN 'http_status' ELSE 'ok' END,
			CASE WHEN n.i = 3 THEN NULL WHEN n.i % 333 = 0 THEN 500 + n.i % 4 ELSE 200 END
			FROM n CROSS JOIN json_each('[1,2]') k CROSS JOIN s ON s.i = (n.i * 2 + k.value) % $subscribers;
		INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code, request_header, response_header)
			SELECT id, 1, id >> 21, 20000 + id % 1000, last_outcome, last_code, hex(zeroblob(225)), hex(zeroblob(100)) FROM deliveries ORDER BY id;
	`
	text := strings.NewReplacer("$events", fmt.Sprint(*screenEvents), "$subscribers", fmt.Sprint(screenSubscribers), "$start", fmt.Sprint(screenStart.UnixMilli())).Replace(fill)
	if _, err := db.Exec(text + count + "; COMMIT; PRAGMA wal_checkpoint(truncate);"); err != nil {
		b.Fatal(err)
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	if s, err = open(b, path); err != nil {
		b.Fatal(err)
	}
	return s, subscribers
}

// BenchmarkScreens measures, on a file with a million attempts, one call of each
// query that a screen makes. With -screens it is another number of them: what is
// measured should hardly depend on it.
func BenchmarkScreens(b *testing.B) {
	ctx := context.Background()
	s, subscribers := million(b)
	newest := webhook.Page{Limit: 50}
	old := screenStart.Add(time.Hour)
	deep := webhook.Page{Limit: 50, Before: s.IDs().Format(webhook.DeliveryPrefix, webhook.FirstAt(old))}
	end := screenStart.Add(time.Duration(*screenEvents) * 100 * time.Millisecond)
	one, few := subscribers[7:8], subscribers[7:10]
	lists := []struct {
		name   string
		filter webhook.DeliveryFilter
		page   webhook.Page
	}{
		{"newest", webhook.DeliveryFilter{}, newest},
		{"deep", webhook.DeliveryFilter{}, deep},
		{"subscriber", webhook.DeliveryFilter{Subscribers: one}, newest},
		{"subscriber deep", webhook.DeliveryFilter{Subscribers: one}, deep},
		{"subscribers", webhook.DeliveryFilter{Subscribers: few}, newest},
		{"pending", webhook.DeliveryFilter{State: webhook.Pending}, newest},
		{"retrying", webhook.DeliveryFilter{Retrying: true}, newest},
		{"dead", webhook.DeliveryFilter{State: webhook.Dead}, newest},
		{"dead deep", webhook.DeliveryFilter{State: webhook.Dead}, deep},
		{"dead of subscriber", webhook.DeliveryFilter{State: webhook.Dead, Subscribers: one}, newest},
		{"dead with text absent", webhook.DeliveryFilter{State: webhook.Dead, Text: "nowhere"}, newest},
		{"dead with type absent", webhook.DeliveryFilter{State: webhook.Dead, EventType: "none.**"}, newest},
		{"text absent of subscriber", webhook.DeliveryFilter{Text: "nowhere", Subscribers: one}, newest},
		{"delivered", webhook.DeliveryFilter{State: webhook.Delivered}, newest},
		{"cancelled absent", webhook.DeliveryFilter{State: webhook.Cancelled}, newest},
		{"outcome rare", webhook.DeliveryFilter{Outcome: webhook.TLS}, newest},
		{"outcome rare of subscriber", webhook.DeliveryFilter{Outcome: webhook.TLS, Subscribers: one}, newest},
		{"code 5xx", webhook.DeliveryFilter{CodeFrom: 500, CodeTo: 599}, newest},
		{"type", webhook.DeliveryFilter{EventType: "user.*"}, newest},
		{"type absent", webhook.DeliveryFilter{EventType: "none.**"}, newest},
		{"client", webhook.DeliveryFilter{ClientID: "acme"}, newest},
		{"text common", webhook.DeliveryFilter{Text: "order_id"}, newest},
		{"text absent", webhook.DeliveryFilter{Text: "nowhere"}, newest},
		{"an hour", webhook.DeliveryFilter{Since: old, Until: old.Add(time.Hour)}, newest},
	}
	for _, l := range lists {
		b.Run("deliveries/"+l.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Deliveries(ctx, l.filter, l.page); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, filter := range map[string]webhook.EventFilter{
		"newest": {}, "type": {Type: "user.*"}, "type absent": {Type: "none.**"}, "text common": {Text: "order_id"}, "text absent": {Text: "nowhere"},
	} {
		b.Run("events/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Events(ctx, filter, newest); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, query := range map[string]webhook.StatsQuery{
		"totals":      {},
		"last hour":   {MinutesFrom: end.Add(-time.Hour), MinutesTo: end, ActivityFrom: end.Add(-time.Hour)},
		"dead groups": {DeadGroups: true},
		"last day":    {MinutesFrom: end.Add(-24 * time.Hour), MinutesTo: end},
		"day of one":  {ActivityFrom: end.Add(-24 * time.Hour), MinutesTo: end, Subscribers: one},
	} {
		b.Run("stats/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Stats(ctx, query); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
