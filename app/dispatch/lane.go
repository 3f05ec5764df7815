package dispatch

import (
	"slices"
	"strings"
	"time"

	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// laneRoom is how many deliveries of one subscriber are held in memory. While
	// there are both fresh ones and retries, so many of them at most are of each:
	// neither can keep the other out.
	laneRoom  = 128
	freshRoom = laneRoom * 3 / 4
	retryRoom = laneRoom / 2
	// freshRun is how many fresh deliveries begin between two retries, while both
	// wait.
	freshRun = 3
	// maxOpen times its concurrency is how many attempts of a lane may have
	// begun without their results being durable. That many are made again
	// after a crash, at most. At full load a commit takes as long as dozens of
	// requests; with four times, each lane stood still until the next.
	maxOpen = 16
	// paceSlack is how much a lane may make up of what it is behind its rate: the
	// clock wakes it late.
	paceSlack = 10 * time.Millisecond
)

// class is what the store is asked for at a time.
type class int

const (
	// fresh deliveries have spent nothing of their schedule. An ordered lane has
	// all of its deliveries in this class.
	fresh class = iota
	// retried ones have spent something.
	retried
	classes
)

// classOf is the class of a delivery that has spent so much of its schedule.
func (l *lane) classOf(spent int) class {
	if spent > 0 && l.subscriber.Ordered == "" {
		return retried
	}
	return fresh
}

// A lane is what one subscriber has in memory, and when there is more in the
// store.
type lane struct {
	subscriber *webhook.Subscriber
	target     *sender.Target
	health     *health
	// ready wait for a free worker, by class, first in, first out; in an ordered
	// lane by age.
	ready [classes][]webhook.Job
	// run is how many fresh ones have begun since the last retry, while one waited.
	run int
	// known are all deliveries in memory. The store must not be asked for
	// these. count is how many they are of each class.
	known    map[webhook.DeliveryID]held
	count    [classes]int
	inFlight int
	// unrecorded are attempts that ended and whose results are not durable.
	unrecorded int
	// storedDue is when the first of those that are only in the store is due, by
	// class; zero if there is none.
	storedDue [classes]time.Time
	// heldUntil is when the subscriber wants to be asked again.
	heldUntil time.Time
	// nextAt is when its rate limit allows the next attempt.
	nextAt time.Time
	// gone says that the receiver wants no more, until the subscriber changes.
	gone bool
	// fetching says that a fetch is under way; settled are the deliveries that
	// have been recorded, resent or cancelled since it began, which it may have
	// read before, and moved the order keys of which something was recorded.
	fetching bool
	settled  map[webhook.DeliveryID]bool
	moved    map[string]bool
	// again are known deliveries that were resent, and when they are due.
	again map[webhook.DeliveryID]time.Time
	// busy are the order keys of which one delivery is under way: in flight, or
	// not yet recorded.
	busy map[string]bool
	// full are those of which the store may have more that is due, as there was no
	// room for it.
	full     map[string]bool
	waiting  bool // stands in scheduler.turns
	wanting  bool // stands in scheduler.wanted
	position int  // in scheduler.alarms, or -1
	wakeAt   time.Time
}

// held is a delivery in memory: announced, ready, in flight, or done and not yet
// recorded.
type held struct {
	bytes int // of data
	class class
	// announced says that it is about to be stored, and will be taken up then.
	announced bool
}

func (l *lane) ordered() bool { return l.subscriber.Ordered != "" }

// weight is what a job takes in memory, in bytes.
func weight(job *webhook.Job) int { return len(job.Event.Data) + len(job.Body) }

// push puts a job among those that wait.
func (l *lane) push(job webhook.Job) {
	if !l.ordered() {
		c := l.classOf(job.Spent)
		l.ready[c] = append(l.ready[c], job)
		return
	}
	// Ids sort by the time at which they were made.
	i, _ := slices.BinarySearchFunc(l.ready[fresh], job.Delivery, func(j webhook.Job, id webhook.DeliveryID) int {
		return strings.Compare(string(j.Delivery), string(id))
	})
	l.ready[fresh] = slices.Insert(l.ready[fresh], i, job)
}

// take takes the job out that is to begin next; false: none may.
func (l *lane) take() (webhook.Job, bool) {
	if l.ordered() {
		return l.takeInOrder()
	}
	c := fresh
	if len(l.ready[fresh]) == 0 || len(l.ready[retried]) > 0 && l.run >= freshRun {
		c = retried
	}
	queue := l.ready[c]
	if len(queue) == 0 {
		return webhook.Job{}, false
	}
	l.run++
	if c == retried || len(l.ready[retried]) == 0 {
		l.run = 0
	}
	job := queue[0]
	queue[0] = webhook.Job{}
	l.ready[c] = queue[1:]
	return job, true
}

// begins reports whether something of the lane could begin now, as far as its own
// deliveries go.
func (l *lane) begins() bool {
	if l.ordered() {
		return slices.ContainsFunc(l.ready[fresh], l.leads)
	}
	return len(l.ready[fresh])+len(l.ready[retried]) > 0
}

// find finds a job among those that wait; a negative place: it is not there.
func (l *lane) find(id webhook.DeliveryID) (c class, i int) {
	for c := range classes {
		if i := slices.IndexFunc(l.ready[c], func(job webhook.Job) bool { return job.Delivery == id }); i >= 0 {
			return c, i
		}
	}
	return 0, -1
}

// room is how many more deliveries of a class the lane may hold, as far as it
// alone goes. In an outage there is room for the next probe only.
func (l *lane) room(c class) int {
	switch {
	case l.health.held():
		return 1 - len(l.known)
	case l.ordered():
		return laneRoom - len(l.known)
	case c == retried:
		return min(retryRoom-l.count[c], laneRoom-len(l.known))
	case l.count[retried] > 0 || !l.storedDue[retried].IsZero():
		return min(freshRoom-l.count[c], laneRoom-len(l.known))
	}
	return laneRoom - len(l.known)
}

// worthwhile is how much room there must be, so that a fetch is worth its while. An
// ordered lane looks for other keys when all it has waits behind what is under way.
func (l *lane) worthwhile(c class) int {
	switch {
	case l.health.held(), l.ordered() && !l.begins():
		return 1
	case c == retried:
		return retryRoom / 2
	}
	return laneRoom / 2
}

// waits reports whether the lane has to wait for a time, and for which: the
// receiver's wish, its health or its rate.
func (l *lane) waits(now time.Time) (until time.Time, waits bool) {
	until = later(l.heldUntil, later(l.health.next(now), l.nextAt))
	return until, until.After(now)
}

// pace notes that an attempt begins: the next one waits until the rate allows it.
func (l *lane) pace(now time.Time) {
	if rate := l.subscriber.RateLimit; rate > 0 {
		l.nextAt = later(l.nextAt, now.Add(-paceSlack)).Add(time.Duration(float64(time.Second) / rate))
	}
}

// idle reports whether nothing would be lost if the lane were forgotten. One whose
// receiver is gone stays until the pause is stored: nobody else knows of it.
func (l *lane) idle(now time.Time) bool {
	return !l.gone && len(l.known) == 0 && l.storedDue == [classes]time.Time{} && !l.fetching &&
		l.heldUntil.IsZero() && l.inFlight == 0 && !l.nextAt.After(now)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
