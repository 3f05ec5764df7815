package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// A driver is the part of Bubble Tea that a model sees: it hands it messages and
// does what it asks for, one after the other and at once, unless it is held.
type driver struct {
	*model
	fake *fake // what it is driven over; nil: over another client
	now  time.Time
	quit bool
	clip string // what was put into the clipboard last
	hold bool
	held []tea.Cmd
}

// drive starts a dashboard in a window of 80x24 over the fake, which has some
// data.
func drive(t testing.TB, change ...func(*Options, *fake)) *driver {
	t.Helper()
	fake := newFake()
	fake.grow(50)
	o := Options{Client: fake, Version: "1.2.3", Address: "vm-eu-1", Width: 80, Height: 24}
	for _, f := range change {
		f(&o, fake)
	}
	d := newDriver(t, o)
	d.fake = fake
	d.run(d.load())
	return d
}

// driveAt starts a dashboard over a client that a test knows better than the
// fake, at one of the root screens.
func driveAt(t testing.TB, c Client, at tab, w, h int) *driver {
	t.Helper()
	d := newDriver(t, Options{Client: c, Address: "here", Width: w, Height: h})
	d.tab, d.stack = at, []screen{d.tabs[at]}
	d.run(d.load())
	return d
}

// newDriver starts a dashboard that has asked for nothing yet, by a clock that
// only the driver moves.
func newDriver(t testing.TB, o Options) *driver {
	d := &driver{now: began}
	o.Now = func() time.Time { return d.now }
	m, release := newModel(context.Background(), o)
	t.Cleanup(release)
	d.model = m
	return d
}

// run does the work of a command, and what comes of it.
func (d *driver) run(cmd tea.Cmd) {
	switch {
	case cmd == nil:
	case d.hold:
		d.held = append(d.held, cmd)
	default:
		d.send(cmd())
	}
}

func (d *driver) send(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
		return
	case tea.BatchMsg:
		for _, cmd := range msg {
			d.run(cmd)
		}
		return
	case tea.QuitMsg:
		d.quit = true
		return
	}
	if strings.HasSuffix(fmt.Sprintf("%T", msg), "setClipboardMsg") {
		d.clip = fmt.Sprint(msg)
		return
	}
	_, cmd := d.Update(msg)
	d.run(cmd)
}

// beat lets the time between two looks go by.
func (d *driver) beat() {
	d.now = d.now.Add(beat)
	if d.fake != nil {
		d.fake.mu.Lock()
		d.fake.stats.Now.Time = d.now
		d.fake.mu.Unlock()
	}
	d.run(d.load())
}

func (d *driver) beats(n int) {
	for range n {
		d.beat()
	}
}

// keys presses keys, each by its name as Bubble Tea has it, apart by spaces.
func (d *driver) keys(names string) {
	for name := range strings.FieldsSeq(names) {
		d.send(key(name))
	}
}

// press presses keys by their names, and types what is not the name of one.
func (d *driver) press(names ...string) {
	for _, name := range names {
		if _, named := keyNames()[name]; named || len([]rune(name)) == 1 || strings.Contains(name, "ctrl+") || strings.Contains(name, "shift+") {
			d.send(key(name))
		} else {
			d.write(name)
		}
	}
}

// compose fills the sandbox, as a screen does.
func (d *driver) compose(eventType string, data json.RawMessage) {
	d.run(d.env.compose(eventType, data))
	d.run(look)
}

// write types a text.
func (d *driver) write(s string) {
	for _, r := range s {
		d.send(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

// keyNames are the names of the keys that are no letters.
func keyNames() map[string]rune {
	return map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "space": tea.KeySpace, "backspace": tea.KeyBackspace,
		"up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "home": tea.KeyHome, "end": tea.KeyEnd,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "f2": tea.KeyF2, "delete": tea.KeyDelete,
	}
}

// key is the message for the name of a key.
func key(name string) tea.KeyPressMsg {
	var msg tea.KeyPressMsg
	for {
		if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
			msg.Mod, name = msg.Mod|tea.ModCtrl, rest
		} else if rest, ok := strings.CutPrefix(name, "shift+"); ok {
			msg.Mod, name = msg.Mod|tea.ModShift, rest
		} else if rest, ok := strings.CutPrefix(name, "alt+"); ok {
			msg.Mod, name = msg.Mod|tea.ModAlt, rest
		} else {
			break
		}
	}
	if code, ok := keyNames()[strings.ToLower(name)]; ok {
		msg.Code = code
		if code == tea.KeySpace && msg.Mod == 0 {
			msg.Text = " "
		}
		return msg
	}
	msg.Code = []rune(name)[0]
	if msg.Mod == 0 {
		msg.Text = name
	}
	return msg
}

// text is the screen as one reads it.
func (d *driver) text() string { return ansi.Strip(strings.Join(d.render(), "\n")) }

// see fails unless the screen has all of these.
func (d *driver) see(t testing.TB, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if text := d.text(); !strings.Contains(text, want) {
			t.Fatalf("the screen lacks %q:\n%s", want, text)
		}
	}
}

func (d *driver) miss(t testing.TB, unwanted ...string) {
	t.Helper()
	for _, not := range unwanted {
		if text := d.text(); strings.Contains(text, not) {
			t.Fatalf("the screen has %q:\n%s", not, text)
		}
	}
}

// check fails unless the screen fits its window and has nothing in it that the
// terminal would obey, save colours.
func (d *driver) check(t interface{ Fatalf(string, ...any) }) {
	lines := d.render()
	if len(lines) != d.height {
		t.Fatalf("%d lines in a window of %d", len(lines), d.height)
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > d.width {
			t.Fatalf("%d cells in a window of %d: %q", w, d.width, line)
		}
		if clean := cleanPainted(line); clean != line {
			t.Fatalf("not clean: %q", line)
		}
	}
}

// fits is check at many sizes of the window, which is as it was afterwards.
func (d *driver) fits(t testing.TB) {
	t.Helper()
	width, height := d.width, d.height
	for _, w := range []int{40, 47, 59, 60, 80, 99, 100, 101, 140, 200} {
		for _, h := range []int{10, 11, 13, 17, 20, 24, 30, 50} {
			d.send(tea.WindowSizeMsg{Width: w, Height: h})
			d.check(t)
		}
	}
	d.send(tea.WindowSizeMsg{Width: width, Height: height})
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// clockOf is how long it takes.
func (d *driver) clockOf(do func()) time.Duration {
	begin := time.Now()
	do()
	return time.Since(begin)
}
