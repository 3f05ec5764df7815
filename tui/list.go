package tui

import (
	"slices"
	"strings"

	"github.com/pintle/pintle/tui/text"
)

// A cell is what stands in one column of a row.
type cell struct {
	text string
	role role
}

// A column of a list. The first ones are the last to go when the window is
// narrow.
type column[T any] struct {
	title string
	// width is how many cells it has at least; a flexible column gets a share
	// of what is left over.
	width    int
	flexible bool
	right    bool
	// keep orders the columns by how long they stay when it gets narrow: the
	// ones with the lowest number go first.
	keep int
	cell func(*T) cell
}

// A list shows rows that have an identity and remembers which of them is under
// the cursor and which are marked, whatever comes and goes around them. Only
// the rows that are seen are drawn.
type list[T any] struct {
	columns []column[T]
	id      func(*T) string

	rows   []T
	cursor int // the row under the cursor; 0 in an empty list
	top    int // the first row that is seen
	height int // how many rows were seen when it was last drawn
	marks  map[string]bool
	// blurred says that keys go elsewhere: there is no cursor, and the first
	// rows are seen.
	blurred bool
	anchor  string // the row that was marked last
}

func newList[T any](id func(*T) string, columns ...column[T]) *list[T] {
	return &list[T]{columns: columns, id: id, marks: map[string]bool{}, height: 1}
}

// current is the row under the cursor; nil in an empty list.
func (l *list[T]) current() *T {
	if l.cursor >= len(l.rows) {
		return nil
	}
	return &l.rows[l.cursor]
}

// setRows replaces the rows. The cursor stays on its row, and that row where it
// is on the screen; if it is gone, the cursor stays at its place.
func (l *list[T]) setRows(rows []T) {
	old := l.current()
	offset := l.cursor - l.top
	at := -1
	if old != nil {
		id := l.id(old)
		at = slices.IndexFunc(rows, func(row T) bool { return l.id(&row) == id })
	}
	l.rows = rows
	if at >= 0 {
		l.cursor, l.top = at, at-offset
	}
	l.clamp()
	if len(l.marks) > 0 {
		// What is gone must not count as marked.
		kept := make(map[string]bool, len(l.marks))
		for i := range rows {
			if id := l.id(&rows[i]); l.marks[id] {
				kept[id] = true
			}
		}
		l.marks = kept
	}
}

func (l *list[T]) clamp() {
	l.cursor = min(max(l.cursor, 0), max(len(l.rows)-1, 0))
	l.top = min(max(l.top, l.cursor-l.height+1, 0), l.cursor)
	l.top = min(l.top, max(len(l.rows)-l.height, 0))
}

// move moves the cursor by so many rows.
func (l *list[T]) move(by int) { l.cursor += by; l.clamp() }

// step moves the cursor from the row with this id by so many rows. It returns
// nil where there is none.
func (l *list[T]) step(id string, by int) *T {
	at := slices.IndexFunc(l.rows, func(row T) bool { return l.id(&row) == id })
	if at < 0 || at+by < 0 || at+by >= len(l.rows) {
		return nil
	}
	l.move(at + by - l.cursor)
	return l.current()
}

// press handles the keys that move and mark. It reports whether the key was one
// of those.
func (l *list[T]) press(key string) bool {
	switch key {
	case "j", "down":
		l.move(1)
	case "k", "up":
		l.move(-1)
	case "ctrl+d":
		l.move(l.height / 2)
	case "ctrl+u":
		l.move(-l.height / 2)
	case "ctrl+f", "pgdown":
		l.move(l.height)
	case "ctrl+b", "pgup":
		l.move(-l.height)
	case "g", "home":
		l.move(-len(l.rows))
	case "G", "end":
		l.move(len(l.rows))
	case "space":
		l.mark()
	case "ctrl+space", "ctrl+@":
		l.markRange()
	case "u":
		clear(l.marks)
	default:
		return false
	}
	return true
}

func (l *list[T]) mark() {
	row := l.current()
	if row == nil {
		return
	}
	id := l.id(row)
	if l.marks[id] {
		delete(l.marks, id)
	} else {
		l.marks[id] = true
	}
	l.anchor = id
	l.move(1)
}

// markRange marks all rows from the one that was marked last to the cursor.
func (l *list[T]) markRange() {
	from := slices.IndexFunc(l.rows, func(row T) bool { return l.id(&row) == l.anchor })
	if from < 0 || l.current() == nil {
		l.mark()
		return
	}
	for i := min(from, l.cursor); i <= max(from, l.cursor); i++ {
		l.marks[l.id(&l.rows[i])] = true
	}
	l.anchor = l.id(l.current())
}

// marked are the rows that are marked, or else the one under the cursor.
func (l *list[T]) marked() []T {
	var rows []T
	for i := range l.rows {
		if l.marks[l.id(&l.rows[i])] {
			rows = append(rows, l.rows[i])
		}
	}
	if row := l.current(); len(rows) == 0 && row != nil {
		rows = append(rows, *row)
	}
	return rows
}

// gutter is how many cells the cursor and the mark take at the left.
const gutter = 3

// render draws the headings and as many rows as there is room for.
func (l *list[T]) render(e *env, w, h int) []string {
	l.height = max(h-1, 1)
	if l.blurred {
		l.cursor, l.top = 0, 0
	}
	l.clamp()
	widths := l.layout(w - gutter)
	var b strings.Builder
	b.WriteString(text.Spaces(gutter))
	for i := range l.columns {
		if widths[i] > 0 {
			b.WriteString(l.columns[i].fit(l.columns[i].title, widths[i]))
			b.WriteByte(' ')
		}
	}
	lines := []string{e.paint(heading, text.Fit(strings.TrimRight(b.String(), " "), w))}
	for i := l.top; i < min(l.top+l.height, len(l.rows)); i++ {
		lines = append(lines, l.line(e, i, widths, w))
	}
	return lines
}

func (l *list[T]) line(e *env, i int, widths []int, w int) string {
	row := &l.rows[i]
	var b strings.Builder
	under := i == l.cursor && !l.blurred
	sign, mark := " ", " "
	if under {
		sign = e.glyphs.cursor
	}
	if l.marks[l.id(row)] {
		mark = e.glyphs.mark
	}
	b.WriteString(sign + mark + " ")
	used := gutter
	for c := range l.columns {
		if widths[c] == 0 {
			continue
		}
		cell := l.columns[c].cell(row)
		shown := l.columns[c].fit(cell.text, widths[c])
		if !under { // the bar of the cursor has one look from end to end
			shown = e.paint(cell.role, shown)
		}
		b.WriteString(shown)
		b.WriteByte(' ')
		used += widths[c] + 1
	}
	line := b.String()
	if used > w {
		line = strings.TrimSuffix(line, " ")
	}
	if under {
		return e.paint(selected, line+text.Spaces(w-used))
	}
	return line
}

func (c *column[T]) fit(s string, width int) string {
	if c.right {
		return text.FitRight(s, width)
	}
	return text.Fit(s, width)
}

// layout returns how wide each column is; zero for one that there is no room
// for.
func (l *list[T]) layout(w int) []int {
	widths := make([]int, len(l.columns))
	order := make([]int, len(l.columns))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return l.columns[b].keep - l.columns[a].keep })
	left, flexible := w, 0
	for n, i := range order {
		c := &l.columns[i]
		need := c.width
		if n > 0 {
			need++ // the space before it
		}
		if need > left {
			if n == 0 {
				widths[i] = max(left, 0)
			}
			break
		}
		widths[i] = c.width
		left -= need
		if c.flexible {
			flexible++
		}
	}
	for i := range l.columns {
		if c := &l.columns[i]; c.flexible && widths[i] > 0 {
			share := left / flexible
			widths[i] += share
			left -= share
			flexible--
		}
	}
	return widths
}
