package webhook

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// The conditions that callers tell apart. They come wrapped; test with
// [errors.Is].
var (
	// ErrNotFound says that nothing with this id is stored.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the thing is not in a state that allows the change.
	ErrConflict = errors.New("conflict")
	// ErrOverloaded says that too much waits to be stored; nothing was.
	ErrOverloaded = errors.New("overloaded")
	// ErrStorageFull says that the disk, or the limit set for the file, is
	// full; nothing was stored.
	ErrStorageFull = errors.New("storage is full")
	// ErrClosed says that the appliance is stopping; nothing was stored.
	ErrClosed = errors.New("closed")
)

// A FieldsError refuses input as a whole and names every fault by its field.
type FieldsError map[string]string

// Error lists the faults in the order of their fields.
func (e FieldsError) Error() string {
	faults := make([]string, 0, len(e))
	for _, field := range slices.Sorted(maps.Keys(e)) {
		faults = append(faults, field+": "+e[field])
	}
	return strings.Join(faults, "; ")
}
