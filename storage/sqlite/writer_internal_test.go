package sqlite

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// TestOnlyWhatIsLazyIsNotSynced has the writer find both kinds at once.
func TestOnlyWhatIsLazyIsNotSynced(t *testing.T) {
	schema, err := os.ReadFile("../../schema.sql")
	must(t, err)
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "pintle.db"), Schema: string(schema), Synchronous: "full"})
	must(t, err)
	defer s.Close()
	s.upkeep.close()
	const normal, full = 1, 2 // as SQLite has them
	var levels []int
	level := func(tx *transaction) error {
		var level int
		err := tx.row(`PRAGMA synchronous`).Scan(&level)
		levels = append(levels, level)
		return err
	}
	within(t, s, level)
	hold, held := make(chan struct{}), make(chan error, 1)
	go func() { held <- s.writer.do("hold", func(*transaction) error { <-hold; return nil }) }()
	group := []*write{
		{what: "lazy", run: level, lazy: true, done: make(chan error, 1)},
		{what: "first", run: level, done: make(chan error, 1)},
		{what: "lazy", run: level, lazy: true, done: make(chan error, 1)},
		{what: "second", run: level, done: make(chan error, 1)},
	}
	for _, job := range group {
		must(t, s.writer.enqueue(job, true))
	}
	close(hold)
	must(t, <-held)
	for _, job := range group {
		must(t, <-job.done)
	}
	must(t, s.writer.lazily("lazy", level))
	within(t, s, level)
	if want := []int{full, full, full, normal, normal, normal, full}; !slices.Equal(levels, want) {
		t.Errorf("the levels are %v, want %v", levels, want)
	}
}

// TestWhoComesWithWhatIsLazyComesFirst has another write come while the writer, that
// has found only a lazy one, lets others go on; and an answer be there before the
// lazy one begins.
func TestWhoComesWithWhatIsLazyComesFirst(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	s.upkeep.close()
	w := s.writer
	var order []string
	doing := func(what string) func(*transaction) error {
		return func(*transaction) error {
			order = append(order, what)
			return nil
		}
	}
	other := &write{what: "other", run: doing("other"), done: make(chan error, 1)}
	w.letGo = func() {
		if order = append(order, "let go"); len(order) == 1 {
			must(t, w.enqueue(other, true))
		} else if len(other.done) == 0 {
			t.Error("the other has no answer when it could go on")
		}
	}
	must(t, w.lazily("lazy", doing("lazy")))
	must(t, <-other.done)
	if want := []string{"let go", "other", "let go", "lazy"}; !slices.Equal(order, want) {
		t.Errorf("the writer did %q, want %q", order, want)
	}
}

func TestNewFileHasThePagesThatTheBoundsCount(t *testing.T) {
	s := openBounded(t, filepath.Join(t.TempDir(), "pintle.db"), 0)
	if s.writer.pageSize != dbfile.PageSize {
		t.Errorf("a page has %d bytes, want %d", s.writer.pageSize, dbfile.PageSize)
	}
}
