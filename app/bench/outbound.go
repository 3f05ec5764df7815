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

	"github.com/pintle/pintle/app/webhook"
)

// outboundName is the comparison of what the appliance delivers, with and without
// a transform, with what a client posts that has nothing else to do.
const outboundName = "outbound"

// The sides of the comparison.
const (
	clientSide    = "client"
	plainSide     = "plain"
	transformSide = "transform"
)

// outboundTransform keeps what the sink looks for, and takes some work.
const outboundTransform = `{event, timestamp, data: (.data + {text: (.data.text | length)})}`

// clientTask says what the bare client posts: so many events, all of them to each
// of the receivers.
type clientTask struct {
	Events int
	// URLs are the receivers, Concurrency how many requests are in flight to one.
	URLs        []string
	Concurrency int
}

// clientResult tells how long it took.
type clientResult struct{ Took time.Duration }

// playClient signs and posts as the relay does, but takes nothing in.
func playClient(ctx context.Context, task clientTask, answer func(any) error) error {
	r, err := newRelay(relayTask{SubscriberSecret: subscriberSecret, Subscribers: task.URLs, Concurrency: task.Concurrency})
	if err != nil {
		return err
	}
	started := time.Now()
	for n := range task.Events {
		e, err := decode(appendEvent(nil, eventType, n, time.Now(), eventBytes))
		if err != nil {
			return err
		}
		e.ID = webhook.EventID(fmt.Sprintf("evt_%d", n))
		for _, queue := range r.queues {
			select {
			case queue <- e:
			case <-ctx.Done():
				r.close()
				return context.Cause(ctx)
			}
		}
	}
	r.close()
	return answer(clientResult{time.Since(started)})
}

// An Outbound compares the sides for so many subscribers.
type Outbound struct {
	Subscribers int `json:"subscribers"`
	// Rates are deliveries per second, by side and turn.
	Rates map[string][]float64 `json:"deliveries_per_second"`
	// CPU is what a thousand deliveries took, in seconds, of the appliance and
	// those that run its transforms; empty where the system does not tell.
	CPU map[string][]float64 `json:"cpu_seconds_per_1000,omitempty"`
}

func outboundCounts() []int { return []int{1, 100} }

// ratio is the median, over the turns, of one side's rate divided by another's in
// the same turn.
func (o *Outbound) ratio(side, by string) float64 {
	ratios := make([]float64, len(o.Rates[side]))
	for i, rate := range o.Rates[side] {
		ratios[i] = rate / o.Rates[by][i]
	}
	return median(ratios)
}

func (o *Outbound) write(w io.Writer) {
	fmt.Fprintf(w, "\noutbound, subscribers: %d, %d turns\tdeliveries/s\tof the client's\tCPU s per 1,000\n", o.Subscribers, len(o.Rates[clientSide]))
	for _, side := range []string{clientSide, plainSide, transformSide} {
		cpu := missing
		if len(o.CPU[side]) > 0 {
			cpu = fmt.Sprintf("%.3f", median(slices.Clone(o.CPU[side])))
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%s\n", side, median(slices.Clone(o.Rates[side])), o.ratio(side, clientSide), cpu)
	}
	fmt.Fprintf(w, "with a transform, of the rate without\t\t%.2f\n", o.ratio(transformSide, plainSide))
}

// measureOutbound has the sides take turns.
func measureOutbound(ctx context.Context, p plan, o options, dir string, progress io.Writer) ([]Outbound, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	var list []Outbound
	for _, subscribers := range outboundCounts() {
		one := Outbound{Subscribers: subscribers, Rates: map[string][]float64{}, CPU: map[string][]float64{}}
		for turn := range p.rounds {
			for _, side := range []string{clientSide, plainSide, transformSide} {
				m := &measurement{plan: p, options: o, name: pintleName, subscribers: subscribers,
					dir: filepath.Join(dir, fmt.Sprintf("%d-%d-%s", subscribers, turn, side))}
				if side == transformSide {
					m.transform = outboundTransform
				}
				rate, err := m.outbound(ctx, side, &one)
				if err != nil {
					return nil, fmt.Errorf("outbound %s, %d subscribers: %w", side, subscribers, err)
				}
				fmt.Fprintf(progress, "bench: turn %d of %d, outbound %s, subscribers=%d: %.0f deliveries/s\n", turn+1, p.rounds, side, subscribers, rate)
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// outbound measures one side once.
func (m *measurement) outbound(ctx context.Context, side string, to *Outbound) (rate float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	sink, err := startRole(ctx, "sink", sinkTask{Subscribers: m.subscribers, Secret: subscriberSecret}, &m.sink)
	if err != nil {
		cancel()
		return 0, err
	}
	defer func() {
		cancel()
		<-sink.done
	}()
	events := max(m.plan.events/m.subscribers, 1)
	if side == clientSide {
		var result clientResult
		c, err := startRole(ctx, clientSide, clientTask{URLs: m.sink.URLs, Events: events, Concurrency: m.options.concurrency}, &result)
		if err != nil {
			return 0, err
		}
		<-c.done
		rate := float64(events*m.subscribers) / result.Took.Seconds()
		to.Rates[side] = append(to.Rates[side], rate)
		return rate, nil
	}
	if err := m.start(ctx); err != nil {
		return 0, err
	}
	defer func() {
		cancel()
		<-m.system.done
		err = errors.Join(err, os.RemoveAll(m.dir))
	}()
	if _, _, err := m.send(ctx, loadTask{Events: max(m.plan.warmUp/m.subscribers, 1), Limit: m.plan.loadLimit}); err != nil {
		return 0, err
	}
	before, err := m.system.rest(ctx)
	if err != nil {
		return 0, err
	}
	load, arrived, err := m.send(ctx, loadTask{Events: events, Limit: m.plan.loadLimit})
	if err != nil {
		return 0, err
	}
	after, err := m.system.rest(ctx)
	if err != nil {
		return 0, err
	}
	deliveries := float64(load.Acknowledged * m.subscribers)
	rate = deliveries / arrived.LastArrival.Sub(load.FirstSent).Seconds()
	to.Rates[side] = append(to.Rates[side], rate)
	if before.known {
		to.CPU[side] = append(to.CPU[side], (after.cpu-before.cpu).Seconds()/deliveries*1000)
	}
	return rate, m.system.stop()
}
