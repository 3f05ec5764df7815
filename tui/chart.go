package tui

import "strings"

// spark draws values as a line of blocks, the newest at the right, one for each
// cell. With more values than cells, each block is the largest of its share:
// a short peak must not disappear. A value above zero is never drawn as none.
func spark(g *glyphs, values []float64, width int) string {
	if width <= 0 || len(values) == 0 {
		return ""
	}
	cells := make([]float64, min(width, len(values)))
	for i := range cells {
		from, to := i*len(values)/len(cells), (i+1)*len(values)/len(cells)
		for _, v := range values[from:to] {
			cells[i] = max(cells[i], v)
		}
	}
	top := 0.0
	for _, v := range cells {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range cells {
		level := 0
		if top > 0 && v > 0 {
			level = max(min(int(v/top*float64(len(g.spark))), len(g.spark)-1), 1)
		}
		b.WriteString(g.spark[level])
	}
	return b.String()
}

// bar draws a part of a whole as a bar of at most so many cells, at least one
// for what is more than nothing.
func bar(g *glyphs, part, whole float64, width int) string {
	if part <= 0 || whole <= 0 || width <= 0 {
		return ""
	}
	return strings.Repeat(g.bar, max(min(int(part/whole*float64(width)+0.5), width), 1))
}

// ruled is a line across so many cells.
func ruled(e *env, width int) string { return strings.Repeat(e.glyphs.rule, max(width, 0)) }
