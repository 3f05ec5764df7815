package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// pageSize is how many deliveries are read, and resent, at once.
const pageSize = 500

func (s *server) registerDeliveries() {
	register(s, huma.Operation{
		OperationID: "list-deliveries", Method: http.MethodGet, Path: api.Prefix + "/deliveries", Tags: []string{"deliveries"},
		Summary: "List deliveries",
	}, s.listDeliveries)
	register(s, huma.Operation{
		OperationID: "show-delivery", Method: http.MethodGet, Path: api.Prefix + "/deliveries/{id}", Tags: []string{"deliveries"},
		Summary: "Show a delivery with its attempts",
	}, s.showDelivery)
	register(s, huma.Operation{
		OperationID: "resend-delivery", Method: http.MethodPost, Path: api.Prefix + "/deliveries/{id}/resend", Tags: []string{"deliveries"},
		Summary:     "Send a delivery again",
		Description: "It is due at once and has its whole schedule before it.",
	}, s.resend)
	register(s, huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: api.Prefix + "/dead-letters", Tags: []string{"dead letters"},
		Summary: "List dead letters",
	}, s.listDeadLetters)
	replay := body[api.Replay](s)
	replay.Required = true
	register(s, huma.Operation{
		OperationID: "replay-dead-letters", Method: http.MethodPost, Path: api.Prefix + "/dead-letters/replay", Tags: []string{"dead letters"},
		Summary: "Send dead letters again", RequestBody: replay,
		Description: "They are pending again, with their whole schedule before them. An empty filter selects all. A replay that is cut short has replayed the newest, and can be repeated.",
	}, s.replay)
}

// deliveryQuery selects a page of deliveries.
type deliveryQuery struct {
	api.DeliveryFilter
	api.PageQuery
}

type deliveryInput struct {
	ID webhook.DeliveryID `path:"id" doc:"dlv_…"`
}

func (s *server) listDeliveries(ctx context.Context, in *deliveryQuery) (*answer[api.List[api.Delivery]], error) {
	filter, faults := deliveryFilter(in.DeliveryFilter, time.Now())
	return s.pageOfDeliveries(ctx, filter, faults, in.PageQuery)
}

func (s *server) listDeadLetters(ctx context.Context, in *deliveryQuery) (*answer[api.List[api.Delivery]], error) {
	filter, faults := deadFilter(in.DeliveryFilter, time.Now())
	return s.pageOfDeliveries(ctx, filter, faults, in.PageQuery)
}

func (s *server) pageOfDeliveries(ctx context.Context, filter webhook.DeliveryFilter, faults webhook.FieldsError, query api.PageQuery) (*answer[api.List[api.Delivery]], error) {
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	return list(s, query, webhook.DeliveryPrefix,
		func(page webhook.Page) ([]webhook.Delivery, error) { return s.o.Store.Deliveries(ctx, filter, page) },
		wireDelivery, func(d *api.Delivery) string { return string(d.ID) })
}

func (s *server) showDelivery(ctx context.Context, in *deliveryInput) (*answer[api.DeliveryDetail], error) {
	d, err := s.o.Store.Delivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.o.Store.Attempts(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	detail := api.DeliveryDetail{Delivery: wireDelivery(&d), Attempts: make([]api.Attempt, len(attempts))}
	for i := range attempts {
		detail.Attempts[i] = wireAttempt(&attempts[i])
	}
	return &answer[api.DeliveryDetail]{detail}, nil
}

func (s *server) resend(ctx context.Context, in *deliveryInput) (*answer[api.Delivery], error) {
	if _, err := s.o.Store.Delivery(ctx, in.ID); err != nil {
		return nil, err
	}
	resent, err := s.o.Dispatcher.Resend(ctx, []webhook.DeliveryID{in.ID})
	if err != nil {
		return nil, err
	}
	if len(resent) == 0 {
		return nil, &problem{status: http.StatusConflict, code: "conflict", message: "The subscriber of this delivery has been removed."}
	}
	return &answer[api.Delivery]{wireDelivery(&resent[0])}, nil
}

func (s *server) replay(ctx context.Context, in *bodyInput) (*answer[api.Replayed], error) {
	var replay api.Replay
	faults, err := decode(in.RawBody, &replay)
	if err != nil {
		return nil, err
	}
	filter, filterFaults := deadFilter(replay.Filter, time.Now())
	for name, fault := range filterFaults {
		faults["filter."+name] = fault
	}
	if replay.IDs != nil && replay.Filter != (api.DeliveryFilter{}) {
		faults["ids"] = "takes the place of a filter; give one of them"
	}
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	var replayed api.Replayed
	take := func(deliveries []webhook.Delivery) error {
		replayed.Matched += len(deliveries)
		if replay.DryRun {
			return nil
		}
		ids := make([]webhook.DeliveryID, len(deliveries))
		for i := range deliveries {
			ids[i] = deliveries[i].ID
		}
		resent, err := s.o.Dispatcher.Resend(ctx, ids)
		replayed.Replayed += len(resent)
		return err
	}
	if replay.IDs != nil {
		err = s.eachNamed(ctx, replay.IDs, take)
	} else {
		err = s.eachPage(ctx, filter, take)
	}
	if err != nil {
		return nil, err
	}
	return &answer[api.Replayed]{replayed}, nil
}

// eachPage walks the list of deliveries to its end. What the visitor changes
// lies behind it, so nothing is visited twice.
func (s *server) eachPage(ctx context.Context, filter webhook.DeliveryFilter, visit func([]webhook.Delivery) error) error {
	page := webhook.Page{Limit: pageSize}
	for {
		deliveries, err := s.o.Store.Deliveries(ctx, filter, page)
		if err != nil {
			return err
		}
		if len(deliveries) > 0 {
			if err := visit(deliveries); err != nil {
				return err
			}
		}
		if len(deliveries) < page.Limit {
			return nil
		}
		page.Before = string(deliveries[len(deliveries)-1].ID)
	}
}

// eachNamed visits the dead letters with these ids. If one of them is none, it
// visits nothing and says so.
func (s *server) eachNamed(ctx context.Context, ids []webhook.DeliveryID, visit func([]webhook.Delivery) error) error {
	var deliveries []webhook.Delivery
	var others []string
	seen := map[webhook.DeliveryID]bool{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		switch d, err := s.o.Store.Delivery(ctx, id); {
		case err == nil && d.State == webhook.Dead:
			deliveries = append(deliveries, d)
		case err == nil || problemOf(err).status == http.StatusNotFound:
			others = append(others, string(id))
		default:
			return err
		}
	}
	if len(others) > 0 {
		return invalidRequest(webhook.FieldsError{"ids": "these are not dead letters: " + strings.Join(others, ", ")})
	}
	for len(deliveries) > 0 {
		n := min(pageSize, len(deliveries))
		if err := visit(deliveries[:n]); err != nil {
			return err
		}
		deliveries = deliveries[n:]
	}
	return nil
}

func wireDelivery(d *webhook.Delivery) api.Delivery {
	return api.Delivery{
		ID: d.ID, EventID: d.EventID, EventType: d.EventType, SubscriberID: d.SubscriberID, State: d.State,
		AttemptCount: d.Attempts, LastOutcome: d.LastOutcome, LastCode: d.LastCode,
		NextAttemptAt: api.Time{Time: d.NextAttemptAt}, CreatedAt: api.Time{Time: d.CreatedAt}, FinishedAt: api.Time{Time: d.FinishedAt},
	}
}

func wireAttempt(a *webhook.Attempt) api.Attempt {
	return api.Attempt{
		ID: a.ID(), Number: a.Number, StartedAt: api.Time{Time: a.StartedAt},
		DurationMS: float64(a.Duration.Microseconds()) / 1000, Outcome: a.Outcome, Code: a.Code,
		Error: strings.ToValidUTF8(a.Error, "\ufffd"), ResponseBody: strings.ToValidUTF8(string(a.ResponseBody), "\ufffd"),
	}
}
