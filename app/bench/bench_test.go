package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/webhook"
)

// perform runs a role until the end of the test and returns its answer.
func perform[T, R any](t *testing.T, role func(context.Context, T, func(any) error) error, task T) R {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan R, 1)
	done := make(chan error, 1)
	go func() {
		done <- role(ctx, task, func(v any) error { answers <- v.(R); return nil })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("role: %v", err)
		}
	})
	select {
	case answer := <-answers:
		return answer
	case err := <-done:
		done <- nil
		t.Fatalf("role ended: %v", err)
		panic("unreachable")
	}
}

func fetchReport(t *testing.T, sink sinkReady, first, events int) sinkReport {
	t.Helper()
	var report sinkReport
	url := sink.Control + "/report?first=" + strconv.Itoa(first) + "&events=" + strconv.Itoa(events)
	if err := get(t.Context(), url, func(r io.Reader) error { return json.NewDecoder(r).Decode(&report) }); err != nil {
		t.Fatal(err)
	}
	return report
}

func TestEverythingSentThroughTheRelayArrivesOnceAndSigned(t *testing.T) {
	const subscribers, events = 3, 300
	sink := perform[sinkTask, sinkReady](t, playSink, sinkTask{Subscribers: subscribers, Secret: subscriberSecret})
	relay := perform[relayTask, relayReady](t, playRelay, relayTask{
		Secret: senderSecret, SubscriberSecret: subscriberSecret, Subscribers: sink.URLs, Concurrency: 4,
	})
	task := loadTask{URL: relay.URL, Secret: senderSecret, Connections: 8, Events: events, Size: eventBytes, Limit: time.Minute}
	closed := perform[loadTask, loadResult](t, playLoad, task)
	task.First, task.Rate = events, 5000
	open := perform[loadTask, loadResult](t, playLoad, task)
	if closed.Acknowledged != events || open.Acknowledged != events {
		t.Fatalf("acknowledged %d and %d of %d each", closed.Acknowledged, open.Acknowledged, events)
	}
	if err := get(t.Context(), sink.Control+"/wait?arrivals="+strconv.Itoa(2*events*subscribers), nil); err != nil {
		t.Fatal(err)
	}
	report := fetchReport(t, sink, 0, 2*events)
	if report.Missing != 0 || report.Repeats != 0 || report.Invalid != 0 {
		t.Errorf("report: %+v", report)
	}
	if report.P50 <= 0 || report.P99 < report.P50 || report.Max < report.P99 || !report.LastArrival.After(closed.FirstSent) {
		t.Errorf("times do not fit together: %+v", report)
	}
}

func TestTheSinkNoticesWhatIsMissingRepeatedOrForged(t *testing.T) {
	sink := perform[sinkTask, sinkReady](t, playSink, sinkTask{Subscribers: 2, Secret: subscriberSecret})
	post := func(url string, body []byte) {
		t.Helper()
		response, err := http.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	// Number 1 is not among those whose signatures are checked; 0 is.
	one := appendEvent(nil, eventType, 1, time.Now(), eventBytes)
	post(sink.URLs[0], one)
	post(sink.URLs[0], one)
	post(sink.URLs[1], appendEvent(nil, eventType, 0, time.Now(), eventBytes))
	post(sink.URLs[1], []byte("{}"))
	report := fetchReport(t, sink, 0, 2)
	if report.Missing != 3 || report.Repeats != 1 || report.Invalid != 2 || report.Fault == "" {
		t.Errorf("report: %+v", report)
	}
}

func TestAnEventHasItsSizeAndCanBeReadBackFromADelivery(t *testing.T) {
	sent := time.Unix(1731602712, 123456789)
	body := appendEvent([]byte("before"), eventType, 42, sent, eventBytes)[len("before"):]
	if len(body) != eventBytes {
		t.Errorf("length %d", len(body))
	}
	e, err := decode(body)
	if err != nil {
		t.Fatal(err)
	}
	number, at, err := parseEvent(e.Body())
	if err != nil || number != 42 || !at.Equal(sent) {
		t.Errorf("read back %d, %s, %v", number, at, err)
	}
}

func TestTheRelayRefusesWhatTheApplianceWould(t *testing.T) {
	for _, body := range []string{
		``, `[]`, `{`, `{"event":"a","timestamp":1}`, `{"event":"a","timestamp":1,"data":{}} x`,
		`{"event":"a","event":"a","timestamp":1,"data":{}}`, `{"event":"a b","timestamp":1,"data":{}}`,
		`{"event":"a","timestamp":1.5,"data":{}}`,
	} {
		if e, err := decode([]byte(body)); err == nil {
			t.Errorf("%s: decoded as %+v", body, e)
		}
	}
	relay := perform[relayTask, relayReady](t, playRelay, relayTask{Secret: senderSecret})
	task := loadTask{URL: relay.URL, Secret: "another", Connections: 1, Events: 1, Size: eventBytes, Limit: time.Minute}
	if _, err := task.run(t.Context()); err == nil || !strings.Contains(err.Error(), "status 401") {
		t.Errorf("wrong secret: %v", err)
	}
}

func TestAReportJudgesMediansAgainstTheTargets(t *testing.T) {
	r := newReport(plan{rounds: 3}, options{})
	for _, rate := range []float64{100, 900, 500} {
		r.add(pintleName, 1, map[string]float64{deliveredKey: rate, cpuKey: 0.3})
	}
	for _, rate := range []float64{800, 1000} {
		r.add(relayName, 1, map[string]float64{deliveredKey: rate})
	}
	var table, stderr strings.Builder
	if err := r.write(options{}, &table, &stderr); err != nil {
		t.Fatal(err)
	}
	verdicts := map[Target]string{}
	for _, target := range r.Targets {
		verdict := "unknown"
		if target.Met != nil {
			verdict = strconv.FormatBool(*target.Met)
		}
		target.Met = nil
		verdicts[target] = verdict
	}
	want := map[string]string{deliveredKey: "true", cpuKey: "false", fastP99Key: "unknown"}
	for _, target := range allTargets() {
		if target.Subscribers == 1 && verdicts[target] != want[target.Figure] {
			t.Errorf("%s: met %s, want %s", target.Figure, verdicts[target], want[target.Figure])
		}
	}
	for _, text := range []string{"0.56", "ratio ≥ 0.5: met", "≤ 0.2: MISSED"} {
		if !strings.Contains(table.String(), text) {
			t.Errorf("no %q in\n%s", text, &table)
		}
	}
	if lines := r.benchmarks(); !strings.Contains(lines, "\nBenchmarkDelivered/pintle/subs=1 1 900 events/s\n") {
		t.Errorf("benchmark format:\n%s", lines)
	}
}

func TestTheSecretsAreOnesThatTheApplianceTakes(t *testing.T) {
	s := webhook.Subscriber{URL: "http://127.0.0.1:1/", Secret: subscriberSecret, Events: []webhook.Pattern{"*"}}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheChecksAreJudgedTurnByTurn(t *testing.T) {
	r := newReport(plan{}, options{})
	r.Checks = &Checks{On: CheckedSide{Rates: []float64{900, 100, 950}}, Off: CheckedSide{Rates: []float64{1000, 5000, 900}}}
	r.Checks.finish()
	var table, stderr strings.Builder
	if err := r.write(options{}, &table, &stderr); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "900  1000  0.90   ratio ≥ 0.9: met") || strings.Contains(table.String(), "subscribers") {
		t.Errorf("table:\n%s", &table)
	}
	if lines := r.benchmarks(); !strings.Contains(lines, "BenchmarkAcknowledged/checks=off 1 5000 events/s\n") {
		t.Errorf("benchmark format:\n%s", lines)
	}
}

func TestTheSenderOfTheLoadIsLetInByItsSystemAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "asn.mmdb")
	if err := writeDatabase(file); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(text, []byte("[inbound]\n"+checksConfig(checksOn, file)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: text})
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr(sentFor)
	if len(c.Inbound.AllowIPs) == 0 || slices.ContainsFunc(c.Inbound.AllowIPs, func(p netip.Prefix) bool { return p.Contains(address) }) {
		t.Errorf("%s is in one of %v", address, c.Inbound.AllowIPs)
	}
}
