package dispatch

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// memoryBudget bounds the data held in all lanes together, in bytes. A
	// lane that holds nothing may go beyond it by one delivery.
	memoryBudget = 32 << 20
	// fetchBytes bounds the data that one fetch brings.
	fetchBytes = 2 << 20
	// maxFetches is how many fetches read the store at a time.
	maxFetches = 4
	// tick is how often the scheduler looks at the clock without being told
	// to, in case it was set: timers do not notice that.
	tick = time.Second
	// retryFetch is how long a lane waits after the store failed to answer.
	retryFetch = time.Second
)

// scheduler owns the lanes. All its methods save post, run and stop are called
// in its own goroutine, by messages.
type scheduler struct {
	d     *Dispatcher
	lanes map[webhook.SubscriberID]*lane
	// healths are of all subscribers that something was sent to.
	healths map[webhook.SubscriberID]*health
	// turns are the lanes with something ready and a free place, by standing; each
	// of them gets to start one delivery before any gets to start two.
	turns [standings][]*lane
	// wanted are the lanes that want to read the store.
	wanted  []*lane
	fetches int
	// alarms are the lanes that wait for a time, the first one first.
	alarms alarms
	// inFlight are the requests in flight, placed how many they are by the standing
	// that their lane had when they began.
	inFlight int
	placed   [standings]int
	workers  int
	bytes    int // the data held in all lanes
	jobs     chan assignment
	idle     chan struct{} // closed when nothing is in flight; nil unless draining
	clock    clock

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
	target     *sender.Target
	// probe says that it finds out whether an outage is over.
	probe bool
	// standing is that of its lane when it began.
	standing standing
}

func newScheduler(d *Dispatcher) *scheduler {
	return &scheduler{
		d: d, lanes: map[webhook.SubscriberID]*lane{}, healths: map[webhook.SubscriberID]*health{},
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
		s.clock.read(now)
		s.makeGood(now)
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
	l := &lane{subscriber: subscriber, target: sender.NewTarget(subscriber), health: s.health(subscriber), known: map[webhook.DeliveryID]held{}, position: -1}
	s.lanes[id] = l
	return l
}

// announce makes room for deliveries that are about to be stored. The ones for
// which there is none will be fetched, and so will those of a lane that has
// older ones in the store, as long as they are fresh too: they must not overtake
// them for ever. An ordered lane has all of its deliveries fetched.
func (s *scheduler) announce(e *webhook.Event, deliveries []webhook.NewDelivery) {
	for _, d := range deliveries {
		l := s.lane(d.SubscriberID)
		if l == nil || l.ordered() || !l.subscriber.Active || s.room(l, fresh) <= 0 {
			continue
		}
		if due := l.storedDue[fresh]; due.IsZero() || due.After(e.ReceivedAt) {
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
		case known && stored && l.subscriber.Active && !l.ordered():
			l.known[d.ID] = held{bytes: h.bytes}
			l.push(webhook.Job{Delivery: d.ID, DueAt: e.ReceivedAt, Event: e, OrderKey: d.OrderKey, Unjudged: d.Unjudged})
			s.queue(l)
			continue
		case known:
			s.release(l, d.ID)
		}
		if stored {
			s.await(l, fresh, e.ReceivedAt)
			s.clock.ahead(d.ID, e.ReceivedAt, time.Now())
		}
		s.arm(l) // there may be room again
		s.tidy(l)
	}
}

// backlog notes when the store has deliveries for the subscriber.
func (s *scheduler) backlog(id webhook.SubscriberID, b webhook.Backlog) {
	l := s.lane(id)
	if l == nil {
		return
	}
	if l.ordered() {
		b = webhook.Backlog{Fresh: b.First()}
	}
	for c, due := range [classes]time.Time{fresh: b.Fresh, retried: b.Retries} {
		if !due.IsZero() {
			s.await(l, class(c), due)
		}
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
	c, i := l.find(d.ID)
	if i >= 0 && !d.NextAttemptAt.After(now) {
		l.ready[c][i].DueAt, l.ready[c][i].Spent = d.NextAttemptAt, d.Spent
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
	s.await(l, l.classOf(d.Spent), d.NextAttemptAt)
}

// cancelled notes that the store has ended the delivery. What is in flight goes
// on, and the store lets nothing follow from it.
func (s *scheduler) cancelled(d *webhook.Delivery, now time.Time) {
	l, ok := s.lanes[d.SubscriberID]
	if !ok {
		return
	}
	delete(l.again, d.ID)
	s.drop(l, d.ID)
	if l.ordered() {
		s.await(l, fresh, now) // it may have stood before others
	}
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
	c, i := l.find(id)
	if i >= 0 {
		l.ready[c] = slices.Delete(l.ready[c], i, i+1)
	}
	if i >= 0 || l.known[id].announced {
		s.release(l, id)
	}
}

// changed gives the lane its subscriber's new terms.
func (s *scheduler) changed(subscriber *webhook.Subscriber) {
	if h := s.health(subscriber); h.changed(subscriber) {
		s.d.keep(subscriber.ID, h.since)
	}
	l, ok := s.lanes[subscriber.ID]
	if !ok {
		// What waits behind a dead letter is no reason to keep a lane.
		if subscriber.Ordered != "" {
			s.backlog(subscriber.ID, webhook.Backlog{Fresh: time.Now()})
		}
		return
	}
	old := l.subscriber
	if subscriber.URL != old.URL || !old.Active {
		l.heldUntil = time.Time{} // another receiver, or a person who knows better
	}
	if subscriber.RateLimit != old.RateLimit {
		l.nextAt = time.Time{}
	}
	if !subscriber.Active || subscriber.Ordered != old.Ordered {
		s.spill(l)
	}
	l.subscriber, l.target, l.gone = subscriber, sender.NewTarget(subscriber), false
	if l.ordered() && subscriber.OnDead != old.OnDead {
		s.await(l, fresh, time.Now())
	}
	if l.ordered() && !l.storedDue[retried].IsZero() {
		s.await(l, fresh, l.storedDue[retried])
		l.storedDue[retried] = time.Time{}
	} else if !l.ordered() && old.Ordered != "" && !l.storedDue[fresh].IsZero() {
		// Some of these were tried before.
		s.await(l, retried, l.storedDue[fresh])
	}
	s.queue(l)
	s.arm(l)
	s.tidy(l)
}

// removed forgets the lane. What is in flight is recorded all the same.
func (s *scheduler) removed(id webhook.SubscriberID) {
	delete(s.healths, id)
	l, ok := s.lanes[id]
	if !ok {
		return
	}
	s.spill(l)
	l.storedDue = [classes]time.Time{}
	l.heldUntil, l.nextAt = time.Time{}, time.Time{}
	s.arm(l)
	for delivery := range l.known {
		s.release(l, delivery)
	}
	delete(s.lanes, id)
}

// spill leaves what is ready to the store.
func (s *scheduler) spill(l *lane) {
	for c := range classes {
		for _, job := range l.ready[c] {
			s.release(l, job.Delivery)
			// It may have been resent in its place, and is a fresh one in the store then.
			s.await(l, l.classOf(job.Spent), job.DueAt)
			s.clock.ahead(job.Delivery, job.DueAt, time.Now())
		}
		l.ready[c] = nil
	}
}

// finished takes note of an attempt, whose result is on its way to the store.
func (s *scheduler) finished(t *trial) {
	l, now := t.assignment.lane, time.Now()
	l.inFlight--
	l.unrecorded++
	s.inFlight--
	s.placed[t.assignment.standing]--
	held := l.health.held()
	s.weigh(t, now)
	if !held && l.health.held() {
		s.spill(l)
	}
	if t.retryAfter > 0 {
		l.heldUntil = later(l.heldUntil, now.Add(min(t.retryAfter, webhook.MaxRetryAfter)))
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
			s.await(l, l.classOf(r.Spent), r.NextAttemptAt)
			s.clock.ahead(id, trials[i].judgedAt, time.Now())
		}
		if due, ok := l.again[id]; ok {
			delete(l.again, id)
			s.await(l, fresh, due)
		}
		s.passed(l, trials[i].assignment.job.OrderKey, r)
		s.queue(l)
		s.arm(l)
		s.tidy(l)
	}
}

// room is how many more deliveries of the class the lane may hold.
func (s *scheduler) room(l *lane, c class) int {
	if s.bytes >= memoryBudget && len(l.known) > 0 {
		return 0
	}
	return l.room(c)
}

func (s *scheduler) hold(l *lane, id webhook.DeliveryID, h held) {
	l.known[id] = h
	l.count[h.class]++
	s.bytes += h.bytes
}

func (s *scheduler) release(l *lane, id webhook.DeliveryID) {
	h, ok := l.known[id]
	if !ok {
		return
	}
	s.bytes -= h.bytes
	l.count[h.class]--
	delete(l.known, id)
}

// await notes that a delivery of the lane is only in the store, due then.
func (s *scheduler) await(l *lane, c class, due time.Time) {
	if l.storedDue[c].IsZero() || due.Before(l.storedDue[c]) {
		l.storedDue[c] = due
	}
	s.arm(l)
}

// tidy forgets a lane that has nothing to do, so that memory does not depend
// on how many subscribers there are.
func (s *scheduler) tidy(l *lane) {
	if l.idle(time.Now()) {
		delete(s.lanes, l.subscriber.ID)
	}
}

// queue gives the lane a turn, if it has something to start.
func (s *scheduler) queue(l *lane) {
	if l.waiting || !s.free(l) || !l.begins() {
		return
	}
	if _, waits := l.waits(time.Now()); waits {
		return
	}
	l.waiting = true
	s.turns[l.health.standing] = append(s.turns[l.health.standing], l)
}

// free reports whether the lane may begin an attempt, as far as it alone goes.
// Those whose results are not durable yet count too, though less: a crash has them
// made again.
func (s *scheduler) free(l *lane) bool {
	concurrency := s.concurrency(l.subscriber)
	return !l.gone && l.inFlight < l.health.width(concurrency) && l.inFlight+l.unrecorded < maxOpen*concurrency
}

// concurrency is how many requests may be in flight to the subscriber.
func (s *scheduler) concurrency(subscriber *webhook.Subscriber) int {
	if subscriber.Concurrency > 0 {
		return subscriber.Concurrency
	}
	return s.d.o.Concurrency
}

// start hands work out, one delivery per lane and turn, while there are places. The
// lanes of each standing have their turns among themselves.
func (s *scheduler) start(now time.Time) {
	for begun := true; begun && s.idle == nil; {
		begun = false
		for of := range standings {
			if s.inFlight < s.d.o.MaxInFlight && s.placed[of] < s.bounds(of) {
				begun = s.startOne(of, now) || begun
			}
		}
	}
}

// startOne begins something of the first lane of the standing that may, and reports
// whether there was one.
func (s *scheduler) startOne(of standing, now time.Time) bool {
	for range len(s.turns[of]) {
		l := s.turns[of][0]
		s.turns[of][0] = nil
		s.turns[of] = s.turns[of][1:]
		l.waiting = false
		if _, waits := l.waits(now); waits || !s.free(l) || !l.begins() {
			continue
		}
		if l.health.standing != of || !s.fair(l) {
			s.queue(l)
			continue
		}
		if job, ok := l.take(); ok {
			s.begin(l, job, now)
			return true
		}
	}
	return false
}

// begin hands a job to a worker.
func (s *scheduler) begin(l *lane, job webhook.Job, now time.Time) {
	l.inFlight++
	s.inFlight++
	s.placed[l.health.standing]++
	if s.inFlight > s.workers {
		s.workers++
		s.d.work.Go(s.d.worker)
	}
	l.pace(now)
	s.jobs <- assignment{
		lane: l, job: job, subscriber: l.subscriber, target: l.target, probe: l.health.begun(now), standing: l.health.standing,
	}
	s.queue(l)
	s.arm(l)
}

// fetchable reports whether the store may be asked for deliveries of the class.
func (s *scheduler) fetchable(l *lane, c class) bool {
	return !l.storedDue[c].IsZero() && l.subscriber.Active && !l.gone && !l.fetching && !l.wanting && s.room(l, c) >= l.worthwhile(c)
}

// arm sets the lane's alarm for when it has something to do that nothing else
// will wake it for.
func (s *scheduler) arm(l *lane) {
	now := time.Now()
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	until, waits := l.waits(now)
	if waits && (!l.heldUntil.IsZero() || l.begins() || l.nextAt.After(now)) {
		sooner(until)
	}
	for c := range classes {
		if l.heldUntil.IsZero() && s.fetchable(l, c) {
			sooner(l.storedDue[c])
		}
	}
	if at.IsZero() && !l.heldUntil.IsZero() {
		at = now
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
		if !l.heldUntil.After(now) {
			l.heldUntil = time.Time{}
		}
		s.queue(l)
		for c := range classes {
			if s.fetchable(l, c) && !l.storedDue[c].After(now) {
				l.wanting = true
				s.wanted = append(s.wanted, l)
			}
		}
		s.arm(l)
		s.tidy(l)
	}
}

// fetch reads due deliveries from the store, for as many lanes at a time as the
// store should have readers.
func (s *scheduler) fetch(now time.Time) {
	for len(s.wanted) > 0 && s.fetches < maxFetches && s.idle == nil && !s.clock.wasSetBack() {
		l := s.wanted[0]
		s.wanted = s.wanted[1:]
		l.wanting = false
		c := fresh
		if !s.fetchable(l, fresh) || l.storedDue[fresh].After(now) {
			c = retried
		}
		if !s.fetchable(l, c) || s.lanes[l.subscriber.ID] != l {
			s.arm(l)
			continue
		}
		query := webhook.DueQuery{
			SubscriberID: l.subscriber.ID, Now: now, Limit: s.room(l, c), Bytes: fetchBytes,
			Retries: c == retried, Ordered: l.ordered(), OnDead: l.subscriber.OnDead, OfKey: keyRoom(s.concurrency(l.subscriber)),
		}
		for id := range l.known {
			query.Skip = append(query.Skip, id)
		}
		l.fetching, l.settled, l.moved, l.storedDue[c] = true, map[webhook.DeliveryID]bool{}, map[string]bool{}, time.Time{}
		s.fetches++
		s.d.work.Go(func() {
			jobs, next, err := s.d.o.Store.Due(s.d.attempts, query)
			s.post(func() { s.fetched(l, c, &query, jobs, next, err) })
		})
	}
}

// fetched takes up what was read.
func (s *scheduler) fetched(l *lane, c class, query *webhook.DueQuery, jobs []webhook.Job, next time.Time, err error) {
	s.fetches--
	l.fetching = false
	settled, moved := l.settled, l.moved
	l.settled, l.moved = nil, nil
	if s.lanes[l.subscriber.ID] != l {
		return
	}
	if err != nil {
		if s.d.attempts.Err() == nil {
			s.d.o.Logger.Error("cannot read due deliveries; trying again", "subscriber", l.subscriber.ID, "error", err)
		}
		s.await(l, c, time.Now().Add(retryFetch))
		return
	}
	if !next.IsZero() {
		s.await(l, c, next)
	}
	for _, job := range jobs {
		if _, known := l.known[job.Delivery]; known || settled[job.Delivery] {
			continue
		}
		if !l.subscriber.Active || s.room(l, l.classOf(job.Spent)) <= 0 || l.ordered() != query.Ordered || moved[job.OrderKey] {
			s.await(l, l.classOf(job.Spent), job.DueAt)
			continue
		}
		s.hold(l, job.Delivery, held{bytes: weight(&job), class: l.classOf(job.Spent)})
		l.push(job)
	}
	if query.Ordered {
		l.measure(query.OfKey)
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
