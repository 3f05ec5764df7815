package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// checkCounts compares what is counted with what is there. So many attempts
// were deleted since they were counted.
func checkCounts(t *testing.T, path string, deleted int) {
	t.Helper()
	db := reader(t, path)
	defer db.Close()
	same := func(what, counted, there string) {
		t.Helper()
		if diff := cmp.Diff(lines(t, db, there), lines(t, db, counted)); diff != "" {
			t.Errorf("%s (-there +counted):\n%s", what, diff)
		}
	}
	const of = `SELECT state, %s AS sub, iif(state IN ('pending', 'dead'), coalesce(last_outcome, ''), '') AS outcome,
		iif(state IN ('pending', 'dead'), coalesce(last_code, 0), 0) AS code, iif(state = 'dead', coalesce(fingerprint, ''), '') AS fingerprint, count(*) FROM deliveries GROUP BY 1, 2, 3, 4, 5`
	same("tallies", `SELECT state, subscriber_id, outcome, code, fingerprint, count FROM tallies WHERE count <> 0 ORDER BY 1, 2, 3, 4, 5`,
		fmt.Sprintf(of, "0")+" UNION ALL "+fmt.Sprintf(of, "subscriber_id")+" ORDER BY 1, 2, 3, 4, 5")
	same("fingerprints", `SELECT count(*) FROM deliveries WHERE state <> 'dead' AND fingerprint IS NOT NULL`, `SELECT 0`)
	same("counters", `SELECT coalesce((SELECT value FROM counters WHERE name = 'events'), 0), coalesce((SELECT value FROM counters WHERE name = 'attempts'), 0)`,
		fmt.Sprintf(`SELECT (SELECT count(*) FROM events), (SELECT count(*) + %d FROM attempts)`, deleted))
	same("counters of rejections", `SELECT coalesce((SELECT value FROM counters WHERE name = 'rejections'), 0), coalesce((SELECT value FROM counters WHERE name = 'rejection_bytes'), 0)`,
		`SELECT count(*), coalesce(sum(bytes), 0) FROM rejections`)
	same("events by minute", `SELECT minute, events FROM rollups WHERE events > 0 AND subscriber_id = 0 ORDER BY minute`,
		`SELECT received_at / 60000, count(*) FROM events GROUP BY 1 ORDER BY 1`)
	same("rows of all together", `SELECT minute, attempts, failed, delivered, dead, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, last_at
			FROM rollups WHERE subscriber_id = 0 AND attempts + delivered + dead > 0 ORDER BY minute`,
		`SELECT minute, sum(attempts), sum(failed), sum(delivered), sum(dead), sum(b0), sum(b1), sum(b2), sum(b3), sum(b4), sum(b5), sum(b6), sum(b7),
			sum(b8), sum(b9), sum(b10), sum(b11), sum(b12), sum(b13), sum(b14), max(last_at) FROM rollups WHERE subscriber_id > 0 GROUP BY minute ORDER BY minute`)
	same("attempts by bucket", `SELECT sum(attempts) FROM rollups WHERE subscriber_id > 0 HAVING count(*) > 0`,
		`SELECT sum(b0 + b1 + b2 + b3 + b4 + b5 + b6 + b7 + b8 + b9 + b10 + b11 + b12 + b13 + b14) FROM rollups WHERE subscriber_id > 0 HAVING count(*) > 0`)
	if deleted == 0 {
		const by = `(a.started_at * 1000 + a.duration) / 60000000`
		same("attempts by minute", `SELECT minute, subscriber_id, attempts, failed, last_at FROM rollups WHERE subscriber_id > 0 AND attempts > 0 ORDER BY 1, 2`,
			`SELECT `+by+`, d.subscriber_id, count(*), sum(a.outcome NOT IN ('ok', 'interrupted')), max(a.started_at + a.duration / 1000)
				FROM attempts a JOIN deliveries d ON d.id = a.delivery_id GROUP BY 1, 2 ORDER BY 1, 2`)
	} else {
		same("attempts in all", `SELECT sum(attempts) FROM rollups WHERE subscriber_id = 0`, `SELECT value FROM counters WHERE name = 'attempts'`)
	}
}

// A life is a store in the middle of a random sequence of changes.
type life struct {
	s           *sqlite.Store
	now         time.Time
	subscribers []webhook.SubscriberID
	events      []webhook.EventID
	deliveries  []webhook.DeliveryID
	purged      int // attempts of purged deliveries
}

func (l *life) some(r *rapid.T, name string) []webhook.DeliveryID {
	if len(l.deliveries) == 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(l.deliveries), 1, 4).Draw(r, name)
}

func (l *life) addSubscriber(r *rapid.T) {
	sub := webhook.Subscriber{ID: l.s.IDs().Subscriber(l.now), URL: "https://example.com", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: l.now, UpdatedAt: l.now}
	if err := l.s.PutSubscriber(context.Background(), sub); err != nil {
		r.Fatal(err)
	}
	l.subscribers = append(l.subscribers, sub.ID)
}

func (l *life) accept(r *rapid.T) {
	var accepts []webhook.Accept
	for range rapid.IntRange(1, 3).Draw(r, "events") {
		key := fmt.Sprint(rapid.IntRange(0, 40).Draw(r, "key"))
		a := webhook.Accept{
			Event: webhook.Event{ID: l.s.IDs().Event(l.now), Source: "inbound", Type: "a.b", Data: []byte("1"), ReceivedAt: l.now},
			Key:   webhook.NewDedupeKey("inbound", key),
		}
		for _, id := range l.subscribers {
			a.Deliveries = append(a.Deliveries, webhook.NewDelivery{ID: l.s.IDs().Delivery(l.now), SubscriberID: id})
		}
		accepts = append(accepts, a)
	}
	accepted, err := l.s.Accept(context.Background(), accepts)
	if err != nil {
		r.Fatal(err)
	}
	for i, a := range accepts {
		if !accepted[i].Duplicate {
			l.events = append(l.events, a.Event.ID)
			for _, d := range a.Deliveries {
				l.deliveries = append(l.deliveries, d.ID)
			}
		}
	}
}

// record stores results, some of them for deliveries that do not wait for one,
// in calls that share a commit if they meet.
func (l *life) record(r *rapid.T) {
	ctx := context.Background()
	var calls []webhook.Result
	for _, id := range l.some(r, "recorded") {
		d, err := webhook.FindDelivery(ctx, l.s, id)
		if err != nil {
			continue
		}
		result := webhook.Result{
			DueAt: d.NextAttemptAt, State: rapid.SampledFrom(webhook.States()).Draw(r, "state"),
			Spent: d.Spent + 1, NextAttemptAt: l.now.Add(time.Minute),
			Attempt: webhook.Attempt{
				DeliveryID: id, Number: d.Attempts + 1, StartedAt: l.now,
				Duration: time.Duration(rapid.IntRange(0, 90_000).Draw(r, "ms")) * time.Millisecond,
				Error:    rapid.SampledFrom([]string{"", "connection refused", "no such host"}).Draw(r, "error"),
				Outcome:  rapid.SampledFrom(webhook.Outcomes()).Draw(r, "outcome"), Code: rapid.SampledFrom([]int{0, 200, 500, 503}).Draw(r, "code"),
			},
		}
		if rapid.Bool().Draw(r, "transformed") {
			result.Body = []byte("{}")
		}
		if rapid.Bool().Draw(r, "late") {
			result.DueAt = result.DueAt.Add(time.Second)
		}
		calls = append(calls, result)
	}
	// A delivery that stands here twice makes the second call fail: its attempt
	// has the number of the first.
	failed := make(chan error, len(calls))
	for _, result := range calls {
		go func() { failed <- l.s.Record(ctx, []webhook.Result{result}) }()
	}
	for range calls {
		<-failed
	}
}

func (l *life) purge(r *rapid.T) {
	ctx := context.Background()
	ids := l.some(r, "purged")
	attempts := map[webhook.DeliveryID]int{}
	for _, id := range ids {
		if d, err := webhook.FindDelivery(ctx, l.s, id); err == nil && d.State == webhook.Dead {
			of, err := l.s.Attempts(ctx, id)
			if err != nil {
				r.Fatal(err)
			}
			attempts[id] = len(of)
		}
	}
	n, err := l.s.Purge(ctx, ids)
	if err != nil || n != len(attempts) {
		r.Fatalf("purged %d, %v, want %d", n, err, len(attempts))
	}
	for _, n := range attempts {
		l.purged += n
	}
}

func (l *life) must(r *rapid.T, err error) {
	if err != nil {
		r.Fatal(err)
	}
}

func TestCountsFollowEveryChange(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(r *rapid.T) {
		path := filepath.Join(t.TempDir(), "pintle.db")
		// Nothing here outlives the process.
		s, err := sqlite.Open(ctx, sqlite.Options{Path: path, Schema: schema(t), Synchronous: "normal"})
		if err != nil {
			r.Fatal(err)
		}
		defer s.Close()
		l := &life{s: s, now: time.Date(2024, 11, 14, 16, 38, 32, 0, time.UTC)}
		l.addSubscriber(r)
		r.Repeat(map[string]func(*rapid.T){
			"":         func(*rapid.T) { l.now = l.now.Add(7 * time.Second) },
			"accept":   l.accept,
			"record":   l.record,
			"record 2": l.record,
			"resend": func(r *rapid.T) {
				_, err := s.Resend(ctx, l.some(r, "resent"), l.now, time.Second)
				l.must(r, err)
			},
			"cancel": func(r *rapid.T) {
				_, err := s.Cancel(ctx, l.some(r, "cancelled"), l.now)
				l.must(r, err)
			},
			"purge": l.purge,
			"reject": func(r *rapid.T) {
				some := make([]webhook.Rejection, rapid.IntRange(1, 3).Draw(r, "rejections"))
				for i := range some {
					some[i] = webhook.Rejection{ID: s.IDs().Rejection(l.now), At: l.now, Code: "x"}
				}
				l.must(r, s.Reject(ctx, some))
			},
			"replay": func(r *rapid.T) {
				if len(l.events) == 0 {
					return
				}
				replay := webhook.Replay{
					EventID:  rapid.SampledFrom(l.events).Draw(r, "event"),
					Delivery: webhook.NewDelivery{ID: s.IDs().Delivery(l.now), SubscriberID: rapid.SampledFrom(l.subscribers).Draw(r, "subscriber")},
					DueAt:    l.now,
				}
				_, err := s.Replay(ctx, []webhook.Replay{replay})
				l.must(r, err)
				l.deliveries = append(l.deliveries, replay.Delivery.ID)
			},
			"subscribe": func(r *rapid.T) {
				if len(l.subscribers) < 4 {
					l.addSubscriber(r)
				}
			},
			"remove": func(r *rapid.T) {
				// A removed one stays in the list: others may still name it.
				s.RemoveSubscriber(ctx, rapid.SampledFrom(l.subscribers).Draw(r, "subscriber"), l.now)
			},
		})
		checkCounts(t, path, l.purged)
		if t.Failed() {
			r.FailNow()
		}
	})
}

func TestCountsFollowRejectionsThatGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	at, rejected := time.Date(2024, 11, 14, 16, 38, 32, 0, time.UTC), 0
	for _, call := range []struct{ rejections, size int }{{webhook.MaxRejections + 1, 10}, {1, 10}, {300, 60_000}, {1, webhook.MaxRejectionBytes}, {2, 10}} {
		some := make([]webhook.Rejection, call.rejections)
		for i := range some {
			some[i] = webhook.Rejection{ID: s.IDs().Rejection(at), At: at, Header: strings.Repeat("x", call.size)}
		}
		if err := s.Reject(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		rejected += len(some)
		checkCounts(t, path, 0)
		if over := rows(t, path, fmt.Sprintf(`SELECT count(*), sum(bytes) FROM rejections HAVING count(*) > %d OR sum(bytes) > %d`,
			webhook.MaxRejections, webhook.MaxRejectionBytes)); len(over) > 0 {
			t.Errorf("after %+v there are %v", call, over)
		}
	}
	if total := rows(t, path, `SELECT value FROM counters WHERE name = 'rejected'`); total[0] != fmt.Sprint(rejected) {
		t.Errorf("%v were counted in all, want %d", total, rejected)
	}
}
