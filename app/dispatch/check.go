package dispatch

import (
	"context"
	"maps"
	"time"

	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// Check finds what is wrong with a subscriber beyond what the domain can say:
// expressions that do not compile, key material that cannot be read, addresses
// that may not be called. Of a change it looks only at what differs from before,
// nil for a new one: what may no longer be called must not stand in the way of
// another change.
func (d *Dispatcher) Check(ctx context.Context, s, before *webhook.Subscriber) webhook.FieldsError {
	if before == nil {
		before = &webhook.Subscriber{}
	}
	faults := webhook.FieldsError{}
	note := func(field string, err error) {
		if err != nil {
			faults[field] = err.Error()
		}
	}
	if s.Filter != "" && s.Filter != before.Filter {
		note("filter", d.checkExpression(s.Filter))
	}
	if s.Transform != "" && s.Transform != before.Transform {
		note("transform", d.checkExpression(s.Transform))
	}
	if s.Ordered != "" && s.Ordered != webhook.OrderedStrictly && s.Ordered != before.Ordered {
		_, err := transform.ParsePath(s.Ordered)
		note("ordered", err)
	}
	if d.o.Guard != nil && s.URL != before.URL {
		note("url", d.o.Guard.Check(ctx, s.URL))
	}
	if d.o.Guard != nil && s.OAuth2.TokenURL != "" && s.OAuth2.TokenURL != before.OAuth2.TokenURL {
		note("oauth2_token_url", d.o.Guard.Check(ctx, s.OAuth2.TokenURL))
	}
	if s.TLS != before.TLS {
		maps.Copy(faults, sender.CheckTLS(&s.TLS, time.Now()))
	}
	return faults
}

func (d *Dispatcher) checkExpression(source string) error {
	if d.o.Expressions == nil {
		return errNoExpressions
	}
	return transform.Check(source)
}
