package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/pintle/pintle/storage"
)

const (
	stampForm    = "20060102T150405Z"
	plainEnd     = ".db"
	encryptedEnd = ".db.age"
	// firstRetry and lastRetry bound the wait after a failure, which doubles: a
	// folder that is not mounted yet may be soon.
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// A Policy says when backups are made by themselves, and where.
type Policy struct {
	// Directory is a folder that exists. It is not made: one that is not mounted
	// would be made on the disk that the database is on.
	Directory string
	// Every is how long after a good backup the next one is made; zero: never.
	Every time.Duration
	// Keep is how many backups there are to be; see [Scheduler].
	Keep int
	// Recipients are those who can read them; none: everybody who has them.
	Recipients []age.Recipient
}

// Status is how scheduled backups do.
type Status struct {
	// On says that they are made.
	On bool
	// Last is when the last good one was made; zero: never.
	Last time.Time
	// Failures counts those that failed since the start.
	Failures int
	// Err is why the last one failed, at FailedAt; nil: it did not, or it was not
	// made yet.
	Err      error
	FailedAt time.Time
}

// Fault says what is wrong with the backups; empty: nothing is.
func (s Status) Fault() string {
	if !s.On || s.Err == nil {
		return ""
	}
	last := "there is no good one"
	if !s.Last.IsZero() {
		last = "the last good one is of " + s.Last.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("backup failed at %s, and %s: %v", s.FailedAt.UTC().Format(time.RFC3339), last, s.Err)
}

// A Scheduler makes backups by a policy until it is stopped. Its own are those of
// this installation that have a name of its form, so that several can share a
// folder; it knows from them when the next one is due, and removes the oldest of
// them when a new one is good and there are more than are to be kept.
type Scheduler struct {
	database string
	logger   *slog.Logger
	changed  chan struct{} // has room for one
	end      context.CancelFunc
	ended    chan struct{}

	mu     sync.Mutex
	policy Policy
	status Status
}

// Start starts a scheduler for the database of a running appliance.
func Start(database string, policy Policy, logger *slog.Logger) *Scheduler {
	ctx, end := context.WithCancel(context.Background())
	s := &Scheduler{database: database, logger: logger, changed: make(chan struct{}, 1), end: end, ended: make(chan struct{})}
	s.Use(policy)
	go func() {
		defer close(s.ended)
		s.run(ctx)
	}()
	return s
}

// Stop ends the scheduler. A backup that is being made is not finished.
func (s *Scheduler) Stop() {
	s.end()
	<-s.ended
}

// Use replaces the policy.
func (s *Scheduler) Use(policy Policy) {
	s.mu.Lock()
	s.policy, s.status.On = policy, policy.Every > 0
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default: // it has been told already, and not looked yet
	}
}

// Status says how it does.
func (s *Scheduler) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Scheduler) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
			retry = firstRetry
		case <-timer.C:
		}
		s.mu.Lock()
		policy := s.policy
		s.mu.Unlock()
		timer.Stop()
		if policy.Every == 0 {
			continue
		}
		wait, err := s.make(ctx, policy)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait = min(retry, policy.Every)
			retry = min(2*retry, lastRetry)
			s.logger.Error("backup failed", "directory", policy.Directory, "again_in", wait, "error", err)
		} else {
			retry = firstRetry
		}
		s.mu.Lock()
		if s.status.Err = err; err != nil {
			s.status.FailedAt = time.Now()
			s.status.Failures++
		}
		s.mu.Unlock()
		timer.Reset(wait)
	}
}

// make makes a backup if one is due, and returns how long it is to the next one.
func (s *Scheduler) make(ctx context.Context, policy Policy) (wait time.Duration, err error) {
	own, err := ownName(ctx, s.database)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	kept, err := list(policy.Directory, own, now)
	if err != nil {
		return 0, err
	}
	if last := newest(kept, now); !last.IsZero() {
		s.good(last)
		if since := now.Sub(last); since < policy.Every {
			return policy.Every - since, rotate(kept, policy.Keep)
		}
	}
	// Each has a name of its own, so that no later one finds what a crash left of it.
	if err := removeAbandoned(policy.Directory, own); err != nil {
		return 0, err
	}
	end := plainEnd
	if len(policy.Recipients) > 0 {
		end = encryptedEnd
	}
	file := filepath.Join(policy.Directory, own+now.UTC().Format(stampForm)+end)
	made, err := Write(ctx, Options{Database: s.database, Recipients: policy.Recipients}, file)
	if err != nil {
		return 0, err
	}
	s.good(now)
	s.logger.Info("backup made", "file", file, "bytes", made.Bytes, "events", made.Events, "newest_event", made.Newest, "took", made.Took.Round(time.Millisecond))
	return policy.Every, rotate(kept, policy.Keep-1)
}

// rotate removes the oldest of the backups there were before, so that so many are
// left.
func rotate(before []scheduled, keep int) error {
	for _, b := range before[min(keep, len(before)):] {
		if err := os.Remove(b.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an old backup: %w", err)
		}
	}
	return nil
}

func (s *Scheduler) good(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Last = at
}

// A scheduled backup is one that has a name of the scheduler's form.
type scheduled struct {
	file string
	at   time.Time
}

// Newest is when the newest of the backups that were scheduled for a database was
// made; zero: there is none.
func Newest(ctx context.Context, database, directory string, now time.Time) (time.Time, error) {
	own, err := ownName(ctx, database)
	if err != nil {
		return time.Time{}, err
	}
	kept, err := list(directory, own, now)
	return newest(kept, now), err
}

func newest(kept []scheduled, now time.Time) time.Time {
	if len(kept) == 0 || kept[0].at.After(now) {
		return time.Time{}
	}
	return kept[0].at
}

// ownName is how the names of the backups of a database begin: with its own, and
// that of the installation.
func ownName(ctx context.Context, database string) (string, error) {
	info, err := storage.Inspect(ctx, database)
	if err != nil {
		return "", err
	}
	if info.Installation == "" {
		return "", fmt.Errorf("%s does not tell which installation's it is", database)
	}
	base := filepath.Base(database)
	return strings.TrimSuffix(base, filepath.Ext(base)) + "-" + info.Installation + "-", nil
}

// list returns the backups of the name in the folder, the newest first. Those from
// the future come last: they tell of a clock that was wrong, and of nothing else.
func list(directory, own string, now time.Time) ([]scheduled, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var kept []scheduled
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), own)
		stamp, isEncrypted := strings.CutSuffix(rest, encryptedEnd)
		if !isEncrypted {
			var plain bool
			stamp, plain = strings.CutSuffix(rest, plainEnd)
			ok = ok && plain
		}
		at, err := time.Parse(stampForm, stamp)
		if ok && err == nil && e.Type().IsRegular() {
			kept = append(kept, scheduled{filepath.Join(directory, e.Name()), at})
		}
	}
	slices.SortFunc(kept, func(a, b scheduled) int {
		switch future := a.at.After(now); {
		case future == b.at.After(now):
			return b.at.Compare(a.at)
		case future:
			return 1
		}
		return -1
	})
	return kept, nil
}
