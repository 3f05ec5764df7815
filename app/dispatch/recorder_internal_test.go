package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/webhook"
)

// A broken store refuses every result but that of one delivery.
type broken struct {
	webhook.Store
	takes webhook.DeliveryID
}

func (b broken) Record(_ context.Context, results []webhook.Result) error {
	for _, r := range results {
		if r.Attempt.DeliveryID != b.takes {
			return errors.New("the disk has failed to write")
		}
	}
	return nil
}

// TestBrokenDiskIsLoggedOnceForAll holds that the log does not grow with what waits,
// and that what can be recorded is.
func TestBrokenDiskIsLoggedOnceForAll(t *testing.T) {
	var log bytes.Buffer
	var recorded []trial
	r := newRecorder(broken{takes: "50"}, slog.New(slog.NewTextHandler(&log, nil)), func(trials []trial) { recorded = append(recorded, trials...) })
	for n := range 100 {
		r.add(trial{result: webhook.Result{Attempt: webhook.Attempt{DeliveryID: webhook.DeliveryID(fmt.Sprint(n))}}})
	}
	go r.run()
	r.stop()
	if len(recorded) != 1 || recorded[0].result.Attempt.DeliveryID != "50" {
		t.Errorf("recorded: %v", recorded)
	}
	if lines := strings.Count(log.String(), "cannot record attempts"); lines > 2 {
		t.Errorf("%d lines of log", lines)
	}
	if !strings.Contains(log.String(), "attempts=99") {
		t.Errorf("the log does not say how many wait:\n%s", &log)
	}
}
