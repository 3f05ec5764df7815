package backup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/pintle/pintle/storage"
)

var (
	// ErrNeedsIdentity says that a backup is encrypted, and that there is no
	// identity to read it with.
	ErrNeedsIdentity = errors.New("this backup is encrypted")
	// ErrOtherIdentity says that none of the identities reads it.
	ErrOtherIdentity = errors.New("this backup is encrypted to others than these identities")
	// ErrHasLog says that a file is no backup, but a database with a write-ahead log
	// beside it, without which it is not whole.
	ErrHasLog = errors.New("there is a write-ahead log beside it, without which it is not whole")
)

// A Restoration is a backup that was found good and can take the place of the
// database, which nobody can open until it is closed.
type Restoration struct {
	storage.Contents
	// Encrypted says that it was decrypted.
	Encrypted bool
	// Replaces says that there is a database, which would be moved aside.
	Replaces bool
	claim    *storage.Claim
	partial  string
}

// Prepare reads a backup, decrypts it and examines it, beside the database. It has
// touched nothing when it returns. The restoration is to be closed.
func Prepare(ctx context.Context, database, file string, identities []age.Identity) (*Restoration, error) {
	in, err := openBackup(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if same(in, database) {
		return nil, errors.New("it is the database itself")
	}
	return PrepareFrom(ctx, database, in, identities)
}

// PrepareFrom is [Prepare] of a stream.
func PrepareFrom(ctx context.Context, database string, in io.Reader, identities []age.Identity) (_ *Restoration, err error) {
	claim, err := storage.Seize(database)
	if err != nil {
		return nil, err
	}
	r := &Restoration{claim: claim}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.Replaces, err = claim.Exists(); err != nil {
		return nil, err
	}
	out, err := createPartial(claim.Path())
	if err != nil {
		return nil, err
	}
	r.partial = out.Name()
	r.Encrypted, err = decrypt(ctx, out, in, identities)
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, err
	}
	r.Contents, err = storage.Examine(ctx, r.partial)
	return r, err
}

// Info is what is known of the backup, in the terms of a database.
func (r *Restoration) Info(ctx context.Context) (storage.Info, error) {
	return storage.Inspect(ctx, r.partial)
}

// Commit puts the backup in the place of the database. It returns the name that what
// was there has now; empty: there was nothing.
func (r *Restoration) Commit(now time.Time) (aside string, err error) {
	return r.claim.Replace(r.partial, now)
}

// Close gives the database up, and removes what was not committed.
func (r *Restoration) Close() error {
	var err error
	if r.partial != "" {
		if err = os.Remove(r.partial); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, r.claim.Release())
}

// Checked is a database or a backup that was found good.
type Checked struct {
	storage.Contents
	// Bytes is the size of the file, and Encrypted whether it was decrypted.
	Bytes     int64
	Encrypted bool
}

// Check reads all of a database, which may be in use, or of a backup, and says what
// is damaged or else what it has. What is encrypted is decrypted into the temporary
// folder.
func Check(ctx context.Context, file string, identities []age.Identity) (_ Checked, err error) {
	f, err := os.Open(file)
	if err != nil {
		return Checked{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Checked{}, err
	}
	begin := make([]byte, len(armor.Header))
	n, _ := io.ReadFull(f, begin) // what is too short is refused by whoever reads it next
	if encrypted, _ := isEncrypted(begin[:n]); !encrypted {
		contents, err := storage.Examine(ctx, file)
		return Checked{contents, info.Size(), false}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Checked{}, err
	}
	out, err := os.CreateTemp("", "pintle-check-")
	if err != nil {
		return Checked{}, err
	}
	defer func() { err = errors.Join(err, os.Remove(out.Name())) }()
	_, err = decrypt(ctx, out, f, identities)
	if err = errors.Join(err, out.Close()); err != nil {
		return Checked{}, err
	}
	contents, err := storage.Examine(ctx, out.Name())
	return Checked{contents, info.Size(), true}, err
}

// decrypt writes what a backup has, whether it is encrypted or not.
func decrypt(ctx context.Context, w io.Writer, r io.Reader, identities []age.Identity) (encrypted bool, err error) {
	in := bufio.NewReaderSize(reader{ctx, r}, chunk)
	begin, err := in.Peek(len(armor.Header))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	out := bufio.NewWriterSize(w, chunk)
	encrypted, armored := isEncrypted(begin)
	if !encrypted {
		if !bytes.HasPrefix(begin, []byte("SQLite format 3\x00")) {
			return false, errors.New("this is not a backup: neither a SQLite database nor encrypted with age")
		}
		_, err := io.Copy(out, in)
		return false, errors.Join(err, out.Flush())
	}
	if len(identities) == 0 {
		return true, ErrNeedsIdentity
	}
	var from io.Reader = in
	if armored {
		from = armor.NewReader(in)
	}
	plain, err := age.Decrypt(from, identities...)
	if none := (*age.NoIdentityMatchError)(nil); errors.As(err, &none) {
		return true, ErrOtherIdentity
	}
	if err == nil {
		_, err = io.Copy(out, plain)
	}
	if err != nil {
		return true, fmt.Errorf("it is damaged or cut off: %w", err)
	}
	return true, out.Flush()
}

// openBackup opens a file that is whole by itself.
func openBackup(file string) (*os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a file", file), f.Close())
	}
	// An empty one can be that of a process which is about to write.
	if _, err := os.Lstat(file + "-wal"); err == nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, ErrHasLog), f.Close())
	}
	return f, nil
}

func same(f *os.File, path string) bool {
	one, err := f.Stat()
	if err != nil {
		return false
	}
	other, err := os.Stat(filepath.Clean(path))
	return err == nil && os.SameFile(one, other)
}
