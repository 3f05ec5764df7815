package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

const (
	// maxWaiting bounds the memory of what waits to be written.
	maxWaiting = 8192
	// maxGroup bounds how much one transaction takes, and so how long anyone
	// waits behind it.
	maxGroup = 1024
	// maxUntried bounds the memory of what has not been tried yet.
	maxUntried = 65_536
	// readerPatience is how long, in milliseconds, a start and a stop wait for who reads
	// the log.
	readerPatience = 250
)

// errSpent says that the file holds as much as it may.
var errSpent = fmt.Errorf("%w: it holds as much as storage.max_size allows", webhook.ErrStorageFull)

// writer owns the connection that writes, and commits in groups.
type writer struct {
	db         *sql.DB
	conn       *sql.Conn
	queries    map[string]*sql.Stmt   // only the goroutine of run uses it
	statements map[string]driver.Stmt // those of exec and number; likewise
	args       []driver.NamedValue    // of the statement that runs; likewise
	counts     counts                 // likewise
	// untried tells the subscriber of deliveries that were made lately, so that
	// the first attempt is counted without reading anything. Most deliveries
	// have no other; one that is not here any more is read. Likewise.
	untried map[int64]int64
	// orders tells of subscribers whether they have an order; one that is not here is
	// read. Likewise.
	orders   map[int64]bool
	unfiled  unfiled
	gone     atomic.Int64 // no event that was deleted since the start is later
	pageSize int64        // of the file, in bytes
	maxSize  int64        // see [Options]
	spent    bool         // the file held as much after the last commit; likewise
	pruning  pruning
	suspect  bool   // see renewLog; likewise
	level    string // of synchronous, as the options have it
	unsynced bool   // commits are not synced at present; likewise
	loose    bool   // the last one was not; likewise
	mover    mover
	// letGo has others go on first who can: they would find a processor only when the
	// writer waits for the disk.
	letGo    func()
	onCommit func(writes int, took time.Duration)
	onFault  func(error) // told of what fails and concerns no write

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
	adds bool // it is not done while the file holds as much as it may, and no room can be made
	// lazy says that a power cut may undo it. It is then done after the others, in a
	// transaction that takes less time as it is synced with the next.
	lazy bool
	// apart, if not nil, is done in place of run, before the transaction of the
	// others and in none.
	apart func(*sql.Conn) error
	done  chan error
}

// A transaction is what a write works with.
type transaction struct{ w *writer }

func openWriter(ctx context.Context, path string, o Options, onFault func(error)) (*writer, error) {
	db, err := sql.Open("sqlite", dbfile.DSN(path, "_pragma=busy_timeout("+busyTimeout+")", "_pragma=journal_mode(wal)",
		"_pragma=synchronous("+o.Synchronous+")", "_pragma=foreign_keys(1)", "_pragma=trusted_schema(0)",
		"_pragma=wal_autocheckpoint(0)", fmt.Sprintf("_pragma=journal_size_limit(%d)", maxLog)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, dbfile.Translate(err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, conn.Close(), db.Close())
	}
	w := &writer{
		mover: mover{path: path, file: file}, db: db, conn: conn, queries: map[string]*sql.Stmt{}, statements: map[string]driver.Stmt{},
		counts: newCounts(), untried: map[int64]int64{}, orders: map[int64]bool{},
		unfiled: unfiled{capacity: keysInMemory, atOnce: keysAtOnce},
		maxSize: o.MaxSize, level: o.Synchronous, letGo: runtime.Gosched, onCommit: o.OnCommit, onFault: onFault,
		queue: make(chan *write, maxWaiting), ended: make(chan struct{}),
	}
	if err = w.renewFound(ctx); err == nil {
		err = w.measure(ctx)
	}
	if err == nil {
		err = w.unfiled.load(ctx, w.conn)
	}
	if err != nil {
		return nil, errors.Join(dbfile.Translate(err), conn.Close(), db.Close(), file.Close())
	}
	go w.run()
	return w, nil
}

// do has the work done and returns when it is durable. It waits for room in the
// queue; see try.
func (w *writer) do(what string, run func(*transaction) error) error {
	return w.submit(&write{what: what, run: run}, true)
}

// add is do for work that adds to the file. It fails with
// [webhook.ErrStorageFull] while the file holds as much as it may.
func (w *writer) add(what string, run func(*transaction) error) error {
	return w.submit(&write{what: what, run: run, adds: true}, true)
}

// lazily is do for work that a power cut may undo, since it is then done again.
func (w *writer) lazily(what string, run func(*transaction) error) error {
	return w.submit(&write{what: what, run: run, lazy: true}, true)
}

// try is add, but refuses with [webhook.ErrOverloaded] when the queue is full.
func (w *writer) try(what string, run func(*transaction) error) error {
	return w.submit(&write{what: what, run: run, adds: true}, false)
}

// note is try for work whose rows are bounded by themselves, so that it is done
// in a full file too.
func (w *writer) note(what string, run func(*transaction) error) error {
	return w.submit(&write{what: what, run: run}, false)
}

// apart is do for work that cannot be done within a transaction.
func (w *writer) apart(what string, work func(*sql.Conn) error) error {
	return w.submit(&write{what: what, apart: work}, true)
}

func (w *writer) submit(job *write, wait bool) error {
	job.done = make(chan error, 1)
	if err := w.enqueue(job, wait); err != nil {
		return fmt.Errorf("%s: %w", job.what, err)
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
	err := w.moveLast()
	for _, query := range w.queries {
		query.Close()
	}
	w.conn.Raw(func(any) error {
		for _, statement := range w.statements {
			statement.Close()
		}
		return nil
	})
	return errors.Join(err, w.conn.Close(), w.db.Close(), w.mover.file.Close())
}

// run commits as soon as the last commit is done, with all that waits by then:
// waiting longer for a larger group costs more than it saves.
func (w *writer) run() {
	defer close(w.ended)
	group := make([]*write, 0, maxGroup)
	for first := range w.queue {
		group = w.collect(append(group[:0], first))
		if !slices.ContainsFunc(group, func(job *write) bool { return !job.lazy }) {
			// Who wakes at the same time comes before it.
			w.letGo()
			group = w.collect(group)
		}
		w.commit(group)
		w.fileKeys()
	}
}

// collect adds what waits to the group, as far as there is room.
func (w *writer) collect(group []*write) []*write {
	for len(group) < maxGroup {
		select {
		case next, ok := <-w.queue:
			if !ok {
				return group
			}
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

// commit writes the group in one transaction, save what is lazy, which gets another.
func (w *writer) commit(group []*write) {
	var lazy []*write
	group = slices.DeleteFunc(group, func(job *write) bool {
		switch {
		case job.apart != nil:
			job.answer(dbfile.Translate(job.apart(w.conn)))
		case job.lazy:
			lazy = append(lazy, job)
		default:
			return false
		}
		return true
	})
	if len(group) > 0 {
		if err := w.makeRoom(); w.spent {
			group = slices.DeleteFunc(group, func(job *write) bool { return job.refuse(err) })
		}
	}
	w.commitAll(group, true)
	if len(lazy) > 0 {
		w.letGo()
		w.commitAll(lazy, false)
	}
}

// commitAll writes the group in one transaction. If that fails, each write gets a
// transaction of its own, so that it fails for its own reasons only, save when
// the reason is one that they share.
func (w *writer) commitAll(group []*write, synced bool) {
	if len(group) == 0 {
		return
	}
	err := w.explain(w.transact(group, synced))
	if err == nil || len(group) == 1 || errors.Is(err, webhook.ErrStorageFull) {
		for _, job := range group {
			job.answer(err)
		}
		return
	}
	for i := range group {
		group[i].answer(w.transact(group[i:i+1], synced))
	}
}

// refuse refuses a write that adds to the file, and reports whether it did. The
// error is what kept room from being made; nil: there is none to be made.
func (job *write) refuse(err error) bool {
	if job.adds {
		job.answer(errors.Join(errSpent, err))
	}
	return job.adds
}

func (job *write) answer(err error) {
	if err != nil {
		err = fmt.Errorf("%s: %w", job.what, err)
	}
	job.done <- err
}

func (w *writer) transact(group []*write, synced bool) error {
	begun := time.Now()
	if err := w.renewLog(); err != nil {
		return dbfile.Translate(err)
	}
	if err := w.sync(synced); err != nil {
		return dbfile.Translate(err)
	}
	tx := &transaction{w}
	w.counts.reset()
	if _, err := tx.exec(`BEGIN IMMEDIATE`); err != nil {
		return dbfile.Translate(err)
	}
	for _, job := range group {
		if err := job.run(tx); err != nil {
			w.rollback(tx)
			return dbfile.Translate(err)
		}
	}
	if err := w.counts.flush(tx); err != nil {
		w.rollback(tx)
		return dbfile.Translate(err)
	}
	finished := w.counts.finished()
	spent, err := w.full(tx)
	if err != nil {
		w.rollback(tx)
		return dbfile.Translate(err)
	}
	if _, err := tx.exec(`COMMIT`); err != nil {
		w.suspect = dbfile.SyncFailed(err)
		w.rollback(tx)
		return dbfile.Translate(err)
	}
	w.loose = !synced
	w.unfiled.changes = w.unfiled.changes[:0]
	w.spent = spent
	w.pruning.idle = w.pruning.idle && !finished
	if w.onCommit != nil {
		w.onCommit(len(group), time.Since(begun))
	}
	return nil
}

// sync has what is committed next synced, or not. The first commit that is syncs
// those before it too, as they are in one log.
func (w *writer) sync(synced bool) error {
	if w.unsynced != synced {
		return nil
	}
	level := "normal"
	if synced {
		level = w.level
	}
	_, err := w.conn.ExecContext(context.Background(), `PRAGMA synchronous = `+level)
	if err == nil {
		w.unsynced = !synced
	}
	return err
}

// settle has a commit sync what is not yet. The sync in a checkpoint would do so too,
// but when it fails nobody knows whether it was the log's: what is committed behind
// what the log has lost is lost with it.
func (w *writer) settle() error {
	if !w.loose || w.suspect {
		return nil
	}
	return w.transact([]*write{{what: "settle", run: func(tx *transaction) error { return tx.touch() }}}, true)
}

// touch writes something. To set a value to what it is would not.
func (t *transaction) touch() error {
	var value string
	if err := t.row(`DELETE FROM settings WHERE name = 'installation' RETURNING value`).Scan(&value); err != nil {
		return err
	}
	_, err := t.exec(`INSERT INTO settings (name, value) VALUES ('installation', ?)`, value)
	return err
}

// measure reads how large the file is when it is opened.
func (w *writer) measure(ctx context.Context) (err error) {
	if err := w.conn.QueryRowContext(ctx, `PRAGMA page_size`).Scan(&w.pageSize); err != nil {
		return err
	}
	w.spent, err = w.full(&transaction{w})
	return err
}

// full reports whether the pages in use are as many as they may be. It is asked
// once for each transaction, within it, where SQLite has both numbers at hand;
// and for the free pages only in a file that has grown so large.
func (w *writer) full(tx *transaction) (bool, error) {
	if w.maxSize == 0 {
		return false, nil
	}
	var pages, free int64
	if err := tx.row(`PRAGMA page_count`).Scan(&pages); err != nil || pages*w.pageSize < w.maxSize {
		return false, err
	}
	err := tx.row(`PRAGMA freelist_count`).Scan(&free)
	return (pages-free)*w.pageSize >= w.maxSize, err
}

// rollback ends the transaction. Its error says nothing new: SQLite has then
// rolled back by itself, as it does when the disk is full.
func (w *writer) rollback(tx *transaction) {
	tx.exec(`ROLLBACK`)
	clear(w.orders)
	w.unfiled.rollback()
}

// exec runs a statement, which is prepared at its first use. It is handed to the
// driver without database/sql, whose share of the whole would be a twentieth: it
// converts, locks and copies for callers that may be many.
func (t *transaction) exec(query string, args ...any) (result sql.Result, err error) {
	err = t.raw(query, args, func(statement driver.Stmt, args []driver.NamedValue) (err error) {
		result, err = statement.(driver.StmtExecContext).ExecContext(context.Background(), args)
		return err
	})
	return result, err
}

// number runs a query for one number, as exec runs statements.
func (t *transaction) number(query string, args ...any) (n int64, found bool, err error) {
	err = t.raw(query, args, func(statement driver.Stmt, args []driver.NamedValue) error {
		rows, err := statement.(driver.StmtQueryContext).QueryContext(context.Background(), args)
		if err != nil {
			return err
		}
		var value [1]driver.Value
		if err = rows.Next(value[:]); err == nil {
			n, found = value[0].(int64)
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
		return errors.Join(err, rows.Close())
	})
	return n, found, err
}

func (t *transaction) raw(query string, args []any, run func(driver.Stmt, []driver.NamedValue) error) error {
	w := t.w
	w.args = w.args[:0]
	for i, arg := range args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return fmt.Errorf("convert argument %d: %w", i+1, err)
		}
		w.args = append(w.args, driver.NamedValue{Ordinal: i + 1, Value: value})
	}
	return w.conn.Raw(func(conn any) (err error) {
		statement, ok := w.statements[query]
		if !ok {
			if statement, err = conn.(driver.ConnPrepareContext).PrepareContext(context.Background(), query); err != nil {
				return err
			}
			w.statements[query] = statement
		}
		return run(statement, w.args)
	})
}

// counts is where the transaction notes what it changes; see [counts].
func (t *transaction) counts() *counts { return &t.w.counts }

// made remembers whose delivery it is until it is tried. Should the
// transaction be rolled back, nobody asks.
func (t *transaction) made(delivery, subscriber int64) {
	if len(t.w.untried) >= maxUntried {
		clear(t.w.untried)
	}
	t.w.untried[delivery] = subscriber
}

// tried returns what made remembered, and forgets it.
func (t *transaction) tried(delivery int64) (subscriber int64, known bool) {
	subscriber, known = t.w.untried[delivery]
	delete(t.w.untried, delivery)
	return subscriber, known
}

// ordered reports whether the subscriber has an order. The error is
// [webhook.ErrNotFound] if it is gone.
func (t *transaction) ordered(subscriber int64) (bool, error) {
	ordered, known := t.w.orders[subscriber]
	if known {
		return ordered, nil
	}
	err := t.row(`SELECT ordered <> '' FROM webhook_subscribers WHERE number = ?`, subscriber).Scan(&ordered)
	if err == nil {
		t.w.orders[subscriber] = ordered
	}
	return ordered, dbfile.Translate(err)
}

// changed forgets what was known of a subscriber.
func (t *transaction) changed(subscriber int64) { delete(t.w.orders, subscriber) }

// query runs a query for many rows.
func (t *transaction) query(query string, args ...any) (*sql.Rows, error) {
	statement, err := t.prepare(query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(context.Background(), args...)
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
	if statement, ok := t.w.queries[query]; ok {
		return statement, nil
	}
	statement, err := t.w.conn.PrepareContext(context.Background(), query)
	if err == nil {
		t.w.queries[query] = statement
	}
	return statement, err
}
