package admin

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func (s *server) registerEvents() {
	tags := []string{"events"}
	publish := body[api.Publish](s)
	publish.Required = true
	register(s, huma.Operation{
		OperationID: "publish-event", Method: http.MethodPost, Path: api.Prefix + "/events", Tags: tags,
		Summary: "Publish an event", DefaultStatus: http.StatusAccepted, RequestBody: publish,
		Description: "The answer comes once the event and all its deliveries are durable.",
	}, s.publish)
	register(s, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: api.Prefix + "/events", Tags: tags,
		Summary: "List events",
	}, s.listEvents)
	register(s, huma.Operation{
		OperationID: "show-event", Method: http.MethodGet, Path: api.Prefix + "/events/{id}", Tags: tags,
		Summary: "Show an event with its data and deliveries",
	}, s.showEvent)
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
	published := api.Published{ID: accepted.ID, Status: api.StatusReceived, Deliveries: []api.PublishedDelivery{}}
	if accepted.Duplicate {
		published.Status = api.StatusDuplicate
	}
	for _, d := range deliveries {
		published.Deliveries = append(published.Deliveries, api.PublishedDelivery{ID: d.ID, SubscriberID: d.SubscriberID})
	}
	return &answer[api.Published]{published}, nil
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
	case timestamp >= firstMillis:
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
	filter, err := eventFilter(in.EventFilter, time.Now())
	if err != nil {
		return nil, err
	}
	return list(s, in.PageQuery, webhook.EventPrefix,
		func(page webhook.Page) ([]webhook.Event, error) { return s.o.Store.Events(ctx, filter, page) },
		wireEvent, func(e *api.Event) string { return string(e.ID) })
}

type eventInput struct {
	ID webhook.EventID `path:"id" doc:"evt_…"`
}

func (s *server) showEvent(ctx context.Context, in *eventInput) (*answer[api.EventDetail], error) {
	e, err := s.o.Store.Event(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	detail := api.EventDetail{Event: wireEvent(&e), Data: e.Data, Deliveries: []api.Delivery{}}
	err = s.eachPage(ctx, webhook.DeliveryFilter{EventID: e.ID}, func(deliveries []webhook.Delivery) error {
		for i := range deliveries {
			detail.Deliveries = append(detail.Deliveries, wireDelivery(&deliveries[i]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &answer[api.EventDetail]{detail}, nil
}

func wireEvent(e *webhook.Event) api.Event {
	return api.Event{
		ID: e.ID, Source: e.Source, Type: e.Type, Timestamp: e.Timestamp, ClientID: e.ClientID,
		AgentID: e.AgentID, SenderKey: e.SenderKey, ReceivedAt: api.Time{Time: e.ReceivedAt},
	}
}
