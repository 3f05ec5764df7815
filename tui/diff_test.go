package tui

import (
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestAComparisonHasBothTexts: without what has come it is the one, and without
// what is gone the other.
func TestAComparisonHasBothTexts(t *testing.T) {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a,", "b", "c", "{", "}"}), 0, 30)
	rapid.Check(t, func(r *rapid.T) {
		before, after := lines.Draw(r, "before"), lines.Draw(r, "after")
		var was, is []string
		for _, c := range compare(before, after) {
			if c.sign != '+' {
				was = append(was, strings.TrimSuffix(c.line, ","))
			}
			if c.sign != '-' {
				is = append(is, c.line)
			}
		}
		for i := range before {
			before[i] = strings.TrimSuffix(before[i], ",")
		}
		if strings.Join(was, "\n") != strings.Join(before, "\n") || strings.Join(is, "\n") != strings.Join(after, "\n") {
			r.Fatalf("before %q, after %q", was, is)
		}
	})
}

func TestAComparisonIsAsShortAsCanBe(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"", "", " "},
		{"a b c", "a b c", " a  b  c"},
		{"a b c d", "a c e d", " a -b  c +e  d"},
		{"a b", "b a", "-a  b +a"},
		{"a, b", "a, b, c", " a,  b, +c"},
		{"x", "a b c", "-x +a +b +c"},
	} {
		var got []string
		for _, change := range compare(strings.Split(c.before, " "), strings.Split(c.after, " ")) {
			got = append(got, string(change.sign)+change.line)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%q, %q: %s", c.before, c.after, diff)
		}
	}
}

func TestTheOrderOfMembersMakesNoDifference(t *testing.T) {
	for body, want := range map[string]string{
		`{"b":1e3,"a":{"y":12345678901234567890,"x":"<"}}`: "{\n  \"a\": {\n    \"x\": \"<\",\n    \"y\": 12345678901234567890\n  },\n  \"b\": 1e3\n}",
		"no JSON":   "no JSON",
		`{"a":1} 2`: `{"a":1} 2`,
		strings.Repeat("[", 65) + strings.Repeat("]", 65): strings.Repeat("[", 65) + strings.Repeat("]", 65),
	} {
		if got := sortedJSON(body); got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func TestWhatATransformHasMadeOfTheEventIsSeenLineByLine(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		d := drive(t, func(o *Options, f *fake) {
			o.Width, o.Height, f.transformed = size[0], size[1], `{"amount":4200,"text":"new","event":"user.updated"}`
		})
		d.keys("3 j enter f tab tab tab")
		d.see(t, "- is the event's, + what is sent", `-     "id": "in_8812"`, `+   "amount": 4200`, `    "event": "`, `+   "text": "new"`)
		d.check(t)
		d.keys("tab")
		d.see(t, "POST https")
		d.keys("tab tab tab")
		d.fake.transformed = ""
		d.keys("J")
		d.see(t, "Request  Response  Event  ─", `"id": "in_8812"`)
		d.miss(t, "what is sent")
		d.keys("tab tab tab")
		d.miss(t, "what is sent")
	}
}

// TestNoComparisonTakesLong: nor does what is compared reach the terminal.
func TestNoComparisonTakesLong(t *testing.T) {
	for name, sent := range map[string]string{
		"lines":   "[" + strings.Repeat("1,", 30_000) + "2]",
		"nested":  strings.Repeat("[1,", 60) + strings.Repeat("3,", 20_000) + "2" + strings.Repeat("]", 60),
		"long":    `"` + strings.Repeat("a", 1<<20) + `"`,
		"hostile": "\"\x1b]52;c;ZXZpbA==\a\u202e" + strings.Repeat("\x1b[31mx\n", 9_000),
	} {
		d := drive(t, func(_ *Options, f *fake) {
			f.transformed, f.data = sent, "["+strings.Repeat("7,", 30_000)+"2]"
		})
		d.keys("3 j enter f tab tab")
		best := time.Minute
		for range 3 {
			best = min(best, d.clockOf(func() {
				d.keys("tab")
				d.check(t)
			}))
			d.keys("shift+tab")
		}
		d.keys("tab")
		for _, w := range []int{40, 200} {
			d.send(tea.WindowSizeMsg{Width: w, Height: 24})
			d.check(t)
			d.keys("G")
			d.check(t)
			if name == "lines" {
				d.see(t, "lines more are not shown.")
			}
		}
		if best > 300*time.Millisecond*slowdown {
			t.Errorf("%s: it took %s", name, best)
		}
	}
}
