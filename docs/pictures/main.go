// Command pictures draws a captured terminal screen as an SVG: it reads what
// `tmux capture-pane -e -p` prints and writes the picture. The README's
// pictures are made with it, by `make pictures`, from the running binary.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"html"
	"image/color"
	"io"
	"os"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

const (
	// A cell's size and the font that fits it, in pixels.
	cellWidth, cellHeight, fontSize = 8.4, 18.0, 14.0
	margin                          = 14.0

	background, foreground = "#16181d", "#d6d9e0"
)

// palette is how the sixteen colours look in the pictures.
var palette = [16]string{
	"#3b4048", "#e5646c", "#8fbf6f", "#d9a657", "#6aa8e8", "#b58bd6", "#56b6c2", "#c8ccd4",
	"#767d8a", "#ff7a83", "#a5d98a", "#f0c274", "#82baff", "#cda3ee", "#74d0db", "#ffffff",
}

func main() {
	width := flag.Int("w", 100, "columns of the terminal")
	height := flag.Int("h", 30, "lines of the terminal")
	title := flag.String("title", "pintle", "what the picture shows, for those who cannot see it")
	flag.Parse()
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = draw(os.Stdout, string(text), *width, *height, *title)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// draw writes the picture of what a terminal of this size shows of the text.
func draw(to io.Writer, text string, w, h int, title string) error {
	terminal := vt.NewEmulator(w, h)
	defer terminal.Close()
	text = strings.TrimSuffix(text, "\n")
	if _, err := io.WriteString(terminal, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		return err
	}
	out := bufio.NewWriter(to)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="%s" viewBox="0 0 %.0f %.0f" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%.0f">`+"\n",
		html.EscapeString(title), float64(w)*cellWidth+2*margin, float64(h)*cellHeight+2*margin, fontSize)
	fmt.Fprintf(out, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", background)
	for y := range h {
		for x := 0; x < w; {
			x += run(out, terminal, x, y, w)
		}
	}
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

// run draws the cells from x on that look the same, and returns how many they
// are.
func run(out io.Writer, terminal *vt.Emulator, x, y, w int) int {
	first := cellAt(terminal, x, y)
	var text strings.Builder
	n := 0
	for x+n < w {
		cell := cellAt(terminal, x+n, y)
		if !cell.Style.Equal(&first.Style) {
			break
		}
		text.WriteString(cell.Content)
		n += max(cell.Width, 1)
	}
	fg, bg := colour(first.Style.Fg, foreground), colour(first.Style.Bg, "")
	if first.Style.Attrs&uv.AttrReverse != 0 {
		if bg == "" {
			bg = background
		}
		fg, bg = bg, fg
	}
	left, top := margin+float64(x)*cellWidth, margin+float64(y)*cellHeight
	if bg != "" {
		fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", left, top, float64(n)*cellWidth, cellHeight, bg)
	}
	if strings.TrimSpace(text.String()) == "" {
		return n
	}
	weight := ""
	if first.Style.Attrs&uv.AttrBold != 0 {
		weight = ` font-weight="bold"`
	}
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" fill="%s"%s textLength="%.1f" xml:space="preserve">%s</text>`+"\n",
		left, top+cellHeight-4.5, fg, weight, float64(n)*cellWidth, html.EscapeString(text.String()))
	return n
}

// cellAt is the cell, a blank one where nothing was written.
func cellAt(terminal *vt.Emulator, x, y int) uv.Cell {
	if cell := terminal.CellAt(x, y); cell != nil && cell.Content != "" {
		return *cell
	}
	return uv.Cell{Content: " ", Width: 1}
}

// colour writes a colour for SVG; one that is not set is the default.
func colour(c color.Color, unset string) string {
	switch c := c.(type) {
	case nil:
		return unset
	case ansi.BasicColor:
		return palette[c]
	case ansi.IndexedColor:
		if int(c) < len(palette) {
			return palette[c]
		}
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}
