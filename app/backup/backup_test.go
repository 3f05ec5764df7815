package backup_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/pintle/pintle/app/backup"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// use opens a database, has something done with it, and closes it.
func use(t *testing.T, path string, do func(webhook.Store)) {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	must(t, err)
	store, err := storage.Open(t.Context(), storage.Options{Path: path, Schema: string(schema), Synchronous: "normal"})
	must(t, err)
	do(store)
	must(t, store.Close())
}

// database makes one with a setting of its name.
func database(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pintle.db")
	use(t, path, func(s webhook.Store) { must(t, s.PutSetting(t.Context(), "mark", name)) })
	return path
}

func marked(t *testing.T, path string) (name string) {
	t.Helper()
	use(t, path, func(s webhook.Store) {
		var err error
		name, err = s.Setting(t.Context(), "mark")
		must(t, err)
	})
	return name
}

// names are the files of a folder.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	i, err := age.GenerateX25519Identity()
	must(t, err)
	return i
}

// restore puts a backup in the place of a database.
func restore(t *testing.T, path, file string, identities ...age.Identity) (aside string, err error) {
	t.Helper()
	r, err := backup.Prepare(t.Context(), path, file, identities)
	if err != nil {
		return "", err
	}
	aside, err = r.Commit(time.Now())
	return aside, errors.Join(err, r.Close())
}

func TestAnEncryptedBackupIsReadByWhomItIsFor(t *testing.T) {
	hybrid, err := age.GenerateHybridIdentity()
	must(t, err)
	one, other := identity(t), identity(t)
	for name, test := range map[string]struct {
		to       []age.Recipient
		reads    []age.Identity
		stranger age.Identity
	}{
		"one":          {[]age.Recipient{one.Recipient()}, []age.Identity{one}, other},
		"two":          {[]age.Recipient{one.Recipient(), other.Recipient()}, []age.Identity{one, other}, identity(t)},
		"post-quantum": {[]age.Recipient{hybrid.Recipient()}, []age.Identity{hybrid}, one},
	} {
		t.Run(name, func(t *testing.T) {
			path, file := database(t, "it"), filepath.Join(t.TempDir(), "b.age")
			made, err := backup.Write(t.Context(), backup.Options{Database: path, Recipients: test.to}, file)
			must(t, err)
			content, err := os.ReadFile(file)
			must(t, err)
			if !made.Encrypted || made.Bytes != int64(len(content)) || bytes.Contains(content, []byte("CREATE TABLE")) {
				t.Errorf("it is not encrypted: %+v", made)
			}
			for _, reader := range test.reads {
				to := filepath.Join(t.TempDir(), "pintle.db")
				if _, err := restore(t, to, file, reader); err != nil || marked(t, to) != "it" {
					t.Errorf("it was not restored: %v", err)
				}
			}
			to := filepath.Join(t.TempDir(), "pintle.db")
			if _, err := restore(t, to, file, test.stranger); !errors.Is(err, backup.ErrOtherIdentity) {
				t.Errorf("a stranger restores it: %v", err)
			}
			if _, err := restore(t, to, file); !errors.Is(err, backup.ErrNeedsIdentity) {
				t.Errorf("it is restored without an identity: %v", err)
			}
			if left := names(t, filepath.Dir(to)); len(left) != 1 || left[0] != "pintle.db.lock" {
				t.Errorf("there is left %q", left)
			}
			for _, dir := range []string{filepath.Dir(path), filepath.Dir(file)} {
				if left := strings.Join(names(t, dir), " "); strings.Contains(left, "partial") {
					t.Errorf("there is left %s", left)
				}
			}
		})
	}
}

func TestABackupInTheFormForTextIsReadToo(t *testing.T) {
	path, key := database(t, "it"), identity(t)
	var stream, text bytes.Buffer
	_, err := backup.Stream(t.Context(), backup.Options{Database: path, Recipients: []age.Recipient{key.Recipient()}}, &stream)
	must(t, err)
	w := armor.NewWriter(&text)
	_, err = io.Copy(w, &stream)
	must(t, errors.Join(err, w.Close()))
	file, to := filepath.Join(t.TempDir(), "b.txt"), filepath.Join(t.TempDir(), "pintle.db")
	must(t, os.WriteFile(file, text.Bytes(), 0o600))
	if _, err := restore(t, to, file, key); err != nil || marked(t, to) != "it" {
		t.Errorf("it was not restored: %v", err)
	}
}

func TestEveryByteOfAnEncryptedBackupCounts(t *testing.T) {
	path, key := database(t, "it"), identity(t)
	var whole bytes.Buffer
	_, err := backup.Stream(t.Context(), backup.Options{Database: path, Recipients: []age.Recipient{key.Recipient()}}, &whole)
	must(t, err)
	damaged := bytes.Clone(whole.Bytes())
	damaged[len(damaged)/2] ^= 1
	// The last one ends where a chunk does.
	for name, content := range map[string][]byte{"a bit": damaged, "the end": whole.Bytes()[:whole.Len()-1], "a chunk": whole.Bytes()[:200+64<<10]} {
		file, to := filepath.Join(t.TempDir(), "b.age"), database(t, "old")
		must(t, os.WriteFile(file, content, 0o600))
		if _, err := restore(t, to, file, key); err == nil || marked(t, to) != "old" {
			t.Errorf("%s: it was restored", name)
		}
	}
}

func TestABackupOverwritesNothing(t *testing.T) {
	path, file := database(t, "it"), filepath.Join(t.TempDir(), "b.db")
	must(t, os.WriteFile(file, []byte("mine"), 0o600))
	if _, err := backup.Write(t.Context(), backup.Options{Database: path}, file); !errors.Is(err, backup.ErrExists) {
		t.Errorf("it ended with %v", err)
	}
	// One that comes while it is made is not overwritten either: of several that
	// are made at a time, one gets the name.
	file = filepath.Join(t.TempDir(), "b.db")
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := backup.Write(t.Context(), backup.Options{Database: path}, file)
			errs <- err
		}()
	}
	good := 0
	for range 4 {
		switch err := <-errs; {
		case err == nil:
			good++
		case !errors.Is(err, backup.ErrExists):
			t.Error(err)
		}
	}
	if good != 1 {
		t.Errorf("%d have the name", good)
	}
	if left := names(t, filepath.Dir(file)); len(left) != 1 {
		t.Errorf("there is left %q", left)
	}
}

func TestABackupIsNotPutBesideAnOldLog(t *testing.T) {
	path, file := database(t, "it"), filepath.Join(t.TempDir(), "b.db")
	must(t, os.WriteFile(file+"-wal", []byte("frames"), 0o600))
	if _, err := backup.Write(t.Context(), backup.Options{Database: path}, file); !errors.Is(err, backup.ErrExists) {
		t.Errorf("it ended with %v", err)
	}
	if got := names(t, filepath.Dir(file)); len(got) != 1 {
		t.Errorf("there is %q", got)
	}
	// What is encrypted has nothing to do with it.
	_, err := backup.Write(t.Context(), backup.Options{Database: path, Recipients: []age.Recipient{identity(t).Recipient()}}, file)
	must(t, err)
}

func TestWhatACrashLeftIsRemovedWhenNobodyCanBeAtIt(t *testing.T) {
	path, dir := database(t, "it"), t.TempDir()
	file := filepath.Join(dir, "b.db")
	for name, age := range map[string]time.Duration{"b.db.partial-old": 48 * time.Hour, "b.db.partial-new": time.Hour, "c.db.partial-old": 48 * time.Hour} {
		name = filepath.Join(dir, name)
		must(t, os.WriteFile(name, nil, 0o600))
		must(t, os.Chtimes(name, time.Time{}, time.Now().Add(-age)))
	}
	_, err := backup.Write(t.Context(), backup.Options{Database: path}, file)
	must(t, err)
	if got := strings.Join(names(t, dir), " "); got != "b.db b.db.partial-new c.db.partial-old" {
		t.Errorf("there is %s", got)
	}
}

func TestADatabaseWithALogIsNoBackup(t *testing.T) {
	path := database(t, "it")
	use(t, path, func(webhook.Store) {
		_, err := backup.Prepare(t.Context(), filepath.Join(t.TempDir(), "pintle.db"), path, nil)
		if !errors.Is(err, backup.ErrHasLog) {
			t.Errorf("of a database in use it ended with %v", err)
		}
	})
	must(t, os.WriteFile(path+"-wal", []byte("frames"), 0o600))
	_, err := backup.Prepare(t.Context(), filepath.Join(t.TempDir(), "pintle.db"), path, nil)
	if !errors.Is(err, backup.ErrHasLog) {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhatIsReplacedIsMovedAside(t *testing.T) {
	path, file := database(t, "new"), filepath.Join(t.TempDir(), "b.db")
	_, err := backup.Write(t.Context(), backup.Options{Database: path}, file)
	must(t, err)
	old := database(t, "old")
	aside, err := restore(t, old, file)
	must(t, err)
	if got := marked(t, old); got != "new" {
		t.Errorf("the database is the %s one", got)
	}
	if got := marked(t, aside); got != "old" {
		t.Errorf("what was moved aside is the %s one", got)
	}
}

func TestARestorationThatIsNotCommittedTouchesNothing(t *testing.T) {
	path, file := database(t, "new"), filepath.Join(t.TempDir(), "b.db")
	_, err := backup.Write(t.Context(), backup.Options{Database: path}, file)
	must(t, err)
	old := database(t, "old")
	before := names(t, filepath.Dir(old))
	r, err := backup.Prepare(t.Context(), old, file, nil)
	must(t, err)
	if !r.Replaces {
		t.Error("it does not tell that there is a database")
	}
	must(t, r.Close())
	if after := names(t, filepath.Dir(old)); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("there was %q, and now there is %q", before, after)
	}
	if got := marked(t, old); got != "old" {
		t.Errorf("the database is the %s one", got)
	}
}
