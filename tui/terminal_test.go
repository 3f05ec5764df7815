package tui

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A terminal is a dashboard that runs in an emulated terminal.
type terminal struct {
	fake  *fake
	keys  *io.PipeWriter
	ended chan error

	mu      sync.Mutex
	wrote   *sync.Cond
	late    bool
	screen  *vt.Emulator
	answers chan struct{} // closed when the emulator answers no more
}

// Write is where the dashboard draws. A terminal that is no device makes no
// carriage return of a line feed by itself.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.screen.Write([]byte(strings.ReplaceAll(string(p), "\n", "\r\n")))
	t.wrote.Broadcast()
	return len(p), err
}

// run starts a dashboard in a window of that size.
func run(t *testing.T, w, h int, environ []string, change ...func(*Options, *fake)) *terminal {
	t.Helper()
	in, keys := io.Pipe()
	term := &terminal{fake: newFake(), keys: keys, ended: make(chan error, 1), screen: vt.NewEmulator(w, h), answers: make(chan struct{})}
	term.wrote = sync.NewCond(&term.mu)
	term.fake.grow(50)
	o := Options{
		Client: term.fake, Version: "1.2.3", Address: "vm-eu-1", Input: in, Output: term, Environ: environ,
		Width: w, Height: h, Now: func() time.Time { return began },
	}
	for _, f := range change {
		f(&o, term.fake)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(term.answers)
		io.Copy(io.Discard, term.screen) // what it answers to questions
	}()
	go func() { term.ended <- Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		term.end(t)
		keys.Close()
		in.Close()
		term.screen.InputPipe().(io.Closer).Close()
		<-term.answers
	})
	return term
}

// end waits until the dashboard has ended.
func (t *terminal) end(tb testing.TB) {
	tb.Helper()
	select {
	case err := <-t.ended:
		if err != nil {
			tb.Errorf("it ended with %v", err)
		}
		t.ended <- nil
	case <-time.After(patience):
		tb.Error("it does not end")
	}
}

// press types on the keyboard.
func (t *terminal) press(tb testing.TB, s string) {
	tb.Helper()
	if _, err := io.WriteString(t.keys, s); err != nil {
		tb.Fatal(err)
	}
}

// text is the screen as one reads it, without the blanks at the ends of lines.
func (t *terminal) text() string {
	var b strings.Builder
	for y := range t.screen.Height() {
		var line strings.Builder
		for x := 0; x < t.screen.Width(); x++ {
			if c := t.screen.CellAt(x, y); c != nil && c.Width > 0 {
				line.WriteString(c.Content)
				x += c.Width - 1
			} else {
				line.WriteByte(' ')
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// until waits for the screen to match.
func (t *terminal) until(tb testing.TB, pattern string) string {
	tb.Helper()
	re := regexp.MustCompile(pattern)
	timer := time.AfterFunc(patience, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.late = true
		t.wrote.Broadcast()
	})
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		text := t.text()
		if re.MatchString(text) {
			return text
		}
		if t.late {
			tb.Fatalf("%q has not come:\n%s", pattern, text)
		}
		t.wrote.Wait()
	}
}

// looks are whether there are colours and attributes on the screen.
func (t *terminal) looks() (colours, attributes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for y := range t.screen.Height() {
		for x := range t.screen.Width() {
			if c := t.screen.CellAt(x, y); c != nil {
				colours = colours || c.Style.Fg != nil || c.Style.Bg != nil
				attributes = attributes || c.Style.Attrs != 0
			}
		}
	}
	return colours, attributes
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a screen with what it was.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the screen is not that of %s (-update writes it anew):\n%s\nit was\n%s", path, got, want)
	}
}

// walk shows each screen and gives it to visit.
func walk(t *testing.T, term *terminal, visit func(name, screen string)) {
	t.Helper()
	for _, stop := range []struct{ name, keys, shows string }{
		{"overview", "1", `live(?s:.*)LAST FAILURES[^\n]*\n[^\n]*(retrying|dead)`},
		{"events", "2", `FAN-OUT(?s:.*)50 events · FOLLOW|50 events · FOLLOW(?s:.*)FAN-OUT`},
		{"event", "\r", `data · `},
		{"deliveries", "3", `50 deliveries · FOLLOW`},
		{"delivery", "jjjj\r", `Request  Response  Event`},
		{"help", "?", `Keys (?s:.*)attempt`},
		{"subscribers", "x4", `acme-billing +active`},
		{"dead", "5", `38 dead letters`},
		{"sandbox", "6", `invoice.paid`},
		{"rejections", "7", `12 rejections · FOLLOW`},
		{"rejection", "jj\r", `path ✓(?s:.*)request ─`},
		{"question", "1q", `Leave the dashboard`},
	} {
		term.press(t, stop.keys)
		visit(stop.name, term.until(t, stop.shows))
	}
}

func TestScreensLookAsTheyDid(t *testing.T) {
	for _, size := range []struct {
		name string
		w, h int
	}{{"80x24", 80, 24}, {"120x40", 120, 40}, {"200x50", 200, 50}} {
		t.Run(size.name, func(t *testing.T) {
			term := run(t, size.w, size.h, []string{"TERM=xterm-256color", "TTY_FORCE=1"})
			walk(t, term, func(name, screen string) { golden(t, name+"-"+size.name, screen) })
			if colours, attributes := term.looks(); !colours || !attributes {
				t.Errorf("colours: %v, attributes: %v", colours, attributes)
			}
		})
	}
}

// TestScreensReadTheSameWithoutColours: nothing is said by colour alone.
func TestScreensReadTheSameWithoutColours(t *testing.T) {
	for name, environ := range map[string][]string{
		"NO_COLOR": {"TERM=xterm-256color", "TTY_FORCE=1", "NO_COLOR=1"},
		"dumb":     {"TERM=dumb"},
	} {
		t.Run(name, func(t *testing.T) {
			term := run(t, 80, 24, environ)
			walk(t, term, func(name, screen string) {
				if !*update {
					golden(t, name+"-80x24", screen)
				}
			})
			colours, attributes := term.looks()
			if colours || attributes != (name == "NO_COLOR") {
				t.Errorf("colours: %v, attributes: %v", colours, attributes)
			}
		})
	}
}

// TestHostileTextReachesNoTerminal: what a receiver answers is text, even in the
// terminal.
func TestHostileTextReachesNoTerminal(t *testing.T) {
	var mu sync.Mutex
	var raw strings.Builder
	evil := "\x1b]52;c;ZXZpbA==\a\x1b]0;owned\a\x1bP$qm\x1b\\\x1b_Gf=100;A\x1b\\\x1b^p\x1b\\\x1bXs\x1b\\\x1b]8;;https://evil.example\a\u009b2J\x9b2J\u202e\r\b\x1b[2J\x1b]0;unended"
	term := run(t, 120, 40, []string{"TERM=xterm-256color", "TTY_FORCE=1"}, func(o *Options, f *fake) {
		f.answer = evil
		for i := range f.deliveries {
			f.deliveries[i].EventType, f.deliveries[i].SubscriberName, f.deliveries[i].LastError = "evil"+evil, evil, evil
		}
		o.Address = evil
		out := o.Output
		o.Output = writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			raw.Write(p)
			mu.Unlock()
			return out.Write(p)
		})
	})
	term.until(t, "LAST FAILURES")
	term.press(t, "3")
	term.until(t, `deliveries · FOLLOW`)
	term.press(t, "jjjj\r")
	term.until(t, "Request  Response")
	term.press(t, "\t")
	term.until(t, `Server: .x1b]52;c`)
	mu.Lock()
	defer mu.Unlock()
	for _, not := range []string{"\x1b]52", "\x1b]0;owned", "\x1bP$qm", "\x1b_G", "\x1b^", "\x1bX", "\x1b]8", "\u009b", "\x9b2J", "\u202e", "\b\x1b[2J"} {
		if strings.Contains(raw.String(), not) {
			t.Errorf("%q has reached the terminal", not)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestLeavingRestoresTheTerminal(t *testing.T) {
	for name, keys := range map[string]string{"asked": "qy\r", "at once": "\x03", "by command": ":q\r"} {
		t.Run(name, func(t *testing.T) {
			term := run(t, 80, 24, []string{"TERM=xterm-256color", "TTY_FORCE=1"})
			term.until(t, "LAST FAILURES")
			term.press(t, keys)
			term.end(t)
			term.mu.Lock()
			defer term.mu.Unlock()
			if term.screen.IsAltScreen() {
				t.Error("the other screen is still there")
			}
		})
	}
}

// TestNothingRunsOnWhenItHasEnded, not even a request that nobody answers.
func TestNothingRunsOnWhenItHasEnded(t *testing.T) {
	for _, hang := range []bool{false, true} {
		before := goleak.IgnoreCurrent()
		t.Run("", func(t *testing.T) {
			term := run(t, 80, 24, []string{"TERM=xterm-256color", "TTY_FORCE=1"}, func(_ *Options, f *fake) { f.hang = hang })
			if hang {
				term.until(t, "loading")
			} else {
				term.until(t, "LAST FAILURES")
			}
			term.press(t, "3")
			term.until(t, "Deliveries")
			term.press(t, "\x03")
			term.end(t)
		})
		if err := goleak.Find(before); err != nil {
			t.Errorf("hanging: %v: %v", hang, err)
		}
	}
}
