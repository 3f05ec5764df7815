package tui

import (
	"image/color"
	"strings"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// A role is what a piece of text is, never how it looks.
type role int

// The roles.
const (
	plain     role = iota
	dim            // what matters less
	strong         // what matters more
	good           // it worked
	warn           // it may yet work
	bad            // it did not
	ours           // it did not, and the receiver is not to blame
	info           // what is going on
	keyName        // a key to press
	heading        // the name of a column or a part
	activeTab      // the tab that is open
	selected       // the row under the cursor
	roles          // how many there are
)

// A paint is what is written before and after a text to give it its look. Most
// of a screen is painted anew for every frame, and this costs least.
type paint struct{ on, off string }

// styles is the one table from roles to looks.
type styles struct {
	paints [roles]paint
}

// newStyles uses the sixteen colours that every terminal has, so that its own
// theme decides what they look like. Without colours there are still bold,
// faint and reverse; no meaning hangs on colour alone.
func newStyles(dark bool) *styles {
	pick := lipgloss.LightDark(dark)
	colour := func(light, dark string) color.Color { return pick(lipgloss.Color(light), lipgloss.Color(dark)) }
	style := lipgloss.NewStyle
	looks := [roles]lipgloss.Style{
		dim:       style().Foreground(colour("8", "8")),
		strong:    style().Bold(true),
		good:      style().Foreground(colour("2", "10")),
		warn:      style().Foreground(colour("3", "11")),
		bad:       style().Foreground(colour("1", "9")).Bold(true),
		ours:      style().Foreground(colour("5", "13")),
		info:      style().Foreground(colour("4", "12")),
		keyName:   style().Foreground(colour("6", "14")),
		heading:   style().Bold(true).Foreground(colour("4", "12")),
		activeTab: style().Bold(true).Reverse(true),
		selected:  style().Reverse(true),
	}
	s := &styles{}
	for i := range looks {
		on, off, _ := strings.Cut(looks[i].Render("x"), "x")
		s.paints[i] = paint{on, off}
	}
	return s
}

// paint gives the text, which is clean, the look of its role.
func (s *styles) paint(r role, line string) string {
	if r == plain || line == "" {
		return line
	}
	p := s.paints[r]
	return p.on + line + p.off
}

// glyphs are the signs that stand for things. Each goes with a word where there
// is room for one.
type glyphs struct {
	ok, fail, retry, wait, cancel, live, stale, more, cursor, mark, rule, bar string
	spark                                                                     []string
}

// newGlyphs returns signs that the terminal can show: those of Unicode, or of
// ASCII where the locale has no UTF-8.
func newGlyphs(unicode bool) *glyphs {
	if unicode {
		return &glyphs{
			ok: "✓", fail: "✗", retry: "◔", wait: "…", cancel: "⊘", live: "●", stale: "◌", more: "↑", cursor: ">", mark: "*",
			rule: "─", bar: "█", spark: []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
		}
	}
	return &glyphs{
		ok: "+", fail: "x", retry: "~", wait: ".", cancel: "-", live: "*", stale: "o", more: "^", cursor: ">", mark: "*",
		rule: "-", bar: "#", spark: []string{"_", ".", "-", "=", "+", "*", "#", "@"},
	}
}

// state returns the sign, word and role of a delivery's state.
func (g *glyphs) state(state webhook.State, attempts int) (sign, word string, r role) {
	switch state {
	case webhook.Delivered:
		return g.ok, "delivered", good
	case webhook.Dead:
		return g.fail, "dead", bad
	case webhook.Cancelled:
		return g.cancel, "cancelled", dim
	}
	if attempts > 0 {
		return g.retry, "retrying", warn
	}
	return g.wait, "pending", info
}

// outcome is the role of an attempt's outcome.
func outcome(o webhook.Outcome) role {
	switch o {
	case webhook.OK:
		return good
	case webhook.Interrupted, "":
		return dim
	case webhook.Transformation:
		return ours
	}
	return bad
}

// outcomeWords says what each outcome means.
func outcomeWords() []binding {
	words := map[webhook.Outcome]string{
		webhook.OK:             "answered with 2xx",
		webhook.HTTPStatus:     "answered with another status",
		webhook.Timeout:        "no whole answer in time",
		webhook.DNS:            "the name has no address",
		webhook.Connect:        "no connection, or no token to bear",
		webhook.TLS:            "no trust: certificate or handshake",
		webhook.Reset:          "the connection broke off",
		webhook.Blocked:        "an address that may not be called",
		webhook.TooLarge:       "the head of the answer is too large",
		webhook.Transformation: "a filter or transform failed: nothing was sent",
		webhook.Interrupted:    "the appliance stopped meanwhile",
	}
	var list []binding
	for _, o := range webhook.Outcomes() {
		list = append(list, binding{string(o), words[o]})
	}
	return list
}

// paintedWidth is how many cells a painted line takes.
func paintedWidth(line string) int { return ansi.StringWidth(line) }

// cleanPainted cleans a line that is painted already: only its colours remain
// what they are. What a person pastes into an input is as foreign as a body.
func cleanPainted(line string) string {
	var b strings.Builder
	for len(line) > 0 {
		plain, rest, found := strings.Cut(line, "\x1b[")
		b.WriteString(text.Clean(plain))
		if !found {
			break
		}
		if n := strings.IndexFunc(rest, func(r rune) bool { return r != ';' && r != ':' && (r < '0' || r > '9') }); n >= 0 && rest[n] == 'm' {
			b.WriteString("\x1b[" + rest[:n+1])
			rest = rest[n+1:]
		}
		line = rest
	}
	return b.String()
}

// asASCII replaces what is not ASCII in a painted line by what is as wide.
func asASCII(line string) string {
	var b strings.Builder
	for len(line) > 0 {
		if line[0] < utf8.RuneSelf {
			b.WriteByte(line[0])
			line = line[1:]
			continue
		}
		cluster, width := ansi.FirstGraphemeCluster(line, ansi.GraphemeWidth)
		line = line[len(cluster):]
		switch cluster {
		case "·", "–", "─":
			b.WriteByte('-')
		case "…":
			b.WriteByte('~')
		case "→", "›":
			b.WriteByte('>')
		case "←", "‹":
			b.WriteByte('<')
		case "│":
			b.WriteByte('|')
		case "┌", "┐", "└", "┘":
			b.WriteByte('+')
		default:
			b.WriteString(strings.Repeat("?", width))
		}
	}
	return b.String()
}

// cutPainted cuts a painted line to so many cells, without leaving a colour on.
func cutPainted(line string, w int) string { return ansi.Truncate(line, max(w, 0), "") }
