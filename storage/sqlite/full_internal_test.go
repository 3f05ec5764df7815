package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

var fullStart = time.Date(2024, 11, 14, 16, 38, 32, 0, time.UTC)

// openBounded opens the file, which is to hold no more than so many bytes.
func openBounded(t *testing.T, path string, maxSize int64) *Store {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Path: path, Schema: string(schema), Synchronous: "normal", MaxSize: maxSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Store) webhook.SubscriberID {
	t.Helper()
	sub := webhook.Subscriber{ID: s.IDs().Subscriber(fullStart), URL: "https://example.com", Events: []webhook.Pattern{"*"}, CreatedAt: fullStart, UpdatedAt: fullStart}
	if err := s.PutSubscriber(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
	return sub.ID
}

// large is an event of so many bytes for the subscriber.
func large(s *Store, key string, size int, to webhook.SubscriberID) webhook.Accept {
	return webhook.Accept{
		Event: webhook.Event{ID: s.IDs().Event(fullStart), Source: "inbound", Type: "a.b", Data: []byte(`"` + strings.Repeat("x", size-2) + `"`), ReceivedAt: fullStart},
		Key:   webhook.NewDedupeKey("inbound", key), Deliveries: []webhook.NewDelivery{{ID: s.IDs().Delivery(fullStart), SubscriberID: to}},
	}
}

func dead(id webhook.DeliveryID, size int) webhook.Result {
	return webhook.Result{DueAt: fullStart, State: webhook.Dead, Spent: 1, Attempt: webhook.Attempt{
		DeliveryID: id, Number: 1, StartedAt: fullStart, Outcome: webhook.HTTPStatus, Code: 500, ResponseBody: make([]byte, size),
	}}
}

// fill accepts large events, whose deliveries stay pending, until the file holds
// as much as it may. It returns their deliveries.
func fill(t *testing.T, s *Store, to webhook.SubscriberID) []webhook.DeliveryID {
	t.Helper()
	var ids []webhook.DeliveryID
	for i := range 100 {
		a := large(s, fmt.Sprint(i), 50_000, to)
		_, err := s.Accept(t.Context(), []webhook.Accept{a})
		if errors.Is(err, webhook.ErrStorageFull) {
			return ids
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.Deliveries[0].ID)
	}
	t.Fatal("the file is never full")
	return nil
}

func TestSpentMaxSizeStopsOnlyWhatAdds(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, path, 1<<20)
	to := put(t, s)
	waiting := large(s, "waiting", 100, to)
	if _, err := s.Accept(ctx, []webhook.Accept{waiting}); err != nil {
		t.Fatal(err)
	}
	pending := fill(t, s, to)
	if len(pending) < 10 {
		t.Errorf("full after %d events of 50 kB", len(pending))
	}
	// It is known again after a restart.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openBounded(t, path, 1<<20)
	more := large(s, "more", 100, to)
	replay := webhook.Replay{EventID: waiting.Event.ID, Delivery: more.Deliveries[0], DueAt: fullStart}
	_, err1 := s.Accept(ctx, []webhook.Accept{more})
	_, err2 := s.Replay(ctx, []webhook.Replay{replay})
	for i, err := range []error{err1, err2} {
		if !errors.Is(err, webhook.ErrStorageFull) {
			t.Errorf("%d: %v, want ErrStorageFull", i+1, err)
		}
	}
	// Why events are refused can be looked up.
	if err := s.Reject(ctx, []webhook.Rejection{{ID: s.IDs().Rejection(fullStart), At: fullStart}}); err != nil {
		t.Errorf("a refusal is not kept: %v", err)
	}
	_, err1 = s.Resend(ctx, pending[:1], fullStart, 0)
	err2 = s.PutSetting(ctx, "c", "d")
	err3 := s.Record(ctx, []webhook.Result{{DueAt: fullStart, State: webhook.Pending, NextAttemptAt: fullStart,
		Attempt: webhook.Attempt{DeliveryID: pending[0], Number: 1, StartedAt: fullStart, Outcome: webhook.Timeout}}})
	if err := s.Check(ctx); !errors.Is(err, webhook.ErrStorageFull) {
		t.Errorf("a check of it: %v, want ErrStorageFull", err)
	}
	for i, err := range []error{err1, err2, err3, s.PutSetting(ctx, "a", "b")} {
		if err != nil {
			t.Errorf("%d of what goes on: %v", i+1, err)
		}
	}
	// What comes to an end is history, and makes room.
	if _, err := s.Cancel(ctx, pending[1:4], fullStart); err != nil {
		t.Fatal(err)
	}
	if accepted, err := s.Accept(ctx, []webhook.Accept{more}); err != nil || accepted[0].Duplicate {
		t.Errorf("after three have come to an end: %v, %v", accepted, err)
	}
	if _, err := s.Replay(ctx, []webhook.Replay{{EventID: waiting.Event.ID, Delivery: webhook.NewDelivery{ID: s.IDs().Delivery(fullStart), SubscriberID: to}, DueAt: fullStart}}); err != nil {
		t.Errorf("after three have come to an end: %v", err)
	}
}

// TestTheOldestFinishedHistoryMakesRoom takes in ten times what the file may
// hold. The first event is pending all the while.
func TestTheOldestFinishedHistoryMakesRoom(t *testing.T) {
	ctx := t.Context()
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 1<<20)
	to := put(t, s)
	first := large(s, "first", 100, to)
	if _, err := s.Accept(ctx, []webhook.Accept{first}); err != nil {
		t.Fatal(err)
	}
	var accepts []webhook.Accept
	for i := range 400 {
		a := large(s, fmt.Sprint(i), 20_000, to)
		if accepted, err := s.Accept(ctx, []webhook.Accept{a}); err != nil || accepted[0].Duplicate {
			t.Fatalf("event %d: %v, %v", i, accepted, err)
		}
		if err := s.Record(ctx, []webhook.Result{dead(a.Deliveries[0].ID, 5_000)}); err != nil {
			t.Fatal(err)
		}
		accepts = append(accepts, a)
	}
	s.upkeep.close() // else more goes while it is counted
	list, err := s.Events(ctx, webhook.EventFilter{}, webhook.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	kept := len(list.Items) - 1
	if kept < 14 || kept > 50 || list.Items[kept].ID != first.Event.ID {
		t.Errorf("%d finished events are kept, and the oldest is %s", kept, list.Items[kept].ID)
	}
	for i, e := range list.Items[:kept] {
		if want := accepts[len(accepts)-1-i].Event.ID; e.ID != want {
			t.Fatalf("item %d is %s, want %s: a later one went before an earlier one", i, e.ID, want)
		}
	}
	stats, err := s.Stats(ctx, webhook.StatsQuery{})
	if err != nil || stats.Deliveries[webhook.Dead] != int64(kept) || stats.Deliveries[webhook.Pending] != 1 || stats.Events != 401 {
		t.Errorf("statistics are %+v, %v", stats, err)
	}
	var rows int
	for table, want := range map[string]int{"attempts": kept, "deliveries": kept + 1} {
		if err := s.readers.QueryRowContext(ctx, `SELECT count(*) FROM `+table).Scan(&rows); err != nil || rows != want {
			t.Errorf("%d rows of %s, want %d, %v", rows, table, want, err)
		}
	}
	if k := keysOf(t, s); len(k.inTable)+len(k.inMemory) != kept+1 {
		t.Errorf("%d keys are filed and %d are not, want %d in all", len(k.inTable), len(k.inMemory), kept+1)
	}
	if size := stats.Bytes; size > 2<<20 {
		t.Errorf("the file has %d bytes", size)
	}
	// A key goes with its event, and not before.
	for _, again := range []struct {
		key       string
		duplicate bool
	}{{"0", false}, {"399", true}, {"first", true}} {
		accepted, err := s.Accept(ctx, []webhook.Accept{large(s, again.key, 100, to)})
		if err != nil || accepted[0].Duplicate != again.duplicate {
			t.Errorf("%s again: %+v, %v", again.key, accepted, err)
		}
	}
}

func TestSpentMaxSizeIsNoFaultOfTheOthersInTheGroup(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 512<<10)
	fill(t, s, put(t, s))
	ran := 0
	group := make([]*write, 4)
	for i := range group {
		group[i] = &write{what: "x", adds: i%2 == 0, done: make(chan error, 1), run: func(*transaction) error { ran++; return nil }}
	}
	// The writer's own goroutine is idle.
	s.writer.commit(append([]*write(nil), group...))
	for i, job := range group {
		if err := <-job.done; errors.Is(err, webhook.ErrStorageFull) != job.adds {
			t.Errorf("write %d, which adds: %v, got %v", i, job.adds, err)
		}
	}
	if ran != 2 {
		t.Errorf("%d writes were done, want 2", ran)
	}
}

// TestCheckAsksTheDisk holds that a check writes: one that does not succeeds on a
// disk that is full, or broken.
func TestCheckAsksTheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s := openBounded(t, path, 0)
	written := func() int64 {
		t.Helper()
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	put(t, s)
	before := written()
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if written() == before {
		t.Error("a check wrote nothing")
	}
	if _, err := s.Setting(t.Context(), dbfile.Installation); err != nil {
		t.Error(err)
	}
}

func TestFullDiskRecoversByItself(t *testing.T) {
	ctx := t.Context()
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	to := put(t, s)
	first := large(s, "first", 100, to)
	if _, err := s.Accept(ctx, []webhook.Accept{first}); err != nil {
		t.Fatal(err)
	}
	// SQLite answers a page too many as it does a disk without room for one.
	limit := func(pages int) {
		t.Helper()
		if _, err := s.writer.conn.ExecContext(context.Background(), fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // as many as there are
	accepts := make([]webhook.Accept, 8)
	for i := range accepts {
		accepts[i] = large(s, fmt.Sprint(i), 100_000, to)
	}
	var senders sync.WaitGroup
	for i := range accepts {
		senders.Go(func() {
			if _, err := s.Accept(ctx, accepts[i:i+1]); !errors.Is(err, webhook.ErrStorageFull) {
				t.Errorf("accept on a full disk: %v", err)
			}
		})
	}
	senders.Wait()
	if err := s.Record(ctx, []webhook.Result{dead(first.Deliveries[0].ID, 100_000)}); !errors.Is(err, webhook.ErrStorageFull) {
		t.Errorf("record on a full disk: %v", err)
	}
	if err := s.Check(ctx); err != nil {
		t.Errorf("a write that needs no room: %v", err)
	}
	limit(1 << 20)
	accepted, err := s.Accept(ctx, accepts)
	if err != nil {
		t.Fatalf("accept once there is room: %v", err)
	}
	for i := range accepted {
		if accepted[i].Duplicate {
			t.Errorf("the refused event %d had taken its key", i)
		}
	}
	if err := s.Record(ctx, []webhook.Result{dead(first.Deliveries[0].ID, 100_000)}); err != nil {
		t.Errorf("record once there is room: %v", err)
	}
	stats, err := s.Stats(ctx, webhook.StatsQuery{})
	if err != nil || stats.Events != 9 || stats.Attempts != 1 || stats.Deliveries[webhook.Pending] != 8 {
		t.Errorf("statistics are %+v, %v", stats, err)
	}
}
