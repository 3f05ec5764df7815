package doctor

import "testing"

func TestDiskIsJudgedByBytesAndByPart(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		free, size int64
		want       Severity
	}{
		{0, 0, ""},
		{50 << 20, 10 * gib, Fault},
		{500 << 20, 2 * gib, Warning},
		{9 * gib, 100 * gib, Warning},
		{11 * gib, 100 * gib, OK},
	} {
		var got Severity
		for _, f := range judgeDisk(c.free, c.size) {
			got = f.Severity
		}
		if got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.free, c.size, got, c.want)
		}
	}
}
