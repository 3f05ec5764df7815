package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/tui/text"
)

// A scroller is the lines of a screen that is read: they are scrolled through,
// and texts are found in them.
type scroller struct {
	finder
	top, room int
	// laid are the lines, laid out anew only when something has changed.
	laid    []string
	laidFor string
}

// press handles the keys that scroll and find.
func (s *scroller) press(e *env, name string) (tea.Cmd, bool) {
	switch name {
	case "j", "down":
		s.top++
	case "k", "up":
		s.top--
	case "pgdown", "ctrl+f", "space":
		s.top += s.room
	case "pgup", "ctrl+b":
		s.top -= s.room
	case "ctrl+d":
		s.top += s.room / 2
	case "ctrl+u":
		s.top -= s.room / 2
	case "g", "home":
		s.top = 0
	case "G", "end":
		s.top = len(s.laid)
	default:
		return s.finder.press(e, name, &s.laid, &s.top)
	}
	return nil, true
}

// visible are the lines that there is room for. They are laid out unless they
// are those for the key already.
func (s *scroller) visible(e *env, key string, h int, layout func() []string) []string {
	s.room = max(h, 1)
	if s.laidFor != key {
		s.laid, s.laidFor = layout(), key
	}
	s.top = min(max(s.top, 0), max(len(s.laid)-s.room, 0))
	lines := make([]string, 0, s.room)
	for i, line := range s.laid[s.top:min(s.top+s.room, len(s.laid))] {
		lines = append(lines, s.margin(e, s.top+i)+line)
	}
	return lines
}

// A fact is something that is known, under its name.
type fact struct {
	name, value string
	role        role
}

// maxFact bounds how much of a fact is shown, in cells.
const maxFact = 1 << 10

// factLines lays out facts, their names in a column of this width.
func factLines(e *env, facts []fact, width, w int) []string {
	var lines []string
	for _, f := range facts {
		name := e.paint(heading, text.Fit(f.name, width))
		for _, part := range wrapped(text.Cut(f.value, maxFact), max(w-width, 1)) {
			lines = append(lines, cutPainted(name+e.paint(f.role, part), w))
			name = text.Spaces(width)
		}
	}
	return lines
}

// writeFacts writes facts as a text, one to a line.
func writeFacts(b *strings.Builder, facts []fact, width int) {
	for _, f := range facts {
		b.WriteString(text.Fit(f.name, width) + text.Clean(f.value) + "\n")
	}
}

// partLine is a line with the name of the part that begins.
func partLine(e *env, name string, w int) string {
	name = " " + name + " "
	return e.paint(dim, e.glyphs.rule+name+ruled(e, w-text.Width(name)-1))
}
