package client

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
)

// read reads a stream to its end.
func read(stream string) (sequences []uint64, end error) {
	for h, err := range happenings(strings.NewReader(stream)) {
		if err != nil {
			return sequences, err
		}
		sequences = append(sequences, h.Sequence)
	}
	return sequences, nil
}

func TestStreamIsReadWhateverStandsAroundItsData(t *testing.T) {
	got, end := read(": a comment\n\nid: 1\nevent: event\ndata: {\"sequence\":1}\n\nretry: 5\n: \ndata:{\"sequence\":2}\r\n\r\nid: 3\n")
	if diff := cmp.Diff([]uint64{1, 2}, got); diff != "" || !errors.Is(end, io.ErrUnexpectedEOF) {
		t.Errorf("%s, ended with %v", diff, end)
	}
}

func TestLineOfTheStreamIsBounded(t *testing.T) {
	got, end := read("data: {\"sequence\":1}\n\ndata: " + strings.Repeat("x", maxTailLine) + "\n\n")
	if len(got) != 1 || end == nil || !strings.Contains(end.Error(), "longer than 65536 bytes") {
		t.Errorf("read %v, ended with %v", got, end)
	}
}

func TestReaderOfTheStreamMayStop(t *testing.T) {
	for range happenings(strings.NewReader("data: {}\n\ndata: {}\n\n")) {
		return
	}
	t.Error("nothing was read")
}

func FuzzTailNeverFailsOtherThanWithOneErrorAtItsEnd(f *testing.F) {
	for _, seed := range []string{
		"", "\n", ": heartbeat\n\n", "data: {\"sequence\":1,\"kind\":\"event\"}\n\n", "data: {\"sequence\":-1}\n", "data: [\n", "data", "data:\r\n",
		"id: 1\nevent: gap\ndata: {\"sequence\":1,\"kind\":\"gap\",\"time\":\"2025-01-02T12:00:00.000Z\",\"missed\":3}\n\n",
		"data: {\"time\":\"yesterday\"}\n", "data: \xff\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		errs := 0
		for h, err := range happenings(strings.NewReader(stream)) {
			if errs > 0 {
				t.Fatal("something follows an error")
			}
			if err != nil {
				errs++
				if h != (api.Happening{}) {
					t.Errorf("an error comes with %+v", h)
				}
			}
		}
		if errs != 1 {
			t.Errorf("%d errors", errs)
		}
	})
}
