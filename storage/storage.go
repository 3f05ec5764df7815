// Package storage opens the store that a path names.
package storage

import (
	"context"
	"errors"
	"strings"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// Options say how to open a store; see [sqlite.Options].
type Options = sqlite.Options

// ErrInUse says that another process has the store open.
var ErrInUse = sqlite.ErrInUse

// ErrNoEngine says that no engine of this build opens the path.
var ErrNoEngine = errors.New("postgres:// is reserved for the shared engine, which this version does not have")

// Open opens the store at the path.
func Open(ctx context.Context, o Options) (webhook.Store, error) {
	if strings.HasPrefix(o.Path, "postgres://") {
		return nil, ErrNoEngine
	}
	return sqlite.Open(ctx, o)
}
