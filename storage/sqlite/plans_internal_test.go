package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
	"github.com/pintle/pintle/storage/storagetest"
)

// A recorder is a driver that remembers every statement with the number of its
// arguments.
type recorder struct {
	driver.Driver
	mu         sync.Mutex
	statements map[string]int
}

func (r *recorder) note(query string, args int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements[query] = args
}

func (r *recorder) Open(name string) (driver.Conn, error) {
	conn, err := r.Driver.Open(name)
	if err != nil {
		return nil, err
	}
	return recorded{conn.(inner), r}, nil
}

// inner is what the driver's connection can do that database/sql asks it to.
type inner interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.QueryerContext
}

type recorded struct {
	inner
	r *recorder
}

func (c recorded) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.inner.PrepareContext(ctx, query)
	if err == nil {
		c.r.note(query, strings.Count(query, "?"))
	}
	return s, err
}

func (c recorded) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.r.note(query, len(args))
	return c.inner.QueryContext(ctx, query, args)
}

var (
	// growing are the tables that grow with the history, by the names that the
	// statements give them.
	growing = regexp.MustCompile(`^SCAN (e|events|d|deliveries|a|attempts|b|bodies|dedupe)( |$)`)
	number  = regexp.MustCompile(`\?\d*`)
)

// few are statements that go through or sort what is few, and why it is.
var few = []struct{ part, because string }{
	{"value FROM json_each(?)) ORDER BY", "the rows of a page, which were found before"},
	{"json_each(?) j CROSS JOIN deliveries", "the deliveries of a page's events, so many at most"},
	{"FROM tallies", "one row for each state, subscriber and cause"},
	{"rollups", "the minutes that were asked for"},
	{"FROM deliveries d INDEXED BY deliveries_dead_by_cause", "the dead letters, while the tallies say that they are few: see countedFew"},
	{"FROM deliveries d INDEXED BY deliveries_due", "what is pending, likewise"},
	{"min(next_attempt_at) FROM deliveries INDEXED BY deliveries_due", "what is pending, once at the start"},
	{"WHERE state = 'pending' AND next_attempt_at > ?1 AND id NOT IN", "what is pending, once for each time that the clock is set back"},
	{"SELECT received_at FROM events ORDER BY id LIMIT 1", "one row, the first"},
	{"GROUP BY 1, 2", "what is pending of a subscriber that is removed, which is changed as a whole"},
}

// TestNoStatementGoesThroughTheHistory reads the plans of all statements that the
// conformance suite has a store run. One that scans a table that grows, or sorts
// what it finds there, costs more with every event.
func TestNoStatementGoesThroughTheHistory(t *testing.T) {
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	r := &recorder{Driver: plain.Driver(), statements: map[string]int{}}
	name := "sqlite, recorded by " + t.Name()
	sql.Register(name, r)
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		path := filepath.Join(t.TempDir(), "pintle.db")
		return func(t *testing.T) webhook.Store {
			s, err := Open(t.Context(), Options{Path: path, Schema: string(schema), Synchronous: "normal"})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.readers.db.Close(); err != nil {
				t.Fatal(err)
			}
			if s.readers.db, err = sql.Open(name, dbfile.DSN(path, "mode=ro", "_pragma=busy_timeout(10000)", "_pragma=query_only(1)")); err != nil {
				t.Fatal(err)
			}
			if err := s.due.prepare(t.Context(), s.readers.db); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				s.Close() // which ends the writer, the owner of these
				for query := range s.writer.queries {
					r.note(query, strings.Count(query, "?"))
				}
				for query := range s.writer.statements {
					r.note(query, strings.Count(query, "?"))
				}
			})
			return s
		}
	})
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	explained := 0
	for query := range r.statements {
		if word, _, _ := strings.Cut(strings.TrimSpace(query), " "); !strings.Contains("SELECT WITH INSERT UPDATE DELETE", word) {
			continue
		}
		explained++
		for _, fault := range faultsOf(t, s, query) {
			t.Errorf("%s: %s", fault, query)
		}
	}
	if explained < 60 {
		t.Errorf("only %d statements were recorded", explained)
	}
	for _, bad := range []string{
		`SELECT count(*) FROM deliveries`, `SELECT id FROM deliveries WHERE last_code = ?`,
		`SELECT event_id FROM deliveries WHERE subscriber_id = ? ORDER BY last_code`, `DELETE FROM attempts WHERE outcome = ?`,
	} {
		if len(faultsOf(t, s, bad)) == 0 {
			t.Errorf("nothing is found wrong with %s", bad)
		}
	}
}

// faultsOf says what in the plan of the statement costs more with every event.
func faultsOf(t *testing.T, s *Store, query string) (faults []string) {
	t.Helper()
	plan, err := list(t.Context(), s.readers.db, `EXPLAIN QUERY PLAN `+number.ReplaceAllString(query, "NULL"), nil, func(rows *sql.Rows) (step string, err error) {
		var id, parent, unused int
		err = rows.Scan(&id, &parent, &unused, &step)
		return step, err
	})
	if err != nil {
		return []string{fmt.Sprintf("cannot be explained: %v", err)}
	}
	for _, exception := range few {
		if strings.Contains(query, exception.part) {
			return nil
		}
	}
	for _, step := range plan {
		if growing.MatchString(step) || strings.Contains(step, "TEMP B-TREE") {
			faults = append(faults, step)
		}
	}
	return faults
}
