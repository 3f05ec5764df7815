// Package backup makes backups of the database of an appliance, whether it is
// running or not, at request and by a schedule, and restores them.
//
// A backup is one file: a Pintle database that could be opened as it stands, or the
// same encrypted with age. It is made under another name, and gets its own only when
// it is known to be good: that it is the whole database has been read from it, and
// it is on the disk. A backup that has its name is therefore a backup.
//
// To be encrypted, a copy is made beside the database first, where its content is
// in the clear anyway, so that nothing unencrypted ever reaches the other disk.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/pintle/pintle/storage"
)

const (
	// partialMark stands in the names of files that are being made.
	partialMark = ".partial-"
	// abandonedAfter is how long nothing is written to such a file before whoever
	// was at it is taken for dead.
	abandonedAfter = 24 * time.Hour
	// chunk is how much is written between two flushes of the disk, so that no one
	// else waits for a large one.
	chunk = 1 << 20
)

// ErrExists says that there is a file where the backup was to be.
var ErrExists = errors.New("there is a file of this name, which was left as it is")

// Options say what to back up.
type Options struct {
	// Database is the file.
	Database string
	// Recipients are those who can read the backup; none: everybody who has it.
	Recipients []age.Recipient
}

// Made is a backup that was made.
type Made struct {
	storage.Contents
	// File is its name; empty: it went to a stream.
	File string
	// Bytes is its size.
	Bytes int64
	// Encrypted says that an identity is needed to read it.
	Encrypted bool
	// Took is how long it took to make, until it was on the disk under its name.
	Took time.Duration
}

// Write makes a backup in a file, which must not exist. It has everything that was
// acknowledged before the call.
func Write(ctx context.Context, o Options, file string) (_ Made, err error) {
	begun := time.Now()
	place, taken := o.Database, []string{file}
	if len(o.Recipients) == 0 {
		// A log that is there already would be read as its own.
		place, taken = file, append(taken, file+"-wal")
	}
	for _, path := range taken {
		switch _, err := os.Lstat(path); {
		case err == nil:
			return Made{}, fmt.Errorf("%s: %w", path, ErrExists)
		case !errors.Is(err, fs.ErrNotExist):
			return Made{}, err
		}
	}
	plain, contents, err := copyBeside(ctx, o.Database, place)
	if err != nil {
		return Made{}, err
	}
	defer os.Remove(plain)
	made, finished := Made{Contents: contents, File: file, Encrypted: len(o.Recipients) > 0}, plain
	if made.Encrypted {
		if finished, err = encryptBeside(ctx, plain, file, o.Recipients); err != nil {
			return Made{}, fmt.Errorf("encrypt the copy: %w", err)
		}
		defer os.Remove(finished)
	}
	info, err := os.Stat(finished)
	if err != nil {
		return Made{}, err
	}
	if err := name(finished, file); err != nil {
		return Made{}, err
	}
	made.Bytes, made.Took = info.Size(), time.Since(begun)
	return made, nil
}

// Stream makes a backup and writes it to the stream. Whether it has arrived, whoever
// reads it must know.
func Stream(ctx context.Context, o Options, w io.Writer) (_ Made, err error) {
	begun := time.Now()
	plain, contents, err := copyBeside(ctx, o.Database, o.Database)
	if err != nil {
		return Made{}, err
	}
	defer os.Remove(plain)
	f, err := os.Open(plain)
	if err != nil {
		return Made{}, err
	}
	defer f.Close()
	counted := &counter{w: w}
	if len(o.Recipients) == 0 {
		_, err = io.Copy(counted, reader{ctx, f})
	} else {
		err = encrypt(counted, reader{ctx, f}, o.Recipients)
	}
	if err != nil {
		return Made{}, fmt.Errorf("write the backup: %w", err)
	}
	return Made{Contents: contents, Bytes: counted.n, Encrypted: len(o.Recipients) > 0, Took: time.Since(begun)}, nil
}

// copyBeside copies the database into a new file beside another one.
func copyBeside(ctx context.Context, database, place string) (partial string, _ storage.Contents, err error) {
	if _, err := os.Stat(database); err != nil {
		return "", storage.Contents{}, err
	}
	f, err := createPartial(place)
	if err != nil {
		return "", storage.Contents{}, err
	}
	contents, err := storage.Copy(ctx, database, f.Name())
	if err = errors.Join(err, f.Close()); err != nil {
		return "", storage.Contents{}, errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), contents, nil
}

// createPartial makes a file, for its owner only, whose name begins with that of
// another one. Those that a crash has left there go first.
func createPartial(place string) (*os.File, error) {
	dir, base := filepath.Split(place)
	if dir == "" {
		dir = "."
	}
	if err := removeAbandoned(dir, base+partialMark); err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, base+partialMark)
}

// removeAbandoned removes what a crash has left of files whose names begin like this.
func removeAbandoned(dir, begin string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), begin) || !strings.Contains(e.Name(), partialMark) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > abandonedAfter {
			os.Remove(filepath.Join(dir, e.Name())) // if it cannot go, nothing is worse than before
		}
	}
	return nil
}

// encryptBeside encrypts a file into a new one beside another one, and reads that
// through.
func encryptBeside(ctx context.Context, plain, place string, recipients []age.Recipient) (partial string, err error) {
	in, err := os.Open(plain)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := createPartial(place)
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	seen := &witness{}
	was := sha256.New()
	err = encrypt(flushing{out}, io.TeeReader(reader{ctx, in}, was), seen.all(recipients))
	if err != nil {
		return "", err
	}
	if err := out.Sync(); err != nil {
		return "", err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	decrypted, err := age.Decrypt(bufio.NewReaderSize(reader{ctx, out}, chunk), age.NewInjectedFileKeyIdentity(seen.key))
	if err != nil {
		return "", fmt.Errorf("read it back: %w", err)
	}
	is := sha256.New()
	if _, err := io.Copy(is, decrypted); err != nil {
		return "", fmt.Errorf("read it back: %w", err)
	}
	if !bytes.Equal(was.Sum(nil), is.Sum(nil)) {
		return "", errors.New("what is read back is not what was written")
	}
	return out.Name(), nil
}

func encrypt(w io.Writer, r io.Reader, recipients []age.Recipient) error {
	buffered := bufio.NewWriterSize(w, chunk)
	encrypted, err := age.Encrypt(buffered, recipients...)
	if err != nil {
		return err
	}
	if _, err := io.Copy(encrypted, r); err != nil {
		return err
	}
	return errors.Join(encrypted.Close(), buffered.Flush())
}

// A witness remembers the key of a file while it is encrypted, so that the file can
// be read back by who has only the public keys. It forgets it with itself.
type witness struct{ key []byte }

// all has each recipient tell the witness. A recipient must keep saying what it may
// be mixed with.
func (w *witness) all(recipients []age.Recipient) []age.Recipient {
	var told []age.Recipient
	for _, r := range recipients {
		if labelled, ok := r.(age.RecipientWithLabels); ok {
			told = append(told, labelledWitness{plainWitness{r, w}, labelled})
		} else {
			told = append(told, plainWitness{r, w})
		}
	}
	return told
}

type plainWitness struct {
	age.Recipient
	seen *witness
}

func (w plainWitness) Wrap(key []byte) ([]*age.Stanza, error) {
	w.seen.key = bytes.Clone(key)
	return w.Recipient.Wrap(key)
}

type labelledWitness struct {
	plainWitness
	labelled age.RecipientWithLabels
}

func (w labelledWitness) WrapWithLabels(key []byte) ([]*age.Stanza, []string, error) {
	w.seen.key = bytes.Clone(key)
	return w.labelled.WrapWithLabels(key)
}

// name gives a finished file its name, unless that is taken, and makes both
// durable.
func name(finished, file string) error {
	if err := syncPath(finished); err != nil {
		return err
	}
	switch err := os.Link(finished, file); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w", file, ErrExists)
	case err != nil:
		// A file system without hard links cannot refuse in one step.
		if _, err := os.Lstat(file); err == nil {
			return fmt.Errorf("%s: %w", file, ErrExists)
		}
		if err := os.Rename(finished, file); err != nil {
			return err
		}
	default:
		if err := os.Remove(finished); err != nil {
			return err
		}
	}
	return syncPath(filepath.Dir(file))
}

// syncPath makes a file, or the names in a folder, durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// flushing flushes the disk after each write, and rests for half as long as both
// took, so that the disk is there for others too.
type flushing struct{ f *os.File }

func (w flushing) Write(p []byte) (int, error) {
	begun := time.Now()
	n, err := w.f.Write(p)
	if err == nil {
		err = w.f.Sync()
	}
	time.Sleep(time.Since(begun) / 2)
	return n, err
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// isEncrypted reports whether what begins like this was encrypted with age, and
// whether it is in its form for text.
func isEncrypted(begin []byte) (encrypted, armored bool) {
	armored = bytes.HasPrefix(begin, []byte(armor.Header))
	return armored || bytes.HasPrefix(begin, []byte("age-encryption.org/")), armored
}
