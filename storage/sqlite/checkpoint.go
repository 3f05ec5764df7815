package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

const (
	// logEvery is how often the log is looked at while it is written to.
	logEvery = 100 * time.Millisecond
	// movePages is how many pages are worth to be moved from the log to the file,
	// and emptyPages how many the log has when it is to begin anew: 16 and 32 MiB.
	movePages  = 4096
	emptyPages = 8192
	// maxLog is how large the log gets, in bytes, until those who wait to be
	// written wait for readers to let go of it, for logWait at most. When that was
	// in vain, it is tried again after logRetry, for twice as long, and so on up to
	// logWaitMost; while one reader stays, ever more rarely, up to logRetryMost.
	maxLog       = 2 * emptyPages * dbfile.PageSize
	logWait      = 50 * time.Millisecond
	logWaitMost  = 200 * time.Millisecond
	logRetry     = 500 * time.Millisecond
	logRetryMost = 10 * time.Second
	// shutWait is how long those of our own who read are waited for then, while no
	// other begins. It is more than any read takes but a list, and the writer goes on.
	// shutMost is how long a read waits for all of that at most.
	shutWait = 500 * time.Millisecond
	shutMost = shutWait + logWaitMost + 50*time.Millisecond
	// readFor bounds a transaction of our own that reads, which would keep the log
	// from being emptied too.
	readFor = 5 * time.Second
)

// A checkpointer keeps the write-ahead log short. It moves what is in the log into
// the file beside the writer, on a connection of its own, so that nobody who waits
// to be written waits for that; what is left to the writer is the moment in which
// the log begins anew.
//
// The log begins anew only when nobody at all reads from it. While there is always
// somebody, it grows, however short each reads. From some size on nobody of our own
// therefore begins to read until the others have ended, and the writer holds still for
// as long as short readers from outside take.
type checkpointer struct {
	s      *Store
	db     *sql.DB
	maxLog int64 // see [maxLog]
	report func(Upkeep)

	woken   chan struct{} // one slot: something was written
	stopped context.Context
	stop    context.CancelFunc
	ended   chan struct{}

	held  atomic.Bool            // see [Upkeep]
	fault atomic.Pointer[string] // why the log could not be moved at the last try; nil: it could

	// Only the goroutine of run uses these.
	faults  int       // in a row
	tries   int       // in a row that were in vain
	moved   int       // pages at the last of them
	next    time.Time // when to try again
	nextLen int       // when to try without waiting, in pages
}

// A logState is how many pages the log has, and how many of those are in the file.
type logState struct{ pages, moved int }

func openCheckpointer(s *Store, o Options) (*checkpointer, error) {
	db, err := sql.Open("sqlite", dbfile.DSN(s.path, "_pragma=busy_timeout(0)", "_pragma=synchronous("+o.Synchronous+")", "_pragma=trusted_schema(0)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	c := &checkpointer{s: s, db: db, maxLog: maxLog, report: o.OnUpkeep, woken: make(chan struct{}, 1), ended: make(chan struct{}), nextLen: emptyPages}
	c.stopped, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// committed is told of each commit.
func (c *checkpointer) committed() { wake(c.woken) }

// close waits for what is being done.
func (c *checkpointer) close() error {
	c.stop()
	<-c.ended
	return c.db.Close()
}

func (c *checkpointer) run() {
	defer close(c.ended)
	for {
		// What has failed is tried again though nothing is written.
		var again <-chan time.Time
		if c.tries > 0 || c.fault.Load() != nil {
			again = time.After(max(logEvery, time.Until(c.next)))
		}
		select {
		case <-c.stopped.Done():
			return
		case <-again:
		case <-c.woken:
			if !rest(c.stopped, logEvery) {
				return
			}
		}
		held := c.held.Load()
		log, err := c.tend()
		if c.stopped.Err() != nil {
			return
		}
		if c.report != nil && (err != nil || held != c.held.Load()) {
			c.report(Upkeep{LogHeld: c.held.Load(), LogBytes: int64(log.pages) * c.s.writer.pageSize, Err: err})
		}
		if err == nil {
			c.faults = 0
			continue
		}
		// What is tried after a failed sync keeps the writer busy; see pass.
		if !rest(c.stopped, min(lookEvery<<c.faults, logRetryMost)) {
			return
		}
		c.faults = min(c.faults+1, 10)
	}
}

// tend does what there is to do for the log, and returns how it is then.
func (c *checkpointer) tend() (logState, error) {
	log, err := c.look()
	if err == nil && log.pages-log.moved >= movePages && !time.Now().Before(c.next) {
		log, err = c.pass()
	}
	if err != nil {
		return log, err
	}
	large := int64(log.pages)*c.s.writer.pageSize > c.maxLog
	switch {
	case log.pages < emptyPages && !large:
		c.emptied()
		return log, nil
	case large && !time.Now().Before(c.next):
		return c.insist()
	case !large && log.pages >= c.nextLen:
		// What was written meanwhile is little.
		if log, err = c.pass(); err != nil {
			return log, err
		}
		if err := c.s.writer.mover.flush(); err != nil {
			err = fmt.Errorf("sync the file: %w", dbfile.Translate(err))
			c.tell(err)
			return log, err
		}
		begun, log, err := c.begin("restart", 0)
		if err == nil && begun {
			c.emptied()
			log = logState{}
		}
		c.nextLen = log.pages + emptyPages/4
		return log, err
	}
	return log, nil
}

// insist has our own readers wait, and the writer for the others. From the second try
// on none of our own lists is being read: what is in the way then, if none of our own
// reads at all, is somebody else.
func (c *checkpointer) insist() (logState, error) {
	if c.tries > 0 {
		for range cap(c.s.lists) {
			select {
			case c.s.lists <- struct{}{}:
				defer func() { <-c.s.lists }()
			case <-c.stopped.Done():
				return logState{}, c.stopped.Err()
			}
		}
	}
	open := sync.OnceFunc(c.s.readers.open)
	late := time.AfterFunc(shutMost, open)
	nobody := c.s.readers.shut(c.stopped, shutWait)
	begun, log, err := c.begin("truncate", min(logWait<<c.tries, logWaitMost))
	late.Stop()
	open()
	if err != nil || begun {
		c.emptied()
		return log, err
	}
	// While readers come and go there is a moment to be found, and else it is one
	// that stays.
	retry := logRetry
	if stays := log.moved <= c.moved; stays {
		c.held.Store(c.tries > 0 && nobody)
		retry = min(logRetry<<c.tries, logRetryMost)
	}
	c.next = time.Now().Add(retry)
	c.tries, c.moved = min(c.tries+1, 10), log.moved
	return log, nil
}

func (c *checkpointer) emptied() {
	c.tries, c.moved, c.next, c.nextLen = 0, 0, time.Time{}, emptyPages
	c.held.Store(false)
}

// look returns how the log is.
func (c *checkpointer) look() (logState, error) {
	log, _, err := checkpoint(c.stopped, c.db, "noop")
	if err != nil {
		err = fmt.Errorf("look at the write-ahead log: %w", dbfile.Translate(err))
	}
	return log, err
}

// pass moves what can be moved without waiting for anybody, beside the writer. Not so
// after a sync that has failed: what is moved while nothing is written is synced.
func (c *checkpointer) pass() (log logState, err error) {
	m := &c.s.writer.mover
	if m.suspects() {
		_, log, err = c.begin("passive", 0)
		return log, err
	}
	m.mu.Lock()
	_, log, err = m.move(c.stopped, c.db, "passive")
	m.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("move the write-ahead log into the file: %w", dbfile.Translate(err))
	}
	c.tell(err)
	return log, err
}

// begin has the writer begin the log anew, and wait so long for readers that are
// in the way. It reports whether none was.
func (c *checkpointer) begin(mode string, wait time.Duration) (begun bool, log logState, err error) {
	if err := c.stopped.Err(); err != nil {
		return false, log, err
	}
	ctx := context.Background()
	err = c.s.writer.apart("move the write-ahead log into the file", func(conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA busy_timeout = %d`, wait.Milliseconds())); err != nil {
			return err
		}
		busy, now, err := c.s.writer.move(mode)
		begun, log = err == nil && !busy, now
		_, err2 := conn.ExecContext(ctx, `PRAGMA busy_timeout = `+busyTimeout)
		return errors.Join(err, err2)
	})
	c.tell(err)
	return begun, log, err
}

// tell notes why the log cannot be moved, save when the end cuts it short.
func (c *checkpointer) tell(err error) {
	if c.stopped.Err() == nil {
		note(&c.fault, err)
	}
}

// note keeps what an error says, or that there is none.
func note(fault *atomic.Pointer[string], err error) {
	if err == nil {
		fault.Store(nil)
		return
	}
	text := err.Error()
	fault.Store(&text)
}

// noted is what note keeps; empty: there is no error.
func noted(fault *atomic.Pointer[string]) string {
	if text := fault.Load(); text != nil {
		return *text
	}
	return ""
}

// wake fills the one slot of the channel.
func wake(woken chan struct{}) {
	select {
	case woken <- struct{}{}:
	default:
	}
}

// rest reports false when it is cut short by the end.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
