// Package storage opens the store that a path names.
package storage

import (
	"context"
	"errors"
	"strings"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
	"github.com/pintle/pintle/storage/sqlite/dbfile"
)

// Options say how to open a store; see [sqlite.Options].
type Options = sqlite.Options

// An Upkeep is what was done for a store in the background; see [sqlite.Upkeep].
type Upkeep = sqlite.Upkeep

var (
	// ErrInUse says that another process has the store open.
	ErrInUse = dbfile.ErrInUse
	// ErrSealed says that secrets in the store are sealed, and that there is no
	// key, or another one.
	ErrSealed = dbfile.ErrSealed
	// ErrDamaged says that the store is not as Pintle left it.
	ErrDamaged = dbfile.ErrDamaged
)

// ErrNoEngine says that no engine of this build opens the path.
var ErrNoEngine = errors.New("postgres:// is reserved for the shared engine, which this version does not have")

// Info is what is known of a store without opening it; see [dbfile.Info].
type Info = dbfile.Info

// Inspect looks at the store at the path, and changes nothing. The error says
// why it cannot be opened.
func Inspect(ctx context.Context, path string) (Info, error) { return dbfile.Inspect(ctx, path) }

// Verify reads the whole store at the path, and says what is damaged in it.
func Verify(ctx context.Context, path string) error { return dbfile.Verify(ctx, path) }

// Contents are what a store has; see [dbfile.Contents].
type Contents = dbfile.Contents

// Copy writes a consistent copy of the store at the path, which may be in use, into
// an empty file; see [dbfile.Copy].
func Copy(ctx context.Context, path, to string) (Contents, error) { return dbfile.Copy(ctx, path, to) }

// Examine reads the whole store at the path, and says what is damaged in it or else
// what it has; see [dbfile.Examine].
func Examine(ctx context.Context, path string) (Contents, error) { return dbfile.Examine(ctx, path) }

// A Claim is the right to replace a store; see [dbfile.Claim].
type Claim = dbfile.Claim

// Seize takes the store at the path for as long as it is replaced; see
// [dbfile.Seize].
func Seize(path string) (*Claim, error) { return dbfile.Seize(path) }

// Subscribers reads those of the store at the path, and changes nothing; see
// [sqlite.Subscribers].
func Subscribers(ctx context.Context, path string) ([]webhook.Subscriber, error) {
	return sqlite.Subscribers(ctx, path)
}

// UnsealedCopies are the files beside the store at the path that upgrades have
// left and that have its secrets as they are; see [dbfile.UnsealedCopies].
func UnsealedCopies(path string) []string { return dbfile.UnsealedCopies(path) }

// Open opens the store at the path.
func Open(ctx context.Context, o Options) (webhook.Store, error) {
	if strings.HasPrefix(o.Path, "postgres://") {
		return nil, ErrNoEngine
	}
	return sqlite.Open(ctx, o)
}
