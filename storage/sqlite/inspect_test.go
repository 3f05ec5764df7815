package sqlite_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pintle/pintle/storage/sqlite"
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
		info, err := sqlite.Inspect(t.Context(), path)
		if err != nil || info.Schema != info.Newest || info.Newest < 3 || info.Bytes == 0 {
			t.Errorf("%s: %+v, %v", when, info, err)
		}
		if err := sqlite.Verify(t.Context(), path); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if after := names(t, dir); after != before {
			t.Errorf("%s: there was %q, and now there is %q", when, before, after)
		}
	}
	if _, err := sqlite.Inspect(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
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
	if _, err := sqlite.Inspect(t.Context(), path); err == nil {
		t.Error("a text was taken for a database")
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if info, err := sqlite.Inspect(t.Context(), path); err != nil || info.Schema != 0 {
		t.Errorf("of an empty file: %+v, %v", info, err)
	}
}
