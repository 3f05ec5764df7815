//go:build suites

package suites

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// slowFrom is where slowhttptest comes from, and legitimateFrom those who
	// are to be served meanwhile.
	slowFrom       = "127.0.0.1"
	legitimateFrom = "127.0.0.2"
	// legitimateRate is how many of their events are sent in a second.
	legitimateRate = 50
	// legitimateP99 is how long they wait at most.
	legitimateP99 = time.Second
	// memoryGrowth is what slow senders may cost.
	memoryGrowth = 64 << 20
)

// TestSlowSendersKeepNobodyElseWaiting runs each of the attacks of slowhttptest
// while signed events come from another address.
func TestSlowSendersKeepNobodyElseWaiting(t *testing.T) {
	binary := build(t)
	for _, attack := range []struct {
		name        string
		connections int
		seconds     int
		flags       []string
		// givenUp says that the appliance closes every one of the connections
		// before the attack would end by itself.
		givenUp bool
	}{
		{"slow headers", 900, 60, []string{"-H", "-i", "1", "-t", "POST"}, true},
		{"slow bodies", 900, 60, []string{"-B", "-i", "1", "-f", "application/json", "-s", "4096"}, true},
		{"slow reads", 900, 20, []string{"-X", "-i", "1", "-w", "1", "-y", "8", "-z", "1", "-k", "5"}, false},
	} {
		t.Run(attack.name, func(t *testing.T) {
			p := serve(t, binary, fmt.Sprintf("secret = %q\n[log]\nlevel = \"warn\"\n", senderSecret.Reveal()))
			l := legitimate(t, p)
			until(t, "the first events", func() bool { return l.count() >= legitimateRate })
			before, _ := p.memory(t)
			args := append(attack.flags, "-c", strconv.Itoa(attack.connections), "-r", "300", "-l", strconv.Itoa(attack.seconds), "-p", "3",
				"-u", "http://"+p.inbound+inboundPath)
			began := time.Now()
			out, err := run(t, "slowhttptest", args...)
			took := time.Since(began)
			_, peak := p.memory(t)
			if err != nil {
				t.Errorf("slowhttptest: %v\n%s", err, out)
			}
			if gaveUp := strings.Contains(out, "No open connections left"); attack.givenUp && !gaveUp {
				t.Errorf("after %s there are connections left:\n%s", took, out)
			}
			until(t, "the slow connections to be closed", func() bool { return p.connections(t, slowFrom) == 0 })
			waits := l.end(t)
			p99 := waits[len(waits)*99/100]
			t.Logf("%s: %d connections, ended after %s; %d events of others, p50 %s, p99 %s, max %s; memory %d MiB, then up to %d MiB", attack.name, attack.connections,
				took.Round(time.Second), len(waits), waits[len(waits)/2].Round(time.Millisecond), p99.Round(time.Millisecond), waits[len(waits)-1].Round(time.Millisecond), before>>20, peak>>20)
			if p99 >= legitimateP99 {
				t.Errorf("the p99 of the others was %s", p99)
			}
			if peak-before > memoryGrowth {
				t.Errorf("the memory grew from %d to %d bytes", before, peak)
			}
		})
	}
}

// TestFloodOfRefusalsFillsNothing sends what is refused, as fast as it is
// answered and from several addresses, while signed events come from another.
func TestFloodOfRefusalsFillsNothing(t *testing.T) {
	const senders, lasts, growth = 16, 15 * time.Second, 48 << 20
	p := serve(t, build(t), fmt.Sprintf("secret = %q\n[log]\nlevel = \"warn\"\n", senderSecret.Reveal()))
	l := legitimate(t, p)
	until(t, "the first events", func() bool { return l.count() >= legitimateRate })
	before, _ := p.memory(t)
	size := p.size(t)
	end := time.Now().Add(lasts)
	var refused atomic.Int64
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			c, err := dial(t.Context(), fmt.Sprintf("127.0.7.%d", n+1), p.inbound)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			answers := bufio.NewReader(c)
			for k := 0; time.Now().Before(end); k++ {
				body := strings.Replace(event(0), `"n":1`, fmt.Sprintf(`"n":"%d-%d"`, n, k), 1)
				_, err := c.Write(message{body: body, header: []string{"X-Agent-Signature: sha256=" + strings.Repeat("0", 64), "X-Pad: " + strings.Repeat("x", 4<<10)}}.bytes())
				var got answer
				if err == nil {
					got, err = readAnswer(answers, http.MethodPost)
				}
				if err != nil || got.Error != "invalid_signature" {
					t.Errorf("%d %s%s: %v", got.status, got.Status, got.Error, err)
					return
				}
				refused.Add(1)
			}
		})
	}
	all.Wait()
	_, peak := p.memory(t)
	grown := p.size(t) - size
	waits := l.end(t)
	p99 := waits[len(waits)*99/100]
	t.Logf("flood: %d refused in %s; %d events of others, p50 %s, p99 %s, max %s; memory %d MiB, then up to %d MiB; the file grew by %d MiB", refused.Load(), lasts,
		len(waits), waits[len(waits)/2].Round(time.Millisecond), p99.Round(time.Millisecond), waits[len(waits)-1].Round(time.Millisecond), before>>20, peak>>20, grown>>20)
	if p99 >= legitimateP99 {
		t.Errorf("the p99 of the others was %s", p99)
	}
	if peak-before > memoryGrowth {
		t.Errorf("the memory grew from %d to %d bytes", before, peak)
	}
	if grown > growth {
		t.Errorf("the file grew by %d bytes", grown)
	}
}

// A load is what those send who are to be served.
type load struct {
	stop    chan struct{}
	senders sync.WaitGroup

	mu sync.Mutex
	// acknowledged are the events that were received, waits how long each took.
	acknowledged map[webhook.EventID]bool
	waits        []time.Duration

	process *process
}

// legitimate begins to send, at a rate that waits for no answer, each event over
// a connection of its own.
func legitimate(t *testing.T, p *process) *load {
	l := &load{stop: make(chan struct{}), acknowledged: map[webhook.EventID]bool{}, process: p}
	l.senders.Go(func() {
		ticker := time.NewTicker(time.Second / legitimateRate)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			case <-ticker.C:
				l.senders.Go(func() { l.send(t, n) })
			}
		}
	})
	t.Cleanup(func() { l.halt() })
	return l
}

func (l *load) send(t *testing.T, n int) {
	body := strings.Replace(event(0), `"n":1`, fmt.Sprintf(`"n":%d`, n), 1)
	began := time.Now()
	// The end of the test does not end an event that is under way.
	got, err := exchange(context.WithoutCancel(t.Context()), legitimateFrom, l.process.inbound, message{body: body, header: []string{signed(body)}}.bytes())
	if err != nil || got.status != http.StatusOK || got.Status != "received" {
		t.Errorf("event %d: %d %s%s: %v", n, got.status, got.Status, got.Error, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[got.ID] = true
	l.waits = append(l.waits, time.Since(began))
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waits)
}

func (l *load) halt() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.senders.Wait()
}

// end ends the sending, checks that all that was acknowledged is stored, and
// returns how long the answers took, the quickest first.
func (l *load) end(t *testing.T) []time.Duration {
	t.Helper()
	l.halt()
	for e, err := range l.process.admin.Events(t.Context(), api.EventFilter{}, 1<<20) {
		if err != nil {
			t.Fatal(err)
		}
		delete(l.acknowledged, e.ID)
	}
	if len(l.acknowledged) > 0 {
		t.Errorf("%d events were acknowledged and are not stored", len(l.acknowledged))
	}
	slices.Sort(l.waits)
	return l.waits
}
