package webhook

import (
	"context"
	"fmt"
	"time"
)

// Store keeps everything that Pintle knows. Each method is one transaction:
// when it returns nil, what it did is durable as far as storage.synchronous
// promises, and when it returns an error nothing was done. A method that finds
// the thing it was asked for missing returns [ErrNotFound]; a write that the
// disk has no room for returns [ErrStorageFull].
//
// Time comes in as an argument and is kept to the millisecond; an engine reads
// no clock of its own. Every method is safe for concurrent use, and the
// package storagetest holds each engine to what is said here.
type Store interface {
	// IDs returns the maker of this installation's ids.
	IDs() *IDs

	// Accept stores events, each with its dedupe key and its deliveries, and
	// answers in the order of its argument. An event whose key is taken is not
	// stored; the answer then tells the first event of that key, be it stored
	// long ago or earlier in the same call. A delivery to a subscriber that has
	// been removed meanwhile is not made. Concurrent calls share a commit; when
	// too many wait for one, it returns [ErrOverloaded].
	Accept(ctx context.Context, accepts []Accept) ([]Accepted, error)

	// Record stores the results of attempts and moves their deliveries on. A
	// delivery that was cancelled or resent meanwhile stays as that left it,
	// and a result for one that is gone is dropped.
	Record(ctx context.Context, results []Result) error

	// Due returns deliveries that are due, in the order in which they fell due;
	// and when the first that it did not return falls due, zero if there is
	// none.
	Due(ctx context.Context, query DueQuery) (jobs []Job, next time.Time, err error)

	// Backlog returns, for each subscriber with pending deliveries, when the
	// first of them are due. Before that it makes good for a clock that was set
	// back, which would keep them waiting for a time that has been already: they
	// become due as much sooner, though not before it is now. Where it is to find out
	// by itself whether the clock was set back, it makes good for that once only; and so
	// it does where it is told so, if it is told again in the same words.
	Backlog(ctx context.Context, clock SetBack) (map[SubscriberID]Backlog, error)

	// Resend makes deliveries due, with their whole schedule before them: the
	// first at the time, and each further one so much later. One that is
	// pending already loses its wait. It returns those that it changed, without
	// the ones that are not stored or whose subscriber is gone.
	Resend(ctx context.Context, deliveries []DeliveryID, first time.Time, every time.Duration) ([]Delivery, error)

	// Replay makes new deliveries of stored events, each due at its own time,
	// and returns those that it made: none for an event that is not stored, nor
	// for a subscriber that is gone.
	Replay(ctx context.Context, replays []Replay) ([]Delivery, error)

	// Cancel ends deliveries that are pending, and returns those that it ended.
	Cancel(ctx context.Context, deliveries []DeliveryID, now time.Time) ([]Delivery, error)

	// Purge deletes dead letters with their attempts and returns how many
	// there were; deliveries in another state stay.
	Purge(ctx context.Context, deliveries []DeliveryID) (int, error)

	// PutSubscriber stores a subscriber, in place of the one with its id.
	PutSubscriber(ctx context.Context, s Subscriber) error
	// RemoveSubscriber removes the subscriber and cancels its pending
	// deliveries; its history stays.
	RemoveSubscriber(ctx context.Context, id SubscriberID, now time.Time) error
	// Subscribers returns all subscribers, the newest first.
	Subscribers(ctx context.Context) ([]Subscriber, error)

	// Event returns one event.
	Event(ctx context.Context, id EventID) (Event, error)
	// Events returns a page of events, the newest first, without their data.
	Events(ctx context.Context, filter EventFilter, page Page) (List[EventSummary], error)
	// Deliveries returns a page of deliveries, the newest first.
	Deliveries(ctx context.Context, filter DeliveryFilter, page Page) (List[Delivery], error)
	// Attempts returns the attempts of a delivery, the first one first.
	Attempts(ctx context.Context, id DeliveryID) ([]Attempt, error)

	// Reject keeps refused requests. Of all that it keeps, the oldest go when
	// there are more than [MaxRejections] of them, or more than
	// [MaxRejectionBytes]. When too many writes wait, it returns
	// [ErrOverloaded].
	Reject(ctx context.Context, rejections []Rejection) error
	// Rejections returns a page of rejections, the newest first.
	Rejections(ctx context.Context, filter RejectionFilter, page Page) (List[Rejection], error)

	// Stats returns what was counted. Its cost does not grow with the history.
	Stats(ctx context.Context, query StatsQuery) (Stats, error)

	// Tokens returns all tokens, the newest first.
	Tokens(ctx context.Context) ([]Token, error)
	// PutToken stores a token, in place of the one with its id.
	PutToken(ctx context.Context, t Token) error

	// Setting returns the value kept under the name, or [ErrNotFound].
	Setting(ctx context.Context, name string) (string, error)
	// PutSetting keeps a value under a name.
	PutSetting(ctx context.Context, name, value string) error

	// Check returns nil when the store can be written to, and added to.
	Check(ctx context.Context) error
	// Close finishes what is being written and closes the store; whatever
	// comes later gets [ErrClosed].
	Close() error
}

// FindDelivery returns one delivery, or an error that wraps [ErrNotFound].
func FindDelivery(ctx context.Context, s Store, id DeliveryID) (Delivery, error) {
	found, err := s.Deliveries(ctx, DeliveryFilter{ID: id}, Page{Limit: 1})
	// A filter without an id selects any.
	if err == nil && (id == "" || len(found.Items) == 0) {
		err = ErrNotFound
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("find delivery %s: %w", id, err)
	}
	return found.Items[0], nil
}

// An Accept is an event to be stored, with what hangs on it.
type Accept struct {
	Event Event
	Key   DedupeKey
	// Deliveries are one for each subscriber that receives the event; they
	// are due at once.
	Deliveries []NewDelivery
}

// A NewDelivery is a delivery to be made.
type NewDelivery struct {
	ID           DeliveryID
	SubscriberID SubscriberID
	// OrderKey and Unjudged are those of the [Delivery].
	OrderKey string
	Unjudged bool
}

// A Replay is a new delivery of a stored event.
type Replay struct {
	EventID  EventID
	Delivery NewDelivery
	DueAt    time.Time
}

// Accepted answers an [Accept].
type Accepted struct {
	// ID is the stored event: the new one, or the first with its key.
	ID EventID
	// Type and ReceivedAt are those of the event with this id.
	Type       string
	ReceivedAt time.Time
	// Duplicate says that the key was taken, and nothing was stored.
	Duplicate bool
}

// A Result is an attempt that was made, and what follows for its delivery.
type Result struct {
	// Attempt without an Outcome is none: nothing was tried, and only the delivery
	// moves on, at the time at which the attempt would have ended.
	Attempt Attempt
	// DueAt is when the delivery was due for this attempt. One that was resent
	// since then is due at another time.
	DueAt time.Time
	// State is where the delivery stands now: any of the states, Cancelled if the
	// subscriber's filter does not want it.
	State State
	// Unjudged replaces the delivery's Unjudged.
	Unjudged bool
	// Body, if not nil, is what all attempts of the delivery send from now on in
	// place of [Event.Body].
	Body []byte
	// Spent replaces the delivery's Spent.
	Spent int
	// NextAttemptAt is when a Pending delivery is due again.
	NextAttemptAt time.Time
}

// A Backlog says when the first of a subscriber's pending deliveries are due;
// zero: there are none of that kind.
type Backlog struct {
	// Fresh have spent nothing of their schedule, and Retries something.
	Fresh, Retries time.Time
}

// A SetBack says that the clock was set back; its zero value, that it was not.
type SetBack struct {
	// From is where the clock would be; zero: find out whether it was set back, by
	// the latest time at which something was stored. To is where it is.
	From, To time.Time
	// Held are deliveries that stay as they are: they are being tried. Only, if there
	// are any, are the ones that do not.
	Held, Only []DeliveryID
}

// First is when the first of both is due; zero: there is none.
func (b Backlog) First() time.Time {
	if b.Fresh.IsZero() || !b.Retries.IsZero() && b.Retries.Before(b.Fresh) {
		return b.Retries
	}
	return b.Fresh
}

// A DueQuery asks for the deliveries of one subscriber that are due.
type DueQuery struct {
	SubscriberID SubscriberID
	Now          time.Time
	// Retries asks for those that have spent something of their schedule, and
	// else it is those that have spent nothing.
	Retries bool
	// Ordered asks for both, and only for such of which nothing stands in the
	// way: no earlier delivery of the same OrderKey that is pending and not due,
	// nor, with OnDeadBlock, one that is dead. They come in the order in which
	// they were made. Then next is when the first falls due of which nothing else
	// stands in the way.
	Ordered bool
	OnDead  OnDead
	// OfKey is how many of one OrderKey the caller takes at most, those in Skip
	// among them; zero: any number. Of what is more, next says nothing.
	OfKey int
	// Skip names deliveries that the caller has in hand already.
	Skip []DeliveryID
	// Limit is how many at most.
	Limit int
	// Bytes bounds the data of all of them together, save that one delivery is
	// returned however large it is.
	Bytes int
}

// A Job is a delivery to be tried, with all that a try needs.
type Job struct {
	Delivery DeliveryID
	// Attempts and Spent are those of the delivery before this try.
	Attempts int
	Spent    int
	DueAt    time.Time
	Event    *Event
	// LastOutcome, OrderKey, Unjudged and Body are those of the [Delivery].
	LastOutcome Outcome
	OrderKey    string
	Unjudged    bool
	Body        []byte
}
