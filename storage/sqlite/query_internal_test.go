package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
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
			_ = s.read(context.Background(), func(*sql.Tx) error {
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
	if err := s.read(given, func(*sql.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that is given up before its turn: %v", err)
	}
}
