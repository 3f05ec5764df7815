package tui

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"charm.land/bubbles/v2/textarea"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/pintle/pintle/tui/text"
)

const (
	// labelWidth is how many cells the names of fields take.
	labelWidth = 14
	// maxAreaRows is how many lines of a field are seen at once.
	maxAreaRows = 6
	// maxWritten bounds what a field takes, in characters.
	maxWritten = 256 << 10
	// unbroken is how long a line of a field may be before up and down stop
	// within it. Every key costs time in proportion.
	unbroken = 1000
)

// A kind is what a field of a form takes.
type kind int

const (
	lineKind kind = iota
	linesKind
	choiceKind
)

// A field is one value of a form.
type field struct {
	name  string // as a refusal calls it
	label string
	help  string
	kind  kind
	// hidden says that stars stand for what is in it.
	hidden bool
	// section is the heading above it; empty: there is none.
	section string
	// check says what is wrong with the value before anybody is asked; nil:
	// nothing ever is.
	check func(value string) error

	line    textinput.Model
	area    textarea.Model
	options []string
	at      int // the option that is chosen

	before string // the value that the form began with
	fault  string // why the value was refused; empty: it was not
}

func newLine(name, label, value, help string, check func(string) error) *field {
	f := &field{name: name, label: label, help: help, check: check, line: newInput(value)}
	f.line.CharLimit = maxWritten
	f.before = f.value()
	return f
}

// hide has stars stand for what is in the field.
func (f *field) hide() *field {
	f.hidden = true
	return f
}

// under puts a heading above the field.
func (f *field) under(section string) *field {
	f.section = section
	return f
}

func newLines(name, label, value, help string, check func(string) error) *field {
	f := &field{name: name, label: label, help: help, check: check, kind: linesKind, area: textarea.New()}
	f.area.CharLimit, f.area.MaxHeight, f.area.MaxWidth = maxWritten, 0, 0
	// The form draws it. A line that is not broken is one for up and down.
	f.area.SetWidth(unbroken)
	f.area.Focus()
	f.area.SetValue(value)
	f.before = f.value()
	return f
}

func newChoice(name, label, chosen, help string, options ...string) *field {
	return &field{
		name: name, label: label, help: help, kind: choiceKind,
		options: options, at: max(slices.Index(options, chosen), 0), before: chosen,
	}
}

func (f *field) value() string {
	switch f.kind {
	case linesKind:
		return f.area.Value()
	case choiceKind:
		return f.options[f.at]
	}
	return f.line.Value()
}

func (f *field) changed() bool { return f.value() != f.before }

// update hands a key or what was pasted to the field.
func (f *field) update(msg tea.Msg) {
	before := f.value()
	if f.hidden && before == hiddenValue && !f.changed() && replaces(msg) {
		f.clear()
	}
	switch f.kind {
	case linesKind:
		f.area, _ = f.area.Update(msg)
	case choiceKind:
		if key, ok := msg.(tea.KeyPressMsg); ok {
			f.choose(key.String())
		}
	default:
		f.line, _ = f.line.Update(msg)
	}
	if f.value() != before {
		f.fault = ""
	}
}

// replaces reports whether the message writes or deletes. What stands for a
// value that is not known cannot be written on.
func replaces(msg tea.Msg) bool {
	key, ok := msg.(tea.KeyPressMsg)
	if !ok {
		return true
	}
	name := key.String()
	return key.Text != "" || name == "backspace" || name == "delete"
}

func (f *field) clear() {
	if f.kind == linesKind {
		f.area.SetValue("")
	} else {
		f.line.SetValue("")
	}
}

func (f *field) choose(key string) {
	n := len(f.options)
	switch key {
	case "right", "l", "space":
		f.at = (f.at + 1) % n
	case "left", "h":
		f.at = (f.at + n - 1) % n
	}
}

// goToFault puts the cursor where the fault says that it is.
func (f *field) goToFault() {
	var line, column int
	if _, err := fmt.Sscanf(f.fault, "line %d, column %d", &line, &column); err != nil || f.kind != linesKind {
		return
	}
	f.area.MoveToBegin()
	for range min(line, f.area.LineCount()) - 1 {
		f.area.CursorEnd()
		f.area.CursorDown()
	}
	f.area.SetCursorColumn(column - 1)
}

// inside reports whether the key moves within the lines of the field.
func (f *field) inside(key string) bool {
	return f.kind == linesKind && (key == "up" && f.area.Line() > 0 || key == "down" && f.area.Line() < f.area.LineCount()-1)
}

// atEmptyEnd reports whether the cursor is on an empty last line.
func (f *field) atEmptyEnd() bool {
	value := f.area.Value()
	return f.area.Line() == f.area.LineCount()-1 && (value == "" || strings.HasSuffix(value, "\n"))
}

// render draws the field in at most so many lines: the value, what is wrong
// with it, and while it has the cursor what it is for.
func (f *field) render(e *env, focused bool, w, room int) []string {
	sign, r := " ", dim
	if focused {
		sign, r = e.glyphs.cursor, keyName
	}
	inner := w - labelWidth - 4
	var lines []string
	if f.section != "" {
		lines = append(lines, partLine(e, f.section, w))
	}
	for i, line := range f.draw(e, focused, inner, min(max(room-3, 1), maxAreaRows)) {
		label := text.Spaces(labelWidth + 3)
		if i == 0 {
			label = e.paint(r, sign+" "+text.Fit(f.label, labelWidth)+" ")
		}
		lines = append(lines, label+line)
	}
	add := func(r role, s string) {
		for _, part := range wrapped(s, w-5) {
			lines = append(lines, "   "+e.paint(r, text.Cut(part, w-4)))
		}
	}
	if f.fault != "" {
		add(bad, "! "+f.fault)
	}
	if focused {
		add(dim, f.help)
	}
	return lines[:min(len(lines), room)]
}

// draw draws the value.
func (f *field) draw(e *env, focused bool, w, rows int) []string {
	switch f.kind {
	case choiceKind:
		return []string{f.drawOptions(e, w)}
	case linesKind:
		return f.drawLines(e, focused, w, rows)
	}
	value := f.seen(f.line.Value())
	if focused {
		return []string{written(e, value, f.line.Position(), w)}
	}
	return []string{text.Cut(value, w)}
}

// seen is what one may see of a line.
func (f *field) seen(line string) string {
	if f.hidden {
		return strings.Repeat("*", len([]rune(line)))
	}
	return line
}

func (f *field) drawOptions(e *env, w int) string {
	var b strings.Builder
	for i, option := range f.options {
		if i == f.at {
			b.WriteString(e.paint(activeTab, "["+option+"]"))
		} else {
			b.WriteString(" " + option + " ")
		}
	}
	return cutPainted(b.String(), w)
}

func (f *field) drawLines(e *env, focused bool, w, rows int) []string {
	lines := strings.Split(f.area.Value(), "\n")
	cursor, top := f.area.Line(), 0
	if focused {
		top = max(min(cursor-rows/2, len(lines)-rows), 0)
	}
	var drawn []string
	for i := top; i < min(top+rows, len(lines)); i++ {
		if focused && i == cursor {
			drawn = append(drawn, written(e, f.seen(lines[i]), f.area.Column(), w))
		} else {
			drawn = append(drawn, text.Cut(f.seen(lines[i]), w))
		}
	}
	if left := len(lines) - len(drawn); !focused && left > 0 {
		drawn[len(drawn)-1] = e.paint(dim, text.Cut(fmt.Sprintf("… %d more", left+1), w))
	}
	return drawn
}

// written draws a line with the cursor in it, and of it the part around the
// cursor that there is room for.
func written(e *env, line string, at, w int) string {
	runes := []rune(line)
	at = min(max(at, 0), len(runes))
	before, under, after := text.Clean(string(runes[:at])), " ", ""
	if at < len(runes) {
		end := at + 1
		for end < len(runes) && unicode.Is(unicode.M, runes[end]) {
			end++
		}
		under, after = text.Clean(string(runes[at:end])), text.Clean(string(runes[end:]))
		if unicode.Is(unicode.M, runes[at]) {
			under = fmt.Sprintf(`\u%04x`, runes[at])
		}
	}
	// Half a wide character cannot be cut off, so that it may take one more.
	room := max(w-text.Width(under), 0)
	whole := before
	for cut := text.Width(whole) - room; text.Width(before) > room; cut++ {
		before = ansi.TruncateLeft(whole, cut, "")
	}
	after = cutPainted(after, w-text.Width(before)-text.Width(under))
	return before + e.paint(selected, under) + after
}
