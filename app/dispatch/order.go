package dispatch

import (
	"slices"

	"github.com/pintle/pintle/app/webhook"
)

// An ordered lane takes nothing from memory: what may go next is told by the
// store, which knows all that is before it. Of what it has told, one delivery of a
// key is under way at a time, until its result is durable. If that leaves it
// pending, or dead where a dead one blocks, the later ones of its key go back to
// the store, which gives them out again when nothing stands before them.

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

// passed notes that the result of a delivery in an order is durable.
func (s *scheduler) passed(l *lane, key string, r *webhook.Result) {
	if key != "" {
		delete(l.busy, key)
		if l.fetching {
			l.moved[key] = true
		}
	}
	if l.ordered() && key != "" && (r.State == webhook.Pending || r.State == webhook.Dead && l.subscriber.OnDead != webhook.OnDeadSkip) {
		s.back(l, key)
	}
}

// back leaves to the store what waits of a key.
func (s *scheduler) back(l *lane, key string) {
	for c := range classes {
		l.ready[c] = slices.DeleteFunc(l.ready[c], func(job webhook.Job) bool {
			if job.OrderKey == key {
				s.release(l, job.Delivery)
			}
			return job.OrderKey == key
		})
	}
}
