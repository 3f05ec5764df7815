package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// How many rows one call looks at, by what it costs to look at one, so that no
// call takes long however large the file is and however little it finds.
const (
	// rowBudget is for conditions on the rows of the list themselves.
	rowBudget = 50_000
	// eventBudget is for conditions on events, whose rows lie further apart.
	eventBudget = 15_000
	// textBudget is for a search in the data of events.
	textBudget = 6_000
	// scatter divides the others where the rows lie apart, since an index of
	// some of them leads there.
	scatter = 3
	// countBudget is for the deliveries of a page of events.
	countBudget = 20_000
	// firstSlice is how many rows are looked at before there is reason to
	// believe that matches are rare.
	firstSlice = 1_000
)

// A selection is a list's choice of rows: those of an index that has them by
// age, which the base conditions bound, and of them the ones that pass the rest.
type selection struct {
	ids    *webhook.IDs
	id     string // the column that the list is ordered by
	from   string // the table, and the index to use
	join   string // what the rest needs beside it
	sorted bool   // the index has the rows in another order, and all are looked at
	budget int    // how many rows one call looks at

	bases, rests       []string
	baseArgs, restArgs []any
}

func (q *selection) base(condition string, args ...any) {
	q.bases = append(q.bases, condition)
	q.baseArgs = append(q.baseArgs, args...)
}

func (q *selection) rest(condition string, args ...any) {
	q.rests = append(q.rests, condition)
	q.restArgs = append(q.restArgs, args...)
}

// is bounds the list to the rows that the id names, unless it is empty. An id
// that can be nobody's selects nothing.
func (q *selection) is(column, prefix, id string) {
	if id == "" {
		return
	}
	number, ok := q.ids.Parse(prefix, id)
	if !ok {
		number = -1
	}
	q.base(column+" = ?", number)
}

// span bounds the time at which the rows were made.
func (q *selection) span(since, until time.Time) {
	if !since.IsZero() {
		q.base(q.id+" >= ?", webhook.FirstAt(since))
	}
	if !until.IsZero() {
		q.base(q.id+" < ?", webhook.FirstAt(until))
	}
}

// before continues a list after the id that was seen last.
func (q *selection) before(prefix, id string) {
	if id == "" {
		return
	}
	number, _ := q.ids.Parse(prefix, id)
	q.base(q.id+" < ?", number)
}

// equal asks for a value of the column, unless it is empty.
func (q *selection) equal(column, value string) {
	if value != "" {
		q.rest(column+" = ?", value)
	}
}

// pattern asks for event types as [webhook.Pattern.Match] has it. Types are
// ASCII, so that a length is the same in bytes and characters.
func (q *selection) pattern(column string, p webhook.Pattern) {
	s := string(p)
	if s == "" || s == "*" || s == "**" {
		return
	}
	if stem, ok := strings.CutSuffix(s, "**"); ok && strings.HasSuffix(stem, ".") {
		q.stem(column, stem)
	} else if stem, ok := strings.CutSuffix(s, "*"); ok && strings.HasSuffix(stem, ".") {
		q.stem(column, stem)
		q.rest("instr(substr("+column+", ?), '.') = 0", len(stem)+1)
	} else {
		q.equal(column, s)
	}
}

// stem asks for values of the column that begin with the stem and go on.
func (q *selection) stem(column, stem string) {
	q.rest("length("+column+") > ? AND substr("+column+", 1, ?) = ?", len(stem), len(stem), stem)
}

// text looks for a text in the columns.
func (q *selection) text(text string, columns ...string) {
	like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
	var either []string
	var args []any
	for _, column := range columns {
		either = append(either, column+` LIKE ? ESCAPE '\'`)
		args = append(args, like)
	}
	q.rest("("+strings.Join(either, " OR ")+")", args...)
}

// page returns the ids of a part of the list, the newest first, and the one
// below which it goes on; zero at the end. When matches are rare it looks at
// slices of the base, each longer than the one before, until the page is full
// or the budget spent.
func (q *selection) page(ctx context.Context, tx *sql.Tx, limit int) (ids []int64, next int64, err error) {
	if limit < 1 {
		return nil, 0, nil
	}
	// One more than asked for tells whether there is more.
	wanted := limit + 1
	for above, left, size := int64(math.MaxInt64), q.budget, firstSlice; ; size *= 4 {
		below, bounded := int64(math.MinInt64), len(q.rests) > 0 && !q.sorted
		if bounded {
			size = min(size, left)
			if below, bounded, err = q.boundary(ctx, tx, above, size); err != nil {
				return nil, 0, err
			}
		}
		some, err := q.slice(ctx, tx, below, above, wanted-len(ids))
		if err != nil {
			return nil, 0, err
		}
		ids = append(ids, some...)
		if len(ids) == wanted {
			return ids[:limit], ids[limit-1], nil
		}
		if !bounded {
			return ids, 0, nil
		}
		if left -= size; left == 0 {
			return ids, below, nil
		}
		above = below
	}
}

// boundary returns the last id of the next so many rows of the base, and false
// if there are fewer.
func (q *selection) boundary(ctx context.Context, tx *sql.Tx, above int64, size int) (int64, bool, error) {
	below := int64(math.MinInt64)
	err := tx.QueryRowContext(ctx, `SELECT `+q.id+` FROM `+q.from+` WHERE `+and(q.bases, q.id+` < ?`)+
		` ORDER BY `+q.id+` DESC LIMIT 1 OFFSET ?`, concat(q.baseArgs, above, size-1)...).Scan(&below)
	if errors.Is(err, sql.ErrNoRows) {
		return below, false, nil
	}
	return below, err == nil, dbfile.Translate(err)
}

// slice returns the ids of the rows from below, inclusive, to above, exclusive,
// that pass all conditions.
func (q *selection) slice(ctx context.Context, tx *sql.Tx, below, above int64, limit int) ([]int64, error) {
	conditions := and(append(q.bases[:len(q.bases):len(q.bases)], q.rests...), q.id+` >= ?`, q.id+` < ?`)
	args := concat(concat(q.baseArgs, q.restArgs...), below, above, limit)
	return list(ctx, tx, `SELECT `+q.id+` FROM `+q.from+q.join+` WHERE `+conditions+` ORDER BY `+q.id+` DESC LIMIT ?`, args,
		func(rows *sql.Rows) (id int64, err error) {
			err = rows.Scan(&id)
			return id, err
		})
}

func and(conditions []string, more ...string) string {
	return strings.Join(append(conditions[:len(conditions):len(conditions)], more...), " AND ")
}

func concat(args []any, more ...any) []any { return append(args[:len(args):len(args)], more...) }

// jsonArray writes numbers as json_each reads them: a list of any length is one
// parameter of a statement that is always the same.
func jsonArray(numbers []int64) string {
	b := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, ']'))
}

// read runs queries that see one state of the file, when it is their turn. They
// have the time that such a state may be kept.
func (s *Store) read(ctx context.Context, queries func(context.Context, *sql.Tx) error) error {
	select {
	case s.lists <- struct{}{}:
		defer func() { <-s.lists }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	tx, end, err := s.readers.begin(ctx)
	if err != nil {
		return dbfile.Translate(err)
	}
	defer end()
	return queries(ctx, tx)
}

// A querier is a [sql.DB] or a [sql.Tx].
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// list reads all rows of a query.
func list[T any](ctx context.Context, db querier, query string, args []any, scan func(*sql.Rows) (T, error)) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, dbfile.Translate(err)
	}
	return collect(rows, scan)
}

// collect reads all rows, and closes them.
func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) ([]T, error) {
	defer rows.Close()
	var items []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, dbfile.Translate(err)
		}
		items = append(items, item)
	}
	return items, dbfile.Translate(rows.Err())
}
