package tui

import (
	"strings"
	"unicode"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/tui/text"
)

// An editor is a text that a person writes, of one line or of many. It keeps
// what is written to the byte, and only what is drawn of it is made clean. Lines
// are not wrapped but scrolled sideways, and only those that are seen are laid
// out, so that a long text is as quick to write in as a short one.
type editor struct {
	single bool // it has one line
	limit  int  // in bytes

	lines     [][]rune
	size      int // in bytes
	row, col  int // the cursor
	top, left int // the first line and the first character that are seen
	height    int // how many lines were seen when it was last drawn
}

func newEditor(single bool, limit int) *editor {
	return &editor{single: single, limit: limit, lines: [][]rune{nil}, height: 1}
}

func (ed *editor) value() string {
	var b strings.Builder
	b.Grow(ed.size)
	for i, line := range ed.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(line))
	}
	return b.String()
}

// set replaces the text. The cursor is at its beginning, or at the end of a
// single line.
func (ed *editor) set(s string) {
	*ed = *newEditor(ed.single, ed.limit)
	ed.insert(s)
	if !ed.single {
		ed.row, ed.col = 0, 0
	}
}

// insert writes a text at the cursor. It reports false, and writes nothing, if
// the whole would be too long.
func (ed *editor) insert(s string) bool {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	if ed.single {
		s = strings.ReplaceAll(s, "\n", " ")
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	if ed.size+len(s) > ed.limit {
		return false
	}
	ed.size += len(s)
	line := ed.lines[ed.row]
	tail := append([]rune(nil), line[ed.col:]...)
	parts := strings.Split(s, "\n")
	fresh := make([][]rune, len(parts))
	for i, part := range parts {
		fresh[i] = []rune(part)
	}
	fresh[0] = append(line[:ed.col:ed.col], fresh[0]...)
	last := len(fresh) - 1
	col := len(fresh[last])
	fresh[last] = append(fresh[last], tail...)
	ed.lines = append(ed.lines[:ed.row:ed.row], append(fresh, ed.lines[ed.row+1:]...)...)
	ed.row, ed.col = ed.row+last, col
	return true
}

// remove deletes what is between the cursor and another place.
func (ed *editor) remove(row, col int) {
	fromRow, fromCol, toRow, toCol := ed.row, ed.col, row, col
	if toRow < fromRow || toRow == fromRow && toCol < fromCol {
		fromRow, fromCol, toRow, toCol = toRow, toCol, fromRow, fromCol
	}
	for i := fromRow; i <= toRow; i++ {
		begin, end := 0, len(ed.lines[i])
		if i == fromRow {
			begin = fromCol
		}
		if i == toRow {
			end = toCol
		} else {
			ed.size-- // the line's end
		}
		ed.size -= len(string(ed.lines[i][begin:end]))
	}
	joined := append(ed.lines[fromRow][:fromCol:fromCol], ed.lines[toRow][toCol:]...)
	ed.lines = append(append(ed.lines[:fromRow:fromRow], joined), ed.lines[toRow+1:]...)
	ed.row, ed.col = fromRow, fromCol
}

// press takes a key. It reports whether the key was one of its own, and whether
// there was room for what was written.
func (ed *editor) press(key tea.KeyPressMsg) (taken, fits bool) {
	switch key.String() {
	case "left":
		ed.row, ed.col = ed.before()
	case "right":
		ed.row, ed.col = ed.after()
	case "ctrl+left", "alt+left", "alt+b":
		ed.row, ed.col = ed.wordBefore()
	case "ctrl+right", "alt+right", "alt+f":
		ed.row, ed.col = ed.wordAfter()
	case "up":
		ed.goTo(ed.row-1, ed.col)
	case "down":
		ed.goTo(ed.row+1, ed.col)
	case "pgup":
		ed.goTo(ed.row-ed.height, ed.col)
	case "pgdown":
		ed.goTo(ed.row+ed.height, ed.col)
	case "home", "ctrl+a":
		ed.col = 0
	case "end", "ctrl+e":
		ed.col = len(ed.lines[ed.row])
	case "ctrl+home":
		ed.row, ed.col = 0, 0
	case "ctrl+end":
		ed.row = len(ed.lines) - 1
		ed.col = len(ed.lines[ed.row])
	case "backspace", "ctrl+h":
		ed.remove(ed.before())
	case "delete", "ctrl+d":
		ed.remove(ed.after())
	case "ctrl+w", "alt+backspace", "ctrl+backspace":
		ed.remove(ed.wordBefore())
	case "ctrl+u":
		ed.remove(ed.row, 0)
	case "ctrl+k":
		if ed.col == len(ed.lines[ed.row]) {
			ed.remove(ed.after())
		} else {
			ed.remove(ed.row, len(ed.lines[ed.row]))
		}
	case "enter":
		if ed.single {
			return false, true
		}
		return true, ed.insert("\n" + ed.indent())
	default:
		if key.Text == "" {
			return false, true
		}
		return true, ed.insert(key.Text)
	}
	return true, true
}

func (ed *editor) goTo(row, col int) {
	ed.row = min(max(row, 0), len(ed.lines)-1)
	ed.col = min(max(col, 0), len(ed.lines[ed.row]))
}

// before and after are the places beside the cursor.
func (ed *editor) before() (row, col int) {
	switch {
	case ed.col > 0:
		return ed.row, ed.col - 1
	case ed.row > 0:
		return ed.row - 1, len(ed.lines[ed.row-1])
	}
	return 0, 0
}

func (ed *editor) after() (row, col int) {
	switch {
	case ed.col < len(ed.lines[ed.row]):
		return ed.row, ed.col + 1
	case ed.row < len(ed.lines)-1:
		return ed.row + 1, 0
	}
	return ed.row, ed.col
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

func (ed *editor) wordBefore() (row, col int) {
	line, col := ed.lines[ed.row], ed.col
	if col == 0 {
		return ed.before()
	}
	for col > 0 && !isWord(line[col-1]) {
		col--
	}
	for col > 0 && isWord(line[col-1]) {
		col--
	}
	return ed.row, col
}

func (ed *editor) wordAfter() (row, col int) {
	line, col := ed.lines[ed.row], ed.col
	if col == len(line) {
		return ed.after()
	}
	for col < len(line) && !isWord(line[col]) {
		col++
	}
	for col < len(line) && isWord(line[col]) {
		col++
	}
	return ed.row, col
}

// indent is the white space that the present line begins with, up to the
// cursor.
func (ed *editor) indent() string {
	line := ed.lines[ed.row][:ed.col]
	n := 0
	for n < len(line) && (line[n] == ' ' || line[n] == '\t') {
		n++
	}
	return string(line[:n])
}

// seen makes a piece of a line what is shown of it.
func seen(runes []rune) string {
	return text.Clean(strings.ReplaceAll(string(runes), "\t", "    "))
}

// render draws it in exactly so many lines. With focus, the cursor is shown.
func (ed *editor) render(e *env, w, h int, focus bool) []string {
	ed.height = max(h, 1)
	ed.top = min(max(ed.top, ed.row-ed.height+1, 0), ed.row)
	ed.top = min(ed.top, max(len(ed.lines)-ed.height, 0))
	if ed.left = min(ed.left, ed.col); ed.left == ed.col {
		ed.left = max(ed.col-w/4, 0)
	}
	if line := ed.lines[ed.row]; ed.col < w && text.Width(seen(line[:ed.col])) <= w-2 {
		ed.left = 0
	}
	// Most characters take a cell or more, so this is near and the rest short.
	ed.left = max(ed.left, ed.col-w)
	for ed.left < ed.col && text.Width(seen(ed.lines[ed.row][ed.left:ed.col])) > w-2 {
		ed.left++
	}
	lines := make([]string, 0, h)
	for i := ed.top; i < min(ed.top+h, len(ed.lines)); i++ {
		line := ed.lines[i][min(ed.left, len(ed.lines[i])):]
		if i == ed.row && focus {
			lines = append(lines, cutPainted(ed.cursorLine(e, line, w), w))
		} else {
			lines = append(lines, text.Cut(seen(line[:min(len(line), 2*w)]), w))
		}
	}
	return fill(lines, h)
}

// cursorLine draws the line with the cursor.
func (ed *editor) cursorLine(e *env, line []rune, w int) string {
	at := ed.col - ed.left
	under, rest := " ", ""
	if at < len(line) {
		under = seen(line[at : at+1])
		rest = seen(line[at+1 : min(len(line), at+1+2*w)])
	}
	left := seen(line[:at])
	return left + e.paint(selected, under) + text.Cut(rest, w-text.Width(left)-text.Width(under))
}
