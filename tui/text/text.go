// Package text makes foreign text safe to show on a terminal and fits it into
// cells, and writes values as people read them.
//
// Whatever came from outside passes through [Clean], or through a function here
// that calls it, before it reaches a terminal: bodies, headers, errors, names,
// URLs.
package text

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

const (
	// MaxShown bounds how much of a body is ever laid out, in bytes.
	MaxShown = 64 << 10
	// maxMarks is how many marks that combine with a letter are left to one.
	// More of them would be drawn over the lines around it.
	maxMarks = 4
	// bytesPerCell is how many bytes one cell may need: a letter and its marks.
	bytesPerCell = (1 + maxMarks) * utf8.UTFMax
	tabWidth     = 4
)

// Clean makes text from outside safe to print: every character that a terminal
// could obey or that cannot be seen, from escape sequences to marks that turn
// the direction of writing, becomes a visible escape such as \x1b or \u202e.
// Letters of every script stay as they are.
func Clean(s string) string {
	if i := firstUnclean(s); i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/4)
	marks := 0
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsGraphic(r) && !invisible(r) && marks <= maxMarks:
			b.WriteString(s[:size])
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case r >= 0x80:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// firstUnclean is where the plain ASCII that most text begins with ends.
func firstUnclean(s string) int {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return i
		}
	}
	return len(s)
}

// invisible reports whether the character is drawn as nothing, although Unicode
// counts it as graphic.
func invisible(r rune) bool {
	switch {
	case r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, // fillers of Hangul
		r == 0x034f, r == 0x2800, // the grapheme joiner, the empty braille cell
		r >= 0x17b4 && r <= 0x17b5,                               // inherent vowels of Khmer
		r >= 0x180b && r <= 0x180f,                               // selectors of Mongolian variants
		r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef: // selectors of variants
		return true
	}
	return false
}

// Width is how many cells the text takes.
func Width(s string) int {
	if firstUnclean(s) == len(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// Cut makes text from outside one clean line of at most so many cells. What is
// left out is marked with an ellipsis.
func Cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	// No cell needs more than a few bytes; measuring a megabyte would.
	s, cut := begin(s, bytesPerCell*width+64)
	s = Clean(s)
	if !cut && Width(s) <= width {
		return s
	}
	if firstUnclean(s) == len(s) && len(s) >= width {
		return s[:width-1] + "…"
	}
	return ansi.Truncate(s, width-1, "") + "…"
}

// begin returns the beginning of a text, at most so many bytes, without a part
// of a character at its end; and whether there is more.
func begin(s string, most int) (string, bool) {
	if len(s) <= most {
		return s, false
	}
	for back := range utf8.UTFMax {
		if most > back && utf8.RuneStart(s[most-back]) {
			return s[:most-back], true
		}
	}
	return s[:most], true
}

// Fit is [Cut], filled with spaces to exactly so many cells.
func Fit(s string, width int) string {
	s = Cut(s, width)
	return s + Spaces(width-Width(s))
}

// FitRight is [Fit] with the text at the right.
func FitRight(s string, width int) string {
	s = Cut(s, width)
	return Spaces(width-Width(s)) + s
}

// Spaces returns so many spaces; none for a negative number.
func Spaces(n int) string { return strings.Repeat(" ", max(n, 0)) }

// Lines lays a text out in clean lines of at most so many cells. It keeps the
// text's own lines and breaks the ones that are too long; with wrap false, it
// cuts those off. Of a text beyond [MaxShown] it lays out the beginning and
// says so.
func Lines(s string, width int, wrap bool) []string {
	if width <= 0 {
		return nil
	}
	left := len(s)
	s, _ = begin(s, MaxShown)
	left -= len(s)
	var lines []string
	for line := range strings.Lines(s) {
		if own, ended := strings.CutSuffix(line, "\n"); ended {
			line = strings.TrimSuffix(own, "\r")
		}
		line = strings.ReplaceAll(line, "\t", Spaces(tabWidth))
		if !wrap {
			lines = append(lines, Cut(line, width))
			continue
		}
		lines = append(lines, strings.Split(ansi.Hardwrap(Clean(line), width, true), "\n")...)
	}
	if left > 0 {
		lines = append(lines, Cut("… "+Bytes(int64(left))+" more", width))
	}
	return lines
}

// Age writes how long something took or is ago, in at most four characters or
// so: 0.3s, 42s, 7m, 3h, 12d.
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Truncate(100*time.Millisecond).Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

// Span writes a duration to the second, with two units: 1m42s, 3h05m, 12d04h.
func Span(d time.Duration) string {
	d = max(d, 0)
	seconds := int(math.Ceil(d.Seconds()))
	switch {
	case seconds < 60:
		return strconv.Itoa(seconds) + "s"
	case seconds < 3600:
		return fmt.Sprintf("%dm%02ds", seconds/60, seconds%60)
	case seconds < 86400:
		return fmt.Sprintf("%dh%02dm", seconds/3600, seconds/60%60)
	}
	return fmt.Sprintf("%dd%02dh", seconds/86400, seconds/3600%24)
}

// Millis writes a duration that is given in milliseconds: 0.4ms, 212ms, 10.0s.
func Millis(ms float64) string {
	switch {
	case ms <= 0:
		return "–"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + "ms"
	case ms < 9_999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
	}
	return strconv.FormatFloat(ms/1000, 'f', 1, 64) + "s"
}

// Bytes writes a size: 412 B, 6.1 MB.
func Bytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, unit := float64(n), 0
	for value >= 999.5 && unit < 4 {
		value /= 1000
		unit++
	}
	digits := 0
	if value < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + " " + [...]string{"B", "kB", "MB", "GB", "TB"}[unit]
}

// Count writes a number with commas: 1,071,360.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(digits) - 3; i > first; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Percent writes a share of 0 to 1, never rounded up to all nor down to none.
func Percent(share float64) string {
	percent := share * 100
	switch {
	case percent > 99.9 && percent < 100:
		percent = 99.9
	case percent > 0 && percent < 0.1:
		percent = 0.1
	}
	if percent == 0 || percent == 100 {
		return strconv.FormatFloat(percent, 'f', 0, 64) + "%"
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + "%"
}
