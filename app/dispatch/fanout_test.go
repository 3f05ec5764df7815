package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

const bomb = `reduce range(60) as $i ("x"; . + .) | length > 0`

// filtered publishes an event with this data.
func filtered(t *testing.T, d *dispatch.Dispatcher, key, data string) []webhook.NewDelivery {
	t.Helper()
	_, deliveries, err := d.Publish(context.Background(), webhook.Event{
		Source: "inbound", Type: "order.created", Timestamp: 1, Data: []byte(data),
	}, webhook.NewDedupeKey("inbound", key))
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

// to reports whether one of the deliveries is for the subscriber, and whether its
// filter has still to be asked.
func to(deliveries []webhook.NewDelivery, id webhook.SubscriberID) (there, unjudged bool) {
	i := slices.IndexFunc(deliveries, func(n webhook.NewDelivery) bool { return n.SubscriberID == id })
	return i >= 0, i >= 0 && deliveries[i].Unjudged
}

func TestFilterDecidesWhenAnEventIsPublished(t *testing.T) {
	d, store := start(t, &receiver{}, expressing(t))
	large := subscribe(t, d, "https://large.example", func(s *webhook.Subscriber) { s.Filter = ".data.amount > 100" })
	also := subscribe(t, d, "https://also.example", func(s *webhook.Subscriber) { s.Filter = ".data.amount > 100" })
	known := subscribe(t, d, "https://known.example", func(s *webhook.Subscriber) { s.Filter = `$source == "inbound" and ($id | startswith("evt_"))` })
	wrong := subscribe(t, d, "https://wrong.example", func(s *webhook.Subscriber) { s.Filter = ".data.amount | keys" })
	for amount, wanted := range map[int]bool{5: false, 500: true} {
		deliveries := filtered(t, d, fmt.Sprint(amount), fmt.Sprintf(`{"amount":%d}`, amount))
		for _, s := range []webhook.SubscriberID{large.ID, also.ID} {
			if there, unjudged := to(deliveries, s); there != wanted || unjudged {
				t.Errorf("%d to one who wants large ones: %v, unjudged %v", amount, there, unjudged)
			}
		}
		if there, unjudged := to(deliveries, known.ID); !there || unjudged {
			t.Errorf("to one who knows the variables: %v, unjudged %v", there, unjudged)
		}
		// It makes a failed attempt, which people see.
		if there, unjudged := to(deliveries, wrong.ID); !there || !unjudged {
			t.Errorf("to one whose filter fails: %v, unjudged %v", there, unjudged)
		}
		for _, n := range deliveries {
			if n.SubscriberID == wrong.ID {
				until(t, store, n.ID, func(d *webhook.Delivery) bool { return d.LastOutcome == webhook.Transformation })
			}
		}
	}
}

func TestTestEventPassesTheFilterBy(t *testing.T) {
	d, _ := start(t, &receiver{}, expressing(t))
	s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Filter = "false" })
	_, deliveries, err := d.PublishTo(t.Context(), event(), webhook.NewDedupeKey("admin", "1"), s.ID)
	if there, unjudged := to(deliveries, s.ID); err != nil || !there || unjudged {
		t.Errorf("%v, %v", deliveries, err)
	}
}

func TestReplayAsksTheFilterOfWhatIsStored(t *testing.T) {
	d, store := start(t, &receiver{}, expressing(t))
	filtered(t, d, "small", `{"amount":5,"order":"a"}`)
	filtered(t, d, "large", `{"amount":500,"order":"b"}`)
	s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Filter, s.Ordered = ".data.amount > 100", ".data.order" })
	events, err := store.Events(t.Context(), webhook.EventFilter{}, webhook.Page{Limit: 10})
	if err != nil || len(events.Items) != 2 {
		t.Fatal(events, err)
	}
	for i, wanted := range []string{`"b"`, ""} {
		got, err := d.Recipients(t.Context(), &events.Items[i].Event) // lists have no data
		if err != nil {
			t.Fatal(err)
		}
		if wanted == "" && len(got) != 0 || wanted != "" && (len(got) != 1 || got[0].SubscriberID != s.ID || got[0].OrderKey != wanted) {
			t.Errorf("event %d: %+v", i, got)
		}
	}
}

// TestFilterThatExhaustsIsLeftToItsLane: it costs the first publisher, and then
// nobody until it may have changed its ways.
func TestFilterThatExhaustsIsLeftToItsLane(t *testing.T) {
	asked := make(chan error, 100)
	pool := transform.New(transform.Options{Observe: func(_ time.Duration, err error) { asked <- err }})
	t.Cleanup(pool.Close)
	d, _ := start(t, &receiver{}, func(o *dispatch.Options) { o.Expressions = pool })
	s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) {
		s.Filter, s.Active, s.PausedReason = bomb, false, "so that its lane does not ask"
	})
	for i := range 5 {
		if there, unjudged := to(filtered(t, d, fmt.Sprint(i), `{}`), s.ID); !there || !unjudged {
			t.Fatalf("event %d: %v, unjudged %v", i, there, unjudged)
		}
	}
	if n := len(asked); n != 1 {
		t.Errorf("the filter was asked %d times for five events at once", n)
	}
	// A change makes it another one.
	if _, err := d.UpdateSubscriber(t.Context(), s.ID, func(s *webhook.Subscriber) error { s.Filter = "true"; return nil }); err != nil {
		t.Fatal(err)
	}
	if there, unjudged := to(filtered(t, d, "after", `{}`), s.ID); !there || unjudged {
		t.Errorf("after a change: %v, unjudged %v", there, unjudged)
	}
}
