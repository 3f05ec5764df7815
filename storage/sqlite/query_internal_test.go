package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

func TestDueDeliveriesAreReadHoweverManyListsAre(t *testing.T) {
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "pintle.db"), Schema: string(schema), Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begun, end := make(chan struct{}, readers+1), make(chan struct{})
	var reading sync.WaitGroup
	defer reading.Wait()
	defer close(end)
	for range readers + 1 {
		reading.Go(func() {
			// It fails only where the file is closed before its turn comes.
			_ = s.read(context.Background(), func(context.Context, *sql.Tx) error {
				begun <- struct{}{}
				<-end
				return nil
			})
		})
	}
	for range lists {
		<-begun
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := s.Due(ctx, webhook.DueQuery{SubscriberID: "sub_x", Limit: 1}); err != nil {
		t.Errorf("while lists are read: %v", err)
	}
	given, up := context.WithCancel(t.Context())
	up()
	if err := s.read(given, func(context.Context, *sql.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that is given up before its turn: %v", err)
	}
}

// TestWhatIsDueIsReadFromItsIndex holds that the cost of what lanes ask for does
// not grow with what waits: a plan that sorts, or goes through other rows, would.
func TestWhatIsDueIsReadFromItsIndex(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	for _, tt := range []struct {
		query, index string
		args         []any
	}{
		{dueByTime, "d USING INDEX deliveries_due (subscriber_id=? AND <expr>=?)", []any{1, true, "[]", 1}},
		{firstOfKeys, "deliveries USING COVERING INDEX deliveries_ordered (subscriber_id=? AND order_key>?)", []any{1, "", true}},
		{firstOfKeys, "deliveries USING COVERING INDEX deliveries_dead_ordered (subscriber_id=? AND order_key=?)", []any{1, "", true}},
		{pendingOfKey, "d USING INDEX deliveries_ordered (subscriber_id=? AND order_key=?)", []any{1, "a"}},
		{pendingOfNoKey, "d USING INDEX deliveries_unkeyed (subscriber_id=?)", []any{1, ""}},
	} {
		plan, err := list(t.Context(), s.readers.db, `EXPLAIN QUERY PLAN `+tt.query, tt.args, func(rows *sql.Rows) (step string, err error) {
			var id, parent, unused int
			err = rows.Scan(&id, &parent, &unused, &step)
			return step, err
		})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(plan, "\n")
		if !strings.Contains(text, tt.index) || strings.Contains(text, "TEMP B-TREE") || strings.Contains(text, "SCAN d\n") {
			t.Errorf("%s\nis not served by %s:\n%s", tt.query, tt.index, text)
		}
	}
}
