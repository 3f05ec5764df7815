package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"
)

// everyKey are the keys that mean something somewhere.
const everyKey = "1 2 3 4 5 6 7 j k g G h l up down left right home end pgup pgdown ctrl+d ctrl+u ctrl+f ctrl+b space ctrl+space u " +
	"enter enter enter esc tab shift+tab [ ] - : / @ ? F f f2 r R t T x p i n E D X S y Y c w o J K d q v s e ctrl+s ctrl+r ctrl+e % a b 1 backspace delete"

// TestScreensFitTheirWindowWhateverIsInThem: any size, any data, any keys.
func TestScreensFitTheirWindowWhateverIsInThem(t *testing.T) {
	names := strings.Fields(everyKey)
	rapid.Check(t, func(r *rapid.T) {
		d := drive(t, func(o *Options, f *fake) {
			o.ASCII, o.ReadOnly = rapid.Bool().Draw(r, "ascii"), rapid.Bool().Draw(r, "read-only")
			o.Width, o.Height = rapid.IntRange(1, 250).Draw(r, "w"), rapid.IntRange(1, 70).Draw(r, "h")
			o.Address = rapid.SampledFrom([]string{"", "vm-eu-1", "\x1b[31m\u202e" + strings.Repeat("支", 50)}).Draw(r, "address")
			f.bound = rapid.SampledFrom([]int{0, 7, 100}).Draw(r, "bound")
			if rapid.Bool().Draw(r, "hostile") {
				f.spoil(seeded(rapid.Uint64().Draw(r, "seed")))
			}
		})
		d.check(r)
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			switch rapid.IntRange(0, 9).Draw(r, "step") {
			case 0:
				d.send(tea.WindowSizeMsg{Width: rapid.IntRange(1, 250).Draw(r, "w"), Height: rapid.IntRange(1, 70).Draw(r, "h")})
			case 1:
				d.fake.grow(rapid.IntRange(0, 5).Draw(r, "n"))
				d.fake.refuse(rapid.IntRange(0, 2).Draw(r, "m"))
				d.beat()
			case 2:
				d.send(tea.PasteMsg{Content: rapid.SampledFrom([]string{"\x1b[31m\u202eevil\u200d\r\n", strings.Repeat("支", 300), "acme"}).Draw(r, "paste")})
			default:
				name := rapid.SampledFrom(names).Draw(r, "key")
				d.keys(name)
			}
			d.check(r)
			if d.env.ascii {
				for _, line := range d.render() {
					if !isASCII(line) {
						r.Fatalf("not ASCII: %q", line)
					}
				}
			}
		}
		if d.env.readOnly && len(d.fake.changed) > 0 {
			r.Fatalf("although it is read-only, it did: %q", d.fake.changed)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// roots are the root screens and what is behind them, as keys that lead there.
func roots() map[string]string {
	return map[string]string{
		"overview": "1", "events": "2", "event": "2 enter", "deliveries": "3", "delivery": "3 enter",
		"subscribers": "4", "dead": "5", "sandbox": "6", "rejections": "7", "rejection": "7 enter",
		"explanation": "3 e", "explained": "2 e",
	}
}

func TestEveryScreenFitsEveryWindow(t *testing.T) {
	for name, keys := range roots() {
		t.Run(name, func(t *testing.T) {
			d := drive(t)
			d.keys(keys)
			for _, overlay := range []string{"", "?", "/", "q", "@"} {
				for w := 38; w <= 250; w += 31 {
					for h := 8; h <= 70; h += 9 {
						d.send(tea.WindowSizeMsg{Width: w, Height: h})
						d.check(t)
					}
				}
				for _, compact := range []bool{false, true} {
					d.compact = compact
					d.send(tea.WindowSizeMsg{Width: 40, Height: 10})
					d.check(t)
				}
				d.compact = false
				d.overlay = nil
				d.keys(overlay)
			}
		})
	}
}

func TestAWindowTooSmallSaysSo(t *testing.T) {
	d := drive(t)
	d.send(tea.WindowSizeMsg{Width: 39, Height: 9})
	if text := strings.TrimSpace(d.text()); text != "pintle needs 40x10; this is 39x9" {
		t.Errorf("it says %q", text)
	}
}

// TestAQuestionCanBeAnsweredInTheSmallestWindow: what is asked is no use without
// its buttons.
func TestAQuestionCanBeAnsweredInTheSmallestWindow(t *testing.T) {
	d := drive(t)
	d.send(tea.WindowSizeMsg{Width: 40, Height: 10})
	d.keys("q")
	d.see(t, "Cancel", "Leave")
	d.keys("esc 2 R")
	d.see(t, "Cancel", "Replay")
	d.write("50")
	d.see(t, "50", "Cancel")
}

func TestTheHeadingsAreWhole(t *testing.T) {
	d := drive(t)
	for _, w := range []int{80, 100, 120, 200} {
		d.send(tea.WindowSizeMsg{Width: w, Height: 24})
		for _, keys := range []string{"2", "3", "2 enter", "3 enter"} {
			d.keys(keys)
			for _, line := range strings.Split(d.text(), "\n") {
				if (strings.Contains(line, "STATE ") || strings.Contains(line, "FAN-OUT")) && strings.Contains(line, "…") {
					t.Errorf("at %d: %q", w, line)
				}
			}
		}
	}
}

// TestAMegabyteOpensAtOnce is about a receiver that answers with one line of a
// megabyte. The API would cut it; the screen must not depend on that.
func TestAMegabyteOpensAtOnce(t *testing.T) {
	for _, answer := range []string{strings.Repeat("a", 1<<20), strings.Repeat("\x1b[31m", 1<<20/5), strings.Repeat("支", 1<<20/3), strings.Repeat(`{"a":[`, 1<<20/6)} {
		d := drive(t, func(_ *Options, f *fake) { f.answer = answer; f.data = `"` + strings.Repeat("a", 1<<20) + `"` })
		best := time.Minute
		for range 3 {
			begin := d.clockOf(func() {
				d.keys("3 j j enter tab")
				d.check(t)
			})
			best = min(best, begin)
			d.keys("esc")
		}
		if best > 100*time.Millisecond*slowdown {
			t.Errorf("%q…: it took %s", answer[:8], best)
		}
	}
}

// TestTheAgeOfTheDataIsAlwaysOnTheScreen: nothing may look live that is not.
func TestTheAgeOfTheDataIsAlwaysOnTheScreen(t *testing.T) {
	for name, keys := range roots() {
		t.Run(name, func(t *testing.T) {
			d := drive(t)
			for _, size := range [][2]int{{40, 10}, {59, 12}, {80, 24}, {200, 50}} {
				d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				for _, more := range []string{"", "f", "ctrl+e", "?", "/"} {
					d.overlay, d.compact = nil, false
					d.keys(keys)
					d.keys(more)
					d.beat()
					d.see(t, "live ")
				}
			}
		})
	}
}

func TestMeaningIsNeverColourAlone(t *testing.T) {
	d := drive(t)
	d.keys("3")
	d.see(t, "✓ delivered", "✗ dead", "◔ retrying", "… pending")
}

func TestWidthsAddUp(t *testing.T) {
	// The renderer counts as ansi.StringWidth does; painted cells must too.
	s := newStyles(true)
	for r := plain; r < roles; r++ {
		if got := ansi.StringWidth(s.paint(r, "支付 abc")); got != 8 {
			t.Errorf("role %d: %d", r, got)
		}
		if got := fmt.Sprint(cutPainted(s.paint(r, "支付 abc"), 4)); ansi.Strip(got) != "支付" {
			t.Errorf("role %d: %q", r, got)
		}
	}
}
