package dispatch_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// expressing has the dispatcher run expressions, and retry at once. These tests run
// on real time: synthetic time does not wait for the children of the pool.
func expressing(t *testing.T) func(*dispatch.Options) {
	t.Helper()
	pool := transform.New(transform.Options{Timeout: 5 * time.Second})
	t.Cleanup(pool.Close)
	return func(o *dispatch.Options) {
		o.Expressions, o.FilterPatience = pool, time.Minute
		o.Policy = webhook.RetryPolicy{Retries: 2, Schedule: webhook.Schedule{time.Millisecond}}
	}
}

// until waits for the delivery to be as it should.
func until(t *testing.T, store webhook.Store, id webhook.DeliveryID, done func(*webhook.Delivery) bool) webhook.Delivery {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for {
		d := find(t, store, id)
		if done(&d) {
			return d
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("the delivery stays %+v", d)
		}
	}
}

func TestEveryAttemptSendsWhatTheTransformMadeOnce(t *testing.T) {
	r := &receiver{answer: func(_ *http.Request, try int) (*http.Response, error) {
		if try == 1 {
			return status(500), nil
		}
		return status(200), nil
	}}
	// Each time that it is run it makes another body.
	own := `{order: .data.order_id, at: now}`
	d, store := start(t, r, expressing(t))
	s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Transform = own })
	id := publish(t, d, "1")[0].ID
	until(t, store, id, func(d *webhook.Delivery) bool { return d.State == webhook.Delivered })
	if _, err := d.UpdateSubscriber(t.Context(), s.ID, func(s *webhook.Subscriber) error { s.Transform = ""; return nil }); err != nil {
		t.Fatal(err)
	}
	resend(t, d, time.Now(), 0, id)
	last := until(t, store, id, func(d *webhook.Delivery) bool { return d.State == webhook.Delivered && d.Attempts == 3 })
	got := r.all()
	if len(got) != 3 || !strings.HasPrefix(got[0].body, `{"at":`) || got[1].body != got[0].body || got[2].body != got[0].body || string(last.Body) != got[0].body {
		t.Errorf("sent %+v, and kept %s", got, last.Body)
	}
}

func TestFailedTransformIsAFailedAttemptAndTriedAgain(t *testing.T) {
	r := &receiver{}
	d, store := start(t, r, expressing(t))
	s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Transform = `error("not today")` })
	id := publish(t, d, "1")[0].ID
	dead := until(t, store, id, func(d *webhook.Delivery) bool { return d.State == webhook.Dead })
	if dead.Attempts != 3 || dead.LastOutcome != webhook.Transformation || !strings.Contains(dead.LastError, "not today") || len(r.all()) != 0 {
		t.Errorf("the dead letter is %+v", dead)
	}
	if _, err := d.UpdateSubscriber(t.Context(), s.ID, func(s *webhook.Subscriber) error { s.Transform = `{ok: true}`; return nil }); err != nil {
		t.Fatal(err)
	}
	resend(t, d, time.Now(), 0, id)
	until(t, store, id, func(d *webhook.Delivery) bool { return d.State == webhook.Delivered })
	if got := r.all(); len(got) != 1 || got[0].body != `{"ok":true}` {
		t.Errorf("sent %+v", got)
	}
}

func TestFilterThatIsAskedLateEndsTheDeliveryWithoutAnAttempt(t *testing.T) {
	r := &receiver{}
	d, store := start(t, r, expressing(t))
	s := subscribe(t, d, "https://example.com", func(s *webhook.Subscriber) { s.Filter = `.data.order_id == "other"` })
	if got := publish(t, d, "1"); len(got) != 0 {
		t.Fatalf("deliveries were made: %v", got)
	}
	events, err := store.Events(t.Context(), webhook.EventFilter{}, webhook.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	made, err := d.Replay(t.Context(), []webhook.Replay{{
		EventID: events.Items[0].ID, Delivery: webhook.NewDelivery{SubscriberID: s.ID, Unjudged: true}, DueAt: time.Now(),
	}})
	if err != nil || len(made) != 1 {
		t.Fatal(made, err)
	}
	got := until(t, store, made[0].ID, func(d *webhook.Delivery) bool { return d.State != webhook.Pending })
	if got.State != webhook.Cancelled || got.Attempts != 0 || got.LastOutcome != "" || len(r.all()) != 0 {
		t.Errorf("the delivery is %+v", got)
	}
}
