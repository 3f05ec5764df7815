package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxWaiting bounds the memory of what waits to be written.
	maxWaiting = 8192
	// maxGroup bounds how much one transaction takes, and so how long anyone
	// waits behind it.
	maxGroup = 1024
)

// writer owns the connection that writes, and commits in groups.
type writer struct {
	db         *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt // only the goroutine of run uses it

	mu     sync.RWMutex // held for reading while sending, so that close can wait
	closed bool
	queue  chan *write
	ended  chan struct{}
}

// A write is a piece of work for one transaction, which it may share. It can be
// run more than once, since a group that fails is tried again one by one.
type write struct {
	what string
	run  func(*transaction) error
	done chan error
}

// A transaction is what a write works with.
type transaction struct{ w *writer }

func openWriter(ctx context.Context, path, synchronous string) (*writer, error) {
	db, err := sql.Open("sqlite", dsn(path, "_pragma=busy_timeout(10000)", "_pragma=journal_mode(wal)",
		"_pragma=synchronous("+synchronous+")", "_pragma=foreign_keys(1)", "_pragma=trusted_schema(0)",
		fmt.Sprintf("_pragma=wal_autocheckpoint(%d)", checkpointPages)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, translate(err)
	}
	w := &writer{
		db: db, conn: conn, statements: map[string]*sql.Stmt{},
		queue: make(chan *write, maxWaiting), ended: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// do has the work done and returns when it is durable. It waits for room in the
// queue; see try.
func (w *writer) do(what string, run func(*transaction) error) error {
	return w.submit(what, run, true)
}

// try is do, but refuses with [webhook.ErrOverloaded] when the queue is full.
func (w *writer) try(what string, run func(*transaction) error) error {
	return w.submit(what, run, false)
}

func (w *writer) submit(what string, run func(*transaction) error, wait bool) error {
	job := &write{what: what, run: run, done: make(chan error, 1)}
	if err := w.enqueue(job, wait); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return <-job.done
}

func (w *writer) enqueue(job *write, wait bool) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return webhook.ErrClosed
	}
	if wait {
		w.queue <- job
		return nil
	}
	select {
	case w.queue <- job:
		return nil
	default:
		return webhook.ErrOverloaded
	}
}

// close lets what waits be written, and ends the writer.
func (w *writer) close() error {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.mu.Unlock()
	if already {
		return nil
	}
	close(w.queue)
	<-w.ended
	_, err := w.conn.ExecContext(context.Background(), `PRAGMA wal_checkpoint(truncate)`)
	for _, statement := range w.statements {
		statement.Close()
	}
	return errors.Join(err, w.conn.Close(), w.db.Close())
}

// run commits as soon as the last commit is done, with all that waits by then:
// waiting longer for a larger group costs more than it saves.
func (w *writer) run() {
	defer close(w.ended)
	group := make([]*write, 0, maxGroup)
	for first := range w.queue {
		group = append(group[:0], first)
	collect:
		for len(group) < maxGroup {
			select {
			case next, ok := <-w.queue:
				if !ok {
					break collect
				}
				group = append(group, next)
			default:
				break collect
			}
		}
		w.commit(group)
	}
}

// commit writes the group in one transaction. If that fails, each write gets a
// transaction of its own, so that it fails for its own reasons only, save when
// the reason is one that they share.
func (w *writer) commit(group []*write) {
	err := w.transact(group)
	if err == nil || len(group) == 1 || errors.Is(err, webhook.ErrStorageFull) {
		for _, job := range group {
			job.answer(err)
		}
		return
	}
	for i := range group {
		group[i].answer(w.transact(group[i : i+1]))
	}
}

func (job *write) answer(err error) {
	if err != nil {
		err = fmt.Errorf("%s: %w", job.what, err)
	}
	job.done <- err
}

func (w *writer) transact(group []*write) error {
	tx := &transaction{w}
	if _, err := tx.exec(`BEGIN IMMEDIATE`); err != nil {
		return translate(err)
	}
	for _, job := range group {
		if err := job.run(tx); err != nil {
			w.rollback(tx)
			return translate(err)
		}
	}
	if _, err := tx.exec(`COMMIT`); err != nil {
		w.rollback(tx)
		return translate(err)
	}
	return nil
}

// rollback ends the transaction. Its error says nothing new: SQLite has then
// rolled back by itself, as it does when the disk is full.
func (w *writer) rollback(tx *transaction) { tx.exec(`ROLLBACK`) }

// exec runs a statement, which is prepared at its first use.
func (t *transaction) exec(query string, args ...any) (sql.Result, error) {
	statement, err := t.prepare(query)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(context.Background(), args...)
}

// row runs a query for one row.
func (t *transaction) row(query string, args ...any) *sql.Row {
	statement, err := t.prepare(query)
	if err != nil {
		// A statement that cannot be prepared fails the same way when it is run.
		return t.w.conn.QueryRowContext(context.Background(), query, args...)
	}
	return statement.QueryRowContext(context.Background(), args...)
}

func (t *transaction) prepare(query string) (*sql.Stmt, error) {
	if statement, ok := t.w.statements[query]; ok {
		return statement, nil
	}
	statement, err := t.w.conn.PrepareContext(context.Background(), query)
	if err == nil {
		t.w.statements[query] = statement
	}
	return statement, err
}
