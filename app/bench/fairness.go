package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// fairnessName is the comparison of how long deliveries take while a tenth of the
// receivers never answer with how long they take while all do.
const fairnessName = "fairness"

const (
	// fairnessSubscribers are the receivers, of which so many hang in one half of
	// the turns.
	fairnessSubscribers = 1000
	fairnessHanging     = 100
	// fairnessRate is in events per second, each for one subscriber.
	fairnessRate = 300
	// fairnessTarget is how many times as long deliveries may take, at the 99th
	// percentile.
	fairnessTarget = 1.5
)

// Fairness compares the deliveries to those who answer.
type Fairness struct {
	// Well and Ill are the latencies from POST to arrival at the 99th percentile,
	// in milliseconds, by turn: while all receivers answer, and while some hang.
	Well []float64 `json:"p99_ms_well"`
	Ill  []float64 `json:"p99_ms_ill"`
	// First is that of the first seconds after a start with those that hang.
	First []float64 `json:"p99_ms_ill_first_seconds"`
	// Ratio is the median of Ill by Well in the same turn.
	Ratio float64 `json:"ratio"`
	Bound float64 `json:"bound"`
	Met   bool    `json:"met"`
}

func (f *Fairness) finish() {
	ratios := make([]float64, len(f.Ill))
	for i, ms := range f.Ill {
		ratios[i] = ms / f.Well[i]
	}
	f.Ratio, f.Bound = median(ratios), fairnessTarget
	f.Met = f.Ratio <= f.Bound
}

func (f *Fairness) write(w io.Writer) {
	verdict := "MISSED"
	if f.Met {
		verdict = "met"
	}
	fmt.Fprintf(w, "\nfairness, %d subscribers, %d turns\t%d hang\tnone does\tratio\ttarget\n", fairnessSubscribers, len(f.Ill), fairnessHanging)
	fmt.Fprintf(w, "POST to arrival at %d/s at the others, p99 ms\t%.2f\t%.2f\t%.2f\t≤ %g: %s\n",
		fairnessRate, median(slices.Clone(f.Ill)), median(slices.Clone(f.Well)), f.Ratio, f.Bound, verdict)
	fmt.Fprintf(w, "the same in the first seconds after the start\t%.2f\n", median(slices.Clone(f.First)))
}

// measureFairness has both take turns.
func measureFairness(ctx context.Context, p plan, o options, dir string, progress io.Writer) (*Fairness, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	f := &Fairness{}
	for turn := range p.fairnessTurns {
		for _, hanging := range []int{0, fairnessHanging} {
			m := &measurement{plan: p, options: o, name: pintleName, subscribers: fairnessSubscribers,
				dir: filepath.Join(dir, fmt.Sprintf("%d-%d", turn, hanging))}
			first, p99, err := m.fairness(ctx, hanging)
			if err != nil {
				return nil, fmt.Errorf("fairness, %d hang: %w", hanging, err)
			}
			if hanging == 0 {
				f.Well = append(f.Well, p99)
			} else {
				f.Ill, f.First = append(f.Ill, p99), append(f.First, first)
			}
			fmt.Fprintf(progress, "bench: turn %d of %d, %d of %d receivers hang: p99 %.2f ms\n", turn+1, p.fairnessTurns, hanging, fairnessSubscribers, p99)
		}
	}
	f.finish()
	return f, nil
}

// fairness measures once, and returns the 99th percentile of the first seconds
// and of those that follow, in milliseconds.
func (m *measurement) fairness(ctx context.Context, hanging int) (first, p99 float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	sink, err := startRole(ctx, "sink", sinkTask{Subscribers: m.subscribers, Secret: subscriberSecret, Hanging: hanging, Shared: true}, &m.sink)
	if err != nil {
		cancel()
		return 0, 0, err
	}
	defer func() {
		cancel()
		<-sink.done
	}()
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return 0, 0, err
	}
	subscribers := subscriptions(m.sink.URLs, "")
	for i := range subscribers {
		subscribers[i].Events = []string{typeOf(i, m.subscribers)}
	}
	if m.system, err = startPintle(ctx, m.options, m.dir, "", subscribers); err != nil {
		return 0, 0, err
	}
	defer func() {
		cancel()
		<-m.system.done
		err = errors.Join(err, os.RemoveAll(m.dir))
	}()
	for _, part := range []struct {
		to    *float64
		lasts time.Duration
	}{{&first, m.plan.fairnessFirst}, {&p99, m.plan.fairness}} {
		events := int(fairnessRate * part.lasts.Seconds())
		from := m.sent
		var load loadResult
		p, err := startRole(ctx, "load", loadTask{
			URL: m.system.url, Secret: senderSecret, Connections: m.options.connections, Size: eventBytes,
			First: from, Events: events, Types: m.subscribers, Rate: fairnessRate, Limit: part.lasts,
		}, &load)
		if err != nil {
			return 0, 0, err
		}
		<-p.done
		if p.err != nil {
			return 0, 0, p.ended()
		}
		m.sent += load.Acknowledged
		expected := 0
		for n := range m.sent {
			if n%m.subscribers >= hanging {
				expected++
			}
		}
		report, err := m.await(ctx, expected, from, load.Acknowledged)
		if err != nil {
			return 0, 0, err
		}
		*part.to = milliseconds(report.P99)
	}
	// A clean stop would wait for those that hang.
	m.system.kill()
	return first, p99, nil
}
