// Package dispatch brings accepted events to their subscribers: it matches,
// keeps one bounded lane per subscriber, sends, judges the answers and
// schedules the retries.
//
// # How it is built
//
// One goroutine, the scheduler, owns all lanes. Others send it messages; it
// never waits for the disk or for a receiver. Fresh deliveries come to it
// straight from the caller of Publish, bodies included. What finds no room in
// its lane, and every retry, is left in the store; a lane knows when the first
// of those is due and has them fetched when there is room. So a slow subscriber
// fills its own lane and nobody else's, and memory is bounded.
//
// Workers send and judge. The recorder writes the results to the store, many in
// one commit. A delivery stays known to its lane until its result is durable,
// so that nothing is fetched, and sent, twice.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/sender"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// Options say how to dispatch. All fields without a stated default are needed.
type Options struct {
	Store  webhook.Store
	Logger *slog.Logger
	// Transport makes the requests; see [sender.NewTransport].
	Transport http.RoundTripper
	// Policy is for subscribers without a schedule of their own.
	Policy webhook.RetryPolicy
	// Timeout bounds a request to a subscriber without a timeout of its own.
	Timeout time.Duration
	// Concurrency is how many requests are in flight to a subscriber without a
	// bound of its own.
	Concurrency int
	// MaxInFlight is how many requests are in flight in all.
	MaxInFlight int
	// AgentID is sent as X-Agent-ID, if it is not empty.
	AgentID string
	// UserAgent is sent as User-Agent.
	UserAgent string
	// Observer is told what happens; may be nil.
	Observer Observer
	// Hold says when a subscriber is in an outage. Where it names no failures
	// none ever is.
	Hold webhook.HoldPolicy
	// Expressions judge filters and make transforms; nil: there are none, and
	// subscribers that have some are refused.
	Expressions *transform.Pool
	// FilterPatience is how long a publisher waits for all filters of an event
	// together; zero: 100 ms.
	FilterPatience time.Duration
	// Transforms are those of the configuration, in its order; see
	// [Dispatcher.SetTransforms].
	Transforms []webhook.Transform
	// Guard says where subscribers, and those that give them tokens, may be; nil:
	// anywhere.
	Guard *security.OutboundGuard
}

// An Observer is told what happens as it becomes known, by many goroutines at a
// time, which wait for it. What it is given is shared: it changes nothing, and
// keeps no Result.
type Observer interface {
	// Accepted is told of an event that was stored, or that was known before.
	Accepted(e *webhook.Event, deliveries int, duplicate bool)
	// Attempted is told of an attempt, and of what follows for its delivery,
	// unless a person has cancelled or resent that meanwhile.
	Attempted(e *webhook.Event, s *webhook.Subscriber, r *webhook.Result)
}

// A Dispatcher is the running part; Start starts it.
type Dispatcher struct {
	o         Options
	directory *directory
	scheduler *scheduler
	recorder  *recorder
	sender    *sender.Sender

	// changing is held while a subscriber is changed, so that store, directory
	// and lane see the changes in one order, and a change of a subscriber that
	// is being removed does not bring it back.
	changing sync.Mutex
	// moving is held while deliveries are resent or cancelled, so that store
	// and lanes see both in one order: a lane that saw them the other way round
	// would forget a delivery that is to be sent.
	moving sync.Mutex
	// fuses are the filters that are left to their lanes for a while.
	fuses fuses
	// outages are those of which the store does not know yet.
	outages outages
	// underWay counts the requests under way.
	underWay atomic.Int64

	stopping sync.Once
	work     sync.WaitGroup // what was started besides scheduler and recorder
	abort    context.CancelCauseFunc
	attempts context.Context // ends when attempts in flight are to be cut short
}

var (
	// errStopping is why an attempt was cut short.
	errStopping = errors.New("pintle is stopping")
	// errOverruled says that a person has changed the subscriber meanwhile.
	errOverruled = errors.New("the subscriber has changed")
)

// New returns a dispatcher that does nothing yet.
func New(o Options) *Dispatcher {
	o.FilterPatience = cmp.Or(o.FilterPatience, defaultPatience)
	d := &Dispatcher{o: o, directory: newDirectory(), sender: sender.New(sender.Options{
		Transport: o.Transport, Expressions: o.Expressions, Transforms: o.Transforms,
		Timeout: o.Timeout, AgentID: o.AgentID, UserAgent: o.UserAgent,
	})}
	d.attempts, d.abort = context.WithCancelCause(context.Background())
	d.recorder = newRecorder(o.Store, o.Logger, func(trials []trial) {
		d.scheduler.post(func() { d.scheduler.recorded(trials) })
	})
	d.scheduler = newScheduler(d)
	return d
}

// Start reads the subscribers and what is pending, and begins to send.
func (d *Dispatcher) Start(ctx context.Context) error {
	subscribers, err := d.o.Store.Subscribers(ctx)
	if err != nil {
		return fmt.Errorf("start dispatcher: %w", err)
	}
	backlog, err := d.o.Store.Backlog(ctx, webhook.SetBack{To: time.Now()})
	if err != nil {
		return fmt.Errorf("start dispatcher: %w", err)
	}
	for i := range subscribers {
		d.directory.put(&subscribers[i])
	}
	d.scheduler.post(func() {
		for id, b := range backlog {
			d.scheduler.backlog(id, b)
		}
	})
	go d.recorder.run()
	go d.scheduler.run()
	return nil
}

// Stop ends in this order: no new attempt begins; the ones in flight finish,
// until the context ends, when they are cut short; their results are recorded.
// Whatever was not sent stays pending in the store. A second call waits for the
// first.
func (d *Dispatcher) Stop(ctx context.Context) {
	d.stopping.Do(func() { d.stop(ctx) })
}

func (d *Dispatcher) stop(ctx context.Context) {
	idle := make(chan struct{})
	d.scheduler.post(func() { d.scheduler.drain(idle) })
	select {
	case <-idle:
	case <-ctx.Done():
		d.abort(errStopping)
		<-idle
	}
	d.abort(errStopping)
	d.scheduler.stop()
	d.work.Wait() // a worker says that it is done before it hands its result over
	d.recorder.stop()
	d.sender.CloseIdleConnections()
}

// SetTransforms replaces the transforms of the configuration. Deliveries of which
// something was sent already keep the body that they have.
func (d *Dispatcher) SetTransforms(transforms []webhook.Transform) {
	d.sender.SetTransforms(transforms)
}

// Publish stores the event with a delivery for each subscriber that receives it
// and begins to send them. It gives the event its id and time of receipt. When
// the key is taken nothing is stored, and the answer tells the first event.
func (d *Dispatcher) Publish(ctx context.Context, e webhook.Event, key webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error) {
	return d.publish(ctx, e, key, func(e *webhook.Event) []webhook.NewDelivery {
		return d.fanOut(ctx, e, d.directory.match(e), d.o.FilterPatience)
	})
}

// PublishTo is Publish, but to this subscriber only, whatever its patterns and its
// filter.
func (d *Dispatcher) PublishTo(ctx context.Context, e webhook.Event, key webhook.DedupeKey, to webhook.SubscriberID) (webhook.Accepted, []webhook.NewDelivery, error) {
	s, ok := d.directory.get(to)
	if !ok {
		return webhook.Accepted{}, nil, fmt.Errorf("publish event to %s: %w", to, webhook.ErrNotFound)
	}
	return d.publish(ctx, e, key, func(e *webhook.Event) []webhook.NewDelivery {
		return []webhook.NewDelivery{d.newDelivery(e, s)}
	})
}

// publish stores the event with the deliveries that are made of it.
func (d *Dispatcher) publish(ctx context.Context, e webhook.Event, key webhook.DedupeKey, fanOut func(*webhook.Event) []webhook.NewDelivery) (webhook.Accepted, []webhook.NewDelivery, error) {
	now := time.Now()
	e.ID, e.ReceivedAt = d.o.Store.IDs().Event(now), now
	deliveries := fanOut(&e)
	if len(deliveries) > 0 {
		// Before the store has them, so that a fetch that reads them from there
		// does not take them for its own.
		d.scheduler.post(func() { d.scheduler.announce(&e, deliveries) })
	}
	accepted, err := d.o.Store.Accept(ctx, []webhook.Accept{{Event: e, Key: key, Deliveries: deliveries}})
	stored := err == nil && !accepted[0].Duplicate
	if len(deliveries) > 0 {
		d.scheduler.post(func() { d.scheduler.accepted(&e, deliveries, stored) })
	}
	if err != nil {
		return webhook.Accepted{}, nil, fmt.Errorf("publish event: %w", err)
	}
	if !stored {
		d.observe(&e, &accepted[0], 0)
		return accepted[0], nil, nil
	}
	d.observe(&e, &accepted[0], len(deliveries))
	return accepted[0], deliveries, nil
}

// observe tells the observer of an event. The scheduler may still read the
// event, so that a repeat is told as the first one by a copy.
func (d *Dispatcher) observe(e *webhook.Event, accepted *webhook.Accepted, deliveries int) {
	if d.o.Observer == nil {
		return
	}
	if accepted.Duplicate {
		first := *e
		first.ID, first.Type, first.ReceivedAt = accepted.ID, accepted.Type, accepted.ReceivedAt
		e = &first
	}
	d.o.Observer.Accepted(e, deliveries, accepted.Duplicate)
}

// Subscriber returns the subscriber with this id.
func (d *Dispatcher) Subscriber(id webhook.SubscriberID) (webhook.Subscriber, bool) {
	s, ok := d.directory.get(id)
	if !ok {
		return webhook.Subscriber{}, false
	}
	return *s, true
}

// Subscribers returns all subscribers, the newest first. The list and what it
// points to are shared and must not be changed; nothing in them changes later.
func (d *Dispatcher) Subscribers() []*webhook.Subscriber { return d.directory.list() }

// Policy is when failed deliveries to the subscriber are tried again: the
// configured one where it has none of its own, or is not known.
func (d *Dispatcher) Policy(id webhook.SubscriberID) webhook.RetryPolicy {
	s, ok := d.directory.get(id)
	if !ok {
		return d.o.Policy
	}
	return d.policy(s)
}

func (d *Dispatcher) policy(s *webhook.Subscriber) webhook.RetryPolicy {
	policy := d.o.Policy
	if len(s.Schedule) > 0 {
		policy.Retries, policy.Schedule = len(s.Schedule), s.Schedule
	}
	return policy
}

// InFlight is how many requests are under way.
func (d *Dispatcher) InFlight() int { return int(d.underWay.Load()) }

// AddSubscriber stores a new subscriber, which receives events from now on. It
// gives it its id and times. Bad input is a [webhook.FieldsError].
func (d *Dispatcher) AddSubscriber(ctx context.Context, s webhook.Subscriber) (webhook.Subscriber, error) {
	now := time.Now()
	s.ID, s.CreatedAt, s.UpdatedAt = d.o.Store.IDs().Subscriber(now), now, now
	if err := s.Validate(); err != nil {
		return s, err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	if err := d.o.Store.PutSubscriber(ctx, s); err != nil {
		return s, fmt.Errorf("add subscriber: %w", err)
	}
	d.directory.put(&s)
	return s, nil
}

// UpdateSubscriber applies the change to the subscriber and stores it. What is
// waiting for it goes on under its new terms. An error of the change, or bad
// input, leaves the subscriber as it was.
func (d *Dispatcher) UpdateSubscriber(ctx context.Context, id webhook.SubscriberID, change func(*webhook.Subscriber) error) (webhook.Subscriber, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	old, ok := d.directory.get(id)
	if !ok {
		return webhook.Subscriber{}, fmt.Errorf("update subscriber %s: %w", id, webhook.ErrNotFound)
	}
	s := *old
	// What the directory holds is shared, and a change may write into these.
	s.OldSecrets, s.Events, s.Schedule, s.Headers = slices.Clone(s.OldSecrets), slices.Clone(s.Events), slices.Clone(s.Schedule), maps.Clone(s.Headers)
	s.OAuth2.Scopes = slices.Clone(s.OAuth2.Scopes)
	if err := change(&s); err != nil {
		return s, err
	}
	s.ID, s.CreatedAt, s.UpdatedAt = old.ID, old.CreatedAt, time.Now()
	if repaired(old, &s) {
		s.FailingSince = time.Time{} // see health.changed
	}
	if err := s.ValidateChange(old); err != nil {
		return s, err
	}
	if err := d.o.Store.PutSubscriber(ctx, s); err != nil {
		return s, fmt.Errorf("update subscriber %s: %w", id, err)
	}
	d.directory.put(&s)
	d.scheduler.post(func() { d.scheduler.changed(&s) })
	return s, nil
}

// RemoveSubscriber removes the subscriber and cancels what waits for it.
func (d *Dispatcher) RemoveSubscriber(ctx context.Context, id webhook.SubscriberID) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	if err := d.o.Store.RemoveSubscriber(ctx, id, time.Now()); err != nil {
		return fmt.Errorf("remove subscriber %s: %w", id, err)
	}
	d.directory.remove(id)
	d.scheduler.post(func() { d.scheduler.removed(id) })
	return nil
}

// Resend sends deliveries again, with their whole schedule before them: the
// first at the time, each further one so much later. It returns those that it
// took up; see [webhook.Store].
func (d *Dispatcher) Resend(ctx context.Context, ids []webhook.DeliveryID, first time.Time, every time.Duration) ([]webhook.Delivery, error) {
	d.moving.Lock()
	defer d.moving.Unlock()
	resent, err := d.o.Store.Resend(ctx, ids, first, every)
	if err != nil {
		return nil, fmt.Errorf("resend deliveries: %w", err)
	}
	d.scheduler.post(func() {
		now := time.Now()
		for i := range resent {
			d.scheduler.resent(&resent[i], now)
		}
	})
	return resent, nil
}

// Cancel gives up what is pending of these, and returns it. An attempt that is
// under way ends, and is history; nothing follows from it.
func (d *Dispatcher) Cancel(ctx context.Context, ids []webhook.DeliveryID) ([]webhook.Delivery, error) {
	d.moving.Lock()
	defer d.moving.Unlock()
	cancelled, err := d.o.Store.Cancel(ctx, ids, time.Now())
	if err != nil {
		return nil, fmt.Errorf("cancel deliveries: %w", err)
	}
	d.scheduler.post(func() {
		now := time.Now()
		for i := range cancelled {
			d.scheduler.cancelled(&cancelled[i], now)
		}
	})
	return cancelled, nil
}

// Purge deletes dead letters with their attempts, and returns how many there were.
// What waited behind one of them goes on.
func (d *Dispatcher) Purge(ctx context.Context, ids []webhook.DeliveryID) (int, error) {
	purged, err := d.o.Store.Purge(ctx, ids)
	if err != nil || purged == 0 {
		return purged, err
	}
	d.scheduler.post(func() {
		now := time.Now()
		for _, s := range d.directory.list() {
			if s.Ordered != "" {
				d.scheduler.backlog(s.ID, webhook.Backlog{Fresh: now})
			}
		}
	})
	return purged, nil
}

// Replay makes new deliveries of stored events, which it gives their ids, and
// returns those that it made.
func (d *Dispatcher) Replay(ctx context.Context, replays []webhook.Replay) ([]webhook.Delivery, error) {
	ids, now := d.o.Store.IDs(), time.Now()
	replays = slices.Clone(replays)
	for i := range replays {
		replays[i].Delivery.ID = ids.Delivery(now)
	}
	made, err := d.o.Store.Replay(ctx, replays)
	if err != nil {
		return nil, fmt.Errorf("replay events: %w", err)
	}
	d.scheduler.post(func() {
		for i := range made {
			d.scheduler.backlog(made[i].SubscriberID, webhook.Backlog{Fresh: made[i].NextAttemptAt})
		}
	})
	return made, nil
}
