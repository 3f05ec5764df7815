package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// The keys of the figures, as the JSON has them.
const (
	acknowledgedKey = "acknowledged_per_second"
	deliveredKey    = "delivered_per_second"
	refusedKey      = "refused"
	cpuKey          = "cpu_seconds_per_1000"
	idleKey         = "idle_bytes"
	peakKey         = "peak_bytes"
	writtenKey      = "written_bytes_per_event"
	diskKey         = "disk_bytes_per_event"
	slowP50Key      = "p50_ms_at_50"
	slowP99Key      = "p99_ms_at_50"
	fastP50Key      = "p50_ms_at_200"
	fastP99Key      = "p99_ms_at_200"
	lateKey         = "generator_late_p99_ms_at_200"
)

// A figure is a line of the table.
type figure struct {
	key, label string
	// benchmark and unit are its name for benchstat.
	benchmark, unit string
	// higher says that more is better.
	higher bool
	// scale turns the figure into what the table shows, with so many decimals.
	scale    float64
	decimals int
}

func allFigures() []figure {
	return []figure{
		{acknowledgedKey, "acknowledged events/s", "Acknowledged", "events/s", true, 1, 0},
		{deliveredKey, "deliveries/s, first POST to last arrival", "Delivered", "events/s", true, 1, 0},
		{refusedKey, "refused for overload, sent again", "Refused", "refused", false, 1, 0},
		{cpuKey, "CPU s per 1,000 deliveries", "CPU", "cpu-s/1000", false, 1, 3},
		{idleKey, "memory idle, MB", "Idle", "resident-B", false, 1e-6, 1},
		{peakKey, "memory under load, peak, MB", "Peak", "resident-B", false, 1e-6, 1},
		{diskKey, "file growth per event, bytes", "Disk", "B/event", false, 1, 0},
		{writtenKey, "written to the disk per event, bytes", "Written", "B/event", false, 1, 0},
		{slowP50Key, "POST to arrival at 50/s, p50 ms", "Arrival50P50", "ms", false, 1, 2},
		{slowP99Key, "POST to arrival at 50/s, p99 ms", "Arrival50P99", "ms", false, 1, 2},
		{fastP50Key, "POST to arrival at 200/s, p50 ms", "Arrival200P50", "ms", false, 1, 2},
		{fastP99Key, "POST to arrival at 200/s, p99 ms", "Arrival200P99", "ms", false, 1, 2},
		{lateKey, "the generator's own delay at 200/s, p99 ms", "GeneratorLate", "ms", false, 1, 2},
	}
}

// A Target is what a figure should reach.
type Target struct {
	Subscribers int    `json:"subscribers"`
	Figure      string `json:"figure"`
	// Ratio says that the bound is on pintle divided by the relay, and else on
	// pintle alone.
	Ratio bool `json:"ratio,omitempty"`
	// Least says that the bound is the least that will do, and else the most.
	Least bool    `json:"least,omitempty"`
	Bound float64 `json:"bound"`
	// Met is null where the figure is missing.
	Met *bool `json:"met"`
}

func allTargets() []Target {
	return []Target{
		{Subscribers: 1, Figure: deliveredKey, Ratio: true, Least: true, Bound: 0.5},
		{Subscribers: 1, Figure: cpuKey, Bound: 0.200},
		{Subscribers: 1, Figure: fastP99Key, Bound: 10},
		{Subscribers: 10, Figure: cpuKey, Bound: 0.120},
	}
}

func (t Target) String() string {
	sign := "≤"
	if t.Least {
		sign = "≥"
	}
	text := fmt.Sprintf("%s %g", sign, t.Bound)
	if t.Ratio {
		text = "ratio " + text
	}
	switch {
	case t.Met == nil:
		return text
	case *t.Met:
		return text + ": met"
	}
	return text + ": MISSED"
}

// A Series is the figures of one system with so many subscribers.
type Series struct {
	System      string `json:"system"`
	Subscribers int    `json:"subscribers"`
	// Rounds are the figures by round, Medians those over the rounds.
	Rounds  []map[string]float64 `json:"rounds"`
	Medians map[string]float64   `json:"medians"`
}

// A Report is all figures of a run.
type Report struct {
	OS          string   `json:"os"`
	Arch        string   `json:"arch"`
	CPUs        int      `json:"cpus"`
	Connections int      `json:"connections"`
	Concurrency int      `json:"concurrency"`
	EventBytes  int      `json:"event_bytes"`
	Series      []Series `json:"series"`
	Targets     []Target `json:"targets"`
	// Checks is nil where they were not measured.
	Checks *Checks `json:"checks,omitempty"`
	// Outbound and Fairness are likewise missing where they were not measured.
	Outbound []Outbound `json:"outbound,omitempty"`
	Fairness *Fairness  `json:"fairness,omitempty"`
}

func newReport(p plan, o options) *Report {
	r := &Report{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		Connections: o.connections, Concurrency: o.concurrency, EventBytes: eventBytes,
	}
	for _, subscribers := range subscriberCounts() {
		for _, name := range []string{pintleName, relayName} {
			r.Series = append(r.Series, Series{
				System: name, Subscribers: subscribers, Rounds: make([]map[string]float64, 0, p.rounds),
			})
		}
	}
	return r
}

func (r *Report) series(system string, subscribers int) *Series {
	for i := range r.Series {
		if r.Series[i].System == system && r.Series[i].Subscribers == subscribers {
			return &r.Series[i]
		}
	}
	return &Series{}
}

func (r *Report) add(system string, subscribers int, figures map[string]float64) {
	s := r.series(system, subscribers)
	s.Rounds = append(s.Rounds, figures)
}

// finish computes the medians and judges the targets.
func (r *Report) finish() {
	for i := range r.Series {
		s := &r.Series[i]
		s.Medians = map[string]float64{}
		for _, f := range allFigures() {
			var values []float64
			for _, round := range s.Rounds {
				if v, ok := round[f.key]; ok {
					values = append(values, v)
				}
			}
			if len(values) > 0 {
				s.Medians[f.key] = median(values)
			}
		}
	}
	r.Targets = allTargets()
	for i := range r.Targets {
		t := &r.Targets[i]
		value, ok := r.series(pintleName, t.Subscribers).Medians[t.Figure]
		if t.Ratio {
			value, ok = r.ratio(t.Figure, t.Subscribers)
		}
		if ok {
			met := value <= t.Bound
			if t.Least {
				met = value >= t.Bound
			}
			t.Met = &met
		}
	}
}

func (r *Report) ratio(key string, subscribers int) (float64, bool) {
	pintle, ok1 := r.series(pintleName, subscribers).Medians[key]
	relay, ok2 := r.series(relayName, subscribers).Medians[key]
	if !ok1 || !ok2 || relay == 0 {
		return 0, false
	}
	return pintle / relay, true
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// write prints the table and writes the files that the options name. The table
// leaves standard output to a file that is written there.
func (r *Report) write(o options, stdout, stderr io.Writer) error {
	r.finish()
	table := stdout
	if o.json == "-" || o.benchfmt == "-" {
		table = stderr
	}
	if err := r.writeTable(table); err != nil {
		return err
	}
	if o.json != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(o.json, append(b, '\n'), stdout); err != nil {
			return err
		}
	}
	if o.benchfmt != "" {
		return writeFile(o.benchfmt, []byte(r.benchmarks()), stdout)
	}
	return nil
}

func writeFile(name string, text []byte, stdout io.Writer) error {
	if name == "-" {
		_, err := stdout.Write(text)
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

func (r *Report) writeTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if rounds := max(len(r.Series[0].Rounds), len(r.Series[1].Rounds)); rounds > 0 {
		fmt.Fprintf(tw, "Rounds: %d, of which the medians; ", rounds)
	}
	fmt.Fprintf(tw, "connections: %d; events of %d bytes; CPUs, shared by all processes: %d.\n", r.Connections, r.EventBytes, r.CPUs)
	for _, subscribers := range subscriberCounts() {
		if len(r.series(pintleName, subscribers).Rounds)+len(r.series(relayName, subscribers).Rounds) == 0 {
			continue
		}
		fmt.Fprintf(tw, "\nsubscribers: %d\t%s\t%s\tratio\ttarget\n", subscribers, pintleName, relayName)
		for _, f := range allFigures() {
			pintle := f.format(r.series(pintleName, subscribers).Medians)
			relay := f.format(r.series(relayName, subscribers).Medians)
			if pintle == missing && relay == missing {
				continue
			}
			ratio := missing
			if v, ok := r.ratio(f.key, subscribers); ok {
				ratio = fmt.Sprintf("%.2f", v)
			}
			var target string
			for _, t := range r.Targets {
				if t.Subscribers == subscribers && t.Figure == f.key {
					target = t.String()
				}
			}
			fmt.Fprintln(tw, strings.TrimRight(strings.Join([]string{f.label, pintle, relay, ratio, target}, "\t"), "\t"))
		}
	}
	if r.Checks != nil {
		r.Checks.write(tw)
	}
	for i := range r.Outbound {
		r.Outbound[i].write(tw)
	}
	if r.Fairness != nil {
		r.Fairness.write(tw)
	}
	return tw.Flush()
}

// missing stands for a figure that there is none of.
const missing = "–"

func (f figure) format(figures map[string]float64) string {
	v, ok := figures[f.key]
	if !ok {
		return missing
	}
	return fmt.Sprintf("%.*f", f.decimals, v*f.scale)
}

// benchmarks returns the figures in the format of go test -bench, each round a
// run of its own, with which of them are the better the higher they are.
func (r *Report) benchmarks() string {
	var b strings.Builder
	units := map[string]bool{}
	for _, f := range allFigures() {
		better := "lower"
		if f.higher {
			better = "higher"
		}
		if !units[f.unit] {
			fmt.Fprintf(&b, "Unit %s better=%s\n", f.unit, better)
		}
		units[f.unit] = true
	}
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: github.com/pintle/pintle/app/bench\n", r.OS, r.Arch)
	for _, f := range allFigures() {
		for _, s := range r.Series {
			for _, round := range s.Rounds {
				if v, ok := round[f.key]; ok {
					fmt.Fprintf(&b, "Benchmark%s/%s/subs=%d 1 %g %s\n", f.benchmark, s.System, s.Subscribers, v, f.unit)
				}
			}
		}
	}
	for _, o := range r.Outbound {
		for _, side := range []string{clientSide, plainSide, transformSide} {
			for _, rate := range o.Rates[side] {
				fmt.Fprintf(&b, "BenchmarkOutbound/side=%s/subs=%d 1 %g events/s\n", side, o.Subscribers, rate)
			}
		}
	}
	if f := r.Fairness; f != nil {
		for i := range f.Ill {
			fmt.Fprintf(&b, "BenchmarkFairness/hanging=0 1 %g ms\n", f.Well[i])
			fmt.Fprintf(&b, "BenchmarkFairness/hanging=%d 1 %g ms\n", fairnessHanging, f.Ill[i])
		}
	}
	if c := r.Checks; c != nil {
		for _, rate := range c.On.Rates {
			fmt.Fprintf(&b, "BenchmarkAcknowledged/checks=%s 1 %g events/s\n", checksOn, rate)
		}
		for _, rate := range c.Off.Rates {
			fmt.Fprintf(&b, "BenchmarkAcknowledged/checks=%s 1 %g events/s\n", checksOff, rate)
		}
	}
	return b.String()
}
