// Package metrics counts what the appliance does, for Prometheus.
//
// The names are the contract's. webhook_deliveries_total has one count for each
// attempt, and its status is the attempt's outcome, such as ok or timeout;
// webhook_retry_count counts the attempts after the first of a delivery, each
// under its number. What the store and the dispatcher know by themselves is
// asked for when somebody scrapes.
//
// A value that a sender chooses never makes more than a bounded number of
// series.
package metrics

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxEventTypes is how many values the label event_type has, beside other.
	maxEventTypes = 200
	other         = "other"
	// maxAttempt is the largest number of an attempt that has a series of its
	// own.
	maxAttempt = 20
)

// Metrics are those of one appliance. They are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	deliveries      *prometheus.CounterVec
	deliveryTime    *prometheus.HistogramVec
	retries         *prometheus.CounterVec
	inbound         *prometheus.CounterVec
	inboundTime     prometheus.Histogram
	commitTime      prometheus.Histogram
	commitBatchSize prometheus.Histogram
	transformTime   prometheus.Histogram
	transformFaults *prometheus.CounterVec

	types eventTypes
	up    health
}

// New returns metrics that count from zero.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_deliveries_total", Help: "Attempts to deliver, by their outcome.",
		}, []string{"event_type", "status"}),
		deliveryTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "webhook_delivery_duration_seconds", Help: "How long attempts took.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60},
		}, []string{"event_type"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_retry_count", Help: "Attempts after the first of a delivery, by their number.",
		}, []string{"attempt_number"}),
		inbound: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_inbound_total", Help: "Inbound requests: received, duplicate, or why they were refused.",
		}, []string{"source", "result"}),
		inboundTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "webhook_inbound_duration_seconds", Help: "How long inbound requests took, until they were answered.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}),
		commitTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "webhook_commit_duration_seconds", Help: "How long commits took.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}),
		commitBatchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "webhook_commit_batch_size", Help: "How many writes shared a commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		transformTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "webhook_transform_duration_seconds", Help: "How long filters and transforms took, their wait for their turn included.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 5},
		}),
		transformFaults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "webhook_transform_failures_total", Help: "Filters and transforms that gave no answer, by why.",
		}, []string{"reason"}),
		types: eventTypes{known: map[string]struct{}{}},
		up:    health{failed: map[webhook.SubscriberID]struct{}{}},
	}
	m.registry.MustRegister(m.deliveries, m.deliveryTime, m.retries, m.inbound, m.inboundTime, m.commitTime, m.commitBatchSize,
		m.transformTime, m.transformFaults,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Attempted counts an attempt.
func (m *Metrics) Attempted(e *webhook.Event, s *webhook.Subscriber, r *webhook.Result) {
	a := &r.Attempt
	eventType := m.types.label(e.Type)
	m.deliveries.WithLabelValues(eventType, string(a.Outcome)).Inc()
	m.deliveryTime.WithLabelValues(eventType).Observe(a.Duration.Seconds())
	if a.Number > 1 {
		m.retries.WithLabelValues(attemptLabel(a.Number)).Inc()
	}
	m.up.attempted(s.ID, a.Outcome)
}

// Received counts an inbound request, whose result is "received", "duplicate"
// or the code of its refusal.
func (m *Metrics) Received(source, result string, took time.Duration) {
	m.inbound.WithLabelValues(source, result).Inc()
	m.inboundTime.Observe(took.Seconds())
}

// Committed counts a commit of the store that so many writes shared.
func (m *Metrics) Committed(writes int, took time.Duration) {
	m.commitTime.Observe(took.Seconds())
	m.commitBatchSize.Observe(float64(writes))
}

// Evaluated counts a filter or transform that was run. Why it failed is one of
// exhausted, out of time, memory or room; failed, by itself; and interrupted.
func (m *Metrics) Evaluated(took time.Duration, err error) {
	m.transformTime.Observe(took.Seconds())
	if err == nil {
		return
	}
	reason := "interrupted"
	if failure := (*transform.Error)(nil); errors.As(err, &failure) {
		reason = "failed"
		if failure.Exhausted {
			reason = "exhausted"
		}
	}
	m.transformFaults.WithLabelValues(reason).Inc()
}

// Handler answers scrapes. What cannot be read is missing from the answer, and
// the log says why.
func (m *Metrics) Handler(logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      slog.NewLogLogger(logger.With("part", "metrics").Handler(), slog.LevelError),
	})
}

// attemptLabel writes the number of an attempt.
func attemptLabel(number int) string {
	if number > maxAttempt {
		return strconv.Itoa(maxAttempt) + "+"
	}
	return strconv.Itoa(number)
}

// eventTypes are the types that have series of their own: the first that came.
type eventTypes struct {
	mu    sync.RWMutex
	known map[string]struct{}
}

func (t *eventTypes) label(eventType string) string {
	t.mu.RLock()
	_, known := t.known[eventType]
	full := len(t.known) >= maxEventTypes
	t.mu.RUnlock()
	switch {
	case known:
		return eventType
	case full:
		return other
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.known[eventType]; !known {
		if len(t.known) >= maxEventTypes {
			return other
		}
		t.known[eventType] = struct{}{}
	}
	return eventType
}

// health knows the subscribers whose last attempt failed.
type health struct {
	mu     sync.Mutex
	failed map[webhook.SubscriberID]struct{}
}

// attempted takes the outcome of a subscriber's last attempt. One that a stop
// cut short says nothing about it.
func (h *health) attempted(id webhook.SubscriberID, outcome webhook.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch outcome {
	case webhook.Interrupted:
	case webhook.OK:
		delete(h.failed, id)
	default:
		h.failed[id] = struct{}{}
	}
}

// states returns whether each subscriber is up, and forgets those that are
// gone.
func (h *health) states(subscribers []*webhook.Subscriber) []bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	failed := make(map[webhook.SubscriberID]struct{}, len(h.failed))
	up := make([]bool, len(subscribers))
	for i, s := range subscribers {
		_, bad := h.failed[s.ID]
		up[i] = s.Active && !bad
		if bad {
			failed[s.ID] = struct{}{}
		}
	}
	h.failed = failed
	return up
}
