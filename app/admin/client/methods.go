package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// Every method returns an [*Error] where the API refused the request, an error
// that wraps [ErrNotRunning] where nobody is there, and any other where the
// answer did not come.

// Publish hands an event over. When it returns, the event and its deliveries
// are durable.
func (c *Client) Publish(ctx context.Context, p api.Publish) (api.Published, error) {
	return send[api.Published](ctx, c, http.MethodPost, "/events", p)
}

// Events returns events, the newest first, and at most limit of them; zero: all.
func (c *Client) Events(ctx context.Context, filter api.EventFilter, limit int) iter.Seq2[api.Event, error] {
	return each(limit, func(page api.PageQuery) (api.List[api.Event], error) { return c.EventsPage(ctx, filter, page) })
}

// EventsPage returns one page of events, the newest first.
func (c *Client) EventsPage(ctx context.Context, filter api.EventFilter, page api.PageQuery) (api.List[api.Event], error) {
	return get[api.List[api.Event]](ctx, c, "/events", values(filter, page))
}

// Event returns one event with its data and deliveries.
func (c *Client) Event(ctx context.Context, id webhook.EventID) (api.EventDetail, error) {
	return get[api.EventDetail](ctx, c, "/events/"+url.PathEscape(string(id)), nil)
}

// Subscribers returns subscribers, the newest first, and at most limit of them;
// zero: all.
func (c *Client) Subscribers(ctx context.Context, limit int) iter.Seq2[api.Subscriber, error] {
	return each(limit, func(page api.PageQuery) (api.List[api.Subscriber], error) { return c.SubscribersPage(ctx, page) })
}

// SubscribersPage returns one page of subscribers, the newest first.
func (c *Client) SubscribersPage(ctx context.Context, page api.PageQuery) (api.List[api.Subscriber], error) {
	return get[api.List[api.Subscriber]](ctx, c, "/subscribers", values(page))
}

// Subscriber returns one subscriber.
func (c *Client) Subscriber(ctx context.Context, id webhook.SubscriberID) (api.Subscriber, error) {
	return get[api.Subscriber](ctx, c, subscriberPath(id), nil)
}

// AddSubscriber adds a subscriber and returns it with its secret.
func (c *Client) AddSubscriber(ctx context.Context, fields api.SubscriberChange) (api.Subscriber, error) {
	return send[api.Subscriber](ctx, c, http.MethodPost, "/subscribers", fields)
}

// UpdateSubscriber changes the fields that are not nil.
func (c *Client) UpdateSubscriber(ctx context.Context, id webhook.SubscriberID, fields api.SubscriberChange) (api.Subscriber, error) {
	return send[api.Subscriber](ctx, c, http.MethodPatch, subscriberPath(id), fields)
}

// RemoveSubscriber removes the subscriber and cancels what waits for it.
func (c *Client) RemoveSubscriber(ctx context.Context, id webhook.SubscriberID) error {
	return c.call(ctx, http.MethodDelete, api.Prefix+subscriberPath(id), nil, nil, nil)
}

// PauseSubscriber pauses the subscriber; the reason may be empty.
func (c *Client) PauseSubscriber(ctx context.Context, id webhook.SubscriberID, reason string) (api.Subscriber, error) {
	return send[api.Subscriber](ctx, c, http.MethodPost, subscriberPath(id)+"/pause", api.Pause{Reason: reason})
}

// ResumeSubscriber resumes the subscriber.
func (c *Client) ResumeSubscriber(ctx context.Context, id webhook.SubscriberID) (api.Subscriber, error) {
	return send[api.Subscriber](ctx, c, http.MethodPost, subscriberPath(id)+"/resume", nil)
}

// SubscriberSecret returns the secret of the subscriber.
func (c *Client) SubscriberSecret(ctx context.Context, id webhook.SubscriberID) (webhook.Secret, error) {
	answer, err := send[api.Secret](ctx, c, http.MethodPost, subscriberPath(id)+"/secret", nil)
	return webhook.Secret(answer.Secret), err
}

// SourceSecret returns the newest secret of the source with this name.
func (c *Client) SourceSecret(ctx context.Context, name string) (webhook.Secret, error) {
	answer, err := get[api.Secret](ctx, c, "/sources/"+url.PathEscape(name)+"/secret", nil)
	return webhook.Secret(answer.Secret), err
}

// Deliveries returns deliveries, the newest first, and at most limit of them;
// zero: all.
func (c *Client) Deliveries(ctx context.Context, filter api.DeliveryFilter, limit int) iter.Seq2[api.Delivery, error] {
	return each(limit, func(page api.PageQuery) (api.List[api.Delivery], error) { return c.DeliveriesPage(ctx, filter, page) })
}

// DeliveriesPage returns one page of deliveries, the newest first.
func (c *Client) DeliveriesPage(ctx context.Context, filter api.DeliveryFilter, page api.PageQuery) (api.List[api.Delivery], error) {
	return get[api.List[api.Delivery]](ctx, c, "/deliveries", values(filter, page))
}

// Delivery returns one delivery with its attempts.
func (c *Client) Delivery(ctx context.Context, id webhook.DeliveryID) (api.DeliveryDetail, error) {
	return get[api.DeliveryDetail](ctx, c, "/deliveries/"+url.PathEscape(string(id)), nil)
}

// Resend sends one delivery again.
func (c *Client) Resend(ctx context.Context, id webhook.DeliveryID) (api.Delivery, error) {
	return send[api.Delivery](ctx, c, http.MethodPost, "/deliveries/"+url.PathEscape(string(id))+"/resend", nil)
}

// DeadLetters returns dead letters, the newest first, and at most limit of
// them; zero: all.
func (c *Client) DeadLetters(ctx context.Context, filter api.DeliveryFilter, limit int) iter.Seq2[api.Delivery, error] {
	return each(limit, func(page api.PageQuery) (api.List[api.Delivery], error) { return c.DeadLettersPage(ctx, filter, page) })
}

// DeadLettersPage returns one page of dead letters, the newest first.
func (c *Client) DeadLettersPage(ctx context.Context, filter api.DeliveryFilter, page api.PageQuery) (api.List[api.Delivery], error) {
	return get[api.List[api.Delivery]](ctx, c, "/dead-letters", values(filter, page))
}

// CancelDeliveries gives up pending deliveries, or only counts them.
func (c *Client) CancelDeliveries(ctx context.Context, cancel api.Cancel) (api.Cancelled, error) {
	return send[api.Cancelled](ctx, c, http.MethodPost, "/deliveries/cancel", cancel)
}

// ExplainDelivery says what became of a delivery, and what comes next.
func (c *Client) ExplainDelivery(ctx context.Context, id webhook.DeliveryID) (api.DeliveryExplanation, error) {
	return get[api.DeliveryExplanation](ctx, c, "/deliveries/"+url.PathEscape(string(id))+"/explain", nil)
}

// ExplainEvent says what became of an event: for one subscriber, or, where its
// id is empty, for all.
func (c *Client) ExplainEvent(ctx context.Context, id webhook.EventID, subscriber webhook.SubscriberID) (api.EventExplanation, error) {
	query := url.Values{}
	if subscriber != "" {
		query.Set("subscriber", string(subscriber))
	}
	return get[api.EventExplanation](ctx, c, "/events/"+url.PathEscape(string(id))+"/explain", query)
}

// DeadGroups returns the dead letters by subscriber and cause, the largest group
// first.
func (c *Client) DeadGroups(ctx context.Context) ([]api.DeadGroup, error) {
	list, err := get[api.List[api.DeadGroup]](ctx, c, "/dead-letters/groups", nil)
	return list.Items, err
}

// ReplayDeadLetters sends dead letters again, or only counts them.
func (c *Client) ReplayDeadLetters(ctx context.Context, replay api.DeadReplay) (api.Replayed, error) {
	return send[api.Replayed](ctx, c, http.MethodPost, "/dead-letters/replay", replay)
}

// PurgeDeadLetters deletes dead letters for good, or only counts them.
func (c *Client) PurgeDeadLetters(ctx context.Context, purge api.DeadFilter) (api.Purged, error) {
	return send[api.Purged](ctx, c, http.MethodDelete, "/dead-letters", purge)
}

// ReplayEvent makes new deliveries of one event, for one subscriber or, with an
// empty id, for all that receive it.
func (c *Client) ReplayEvent(ctx context.Context, id webhook.EventID, to webhook.SubscriberID) (api.Replayed, error) {
	return send[api.Replayed](ctx, c, http.MethodPost, "/events/"+url.PathEscape(string(id))+"/replay", api.ReplayTo{Subscriber: to})
}

// ReplayEvents makes new deliveries of the events that the filter selects, or
// only counts these.
func (c *Client) ReplayEvents(ctx context.Context, replay api.EventReplay) (api.Replayed, error) {
	return send[api.Replayed](ctx, c, http.MethodPost, "/replays", replay)
}

// Cancel gives up a pending delivery.
func (c *Client) Cancel(ctx context.Context, id webhook.DeliveryID) (api.Delivery, error) {
	return send[api.Delivery](ctx, c, http.MethodPost, "/deliveries/"+url.PathEscape(string(id))+"/cancel", nil)
}

// RotateSecret replaces the secret of a subscriber and returns it with the new
// one.
func (c *Client) RotateSecret(ctx context.Context, id webhook.SubscriberID, rotation api.Rotation) (api.Subscriber, error) {
	return send[api.Subscriber](ctx, c, http.MethodPost, subscriberPath(id)+"/rotate-secret", rotation)
}

// TestSubscriber sends a test event to one subscriber.
func (c *Client) TestSubscriber(ctx context.Context, id webhook.SubscriberID) (api.Published, error) {
	return send[api.Published](ctx, c, http.MethodPost, subscriberPath(id)+"/test", nil)
}

// Stats returns how the appliance does.
func (c *Client) Stats(ctx context.Context) (api.Stats, error) {
	return get[api.Stats](ctx, c, "/stats", nil)
}

// Tail yields what happens from now on, until the context ends or the
// connection does; an error is the last thing it yields.
func (c *Client) Tail(ctx context.Context, query api.TailQuery) iter.Seq2[api.Happening, error] {
	return c.tail(ctx, query)
}

// Tokens returns all tokens, the newest first.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	tokens := []api.Token{}
	for token, err := range each(0, func(page api.PageQuery) (api.List[api.Token], error) {
		return get[api.List[api.Token]](ctx, c, "/tokens", values(page))
	}) {
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// CreateToken makes a token and returns it with its text.
func (c *Client) CreateToken(ctx context.Context, t api.NewToken) (api.Token, error) {
	return send[api.Token](ctx, c, http.MethodPost, "/tokens", t)
}

// RevokeToken makes a token invalid.
func (c *Client) RevokeToken(ctx context.Context, id webhook.TokenID) error {
	return c.call(ctx, http.MethodDelete, api.Prefix+"/tokens/"+url.PathEscape(string(id)), nil, nil, nil)
}

// SandboxSend has the appliance post an event to its own inbound endpoint.
func (c *Client) SandboxSend(ctx context.Context, s api.SandboxSend) (api.SandboxAnswer, error) {
	return send[api.SandboxAnswer](ctx, c, http.MethodPost, "/sandbox/send", s)
}

// Samples returns events to begin with, one of each type.
func (c *Client) Samples(ctx context.Context) ([]api.Sample, error) {
	list, err := get[api.List[api.Sample]](ctx, c, "/sandbox/samples", nil)
	return list.Items, err
}

// Alive returns nil when the process answers.
func (c *Client) Alive(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/healthz", nil, nil, nil)
}

// Ready tells that the appliance can store and deliver, and what works worse
// than it should; an [*Error] says why it cannot.
func (c *Client) Ready(ctx context.Context) (api.Alive, error) {
	var out api.Alive
	err := c.call(ctx, http.MethodGet, "/readyz", nil, nil, &out)
	return out, err
}

func subscriberPath(id webhook.SubscriberID) string {
	return "/subscribers/" + url.PathEscape(string(id))
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, api.Prefix+path, query, nil, &out)
	return out, err
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	err := c.call(ctx, method, api.Prefix+path, nil, body, &out)
	return out, err
}

// each follows the cursors of a list to its end, or until there are limit
// items: a page may have fewer than asked for, even none, and go on. After an
// error it ends.
func each[T any](limit int, fetch func(api.PageQuery) (api.List[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		page := api.PageQuery{Limit: api.MaxLimit}
		for left := limit; ; {
			if limit > 0 {
				page.Limit = min(left, api.MaxLimit)
			}
			list, err := fetch(page)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range list.Items {
				if !yield(item, nil) {
					return
				}
			}
			left -= len(list.Items)
			page.Cursor = list.NextCursor
			if page.Cursor == "" || limit > 0 && left <= 0 {
				return
			}
		}
	}
}

// Rejections returns refused requests, the newest first, and at most limit of
// them; zero: all.
func (c *Client) Rejections(ctx context.Context, filter api.RejectionFilter, limit int) iter.Seq2[api.Rejection, error] {
	return each(limit, func(page api.PageQuery) (api.List[api.Rejection], error) { return c.RejectionsPage(ctx, filter, page) })
}

// RejectionsPage returns one page of refused requests, the newest first.
func (c *Client) RejectionsPage(ctx context.Context, filter api.RejectionFilter, page api.PageQuery) (api.List[api.Rejection], error) {
	return get[api.List[api.Rejection]](ctx, c, "/rejections", values(filter, page))
}

// Rejection returns one refused request with all that is known of it.
func (c *Client) Rejection(ctx context.Context, id webhook.RejectionID) (api.RejectionDetail, error) {
	return get[api.RejectionDetail](ctx, c, "/rejections/"+url.PathEscape(string(id)), nil)
}

// Sources returns the inbound endpoints, in their order.
func (c *Client) Sources(ctx context.Context) ([]api.Source, error) {
	list, err := get[api.List[api.Source]](ctx, c, "/sources", nil)
	return list.Items, err
}
