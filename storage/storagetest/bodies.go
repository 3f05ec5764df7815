package storagetest

import (
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

func testBody(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b, c := event(s, "a", start, sub), event(s, "b", start, sub), event(s, "c", start, sub)
	accept(t, s, a, b, c)
	failed, plain, kept := a.Deliveries[0].ID, b.Deliveries[0].ID, c.Deliveries[0].ID
	if d := delivery(t, s, failed); d.Body != nil {
		t.Errorf("a delivery that was not tried has the body %q", d.Body)
	}
	body := []byte(`{"n":"é` + strings.Repeat("x", 20_000) + `"}`)
	transformed := func(r *webhook.Result) { r.Body = body }
	must(t, s.Record(ctx, []webhook.Result{
		result(failed, 1, webhook.Pending, transformed), result(plain, 1, webhook.Pending), result(kept, 1, webhook.Dead, transformed),
	}))
	at := start.Add(time.Minute)
	jobs, _ := due(t, s, sub, at, retries)
	equal(t, "retries", jobIDs(jobs), []webhook.DeliveryID{failed, plain})
	equal(t, "its body", string(jobs[0].Body), string(body))
	if jobs[1].Body != nil {
		t.Errorf("one that no transform changed comes with the body %q", jobs[1].Body)
	}
	for _, ordered := range []bool{false, true} {
		sub.Ordered = map[bool]string{true: ".data.key"}[ordered]
		must(t, s.PutSubscriber(ctx, sub))
		jobs, next := due(t, s, sub, at, func(q *webhook.DueQuery) {
			q.Retries, q.Ordered, q.Bytes = true, ordered, len(body)+len(a.Event.Data)+10
		})
		if len(jobs) != 1 || string(jobs[0].Body) != string(body) || next.IsZero() || next.After(at) {
			t.Errorf("ordered: %v: with room for one %d came, next %v", ordered, len(jobs), next)
		}
	}
	// A later attempt says nothing of the body, and a resend keeps it.
	must(t, s.Record(ctx, []webhook.Result{result(failed, 2, webhook.Delivered, func(r *webhook.Result) { r.DueAt = at })}))
	equal(t, "delivered", string(delivery(t, s, failed).Body), string(body))
	_, err := s.Resend(ctx, []webhook.DeliveryID{failed}, at, 0)
	must(t, err)
	equal(t, "resent", string(delivery(t, s, failed).Body), string(body))
	for _, d := range deliveries(t, s, webhook.DeliveryFilter{}) {
		if d.Body != nil {
			t.Error("a list has bodies")
		}
	}
	n, err := s.Purge(ctx, []webhook.DeliveryID{kept})
	must(t, err)
	equal(t, "purged with a body", n, 1)
	// A result with a body for what is gone.
	must(t, s.Record(ctx, []webhook.Result{result(kept, 2, webhook.Dead, transformed)}))
	must(t, s.RemoveSubscriber(ctx, sub.ID, at))
	equal(t, "of a subscriber that is gone", string(delivery(t, s, failed).Body), string(body))
}

func testJudgement(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	a, b, c := event(s, "a", start, sub), event(s, "b", start, sub), event(s, "c", start, sub)
	for _, unjudged := range []*webhook.Accept{&a, &b} {
		unjudged.Deliveries[0].Unjudged = true
	}
	accept(t, s, a, b, c)
	unwanted, failing := a.Deliveries[0].ID, b.Deliveries[0].ID
	jobs, _ := due(t, s, sub, start)
	if len(jobs) != 3 || !jobs[0].Unjudged || !jobs[1].Unjudged || jobs[2].Unjudged {
		t.Errorf("due are %+v", jobs)
	}
	// Nothing is tried of what the filter does not want.
	must(t, s.Record(ctx, []webhook.Result{
		{Attempt: webhook.Attempt{DeliveryID: unwanted, StartedAt: start, Duration: time.Second}, DueAt: start, State: webhook.Cancelled},
		result(failing, 1, webhook.Pending, func(r *webhook.Result) {
			r.Attempt.Outcome, r.Attempt.Code, r.Attempt.Error, r.Unjudged = webhook.Transformation, 0, "out of time", true
		}),
	}))
	equal(t, "unwanted", delivery(t, s, unwanted), webhook.Delivery{
		ID: unwanted, EventID: a.Event.ID, EventType: a.Event.Type, SubscriberID: sub.ID, State: webhook.Cancelled,
		CreatedAt: start, FinishedAt: start.Add(time.Second),
	})
	if attempts, err := s.Attempts(ctx, unwanted); err != nil || len(attempts) > 0 {
		t.Errorf("of the unwanted one there are the attempts %v, %v", attempts, err)
	}
	jobs, _ = due(t, s, sub, start.Add(time.Minute), retries)
	if len(jobs) != 1 || !jobs[0].Unjudged || jobs[0].LastOutcome != webhook.Transformation || !delivery(t, s, failing).Unjudged {
		t.Errorf("the failing one is due as %+v", jobs)
	}
	// One that was tried before ends as it stood.
	at := start.Add(time.Minute)
	must(t, s.Record(ctx, []webhook.Result{{Attempt: webhook.Attempt{DeliveryID: failing, StartedAt: at}, DueAt: at, State: webhook.Cancelled, Spent: 1}}))
	if d := delivery(t, s, failing); d.State != webhook.Cancelled || d.Attempts != 1 || d.Unjudged || d.LastOutcome != webhook.Transformation {
		t.Errorf("the failing one became %+v", d)
	}
	// One that somebody else ended or resent stays as that left it.
	_, err := s.Resend(ctx, []webhook.DeliveryID{failing}, at.Add(time.Hour), 0)
	must(t, err)
	must(t, s.Record(ctx, []webhook.Result{{Attempt: webhook.Attempt{DeliveryID: failing, StartedAt: at}, DueAt: at, State: webhook.Cancelled}}))
	if d := delivery(t, s, failing); d.State != webhook.Pending || d.Attempts != 1 || d.LastOutcome != webhook.Transformation {
		t.Errorf("the resent one became %+v", d)
	}
	stats, err := s.Stats(ctx, webhook.StatsQuery{})
	must(t, err)
	equal(t, "attempts counted", stats.Attempts, int64(1))
}

func testFingerprints(t *testing.T, open Open) {
	s := open(t)
	sub := subscriber(t, s)
	var ids []webhook.DeliveryID
	for i, fault := range []string{"dial tcp 192.0.2.1:443: connect: connection refused", "dial tcp 192.0.2.2:8443: connect: connection refused", "dial tcp 192.0.2.2:8443: connect: no route to host"} {
		a := event(s, fault, start, sub)
		accept(t, s, a)
		id := a.Deliveries[0].ID
		ids = append(ids, id)
		state, at := webhook.Pending, start
		for number := 1; number <= 2; number++ {
			must(t, s.Record(ctx, []webhook.Result{result(id, number, state, func(r *webhook.Result) {
				r.DueAt, r.NextAttemptAt, r.Attempt.Outcome, r.Attempt.Code, r.Attempt.Error = at, start.Add(time.Hour), webhook.Connect, 0, fault
			})}))
			if d := delivery(t, s, id); (d.Fingerprint != "") != (d.State == webhook.Dead) {
				t.Errorf("%d: a delivery that is %s has the fingerprint %q", i, d.State, d.Fingerprint)
			}
			state, at = webhook.Dead, start.Add(time.Hour)
		}
	}
	print := webhook.Fingerprint(webhook.Connect, "dial tcp 192.0.2.1:443: connect: connection refused")
	equal(t, "fingerprint", delivery(t, s, ids[1]).Fingerprint, print)
	groups := func() map[string]int64 {
		counted := map[string]int64{}
		for _, g := range stats(t, s, webhook.StatsQuery{DeadGroups: true}).DeadGroups {
			counted[g.Fingerprint] = g.Count
		}
		return counted
	}
	other := delivery(t, s, ids[2]).Fingerprint
	equal(t, "groups", groups(), map[string]int64{print: 2, other: 1})
	for _, f := range []webhook.DeliveryFilter{
		{Fingerprint: print}, {Fingerprint: print, State: webhook.Dead}, {Fingerprint: print, Subscribers: []webhook.SubscriberID{sub.ID}}, {Fingerprint: print, Outcome: webhook.Connect},
	} {
		equal(t, "with the fingerprint", deliveryIDs(deliveries(t, s, f)), []webhook.DeliveryID{ids[1], ids[0]})
	}
	if found := deliveries(t, s, webhook.DeliveryFilter{Fingerprint: print, State: webhook.Pending}); len(found) > 0 {
		t.Errorf("pending ones with a fingerprint: %v", found)
	}
	resent, err := s.Resend(ctx, ids[:1], start, 0)
	must(t, err)
	if len(resent) != 1 || resent[0].Fingerprint != "" || delivery(t, s, ids[0]).Fingerprint != "" {
		t.Errorf("the resent dead letter is %+v", resent)
	}
	// The result of an attempt that was under way when it died.
	must(t, s.Record(ctx, []webhook.Result{result(ids[1], 3, webhook.Dead, func(r *webhook.Result) {
		r.Attempt.Outcome, r.Attempt.Code, r.Attempt.Error = webhook.DNS, 0, "lookup example.com: no such host"
	})}))
	equal(t, "groups afterwards", groups(), map[string]int64{other: 1, delivery(t, s, ids[1]).Fingerprint: 1})
	_, err = s.Purge(ctx, ids)
	must(t, err)
	equal(t, "groups at last", groups(), map[string]int64{})
}
