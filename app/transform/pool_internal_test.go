package transform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// endless runs until it is stopped.
const endless = `last(range(infinite))`

func endlessPool(t *testing.T, workers int) *Pool {
	t.Helper()
	p := New(Options{Workers: workers, Timeout: time.Hour})
	t.Cleanup(p.Close)
	return p
}

// begin runs endless expressions, and returns what they come to, once so many run.
func begin(t *testing.T, p *Pool, ctx context.Context, owners ...string) []chan error {
	t.Helper()
	var results []chan error
	for _, owner := range owners {
		result := make(chan error, 1)
		results = append(results, result)
		go func() {
			_, err := p.Filter(ctx, owner, endless, Input{Body: []byte("{}")})
			result <- err
		}()
	}
	eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		waiting := 0
		for _, o := range p.turns {
			waiting += len(o.waiting)
		}
		running := len(p.places) - len(p.free)
		return running+waiting == len(owners) && len(p.ChildPIDs()) == running
	})
	return results
}

// eventually waits for what other processes do.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(30 * time.Second); !done(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("it has not come to that")
		}
	}
}

// ChildPIDs are those of the children, also for tests from outside.
func (p *Pool) ChildPIDs() (pids []int) {
	for _, place := range p.places {
		place.mu.Lock()
		if place.child != nil {
			pids = append(pids, place.child.cmd.Process.Pid)
		}
		place.mu.Unlock()
	}
	return pids
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestAChildThatDiedIdleIsReplaced(t *testing.T) {
	p := New(Options{Workers: 1})
	defer p.Close()
	for range 3 {
		if ok, err := p.Filter(t.Context(), "a", "true", Input{Body: []byte("{}")}); !ok || err != nil {
			t.Fatal(err)
		}
		c := p.places[0].child
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-c.dead
	}
}

// TestAChildLeavesSignalsToItsParent: those of a terminal or a service manager are
// sent to all processes, of which the parent has still to finish its work.
func TestAChildLeavesSignalsToItsParent(t *testing.T) {
	p := New(Options{Workers: 1})
	defer p.Close()
	var pids [2]int
	for i := range pids {
		if ok, err := p.Filter(t.Context(), "a", "true", Input{Body: []byte("{}")}); !ok || err != nil {
			t.Fatal(err)
		}
		pids[i] = p.ChildPIDs()[0]
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if err := syscall.Kill(pids[i], signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	if pids[0] != pids[1] {
		t.Error("the child has followed a signal")
	}
}

func TestCloseEndsWhatRunsAndWaits(t *testing.T) {
	p := endlessPool(t, 2)
	results := begin(t, p, t.Context(), "a", "b", "c", "c", "a")
	pids := p.ChildPIDs()
	var closers sync.WaitGroup
	for range 2 {
		closers.Go(p.Close)
	}
	closers.Wait()
	for i, result := range results {
		if err := <-result; err != ErrClosed {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for _, pid := range pids {
		if !gone(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	if _, err := p.Filter(t.Context(), "a", ".", Input{}); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseWhileCallsComeAndGo(t *testing.T) {
	for range 5 {
		p := New(Options{})
		var callers sync.WaitGroup
		for i := range 4 {
			callers.Go(func() {
				for {
					_, err := p.Filter(t.Context(), fmt.Sprint(i), "true", Input{Body: []byte("{}")})
					if err == ErrClosed {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		eventually(t, func() bool { return len(p.ChildPIDs()) > 0 })
		p.Close()
		callers.Wait()
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	p := endlessPool(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	results := begin(t, p, ctx, "a", "b")
	cancel()
	for _, result := range results {
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.turns) != 0 || len(p.free) != 0 {
		t.Errorf("%d wait, %d places are free; one call should run on", len(p.turns), len(p.free))
	}
}

func TestABombThatNobodyWaitsForIsRemembered(t *testing.T) {
	p := New(Options{Workers: 1, Timeout: 200 * time.Millisecond})
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	result := begin(t, p, ctx, "bomber")
	cancel()
	if err := <-result[0]; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := p.Filter(t.Context(), "honest", "true", Input{Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.owners["bomber"]; o == nil || o.probation != probation {
		t.Errorf("%+v", o)
	}
	if p.owners["honest"] != nil {
		t.Error("an owner of whom nothing is to be known is remembered")
	}
}

func TestAnIdleChildIsEnded(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	p.idleTimeout = time.Millisecond
	if _, err := p.Filter(t.Context(), "a", "true", Input{Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(p.ChildPIDs()) == 0 })
	if _, err := p.Filter(t.Context(), "a", "true", Input{Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
}

// TestAChildForgetsWhatExpressionsGather has an expression bring a child more and
// more regular expressions, which the library keeps.
func TestAChildForgetsWhatExpressionsGather(t *testing.T) {
	p := New(Options{Workers: 1, Memory: 16 << 20})
	defer p.Close()
	var pid int
	for i := range 500 {
		_, err := p.Filter(t.Context(), "a", `test($id + "(a{30}){30}")`, Input{Body: []byte(`"b"`), ID: fmt.Sprint(i)})
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		switch now := p.ChildPIDs()[0]; {
		case pid == 0:
			pid = now
		case pid != now:
			t.Fatalf("at call %d there is another child", i)
		}
	}
}

func TestOwnersTakeTurns(t *testing.T) {
	p := New(Options{})
	for _, name := range []string{"a", "a", "a", "b", "c", "b"} {
		p.enqueue(name, &call{})
	}
	begun := ""
	for c := p.next(); c != nil; c = p.next() {
		begun += c.owner.name
	}
	if begun != "abcaba" {
		t.Errorf("they begin in the order %s", begun)
	}
}

func TestAnOwnerThatExhaustsLeavesAPlaceToOthers(t *testing.T) {
	for _, test := range []struct {
		workers int
		waiting string // capitals are not trusted
		want    string
	}{
		{2, "AAbb", "Abb"},
		{2, "ABc", "Ac"},
		{2, "AA", "A"},
		{3, "AABc", "ABc"},
		{1, "Ab", "b"},
		{1, "A", "A"},
	} {
		p := New(Options{Workers: test.workers})
		for _, name := range test.waiting {
			p.enqueue(string(name), &call{})
			if name < 'a' {
				p.owners[string(name)].probation = 1
			}
		}
		begun := ""
		for c := p.next(); c != nil; c = p.next() {
			begun += c.owner.name
			if test.workers == 1 {
				break
			}
		}
		if begun != test.want {
			t.Errorf("%d workers, %s waiting: %s begin, want %s", test.workers, test.waiting, begun, test.want)
		}
	}
}

// FuzzAnswer: whatever a child says is an answer within its bounds, or an error.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01y"), true)
	f.Add([]byte("\x00\x00\x00\x03b{}"), false)
	f.Add(appendFailure(nil, answerFailed, 1, "no"), false)
	f.Add(appendFailure(nil, answerEnded, 0, strings.Repeat("é", 2000)), true)
	f.Add([]byte("\xff\xff\xff\xff"), true)
	f.Add(endFrame(appendString([]byte("\x00\x00\x00\x00d\x00"), strings.Repeat("é\xa9", 340))), false)
	f.Fuzz(func(t *testing.T, said []byte, filter bool) {
		to := &request{filter: filter, expressions: []Expression{{Name: "a"}, {Name: "b"}}}
		const most = 1 << 16
		frame, err := readFrame(bytes.NewReader(said), nil, most)
		if len(frame) > min(most, len(said)+64<<10) || cap(frame) > 4*most {
			t.Fatalf("a frame of %d bytes of %d", len(frame), len(said))
		}
		if err != nil {
			return
		}
		got, err := parseAnswer(frame, to)
		switch {
		case err != nil && (got.body != nil || got.passes && err == nil):
			t.Fatal("an answer and an error")
		case got.failure != nil && (len(got.failure.Reason) > maxReason || got.failure.Expression != "a" && got.failure.Expression != "b"):
			t.Fatalf("%+v", got.failure)
		case got.body != nil && filter:
			t.Fatal("a filter has a body")
		}
	})
}

// FuzzRequest: a request is read as it was written, and nothing else is read.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("{}"), "id", "source", ".", "empty", true)
	f.Fuzz(func(t *testing.T, body []byte, id, source, first, second string, filter bool) {
		want := request{filter: filter, expressions: []Expression{{Source: first}, {Source: second}}, in: Input{Body: body, ID: id, Source: source}}
		var got request
		if err := parseRequest(want.appendFrame(nil)[4:], &got); err != nil {
			t.Fatal(err)
		}
		if got.filter != filter || !bytes.Equal(got.in.Body, body) || got.in.ID != id || got.in.Source != source || got.in.ClientID != "" || len(got.expressions) != 2 || got.expressions[0].Source != first || got.expressions[1].Source != second {
			t.Fatalf("%+v, want %+v", got, want)
		}
		// What is no request is none.
		_ = parseRequest(body, &got)
		_, _ = parseBounds(body)
	})
}
