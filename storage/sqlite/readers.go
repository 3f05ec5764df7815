package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// A pool has the connections that read, and keeps count of who reads.
type pool struct {
	db *sql.DB

	mu      sync.Mutex
	reading int
	opened  chan struct{} // closed when it opens again; nil: it is open
	empty   chan struct{} // closed when the last one leaves who was in when it was shut
}

func openPool(path string) (*pool, error) {
	db, err := sql.Open("sqlite", dbfile.DSN(path, "mode=ro", "_pragma=busy_timeout(10000)", "_pragma=query_only(1)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return &pool{db: db}, nil
}

// enter waits while the pool is shut. Whoever has entered leaves.
func (p *pool) enter(ctx context.Context) error {
	for {
		p.mu.Lock()
		opened := p.opened
		if opened == nil {
			p.reading++
		}
		p.mu.Unlock()
		if opened == nil {
			return nil
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading--; p.reading == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// shut lets nobody in until open is called, and waits for those who read, but not
// longer than so long. It reports whether nobody reads.
func (p *pool) shut(ctx context.Context, wait time.Duration) (nobody bool) {
	p.mu.Lock()
	p.opened = make(chan struct{})
	empty := make(chan struct{})
	if p.reading == 0 {
		close(empty)
	} else {
		p.empty = empty
	}
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-empty:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (p *pool) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.opened)
	p.opened, p.empty = nil, nil
}

// A row is read when it is scanned.
type row struct {
	p     *pool
	ctx   context.Context
	query string
	args  []any
}

// QueryRowContext is that of [sql.DB].
func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *row {
	return &row{p, ctx, query, args}
}

// Scan is that of [sql.Row].
func (r *row) Scan(to ...any) error {
	if err := r.p.enter(r.ctx); err != nil {
		return err
	}
	defer r.p.leave()
	return r.p.db.QueryRowContext(r.ctx, r.query, r.args...).Scan(to...)
}

// begin begins a transaction, which sees one state of the file until its end.
func (p *pool) begin(ctx context.Context) (tx *sql.Tx, end func(), err error) {
	if err := p.enter(ctx); err != nil {
		return nil, nil, err
	}
	if tx, err = p.db.BeginTx(ctx, nil); err != nil {
		p.leave()
		return nil, nil, err
	}
	return tx, func() {
		tx.Rollback()
		p.leave()
	}, nil
}

// read reads all rows of a query, as list does.
func read[T any](ctx context.Context, p *pool, query string, args []any, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	return list(ctx, p.db, query, args, scan)
}
