package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

const (
	defaultRate        = 1.0
	defaultConnections = 4
	// sendTimeout bounds one request, which may outlive the traffic.
	sendTimeout = 10 * time.Second
)

// Traffic sends sample events to an inbound endpoint at a steady rate, as one
// external system with several connections. Its fields are set before Run and
// not changed afterwards.
type Traffic struct {
	// URL is the inbound endpoint, and Secret the one that it verifies with.
	URL    string
	Secret webhook.Secret
	// Client sends the requests; nil: [http.DefaultClient].
	Client *http.Client
	// Post hands one event over; nil: [Send] does, to URL, signed in the header.
	Post func(context.Context, Event) (Answer, error)
	// Rate is how many events are sent in a second; zero: one. It is an upper
	// bound: where the endpoint is slower, events are sent later, not piled up.
	Rate float64
	// Connections is how many requests are in flight at most; zero: four.
	Connections int
	// Types limits the samples to these types; empty: all of SampleTypes.
	Types []string
	// Seed decides the events: the same seed makes the same ones in the same
	// order.
	Seed uint64
	// OnAnswer is called for each event sent, if it is not nil, with its
	// answer, or with why there is none. Calls may run at the same time.
	OnAnswer func(Event, Answer, error)
}

// Counts tell what came of the events that were sent.
type Counts struct {
	// Sent is the sum of the others.
	Sent int
	// Received counts the events accepted as new, and Duplicate those known
	// before.
	Received, Duplicate int
	// Refused counts those answered with anything but 2xx.
	Refused int
	// Failed counts those that got no answer.
	Failed int
}

// Run sends until the context ends; then it waits for the requests in flight,
// each at most ten seconds old, so that every event sent is accounted for. A
// failure does not end the traffic: it is counted, and the next event sent.
func (t *Traffic) Run(ctx context.Context) Counts {
	rate, connections, post := t.Rate, t.Connections, t.Post
	if rate <= 0 {
		rate = defaultRate
	}
	if connections <= 0 {
		connections = defaultConnections
	}
	if post == nil {
		client := cmp.Or(t.Client, http.DefaultClient)
		post = func(ctx context.Context, e Event) (Answer, error) { return Send(ctx, client, t.URL, t.Secret, e) }
	}

	var mu sync.Mutex
	var counts Counts
	events := make(chan Event)
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() {
			for e := range events {
				a, err := finish(ctx, e, post)
				mu.Lock()
				counts.add(a, err)
				mu.Unlock()
				if t.OnAnswer != nil {
					t.OnAnswer(e, a, err)
				}
			}
		})
	}

	samples := NewSamples(t.Seed, t.Types...)
	ticker := time.NewTicker(max(time.Duration(float64(time.Second)/rate), 1))
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case events <- samples.Next():
		case <-ctx.Done():
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	close(events)
	senders.Wait()
	return counts
}

// finish hands one event over to its end, even if the context ends meanwhile.
func finish(ctx context.Context, e Event, post func(context.Context, Event) (Answer, error)) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	return post(ctx, e)
}

func (c *Counts) add(a Answer, err error) {
	c.Sent++
	switch {
	case err != nil:
		c.Failed++
	case !a.Accepted():
		c.Refused++
	case a.Duplicate():
		c.Duplicate++
	default:
		c.Received++
	}
}

// SampleTypes lists the types that [Samples] makes.
func SampleTypes() []string {
	return []string{
		"order.created", "order.paid", "order.shipped", "order.cancelled",
		"user.created", "user.updated",
		"invoice.created", "invoice.paid", "invoice.overdue",
		"stock.low",
	}
}

// Samples makes events of a small shop, with plausible data. The same seed
// makes the same events in the same order. It is not safe for concurrent use.
type Samples struct {
	types []string
	rand  *rand.Rand
}

// NewSamples makes samples of these types, or of all SampleTypes if none is
// given. A type that is not a sample gets the data of an unnamed object.
func NewSamples(seed uint64, types ...string) *Samples {
	if len(types) == 0 {
		types = SampleTypes()
	}
	return &Samples{types: types, rand: rand.New(rand.NewPCG(seed, 1))}
}

// Next makes an event of a type drawn at random.
func (s *Samples) Next() Event { return s.Of(s.types[s.rand.IntN(len(s.types))]) }

// Of makes an event of the type. Its id and timestamp are left to the sender.
func (s *Samples) Of(eventType string) Event {
	return Event{Type: eventType, Data: []byte(s.data(eventType))}
}

// data writes the JSON for a type. Each has a number of its own in it, so that
// no two events are taken for repeats of one another.
func (s *Samples) data(eventType string) string {
	order, user, invoice := s.id("ord"), s.id("usr"), s.id("inv")
	person := s.pick("Ada", "Grace", "Edsger", "Barbara", "Tony", "Radia", "Zoë", "François", "Łukasz", "さくら")
	item := s.pick("anchor", "shackle", "rudder", "pintle", "gudgeon", "cleat", "fender", "sextant")
	currency := s.pick("EUR", "USD", "GBP", "BRL", "JPY")
	amount := 100 + s.rand.IntN(99_900)
	quantity := 1 + s.rand.IntN(9)
	switch eventType {
	case "order.created":
		return fmt.Sprintf(`{"order_id":%q,"customer":{"id":%q,"name":"%s"},"items":[{"sku":%q,"quantity":%d}],"total":{"amount":%d,"currency":%q}}`,
			order, user, person, item, quantity, amount, currency)
	case "order.paid":
		return fmt.Sprintf(`{"order_id":%q,"payment":{"method":%q,"amount":%d,"currency":%q}}`,
			order, s.pick("card", "transfer", "wallet"), amount, currency)
	case "order.shipped":
		return fmt.Sprintf(`{"order_id":%q,"carrier":%q,"parcels":%d}`, order, s.pick("post", "courier", "barge"), quantity)
	case "order.cancelled":
		return fmt.Sprintf(`{"order_id":%q,"reason":%q,"refunded":%t}`,
			order, s.pick("customer request", "out of stock", "payment failed"), s.rand.IntN(2) == 0)
	case "user.created", "user.updated":
		return fmt.Sprintf(`{"user_id":%q,"name":"%s","plan":%q,"newsletter":%t}`,
			user, person, s.pick("free", "crew", "captain"), s.rand.IntN(2) == 0)
	case "invoice.created", "invoice.paid", "invoice.overdue":
		return fmt.Sprintf(`{"invoice_id":%q,"order_id":%q,"amount":%d,"currency":%q,"lines":%d}`,
			invoice, order, amount, currency, quantity)
	case "stock.low":
		return fmt.Sprintf(`{"check_id":%q,"sku":%q,"left":%d,"warehouse":%q}`,
			s.id("chk"), item, quantity, s.pick("Rotterdam", "Santos", "Kobe"))
	}
	return fmt.Sprintf(`{"id":%q,"value":%d}`, s.id("obj"), amount)
}

// id makes an id such as an external system has.
func (s *Samples) id(prefix string) string {
	return fmt.Sprintf("%s_%012x", prefix, s.rand.Uint64N(1<<48))
}

func (s *Samples) pick(from ...string) string { return from[s.rand.IntN(len(from))] }
