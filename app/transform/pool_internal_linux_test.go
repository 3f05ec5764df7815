package transform

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// computes reports whether the process has used the processor for longer than it
// takes one to start: 50 ms, counted in ticks of 10.
func computes(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The time is the 14th field; the second may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(fields) > 11 && (len(fields[11]) > 1 || fields[11][0] >= '5')
}

func TestAChildThatIsKilledFailsItsCallOnly(t *testing.T) {
	p := endlessPool(t, 2)
	results := begin(t, p, t.Context(), "a", "b")
	pids := p.ChildPIDs()
	eventually(t, func() bool { return computes(pids[0]) && computes(pids[1]) })
	first := pids[0]
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var err error
	select {
	case err = <-results[0]:
	case err = <-results[1]:
	}
	var e *Error
	if !errors.As(err, &e) || !e.Exhausted || !strings.Contains(e.Reason, "its process has died: signal: killed") {
		t.Errorf("%v", err)
	}
	if ok, err := p.Filter(t.Context(), "c", "true", Input{Body: []byte("{}")}); !ok || err != nil {
		t.Errorf("the next call: %v", err)
	}
	if len(results[0])+len(results[1]) > 0 {
		t.Error("the other call has ended too")
	}
}
