package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// retryRecord is how long the recorder waits after the store refused results.
const retryRecord = 500 * time.Millisecond

// recorder writes results to the store. While one commit is under way the next
// results gather. Nothing is given up: as long as the store refuses, the
// results wait, their deliveries stay known to their lanes, and the lanes fill.
type recorder struct {
	store  webhook.Store
	logger *slog.Logger
	done   func([]trial) // told what has become durable

	mu      sync.Mutex
	waiting []trial
	closed  bool
	kick    chan struct{} // one slot: something waits, or closed
	ended   chan struct{}
}

func newRecorder(store webhook.Store, logger *slog.Logger, done func([]trial)) *recorder {
	return &recorder{store: store, logger: logger, done: done, kick: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (r *recorder) add(t trial) {
	r.mu.Lock()
	r.waiting = append(r.waiting, t)
	r.mu.Unlock()
	r.wake()
}

// stop writes what waits and ends the recorder.
func (r *recorder) stop() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wake()
	<-r.ended
}

func (r *recorder) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *recorder) take() (trials []trial, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	trials, r.waiting = r.waiting, nil
	return trials, r.closed
}

func (r *recorder) run() {
	defer close(r.ended)
	var refused []trial
	for {
		var again <-chan time.Time
		if len(refused) > 0 {
			again = time.After(retryRecord)
		}
		select {
		case <-r.kick:
		case <-again:
		}
		trials, closed := r.take()
		var err error
		if refused, err = r.record(append(refused, trials...)); err != nil {
			// Once, however many there are: the disk that is full or broken may be that
			// of the log.
			r.logger.Error("cannot record attempts; trying again", "attempts", len(refused), "error", err)
		}
		if closed {
			if len(refused) > 0 {
				r.logger.Error("attempts not recorded; they will be made again", "attempts", len(refused))
			}
			return
		}
	}
}

// record returns the trials whose results the store refused, and the last reason.
// One that it cannot take must not hold up the others, so they are tried one by one
// if need be.
func (r *recorder) record(trials []trial) (refused []trial, err error) {
	if len(trials) == 0 {
		return nil, nil
	}
	results := make([]webhook.Result, len(trials))
	for i := range trials {
		results[i] = trials[i].result
	}
	err = r.store.Record(context.Background(), results)
	if err == nil {
		r.done(trials)
		return nil, nil
	}
	if errors.Is(err, webhook.ErrStorageFull) || errors.Is(err, webhook.ErrClosed) || len(trials) == 1 {
		return trials, err
	}
	err = nil
	for i := range trials {
		again, why := r.record(trials[i : i+1])
		if refused = append(refused, again...); why != nil {
			err = why
		}
	}
	return refused, err
}
