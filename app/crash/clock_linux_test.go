package crash

import (
	big "encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

// A setter sets the wall clock of an appliance, as long as that lives.
type setter struct {
	set, answers *os.File
	// by is how far off the next appliance's is when it starts.
	by time.Duration
}

// withClock has the appliances of the scene run on a clock that can be set.
func (s *scene) withClock(t *testing.T) *setter {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("time.Now is replaced in the code of amd64 only")
	}
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("testdata/clock/clock.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	// The assembly, though empty, allows a function without a body.
	empty := filepath.Join(dir, "empty.s")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "clock_of_tests.go"): source, filepath.Join(root, "clock_of_tests.s"): empty,
	}})
	if err == nil {
		err = os.WriteFile(empty, nil, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	}
	if err == nil {
		s.binary, err = build(dir, "-overlay", filepath.Join(dir, "overlay.json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &setter{}
	s.prepare = func(cmd *exec.Cmd) {
		if !slices.Contains(cmd.Args, "serve") {
			return
		}
		theirIn, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		out, theirOut, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{theirIn, theirOut}
		t.Cleanup(func() {
			for _, f := range []*os.File{theirIn, theirOut, in, out} {
				f.Close()
			}
		})
		c.set, c.answers = in, out
		// It waits in the pipe until the process reads it.
		if err := big.Write(in, big.LittleEndian, int64(c.by)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// jump sets the clock of the running appliance, and that of its senders. It returns
// when that is done.
func (c *setter) jump(t *testing.T, s *scene, by time.Duration) {
	t.Helper()
	if err := big.Write(c.set, big.LittleEndian, int64(by)); err != nil {
		t.Fatal(err)
	}
	c.by, s.ahead = by, by
	c.answered(t)
}

// answered waits for the answer to one that was written.
func (c *setter) answered(t *testing.T) {
	t.Helper()
	if _, err := c.answers.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// hours is by how much the clock jumps.
const hours = 3 * time.Hour

// schedule is one that can be told from no wait, and from hours.
const schedule = "1s"

// TestClockThatJumpsLosesAndDelaysNothing has the clock jump forward and back, while
// deliveries wait in memory, in the file, and for a retry.
func TestClockThatJumpsLosesAndDelaysNothing(t *testing.T) {
	s := newScene(t, t.TempDir())
	c := s.withClock(t)
	a := s.start(t)
	a.ready(t)
	c.answered(t)
	add := []string{"subscribers", "add", s.inbox.url, "--secret", subscriberSecret, "--events", "*", "--schedule", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s"}
	if _, err := s.command(t.Context(), add...); err != nil {
		t.Fatal(err)
	}
	s.accept(t, "now", 20, 100)
	s.arrived(t)

	// Forward: what waits for a retry goes out, each delivery once and no more than
	// the subscriber takes at a time.
	s.inbox.fail(true)
	s.accept(t, "waiting", 100, 100)
	until(t, arriveWithin, "the first attempts to fail", func() bool { return s.inbox.requests() >= 120 })
	before, begun := s.inbox.requests(), time.Now()
	c.jump(t, s, hours)
	until(t, arriveWithin, "the retries after a jump forward", func() bool { return s.inbox.requests() >= before+200 })
	if took := time.Since(begun); took < 900*time.Millisecond {
		t.Errorf("two attempts of each of 100 deliveries came within %s of a jump forward, though their wait is %s", took, schedule)
	}

	// Back: neither what was accepted at the later time, nor what waits for a retry
	// at one, waits for hours; nor is the wait of a retry skipped.
	s.accept(t, "later", 300, 100) // more than there is room for in memory
	before = s.inbox.requests()
	s.inbox.fail(false)
	c.jump(t, s, 0)
	s.accept(t, "back", 20, 100)
	begun = time.Now()
	s.arrived(t)
	t.Logf("all arrived %s after the clock was set back by %s", time.Since(begun).Round(time.Millisecond), hours)
	nonePending(t, s.installation)
	if n := s.repeats(); n > 0 {
		t.Errorf("%d deliveries came again", n)
	}

	// Between two runs, forward and back.
	c.jump(t, s, hours)
	s.inbox.close()
	s.accept(t, "open", 50, 100)
	a.kill()
	c.by, s.ahead = 0, 0
	s.inbox.open()
	a = s.start(t)
	a.ready(t)
	c.answered(t)
	begun = time.Now()
	s.accept(t, "restarted", 20, 100)
	s.arrived(t)
	t.Logf("all arrived %s after a start %s earlier than the last stop", time.Since(begun).Round(time.Millisecond), hours)
	nonePending(t, s.installation)

	// Ids are unique, and sorted as what they name was accepted.
	ids := make([]string, len(s.keys))
	for i, key := range s.keys {
		ids[i] = s.promised[key]
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Error("the ids are not unique, or not in the order of the answers")
	}
	if len(maps.Collect(maps.All(s.inbox.counts))) != len(ids) {
		t.Errorf("%d events arrived, and %d were acknowledged", len(s.inbox.counts), len(ids))
	}
	a.stop(t)
	checkIntegrity(t, s.database)
}

// TestSignatureWindowGoesByTheClockThatIs sends with timestamps of both clocks.
func TestSignatureWindowGoesByTheClockThatIs(t *testing.T) {
	s := newScene(t, t.TempDir())
	c := s.withClock(t)
	a := s.start(t)
	a.ready(t)
	c.answered(t)
	number := 0
	want := func(by time.Duration, status int) {
		t.Helper()
		number++
		r := s.postAt(t, fmt.Sprint(number), 10, time.Now().Add(by))
		if r.status != status {
			t.Errorf("clock off by %s, sender by %s: answer %d %s: %s", c.by, by, r.status, r.Error, r.Message)
		}
	}
	want(0, http.StatusOK)
	want(hours, http.StatusUnprocessableEntity)
	c.jump(t, s, hours)
	want(hours, http.StatusOK)
	want(0, http.StatusUnprocessableEntity)
	c.jump(t, s, -hours)
	want(-hours, http.StatusOK)
	want(0, http.StatusUnprocessableEntity)
	a.stop(t)
}
