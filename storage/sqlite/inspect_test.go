package sqlite_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// names are the files of the folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestInspectionLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a b#?.db")
	look := func(when string) {
		t.Helper()
		before := names(t, dir)
		info, err := dbfile.Inspect(t.Context(), path)
		if err != nil || info.Schema != info.Newest || info.Newest < 3 || info.Bytes == 0 {
			t.Errorf("%s: %+v, %v", when, info, err)
		}
		if err := dbfile.Verify(t.Context(), path); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if after := names(t, dir); after != before {
			t.Errorf("%s: there was %q, and now there is %q", when, before, after)
		}
	}
	if _, err := dbfile.Inspect(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a file that does not exist: %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("it made %q", got)
	}
	store, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	look("while it is open")
	if err := store.PutSetting(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	look("while it has a log")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	look("when it is closed")
}

func TestInspectionRefusesWhatOpeningRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte(strings.Repeat("text ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dbfile.Inspect(t.Context(), path); err == nil {
		t.Error("a text was taken for a database")
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if info, err := dbfile.Inspect(t.Context(), path); err != nil || info.Schema != 0 {
		t.Errorf("of an empty file: %+v, %v", info, err)
	}
}

func TestCopiesFromBeforeSealingAreFound(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"pintle.db", "pintle.db.v3-20260101T000000Z.backup", "pintle.db.v1-20250101T000000Z.backup", "pintle.db.v4-20270101T000000Z.backup",
		"other.db.v3-20260101T000000Z.backup", "pintle.db.v3-20260101T000000Z.backup.old", "pintle.db.vx-1.backup", "pintle.db.backup.partial",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{filepath.Join(dir, "pintle.db.v1-20250101T000000Z.backup"), filepath.Join(dir, "pintle.db.v3-20260101T000000Z.backup")}
	if diff := cmp.Diff(want, dbfile.UnsealedCopies(filepath.Join(dir, "pintle.db"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	t.Chdir(dir)
	if diff := cmp.Diff(want, dbfile.UnsealedCopies("pintle.db")); diff != "" {
		t.Errorf("beside the working directory's own (-want +got):\n%s", diff)
	}
	if got := dbfile.UnsealedCopies("missing/pintle.db"); got != nil {
		t.Errorf("in a folder that is not there: %q", got)
	}
}

func TestWhatIsSealedIsKnownWithoutOpeningTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pintle.db")
	for _, sealer := range []webhook.Sealer{nil, ring{"a"}} {
		store, err := openSealed(t, path, sealer)
		if err != nil {
			t.Fatal(err)
		}
		if sealer == nil {
			now := time.Now()
			s := webhook.Subscriber{ID: store.IDs().Subscriber(now), URL: "http://a.example", Secret: "hush", Events: []webhook.Pattern{"*"}, Filter: ".a", CreatedAt: now, UpdatedAt: now}
			if err := store.PutSubscriber(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		before := names(t, filepath.Dir(path))
		info, err := dbfile.Inspect(t.Context(), path)
		if err != nil || info.Sealed != (sealer != nil) || info.Opens(sealer) != nil {
			t.Errorf("sealed by %v: %+v, %v, opens %v", sealer, info, err, info.Opens(sealer))
		}
		for _, other := range []webhook.Sealer{nil, ring{"b"}} {
			if err := info.Opens(other); sealer != nil && !errors.Is(err, dbfile.ErrSealed) || sealer == nil && err != nil {
				t.Errorf("sealed by %v, opened with %v: %v", sealer, other, err)
			}
		}
		list, err := sqlite.Subscribers(t.Context(), path)
		if err != nil || len(list) != 1 || list[0].Filter != ".a" || strings.HasPrefix(list[0].Secret.Reveal(), webhook.SealedPrefix) != (sealer != nil) {
			t.Errorf("sealed by %v: %+v, %v", sealer, list, err)
		}
		if after := names(t, filepath.Dir(path)); after != before {
			t.Errorf("the folder had %s, and has %s", before, after)
		}
	}
}
