package crash

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var soak = flag.Duration("soak", 0, "how long the appliance is loaded to see whether anything grows; 0: not at all")

const (
	// soakParts is how many intervals a soak is divided into. The first third is
	// left for the appliance to come into its stride.
	soakParts = 18
	// soakPause makes some fifty events in a second of all senders together.
	soakPause = 600 * time.Millisecond
	// soakSize is storage.max_size, so small that it is reached in the first third of
	// a few minutes: history goes as fast as it comes.
	soakSize = 16 << 20
	// sampleEach is how often all is looked at; of an interval the largest counts.
	sampleEach = time.Second
)

// A measure is a number that must not grow.
type measure struct {
	name string
	unit float64 // what one of the table's is
	// The median of the last third may be so many times that of the middle one, and
	// so much more.
	factor, slack float64
}

// measures are those of a soak, in the order of its table.
var measures = []measure{
	{"RSS MiB", 1 << 20, 1.2, 8 << 20},
	{"goroutines", 1, 1.2, 20},
	{"file MiB", 1 << 20, 1.1, 1 << 20},
	{"log MiB", 1 << 20, 1.1, 4 << 20},
	{"queue", 1, 1.5, 50},
	{"p50 ms", 1e6, 1.5, 5e6},
	{"p99 ms", 1e6, 2, 50e6},
}

// grows reports whether the measure grows, by its values in the intervals.
func (m measure) grows(values []float64) (from, to float64, grows bool) {
	third := len(values) / 3
	from, to = median(values[third:len(values)-third]), median(values[len(values)-third:])
	return from, to, to > from*m.factor+m.slack
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// TestNothingGrows loads the appliance evenly, with subscribers of all kinds, and
// looks whether it needs more and more for that.
func TestNothingGrows(t *testing.T) {
	if *soak == 0 {
		t.Skip("takes long: make soak runs it")
	}
	times := &times{}
	receivers := []*receiver{
		{took: times.add}, {failing: 0.2}, {slow: 100 * time.Millisecond}, {hanging: 0.03},
		{terms: terms{ordered: true}, slow: 2 * time.Millisecond, failing: 0.02, failure: 60 * time.Millisecond},
		{terms: terms{transformed: true}, failing: 0.1}, {terms: terms{filtered: true}, failing: 0.1},
	}
	var all []terms
	for _, r := range receivers {
		all = append(all, r.terms)
	}
	l := newLedger(all...)
	i := install(t, binary(t), t.TempDir())
	config, err := os.ReadFile(i.config)
	if err == nil {
		config = bytes.Replace(config, []byte("[storage]\n"), fmt.Appendf(nil, "[storage]\nmax_size = %d\n", soakSize), 1)
		err = os.WriteFile(i.config, config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := i.start(t)
	a.ready(t)
	for n, r := range receivers {
		r.ledger, r.number = l, n
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		add := []string{"subscribers", "add", server.URL, "--secret", subscriberSecret, "--events", "*"}
		if r.hanging > 0 {
			add = append(add, "--timeout", "2s")
		}
		if _, err := i.command(t.Context(), append(add, r.flags()...)...); err != nil {
			t.Fatal(err)
		}
	}
	sending := startSending(t, orderToSend{URL: "http://" + i.inbound + "/webhook/inbound", Seed: rand.Uint64(), Pause: soakPause}, l)

	head := fmt.Sprintf("%9s %8s", "after", "events")
	for _, m := range measures {
		head += fmt.Sprintf(" %10s", m.name)
	}
	t.Log(head)
	begun := time.Now()
	values := make([][]float64, len(measures))
	for part := range soakParts {
		largest := make([]float64, len(measures))
		ticker := time.NewTicker(sampleEach)
		end := time.After(time.Until(begun.Add(*soak * time.Duration(part+1) / soakParts)))
	interval:
		for {
			for n, v := range a.sample(t) {
				largest[n] = max(largest[n], v)
			}
			select {
			case <-ticker.C:
			case <-end:
				break interval
			case <-a.done:
				t.Fatalf("the appliance ended by itself: %v", a.err)
			case <-sending.done:
				t.Fatalf("the sender ended by itself: %v", sending.err)
			case <-l.faulty:
				t.Fatal(strings.Join(l.balance().faults, "\n"))
			}
		}
		ticker.Stop()
		events, p50, p99 := times.take()
		largest[len(largest)-2], largest[len(largest)-1] = float64(p50), float64(p99)
		row := fmt.Sprintf("%9s %8d", time.Since(begun).Round(time.Second), events)
		for n, m := range measures {
			values[n] = append(values[n], largest[n])
			row += fmt.Sprintf(" %10.1f", largest[n]/m.unit)
		}
		t.Log(row)
	}
	for n, m := range measures {
		if from, to, grows := m.grows(values[n]); grows {
			t.Errorf("%s grows from %.1f to %.1f: more than %g times, and %.1f", m.name, from/m.unit, to/m.unit, m.factor, m.slack/m.unit)
		}
	}

	sending.finish(t, l)
	nonePending(t, i)
	a.stop(t)
	checkIntegrity(t, i.database)
	b := l.balance()
	t.Logf("acknowledged %d, delivered %d, repeats %d", b.acknowledged, b.delivered, b.repeats)
	report(t, "faults", b.faults)
	report(t, "lost", b.lost)
	report(t, "strangers", b.strangers)
}

// sample is what can be seen of the appliance at the moment: all measures but the
// last two.
func (a *appliance) sample(t *testing.T) []float64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(a.cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	size := func(file string) float64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return float64(info.Size())
	}
	metrics := a.metrics(t)
	return []float64{kilobytes * 1024, metrics["go_goroutines"], size(a.database), size(a.database + "-wal"), metrics["webhook_queue_depth"]}
}

// metrics are those without labels.
func (a *appliance) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	client := &http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", a.socket())
		}}}
	response, err := client.Get("http://localhost/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			if number, err := strconv.ParseFloat(value, 64); err == nil {
				found[name] = number
			}
		}
	}
	for _, name := range []string{"go_goroutines", "webhook_queue_depth"} {
		if _, ok := found[name]; !ok {
			t.Fatalf("the metrics have no %s", name)
		}
	}
	return found
}

// times are those of an interval.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *times) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

func (s *times) take() (count int, p50, p99 time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	return len(all), all[len(all)/2], all[len(all)*99/100]
}

func TestSoakTellsGrowthFromNoise(t *testing.T) {
	m := measure{"x", 1, 1.2, 1}
	for name, c := range map[string]struct {
		value func(part int) float64
		grows bool
	}{
		"level":                {func(int) float64 { return 100 }, false},
		"grows":                {func(part int) float64 { return float64(100 + 10*part) }, true},
		"grows at first":       {func(part int) float64 { return float64(min(part, 5)) * 100 }, false},
		"one that is too high": {func(part int) float64 { return map[bool]float64{true: 1000, false: 100}[part == soakParts-2] }, false},
		"up and down":          {func(part int) float64 { return float64(100 + part%2*10) }, false},
	} {
		var values []float64
		for part := range soakParts {
			values = append(values, c.value(part))
		}
		if from, to, grows := m.grows(values); grows != c.grows {
			t.Errorf("%s: from %g to %g, grows: %t", name, from, to, grows)
		}
	}
}
