package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// statsFor is how long the statistics of the store are believed: a scrape
	// is not for everybody to make the disk busy with.
	statsFor = time.Second
	// statsTimeout bounds the question for them.
	statsTimeout = 5 * time.Second
)

// Watch adds what a store counts, and how the subscribers do, to what is
// scraped. Held says whether the deliveries of a subscriber wait because of an
// outage. It is called once.
func (m *Metrics) Watch(stats func(context.Context, webhook.StatsQuery) (webhook.Stats, error), subscribers func() []*webhook.Subscriber, held func(*webhook.Subscriber) bool) {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m.registry.MustRegister(&watcher{
		read: stats, subscribers: subscribers, held: held, up: &m.up,
		queueDepth:     gauge("webhook_queue_depth", "Deliveries that wait, retries included."),
		oldestPending:  gauge("webhook_oldest_pending_seconds", "How long the first pending delivery has been due."),
		deadLetters:    gauge("webhook_dead_letters", "Dead letters."),
		databaseBytes:  gauge("webhook_database_bytes", "Size of the database file."),
		databaseUnused: gauge("webhook_database_unused_bytes", "What of the database file is used again before it grows."),
		databaseLog:    gauge("webhook_database_log_bytes", "Size of the write-ahead log beside the database file."),
		oldestEvent:    gauge("webhook_oldest_event_seconds", "How long ago the first event was received that is kept."),
		subscriberUp:   gauge("webhook_subscriber_up", "1 if the subscriber is active and its last attempt, if any, was answered with 2xx.", "subscriber"),
		subscriberHeld: gauge("webhook_subscriber_held", "1 if the deliveries of the subscriber wait because of an outage.", "subscriber"),
	})
}

// WatchBackups adds how scheduled backups do to what is scraped, while they are on:
// when the last good one was made, zero for never, and how many failed. It is called
// once.
func (m *Metrics) WatchBackups(status func() (on bool, last time.Time, failures int)) {
	m.registry.MustRegister(&backups{
		status:   status,
		last:     prometheus.NewDesc("webhook_backup_last_success_timestamp_seconds", "When the last good scheduled backup was made; 0 for never.", nil, nil),
		failures: prometheus.NewDesc("webhook_backup_failures_total", "Scheduled backups that failed.", nil, nil),
	})
}

type backups struct {
	status         func() (on bool, last time.Time, failures int)
	last, failures *prometheus.Desc
}

// Describe lists what Collect collects.
func (b *backups) Describe(ch chan<- *prometheus.Desc) { ch <- b.last; ch <- b.failures }

// Collect reads the values.
func (b *backups) Collect(ch chan<- prometheus.Metric) {
	on, last, failures := b.status()
	if !on {
		return
	}
	var at float64
	if !last.IsZero() {
		at = float64(last.Unix())
	}
	ch <- prometheus.MustNewConstMetric(b.last, prometheus.GaugeValue, at)
	ch <- prometheus.MustNewConstMetric(b.failures, prometheus.CounterValue, float64(failures))
}

// A watcher asks when it is scraped.
type watcher struct {
	read        func(context.Context, webhook.StatsQuery) (webhook.Stats, error)
	subscribers func() []*webhook.Subscriber
	held        func(*webhook.Subscriber) bool
	up          *health

	queueDepth, oldestPending, deadLetters, databaseBytes, databaseUnused, databaseLog, oldestEvent, subscriberUp, subscriberHeld *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	stats webhook.Stats
	err   error
}

// Describe lists what Collect collects.
func (w *watcher) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{w.queueDepth, w.oldestPending, w.deadLetters, w.databaseBytes, w.databaseUnused, w.databaseLog, w.oldestEvent, w.subscriberUp, w.subscriberHeld} {
		ch <- desc
	}
}

// Collect reads the values.
func (w *watcher) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if stats, err := w.ask(now); err != nil {
		ch <- prometheus.NewInvalidMetric(w.queueDepth, err)
	} else {
		gauge(w.queueDepth, float64(stats.Deliveries[webhook.Pending]))
		gauge(w.deadLetters, float64(stats.Deliveries[webhook.Dead]))
		gauge(w.databaseBytes, float64(stats.Bytes))
		gauge(w.databaseUnused, float64(stats.UnusedBytes))
		gauge(w.databaseLog, float64(stats.LogBytes))
		var due, age time.Duration
		if !stats.OldestEvent.IsZero() {
			age = max(0, now.Sub(stats.OldestEvent))
		}
		gauge(w.oldestEvent, age.Seconds())
		if !stats.OldestDue.IsZero() {
			due = max(0, now.Sub(stats.OldestDue))
		}
		gauge(w.oldestPending, due.Seconds())
	}
	subscribers := w.subscribers()
	for i, up := range w.up.states(subscribers) {
		s := subscribers[i]
		gauge(w.subscriberUp, number(up), string(s.ID))
		gauge(w.subscriberHeld, number(w.held(s)), string(s.ID))
	}
}

// number is 1 for yes and 0 for no.
func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// ask returns the statistics of the store, from memory if it was asked a moment
// ago.
func (w *watcher) ask(now time.Time) (webhook.Stats, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.asked) >= statsFor {
		ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
		defer cancel()
		w.stats, w.err = w.read(ctx, webhook.StatsQuery{})
		w.asked = now
	}
	return w.stats, w.err
}
