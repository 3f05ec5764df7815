package backup_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/backup"
	"github.com/pintle/pintle/storage"
)

// scheduled runs a scheduler in time that passes at once.
func scheduled(t *testing.T, path string, policy backup.Policy, do func(*backup.Scheduler)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s := backup.Start(path, policy, slog.New(slog.NewTextHandler(io.Discard, nil)))
		do(s)
		s.Stop()
	})
}

// ownName is how the names of the scheduled backups of a database begin.
func ownName(t *testing.T, path string) string {
	t.Helper()
	info, err := storage.Inspect(t.Context(), path)
	must(t, err)
	return "pintle-" + info.Installation + "-"
}

// after passes the time, and waits until all is done that was due.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTheNewestBackupsAreKept(t *testing.T) {
	path, dir := database(t, "it"), t.TempDir()
	// Others' files: another installation's, one made by hand, one of no time.
	others := []string{"pintle-0123456789-19990101T000000Z.db", "by-hand.db", "pintle-x.db"}
	for _, name := range others {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	scheduled(t, path, backup.Policy{Directory: dir, Every: time.Hour, Keep: 3}, func(s *backup.Scheduler) {
		begun := time.Now()
		for hour, want := range []int{1, 2, 3, 3, 3} {
			// The disk takes real time, of which nothing passes here; a copy rests a
			// little.
			after(time.Minute)
			if got := len(names(t, dir)) - len(others); got != want {
				t.Errorf("after %d hours there are %d backups, want %d: %q", hour, got, want, names(t, dir))
			}
			status := s.Status()
			if status.Err != nil || status.Last.Before(begun.Add(time.Duration(hour)*time.Hour)) {
				t.Errorf("after %d hours: %+v", hour, status)
			}
			after(time.Hour - time.Minute + time.Second)
		}
		if newest, err := backup.Newest(t.Context(), path, dir, time.Now()); err != nil || time.Since(newest) > time.Hour+time.Minute {
			t.Errorf("the newest is of %s, %v", newest, err)
		}
		for _, name := range others {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("a file of others is gone: %v", err)
			}
		}
	})
}

func TestOldBackupsStayUntilANewOneIsGood(t *testing.T) {
	path, dir := database(t, "it"), t.TempDir()
	whole, err := os.ReadFile(path)
	must(t, err)
	damaged := append([]byte(nil), whole...)
	for i := len(damaged) - 8192; i < len(damaged); i++ {
		damaged[i] ^= 0x55
	}
	scheduled(t, path, backup.Policy{Directory: dir, Every: time.Hour, Keep: 1}, func(s *backup.Scheduler) {
		after(time.Minute)
		good := strings.Join(names(t, dir), " ")
		last := s.Status().Last
		must(t, os.WriteFile(path, damaged, 0o600))
		after(2 * time.Hour)
		status := s.Status()
		if status.Err == nil || status.Failures < 2 || !status.Last.Equal(last) {
			t.Errorf("a database that is damaged: %+v", status)
		}
		if fault := status.Fault(); !strings.HasPrefix(fault, "backup failed at ") || !strings.Contains(fault, "the last good one is of "+last.Format(time.RFC3339)) {
			t.Errorf("it says %q", fault)
		}
		if got := strings.Join(names(t, dir), " "); got != good {
			t.Errorf("there was %s, and now there is %s", good, got)
		}
		must(t, os.WriteFile(path, whole, 0o600))
		after(2 * time.Hour)
		if status := s.Status(); status.Fault() != "" || !status.Last.After(last) {
			t.Errorf("a database that is whole again: %+v", status)
		}
		if got := names(t, dir); len(got) != 1 || got[0] == good {
			t.Errorf("there was %s, and now there is %q", good, got)
		}
	})
}

func TestAStartMakesABackupOnlyIfOneIsDue(t *testing.T) {
	path, dir := database(t, "it"), t.TempDir()
	policy := backup.Policy{Directory: dir, Every: time.Hour, Keep: 9}
	count := func() int { return len(names(t, dir)) }
	synctest.Test(t, func(*testing.T) {
		start := func() *backup.Scheduler {
			return backup.Start(path, policy, slog.New(slog.NewTextHandler(io.Discard, nil)))
		}
		s := start()
		after(time.Minute)
		s.Stop()
		after(30 * time.Minute)
		s = start()
		after(time.Minute)
		if count() != 1 || s.Status().Last.IsZero() {
			t.Errorf("after half an hour there are %d, and the last is of %s", count(), s.Status().Last)
		}
		after(30 * time.Minute)
		if count() != 2 {
			t.Errorf("after an hour there are %d", count())
		}
		s.Stop()
		// A clock that was wrong once does not put backups off.
		own := names(t, dir)[0]
		must(t, os.Rename(filepath.Join(dir, own), filepath.Join(dir, own[:len("pintle-0123456789-")]+"20990101T000000Z.db")))
		after(2 * time.Hour)
		s = start()
		after(time.Minute)
		if count() != 3 {
			t.Errorf("with one from the future there are %d", count())
		}
		s.Stop()
	})
}

func TestThoseFromTheFutureGoFirst(t *testing.T) {
	path, dir := database(t, "it"), t.TempDir()
	// Four of days when the clock was wrong.
	own := ownName(t, path)
	form := own + "2099010%dT000000Z.db"
	for day := range 4 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf(form, day+1)), nil, 0o600))
	}
	policy := backup.Policy{Directory: dir, Every: time.Hour, Keep: 3}
	scheduled(t, path, policy, func(s *backup.Scheduler) {
		if newest, err := backup.Newest(t.Context(), path, dir, time.Now()); err != nil || !newest.IsZero() {
			t.Errorf("the newest is of %s, %v", newest, err)
		}
		after(time.Minute)
		want := own + "20000101T000000Z.db " + fmt.Sprintf(form, 3) + " " + fmt.Sprintf(form, 4)
		if got := strings.Join(names(t, dir), " "); got != want {
			t.Errorf("there is %s, want %s", got, want)
		}
		policy.Keep = 1
		s.Use(policy)
		after(time.Minute)
		if got := strings.Join(names(t, dir), " "); got != own+"20000101T000000Z.db" {
			t.Errorf("of which one is kept there is %s", got)
		}
	})
}

func TestWhatACrashLeftOfAScheduledBackupIsRemoved(t *testing.T) {
	path, dir := database(t, "it"), t.TempDir()
	const stamp = "19991230T000000Z.db"
	own, other := ownName(t, path)+stamp, "pintle-0123456789-"+stamp
	for name, age := range map[string]time.Duration{own + ".partial-1": 48 * time.Hour, own + ".age.partial-2": 48 * time.Hour, own + ".partial-3": time.Hour, other + ".partial-4": 48 * time.Hour} {
		name = filepath.Join(dir, name)
		must(t, os.WriteFile(name, nil, 0o600))
		at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age)
		must(t, os.Chtimes(name, at, at))
	}
	scheduled(t, path, backup.Policy{Directory: dir, Every: time.Hour, Keep: 3}, func(s *backup.Scheduler) {
		after(time.Minute)
		want := []string{other + ".partial-4", own + ".partial-3", ownName(t, path) + "20000101T000000Z.db"}
		if got := names(t, dir); strings.Join(got, " ") != strings.Join(slices.Sorted(slices.Values(want)), " ") {
			t.Errorf("there is %q, want %q", got, want)
		}
	})
}

func TestAPolicyIsChangedWhileItRuns(t *testing.T) {
	path, dir := database(t, "it"), t.TempDir()
	key := identity(t)
	scheduled(t, path, backup.Policy{}, func(s *backup.Scheduler) {
		after(24 * time.Hour)
		if status := s.Status(); status.On || !status.Last.IsZero() {
			t.Errorf("without a policy: %+v", status)
		}
		policy := backup.Policy{Directory: filepath.Join(dir, "missing"), Every: time.Hour, Keep: 1}
		s.Use(policy)
		after(time.Second)
		if s.Status().Fault() == "" {
			t.Error("a folder that is missing is no fault")
		}
		policy.Directory = dir
		s.Use(policy)
		after(time.Second)
		if fault := s.Status().Fault(); fault != "" || len(names(t, dir)) != 1 {
			t.Errorf("with another folder: %q, %q", fault, names(t, dir))
		}
		policy.Recipients = append(policy.Recipients, key.Recipient())
		s.Use(policy)
		after(2 * time.Hour)
		if got := names(t, dir); len(got) != 1 || !strings.HasSuffix(got[0], ".db.age") {
			t.Errorf("with a recipient there is %q", got)
		}
		s.Use(backup.Policy{})
		last := s.Status().Last
		after(24 * time.Hour)
		if status := s.Status(); status.On || !status.Last.Equal(last) {
			t.Errorf("with the policy taken away: %+v", status)
		}
	})
}
