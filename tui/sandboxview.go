package tui

import (
	"fmt"
	"strings"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

func (s *sandbox) render(e *env, w, h int) []string {
	switch {
	case s.absent:
		return []string{
			"", text.Cut("   This appliance has no sandbox.", w),
			text.Cut("   It is older than this dashboard, or it was built without one.", w),
			text.Cut("   `pintle send` posts an event from a shell.", w),
		}
	case w >= besideWidth:
		left := w / 2
		form := s.form(e, left-1, h)
		result := fill(s.result(e, w-left-1, h), h)
		lines := make([]string, h)
		for i := range lines {
			lines[i] = fitPainted(form[i], left-1) + e.paint(dim, "│") + " " + result[i]
		}
		return lines
	case h >= 18:
		upper := h * 3 / 5
		lines := s.form(e, w, upper)
		return append(append(lines, e.paint(dim, ruled(e, w))), s.result(e, w, h-upper-1)...)
	case s.focus == resultFocus:
		return s.result(e, w, h)
	}
	return s.form(e, w, h)
}

// label is the name of a field; the sign tells where the keys go.
func (s *sandbox) label(e *env, f focus, name string) string {
	if f == s.focus {
		return e.glyphs.cursor + e.paint(activeTab, " "+name+" ")
	}
	return "  " + e.paint(heading, name) + " "
}

// form draws what is to be sent, in exactly so many lines.
func (s *sandbox) form(e *env, w, h int) []string {
	name := s.label(e, typeFocus, "Type")
	lines := []string{cutPainted(name+" "+s.eventType.render(e, max(w-paintedWidth(name)-2, 1), 1, s.focus == typeFocus)[0], w)}
	place := text.Bytes(int64(s.data.size))
	if s.focus == dataFocus {
		place = fmt.Sprintf("line %d, column %d · ", s.data.row+1, s.data.col+1) + place
	}
	r := dim
	if s.overfull {
		place, r = "no more fits: at most "+text.Bytes(int64(s.editor().limit)), warn
	}
	name = s.label(e, dataFocus, "Data")
	rule := w - paintedWidth(name) - text.Width(place) - 3
	lines = append(lines, cutPainted(name+e.paint(dim, ruled(e, rule))+e.paint(r, " "+place+" "), w))
	options := s.optionLines(e, w)
	if h < 12 {
		options = options[s.option : s.option+1]
	}
	for _, line := range s.data.render(e, w-2, max(h-len(lines)-len(options), 1), s.focus == dataFocus) {
		lines = append(lines, " "+line)
	}
	return fill(append(lines, options...), h)
}

func (s *sandbox) optionLines(e *env, w int) []string {
	lines := make([]string, optionCount)
	for o := range optionCount {
		var b strings.Builder
		name := text.Fit(optionNames[o], 9)
		if s.focus == optionFocus && o == s.option {
			b.WriteString(e.glyphs.cursor + e.paint(activeTab, " "+name+" "))
		} else {
			b.WriteString("  " + e.paint(heading, name) + " ")
		}
		for i, value := range optionValues[o] {
			if i == s.options[o] {
				b.WriteString(e.paint(strong, "["+value+"]"))
			} else {
				b.WriteString(" " + value + " ")
			}
		}
		lines[o] = cutPainted(b.String(), w)
	}
	return lines
}

// result draws the answer of the inbound door, and what became of the event.
func (s *sandbox) result(e *env, w, h int) []string {
	lines := []string{cutPainted(s.label(e, resultFocus, "Answer"), w)}
	add := func(r role, line string) { lines = append(lines, e.paint(r, text.Cut("  "+line, w))) }
	a := s.answer
	switch {
	case s.sending:
		add(info, e.glyphs.wait+" sending")
	case s.refusal != "":
		add(bad, e.glyphs.fail+" not sent")
		for _, line := range wrapped(s.refusal, max(w-4, 1)) {
			add(plain, "  "+line)
		}
	case a == nil:
		for _, line := range wrapped("ctrl+s sends the event through the inbound door, signed, as an external system would. Here is what comes of it.", max(w-2, 1)) {
			add(dim, line)
		}
	default:
		lines = append(lines, s.answerLines(e, a, w)...)
	}
	if s.event != "" {
		lines = append(lines, s.ladder(e, w, h-len(lines))...)
	}
	return lines[:min(len(lines), h)]
}

func (s *sandbox) answerLines(e *env, a *api.SandboxAnswer, w int) []string {
	sign, r, word := e.glyphs.ok, good, "received"
	switch {
	case a.Status/100 != 2:
		sign, r, word = e.glyphs.fail, bad, "refused"
		if a.Error != "" {
			word += " · " + a.Error
		}
	case a.Duplicate:
		r, word = warn, "duplicate: known before, nothing new was made"
	}
	lines := []string{e.paint(r, text.Cut(fmt.Sprintf("  %s %d %s · %s", sign, a.Status, word, text.Millis(a.DurationMS)), w))}
	if a.Message != "" {
		for _, line := range wrapped(a.Message, max(w-4, 1)) {
			lines = append(lines, text.Cut("    "+line, w))
		}
	}
	if a.EventID != "" {
		lines = append(lines, e.paint(dim, text.Cut("  "+string(a.EventID), w)))
	}
	if a.RequestID != "" {
		lines = append(lines, e.paint(dim, text.Cut("  "+string(a.RequestID)+" · 7 shows why", w)))
	}
	return lines
}

// ladder draws the deliveries of the event.
func (s *sandbox) ladder(e *env, w, h int) []string {
	switch {
	case s.shown.ID == "" && s.err != nil:
		return []string{"", e.paint(bad, text.Cut("  "+reason(s.err), w))}
	case s.shown.ID == "":
		return []string{"", e.paint(dim, text.Cut("  loading …", w))}
	case len(s.deliveries.rows) == 0:
		return []string{"", text.Cut("  No subscriber receives events of this type.", w)}
	}
	states := map[webhook.State]int{}
	for i := range s.deliveries.rows {
		states[s.deliveries.rows[i].State]++
	}
	line := "  " + counted(len(s.deliveries.rows), "delivery", "deliveries")
	for _, state := range []webhook.State{webhook.Pending, webhook.Delivered, webhook.Dead, webhook.Cancelled} {
		if n := states[state]; n > 0 {
			sign, _, _ := e.glyphs.state(state, 1)
			line += fmt.Sprintf(" · %s %d %s", sign, n, state)
		}
	}
	lines := []string{"", text.Cut(line, w)}
	if h < 5 {
		lines = nil
	}
	s.deliveries.blurred = s.focus != resultFocus
	return append(lines, s.deliveries.render(e, w, max(h-len(lines), 2))...)
}
