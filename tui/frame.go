package tui

import (
	"cmp"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.render(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "pintle " + text.Clean(m.env.address)
	if m.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	return v
}

// render draws the window: exactly its lines, none wider than it is.
func (m *model) render() []string {
	lines := m.draw()
	if m.env.ascii {
		for i := range lines {
			lines[i] = asASCII(lines[i])
		}
	}
	return lines
}

func (m *model) draw() []string {
	w, h := m.width, m.height
	if w <= 0 || h <= 0 {
		return nil
	}
	if w < minWidth || h < minHeight {
		return fill([]string{text.Cut(fmt.Sprintf("pintle needs %dx%d; this is %dx%d", minWidth, minHeight, w, h), w)}, h)
	}
	var lines []string
	if !m.compact {
		lines = append(lines, m.header(w))
		if w >= tabsWidth {
			lines = append(lines, m.tabLine(w))
		}
		lines = append(lines, m.env.paint(dim, strings.Repeat(m.env.glyphs.rule, w)))
	}
	footer := m.footer(w)
	room := h - len(lines) - len(footer)
	body := fill(m.screen().render(m.env, w, room), room)
	if m.overlay != nil {
		box := m.overlay.render(m.env, w, room)
		box = box[:min(len(box), room)]
		at := (room - len(box)) / 2
		if m.overlay.bottom() {
			at = room - len(box)
		}
		copy(body[at:], box)
	}
	return append(append(lines, body...), footer...)
}

// fill makes it exactly so many lines.
func fill(lines []string, h int) []string {
	if len(lines) > h {
		return lines[:h]
	}
	for len(lines) < h {
		lines = append(lines, "")
	}
	return lines
}

// header says which appliance this is, how old the data is, and who one is.
func (m *model) header(w int) string {
	e := m.env
	left := " pintle"
	if e.stats != nil {
		left += " " + e.stats.Version
	}
	left += " · " + e.address
	if e.stats != nil {
		left += " · up " + text.Span(e.stats.Now.Sub(e.stats.StartedAt.Time))
	}
	who := ""
	if e.stats != nil {
		who = text.Cut(string(e.stats.Role), 12) + " · "
	}
	if e.readOnly {
		who = "read-only · "
	}
	r, freshness := m.freshness()
	right := " · " + who + e.now().UTC().Format("15:04:05") + " UTC "
	if room := w - text.Width(freshness) - text.Width(right) - 1; room >= 10 {
		return e.paint(strong, text.Fit(left, room)) + " " + e.paint(r, freshness) + e.paint(dim, right)
	}
	return e.paint(r, text.Fit(" "+freshness, w))
}

// freshness says how old what is shown is, or how it stands with the
// connection.
func (m *model) freshness() (role, string) {
	e, at := m.env, m.screen().state().at
	if m.screen() == m.tabs[overviewTab] && m.statsState.at.Before(at) {
		at = m.statsState.at // most of that screen is made of them
	}
	age := e.now().Sub(at)
	switch {
	case m.failures > 0:
		retry := fmt.Sprintf("retry %d in %s", m.failures, text.Span(m.retryAt.Sub(e.now())))
		if !e.now().Before(m.retryAt) {
			retry = fmt.Sprintf("retry %d now", m.failures)
		}
		if at.IsZero() {
			return bad, e.glyphs.stale + " no answer · " + retry
		}
		return bad, e.glyphs.stale + " stale " + text.Age(age) + " · " + retry
	case at.IsZero() && m.screen().state().err != nil:
		return bad, e.glyphs.fail + " refused"
	case at.IsZero():
		return info, e.glyphs.stale + " loading"
	case age > staleAfter:
		return warn, e.glyphs.stale + " " + text.Age(age) + " old"
	}
	return good, e.glyphs.live + " live " + text.Age(age)
}

// minTrail is how much of the way to a screen is seen beside the tabs.
const minTrail = 8

func (m *model) tabLine(w int) string {
	e := m.env
	var b strings.Builder
	var labels [tabCount]string
	used := 0
	for t, name := range tabNames {
		labels[t] = fmt.Sprintf(" %d %s ", t+1, name)
		if tab(t) == deadTab && e.stats != nil {
			labels[t] = fmt.Sprintf(" %d Dead:%s ", t+1, text.Count(e.stats.Totals.Deliveries[webhook.Dead]))
		}
		used += text.Width(labels[t])
	}
	// Where there is no room for all names, the one of the open tab stays; and
	// something of the way from there to a screen above it.
	room := w
	if len(m.stack) > 1 {
		room -= minTrail
	}
	for t := range labels {
		if used > room && tab(t) != m.tab {
			short := fmt.Sprintf(" %d ", t+1)
			used -= text.Width(labels[t]) - text.Width(short)
			labels[t] = short
		}
	}
	for t, label := range labels {
		if tab(t) == m.tab {
			b.WriteString(e.paint(activeTab, label))
		} else {
			b.WriteString(label)
		}
	}
	if len(m.stack) > 1 {
		var trail []string
		for _, s := range m.stack[1:] {
			trail = append(trail, s.title())
		}
		b.WriteString(e.paint(strong, text.Cut(" › "+strings.Join(trail, " › "), w-used)))
	}
	return b.String()
}

// footer is what was said last, or the keys of the screen; and the keys of all.
func (m *model) footer(w int) []string {
	e := m.env
	first := keyLine(e, m.screen().keys(), w)
	if err := cmp.Or(m.screen().state().err, m.statsState.err); err != nil {
		const rest = " · ctrl+r tries again"
		first = e.paint(bad, text.Cut(" "+reason(err), w-text.Width(rest))+rest)
	}
	if m.said.text != "" && e.now().Sub(m.saidAt) < saidFor {
		first = e.paint(m.said.role, text.Cut(" "+m.said.text, w))
	}
	switch {
	case m.compact: // then the age of the data stands here
		r, freshness := m.freshness()
		freshness = text.Cut(" "+freshness+" ", w)
		return []string{first, e.paint(r, freshness) + keyLine(e, globalKeys(), w-text.Width(freshness))}
	case m.screen().editing():
		return []string{first}
	}
	return []string{first, keyLine(e, globalKeys(), w)}
}

func globalKeys() []binding {
	return []binding{
		{"?", "help"}, {"1-7", "screens"}, {":", "command"}, {"esc", "back"}, {"q", "leave"},
		{"tab", "next screen"}, {"-", "last screen"}, {"ctrl+r", "refresh"}, {"[ ]", "screen before, after"}, {"ctrl+e", "header"}, {"%", "mouse"},
	}
}

// keyLine draws as many keys as there is room for.
func keyLine(e *env, keys []binding, w int) string {
	var b strings.Builder
	used := 0
	for _, k := range keys {
		item := 1 + text.Width(k.key) + 1 + text.Width(k.does) + 1
		if used+item > w {
			break
		}
		used += item
		b.WriteString(" " + e.paint(keyName, k.key) + " " + k.does + " ")
	}
	return b.String()
}

// waiting is what a screen shows before it knows anything.
func waiting(e *env, l *loader, w int) []string {
	if l.err != nil {
		return append([]string{""}, failed(e, l.err, w)...)
	}
	return []string{"", e.paint(dim, "   loading …")}
}

// failed says in full why a request failed: its cause is often at the end.
func failed(e *env, err error, w int) []string {
	lines := wrapped(reason(err), max(w-4, 1))
	for i := range lines {
		lines[i] = "   " + e.paint(bad, text.Cut(lines[i], w-3))
	}
	return lines
}
