package explain

import (
	"fmt"
	"net/http"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxPlanned is how many further tries are told one by one.
	maxPlanned = 10
	// slack is how much later than its time a retry may begin and still be one of
	// the schedule.
	slack = 2 * time.Second
)

// Story tells what happened to the delivery, of which these are all attempts, the
// first one first; and then what is planned, by the present terms.
func (f *Facts) Story(attempts []webhook.Attempt) []api.Moment {
	story := f.beginning()
	for i := range attempts {
		a := &attempts[i]
		m := api.Moment{At: api.Time{Time: a.StartedAt}, Attempt: a.Number, What: attempted(a)}
		if i+1 == len(attempts) {
			story = append(story, m)
			break
		}
		next := attempts[i+1].StartedAt
		if f.endedWith(attempts[:i+1]) {
			story = append(story, m, api.Moment{At: api.Time{Time: next}, What: "Before this, a person had it sent again, with its whole schedule before it."})
			continue
		}
		m.What += fmt.Sprintf(" It was tried again %s later.", took(next.Sub(a.StartedAt.Add(a.Duration))))
		story = append(story, m)
	}
	if f.Delivery.State != webhook.Pending {
		return append(story, f.end())
	}
	if len(attempts) > 0 && f.endedWith(attempts) {
		story = append(story, api.Moment{At: api.Time{Time: earlier(f.Delivery.NextAttemptAt, f.Now)}, What: "A person had it sent again, with its whole schedule before it."})
	}
	return append(story, f.planned()...)
}

// beginning tells how the delivery came to be.
func (f *Facts) beginning() []api.Moment {
	what := "The event was accepted from the source " + f.Event.Source + "."
	if f.Event.Source == webhook.SourceAdmin {
		what = "The event was published through the admin API."
	}
	to := string(f.SubscriberID)
	if f.Subscriber != nil {
		to = f.Subscriber.Name()
	}
	made := "The delivery to " + to + " was made."
	if f.Replayed {
		made = "The event was replayed: this delivery to " + to + " was made."
	}
	return []api.Moment{
		{At: api.Time{Time: f.Event.ReceivedAt}, What: what},
		{At: api.Time{Time: f.Delivery.CreatedAt}, What: made},
	}
}

// attempted tells what came of an attempt.
func attempted(a *webhook.Attempt) string {
	fault := ""
	if a.Error != "" {
		fault = ": " + phrase(a.Error)
	}
	switch a.Outcome {
	case webhook.OK, webhook.HTTPStatus:
		return fmt.Sprintf("Attempt %d was answered with %d after %s%s.", a.Number, a.Code, took(a.Duration), fault)
	case webhook.Transformation:
		return fmt.Sprintf("Attempt %d sent nothing, for an expression failed%s.", a.Number, fault)
	case webhook.Interrupted:
		return fmt.Sprintf("Attempt %d was cut short when Pintle stopped, and spent no retry.", a.Number)
	}
	return fmt.Sprintf("Attempt %d failed with %s after %s%s.", a.Number, a.Outcome, took(a.Duration), fault)
}

// endedWith reports whether the delivery had come to an end with these attempts,
// so that only a person can have had it tried again. It is told where it can be
// seen: the answer was final, or the attempts kept to the whole schedule, which
// those that find out whether an outage is over do not.
func (f *Facts) endedWith(attempts []webhook.Attempt) bool {
	last := attempts[len(attempts)-1]
	switch {
	case last.Outcome == webhook.OK, last.Code == http.StatusGone:
		return true
	case len(attempts) != f.Policy.Retries+1:
		return false
	}
	for i, wait := range f.Policy.Waits() {
		a := &attempts[i]
		gap := attempts[i+1].StartedAt.Sub(a.StartedAt.Add(a.Duration))
		if a.Outcome == webhook.Interrupted || gap < wait-time.Millisecond || gap > wait+time.Duration(float64(wait)*f.Policy.Jitter)+slack {
			return false
		}
	}
	return last.Outcome != webhook.Interrupted
}

// end tells how the delivery left pending.
func (f *Facts) end() api.Moment {
	d := f.Delivery
	m := api.Moment{At: api.Time{Time: d.FinishedAt}}
	switch d.State {
	case webhook.Delivered:
		m.What = "It was delivered."
	case webhook.Dead:
		m.What = "Its retries were used up: it is a dead letter."
		if f.final() {
			m.What = "The answer was final: it is a dead letter."
		}
		if d.LastCode == http.StatusGone {
			m.What = "The receiver wants no more: it is a dead letter, and the subscriber was paused."
		}
	default:
		m.What = f.cancelled()
	}
	return m
}

// planned tells what comes next if nothing changes. Where it is not known when,
// nothing is planned.
func (f *Facts) planned() []api.Moment {
	at := f.Delivery.NextAttemptAt
	gate, waits := f.waiting()
	switch {
	case f.Subscriber == nil, waits && gate.Until.IsZero() && gate.Name != webhook.GateRoom:
		return nil
	case waits && gate.Name == webhook.GateOutage:
		return []api.Moment{{At: api.Time{Time: gate.Until}, Planned: true, What: "The next probe of the subscriber: once one succeeds, its deliveries go out again."}}
	}
	for _, g := range f.Gates {
		if g.Verdict == webhook.Waits && g.Until.After(at) {
			at = g.Until
		}
	}
	if at.Before(f.Now) {
		at = f.Now
	}
	number, tries := f.Delivery.Attempts+1, f.Policy.Retries+1
	try := min(f.Delivery.Spent+1, tries)
	story := []api.Moment{{At: api.Time{Time: at}, Attempt: number, Planned: true, What: fmt.Sprintf("Attempt %d is due, %s.", number, f.try(try))}}
	for i, wait := range f.Policy.Waits()[try-1:] {
		at = at.Add(wait)
		if i < maxPlanned {
			story = append(story, api.Moment{
				At: api.Time{Time: at}, Attempt: number + i + 1, Planned: true, What: fmt.Sprintf("If that fails: attempt %d, %s.", number+i+1, f.try(try+i+1)),
			})
		}
	}
	return append(story, api.Moment{At: api.Time{Time: at}, Planned: true, What: "If that fails too, it is a dead letter at about this time."})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
