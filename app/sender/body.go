package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// errNoExpressions says that there is nothing that could run an expression.
var errNoExpressions = errors.New("filters and transforms are not run here")

// A hook is a transform of the configuration, with what an error calls it.
type hook struct {
	events     []webhook.Pattern
	expression transform.Expression
}

// inOrder returns the transforms in the order in which they are applied: those
// for all events first, whatever their place.
func inOrder(transforms []webhook.Transform) []hook {
	var all, some []hook
	for i, t := range transforms {
		h := hook{t.Events, transform.Expression{Name: fmt.Sprintf("transforms[%d]", i), Source: t.Expression}}
		if slices.ContainsFunc(t.Events, func(p webhook.Pattern) bool { return p == "*" || p == "**" }) {
			all = append(all, h)
		} else {
			some = append(some, h)
		}
	}
	return append(all, some...)
}

// expressions are those that make the body of the event for the subscriber.
func (s *Sender) expressions(e *webhook.Event, to *webhook.Subscriber) []transform.Expression {
	var list []transform.Expression
	for _, h := range *s.hooks.Load() {
		if slices.ContainsFunc(h.events, func(p webhook.Pattern) bool { return p.Match(e.Type) }) {
			list = append(list, h.expression)
		}
	}
	if to.Transform != "" {
		list = append(list, transform.Expression{Name: "transform", Source: to.Transform})
	}
	return list
}

// Input is the event as expressions see it.
func Input(e *webhook.Event) transform.Input {
	return transform.Input{Body: e.Body(), ID: string(e.ID), Source: e.Source, ClientID: e.ClientID}
}

// body returns what is to be sent. It reports false where nothing is, and the
// answer says why. What may have been sent already is not made again.
func (s *Sender) body(w Work, patience time.Duration, answer *Answer) ([]byte, bool) {
	job := w.Job
	if job.Body != nil {
		return job.Body, true
	}
	if job.Attempts > 0 && job.LastOutcome != webhook.Transformation {
		return job.Event.Body(), true
	}
	unjudged := job.Unjudged && w.Subscriber.Filter != ""
	expressions := s.expressions(job.Event, w.Subscriber)
	if !unjudged && len(expressions) == 0 {
		return job.Event.Body(), true
	}
	fail := func(err error) ([]byte, bool) {
		answer.Attempt.Outcome, answer.Attempt.Error = webhook.Transformation, clip(oneLine(err.Error()))
		return nil, false
	}
	answer.Unjudged = unjudged
	if s.o.Expressions == nil {
		return fail(errNoExpressions)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, owner := Input(job.Event), string(w.Subscriber.ID)
	if unjudged {
		wanted, err := s.o.Expressions.Filter(ctx, owner, w.Subscriber.Filter, in)
		if err != nil {
			return fail(err)
		}
		answer.Unjudged, answer.Rejected = false, !wanted
		if !wanted {
			return nil, false
		}
	}
	if len(expressions) == 0 {
		return in.Body, true
	}
	made, err := s.o.Expressions.Transform(ctx, owner, expressions, in)
	if err != nil {
		return fail(err)
	}
	answer.Body = made
	return made, true
}
