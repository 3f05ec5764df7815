package tui

import (
	"context"
	"slices"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// explain says of every subscriber that its filter stops the event, save where
// there is a delivery: that waits for the end of an outage, and for its time.
func (f *fake) explain(s *api.Subscriber, d *api.Delivery) api.Explanation {
	x := api.Explanation{SubscriberID: s.ID, SubscriberName: s.Description, URL: s.URL, Delivery: d}
	for _, name := range webhook.GateNames() {
		x.Gates = append(x.Gates, api.Gate{Name: name, Verdict: webhook.Passes, Reason: f.reason("It is so.")})
	}
	if d == nil {
		x.Summary, x.Gates = f.reason("Its filter says no."), x.Gates[:4]
		x.Gates[3].Verdict, x.Gates[3].Reason = webhook.Stops, f.reason("the filter .data.amount > 9000 is false for it")
		return x
	}
	x.Summary = f.reason("It waits for its time.")
	x.Gates[7] = api.Gate{Name: webhook.GateSchedule, Verdict: webhook.Waits, Reason: f.reason("the next try is not due yet"), Until: d.NextAttemptAt}
	x.Gates[9].Verdict, x.Gates[9].Reason = webhook.Unknown, f.reason("it cannot be told")
	if !f.held {
		return x
	}
	x.Summary = f.reason("It waits for the end of an outage.")
	x.Gates[5] = api.Gate{Name: webhook.GateOutage, Verdict: webhook.Waits, Reason: f.reason("12 attempts in a row have failed"), Until: api.Time{Time: began.Add(34 * time.Second)}}
	return x
}

// reason is the text, or a hostile one.
func (f *fake) reason(s string) string {
	if f.evil != "" {
		return f.evil
	}
	return s
}

func (f *fake) ExplainDelivery(ctx context.Context, id webhook.DeliveryID) (x api.DeliveryExplanation, err error) {
	if err := f.ask(ctx, "explain "+string(id), false); err != nil {
		return x, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.deliveries {
		d := f.deliveries[i]
		if d.ID != id {
			continue
		}
		x = api.DeliveryExplanation{Explanation: f.explain(&f.subscribers[0], &d), EventID: d.EventID, EventType: d.EventType}
		x.Story = []api.Moment{
			{At: d.CreatedAt, What: f.reason("The event came in.")},
			{At: d.CreatedAt, What: f.reason("It failed: HTTP 503."), Attempt: 1},
			{At: api.Time{Time: began.Add(34 * time.Second)}, What: f.reason("It is tried again."), Attempt: 2, Planned: true},
		}
		return x, nil
	}
	return x, answered{"there is no such delivery"}
}

func (f *fake) ExplainEvent(ctx context.Context, id webhook.EventID, subscriber webhook.SubscriberID) (x api.EventExplanation, err error) {
	if err := f.ask(ctx, "explain "+string(id), false); err != nil {
		return x, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at := slices.IndexFunc(f.events, func(v api.Event) bool { return v.ID == id })
	if at < 0 {
		return x, answered{"there is no such event"}
	}
	x = api.EventExplanation{EventID: id, EventType: f.events[at].Type, Summary: f.reason("1 of 2 subscribers receives it."), Partial: true}
	for i := range f.subscribers {
		s := &f.subscribers[i]
		if subscriber != "" && s.ID != subscriber {
			continue
		}
		var own *api.Delivery
		for _, d := range f.deliveries {
			if d.EventID == id && d.SubscriberID == s.ID {
				own = &d
			}
		}
		x.Subscribers = append(x.Subscribers, f.explain(s, own))
	}
	return x, nil
}
