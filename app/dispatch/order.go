package dispatch

import (
	"slices"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// An ordered lane takes nothing from memory: what may go next is told by the
// store, which knows all that is before it. Of what it has told, one delivery of a
// key is under way at a time, until its result is durable. If that leaves it
// pending, or dead where a dead one blocks, the later ones of its key go back to
// the store, which gives them out again when nothing stands before them. It is asked
// at once: a person may have cancelled or purged what was under way.
//
// Of one key only so many are in memory that all places can be taken by other keys,
// while the first of it is slow.

// leads reports whether the job may begin: it has no key, or is the first of it and
// none is under way. The queue is searched from its beginning, so that the first
// one found of a key is the first of it.
func (l *lane) leads(job webhook.Job) bool { return job.OrderKey == "" || !l.busy[job.OrderKey] }

// takeInOrder takes out the first job that leads.
func (l *lane) takeInOrder() (webhook.Job, bool) {
	i := slices.IndexFunc(l.ready[fresh], l.leads)
	if i < 0 {
		return webhook.Job{}, false
	}
	job := l.ready[fresh][i]
	l.ready[fresh] = slices.Delete(l.ready[fresh], i, i+1)
	if job.OrderKey != "" {
		if l.busy == nil {
			l.busy = map[string]bool{}
		}
		l.busy[job.OrderKey] = true
	}
	return job, true
}

// keyRoom is how many deliveries of one key a lane with so many places may hold.
func keyRoom(concurrency int) int { return max(1, laneRoom/2/concurrency) }

// measure notes of which keys there have been as many in memory as may be: the store
// is asked for more of them when those are done.
func (l *lane) measure(most int) {
	count := map[string]int{}
	for key := range l.busy {
		count[key]++
	}
	for i := range l.ready[fresh] {
		if key := l.ready[fresh][i].OrderKey; key != "" {
			count[key]++
		}
	}
	full := map[string]bool{}
	for key, n := range count {
		if n >= most || l.full[key] {
			full[key] = true
		}
	}
	l.full = full
}

// passed notes that the result of a delivery in an order is durable.
func (s *scheduler) passed(l *lane, key string, r *webhook.Result) {
	if key == "" {
		return
	}
	delete(l.busy, key)
	if l.fetching {
		l.moved[key] = true
	}
	switch {
	case !l.ordered():
	case r.State == webhook.Pending || r.State == webhook.Dead && l.subscriber.OnDead != webhook.OnDeadSkip:
		s.back(l, key)
	case l.full[key] && !slices.ContainsFunc(l.ready[fresh], func(job webhook.Job) bool { return job.OrderKey == key }):
		delete(l.full, key)
		s.await(l, fresh, time.Now())
	}
}

// back leaves to the store what waits of a key.
func (s *scheduler) back(l *lane, key string) {
	for c := range classes {
		l.ready[c] = slices.DeleteFunc(l.ready[c], func(job webhook.Job) bool {
			if job.OrderKey == key {
				s.release(l, job.Delivery)
				s.await(l, c, job.DueAt)
			}
			return job.OrderKey == key
		})
	}
}
