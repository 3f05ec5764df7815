package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

func (s *server) registerEvents() {
	tags := []string{"events"}
	publish := body[api.Publish](s)
	publish.Required = true
	register(s, webhook.Operator, huma.Operation{
		OperationID: "publish-event", Method: http.MethodPost, Path: api.Prefix + "/events", Tags: tags,
		Summary: "Publish an event", DefaultStatus: http.StatusAccepted, RequestBody: publish,
		Description: "The answer comes once the event and all its deliveries are durable.",
	}, s.publish)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: api.Prefix + "/events", Tags: tags,
		Summary: "List events", Description: aboutPages,
	}, s.listEvents)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "show-event", Method: http.MethodGet, Path: api.Prefix + "/events/{id}", Tags: tags,
		Summary: "Show an event with its data and deliveries",
	}, s.showEvent)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "explain-event", Method: http.MethodGet, Path: api.Prefix + "/events/{id}/explain", Tags: tags,
		Summary:     "Say why an event reached a subscriber, or did not",
		Description: "For every subscriber, or for the one that is named. Filters and other terms are asked as they are now.",
	}, s.explainEvent)
	replay := body[api.EventReplay](s)
	replay.Required = true
	register(s, webhook.Operator, huma.Operation{
		OperationID: "replay-event", Method: http.MethodPost, Path: api.Prefix + "/events/{id}/replay", Tags: tags,
		Summary: "Make new deliveries of an event", RequestBody: body[api.ReplayTo](s),
		Description: "To all subscribers that receive such an event now, or to the one that is named, whatever its patterns and its filter.",
	}, s.replayEvent)
	register(s, webhook.Operator, huma.Operation{
		OperationID: "replay-events", Method: http.MethodPost, Path: api.Prefix + "/replays", Tags: tags,
		Summary: "Make new deliveries of the events that a filter selects", RequestBody: replay,
		Description: "To all subscribers that receive such events now, or to the one of them that is named. An empty filter selects all events, save that test events are passed over. A replay that is cut short has replayed the newest.",
	}, s.replayEvents)
}

func (s *server) publish(ctx context.Context, in *bodyInput) (*answer[api.Published], error) {
	e, key, err := parsePublish(in.RawBody, time.Now())
	if err != nil {
		return nil, err
	}
	accepted, deliveries, err := s.o.Dispatcher.Publish(ctx, e, key)
	if err != nil {
		return nil, err
	}
	return &answer[api.Published]{wirePublished(accepted, deliveries)}, nil
}

func wirePublished(accepted webhook.Accepted, deliveries []webhook.NewDelivery) api.Published {
	published := api.Published{ID: accepted.ID, Status: api.StatusReceived, Deliveries: []api.PublishedDelivery{}}
	if accepted.Duplicate {
		published.Status = api.StatusDuplicate
	}
	for _, d := range deliveries {
		published.Deliveries = append(published.Deliveries, api.PublishedDelivery{ID: d.ID, SubscriberID: d.SubscriberID})
	}
	return published
}

// parsePublish reads the event to be published and makes the key that tells a
// repeat of it. A fault is a [*problem], with the code that the same fault has
// at an inbound endpoint.
func parsePublish(raw []byte, now time.Time) (webhook.Event, webhook.DedupeKey, error) {
	var (
		in  api.Publish
		e   webhook.Event
		key webhook.DedupeKey
	)
	faults, err := decode(raw, &in)
	if err != nil {
		return e, key, err
	}
	if _, bad := faults["event"]; bad || !webhook.ValidType(in.Event) {
		return e, key, badRequest("invalid_event", "event must be a string of 1 to 128 of the characters A-Z a-z 0-9 . _ - : /.")
	}
	timestamp := now.Unix()
	if in.Timestamp != nil {
		timestamp = *in.Timestamp
	}
	switch _, bad := faults["timestamp"]; {
	case bad || timestamp <= 0:
		return e, key, badRequest("invalid_timestamp", "timestamp must be a whole number of Unix seconds.")
	case timestamp >= query.FirstMillis:
		return e, key, badRequest("invalid_timestamp", "timestamp must be in seconds; this one looks like milliseconds.")
	}
	if in.Data == nil {
		return e, key, badRequest("invalid_data", "data is missing.")
	}
	if _, bad := faults["id"]; bad || in.ID != "" && !webhook.ValidSenderID(in.ID) {
		return e, key, badRequest("invalid_id", "id must be a string of 1 to 128 printable characters.")
	}
	for _, field := range []struct{ name, value string }{{"client_id", in.ClientID}, {"agent_id", in.AgentID}} {
		if _, bad := faults[field.name]; !bad && field.value != "" && !webhook.ValidSenderID(field.value) {
			faults[field.name] = "must be 1 to 128 printable characters"
		}
	}
	if len(faults) > 0 {
		p := invalidRequest(faults)
		p.status = http.StatusBadRequest
		return e, key, p
	}
	if in.ID != "" {
		key = webhook.NewDedupeKey(webhook.SourceAdmin, in.ID)
	} else {
		// Two publishes without an id are two events.
		rand.Read(key[:])
	}
	return webhook.Event{
		Source: webhook.SourceAdmin, Type: in.Event, Timestamp: timestamp, Data: in.Data,
		ClientID: in.ClientID, AgentID: in.AgentID, SenderKey: in.ID,
	}, key, nil
}

// eventQuery selects a page of events.
type eventQuery struct {
	api.EventFilter
	api.PageQuery
}

func (s *server) listEvents(ctx context.Context, in *eventQuery) (*answer[api.List[api.Event]], error) {
	filter, faults := query.Events(in.EventFilter, time.Now())
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	return list(s, in.PageQuery, webhook.EventPrefix,
		func(page webhook.Page) (webhook.List[webhook.EventSummary], error) {
			return s.o.Store.Events(ctx, filter, page)
		},
		wireSummary)
}

type eventInput struct {
	ID webhook.EventID `path:"id" doc:"evt_…"`
}

type eventBody struct {
	ID webhook.EventID `path:"id" doc:"evt_…"`
	bodyInput
}

func (s *server) showEvent(ctx context.Context, in *eventInput) (*answer[api.EventDetail], error) {
	e, err := s.o.Store.Event(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := s.o.Store.Deliveries(ctx, webhook.DeliveryFilter{EventID: e.ID}, webhook.Page{Limit: api.MaxLimit})
	if err != nil {
		return nil, err
	}
	detail := api.EventDetail{Event: wireEvent(&e), Data: e.Data, Deliveries: make([]api.Delivery, len(found.Items))}
	detail.Size, detail.Fanout, detail.FanoutPartial = len(e.Data), map[webhook.State]int{}, found.Next != ""
	for i := range found.Items {
		detail.Deliveries[i] = s.wireDelivery(&found.Items[i])
		detail.Fanout[found.Items[i].State]++
	}
	return &answer[api.EventDetail]{detail}, nil
}

func (s *server) replayEvent(ctx context.Context, in *eventBody) (*answer[api.Replayed], error) {
	var to api.ReplayTo
	if len(in.RawBody) > 0 {
		faults, err := decode(in.RawBody, &to)
		if err != nil {
			return nil, err
		}
		if len(faults) > 0 {
			return nil, invalidRequest(faults)
		}
	}
	e, err := s.o.Store.Event(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	recipients, err := s.recipients(ctx, &e, to.Subscriber)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var replays []webhook.Replay
	for _, d := range recipients {
		replays = append(replays, webhook.Replay{EventID: e.ID, Delivery: d, DueAt: now})
	}
	made, err := s.o.Dispatcher.Replay(ctx, replays)
	if err != nil {
		return nil, err
	}
	return &answer[api.Replayed]{api.Replayed{Matched: 1, Replayed: len(made)}}, nil
}

// recipients are the deliveries that a replay of the event makes: for all that
// receive it, or, where one is named, for that one.
func (s *server) recipients(ctx context.Context, e *webhook.Event, to webhook.SubscriberID) ([]webhook.NewDelivery, error) {
	if to == "" {
		return s.o.Dispatcher.Recipients(ctx, e)
	}
	sub, ok := s.o.Dispatcher.Subscriber(to)
	if !ok {
		return nil, noSuchSubscriber()
	}
	if e.ClientID != "" && e.ClientID != sub.ClientID {
		return nil, conflict("The event is another client's than the subscriber.")
	}
	d, err := s.o.Dispatcher.Recipient(e, to)
	return []webhook.NewDelivery{d}, err
}

// noSuchSubscriber refuses a request that names a subscriber whom nobody knows.
func noSuchSubscriber() *problem {
	return invalidRequest(webhook.FieldsError{"subscriber": "there is no such subscriber"})
}

func (s *server) replayEvents(ctx context.Context, in *bodyInput) (*answer[api.Replayed], error) {
	var replay api.EventReplay
	faults, err := decode(in.RawBody, &replay)
	if err != nil {
		return nil, err
	}
	every := pace(replay.Rate, faults)
	filter, filterFaults := query.Events(replay.Filter, time.Now())
	for name, fault := range filterFaults {
		faults["filter."+name] = fault
	}
	if _, ok := s.o.Dispatcher.Subscriber(replay.Subscriber); replay.Subscriber != "" && !ok {
		faults["subscriber"] = "there is no such subscriber"
	}
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	now := time.Now()
	var replayed api.Replayed
	// Events that come meanwhile are newer than where the list goes on.
	for page := (webhook.Page{Limit: pageSize}); ; {
		found, err := s.o.Store.Events(ctx, filter, page)
		if err != nil {
			return nil, err
		}
		replayed.Matched += len(found.Items)
		if !replay.DryRun {
			n, err := s.replayPage(ctx, found.Items, replay.Subscriber, now.Add(time.Duration(replayed.Replayed)*every), every)
			replayed.Replayed += n
			if err != nil {
				return nil, err
			}
		}
		if page.Before = found.Next; page.Before == "" {
			return &answer[api.Replayed]{replayed}, nil
		}
	}
}

// replayPage makes new deliveries of events, the first due at the time and each
// further one so much later. With an empty id they are for all that receive the
// events, else for that one of them.
func (s *server) replayPage(ctx context.Context, events []webhook.EventSummary, to webhook.SubscriberID, due time.Time, every time.Duration) (made int, err error) {
	var replays []webhook.Replay
	for i := range events {
		if events[i].Type == testType {
			continue // it was meant for the one whose test it was
		}
		recipients, err := s.o.Dispatcher.Recipients(ctx, &events[i].Event)
		if err != nil && !errors.Is(err, webhook.ErrNotFound) { // the retention may have taken it
			return 0, err
		}
		for _, d := range recipients {
			if to == "" || d.SubscriberID == to {
				replays = append(replays, webhook.Replay{EventID: events[i].ID, Delivery: d, DueAt: due})
				due = due.Add(every)
			}
		}
	}
	for len(replays) > 0 {
		n := min(pageSize, len(replays))
		some, err := s.o.Dispatcher.Replay(ctx, replays[:n])
		made += len(some)
		if err != nil {
			return made, err
		}
		replays = replays[n:]
	}
	return made, nil
}

func wireEvent(e *webhook.Event) api.Event {
	return api.Event{
		ID: e.ID, Source: e.Source, Type: e.Type, Timestamp: e.Timestamp, ClientID: e.ClientID,
		AgentID: e.AgentID, SenderKey: e.SenderKey, ReceivedAt: api.Time{Time: e.ReceivedAt},
	}
}

func wireSummary(e *webhook.EventSummary) api.Event {
	wire := wireEvent(&e.Event)
	wire.Size, wire.Fanout, wire.FanoutPartial = e.Size, e.Deliveries, e.Partial
	return wire
}
