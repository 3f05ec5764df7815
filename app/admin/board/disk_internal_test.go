package board

import (
	"path/filepath"
	"testing"
)

func TestDiskWithLittleRoomCallsForAttention(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		free, size int64
		found      int
	}{
		{0, 0, 0}, // not known
		{2 * gib, 20 * gib, 0},
		{gib - 1, 10 * gib, 1},
		{0, 10 * gib, 1},
		{49 * gib, 1000 * gib, 1},
		{50 * gib, 1000 * gib, 0},
	} {
		if got := disk(c.free, c.size); len(got) != c.found {
			t.Errorf("%d of %d: found %v, want %d", c.free, c.size, got, c.found)
		}
	}
}

func TestRoomOfAMissingFileIsNotKnown(t *testing.T) {
	if free, size := Room(filepath.Join(t.TempDir(), "missing")); free != 0 || size != 0 {
		t.Errorf("got %d of %d", free, size)
	}
}
