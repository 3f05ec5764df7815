package dispatch

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// laneRoom is how many deliveries of one subscriber are held in memory.
	laneRoom = 128
	// memoryBudget bounds the data held in all lanes together, in bytes. A
	// lane that holds nothing may go beyond it by one delivery.
	memoryBudget = 32 << 20
	// fetchBytes bounds the data that one fetch brings.
	fetchBytes = 2 << 20
	// maxFetches is how many fetches read the store at a time.
	maxFetches = 4
	// maxOpen times its concurrency is how many attempts of a lane may have
	// begun without their results being durable. That many are made again
	// after a crash, at most.
	maxOpen = 4
	// tick is how often the scheduler looks at the clock without being told
	// to, in case it was set forward: timers do not notice that.
	tick = time.Second
	// retryFetch is how long a lane waits after the store failed to answer.
	retryFetch = time.Second
)

// A lane is what one subscriber has in memory, and when there is more in the
// store.
type lane struct {
	subscriber *webhook.Subscriber
	target     *target
	// ready wait for a free worker, first in, first out.
	ready []webhook.Job
	// known are all deliveries in memory. The store must not be asked for
	// these.
	known    map[webhook.DeliveryID]held
	inFlight int
	// unrecorded are attempts that ended and whose results are not durable.
	unrecorded int
	// storedDue is when the first of those that are only in the store is due;
	// zero if there is none.
	storedDue time.Time
	// heldUntil is when the subscriber wants to be asked again.
	heldUntil time.Time
	// gone says that the receiver wants no more, until the subscriber changes.
	gone bool
	// fetching says that a fetch is under way; settled are the deliveries that
	// have been recorded, resent or cancelled since it began, which it may have
	// read before.
	fetching bool
	settled  map[webhook.DeliveryID]bool
	// again are known deliveries that were resent, and when they are due.
	again    map[webhook.DeliveryID]time.Time
	waiting  bool // stands in scheduler.turns
	wanting  bool // stands in scheduler.wanted
	position int  // in scheduler.alarms, or -1
	wakeAt   time.Time
}

// held is a delivery in memory: announced, ready, in flight, or done and not yet
// recorded.
type held struct {
	bytes int // of data
	// announced says that it is about to be stored, and will be taken up then.
	announced bool
}

// scheduler owns the lanes. All its methods save post, run and stop are called
// in its own goroutine, by messages.
type scheduler struct {
	d     *Dispatcher
	lanes map[webhook.SubscriberID]*lane
	// turns are the lanes with something ready and a free place, each of which
	// gets to start one delivery before any gets to start two.
	turns []*lane
	// wanted are the lanes that want to read the store.
	wanted  []*lane
	fetches int
	// alarms are the lanes that wait for a time, the first one first.
	alarms   alarms
	inFlight int
	workers  int
	bytes    int // the data held in all lanes
	jobs     chan assignment
	idle     chan struct{} // closed when nothing is in flight; nil unless draining

	mu      sync.Mutex
	inbox   []func()
	stopped bool
	kick    chan struct{}
	ended   chan struct{}
}

// An assignment is a job for a worker.
type assignment struct {
	lane       *lane
	job        webhook.Job
	subscriber *webhook.Subscriber
	target     *target
}

func newScheduler(d *Dispatcher) *scheduler {
	return &scheduler{
		d: d, lanes: map[webhook.SubscriberID]*lane{},
		jobs: make(chan assignment, d.o.MaxInFlight),
		kick: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// post has the message handled in the goroutine of the scheduler, after all
// that were posted before it.
func (s *scheduler) post(message func()) {
	s.mu.Lock()
	s.inbox = append(s.inbox, message)
	s.mu.Unlock()
	s.wake()
}

func (s *scheduler) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// stop ends the scheduler and its workers. Messages are not handled any more.
func (s *scheduler) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.wake()
	<-s.ended
}

func (s *scheduler) run() {
	defer close(s.ended)
	defer close(s.jobs)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var messages []func()
	for {
		select {
		case <-s.kick:
		case <-ticker.C:
		case <-timer.C:
		}
		s.mu.Lock()
		messages, s.inbox = s.inbox, messages[:0]
		stopped := s.stopped
		s.mu.Unlock()
		for i, message := range messages {
			message()
			messages[i] = nil
		}
		if stopped {
			return
		}
		now := time.Now()
		s.ring(now)
		s.start(now)
		s.fetch(now)
		if len(s.alarms) > 0 {
			timer.Reset(s.alarms[0].wakeAt.Sub(now))
		} else {
			timer.Stop()
		}
	}
}

// lane returns the lane of the subscriber, which it makes if need be; nil if
// there is no such subscriber.
func (s *scheduler) lane(id webhook.SubscriberID) *lane {
	if l, ok := s.lanes[id]; ok {
		return l
	}
	subscriber, ok := s.d.directory.get(id)
	if !ok {
		return nil
	}
	l := &lane{subscriber: subscriber, target: newTarget(subscriber), known: map[webhook.DeliveryID]held{}, position: -1}
	s.lanes[id] = l
	return l
}

// announce makes room for deliveries that are about to be stored. The ones for
// which there is none will be fetched, and so will those of a lane that has
// older ones in the store: they must not overtake them for ever.
func (s *scheduler) announce(e *webhook.Event, deliveries []webhook.NewDelivery) {
	for _, d := range deliveries {
		l := s.lane(d.SubscriberID)
		if l != nil && l.subscriber.Active && s.room(l) > 0 && (l.storedDue.IsZero() || l.storedDue.After(e.ReceivedAt)) {
			s.hold(l, d.ID, held{bytes: len(e.Data), announced: true})
		}
	}
}

// accepted takes up deliveries that were announced, if they were stored.
func (s *scheduler) accepted(e *webhook.Event, deliveries []webhook.NewDelivery, stored bool) {
	for _, d := range deliveries {
		l := s.lane(d.SubscriberID)
		if l == nil {
			continue
		}
		h, known := l.known[d.ID]
		switch {
		case known && !h.announced:
			// There was no room, and a fetch has brought it meanwhile.
			continue
		case known && stored && l.subscriber.Active:
			l.known[d.ID] = held{bytes: h.bytes}
			l.ready = append(l.ready, webhook.Job{Delivery: d.ID, DueAt: e.ReceivedAt, Event: e})
			s.queue(l)
			continue
		case known:
			s.release(l, d.ID)
		}
		if stored {
			s.await(l, e.ReceivedAt)
		}
		s.arm(l) // there may be room again
		s.tidy(l)
	}
}

// backlog notes that the store has deliveries for the subscriber, the first of
// them due then.
func (s *scheduler) backlog(id webhook.SubscriberID, due time.Time) {
	if l := s.lane(id); l != nil {
		s.await(l, due)
	}
}

// resent notes that the store has given the delivery new terms. One that waits
// here for its turn takes them, if it is due; one that is in flight, or not
// known to be recorded yet, is asked for when it is; any other is left to the
// store.
func (s *scheduler) resent(d *webhook.Delivery, now time.Time) {
	l := s.lane(d.SubscriberID)
	if l == nil {
		return
	}
	i := slices.IndexFunc(l.ready, func(job webhook.Job) bool { return job.Delivery == d.ID })
	if i >= 0 && !d.NextAttemptAt.After(now) {
		l.ready[i].DueAt, l.ready[i].Spent = d.NextAttemptAt, d.Spent
		return
	}
	if h, known := l.known[d.ID]; known && !h.announced && i < 0 {
		if l.again == nil {
			l.again = map[webhook.DeliveryID]time.Time{}
		}
		l.again[d.ID] = d.NextAttemptAt
		return
	}
	s.drop(l, d.ID)
	s.await(l, d.NextAttemptAt)
}

// cancelled notes that the store has ended the delivery. What is in flight goes
// on, and the store lets nothing follow from it.
func (s *scheduler) cancelled(d *webhook.Delivery) {
	l, ok := s.lanes[d.SubscriberID]
	if !ok {
		return
	}
	delete(l.again, d.ID)
	s.drop(l, d.ID)
	s.arm(l)
	s.tidy(l)
}

// drop forgets a delivery, unless it is in flight or not known to be recorded
// yet. A fetch under way may have read it on its old terms. One that is only
// announced is not taken up when it is accepted.
func (s *scheduler) drop(l *lane, id webhook.DeliveryID) {
	if l.fetching {
		l.settled[id] = true
	}
	i := slices.IndexFunc(l.ready, func(job webhook.Job) bool { return job.Delivery == id })
	if i >= 0 {
		l.ready = slices.Delete(l.ready, i, i+1)
	}
	if i >= 0 || l.known[id].announced {
		s.release(l, id)
	}
}

// changed gives the lane its subscriber's new terms.
func (s *scheduler) changed(subscriber *webhook.Subscriber) {
	l, ok := s.lanes[subscriber.ID]
	if !ok {
		return
	}
	if subscriber.URL != l.subscriber.URL || !l.subscriber.Active {
		l.heldUntil = time.Time{} // another receiver, or a person who knows better
	}
	l.subscriber, l.target, l.gone = subscriber, newTarget(subscriber), false
	if !subscriber.Active {
		s.spill(l)
	}
	s.queue(l)
	s.arm(l)
	s.tidy(l)
}

// removed forgets the lane. What is in flight is recorded all the same.
func (s *scheduler) removed(id webhook.SubscriberID) {
	l, ok := s.lanes[id]
	if !ok {
		return
	}
	s.spill(l)
	l.storedDue = time.Time{}
	s.arm(l)
	for delivery := range l.known {
		s.release(l, delivery)
	}
	delete(s.lanes, id)
}

// spill leaves what is ready to the store.
func (s *scheduler) spill(l *lane) {
	for _, job := range l.ready {
		s.release(l, job.Delivery)
		s.await(l, job.DueAt)
	}
	l.ready = nil
}

// finished takes note of an attempt, whose result is on its way to the store.
func (s *scheduler) finished(t *trial) {
	l := t.assignment.lane
	l.inFlight--
	l.unrecorded++
	s.inFlight--
	if t.retryAfter > 0 {
		l.heldUntil = later(l.heldUntil, time.Now().Add(min(t.retryAfter, webhook.MaxRetryAfter)))
	}
	if t.gone && t.assignment.subscriber.URL == l.subscriber.URL {
		l.gone = true
	}
	s.queue(l)
	s.arm(l)
	s.settleDrain()
}

// recorded takes note of results that have become durable.
func (s *scheduler) recorded(trials []trial) {
	for i := range trials {
		l, r := trials[i].assignment.lane, &trials[i].result
		l.unrecorded--
		if s.lanes[l.subscriber.ID] != l {
			continue
		}
		id := r.Attempt.DeliveryID
		s.release(l, id)
		if l.fetching {
			l.settled[id] = true
		}
		if r.State == webhook.Pending {
			s.await(l, r.NextAttemptAt)
		}
		if due, ok := l.again[id]; ok {
			delete(l.again, id)
			s.await(l, due)
		}
		s.queue(l)
		s.arm(l)
		s.tidy(l)
	}
}

// room is how many more deliveries the lane may hold.
func (s *scheduler) room(l *lane) int {
	if s.bytes >= memoryBudget && len(l.known) > 0 {
		return 0
	}
	return laneRoom - len(l.known)
}

func (s *scheduler) hold(l *lane, id webhook.DeliveryID, h held) {
	l.known[id] = h
	s.bytes += h.bytes
}

func (s *scheduler) release(l *lane, id webhook.DeliveryID) {
	s.bytes -= l.known[id].bytes
	delete(l.known, id)
}

// await notes that a delivery of the lane is only in the store, due then.
func (s *scheduler) await(l *lane, due time.Time) {
	if l.storedDue.IsZero() || due.Before(l.storedDue) {
		l.storedDue = due
	}
	s.arm(l)
}

// tidy forgets a lane that has nothing to do, so that memory does not depend
// on how many subscribers there are. One whose receiver is gone stays until the
// pause is stored: nobody else knows of it.
func (s *scheduler) tidy(l *lane) {
	if !l.gone && len(l.known) == 0 && l.storedDue.IsZero() && !l.fetching && l.heldUntil.IsZero() && l.inFlight == 0 {
		delete(s.lanes, l.subscriber.ID)
	}
}

// queue gives the lane a turn, if it has something to start.
func (s *scheduler) queue(l *lane) {
	if !l.waiting && len(l.ready) > 0 && s.free(l) && l.heldUntil.IsZero() {
		l.waiting = true
		s.turns = append(s.turns, l)
	}
}

// free reports whether the lane may begin an attempt. Those whose results are
// not durable yet count too, though less: a crash has them made again.
func (s *scheduler) free(l *lane) bool {
	concurrency := s.d.o.Concurrency
	if l.subscriber.Concurrency > 0 {
		concurrency = l.subscriber.Concurrency
	}
	return !l.gone && l.inFlight < concurrency && l.inFlight+l.unrecorded < maxOpen*concurrency
}

// start hands work out, one delivery per lane and turn.
func (s *scheduler) start(now time.Time) {
	if s.idle != nil {
		return
	}
	for len(s.turns) > 0 && s.inFlight < s.d.o.MaxInFlight {
		l := s.turns[0]
		s.turns[0] = nil
		s.turns = s.turns[1:]
		l.waiting = false
		if len(l.ready) == 0 || !s.free(l) || l.heldUntil.After(now) {
			continue
		}
		job := l.ready[0]
		l.ready[0] = webhook.Job{}
		l.ready = l.ready[1:]
		l.inFlight++
		s.inFlight++
		if s.inFlight > s.workers {
			s.workers++
			s.d.work.Go(s.d.worker)
		}
		s.jobs <- assignment{lane: l, job: job, subscriber: l.subscriber, target: l.target}
		s.queue(l)
	}
}

// arm sets the lane's alarm for when something of it is due, or wants the store
// read if that is now.
func (s *scheduler) arm(l *lane) {
	at := l.heldUntil
	// Half of the room must be free, so that a fetch is worth its while.
	if at.IsZero() && !l.storedDue.IsZero() && l.subscriber.Active && !l.gone && !l.fetching && !l.wanting && s.room(l) >= laneRoom/2 {
		at = l.storedDue
	}
	l.wakeAt = at
	switch {
	case at.IsZero() && l.position >= 0:
		heap.Remove(&s.alarms, l.position)
	case at.IsZero():
	case l.position >= 0:
		heap.Fix(&s.alarms, l.position)
	default:
		heap.Push(&s.alarms, l)
	}
}

// ring wakes the lanes whose time has come.
func (s *scheduler) ring(now time.Time) {
	for len(s.alarms) > 0 && !s.alarms[0].wakeAt.After(now) {
		l := heap.Pop(&s.alarms).(*lane)
		if !l.heldUntil.IsZero() {
			l.heldUntil = time.Time{}
			s.queue(l)
			s.arm(l)
			s.tidy(l)
			continue
		}
		l.wanting = true
		s.wanted = append(s.wanted, l)
	}
}

// fetch reads due deliveries from the store, for as many lanes at a time as the
// store should have readers.
func (s *scheduler) fetch(now time.Time) {
	for len(s.wanted) > 0 && s.fetches < maxFetches && s.idle == nil {
		l := s.wanted[0]
		s.wanted = s.wanted[1:]
		l.wanting = false
		room := s.room(l)
		if room <= 0 || !l.subscriber.Active || l.storedDue.IsZero() || s.lanes[l.subscriber.ID] != l {
			s.arm(l)
			continue
		}
		query := webhook.DueQuery{SubscriberID: l.subscriber.ID, Now: now, Limit: room, Bytes: fetchBytes}
		for id := range l.known {
			query.Skip = append(query.Skip, id)
		}
		l.fetching, l.settled, l.storedDue = true, map[webhook.DeliveryID]bool{}, time.Time{}
		s.fetches++
		s.d.work.Go(func() {
			jobs, next, err := s.d.o.Store.Due(s.d.attempts, query)
			s.post(func() { s.fetched(l, jobs, next, err) })
		})
	}
}

// fetched takes up what was read.
func (s *scheduler) fetched(l *lane, jobs []webhook.Job, next time.Time, err error) {
	s.fetches--
	l.fetching = false
	settled := l.settled
	l.settled = nil
	if s.lanes[l.subscriber.ID] != l {
		return
	}
	if err != nil {
		if s.d.attempts.Err() == nil {
			s.d.o.Logger.Error("cannot read due deliveries; trying again", "subscriber", l.subscriber.ID, "error", err)
		}
		s.await(l, time.Now().Add(retryFetch))
		return
	}
	if !next.IsZero() {
		s.await(l, next)
	}
	for _, job := range jobs {
		if _, known := l.known[job.Delivery]; known || settled[job.Delivery] {
			continue
		}
		if !l.subscriber.Active || s.room(l) <= 0 {
			s.await(l, job.DueAt)
			continue
		}
		s.hold(l, job.Delivery, held{bytes: len(job.Event.Data)})
		l.ready = append(l.ready, job)
	}
	s.queue(l)
	s.arm(l)
	s.tidy(l)
}

// drain begins no more attempts, and closes idle when none is in flight.
func (s *scheduler) drain(idle chan struct{}) {
	s.idle = idle
	s.settleDrain()
}

func (s *scheduler) settleDrain() {
	if s.idle != nil && s.inFlight == 0 {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// alarms is a heap of lanes by wakeAt.
type alarms []*lane

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].wakeAt.Before(h[j].wakeAt) }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].position, h[j].position = i, j
}
func (h *alarms) Push(x any) {
	l := x.(*lane)
	l.position = len(*h)
	*h = append(*h, l)
}
func (h *alarms) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = slices.Delete(*h, last, last+1)
	l.position = -1
	return l
}
