package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// scrape asks for the metrics as Prometheus does, and parses the answer.
func scrape(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	w := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("status %d: %v", w.Code, err)
	}
	return families
}

// values lists the metrics of a family: the values of the labels in the order
// of their names, and then that of a counter or gauge, or the count of a
// histogram.
func values(family *dto.MetricFamily) []string {
	var list []string
	for _, m := range family.GetMetric() {
		var parts []string
		for _, l := range m.GetLabel() {
			parts = append(parts, l.GetValue())
		}
		value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		list = append(list, strings.Join(append(parts, fmt.Sprint(value)), " "))
	}
	slices.Sort(list)
	return list
}

func attempt(m *Metrics, eventType string, to webhook.SubscriberID, number int, outcome webhook.Outcome) {
	m.Attempted(&webhook.Event{Type: eventType}, &webhook.Subscriber{ID: to}, &webhook.Result{
		Attempt: webhook.Attempt{Number: number, Outcome: outcome, Duration: 30 * time.Millisecond},
	})
}

func TestNamesAndLabelsAreThoseOfTheContract(t *testing.T) {
	m := New()
	m.Watch(func(context.Context, webhook.StatsQuery) (webhook.Stats, error) { return webhook.Stats{}, nil },
		func() []*webhook.Subscriber { return []*webhook.Subscriber{{ID: "sub_1"}} }, never)
	m.WatchBackups(func() (bool, time.Time, int) { return true, time.Unix(1, 0), 2 })
	attempt(m, "order.created", "sub_1", 2, webhook.OK)
	m.Received("inbound", "received", time.Millisecond)
	m.Committed(3, time.Millisecond)
	m.Evaluated(time.Millisecond, context.Canceled)
	got := map[string]string{}
	runtime := 0
	for name, family := range scrape(t, m) {
		if !strings.HasPrefix(name, "webhook_") {
			runtime++
			continue
		}
		var labels []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		got[name] = strings.ToLower(family.GetType().String()) + " " + strings.Join(labels, ",")
	}
	want := map[string]string{
		"webhook_deliveries_total":          "counter event_type,status",
		"webhook_delivery_duration_seconds": "histogram event_type",
		"webhook_retry_count":               "counter attempt_number",
		"webhook_queue_depth":               "gauge ",
		"webhook_inbound_total":             "counter result,source",
		"webhook_inbound_duration_seconds":  "histogram ",
		"webhook_oldest_pending_seconds":    "gauge ",
		"webhook_dead_letters":              "gauge ",
		"webhook_subscriber_up":             "gauge subscriber",
		"webhook_commit_duration_seconds":   "histogram ",
		"webhook_commit_batch_size":         "histogram ",
		"webhook_database_bytes":            "gauge ",

		"webhook_backup_last_success_timestamp_seconds": "gauge ",
		"webhook_backup_failures_total":                 "counter ",
		"webhook_database_unused_bytes":                 "gauge ",
		"webhook_database_log_bytes":                    "gauge ",
		"webhook_oldest_event_seconds":                  "gauge ",
		"webhook_subscriber_held":                       "gauge subscriber",
		"webhook_transform_duration_seconds":            "histogram ",
		"webhook_transform_failures_total":              "counter reason",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if runtime < 20 {
		t.Errorf("%d metrics of Go and the process", runtime)
	}
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	// The contract's name for it is what it is.
	problems = slices.DeleteFunc(problems, func(p promlint.Problem) bool { return p.Metric == "webhook_retry_count" })
	if len(problems) > 0 {
		t.Errorf("promlint: %v", problems)
	}
}

func TestAttemptsAreCountedByTypeOutcomeAndNumber(t *testing.T) {
	m := New()
	attempt(m, "a", "sub_1", 1, webhook.Timeout)
	attempt(m, "a", "sub_1", 2, webhook.OK)
	attempt(m, "b", "sub_1", 2, webhook.OK)
	attempt(m, "b", "sub_1", 20, webhook.OK)
	attempt(m, "b", "sub_1", 21, webhook.OK)
	attempt(m, "b", "sub_1", 99, webhook.OK)
	families := scrape(t, m)
	for name, want := range map[string][]string{
		"webhook_deliveries_total":          {"a ok 1", "a timeout 1", "b ok 4"},
		"webhook_delivery_duration_seconds": {"a 2", "b 4"},
		"webhook_retry_count":               {"2 2", "20 1", "20+ 2"},
	} {
		if diff := cmp.Diff(want, values(families[name])); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTypesBeyondTheFirst200AreCountedTogether(t *testing.T) {
	m := New()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 150 {
				attempt(m, fmt.Sprintf("type.%d.%d", worker, i), "sub_1", 1, webhook.OK)
			}
		})
	}
	all.Wait()
	counted := values(scrape(t, m)["webhook_deliveries_total"])
	if len(counted) != 201 || !slices.Contains(counted, "other ok 400") {
		t.Errorf("%d series, the first of them %v", len(counted), counted[0])
	}
}

func TestSubscriberIsUpWhileActiveAndNotFailing(t *testing.T) {
	m := New()
	subscribers := []*webhook.Subscriber{{ID: "new", Active: true}, {ID: "good", Active: true}, {ID: "bad", Active: true}, {ID: "paused"}, {ID: "cut", Active: true}}
	m.Watch(func(context.Context, webhook.StatsQuery) (webhook.Stats, error) { return webhook.Stats{}, nil },
		func() []*webhook.Subscriber { return subscribers }, never)
	attempt(m, "a", "good", 1, webhook.Reset)
	attempt(m, "a", "good", 2, webhook.OK)
	attempt(m, "a", "bad", 1, webhook.OK)
	attempt(m, "a", "bad", 1, webhook.HTTPStatus)
	attempt(m, "a", "cut", 1, webhook.Interrupted)
	attempt(m, "a", "gone", 1, webhook.Reset)
	want := []string{"bad 0", "cut 1", "good 1", "new 1", "paused 0"}
	if diff := cmp.Diff(want, values(scrape(t, m)["webhook_subscriber_up"])); diff != "" {
		t.Error(diff)
	}
	if len(m.up.failed) != 1 {
		t.Errorf("subscribers that are gone are remembered: %v", m.up.failed)
	}
}

// never holds nobody's deliveries.
func never(*webhook.Subscriber) bool { return false }

func TestSubscriberIsHeldInAnOutage(t *testing.T) {
	m := New()
	since := time.Now()
	subscribers := []*webhook.Subscriber{
		{ID: "fine", Active: true}, {ID: "failing", Active: true, FailingSince: since}, {ID: "paused", FailingSince: since},
		{ID: "exempt", Active: true, FailingSince: since, NoHold: true},
	}
	policy := webhook.HoldPolicy{Hold: true, Failures: 10}
	m.Watch(func(context.Context, webhook.StatsQuery) (webhook.Stats, error) { return webhook.Stats{}, nil },
		func() []*webhook.Subscriber { return subscribers }, func(s *webhook.Subscriber) bool { return policy.Holds(s) })
	want := []string{"exempt 0", "failing 1", "fine 0", "paused 0"}
	if diff := cmp.Diff(want, values(scrape(t, m)["webhook_subscriber_held"])); diff != "" {
		t.Error(diff)
	}
	policy.Hold = false
	if got := values(scrape(t, m)["webhook_subscriber_held"]); slices.Contains(got, "failing 1") {
		t.Errorf("where nothing is held: %v", got)
	}
}

func TestExpressionsAreCountedWithWhyTheyFailed(t *testing.T) {
	m := New()
	m.Evaluated(time.Millisecond, nil)
	m.Evaluated(time.Millisecond, fmt.Errorf("in a test: %w", &transform.Error{Expression: "filter", Reason: "one of many"}))
	m.Evaluated(time.Second, &transform.Error{Expression: "transform", Exhausted: true, Reason: "another"})
	m.Evaluated(time.Second, context.DeadlineExceeded)
	m.Evaluated(time.Second, transform.ErrClosed)
	families := scrape(t, m)
	if diff := cmp.Diff([]string{"exhausted 1", "failed 1", "interrupted 2"}, values(families["webhook_transform_failures_total"])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"5"}, values(families["webhook_transform_duration_seconds"])); diff != "" {
		t.Error(diff)
	}
}

func TestTransformIsAStatus(t *testing.T) {
	m := New()
	attempt(m, "a", "sub_1", 1, webhook.Transformation)
	if diff := cmp.Diff([]string{"a transform 1"}, values(scrape(t, m)["webhook_deliveries_total"])); diff != "" {
		t.Error(diff)
	}
}

func TestBackupsAreToldWhileTheyAreOn(t *testing.T) {
	const last, failures = "webhook_backup_last_success_timestamp_seconds", "webhook_backup_failures_total"
	on, at := false, time.Time{}
	m := New()
	m.WatchBackups(func() (bool, time.Time, int) { return on, at, 2 })
	if families := scrape(t, m); families[last] != nil || families[failures] != nil {
		t.Error("they are told, and are off")
	}
	on = true
	if got := scrape(t, m)[last].GetMetric()[0].GetGauge().GetValue(); got != 0 {
		t.Errorf("without a good one the last is of %v", got)
	}
	at = time.Unix(1731602712, 0)
	families := scrape(t, m)
	if got := families[last].GetMetric()[0].GetGauge().GetValue(); got != 1731602712 {
		t.Errorf("the last is of %v", got)
	}
	if got := families[failures].GetMetric()[0].GetCounter().GetValue(); got != 2 {
		t.Errorf("%v failed", got)
	}
}

func TestStoreIsAskedAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var fault error
		m := New()
		m.Watch(func(context.Context, webhook.StatsQuery) (webhook.Stats, error) {
			asked++
			return webhook.Stats{
				Deliveries: map[webhook.State]int64{webhook.Pending: 5, webhook.Dead: 2}, Bytes: 8192, OldestDue: time.Now().Add(-time.Minute),
			}, fault
		}, func() []*webhook.Subscriber { return nil }, never)
		for range 10 {
			families := scrape(t, m)
			for name, want := range map[string]string{"webhook_queue_depth": "5", "webhook_dead_letters": "2", "webhook_database_bytes": "8192"} {
				if got := values(families[name]); len(got) != 1 || got[0] != want {
					t.Errorf("%s is %v, want %s", name, got, want)
				}
			}
			time.Sleep(300 * time.Millisecond)
		}
		if asked != 3 {
			t.Errorf("asked %d times in three seconds", asked)
		}
		time.Sleep(time.Minute)
		if got := values(scrape(t, m)["webhook_oldest_pending_seconds"]); got[0] != "60" {
			t.Errorf("the first pending delivery has been due for %v seconds", got)
		}
		fault = errors.New("disk on fire")
		time.Sleep(time.Minute)
		attempt(m, "a", "sub_1", 1, webhook.OK)
		families := scrape(t, m)
		if families["webhook_queue_depth"] != nil || families["webhook_deliveries_total"] == nil {
			t.Error("a store that cannot be read takes more with it than its own metrics")
		}
	})
}

// TestStoreIsCountedAsItIs scrapes a real store.
func TestStoreIsCountedAsItIs(t *testing.T) {
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	m := New()
	store, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "pintle.db"), Schema: string(schema), Synchronous: "normal", OnCommit: m.Committed,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	m.Watch(store.Stats, func() []*webhook.Subscriber { return nil }, never)
	now := time.Now()
	s := webhook.Subscriber{ID: store.IDs().Subscriber(now), URL: "http://a.example", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true, CreatedAt: now, UpdatedAt: now}
	if err := store.PutSubscriber(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	e := webhook.Event{ID: store.IDs().Event(now), Source: "inbound", Type: "a", Timestamp: 1, Data: []byte("{}"), ReceivedAt: now}
	_, err = store.Accept(t.Context(), []webhook.Accept{{
		Event: e, Key: webhook.NewDedupeKey("inbound", "x"), Deliveries: []webhook.NewDelivery{{ID: store.IDs().Delivery(now), SubscriberID: s.ID}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	families := scrape(t, m)
	if got := values(families["webhook_queue_depth"]); len(got) != 1 || got[0] != "1" {
		t.Errorf("queue depth %v", got)
	}
	if got := families["webhook_database_bytes"].GetMetric()[0].GetGauge().GetValue(); got < 8192 {
		t.Errorf("a database of %v bytes", got)
	}
	if got := families["webhook_commit_duration_seconds"].GetMetric()[0].GetHistogram().GetSampleCount(); got < 2 {
		t.Errorf("%d commits for two writes", got)
	}
}
