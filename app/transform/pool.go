package transform

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// idleTimeout is how long a child is kept that has nothing to do, at least.
	idleTimeout = time.Minute
	// startPause is how long nothing is started after a child could not be.
	startPause = 100 * time.Millisecond
	// keptBuffer is the largest buffer that is kept for the next request.
	keptBuffer = 64 << 10
)

// A Pool runs expressions in children. It is safe for concurrent use.
type Pool struct {
	o           Options
	idleTimeout time.Duration
	fault       error // of the options; every call fails with it
	starter     *starter
	buffers     sync.Pool // of *[]byte
	places      []*place
	running     sync.WaitGroup // calls that have a place, and what ends children
	done        chan struct{}  // closed when everything has ended

	mu     sync.Mutex
	closed bool
	// owners are those who have calls, or are not trusted.
	owners map[string]*owner
	// turns are the owners that have calls waiting, who is next first.
	turns []*owner
	// free are the places without a call, the last to have become so last.
	free []*place
	// suspects is how many calls of owners that are not trusted are running.
	suspects int
	// startErr is why no child could be started at failedAt.
	startErr error
	failedAt time.Time
	// sweeper ends the children that have nothing to do; it runs while sweeping.
	sweeper  *time.Timer
	sweeping bool
}

// A call waits for its turn, and then has a place.
type call struct {
	owner   *owner
	request request
	buffer  *[]byte // with the frame of the request
	suspect bool    // its owner was not trusted when it began
	place   *place
	// turn is closed when the call has a place, or the pool has closed; nil: it had
	// one at once.
	turn chan struct{}
}

// A place is where one call at a time runs: in its child, if it has one.
type place struct {
	freeSince time.Time

	mu    sync.Mutex
	child *child
}

// New returns a pool. Children are started when there is something to run.
func New(o Options) *Pool {
	o, err := o.withDefaults()
	p := &Pool{o: o, idleTimeout: idleTimeout, fault: err, done: make(chan struct{}), owners: map[string]*owner{}}
	for range o.Workers {
		p.places = append(p.places, &place{})
	}
	p.free = slices.Clone(p.places)
	p.buffers.New = func() any { return new([]byte) }
	p.starter = &starter{
		command: o.Command,
		bounds:  bounds{timeout: o.Timeout, memory: o.Memory, maxOutput: o.MaxOutput},
	}
	return p
}

// run has a child run the request when the owner's turn comes.
func (p *Pool) run(ctx context.Context, name string, r request) (_ answer, err error) {
	if p.o.Observe != nil {
		begun := time.Now()
		defer func() { p.o.Observe(time.Since(begun), err) }()
	}
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	if err := r.check(); err != nil {
		return answer{}, err
	}
	c := &call{request: r}
	if err := p.queue(ctx, name, c); err != nil {
		return answer{}, err
	}
	child, err := p.childOf(c.place)
	if err != nil {
		p.release(c, nil)
		if err != ErrClosed {
			err = &Error{Expression: r.expressions[0].Name, Reason: "no process runs expressions: " + err.Error()}
		}
		return answer{}, err
	}
	c.buffer = p.buffers.Get().(*[]byte)
	*c.buffer = r.appendFrame(*c.buffer)
	if err = child.send(*c.buffer, len(r.expressions)); err == nil {
		err = child.await(ctx)
	}
	if err == errDetached {
		// It is let run on, and keeps its place: so it is known then whether it
		// exhausts its child.
		go func() {
			answer, err := child.receive(&c.request)
			_, _ = p.settle(c, child, answer, err)
		}()
		return answer{}, ctx.Err()
	}
	var got answer
	if err == nil {
		got, err = child.receive(&c.request)
	}
	return p.settle(c, child, got, err)
}

// check refuses what no child is asked.
func (r *request) check() error {
	total := len(r.in.Body)
	for _, e := range r.expressions {
		total += len(e.Source)
		if err := checkSize(e.Source); err != nil {
			return &Error{Expression: e.Name, Reason: err.Error()}
		}
	}
	if total > maxRequest/2 || len(r.expressions) > maxExpressions {
		return &Error{Expression: r.expressions[0].Name, Exhausted: true, Reason: "too much to run at a time"}
	}
	return nil
}

// queue waits until the call has a place.
func (p *Pool) queue(ctx context.Context, name string, c *call) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.enqueue(name, c)
	p.assign()
	if c.place != nil {
		p.mu.Unlock()
		return nil
	}
	c.turn = make(chan struct{})
	p.mu.Unlock()
	select {
	case <-c.turn:
		if c.place == nil {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	p.withdraw(c)
	late := c.place != nil
	p.mu.Unlock()
	if late {
		p.release(c, nil)
	}
	return ctx.Err()
}

// assign gives places to calls as long as there are both.
func (p *Pool) assign() {
	for len(p.free) > 0 {
		c := p.next()
		if c == nil {
			return
		}
		// The last to have become free has a child; the others' may get old.
		last := len(p.free) - 1
		c.place, p.free = p.free[last], p.free[:last]
		p.running.Add(1)
		if c.turn != nil {
			close(c.turn)
		}
	}
}

// settle ends a call by what its child answered, or failed to.
func (p *Pool) settle(c *call, child *child, got answer, err error) (answer, error) {
	if err != nil {
		c.place.endChild()
		if p.isClosed() {
			p.release(c, nil)
			return answer{}, ErrClosed
		}
		// Whoever ran when a child died is taken for the cause.
		names := c.request.expressions
		got = answer{failure: &Error{Expression: names[0].Name, Exhausted: true, Reason: child.epitaph(err)}}
		if len(names) > 1 {
			got.failure.Reason += ", or one after it did"
		}
		p.o.Logger.Warn("process for expressions died", "owner", c.owner.name, "reason", got.failure.Reason)
	} else if got.ended {
		c.place.endChild()
	}
	p.release(c, &got)
	if got.failure != nil {
		return answer{}, got.failure
	}
	return got, nil
}

// release gives back the place of a call, which goes to the next, and notes what
// it says of its owner; nil: nothing.
func (p *Pool) release(c *call, got *answer) {
	if c.buffer != nil && cap(*c.buffer) <= keptBuffer {
		p.buffers.Put(c.buffer)
	}
	defer p.running.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	o := c.owner
	o.running--
	if c.suspect {
		p.suspects--
	}
	switch {
	case got == nil:
	case got.failure != nil && got.failure.Exhausted:
		o.probation = probation
	case o.probation > 0:
		o.probation--
	}
	p.forget(o)
	c.place.freeSince = time.Now()
	p.free = append(p.free, c.place)
	if p.closed {
		return
	}
	p.assign()
	p.sweepLater()
}

// sweepLater has the sweeper run when the first child has been idle long enough.
func (p *Pool) sweepLater() {
	if p.sweeping {
		return
	}
	p.sweeping = true
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.idleTimeout, p.sweep)
	} else {
		p.sweeper.Reset(p.idleTimeout)
	}
}

// sweep ends the children that have had nothing to do for a while.
func (p *Pool) sweep() {
	p.mu.Lock()
	p.sweeping = false
	if p.closed {
		p.mu.Unlock()
		return
	}
	var old []*child
	for _, place := range p.free {
		if place.hasChild() && time.Since(place.freeSince) >= p.idleTimeout {
			old = append(old, place.takeChild())
		}
	}
	if slices.ContainsFunc(p.free, (*place).hasChild) {
		p.sweepLater()
	}
	p.running.Add(1)
	p.mu.Unlock()
	defer p.running.Done()
	for _, c := range old {
		c.end()
	}
}

// childOf returns the child of the place, which is started where there is none
// that lives.
func (p *Pool) childOf(place *place) (*child, error) {
	if c := place.child; c != nil {
		select {
		case <-c.dead:
			place.endChild()
		default:
			return c, nil
		}
	}
	if err := p.mayStart(); err != nil {
		return nil, err
	}
	err := p.start(place)
	switch {
	case err == nil:
		return place.child, nil
	case p.isClosed():
		return nil, ErrClosed
	}
	p.mu.Lock()
	p.startErr, p.failedAt = err, time.Now()
	p.mu.Unlock()
	p.o.Logger.Error("process for expressions not started", "error", err)
	return nil, err
}

// start gives the place a child that is ready.
func (p *Pool) start(place *place) error {
	c, err := p.starter.start()
	if err != nil {
		return err
	}
	place.mu.Lock()
	place.child = c
	place.mu.Unlock()
	// A pool that closes kills the children that it finds: this one may have come
	// too late for that.
	if p.isClosed() {
		return ErrClosed
	}
	if err := c.greet(); err != nil {
		place.endChild()
		return err
	}
	return nil
}

// mayStart returns why no child can be started now; nil: one can.
func (p *Pool) mayStart() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case p.fault != nil:
		return p.fault
	case p.startErr != nil && time.Since(p.failedAt) < startPause:
		return p.startErr
	}
	return nil
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (place *place) hasChild() bool {
	place.mu.Lock()
	defer place.mu.Unlock()
	return place.child != nil
}

// takeChild leaves the place without a child, and returns the one that it had; nil:
// it had none.
func (place *place) takeChild() *child {
	place.mu.Lock()
	defer place.mu.Unlock()
	c := place.child
	place.child = nil
	return c
}

// endChild ends the child, if there is one.
func (place *place) endChild() {
	if c := place.takeChild(); c != nil {
		c.end()
	}
}

// interrupt kills the child in the middle of whatever it does.
func (place *place) interrupt() {
	place.mu.Lock()
	defer place.mu.Unlock()
	if place.child != nil {
		// An error says that it has ended already.
		_ = place.child.cmd.Process.Kill()
	}
}

// Close ends the children and waits for them. What waits or runs fails with
// [ErrClosed], and so does whatever comes later.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.done
		return
	}
	p.closed = true
	for _, o := range p.turns {
		for _, c := range o.waiting {
			close(c.turn)
		}
		o.waiting = nil
	}
	p.turns = nil
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	for _, place := range p.places {
		place.interrupt()
	}
	p.mu.Unlock()
	p.running.Wait()
	for _, place := range p.places {
		place.endChild()
	}
	p.starter.stop()
	close(p.done)
}
