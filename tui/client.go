package tui

import (
	"context"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// A Client is the appliance as the dashboard knows it. The client of the admin
// API is one.
type Client interface {
	Stats(ctx context.Context) (api.Stats, error)

	EventsPage(ctx context.Context, filter api.EventFilter, page api.PageQuery) (api.List[api.Event], error)
	Event(ctx context.Context, id webhook.EventID) (api.EventDetail, error)
	ReplayEvent(ctx context.Context, id webhook.EventID, to webhook.SubscriberID) (api.Replayed, error)
	ReplayEvents(ctx context.Context, replay api.EventReplay) (api.Replayed, error)

	DeliveriesPage(ctx context.Context, filter api.DeliveryFilter, page api.PageQuery) (api.List[api.Delivery], error)
	Delivery(ctx context.Context, id webhook.DeliveryID) (api.DeliveryDetail, error)
	Resend(ctx context.Context, id webhook.DeliveryID) (api.Delivery, error)
	Cancel(ctx context.Context, id webhook.DeliveryID) (api.Delivery, error)
	CancelDeliveries(ctx context.Context, cancel api.Cancel) (api.Cancelled, error)
	ExplainDelivery(ctx context.Context, id webhook.DeliveryID) (api.DeliveryExplanation, error)
	ExplainEvent(ctx context.Context, id webhook.EventID, subscriber webhook.SubscriberID) (api.EventExplanation, error)

	SubscribersPage(ctx context.Context, page api.PageQuery) (api.List[api.Subscriber], error)
	Subscriber(ctx context.Context, id webhook.SubscriberID) (api.Subscriber, error)
	AddSubscriber(ctx context.Context, fields api.SubscriberChange) (api.Subscriber, error)
	UpdateSubscriber(ctx context.Context, id webhook.SubscriberID, fields api.SubscriberChange) (api.Subscriber, error)
	RemoveSubscriber(ctx context.Context, id webhook.SubscriberID) error
	PauseSubscriber(ctx context.Context, id webhook.SubscriberID, reason string) (api.Subscriber, error)
	ResumeSubscriber(ctx context.Context, id webhook.SubscriberID) (api.Subscriber, error)
	RotateSecret(ctx context.Context, id webhook.SubscriberID, rotation api.Rotation) (api.Subscriber, error)
	SubscriberSecret(ctx context.Context, id webhook.SubscriberID) (webhook.Secret, error)
	TestSubscriber(ctx context.Context, id webhook.SubscriberID) (api.Published, error)

	RejectionsPage(ctx context.Context, filter api.RejectionFilter, page api.PageQuery) (api.List[api.Rejection], error)
	Rejection(ctx context.Context, id webhook.RejectionID) (api.RejectionDetail, error)

	DeadGroups(ctx context.Context) ([]api.DeadGroup, error)
	ReplayDeadLetters(ctx context.Context, replay api.DeadReplay) (api.Replayed, error)
	PurgeDeadLetters(ctx context.Context, purge api.DeadFilter) (api.Purged, error)

	Samples(ctx context.Context) ([]api.Sample, error)
	SandboxSend(ctx context.Context, s api.SandboxSend) (api.SandboxAnswer, error)
}
