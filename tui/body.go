package tui

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/tui/text"
)

// curl writes the attempt as a command that sends the same once more.
func (d *delivery) curl() string {
	var b strings.Builder
	b.WriteString("curl -sS -X POST " + quoted(d.shown.URL))
	if a := d.now(); a != nil {
		for _, h := range a.RequestHeader {
			b.WriteString(" \\\n  -H " + quoted(h.Name+": "+h.Value))
		}
	}
	b.WriteString(" \\\n  --data-binary " + quoted(d.shown.RequestBody))
	return b.String()
}

// quoted makes one word of it for a shell, whatever stands in it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// headLines lays out the head of a request or of an answer.
func headLines(e *env, headers []api.Header, w int, wrap bool) []string {
	var lines []string
	for _, h := range headers {
		name := text.Cut(h.Name, 30)
		for i, v := range text.Lines(h.Value, max(w-text.Width(name)-2, 8), wrap) {
			if i == 0 {
				lines = append(lines, cutPainted(e.paint(keyName, name)+": "+v, w))
			} else {
				lines = append(lines, cutPainted(text.Spaces(text.Width(name)+2)+v, w))
			}
		}
	}
	return lines
}

// keptBody is how much of an answer the appliance keeps, less the part of a
// character that it may have had to leave out at the end.
const keptBody = 16<<10 - utf8.UTFMax

// maxIndented is how deep JSON is indented: deeper, the white space would be
// most of it, and grow with the square of the text.
const maxIndented = 64

// bodyLines lays a body out; JSON is indented.
func bodyLines(body string, w int, wrap bool) []string {
	if len(body) <= text.MaxShown && depth(body) <= maxIndented {
		var indented bytes.Buffer
		if json.Indent(&indented, []byte(body), "", "  ") == nil {
			body = indented.String()
		}
	}
	return text.Lines(body, w, wrap)
}

// depth is how deep brackets are nested at most. Those in strings count too,
// which only makes it an upper bound.
func depth(body string) int {
	now, most := 0, 0
	for i := range len(body) {
		switch body[i] {
		case '[', '{':
			now++
			most = max(most, now)
		case ']', '}':
			now--
		}
	}
	return most
}
