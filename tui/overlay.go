package tui

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// newInput returns a line to write on. Its prompt is drawn by whoever has it.
func newInput(value string) textinput.Model {
	in := textinput.New()
	in.Prompt = ""
	in.SetValue(value)
	in.CursorEnd()
	in.Focus()
	return in
}

// inputLine draws an input in exactly so many cells. What is written in it may
// have been pasted.
func inputLine(in *textinput.Model, w int) string {
	in.SetWidth(max(w-1, 1)) // beside it the cursor
	return fitPainted(cleanPainted(in.View()), w)
}

// A prompt asks for one line at the bottom of the screen.
type prompt struct {
	label string
	hint  string
	input textinput.Model
	enter func(line string) tea.Cmd
}

func newPrompt(label, hint, value string, enter func(string) tea.Cmd) *prompt {
	return &prompt{label: label, hint: hint, input: newInput(value), enter: enter}
}

func (p *prompt) press(_ *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	switch key.String() {
	case "esc", "alt+esc":
		return nil, true
	case "enter":
		return p.enter(p.input.Value()), true
	}
	p.input, _ = p.input.Update(key) // its command would only have the cursor blink
	return nil, false
}

func (p *prompt) paste(s string) { p.input, _ = p.input.Update(tea.PasteMsg{Content: s}) }

func (p *prompt) bottom() bool { return true }

func (p *prompt) render(e *env, w, _ int) []string {
	const keys = " · enter does it, esc leaves it"
	hint := " " + p.hint
	if text.Width(hint+keys) <= w {
		hint += keys
	}
	return []string{
		e.paint(dim, text.Fit(hint, w)),
		" " + e.paint(keyName, p.label) + " " + inputLine(&p.input, w-text.Width(p.label)-2),
	}
}

// A confirm asks before something is done that cannot be undone, or that is
// more than it may seem. What it begins with is Cancel.
type confirm struct {
	title string
	lines []string
	// verb is what the button says.
	verb string
	// typed must be written out before the button works; empty: nothing.
	typed string
	input textinput.Model
	yes   func() tea.Cmd
	ready bool // the button has the focus
}

func newConfirm(title, verb string, lines []string, yes func() tea.Cmd) *confirm {
	return &confirm{title: title, verb: verb, lines: lines, yes: yes}
}

// newTypedConfirm also wants a word to be written out.
func newTypedConfirm(title, verb, typed string, lines []string, yes func() tea.Cmd) *confirm {
	c := newConfirm(title, verb, lines, yes)
	c.typed, c.input = typed, newInput("")
	return c
}

func (c *confirm) press(_ *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	switch name := key.String(); name {
	case "esc", "alt+esc":
		return nil, true
	case "enter":
		if !c.ready && (c.typed == "" || c.input.Value() == "") {
			return nil, true
		}
		if c.typed != "" && strings.TrimSpace(c.input.Value()) != c.typed {
			return say(warn, "not done: "+text.Clean(c.typed)+" was not written out"), true
		}
		return c.yes(), true
	case "left", "right", "tab", "shift+tab":
		c.ready = !c.ready
		return nil, false
	case "h", "l":
		if c.typed == "" {
			c.ready = !c.ready
			return nil, false
		}
	case "y", "n", "q":
		if c.typed == "" {
			c.ready = name == "y"
			return nil, name != "y"
		}
	}
	if c.typed == "" {
		return nil, false
	}
	c.input, _ = c.input.Update(key)
	c.ready = strings.TrimSpace(c.input.Value()) == c.typed
	return nil, false
}

func (c *confirm) paste(s string) {
	if c.typed != "" {
		c.input, _ = c.input.Update(tea.PasteMsg{Content: s})
		c.ready = strings.TrimSpace(c.input.Value()) == c.typed
	}
}

func (c *confirm) bottom() bool { return false }

func (c *confirm) render(e *env, w, h int) []string {
	lines := slices.Clone(c.lines)
	if c.typed != "" {
		lines = append(lines, "", "Write "+text.Clean(c.typed)+" to go on:")
	}
	inner := boxWidth(w, append(lines, c.title, "  Cancel    "+c.verb+"  ")...)
	body := make([]string, 0, len(lines)+3)
	for _, line := range lines {
		for _, part := range wrapped(line, inner) {
			body = append(body, text.Fit(part, inner))
		}
	}
	// What is to be written and the buttons are seen in any window.
	if c.typed != "" {
		if room := h - 4; len(body) > room {
			body = append(body[:max(room-1, 0)], body[len(body)-1])
		}
		body = append(body, inputLine(&c.input, inner))
	}
	body = body[:min(len(body), max(h-3, 0))]
	cancel, verb := "  Cancel  ", "  "+c.verb+"  "
	if c.ready {
		verb = e.paint(activeTab, verb)
	} else {
		cancel = e.paint(activeTab, cancel)
	}
	if len(body)+4 <= h {
		body = append(body, text.Spaces(inner))
	}
	body = append(body, fitPainted(cancel+"  "+verb, inner))
	return box(e, w, c.title, body, inner)
}

// wrapped breaks a line between words, and within those that are too long.
func wrapped(line string, w int) []string {
	return strings.Split(ansi.Wrap(text.Clean(line), w, ""), "\n")
}

// boxWidth is how wide the inside of a box must be for these lines.
func boxWidth(w int, lines ...string) int {
	inner := 24
	for _, line := range lines {
		inner = max(inner, text.Width(line))
	}
	return min(inner, w-6)
}

// box draws a frame around lines that are as wide as its inside, in the middle
// of the window.
func box(e *env, w int, title string, body []string, inner int) []string {
	rule := e.glyphs.rule
	title = text.Cut(title, inner)
	left := text.Spaces((w - inner - 4) / 2)
	// What is beside the box is blank, so that it stands out.
	right := text.Spaces(w - inner - 4 - len(left))
	head := "┌" + rule + e.paint(strong, title) + strings.Repeat(rule, inner+1-text.Width(title)) + "┐"
	lines := []string{left + head + right}
	for _, line := range body {
		lines = append(lines, left+"│ "+line+" │"+right)
	}
	return append(lines, left+"└"+strings.Repeat(rule, inner+2)+"┘"+right)
}

// fitPainted fills a line that is painted already; one that is too wide is cut.
func fitPainted(line string, w int) string {
	width := paintedWidth(line)
	if width > w {
		return cutPainted(line, w)
	}
	return line + text.Spaces(w-width)
}

// help shows the keys of a screen and of all screens.
type help struct {
	parts []helpPart
	top   int
	room  int
}

type helpPart struct {
	name string
	keys []binding
	// outcomes says that the keys are outcomes, each in its colour.
	outcomes bool
}

func newHelp(s screen) *help {
	return &help{parts: []helpPart{
		{name: text.Clean(s.title()), keys: s.keys()}, {name: "Lists", keys: listKeys()},
		{name: "Outcomes, as in the filter outcome:timeout", keys: outcomeWords(), outcomes: true}, {name: "Everywhere", keys: globalKeys()},
	}}
}

func (h *help) press(_ *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	switch key.String() {
	case "j", "down":
		h.top++
	case "k", "up":
		h.top--
	case "pgdown", "ctrl+f", "space":
		h.top += h.room
	case "pgup", "ctrl+b":
		h.top -= h.room
	case "g", "home":
		h.top = 0
	case "G", "end":
		h.top = math.MaxInt // the last page, once it is drawn
	default:
		return nil, true
	}
	return nil, false
}

func (h *help) bottom() bool { return false }

func (h *help) render(e *env, w, height int) []string {
	var plainLines, lines []string
	for _, part := range h.parts {
		if len(part.keys) == 0 {
			continue
		}
		if len(lines) > 0 {
			plainLines, lines = append(plainLines, ""), append(lines, "")
		}
		plainLines, lines = append(plainLines, part.name), append(lines, e.paint(heading, part.name))
		for _, k := range part.keys {
			r := keyName
			if part.outcomes {
				r = outcome(webhook.Outcome(k.key))
			}
			plainLines = append(plainLines, "  "+text.Fit(k.key, 18)+" "+k.does)
			lines = append(lines, "  "+e.paint(r, text.Fit(k.key, 18))+" "+k.does)
		}
	}
	inner := max(boxWidth(w, plainLines...), min(30, w-6))
	h.room = max(height-2, 1)
	h.top = min(max(h.top, 0), max(len(lines)-h.room, 0))
	title := "Keys · any other closes this"
	if len(lines) > h.room {
		title = fmt.Sprintf("Keys %d–%d of %d · j k scroll", h.top+1, min(h.top+h.room, len(lines)), len(lines))
	}
	lines = lines[h.top:min(h.top+h.room, len(lines))]
	for i := range lines {
		lines[i] = fitPainted(lines[i], inner)
	}
	return box(e, w, title, lines, inner)
}
