package transform

import (
	"fmt"
	"io"
	"os"
	"runtime/metrics"
	"sync"
	"syscall"
	"time"
)

// watchInterval is how often a watchdog looks.
const watchInterval = time.Millisecond

// A watchdog ends the process, with an answer, when what is being done takes too
// much time or memory. It looks from a goroutine of its own, so that it does not
// depend on what it watches.
type watchdog struct {
	bounds bounds
	heap   int64 // how much memory there may be in use
	out    io.Writer
	parent int

	// mu is held by whoever may answer.
	mu    sync.Mutex
	timer *time.Timer
	armed bool // the timer runs
	// watching says that something is being done: the expression of the index, for
	// so long at most, since the process had used so much of the processor, and
	// since the time.
	watching bool
	index    int
	timeout  time.Duration
	cpu      time.Duration
	began    time.Time
	samples  [2]metrics.Sample
}

func newWatchdog(b bounds, heap int64, out io.Writer) *watchdog {
	w := &watchdog{bounds: b, heap: heap, out: out, parent: os.Getppid()}
	w.samples[0].Name = "/memory/classes/heap/objects:bytes"
	w.samples[1].Name = "/memory/classes/heap/stacks:bytes"
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

// watch begins to watch the expression anew: with so much time before it.
func (w *watchdog) watch(index int, timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watching, w.index, w.timeout, w.cpu, w.began = true, index, timeout, cpuTime(), time.Now()
	if !w.armed {
		w.armed = true
		w.timer.Reset(watchInterval)
	}
}

// rest ends watching. If the watchdog has had enough already it does not return.
func (w *watchdog) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watching = false
}

// memory returns how much memory is in use.
func (w *watchdog) memory() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inUse()
}

func (w *watchdog) inUse() int64 {
	metrics.Read(w.samples[:])
	return int64(w.samples[0].Value.Uint64() + w.samples[1].Value.Uint64())
}

// look ends the process if it must. The timer goes on as long as there is
// something to watch.
func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.watching {
		w.armed = false
		return
	}
	w.timer.Reset(watchInterval)
	switch {
	case cpuTime()-w.cpu > w.timeout:
		w.bite(fmt.Sprintf("took more than %s of processor time", w.timeout))
	case time.Since(w.began) > wallFactor*w.timeout:
		w.bite(fmt.Sprintf("took more than %s", wallFactor*w.timeout))
	case w.inUse() > w.heap:
		w.bite(fmt.Sprintf("took more than %s of memory", size(w.bounds.memory)))
	case os.Getppid() != w.parent:
		os.Exit(failedStatus)
	}
}

// bite answers that the expression is exhausted, and ends the process. It holds
// the right to answer to the end.
func (w *watchdog) bite(reason string) {
	// The parent learns of a failure to answer when the process is gone.
	_, _ = w.out.Write(appendFailure(nil, answerEnded, w.index, reason))
	os.Exit(failedStatus)
}

// cpuTime is how much of the processor this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	// It cannot fail for a process itself.
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
