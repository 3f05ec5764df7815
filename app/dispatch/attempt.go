package dispatch

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/webhook"
)

// A trial is an attempt with what a worker learnt beyond its result.
type trial struct {
	assignment assignment
	result     webhook.Result
	// retryAfter is how long the receiver wants to be left alone; zero: not.
	retryAfter time.Duration
	// gone says that the receiver wants no more deliveries.
	gone bool
	// judgedAt is when its result was made, by both clocks.
	judgedAt time.Time
	// rejected says that the subscriber's filter does not want the event.
	rejected bool
}

// worker makes the attempts that it is given until there are no more.
func (d *Dispatcher) worker() {
	for a := range d.scheduler.jobs {
		d.underWay.Add(1)
		t := d.try(a)
		d.underWay.Add(-1)
		d.log(&t)
		if d.o.Observer != nil && !t.rejected {
			d.o.Observer.Attempted(a.job.Event, a.subscriber, &t.result)
		}
		if t.gone {
			d.work.Go(func() { d.pause(a.subscriber, time.Time{}, goneReason) })
		}
		d.scheduler.post(func() { d.scheduler.finished(&t) })
		d.recorder.add(t)
	}
}

func (d *Dispatcher) log(t *trial) {
	a, attempt := &t.assignment, &t.result.Attempt
	switch t.result.State {
	case webhook.Cancelled:
		d.o.Logger.Debug("the filter does not want the event", "delivery", a.job.Delivery, "subscriber", a.subscriber.ID)
		return
	case webhook.Delivered:
		d.o.Logger.Debug("delivered", "delivery", a.job.Delivery, "subscriber", a.subscriber.ID, "attempt", attempt.Number, "code", attempt.Code)
		return
	}
	failure := []any{"delivery", a.job.Delivery, "subscriber", a.subscriber.ID, "event", a.job.Event.Type,
		"attempt", attempt.Number, "outcome", attempt.Outcome, "code", attempt.Code, "error", attempt.Error}
	if t.result.State == webhook.Dead {
		d.o.Logger.Warn("delivery is dead", failure...)
		return
	}
	d.o.Logger.Info("attempt failed", append(failure, "next", t.result.NextAttemptAt)...)
}

// try makes one attempt and judges it.
func (d *Dispatcher) try(a assignment) trial {
	answer := d.sender.Send(d.attempts, sender.Work{Job: &a.job, Subscriber: a.subscriber, Target: a.target})
	t := trial{assignment: a, retryAfter: answer.RetryAfter, rejected: answer.Rejected, result: webhook.Result{
		DueAt: a.job.DueAt, Attempt: answer.Attempt, Body: answer.Body, Unjudged: answer.Unjudged,
	}}
	t.judgedAt = time.Now()
	d.judge(&t, t.judgedAt)
	return t
}

// judge decides what follows from the attempt.
func (d *Dispatcher) judge(t *trial, now time.Time) {
	job, subscriber, r := &t.assignment.job, t.assignment.subscriber, &t.result
	code := r.Attempt.Code
	r.Spent = job.Spent + 1
	switch {
	case t.rejected:
		r.State, r.Spent = webhook.Cancelled, job.Spent
		return
	case r.Attempt.Outcome == webhook.OK:
		r.State = webhook.Delivered
		return
	case r.Attempt.Outcome == webhook.Interrupted:
		r.State, r.Spent, r.NextAttemptAt = webhook.Pending, job.Spent, now
		return
	case code == http.StatusGone:
		r.State, t.gone = webhook.Dead, true
		return
	case subscriber.FinalOn4xx && code >= 400 && code <= 499 && !transient(subscriber, code):
		r.State = webhook.Dead
		return
	case t.assignment.probe:
		// It is due at once, behind all that fell due before, so that the next
		// probe is made with another delivery: one that fails by its own fault
		// must not hold the others.
		r.State, r.Spent, r.NextAttemptAt = webhook.Pending, job.Spent, now
		return
	}
	wait, ok := d.policy(subscriber).Next(r.Spent, rand.Float64(), t.retryAfter)
	if !ok {
		r.State = webhook.Dead
		return
	}
	// Time is kept to the millisecond; rounded down, the wait would be shortened.
	r.State, r.NextAttemptAt = webhook.Pending, now.Add(wait).Truncate(time.Millisecond).Add(time.Millisecond)
}

// transient reports whether a status 4xx says that a later try may do: one does,
// with a new token, where the receiver has refused the present one before its end.
func transient(subscriber *webhook.Subscriber, code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusUnauthorized:
		return subscriber.OAuth2.TokenURL != ""
	}
	return false
}
