package transform_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/transform"
)

// greeting is how a child begins.
const greeting = "pintle transform-worker 1\n\x00\x00\x00\x00"

// lies are what a child answers that has fallen to an expression.
var lies = map[string]func(w io.Writer){
	"nothing":          func(io.Writer) {},
	"a huge frame":     func(w io.Writer) { w.Write([]byte{0xff, 0xff, 0xff, 0xff}); io.Copy(w, zeros{}) },
	"half a frame":     func(w io.Writer) { w.Write([]byte{0, 0, 1, 0, 'b', '{'}) },
	"an empty frame":   func(w io.Writer) { w.Write([]byte{0, 0, 0, 0}) },
	"another kind":     func(w io.Writer) { w.Write([]byte{0, 0, 0, 1, 'y'}) },
	"an unknown kind":  func(w io.Writer) { w.Write([]byte{0, 0, 0, 1, 'q'}) },
	"no JSON":          func(w io.Writer) { w.Write([]byte{0, 0, 0, 3, 'b', '{', '{'}) },
	"no such index":    func(w io.Writer) { w.Write([]byte{0, 0, 0, 3, 'e', 7, 0}) },
	"a reason too few": func(w io.Writer) { w.Write([]byte{0, 0, 0, 3, 'e', 0, 200}) },
	"an endless index": func(w io.Writer) { fmt.Fprintf(w, "\x00\x00\x00\x10e%s", strings.Repeat("\xff", 15)) },
	"two answers":      func(w io.Writer) { w.Write([]byte("\x00\x00\x00\x02b1\x00\x00\x00\x02b1")) },
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// lie is a child that greets as it should, and then answers every request with the
// lie.
func lie(name string) {
	r := bufio.NewReader(os.Stdin)
	frame := func() bool {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return false
		}
		_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[:])))
		return err == nil
	}
	frame()
	switch name {
	case "no greeting":
		io.Copy(os.Stdout, zeros{})
	case "a complaint":
		fmt.Print(greeting[:len(greeting)-4] + "\x00\x00\x00\x07no room")
	case "a long complaint":
		fmt.Print(greeting[:len(greeting)-4] + "\x7f\xff\xff\xff")
	case "death":
	default:
		fmt.Print(greeting)
		if frame() {
			lies[name](os.Stdout)
		}
	}
}

func liar(t *testing.T, name string) *transform.Pool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return newPool(t, transform.Options{Command: []string{self, "liar", name}})
}

func TestAChildThatLiesIsNotBelieved(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name := range lies {
		p := liar(t, name)
		for range 2 {
			body, err := p.Transform(t.Context(), "owner", one("."), input)
			var e *transform.Error
			if !errors.As(err, &e) || !e.Exhausted || body != nil {
				t.Errorf("%s: %s, %v", name, body, err)
			}
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 8<<20 {
		t.Errorf("the lies took %d KiB", (after.TotalAlloc-before.TotalAlloc)>>10)
	}
}

func TestAChildThatCannotBeginIsAnErrorOfItsOwn(t *testing.T) {
	for name, want := range map[string]string{
		"no greeting": "does not greet", "death": "does not greet", "a complaint": "no room", "a long complaint": "a frame of",
	} {
		_, err := liar(t, name).Filter(t.Context(), "owner", ".", input)
		var e *transform.Error
		if !errors.As(err, &e) || e.Exhausted || !strings.Contains(e.Reason, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := newPool(t, transform.Options{Command: []string{"/nowhere/at/all"}})
	for range 3 {
		if _, err := p.Filter(t.Context(), "owner", ".", input); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Error(err)
		}
	}
}
