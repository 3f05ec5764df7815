package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

// aboutPages is said of every list that can be searched.
const aboutPages = "A search that finds little stops after a bounded number of rows: a page may have fewer items than asked for, even none, and still have a next_cursor."

func (s *server) registerDeliveries() {
	tags := []string{"deliveries"}
	const path = api.Prefix + "/deliveries"
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "list-deliveries", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List deliveries", Description: aboutPages,
	}, s.listDeliveries)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "show-delivery", Method: http.MethodGet, Path: path + "/{id}", Tags: tags,
		Summary: "Show a delivery with its attempts",
	}, s.showDelivery)
	register(s, webhook.Operator, huma.Operation{
		OperationID: "resend-delivery", Method: http.MethodPost, Path: path + "/{id}/resend", Tags: tags,
		Summary:     "Send a delivery again",
		Description: "It is due at once and has its whole schedule before it.",
	}, s.resend)
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "explain-delivery", Method: http.MethodGet, Path: path + "/{id}/explain", Tags: tags,
		Summary:     "Say what became of a delivery, and what comes next",
		Description: "What is planned is so by the present terms of the subscriber.",
	}, s.explainDelivery)
	cancel := body[api.Cancel](s)
	cancel.Required = true
	register(s, webhook.Operator, huma.Operation{
		OperationID: "cancel-deliveries", Method: http.MethodPost, Path: path + "/cancel", Tags: tags,
		Summary: "Give up the pending deliveries that a filter selects", RequestBody: cancel,
		Description: "An empty filter selects all that are pending. What is cut short has given up the newest, and can be repeated.",
	}, s.cancelDeliveries)
	register(s, webhook.Operator, huma.Operation{
		OperationID: "cancel-delivery", Method: http.MethodPost, Path: path + "/{id}/cancel", Tags: tags,
		Summary:     "Give up a pending delivery",
		Description: "An attempt that is under way ends, and is history. A resend takes the delivery up again.",
	}, s.cancel)
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
	filter, faults := query.Deliveries(in.DeliveryFilter, time.Now(), s.named)
	return s.pageOfDeliveries(ctx, filter, faults, in.PageQuery)
}

func (s *server) pageOfDeliveries(ctx context.Context, filter webhook.DeliveryFilter, faults webhook.FieldsError, page api.PageQuery) (*answer[api.List[api.Delivery]], error) {
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	return list(s, page, webhook.DeliveryPrefix,
		func(page webhook.Page) (webhook.List[webhook.Delivery], error) {
			return s.o.Store.Deliveries(ctx, filter, page)
		},
		s.wireDelivery)
}

func (s *server) showDelivery(ctx context.Context, in *deliveryInput) (*answer[api.DeliveryDetail], error) {
	d, err := webhook.FindDelivery(ctx, s.o.Store, in.ID)
	if err != nil {
		return nil, err
	}
	e, err := s.o.Store.Event(ctx, d.EventID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.o.Store.Attempts(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	detail := api.DeliveryDetail{
		Delivery: s.wireDelivery(&d), Spent: d.Spent, Schedule: []api.Duration{},
		RequestBody: string(e.Body()), Unjudged: d.Unjudged, Attempts: make([]api.Attempt, len(attempts)),
	}
	if d.Body != nil {
		detail.RequestBody, detail.Transformed = valid(string(d.Body)), true
	}
	if sub, ok := s.o.Dispatcher.Subscriber(d.SubscriberID); ok {
		detail.URL = sub.URL
	}
	for _, wait := range s.o.Dispatcher.Policy(d.SubscriberID).Waits() {
		detail.Schedule = append(detail.Schedule, api.Duration(wait))
	}
	for i := range attempts {
		detail.Attempts[i] = wireAttempt(&attempts[i])
	}
	return &answer[api.DeliveryDetail]{detail}, nil
}

func (s *server) resend(ctx context.Context, in *deliveryInput) (*answer[api.Delivery], error) {
	if _, err := webhook.FindDelivery(ctx, s.o.Store, in.ID); err != nil {
		return nil, err
	}
	resent, err := s.o.Dispatcher.Resend(ctx, []webhook.DeliveryID{in.ID}, time.Now(), 0)
	if err != nil {
		return nil, err
	}
	if len(resent) == 0 {
		return nil, conflict("The subscriber of this delivery has been removed.")
	}
	return &answer[api.Delivery]{s.wireDelivery(&resent[0])}, nil
}

func (s *server) cancel(ctx context.Context, in *deliveryInput) (*answer[api.Delivery], error) {
	cancelled, err := s.o.Dispatcher.Cancel(ctx, []webhook.DeliveryID{in.ID})
	if err != nil {
		return nil, err
	}
	if len(cancelled) == 0 {
		d, err := webhook.FindDelivery(ctx, s.o.Store, in.ID)
		if err != nil {
			return nil, err
		}
		return nil, conflict("Only a pending delivery can be cancelled; this one is " + string(d.State) + ".")
	}
	return &answer[api.Delivery]{s.wireDelivery(&cancelled[0])}, nil
}

func (s *server) cancelDeliveries(ctx context.Context, in *bodyInput) (*answer[api.Cancelled], error) {
	var cancel api.Cancel
	faults, err := decode(in.RawBody, &cancel)
	if err != nil {
		return nil, err
	}
	filter, filterFaults := query.Pending(cancel.Filter, time.Now(), s.named)
	for name, fault := range filterFaults {
		faults["filter."+name] = fault
	}
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	var cancelled api.Cancelled
	err = s.eachSelected(ctx, filter, func(ids []webhook.DeliveryID) error {
		cancelled.Matched += len(ids)
		if cancel.DryRun {
			return nil
		}
		some, err := s.o.Dispatcher.Cancel(ctx, ids)
		cancelled.Cancelled += len(some)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &answer[api.Cancelled]{cancelled}, nil
}

// eachSelected visits the deliveries that the filter selects, the newest first and
// a page at a time. What the visitor changes lies behind it, so nothing is visited
// twice.
func (s *server) eachSelected(ctx context.Context, filter webhook.DeliveryFilter, visit func([]webhook.DeliveryID) error) error {
	for page := (webhook.Page{Limit: pageSize}); ; {
		found, err := s.o.Store.Deliveries(ctx, filter, page)
		if err != nil {
			return err
		}
		ids := make([]webhook.DeliveryID, len(found.Items))
		for i := range found.Items {
			ids[i] = found.Items[i].ID
		}
		if len(ids) > 0 {
			if err := visit(ids); err != nil {
				return err
			}
		}
		if page.Before = found.Next; page.Before == "" {
			return nil
		}
	}
}

func conflict(message string) *problem {
	return &problem{status: http.StatusConflict, code: "conflict", message: message}
}

func (s *server) wireDelivery(d *webhook.Delivery) api.Delivery {
	wire := api.Delivery{
		ID: d.ID, EventID: d.EventID, EventType: d.EventType, SubscriberID: d.SubscriberID, State: d.State,
		AttemptCount: d.Attempts, LastOutcome: d.LastOutcome, LastCode: d.LastCode,
		LastError: valid(d.LastError), LastDurationMS: api.Millis(d.LastDuration),
		NextAttemptAt: api.Time{Time: d.NextAttemptAt}, OrderKey: valid(d.OrderKey), Fingerprint: valid(d.Fingerprint), CreatedAt: api.Time{Time: d.CreatedAt}, FinishedAt: api.Time{Time: d.FinishedAt},
	}
	if sub, ok := s.o.Dispatcher.Subscriber(d.SubscriberID); ok {
		wire.SubscriberName, wire.SubscriberPaused, wire.SubscriberHeld = sub.Name(), !sub.Active, s.o.Dispatcher.Held(&sub)
	}
	return wire
}

func wireAttempt(a *webhook.Attempt) api.Attempt {
	return api.Attempt{
		ID: a.ID(), Number: a.Number, StartedAt: api.Time{Time: a.StartedAt},
		DurationMS: api.Millis(a.Duration), Outcome: a.Outcome, Code: a.Code,
		Error: valid(a.Error), RemoteAddr: a.RemoteAddr,
		RequestHeader: wireHeader(a.RequestHeader), ResponseHeader: wireHeader(a.ResponseHeader),
		Timing: api.Timing{
			DNS: api.Millis(a.Timing.DNS), Connect: api.Millis(a.Timing.Connect), TLS: api.Millis(a.Timing.TLS), Wait: api.Millis(a.Timing.Wait),
		},
		ResponseBody: valid(string(a.ResponseBody)),
	}
}

// valid is the text in UTF-8: what is not in it is replaced.
func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

func wireHeader(b webhook.HeaderBlock) []api.Header {
	var header []api.Header
	for name, value := range b.All() {
		header = append(header, api.Header{Name: valid(name), Value: valid(value)})
	}
	return header
}
