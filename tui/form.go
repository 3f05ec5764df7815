package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// A form is a screen on which several values are written and then sent at once.
type form struct {
	loader
	name   string
	verb   string // what sending it does
	need   webhook.Role
	fields []*field
	// send takes what was written and returns what sends it; nil: there is
	// nothing to send.
	send func(f *form) func(context.Context) (done func() tea.Cmd, err error)

	focus   int
	top     int    // the first line that is seen
	fault   string // a refusal that is of no field
	sending bool
	left    bool // a person has left it while it was being sent
}

func (f *form) title() string { return f.name }

func (f *form) state() *loader { return &f.loader }

func (f *form) editing() bool { return true }

// load fetches nothing: nothing here comes from the appliance.
func (f *form) load(e *env) tea.Cmd {
	f.loader.at = e.now()
	return nil
}

func (f *form) keys() []binding {
	if f.sending {
		return []binding{{"esc", "leave; it is sent nonetheless"}}
	}
	return []binding{{"ctrl+s", f.verb}, {"esc", "leave"}, {"tab", "next field"}, {"shift+tab", "previous"}, {"PgUp PgDn", "parts"}, {"enter", "next; on the last: " + f.verb}}
}

func (f *form) field(name string) *field {
	for _, field := range f.fields {
		if field.name == name {
			return field
		}
	}
	return nil
}

func (f *form) changed() bool { return slices.ContainsFunc(f.fields, (*field).changed) }

func (f *form) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	name := key.String()
	now := f.fields[f.focus]
	switch {
	case name == "esc" || name == "alt+esc":
		if f.sending || !f.changed() {
			f.left = true
			return e.leave(f), true
		}
		return e.ask(newConfirm("Throw away what you wrote?", "Throw away", nil, func() tea.Cmd { return e.leave(f) })), true
	case f.sending:
	case name == "ctrl+s":
		return f.submit(e), true
	case name == "enter" && now.kind == linesKind && !now.atEmptyEnd():
		now.update(key)
	case name == "enter":
		if now.kind == linesKind && now.area.LineCount() > 1 {
			now.area.SetValue(strings.TrimSuffix(now.area.Value(), "\n"))
		}
		if f.focus == len(f.fields)-1 {
			return f.submit(e), true
		}
		f.focus++
	case now.inside(name):
		now.update(key)
	case name == "tab" || name == "down":
		f.focus = (f.focus + 1) % len(f.fields)
	case name == "shift+tab" || name == "up":
		f.focus = (f.focus + len(f.fields) - 1) % len(f.fields)
	case name == "pgdown":
		f.focus = f.part(1)
	case name == "pgup":
		f.focus = f.part(-1)
	case name == "ctrl+v": // would read the clipboard of the machine this runs on
	default:
		now.update(key)
	}
	return nil, true
}

// part is the first field of the next part, or of the one before; at the ends
// there is none.
func (f *form) part(by int) int {
	for at := f.focus + by; at >= 0 && at < len(f.fields); at += by {
		if at == 0 || f.fields[at].section != "" {
			return at
		}
	}
	return f.focus
}

func (f *form) paste(s string) {
	if !f.sending {
		f.fields[f.focus].update(tea.PasteMsg{Content: s})
	}
}

// submit checks what was written and sends it.
func (f *form) submit(e *env) tea.Cmd {
	f.fault = ""
	for _, field := range f.fields {
		field.fault = ""
		if field.check != nil {
			if err := field.check(field.value()); err != nil {
				field.fault = err.Error()
			}
		}
	}
	if n := f.showFault(); n > 0 {
		return say(warn, "not sent: "+counted(n, "field needs", "fields need")+" another look")
	}
	if why := e.may(f.need); why != "" {
		f.fault = why
		return nil
	}
	do := f.send(f)
	if do == nil {
		return tea.Batch(e.leave(f), say(info, "nothing was changed"))
	}
	f.sending = true
	return e.run(func(ctx context.Context) tea.Msg {
		ctx, stop := context.WithTimeout(ctx, fetchTimeout)
		defer stop()
		done, err := do(ctx)
		return reply{err: err, change: true, done: func() tea.Cmd {
			f.sending = false
			if err != nil {
				return f.refuse(err)
			}
			return tea.Batch(e.leave(f), done())
		}}
	})
}

// showFault goes to the first field with a fault and counts them all.
func (f *form) showFault() int {
	n := 0
	for i, field := range f.fields {
		if field.fault == "" {
			continue
		}
		if n == 0 {
			f.focus = i
		}
		n++
	}
	return n
}

// refuse puts the faults where they belong. All that was written stays.
func (f *form) refuse(err error) tea.Cmd {
	if f.left {
		return say(bad, f.name+": "+reason(err))
	}
	var faulty interface{ Faults() map[string]string }
	if !errors.As(err, &faulty) || len(faulty.Faults()) == 0 {
		f.fault = reason(err)
		if !refused(err) {
			f.fault += " · whether it was done is not known"
		}
		return nil
	}
	var others []string
	for name, why := range faulty.Faults() {
		// A fault within a value is named after it: events[2].
		at := strings.IndexAny(name, ".[")
		if at > 0 && f.field(name) == nil {
			name, why = name[:at], name[at:]+": "+why
		}
		if field := f.field(name); field != nil {
			field.fault = why
			field.goToFault()
		} else {
			others = append(others, name+": "+why)
		}
	}
	slices.Sort(others)
	f.fault = strings.Join(others, "; ")
	f.showFault()
	return nil
}

func (f *form) render(e *env, w, h int) []string {
	lines := []string{f.titleLine(e, w)}
	if f.fault != "" && h > 3 {
		lines = append(lines, e.paint(bad, text.Cut(" ! "+f.fault, w)))
	}
	room := max(h-len(lines), 1)
	var body []string
	from, to := 0, 0
	for i, field := range f.fields {
		drawn := field.render(e, i == f.focus && !f.sending, w, room)
		if i == f.focus {
			from, to = len(body), len(body)+len(drawn)
		}
		body = append(body, drawn...)
	}
	f.top = min(max(f.top, to-room), from, max(len(body)-room, 0))
	return append(lines, body[f.top:min(f.top+room, len(body))]...)
}

func (f *form) titleLine(e *env, w int) string {
	right, r := fmt.Sprintf("%d/%d ", f.focus+1, len(f.fields)), dim
	if f.sending {
		right, r = "sending … ", info
	}
	return e.paint(strong, text.Fit(" "+f.name, w-text.Width(right))) + e.paint(r, right)
}
