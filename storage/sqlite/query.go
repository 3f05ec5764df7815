package sqlite

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A selection gathers the conditions of a list.
type selection struct {
	ids        *webhook.IDs
	conditions []string
	args       []any
}

func (q *selection) add(condition string, args ...any) {
	q.conditions = append(q.conditions, condition)
	q.args = append(q.args, args...)
}

// equal asks for a value of the column, unless it is empty.
func (q *selection) equal(column, value string) {
	if value != "" {
		q.add(column+" = ?", value)
	}
}

// is asks for the row that the id names, unless it is empty. An id that can be
// nobody's selects nothing.
func (q *selection) is(column, prefix, id string) {
	if id == "" {
		return
	}
	number, ok := q.ids.Parse(prefix, id)
	if !ok {
		number = -1
	}
	q.add(column+" = ?", number)
}

// span bounds the time at which the ids in the column were made.
func (q *selection) span(column string, since, until time.Time) {
	if !since.IsZero() {
		q.add(column+" >= ?", webhook.FirstAt(since))
	}
	if !until.IsZero() {
		q.add(column+" < ?", webhook.FirstAt(until))
	}
}

// before continues a list after the id that was seen last.
func (q *selection) before(column, prefix, id string) {
	if id == "" {
		return
	}
	number, _ := q.ids.Parse(prefix, id)
	q.add(column+" < ?", number)
}

func (q *selection) where() string {
	if len(q.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.conditions, " AND ")
}

// list reads all rows of a query.
func list[T any](ctx context.Context, db *sql.DB, query string, args []any, scan func(*sql.Rows) (T, error)) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, translate(err)
	}
	defer rows.Close()
	var items []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, translate(err)
		}
		items = append(items, item)
	}
	return items, translate(rows.Err())
}
