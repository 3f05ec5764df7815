package admin

import (
	"context"
	"errors"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/explain"
	"github.com/pintle/pintle/app/webhook"
)

// maxExplained is how many subscribers without a delivery an explanation of an
// event tells of: for each of them its filter is asked.
const maxExplained = 200

// soon is within what time of an event its own deliveries are made; what comes
// later is a replay.
const soon = time.Second

func (s *server) explainDelivery(ctx context.Context, in *deliveryInput) (*answer[api.DeliveryExplanation], error) {
	d, err := webhook.FindDelivery(ctx, s.o.Store, in.ID)
	if err != nil {
		return nil, err
	}
	e, err := s.o.Store.Event(ctx, d.EventID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.o.Store.Attempts(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	facts, err := s.facts(ctx, &e, d.SubscriberID, &d)
	if err != nil {
		return nil, err
	}
	return &answer[api.DeliveryExplanation]{api.DeliveryExplanation{
		Explanation: s.explained(facts), EventID: e.ID, EventType: e.Type, Story: facts.Story(attempts),
	}}, nil
}

type explainEventInput struct {
	ID         webhook.EventID      `path:"id" doc:"evt_…"`
	Subscriber webhook.SubscriberID `query:"subscriber" doc:"for this subscriber only: sub_…"`
}

func (s *server) explainEvent(ctx context.Context, in *explainEventInput) (*answer[api.EventExplanation], error) {
	e, err := s.o.Store.Event(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	filter := webhook.DeliveryFilter{EventID: e.ID}
	if in.Subscriber != "" {
		filter.Subscribers = []webhook.SubscriberID{in.Subscriber}
	}
	found, err := s.o.Store.Deliveries(ctx, filter, webhook.Page{Limit: api.MaxLimit})
	if err != nil {
		return nil, err
	}
	partial := in.Subscriber == "" && found.Next != ""
	told := map[webhook.SubscriberID]bool{}
	explanations := []api.Explanation{}
	tell := func(id webhook.SubscriberID, d *webhook.Delivery) error {
		told[id] = true
		facts, err := s.facts(ctx, &e, id, d)
		if err == nil {
			explanations = append(explanations, s.explained(facts))
		}
		return err
	}
	for i := range found.Items {
		// The first of a subscriber is its newest.
		if d := &found.Items[i]; !told[d.SubscriberID] {
			if err := tell(d.SubscriberID, d); err != nil {
				return nil, err
			}
		}
	}
	others := s.o.Dispatcher.Subscribers()
	if in.Subscriber != "" {
		sub, ok := s.o.Dispatcher.Subscriber(in.Subscriber)
		if !ok && !told[in.Subscriber] {
			return nil, noSuchSubscriber()
		}
		others = []*webhook.Subscriber{&sub}
	}
	without := 0
	for _, sub := range others {
		if told[sub.ID] || sub.ID == "" {
			continue
		}
		if without == maxExplained {
			partial = true
			break
		}
		without++
		if err := tell(sub.ID, nil); err != nil {
			return nil, err
		}
	}
	return &answer[api.EventExplanation]{explain.Event(&e, explanations, partial)}, nil
}

// facts gathers what explains a delivery of the event to the subscriber, or, where
// it is nil, that there is none.
func (s *server) facts(ctx context.Context, e *webhook.Event, id webhook.SubscriberID, d *webhook.Delivery) (*explain.Facts, error) {
	f := &explain.Facts{Event: e, SubscriberID: id, Delivery: d, Policy: s.o.Dispatcher.Policy(id), Now: time.Now()}
	if d != nil {
		var err error
		if f.Replayed, err = s.replayed(ctx, e, d); err != nil {
			return nil, err
		}
	}
	sub, ok := s.o.Dispatcher.Subscriber(id)
	if !ok {
		return f, nil
	}
	x, err := s.o.Dispatcher.Explain(ctx, e, id, d)
	if errors.Is(err, webhook.ErrNotFound) {
		return f, nil // it was removed just now
	}
	if err != nil {
		return nil, err
	}
	f.Subscriber, f.Gates = &sub, x.Gates
	return f, nil
}

// replayed reports whether the delivery was made later than its event: there is an
// earlier one to the same subscriber, or it took too long to be the event's own.
func (s *server) replayed(ctx context.Context, e *webhook.Event, d *webhook.Delivery) (bool, error) {
	if d.CreatedAt.Sub(e.ReceivedAt) > soon {
		return true, nil
	}
	earlier, err := s.o.Store.Deliveries(ctx, webhook.DeliveryFilter{
		EventID: e.ID, Subscribers: []webhook.SubscriberID{d.SubscriberID},
	}, webhook.Page{Limit: 1, Before: string(d.ID)})
	return len(earlier.Items) > 0, err
}

// explained is the answer that the facts give.
func (s *server) explained(f *explain.Facts) api.Explanation {
	x := f.Explain()
	if f.Delivery != nil {
		wire := s.wireDelivery(f.Delivery)
		x.Delivery = &wire
	}
	return x
}
