package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

// bounded has the store keep no more than so many keys in memory, and file so many
// at once. It does not look after the file by itself, and then looks at few keys.
func bounded(t *testing.T, s *Store, capacity, atOnce int) *Store {
	t.Helper()
	s.upkeep.close()
	s.upkeep.stopped, s.upkeep.clearing.looks = context.Background(), 4
	within(t, s, func(*transaction) error {
		s.writer.unfiled.capacity, s.writer.unfiled.atOnce = capacity, atOnce
		return nil
	})
	return s
}

// within does something as the writer.
func within(t *testing.T, s *Store, do func(*transaction) error) {
	t.Helper()
	must(t, s.writer.do("test", do))
}

// killed is a copy of the file as it is without a word of goodbye.
func killed(t *testing.T, s *Store) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pintle.db")
	within(t, s, func(*transaction) error {
		for _, part := range []string{"", "-wal"} {
			content, err := os.ReadFile(s.path + part)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := os.WriteFile(path+part, content, 0o600); err != nil {
				return err
			}
		}
		return nil
	})
	return path
}

// keyState is where keys are: the first event of each.
type keyState struct {
	inTable, inMemory map[webhook.DedupeKey]int64
	left              int   // in the table, whose event is gone
	filed             int64 // the counter; -1: there is none
}

func keysOf(t *testing.T, s *Store) keyState {
	t.Helper()
	k := keyState{inTable: map[webhook.DedupeKey]int64{}, inMemory: map[webhook.DedupeKey]int64{}, filed: -1}
	within(t, s, func(tx *transaction) error {
		for _, shard := range tx.w.unfiled.shards {
			for _, e := range shard {
				k.inMemory[e.key] = e.event
			}
		}
		if err := tx.row(`SELECT count(*) FROM dedupe WHERE NOT ` + isKnown).Scan(&k.left); err != nil {
			return err
		}
		rows, err := tx.query(`SELECT key, event_id FROM dedupe WHERE ` + isKnown)
		if err != nil {
			return err
		}
		all, err := collect(rows, func(rows *sql.Rows) (e keyed, err error) {
			var key []byte
			err = rows.Scan(&key, &e.event)
			e.key = dedupeKey(key)
			return e, err
		})
		for _, e := range all {
			k.inTable[e.key] = e.event
		}
		if n, found, err := tx.number(`SELECT value FROM counters WHERE name = 'filed'`); err != nil {
			return err
		} else if found {
			k.filed = n
		}
		return err
	})
	return k
}

// keyedEvent is an event of no subscriber.
func keyedEvent(id webhook.EventID, key string) webhook.Accept {
	return webhook.Accept{Event: webhook.Event{ID: id, Source: "inbound", Type: "a.b", Data: []byte("1"), ReceivedAt: fullStart}, Key: webhook.NewDedupeKey("inbound", key)}
}

// A keyModel is what should be known of keys, beside the store that is used.
type keyModel struct {
	t     *testing.T
	s     *Store
	first map[webhook.DedupeKey]int64
	late  []webhook.EventID // were given and not used
}

func (m *keyModel) draw(r *rapid.T) (accepts []webhook.Accept) {
	for range rapid.IntRange(1, 3).Draw(r, "events") {
		id := m.s.ids.Event(fullStart)
		if rapid.IntRange(0, 4).Draw(r, "late") == 0 {
			m.late = append(m.late, id)
			id, m.late = m.late[0], m.late[1:]
		}
		accepts = append(accepts, keyedEvent(id, fmt.Sprint(rapid.IntRange(0, 80).Draw(r, "key"))))
	}
	return accepts
}

// take takes the keys and says which event was the first with each.
func (m *keyModel) take(accepts []webhook.Accept) (first []webhook.EventID) {
	for _, a := range accepts {
		id, _ := m.s.ids.Parse(webhook.EventPrefix, string(a.Event.ID))
		if was, taken := m.first[a.Key]; taken {
			id = was
		}
		m.first[a.Key] = id
		first = append(first, webhook.EventID(m.s.ids.Format(webhook.EventPrefix, id)))
	}
	return first
}

func (m *keyModel) compare(r *rapid.T, accepts []webhook.Accept, accepted []webhook.Accepted) {
	var got []webhook.EventID
	for i, a := range accepted {
		got = append(got, a.ID)
		if a.Duplicate != (a.ID != accepts[i].Event.ID) {
			r.Fatalf("event %s is answered with %+v", accepts[i].Event.ID, a)
		}
	}
	if diff := cmp.Diff(m.take(accepts), got); diff != "" {
		r.Fatalf("the first events (-want +told):\n%s", diff)
	}
}

var errTest = errors.New("the test has it fail")

// deletion deletes some events, half of which have come lately.
func (m *keyModel) deletion(r *rapid.T) (keys []webhook.DedupeKey, do func(*transaction) error) {
	for key := range m.first {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b webhook.DedupeKey) int { return int(m.first[b] - m.first[a]) })
	keys = keys[:min(len(keys), rapid.IntRange(0, 12).Draw(r, "recent"))]
	keys = keys[:min(len(keys), rapid.IntRange(0, 8).Draw(r, "deleted"))]
	return keys, func(tx *transaction) error {
		var ids []int64
		for _, key := range keys {
			ids = append(ids, m.first[key])
		}
		if gone, done, err := deleteFinished(tx, ids, anyAge); err != nil || gone != len(ids) || !done {
			return fmt.Errorf("%d are gone, %w", gone, err)
		}
		return nil
	}
}

func (m *keyModel) reopen(path string) {
	m.s.Close()
	m.s = bounded(m.t, openBounded(m.t, path, 0), 16, 2)
}

// check compares the store with the model, and holds that a restart would lose nothing.
func (m *keyModel) check(r *rapid.T) {
	k := keysOf(m.t, m.s)
	if len(k.inMemory) > 16 {
		r.Fatalf("%d keys are in memory", len(k.inMemory))
	}
	all := map[webhook.DedupeKey]int64{}
	for _, some := range []map[webhook.DedupeKey]int64{k.inTable, k.inMemory} {
		for key, event := range some {
			// The id of an event that is gone may have been given again.
			if other, both := all[key]; both && other != event {
				r.Fatalf("key %x is in memory and in the table", key)
			}
			all[key] = event
		}
	}
	if diff := cmp.Diff(m.first, all); diff != "" {
		r.Fatalf("keys (-want +are):\n%s", diff)
	}
	for key, event := range k.inMemory {
		if event <= k.filed || k.filed == -1 {
			r.Fatalf("key %x of event %d is in memory alone, filed is %d", key, event, k.filed)
		}
	}
}

func TestKeysAreKnownWhereverTheyAre(t *testing.T) {
	ctx := context.Background()
	filings, left, cleared := 0, 0, 0
	rapid.Check(t, func(r *rapid.T) {
		m := &keyModel{t: t, s: bounded(t, openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0), 16, 2), first: map[webhook.DedupeKey]int64{}}
		defer func() { m.s.Close() }()
		accept := func(r *rapid.T) {
			accepts := m.draw(r)
			accepted, err := m.s.Accept(ctx, accepts)
			if err != nil {
				r.Fatal(err)
			}
			m.compare(r, accepts, accepted)
		}
		r.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"accept":   accept,
			"accept 2": accept,
			"accept 3": accept,
			// One write of a group fails, and all of it is done again one by one.
			"group": func(r *rapid.T) {
				accepts, failing := m.draw(r), m.draw(r)
				_, deletes := m.deletion(r)
				hold, held := make(chan struct{}), make(chan error, 1)
				go func() { held <- m.s.writer.do("hold", func(*transaction) error { <-hold; return nil }) }()
				var accepted []webhook.Accepted
				group := []*write{
					{what: "accept", done: make(chan error, 1), run: func(tx *transaction) error {
						accepted = nil
						for i := range accepts {
							a, err := m.s.accept(tx, &accepts[i])
							if err != nil {
								return err
							}
							accepted = append(accepted, a)
						}
						return nil
					}},
					{what: "fail", done: make(chan error, 1), run: func(tx *transaction) error {
						if err := deletes(tx); err != nil {
							return err
						}
						for i := range failing {
							if _, err := m.s.accept(tx, &failing[i]); err != nil {
								return err
							}
						}
						return errTest
					}},
				}
				for _, job := range group {
					if err := m.s.writer.enqueue(job, true); err != nil {
						r.Fatal(err)
					}
				}
				close(hold)
				for _, err := range []error{<-held, <-group[0].done} {
					if err != nil {
						r.Fatal(err)
					}
				}
				if err := <-group[1].done; !errors.Is(err, errTest) {
					r.Fatal(err)
				}
				m.compare(r, accepts, accepted)
			},
			"delete": func(r *rapid.T) {
				keys, deletes := m.deletion(r)
				within(t, m.s, deletes)
				for _, key := range keys {
					delete(m.first, key)
				}
			},
			"clear": func(r *rapid.T) {
				before := keysOf(t, m.s).left
				if err := m.s.upkeep.clearKeys(); err != nil {
					r.Fatal(err)
				}
				left += before
				cleared += before - keysOf(t, m.s).left
			},
			"kill":   func(*rapid.T) { m.reopen(killed(t, m.s)) },
			"reopen": func(*rapid.T) { m.s.Close(); m.reopen(m.s.path) },
		})
		if keysOf(t, m.s).filed > 0 {
			filings++
		}
	})
	if filings == 0 {
		t.Error("nothing was ever filed")
	}
	if cleared == 0 || cleared == left {
		t.Errorf("%d of %d keys of events that are gone were cleared", cleared, left)
	}
}

// TestKeysOfWhatIsGoneStayFew has events go in the order in which they came while
// others come, and some stay.
func TestKeysOfWhatIsGoneStayFew(t *testing.T) {
	s, before := openKeeping(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	to := put(t, s)
	bounded(t, s, 64, 8).upkeep.clearing.looks = 32
	most := 0
	for i := range 40 {
		at := fullStart.Add(time.Duration(i) * time.Hour)
		for j := range 25 {
			a := receivedAt(s, at, "", to)
			a.Key = webhook.NewDedupeKey("inbound", fmt.Sprint(i, j)) // the same in each run
			accept(t, s, a)
			if j > 0 {
				ends(t, s, a, at, webhook.Delivered)
			}
		}
		limit := at.Add(-10 * time.Hour)
		before.Store(&limit)
		look(t, s)
		k := keysOf(t, s)
		most = max(most, k.left)
		if all := k.left + len(k.inTable); k.left > all*2/3 {
			t.Fatalf("after %d hours %d keys of %d are of events that are gone", i, k.left, all)
		}
	}
	if most == 0 {
		t.Error("no key was ever left")
	}
}

// TestKeysOutliveAKillAtEachStepOfTheirFiling files what makes many steps, and opens
// the file as it is after each.
func TestKeysOutliveAKillAtEachStepOfTheirFiling(t *testing.T) {
	s := bounded(t, openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0), 64, 2)
	var accepts, behind []webhook.Accept
	for i := range 56 {
		accepts = append(accepts, keyedEvent(s.ids.Event(fullStart), fmt.Sprint(i)))
		behind = append(behind, keyedEvent(s.ids.Event(fullStart), fmt.Sprint("behind ", i)))
	}
	accept(t, s, accepts...)
	steps := 0
	for done := false; !done; {
		// An event whose id is older than what is being filed, and one that is not.
		young := keyedEvent(s.ids.Event(fullStart), fmt.Sprint("young ", steps))
		accepts = append(accepts, behind[steps], young)
		accept(t, s, behind[steps], young)
		steps++
		done = keysOf(t, s).filed > 0
		again := openBounded(t, killed(t, s), 0)
		for i := range accepts {
			a := accepts[i]
			a.Event.ID = again.ids.Event(fullStart)
			got, err := again.Accept(t.Context(), []webhook.Accept{a})
			if err != nil || !got[0].Duplicate || got[0].ID != accepts[i].Event.ID {
				t.Fatalf("step %d, event %d again: %+v, %v", steps, i, got, err)
			}
		}
		must(t, again.Close())
	}
	if steps < 3 {
		t.Errorf("only %d steps", steps)
	}
	if k := keysOf(t, s); len(k.inTable) < 56 {
		t.Errorf("%d keys are filed", len(k.inTable))
	}
}

func TestKeysAreFiledFasterThanTheyCome(t *testing.T) {
	s := bounded(t, openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0), 64, 1)
	for come, steps := 56, 0; keysOf(t, s).filed <= 0; come, steps = 8, steps+1 {
		var accepts []webhook.Accept
		for range come {
			id := s.ids.Event(fullStart)
			accepts = append(accepts, keyedEvent(id, string(id)))
		}
		accept(t, s, accepts...)
		if steps == 20 {
			t.Fatal("20 times 8 events have come and 56 are not filed")
		}
	}
}

// TestFileOfBeforeHasItsKeysFiled opens a file that has no counter, and again when it
// has one.
func TestFileOfBeforeHasItsKeysFiled(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	events := []webhook.Accept{keyedEvent(s.ids.Event(fullStart), "1"), keyedEvent(s.ids.Event(fullStart), "2")}
	accept(t, s, events...)
	last, _ := s.ids.Parse(webhook.EventPrefix, string(events[1].Event.ID))
	path := killed(t, s)
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.Exec(`DELETE FROM counters WHERE name = 'filed'; INSERT INTO dedupe SELECT dedupe_key, id FROM events`)
	must(t, errors.Join(err, db.Close()))
	for range 2 {
		s = openBounded(t, path, 0)
		if k := keysOf(t, s); len(k.inTable) != 2 || len(k.inMemory) != len(events)-2 {
			t.Errorf("keys are %+v", k)
		}
		within(t, s, func(tx *transaction) error {
			if filed := tx.w.unfiled.filed; filed != last {
				t.Errorf("what is behind event %d is searched for keys, want %d", filed, last)
			}
			return nil
		})
		for i, a := range events {
			a.Event.ID = s.ids.Event(fullStart)
			if got, err := s.Accept(t.Context(), []webhook.Accept{a}); err != nil || !got[0].Duplicate || got[0].ID != events[i].Event.ID {
				t.Errorf("event %d again: %+v, %v", i, got, err)
			}
		}
		events = append(events, keyedEvent(s.ids.Event(fullStart), fmt.Sprint(len(events)+1)))
		accept(t, s, events[len(events)-1])
		path = killed(t, s)
	}
}

// TestFullDiskKeepsKeysWhereTheyAre has room for some events and not for all keys.
func TestFullDiskKeepsKeysWhereTheyAre(t *testing.T) {
	schema, err := os.ReadFile("../../schema.sql")
	must(t, err)
	faults := make(chan error, 2000) // more than there are commits
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := Open(t.Context(), Options{Path: path, Schema: string(schema), Synchronous: "normal", OnUpkeep: func(u Upkeep) { faults <- u.Err }})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	bounded(t, s, 1000, math.MaxInt32)
	limit := func(more int64) {
		t.Helper()
		within(t, s, func(tx *transaction) error {
			pages, _, err := tx.number(`PRAGMA page_count`)
			if err != nil {
				return err
			}
			_, err = s.writer.conn.ExecContext(context.Background(), fmt.Sprintf(`PRAGMA max_page_count = %d`, pages+more))
			return err
		})
	}
	var accepts []webhook.Accept
	add := func() error {
		a := keyedEvent(s.ids.Event(fullStart), fmt.Sprint(len(accepts)))
		a.Event.Data = bytes.Repeat([]byte("1"), 300)
		got, err := s.Accept(t.Context(), []webhook.Accept{a})
		if err != nil {
			return err
		}
		if got[0].Duplicate {
			t.Fatalf("event %d is a duplicate", len(accepts))
		}
		accepts = append(accepts, a)
		return nil
	}
	same := func(when string) {
		t.Helper()
		for i, a := range accepts {
			a.Event.ID = s.ids.Event(fullStart)
			if got, err := s.Accept(t.Context(), []webhook.Accept{a}); err != nil || !got[0].Duplicate || got[0].ID != accepts[i].Event.ID {
				t.Fatalf("%s, event %d again: %+v, %v", when, i, got, err)
			}
		}
	}
	for range 870 {
		must(t, add())
	}
	limit(1)
	for range 10 {
		must(t, add())
	}
	same("on a full disk")
	if len(faults) != 1 {
		t.Fatalf("%d faults are told of, want that of filing", len(faults))
	}
	if err := <-faults; !errors.Is(err, webhook.ErrStorageFull) {
		t.Errorf("filing on a full disk: %v", err)
	}
	for err = nil; err == nil; {
		err = add()
	}
	if !errors.Is(err, webhook.ErrStorageFull) {
		t.Errorf("accept on a full disk: %v", err)
	}
	refused := len(accepts)
	if k := keysOf(t, s); len(k.inMemory) != len(accepts) || len(k.inTable) != 0 {
		t.Errorf("%d events, %d keys in memory and %d filed", len(accepts), len(k.inMemory), len(k.inTable))
	}
	limit(1 << 20)
	for len(accepts) < 1100 {
		must(t, add())
	}
	k := keysOf(t, s)
	if len(k.inMemory) != 1000 || len(k.inTable) != 100 {
		t.Errorf("while filing waits %d keys are in memory and %d in the table", len(k.inMemory), len(k.inTable))
	}
	same(fmt.Sprintf("with room again after %d events", refused))
	before := s
	s = openBounded(t, killed(t, s), 0)
	same("after a kill")
	if k := keysOf(t, s); len(k.inMemory) != 1000 {
		t.Errorf("after a kill %d keys are in memory", len(k.inMemory))
	}
	s = before
	within(t, s, func(*transaction) error { s.writer.unfiled.again = time.Time{}; return nil })
	// What came since filing began is left for the next time.
	if k := keysOf(t, s); len(k.inMemory)+len(k.inTable) != 1100 || len(k.inTable) < 970 {
		t.Errorf("once it is tried again %d keys are in memory and %d filed", len(k.inMemory), len(k.inTable))
	}
	same("once they are filed")
}

// TestFileThatHoldsAsMuchAsItMayGetsNoKeys holds that filing waits for room, which
// what comes to an end makes.
func TestFileThatHoldsAsMuchAsItMayGetsNoKeys(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 1<<20)
	to := put(t, s)
	pending := fill(t, s, to)
	bounded(t, s, 8, 1)
	must(t, s.PutSetting(t.Context(), "a", "b"))
	filed := func() int { return len(keysOf(t, s).inTable) }
	if n := filed(); n > 0 {
		t.Errorf("%d keys are filed while there is no room", n)
	}
	_, err := s.Cancel(t.Context(), pending[:3], fullStart)
	must(t, err)
	// The oldest go for the one that comes.
	for i := range 4 {
		accept(t, s, large(s, fmt.Sprint("more ", i), 100, to))
	}
	for i := range pending {
		got, err := s.Accept(t.Context(), []webhook.Accept{large(s, fmt.Sprint(i), 100, to)})
		if err != nil || i >= 3 && !got[0].Duplicate {
			t.Errorf("event %d again: %+v, %v", i, got, err)
		}
	}
	if filed() == 0 {
		t.Error("no key is filed once there is room")
	}
}
