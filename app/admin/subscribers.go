package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/board"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// testType is the type of the events that test a subscriber.
	testType = "pintle.test"
	// defaultOverlap is how long an old secret stays valid, and maxOverlap how
	// long it can.
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
)

// pausedByHand is the reason where whoever paused a subscriber gave none.
const pausedByHand = "paused by hand"

func (s *server) registerSubscribers() {
	tags := []string{"subscribers"}
	const path = api.Prefix + "/subscribers"
	create, change, pause := body[api.SubscriberChange](s), body[api.SubscriberChange](s), body[api.Pause](s)
	create.Required, change.Required = true, true
	schema := create.Content["application/json"]
	schema.Schema = &huma.Schema{AllOf: []*huma.Schema{schema.Schema, {Type: huma.TypeObject, Required: []string{"url", "events"}}}}

	register(s, webhook.Viewer, huma.Operation{
		OperationID: "list-subscribers", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List subscribers",
	}, s.listSubscribers)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "add-subscriber", Method: http.MethodPost, Path: path, Tags: tags,
		Summary: "Add a subscriber", DefaultStatus: http.StatusCreated, RequestBody: create,
		Description: "A secret is made where none is given; this answer shows it.",
	}, s.addSubscriber)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "show-subscriber", Method: http.MethodGet, Path: path + "/{id}", Tags: tags,
		Summary: "Show a subscriber",
	}, s.showSubscriber)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "change-subscriber", Method: http.MethodPatch, Path: path + "/{id}", Tags: tags,
		Summary: "Change fields of a subscriber", RequestBody: change,
		Description: "What is not named stays as it is; null gives a field its default, and *** leaves a credential as it is.",
	}, s.changeSubscriber)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "remove-subscriber", Method: http.MethodDelete, Path: path + "/{id}", Tags: tags,
		Summary: "Remove a subscriber and cancel what waits for it", DefaultStatus: http.StatusNoContent,
	}, s.removeSubscriber)
	register(s, webhook.Operator, huma.Operation{
		OperationID: "pause-subscriber", Method: http.MethodPost, Path: path + "/{id}/pause", Tags: tags,
		Summary: "Pause a subscriber: its deliveries are made, and wait", RequestBody: pause,
	}, s.pauseSubscriber)
	register(s, webhook.Operator, huma.Operation{
		OperationID: "resume-subscriber", Method: http.MethodPost, Path: path + "/{id}/resume", Tags: tags,
		Summary: "Resume a paused subscriber",
	}, s.resumeSubscriber)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "show-subscriber-secret", Method: http.MethodPost, Path: path + "/{id}/secret", Tags: tags,
		Summary: "Show the secret of a subscriber",
	}, s.showSecret)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "rotate-subscriber-secret", Method: http.MethodPost, Path: path + "/{id}/rotate-secret", Tags: tags,
		Summary: "Replace the secret of a subscriber", RequestBody: body[api.Rotation](s),
		Description: "For the overlap, deliveries carry a Standard Webhooks signature with the old secret too. This answer shows the new one.",
	}, s.rotateSecret)
	register(s, webhook.Operator, huma.Operation{
		OperationID: "test-subscriber", Method: http.MethodPost, Path: path + "/{id}/test", Tags: tags,
		Summary: "Send a test event to one subscriber", DefaultStatus: http.StatusAccepted,
		Description: "The event has the type " + testType + " and reaches this subscriber whatever its patterns and its filter.",
	}, s.testSubscriber)
	s.describeOrder()
}

// describeOrder tells in the document what the type of the field does not: that
// an order is a path or a truth value.
func (s *server) describeOrder() {
	schemas := s.api.OpenAPI().Components.Schemas.Map()
	for name, types := range map[string][]string{
		"Subscriber":       {huma.TypeBoolean, huma.TypeString},
		"SubscriberChange": {huma.TypeBoolean, huma.TypeString, "null"},
	} {
		ordered := schemas[name].Properties["ordered"]
		ordered.Type, ordered.Nullable = "", false
		ordered.Extensions = map[string]any{"type": types}
	}
}

type subscriberInput struct {
	ID webhook.SubscriberID `path:"id" doc:"sub_…"`
}

type subscriberBody struct {
	ID webhook.SubscriberID `path:"id" doc:"sub_…"`
	bodyInput
}

func (s *server) listSubscribers(ctx context.Context, in *api.PageQuery) (*answer[api.List[api.Subscriber]], error) {
	var health map[webhook.SubscriberID]*api.Health
	lanes := map[webhook.SubscriberID]webhook.LaneState{}
	fetch := func(page webhook.Page) (webhook.List[*webhook.Subscriber], error) {
		found := pageOf(s.o.Dispatcher.Subscribers(), page, func(sub *webhook.Subscriber) string { return string(sub.ID) })
		for _, sub := range found.Items {
			lane, err := s.lane(ctx, sub)
			if err != nil {
				return found, err
			}
			lanes[sub.ID] = lane
		}
		var err error
		health, err = s.health(ctx, found.Items...)
		return found, err
	}
	return list(s, *in, webhook.SubscriberPrefix, fetch, func(sub **webhook.Subscriber) api.Subscriber {
		wire := wireSubscriber(ctx, *sub, lanes[(*sub).ID])
		wire.Health = health[wire.ID]
		wire.Headers = hiddenHeaders(wire.Headers) // no list tells anybody
		return wire
	})
}

func (s *server) addSubscriber(ctx context.Context, in *bodyInput) (*answer[api.Subscriber], error) {
	secret := webhook.NewSecret().Reveal()
	change := api.SubscriberChange{Secret: &secret}
	faults, err := decodeSubscriber(in.RawBody, &change)
	if err != nil {
		return nil, err
	}
	added := webhook.Subscriber{Active: true}
	apply(change, &added, faults)
	if err := s.judge(ctx, &added, nil, added.Validate(), faults); err != nil {
		return nil, err
	}
	if added, err = s.o.Dispatcher.AddSubscriber(ctx, added); err != nil {
		return nil, err
	}
	wire := wireSubscriber(ctx, &added, webhook.LaneState{})
	wire.Secret = added.Secret.Reveal()
	return &answer[api.Subscriber]{wire}, nil
}

func (s *server) showSubscriber(ctx context.Context, in *subscriberInput) (*answer[api.Subscriber], error) {
	found, err := s.subscriber(in.ID)
	if err != nil {
		return nil, err
	}
	health, err := s.health(ctx, &found)
	if err != nil {
		return nil, err
	}
	shown, err := s.shown(ctx, &found)
	if err != nil {
		return nil, err
	}
	shown.Body.Health = health[found.ID]
	return shown, nil
}

func (s *server) changeSubscriber(ctx context.Context, in *subscriberBody) (*answer[api.Subscriber], error) {
	var change api.SubscriberChange
	faults, err := decodeSubscriber(in.RawBody, &change)
	if err != nil {
		return nil, err
	}
	return s.update(ctx, in.ID, func(changed *webhook.Subscriber) error {
		before := *changed
		apply(change, changed, faults)
		return s.judge(ctx, changed, &before, changed.ValidateChange(&before), faults)
	})
}

func (s *server) removeSubscriber(ctx context.Context, in *subscriberInput) (*struct{}, error) {
	return nil, s.o.Dispatcher.RemoveSubscriber(ctx, in.ID)
}

func (s *server) pauseSubscriber(ctx context.Context, in *subscriberBody) (*answer[api.Subscriber], error) {
	pause := api.Pause{}
	if len(in.RawBody) > 0 {
		faults, err := decode(in.RawBody, &pause)
		if err != nil {
			return nil, err
		}
		if len(pause.Reason) > 1000 {
			faults["reason"] = "at most 1000 bytes"
		}
		if len(faults) > 0 {
			return nil, invalidRequest(faults)
		}
	}
	if pause.Reason == "" {
		pause.Reason = pausedByHand
	}
	return s.update(ctx, in.ID, func(paused *webhook.Subscriber) error {
		paused.Active, paused.PausedReason = false, pause.Reason
		return nil
	})
}

func (s *server) resumeSubscriber(ctx context.Context, in *subscriberInput) (*answer[api.Subscriber], error) {
	return s.update(ctx, in.ID, func(resumed *webhook.Subscriber) error {
		resumed.Active, resumed.PausedReason = true, ""
		return nil
	})
}

func (s *server) showSecret(_ context.Context, in *subscriberInput) (*answer[api.Secret], error) {
	found, err := s.subscriber(in.ID)
	if err != nil {
		return nil, err
	}
	return &answer[api.Secret]{api.Secret{Secret: found.Secret.Reveal()}}, nil
}

func (s *server) rotateSecret(ctx context.Context, in *subscriberBody) (*answer[api.Subscriber], error) {
	overlap := api.Duration(defaultOverlap)
	rotation := api.Rotation{Overlap: &overlap}
	if len(in.RawBody) > 0 {
		faults, err := decode(in.RawBody, &rotation)
		if err != nil {
			return nil, err
		}
		if overlap < 0 || time.Duration(overlap) > maxOverlap {
			faults["overlap"] = "must be between 0s and " + api.Duration(maxOverlap).String()
		}
		if len(faults) > 0 {
			return nil, invalidRequest(faults)
		}
	}
	fresh := webhook.Secret(rotation.Secret)
	if fresh == "" {
		fresh = webhook.NewSecret()
	}
	changed, err := s.o.Dispatcher.UpdateSubscriber(ctx, in.ID, func(sub *webhook.Subscriber) error {
		now := time.Now()
		sub.Rotate(fresh, now, now.Add(time.Duration(overlap)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	shown, err := s.shown(ctx, &changed)
	if err != nil {
		return nil, err
	}
	shown.Body.Secret = fresh.Reveal()
	return shown, nil
}

func (s *server) testSubscriber(ctx context.Context, in *subscriberInput) (*answer[api.Published], error) {
	sub, err := s.subscriber(in.ID)
	if err != nil {
		return nil, err
	}
	if !sub.Active {
		return nil, conflict("The subscriber is paused; resume it first.")
	}
	data, err := api.Marshal(map[string]any{"message": "This is a test by Pintle.", "subscriber": sub.ID})
	if err != nil {
		return nil, err
	}
	var key webhook.DedupeKey
	rand.Read(key[:])
	accepted, deliveries, err := s.o.Dispatcher.PublishTo(ctx, webhook.Event{
		Source: webhook.SourceAdmin, Type: testType, Timestamp: time.Now().Unix(), Data: data,
	}, key, sub.ID)
	if err != nil {
		return nil, err
	}
	return &answer[api.Published]{wirePublished(accepted, deliveries)}, nil
}

// subscriber finds one subscriber.
func (s *server) subscriber(id webhook.SubscriberID) (webhook.Subscriber, error) {
	if found, ok := s.o.Dispatcher.Subscriber(id); ok {
		return found, nil
	}
	return webhook.Subscriber{}, webhook.ErrNotFound
}

// health is how subscribers did in the last hour.
func (s *server) health(ctx context.Context, subscribers ...*webhook.Subscriber) (map[webhook.SubscriberID]*api.Health, error) {
	now := time.Now()
	query := webhook.StatsQuery{ActivityFrom: now.Add(-time.Hour), MinutesTo: now, Subscribers: make([]webhook.SubscriberID, len(subscribers))}
	for i, sub := range subscribers {
		query.Subscribers[i] = sub.ID
	}
	stats, err := s.o.Store.Stats(ctx, query)
	if err != nil {
		return nil, err
	}
	health := map[webhook.SubscriberID]*api.Health{}
	for id, activity := range stats.Activity {
		h := board.Health(&activity)
		health[id] = &h
	}
	return health, nil
}

// update changes one subscriber and answers with it.
func (s *server) update(ctx context.Context, id webhook.SubscriberID, change func(*webhook.Subscriber) error) (*answer[api.Subscriber], error) {
	changed, err := s.o.Dispatcher.UpdateSubscriber(ctx, id, change)
	if err != nil {
		return nil, err
	}
	return s.shown(ctx, &changed)
}

// shown answers with the subscriber as it stands at the moment.
func (s *server) shown(ctx context.Context, sub *webhook.Subscriber) (*answer[api.Subscriber], error) {
	lane, err := s.lane(ctx, sub)
	if err != nil {
		return nil, err
	}
	return &answer[api.Subscriber]{wireSubscriber(ctx, sub, lane)}, nil
}

// lane is how the lane of the subscriber stands, if it is in an outage: of one
// that is well there is nothing to tell.
func (s *server) lane(ctx context.Context, sub *webhook.Subscriber) (webhook.LaneState, error) {
	if sub.FailingSince.IsZero() {
		return webhook.LaneState{}, nil
	}
	state, err := s.o.Dispatcher.LaneState(ctx, sub.ID)
	if errors.Is(err, webhook.ErrNotFound) {
		return state, nil // it was removed just now
	}
	return state, err
}
