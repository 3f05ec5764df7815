package text_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/pintle/pintle/tui/text"
)

func TestCleanMakesWhatATerminalObeysVisible(t *testing.T) {
	for s, want := range map[string]string{
		"plain text, é 日本 さくら 👍":          "plain text, é 日本 さくら 👍",
		`{"a":"\n"}`:                      `{"a":"\n"}`,
		"\x1b[31m":                        `\x1b[31m`,
		"\u009b2J":                        `\u009b2J`,
		"\x9b2J":                          `\x9b2J`,
		"a\r\nb\tc\x00\x7f":               `a\r\nb\tc\x00\x7f`,
		"\b\a":                            `\b\a`,
		"\u202eevil\u2066":                `\u202eevil\u2066`,
		"zero\u200bwidth":                 `zero\u200bwidth`,
		"soft\u00adhyphen":                `soft\u00adhyphen`,
		"tag\U000e0041":                   `tag\U000e0041`,
		"\ufeffmark":                      `\ufeffmark`,
		"heart\ufe0f":                     `heart\ufe0f`,
		"empty\u2800\u3164":               `empty\u2800\u3164`,
		"\u2028":                          `\u2028`,
		"\xed\xa0\x80":                    `\xed\xa0\x80`, // half of a surrogate pair
		"\xc0\xaf\xff":                    `\xc0\xaf\xff`,
		"\U0010ffff":                      `\U0010ffff`,
		"👨\u200d👩\u200d👧":                 `👨\u200d👩\u200d👧`,
		"é\u0301\u0301\u0301\u0301\u0301": "é\u0301\u0301\u0301\u0301" + `\u0301`,
	} {
		if got := text.Clean(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

// hostile are texts that have taken over, or taken apart, terminals.
func hostile() map[string]string {
	return map[string]string{
		"OSC 52, the clipboard":   "\x1b]52;c;ZXZpbA==\x07",
		"OSC 0, the title":        "\x1b]0;evil\x07",
		"OSC 8, a link":           "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
		"OSC without an end":      "\x1b]0;swallows the rest",
		"DCS":                     "\x1bP$qm\x1b\\",
		"APC, a picture":          "\x1b_Gf=100;AAAA\x1b\\",
		"PM":                      "\x1b^pm\x1b\\",
		"SOS":                     "\x1bXsos\x1b\\",
		"CSI, the cursor":         "\x1b[2J\x1b[1;1H",
		"SGR without an end":      "\x1b[31;5;7mred",
		"RIS":                     "\x1bc",
		"C1 as UTF-8":             "\u009b2J\u009d0;evil\u009c\u0090q\u009c",
		"C1 raw":                  "\x9b2J\x9d0;evil\x9c\x90q\x9c",
		"turned writing":          "invoice\u202efdp.exe\u2066\u2069\u061c\u200f",
		"CR":                      "safe\rover",
		"BS":                      "safe\b\b\b\bover",
		"lines":                   "a\nb\r\nc\vd\fe\u0085f\u2028g\u2029h",
		"NUL, DEL, BEL":           "\x00\x7f\a",
		"a family":                "👨\u200d👩\u200d👧\u200d👦",
		"flags":                   "🇩🇪🇫",
		"wide":                    "支付.完成 株式会社アクメ ｱｸﾒ",
		"a storm of marks":        "Z" + strings.Repeat("\u0335\u0301\u20dd\u0489", 300),
		"marks without a letter":  strings.Repeat("\u0301", 20),
		"what cannot be seen":     "a\u200b\u200c\u2060\ufeff\u00ad\u034f\u180e\u3164\uffa0b",
		"tags":                    "\U000e0001\U000e0041\U000e007f",
		"selectors":               "\ufe0e\ufe0f\U000e0100",
		"not UTF-8":               "\xff\xfe\x80\xc3\x28\xed\xa0\x80\xf4\x90\x80\x80",
		"private and unassigned":  "\ue000\U000f0000\ufffe\U0003fffd",
		"what joins the next one": "\u0d4e\U000110bd\u0600\u1100",
		"many of one byte":        strings.Repeat("\x80", 1<<14),
	}
}

// obeyed returns the first character that a terminal obeys or that is drawn as
// nothing. It is written down apart from the code under test, by the tables of
// Unicode.
func obeyed(s string) (rune, bool) {
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, unicode.Is(unicode.C, r), unicode.In(r, unicode.Zl, unicode.Zp),
			unicode.In(r, unicode.Bidi_Control, unicode.Join_Control, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			return r, true
		}
	}
	return 0, false
}

func checkClean(t *testing.T, s string) {
	t.Helper()
	clean := text.Clean(s)
	if r, bad := obeyed(clean); bad {
		t.Fatalf("%.200q has become %.200q, which has %U", s, clean, r)
	}
	if again := text.Clean(clean); again != clean {
		t.Fatalf("%.200q is clean, and yet has become %.200q", clean, again)
	}
	if ansi.Strip(clean) != clean {
		t.Fatalf("%.200q has a sequence in it", clean)
	}
	if s != "" && clean == "" {
		t.Fatalf("%.200q has disappeared", s)
	}
}

func checkCut(t *testing.T, s string, w int) {
	t.Helper()
	cut, fit, right := text.Cut(s, w), text.Fit(s, w), text.FitRight(s, w)
	if got := ansi.StringWidth(cut); got > max(w, 0) {
		t.Fatalf("Cut(%.200q, %d) is %.200q, %d wide", s, w, cut, got)
	}
	for _, line := range []string{fit, right} {
		if got := ansi.StringWidth(line); got != max(w, 0) {
			t.Fatalf("Fit(%.200q, %d) is %.200q, %d wide", s, w, line, got)
		}
	}
	checkClean(t, cut)
	if w > 0 && cut != text.Clean(s) && !strings.HasSuffix(cut, "…") {
		t.Fatalf("Cut(%.200q, %d) is %.200q, and does not say that it is cut", s, w, cut)
	}
}

func checkLines(t *testing.T, s string, w int, wrap bool) {
	t.Helper()
	lines := text.Lines(s, w, wrap)
	for _, line := range lines {
		if got := ansi.StringWidth(line); got > w {
			t.Fatalf("Lines(%.200q, %d, %v) has %.200q, %d wide", s, w, wrap, line, got)
		}
		checkClean(t, line)
	}
	if wrap && len(s) <= text.MaxShown && !strings.ContainsAny(s, "\r\n\t") && strings.Join(lines, "") != text.Clean(s) {
		t.Fatalf("Lines(%.200q, %d) have lost something: %.200q", s, w, lines)
	}
}

func TestNoHostileTextPasses(t *testing.T) {
	for name, s := range hostile() {
		t.Run(name, func(t *testing.T) {
			checkClean(t, s)
			for _, w := range []int{0, 1, 2, 3, 7, 10, 40, 80, 250} {
				checkCut(t, s, w)
				checkCut(t, strings.Repeat(s[:min(len(s), 400)], 20), w)
			}
			for _, w := range []int{2, 3, 7, 40, 80, 250} {
				checkLines(t, s, w, true)
				checkLines(t, s, w, false)
			}
		})
	}
}

// TestEveryCharacterIsSeen goes through all of Unicode.
func TestEveryCharacterIsSeen(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		clean := text.Clean(string(r))
		if bad, is := obeyed(clean); is {
			t.Fatalf("%U has become %q, which has %U", r, clean, bad)
		}
		if ansi.StringWidth(clean) == 0 && !unicode.Is(unicode.M, r) {
			t.Errorf("%U takes no cell", r)
		}
	}
}

func seeds(f *testing.F, add func(string)) {
	for _, s := range hostile() {
		add(s[:min(len(s), 4096)])
	}
}

func FuzzClean(f *testing.F) {
	seeds(f, func(s string) { f.Add(s) })
	f.Fuzz(checkClean)
}

func FuzzCut(f *testing.F) {
	seeds(f, func(s string) { f.Add(s, 7); f.Add(s, 80) })
	f.Fuzz(func(t *testing.T, s string, w int) { checkCut(t, s, w%300) })
}

func FuzzLines(f *testing.F) {
	seeds(f, func(s string) { f.Add(s, 7, true); f.Add(s, 80, false) })
	f.Fuzz(func(t *testing.T, s string, w int, wrap bool) { checkLines(t, s, 2+max(w%300, -w%300), wrap) })
}

// huge are lines of a megabyte of which each is the worst for something.
func huge() map[string]string {
	fill := func(s string) string { return strings.Repeat(s, 1<<20/len(s)+1) }
	return map[string]string{
		"letters": fill("a"), "spaces": fill(" "), "escapes": fill("\x1b[31m"), "no UTF-8": fill("\x80"), "wide": fill("支"),
		"marks": "a" + fill("\u0301"), "JSON": fill(`{"a":[`), "line ends": fill("\n"), "tabs": fill("\t"), "flags": fill("🇩"),
	}
}

func TestAMegabyteCostsLittle(t *testing.T) {
	for name, s := range huge() {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			text.Cut(s, 80)
			text.Lines(s, 80, true)
			text.Lines(s, 80, false)
			if took := time.Since(begin); took > 100*time.Millisecond*slowdown {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestLinesSayWhatTheyLeaveOut(t *testing.T) {
	lines := text.Lines(strings.Repeat("x", text.MaxShown+5000), 80, true)
	if last := lines[len(lines)-1]; last != "… 5.0 kB more" {
		t.Errorf("the last line is %q", last)
	}
	if last := slices.Max(text.Lines("é"+strings.Repeat("é", text.MaxShown/2), 80, true)); strings.Contains(last, `\x`) {
		t.Errorf("a character is shown in parts: %q", last)
	}
}

func TestLinesKeepTheTextsOwn(t *testing.T) {
	got := text.Lines("a\r\n\n\tbcdefgh\rx\ny\r", 8, true)
	if want := []string{"a", "", "    bcde", `fgh\rx`, `y\r`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestValuesAreWrittenAsPeopleReadThem(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{text.Age(-time.Second), "0s"}, {text.Age(340 * time.Millisecond), "0.3s"}, {text.Age(42 * time.Second), "42s"},
		{text.Age(7*time.Minute + 59*time.Second), "7m"}, {text.Age(47 * time.Hour), "47h"}, {text.Age(12 * 24 * time.Hour), "12d"},
		{text.Span(-time.Second), "0s"}, {text.Span(time.Millisecond), "1s"}, {text.Span(102 * time.Second), "1m42s"},
		{text.Span(3*time.Hour + 5*time.Minute), "3h05m"}, {text.Span(292 * time.Hour), "12d04h"},
		{text.Millis(0), "–"}, {text.Millis(0.42), "0.4ms"}, {text.Millis(212), "212ms"}, {text.Millis(9999.6), "10.0s"},
		{text.Bytes(412), "412 B"}, {text.Bytes(999_600), "1.0 MB"}, {text.Bytes(6_100_000_000), "6.1 GB"}, {text.Bytes(1 << 62), "4611686 TB"},
		{text.Count(0), "0"}, {text.Count(-1234), "-1,234"}, {text.Count(1_071_360), "1,071,360"}, {text.Count(999), "999"},
		{text.Percent(0), "0%"}, {text.Percent(1), "100%"}, {text.Percent(0.99999), "99.9%"}, {text.Percent(0.00001), "0.1%"}, {text.Percent(0.5), "50.0%"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func BenchmarkCut(b *testing.B) {
	for name, s := range map[string]string{"ascii": "customer.subscription.updated", "wide": "支付.完成 株式会社アクメ", "long": strings.Repeat("long error ", 100)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				text.Fit(s, 20)
			}
		})
	}
}

func BenchmarkMegabyte(b *testing.B) {
	for name, s := range huge() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				text.Cut(s, 80)
				text.Lines(s, 80, true)
			}
		})
	}
}
