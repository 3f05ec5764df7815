package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A plan says how much is measured.
type plan struct {
	rounds int
	// events is how many are sent for one subscriber, and a fifth of them for
	// ten; loadLimit ends the sending even if some are left.
	events    int
	loadLimit time.Duration
	// warmUp is how many events are sent before the measured ones.
	warmUp int
	// slow and fast are how long each of the two fixed rates is kept.
	slow, fast time.Duration
	// arrivalLimit bounds the wait for what is still under way.
	arrivalLimit time.Duration
	// checksTurns is how often each side of the comparison of checks has its
	// turn, and checksTurn how long that is.
	checksTurns int
	checksTurn  time.Duration
	// fairnessTurns is how often each side of the comparison of fairness has its
	// turn, which lasts for fairness after a while of fairnessFirst. A turn must be
	// long: up to once a second a handful of events takes some milliseconds,
	// whoever hangs, and a short one is decided by how many of these it has met.
	fairnessTurns           int
	fairnessFirst, fairness time.Duration
}

// The fixed rates, in events per second.
const (
	slowRate = 50
	fastRate = 200
)

// eventBytes is the size of an event's body.
const eventBytes = 1024

func newPlan(o options) plan {
	p := plan{
		rounds: 3, events: 30000, loadLimit: 6 * time.Second, warmUp: 500,
		slow: 2 * time.Second, fast: 4 * time.Second, arrivalLimit: 30 * time.Second,
		checksTurns: 10, checksTurn: time.Second,
		fairnessTurns: 5, fairnessFirst: 7 * time.Second, fairness: 20 * time.Second,
	}
	if o.quick {
		p.rounds, p.events, p.warmUp = 1, 5000, 200
		p.slow, p.fast = time.Second, 2*time.Second
		p.checksTurns, p.fairnessTurns, p.fairness = 2, 1, 8*time.Second
	}
	if o.rounds > 0 {
		p.rounds, p.checksTurns = o.rounds, 3*o.rounds
	}
	if o.events > 0 {
		p.events = o.events
	}
	return p
}

// subscriberCounts are the scenarios.
func subscriberCounts() []int { return []int{1, 10} }

// measure carries out the plan and writes what the options ask for.
func measure(ctx context.Context, p plan, o options, stdout, stderr io.Writer) (err error) {
	// The name is short because the socket's path has to fit into 108 bytes.
	dir, err := os.MkdirTemp(o.dir, "pb")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	names := []string{pintleName, relayName}
	switch o.only {
	case checksName, outboundName, fairnessName:
		names = nil
	case pintleName, relayName:
		names = []string{o.only}
	}
	var empty int64
	if o.only != relayName {
		if o.pintle == "" {
			fmt.Fprintln(stderr, "bench: building")
			o.pintle = filepath.Join(dir, pintleName)
			if err := build(ctx, o.pintle); err != nil {
				return err
			}
		}
		if o.pintle, err = filepath.Abs(o.pintle); err != nil {
			return err
		}
	}
	if slices.Contains(names, pintleName) {
		if empty, err = emptyBytes(ctx, o, filepath.Join(dir, "e")); err != nil {
			return err
		}
	}
	report := newReport(p, o)
	for round := range p.rounds {
		for _, subscribers := range subscriberCounts() {
			for _, name := range names {
				m := &measurement{plan: p, options: o, name: name, subscribers: subscribers, empty: empty,
					dir: filepath.Join(dir, fmt.Sprintf("%d-%d-%s", round, subscribers, name))}
				figures, err := m.run(ctx)
				if err != nil {
					// What is said last is why, so the cause of a cancelled
					// context goes before all that follows from it.
					if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
						err = fmt.Errorf("%w: %w", cause, err)
					}
					return fmt.Errorf("%s, %d subscribers: %w", name, subscribers, err)
				}
				report.add(name, subscribers, figures)
				fmt.Fprintf(stderr, "bench: round %d of %d, %s, subscribers=%d: %.0f deliveries/s\n",
					round+1, p.rounds, name, subscribers, figures[deliveredKey])
			}
		}
	}
	if o.only == "" || o.only == checksName {
		report.Checks, err = measureChecks(ctx, p, o, filepath.Join(dir, checksName), stderr)
		if err != nil {
			return err
		}
	}
	if o.only == "" || o.only == outboundName {
		report.Outbound, err = measureOutbound(ctx, p, o, filepath.Join(dir, outboundName), stderr)
		if err != nil {
			return err
		}
	}
	if o.only == "" || o.only == fairnessName {
		report.Fairness, err = measureFairness(ctx, p, o, filepath.Join(dir, fairnessName), stderr)
		if err != nil {
			return err
		}
	}
	return report.write(o, stdout, stderr)
}

// build makes the binary as a release is made, without cgo.
func build(ctx context.Context, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, "github.com/pintle/pintle")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build pintle: %w\n%s", err, out)
	}
	return nil
}

// emptyBytes returns the size of a database with one subscriber and no event.
func emptyBytes(ctx context.Context, o options, dir string) (int64, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	s, err := startPintle(ctx, o, dir, "", subscriptions([]string{"http://127.0.0.1:9/"}, ""))
	if err != nil {
		return 0, err
	}
	if err := s.stop(); err != nil {
		return 0, err
	}
	return databaseBytes(dir)
}

// A measurement is one turn of the appliance or of the relay.
type measurement struct {
	plan        plan
	options     options
	name        string
	subscribers int
	dir         string
	// transform is what the subscribers have the body made into; empty: nothing.
	transform string
	// empty is the size of a database without events.
	empty int64

	system *system
	sink   sinkReady
	// sent counts the events of all phases so far.
	sent int
}

// run starts the receivers and the system, sends the phases, and stops the
// system.
func (m *measurement) run(ctx context.Context) (_ map[string]float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	// Every process ends with this context, and is waited for below.
	sink, err := startRole(ctx, "sink", sinkTask{Subscribers: m.subscribers, Secret: subscriberSecret}, &m.sink)
	if err != nil {
		cancel()
		return nil, err
	}
	defer func() {
		cancel()
		<-sink.done
	}()
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	defer func() {
		cancel()
		<-m.system.done
	}()
	figures, err := m.phases(ctx)
	if err != nil {
		// A system that has died is the reason for whatever else went wrong.
		select {
		case <-m.system.done:
			return nil, m.system.ended()
		default:
			return nil, err
		}
	}
	if err := m.system.stop(); err != nil {
		return nil, err
	}
	// A repeat can come as late as the stop.
	if _, err := m.report(ctx, 0, m.sent); err != nil {
		return nil, err
	}
	if m.name == pintleName {
		bytes, err := databaseBytes(m.dir)
		if err != nil {
			return nil, err
		}
		figures[diskKey] = float64(bytes-m.empty) / float64(m.sent)
		// A long run would otherwise keep all its databases until the end.
		if err := os.RemoveAll(m.dir); err != nil {
			return nil, err
		}
	}
	return figures, nil
}

func (m *measurement) start(ctx context.Context) (err error) {
	if m.name == relayName {
		m.system, err = startRelay(ctx, m.options, m.sink.URLs)
		return err
	}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return err
	}
	m.system, err = startPintle(ctx, m.options, m.dir, "", subscriptions(m.sink.URLs, m.transform))
	return err
}

func (m *measurement) phases(ctx context.Context) (map[string]float64, error) {
	figures := map[string]float64{}
	idle, err := m.system.rest(ctx)
	if err != nil {
		return nil, err
	}
	events := m.plan.events
	if m.subscribers > 1 {
		events = m.plan.events / 5
	}
	if _, _, err := m.send(ctx, loadTask{Events: m.plan.warmUp, Limit: m.plan.loadLimit}); err != nil {
		return nil, err
	}
	before, err := m.system.rest(ctx)
	if err != nil {
		return nil, err
	}
	load, arrived, err := m.send(ctx, loadTask{Events: events, Limit: m.plan.loadLimit})
	if err != nil {
		return nil, err
	}
	after, err := m.system.rest(ctx)
	if err != nil {
		return nil, err
	}
	deliveries := float64(load.Acknowledged * m.subscribers)
	figures[acknowledgedKey] = float64(load.Acknowledged) / load.LastAck.Sub(load.FirstSent).Seconds()
	figures[deliveredKey] = deliveries / arrived.LastArrival.Sub(load.FirstSent).Seconds()
	figures[refusedKey] = float64(load.Refused)
	if before.known {
		figures[cpuKey] = (after.cpu - before.cpu).Seconds() / deliveries * 1000
		figures[idleKey] = float64(idle.memory)
		figures[peakKey] = float64(after.peak)
		figures[writtenKey] = float64(after.written-before.written) / float64(load.Acknowledged)
	}
	if m.subscribers > 1 {
		return figures, nil
	}
	for _, phase := range []struct {
		rate     float64
		duration time.Duration
		p50, p99 string
	}{
		{slowRate, m.plan.slow, slowP50Key, slowP99Key},
		{fastRate, m.plan.fast, fastP50Key, fastP99Key},
	} {
		load, arrived, err := m.send(ctx, loadTask{
			Events: int(phase.rate * phase.duration.Seconds()), Rate: phase.rate, Limit: phase.duration,
		})
		if err != nil {
			return nil, err
		}
		figures[phase.p50], figures[phase.p99] = milliseconds(arrived.P50), milliseconds(arrived.P99)
		if phase.rate == fastRate {
			figures[lateKey] = milliseconds(load.LateP99)
		}
	}
	return figures, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// send has the load generator do the task and waits until all of it has arrived.
func (m *measurement) send(ctx context.Context, task loadTask) (load loadResult, arrived sinkReport, err error) {
	task.URL, task.Secret = m.system.url, senderSecret
	task.Connections, task.Size = m.options.connections, eventBytes
	task.First = m.sent
	p, err := startRole(ctx, "load", task, &load)
	if err != nil {
		return load, arrived, err
	}
	<-p.done
	if p.err != nil {
		return load, arrived, p.ended()
	}
	m.sent += load.Acknowledged
	arrived, err = m.await(ctx, m.sent*m.subscribers, task.First, load.Acknowledged)
	return load, arrived, err
}

// await waits until so many deliveries have arrived in all, and returns the report
// of these events.
func (m *measurement) await(ctx context.Context, arrivals, first, events int) (sinkReport, error) {
	limit, cancel := context.WithTimeout(ctx, m.plan.arrivalLimit)
	defer cancel()
	// Whether all has arrived is told by the report, in numbers.
	waitErr := get(limit, m.sink.Control+"/wait?arrivals="+strconv.Itoa(arrivals), nil)
	if err := context.Cause(ctx); err != nil {
		return sinkReport{}, err
	}
	arrived, err := m.report(ctx, first, events)
	return arrived, errors.Join(err, waitErr)
}

// report fetches what the sink knows of these events, and fails unless all of
// them arrived, and once.
func (m *measurement) report(ctx context.Context, first, events int) (report sinkReport, err error) {
	query := url.Values{"first": {strconv.Itoa(first)}, "events": {strconv.Itoa(events)}}
	err = get(ctx, m.sink.Control+"/report?"+query.Encode(), func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&report)
	})
	switch {
	case err != nil:
		return report, fmt.Errorf("ask the sink: %w", err)
	case report.Invalid > 0:
		return report, fmt.Errorf("%d deliveries were not as they should be: %s", report.Invalid, report.Fault)
	case report.Missing > 0:
		return report, fmt.Errorf("%d deliveries had not arrived after %s", report.Missing, m.plan.arrivalLimit)
	case report.Repeats > 0:
		return report, fmt.Errorf("%d deliveries arrived again, the first %s", report.Repeats, report.Repeat)
	}
	return report, nil
}
