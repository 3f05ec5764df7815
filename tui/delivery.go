package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// A pane is what the lower half of a delivery shows of the attempt.
type pane int

const (
	requestPane pane = iota
	responsePane
	eventPane
	diffPane // only where a transform made the body
	paneCount
)

var paneNames = [paneCount]string{"Request", "Response", "Event", "Transform diff"}

// delivery is one delivery: what came of each attempt, what was sent and what
// came back, and what happens next.
type delivery struct {
	id webhook.DeliveryID
	// among is the list that it was opened from, for the one before and after.
	among *list[api.Delivery]

	loader
	finder
	beyond   beyond
	shown    api.DeliveryDetail
	attempt  int  // the place of the one under the cursor
	latest   bool // the cursor stays on the latest attempt
	pane     pane
	top      int // the first line of the pane that is seen
	paneRoom int
	wrap     bool
	full     bool // the body is shown on the whole screen, to be marked by hand

	// laid is the pane laid out, which is done only when something changes.
	laid    []string
	laidFor string
}

func newDelivery(_ *env, id webhook.DeliveryID, among *list[api.Delivery]) *delivery {
	return &delivery{id: id, among: among, latest: true, wrap: true}
}

func (d *delivery) title() string { return string(d.id) }

func (d *delivery) state() *loader { return &d.loader }

func (d *delivery) editing() bool { return false }

func (d *delivery) load(e *env) tea.Cmd {
	id := d.id
	beyond := tea.Cmd(nil)
	if d.shown.ID != "" {
		beyond = d.beyond.load(e, &d.shown, func() { d.laidFor = "" })
	}
	if d.shown.State != "" && d.shown.State != webhook.Pending && e.now().Sub(d.loader.at) < 4*beat {
		return beyond // what has ended seldom changes
	}
	return tea.Batch(beyond, fetch(e, &d.loader, func(ctx context.Context) (api.DeliveryDetail, error) { return e.client.Delivery(ctx, id) },
		func(detail api.DeliveryDetail) tea.Cmd {
			d.shown = detail
			if d.latest {
				d.attempt = len(detail.Attempts) - 1
			}
			d.attempt = min(max(d.attempt, 0), max(len(detail.Attempts)-1, 0))
			d.pane = min(d.pane, d.panes()-1)
			d.laidFor = ""
			return d.beyond.load(e, &d.shown, func() { d.laidFor = "" })
		}))
}

func (d *delivery) keys() []binding {
	if d.full {
		return []binding{{"f esc", "whole delivery"}, {"PgUp PgDn", "scroll"}, {"tab", "request, response, event"}, {"j k", "attempt"}, {"w", "wrap"}, {"Y", "copy body"}}
	}
	return []binding{
		{"j k", "attempt"}, {"tab", "request, response, event"}, {"e", "why"}, {"t", "send now"}, {"r", "replay as new"}, {"x", "cancel"},
		{"E", "edit in the sandbox"}, {"S", "subscriber"}, {"c", "copy as curl"}, {"y", "copy id"}, {"Y", "copy body"},
		{"w", "wrap"}, {"J K", "next, previous"}, {"o", "open the event"}, {"PgUp PgDn", "scroll"}, {"/", "find"}, {"n N", "next, previous match"}, {"f", "whole screen"},
	}
}

func (d *delivery) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	if d.shown.ID == "" {
		return nil, false
	}
	switch name := key.String(); name {
	case "esc", "alt+esc", "backspace", "q":
		if !d.full {
			return nil, false
		}
		d.full = false
	case "j", "down":
		d.choose(d.attempt + 1)
	case "k", "up":
		d.choose(d.attempt - 1)
	case "tab", "right", "l":
		d.pane, d.top, d.hit = (d.pane+1)%d.panes(), 0, 0
	case "shift+tab", "left", "h":
		d.pane, d.top, d.hit = (d.pane+d.panes()-1)%d.panes(), 0, 0
	case "pgdown", "ctrl+f", "space":
		d.top += d.paneRoom
	case "pgup", "ctrl+b":
		d.top -= d.paneRoom
	case "ctrl+d":
		d.top += d.paneRoom / 2
	case "ctrl+u":
		d.top -= d.paneRoom / 2
	case "g", "home":
		d.top = 0
	case "G", "end":
		d.top = len(d.laid)
	case "w":
		d.wrap, d.hit = !d.wrap, 0
	case "f":
		d.full = !d.full
	case "t":
		return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
			_, err := e.client.Resend(ctx, d.id)
			return "it goes out now, with its whole schedule before it", err
		}), true
	case "r":
		return replay(e, &d.shown.Delivery), true
	case "x":
		if d.shown.State != webhook.Pending {
			return say(warn, "only what is pending can be cancelled"), true
		}
		return e.ask(newConfirm("Cancel this delivery?", "Cancel it", []string{"It is not tried any more. A resend takes it up again."}, func() tea.Cmd {
			return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
				_, err := e.client.Cancel(ctx, d.id)
				return "cancelled", err
			})
		})), true
	case "E":
		return d.edit(e), true
	case "e":
		return e.open(newExplanation(d.id)), true
	case "S":
		return e.goTo(subscribersTab, string(d.shown.SubscriberID)), true
	case "o":
		return e.open(newEvent(e, d.shown.EventID, nil)), true
	case "c":
		return copyText("a curl command", d.curl()), true
	case "y":
		return copyText("the delivery's id", string(d.id)), true
	case "Y":
		return copyText("the body", d.body()), true
	case "J":
		return d.step(1), true
	case "K":
		return d.step(-1), true
	default:
		return d.finder.press(e, name, &d.laid, &d.top)
	}
	return nil, true
}

// panes is how many panes there are.
func (d *delivery) panes() pane {
	if d.shown.Transformed {
		return paneCount
	}
	return diffPane
}

func (d *delivery) choose(attempt int) {
	d.attempt = min(max(attempt, 0), max(len(d.shown.Attempts)-1, 0))
	d.latest = d.attempt == len(d.shown.Attempts)-1
	d.top, d.hit = 0, 0
}

// step shows the next or the previous delivery of the list that this one was
// opened from.
func (d *delivery) step(by int) tea.Cmd {
	if d.among == nil {
		return say(info, "there is no list behind this screen")
	}
	row := d.among.step(string(d.id), by)
	if row == nil {
		return say(info, "there is no further one")
	}
	d.abandon()
	d.beyond.abandon()
	*d = delivery{id: row.ID, among: d.among, beyond: d.beyond, latest: true, wrap: d.wrap, pane: d.pane, finder: finder{sought: d.sought}, loader: loader{turn: d.turn}}
	return look
}

// edit opens the sandbox with the event of this delivery.
func (d *delivery) edit(e *env) tea.Cmd {
	var body struct {
		Data json.RawMessage `json:"data"`
	}
	event := d.eventBody()
	if event == "" {
		return say(warn, "the event is not here yet")
	}
	if err := json.Unmarshal([]byte(event), &body); err != nil {
		return say(bad, "the body is no event: "+err.Error())
	}
	return e.compose(d.shown.EventType, body.Data)
}

// now is the attempt under the cursor; nil before the first.
func (d *delivery) now() *api.Attempt {
	if d.attempt >= len(d.shown.Attempts) {
		return nil
	}
	return &d.shown.Attempts[d.attempt]
}

// body is that of the pane.
func (d *delivery) body() string {
	if a := d.now(); a != nil && d.pane == responsePane {
		return a.ResponseBody
	}
	if d.pane == eventPane {
		return d.eventBody()
	}
	return d.shown.RequestBody
}

func (d *delivery) render(e *env, w, h int) []string {
	s := &d.shown
	if s.ID == "" {
		return waiting(e, &d.loader, w)
	}
	if d.full {
		d.paneRoom = h
		return d.paneLines(e, w, h)
	}
	lines := []string{
		withID(e, s.EventType+" → "+subscriberOf(&s.Delivery), string(s.ID), w),
		d.stateLine(e, w),
		d.ladder(e, w),
		d.particularLine(e, w),
	}
	lines = append(lines, d.table(e, w, min(max(h/3, 3), len(s.Attempts)+1))...)
	lines = append(lines, d.paneTitle(e, w))
	d.paneRoom = max(h-len(lines), 1)
	return append(lines, d.paneLines(e, w, d.paneRoom)...)
}

// withID draws what a screen is about, and at the right its id where there is
// room for the whole of it.
func withID(e *env, what, id string, w int) string {
	id = text.Clean(id)
	room := w - text.Width(id) - 3
	if room < 40 {
		return e.paint(strong, text.Cut(" "+what, w))
	}
	return e.paint(strong, text.Fit(" "+what, room)) + "  " + e.paint(dim, id) + " "
}

// stateLine says where it stands, why, and what happens next.
func (d *delivery) stateLine(e *env, w int) string {
	s := &d.shown
	sign, word, r := e.glyphs.state(s.State, s.AttemptCount)
	line := " " + sign + " " + strings.ToUpper(word)
	switch {
	case s.State == webhook.Pending && s.AttemptCount == 0:
		line += " · " + d.due(e)
	case s.State == webhook.Pending:
		// When it goes on matters more than the whole of an error, which the
		// response says in full.
		rest := " · " + d.due(e)
		line += fmt.Sprintf(" · attempt %d failed", s.AttemptCount)
		cause := text.Cut(why(&s.Delivery), max(w-text.Width(line)-text.Width(rest)-3, 12))
		if end := d.end(); text.Width(line+cause+rest+end)+3 <= w {
			rest += end
		} else if room := w - text.Width(line+rest+end) - 3; room >= 20 {
			cause, rest = text.Cut(cause, room), rest+end
		}
		line += " (" + cause + ")" + rest
	case s.State == webhook.Dead && s.LastCode == 410:
		line += " · the receiver wants no more (410), so it was not tried again"
	case s.State == webhook.Dead:
		const rest = " · r replays it"
		line += " · after " + counted(s.AttemptCount, "attempt", "attempts") + ", the last: "
		line += text.Cut(why(&s.Delivery), max(w-text.Width(line)-text.Width(rest), 12)) + rest
	case s.State == webhook.Delivered:
		line += fmt.Sprintf(" · with attempt %d, %s after the event", s.AttemptCount, took(s.FinishedAt.Sub(s.CreatedAt.Time)))
	default:
		line += " · " + moment(s.FinishedAt) + " UTC"
	}
	return e.paint(r, text.Cut(line, w))
}

// took writes how long something lasted, which may be a moment or days.
func took(d time.Duration) string {
	if d < 10*time.Second {
		return text.Millis(float64(d) / float64(time.Millisecond))
	}
	return text.Span(d)
}

func (d *delivery) due(e *env) string {
	if d.shown.SubscriberPaused {
		return "waits: the subscriber is paused"
	}
	if held := d.beyond.due(e); held != "" {
		return held
	}
	wait := d.shown.NextAttemptAt.Sub(e.now())
	if wait <= 0 {
		return "due now"
	}
	return fmt.Sprintf("next at %s (in %s)", d.shown.NextAttemptAt.UTC().Format("15:04:05"), text.Span(wait))
}

// end says when it is dead if every further try fails; empty: that is not known.
func (d *delivery) end() string {
	if d.beyond.gate != nil {
		return ""
	}
	left := d.shown.Schedule[min(d.shown.Spent, len(d.shown.Schedule)):]
	var total time.Duration
	for _, wait := range left {
		total += time.Duration(wait)
	}
	return " · dead at about " + d.shown.NextAttemptAt.Add(total).UTC().Format("15:04") + " if every try fails"
}

// ladder draws the attempts that were made and those that are planned.
func (d *delivery) ladder(e *env, w int) string {
	s := &d.shown
	var b strings.Builder
	used := 1
	b.WriteByte(' ')
	step := func(r role, s string) {
		if used > 1 {
			s = " " + e.glyphs.rule + " " + s
		}
		if used += text.Width(s); used <= w {
			b.WriteString(e.paint(r, s))
		}
	}
	first := max(len(s.Attempts)-8, 0)
	if first > 0 {
		step(dim, fmt.Sprintf("%d more", first))
	}
	for _, a := range s.Attempts[first:] {
		sign := e.glyphs.fail
		if a.Outcome == webhook.OK {
			sign = e.glyphs.ok
		}
		step(outcome(a.Outcome), fmt.Sprintf("#%d %s", a.Number, sign))
	}
	if s.State == webhook.Pending {
		step(warn, fmt.Sprintf("[#%d %s]", s.AttemptCount+1, d.due(e)))
		for i, wait := range s.Schedule[min(s.Spent, len(s.Schedule)):] {
			step(dim, fmt.Sprintf("#%d +%s", s.AttemptCount+2+i, wait))
		}
	}
	return b.String()
}

// table draws the attempts, each with a bar of where its time went.
func (d *delivery) table(e *env, w, h int) []string {
	attempts := d.shown.Attempts
	if len(attempts) == 0 {
		return []string{e.paint(dim, "   It has not been tried yet.")}
	}
	longest := 0.0
	for i := range attempts {
		longest = max(longest, attempts[i].DurationMS)
	}
	room := max(w-78, 0)
	l := newList(func(a *api.Attempt) string { return strconv.Itoa(a.Number) },
		column[api.Attempt]{title: "#", width: 3, right: true, keep: 10, cell: func(a *api.Attempt) cell { return cell{strconv.Itoa(a.Number), plain} }},
		column[api.Attempt]{title: "STARTED", width: 12, keep: 7, cell: func(a *api.Attempt) cell { return cell{clock(a.StartedAt), dim} }},
		column[api.Attempt]{title: "CODE", width: 4, right: true, keep: 9, cell: func(a *api.Attempt) cell { return cell{code(a.Code), outcome(a.Outcome)} }},
		column[api.Attempt]{title: "TOTAL", width: 7, right: true, keep: 8, cell: func(a *api.Attempt) cell { return cell{text.Millis(a.DurationMS), plain} }},
		column[api.Attempt]{title: "DNS", width: 6, right: true, keep: 3, cell: func(a *api.Attempt) cell { return cell{text.Millis(a.Timing.DNS), dim} }},
		column[api.Attempt]{title: "TCP", width: 6, right: true, keep: 4, cell: func(a *api.Attempt) cell { return cell{text.Millis(a.Timing.Connect), dim} }},
		column[api.Attempt]{title: "TLS", width: 6, right: true, keep: 4, cell: func(a *api.Attempt) cell { return cell{text.Millis(a.Timing.TLS), dim} }},
		column[api.Attempt]{title: "WAIT", width: 7, right: true, keep: 4, cell: func(a *api.Attempt) cell { return cell{text.Millis(a.Timing.Wait), dim} }},
		column[api.Attempt]{title: "RESULT", width: 10, flexible: true, keep: 9, cell: func(a *api.Attempt) cell { return cell{result(a), outcome(a.Outcome)} }},
		column[api.Attempt]{title: "TIME", width: max(room, 10), keep: 2, cell: func(a *api.Attempt) cell {
			return cell{bar(e.glyphs, a.DurationMS, longest, max(room, 10)), outcome(a.Outcome)}
		}},
	)
	l.rows, l.cursor, l.height = attempts, d.attempt, max(h-1, 1)
	return l.render(e, w, h)
}

// result says what came of an attempt.
func result(a *api.Attempt) string {
	switch {
	case a.Outcome == webhook.OK && a.Error == "":
		return "ok"
	case a.Error != "":
		return because(a.Outcome, a.Error)
	case a.Outcome == webhook.HTTPStatus:
		return "HTTP " + strconv.Itoa(a.Code)
	}
	return string(a.Outcome)
}

func (d *delivery) paneTitle(e *env, w int) string {
	var b strings.Builder
	used := 0
	for p, name := range paneNames[:d.panes()] {
		label := " " + name + " "
		used += text.Width(label)
		if pane(p) == d.pane {
			label = e.paint(activeTab, label)
		}
		b.WriteString(label)
	}
	right := " " + text.Bytes(int64(len(d.body())))
	if d.wrap {
		right = " wrap ·" + right
	}
	rule := max(w-used-text.Width(right)-2, 0)
	return cutPainted(b.String()+e.paint(dim, " "+strings.Repeat(e.glyphs.rule, rule)+right+" "), w)
}

// paneLines are the visible lines of the pane.
func (d *delivery) paneLines(e *env, w, h int) []string {
	if key := fmt.Sprint(d.attempt, d.pane, d.wrap, w, len(d.shown.Attempts), e.dark); d.laidFor != key {
		d.laid, d.laidFor = d.layout(e, w-2), key
	}
	d.top = min(max(d.top, 0), max(len(d.laid)-h, 0))
	lines := make([]string, 0, h)
	for i, line := range d.laid[d.top:min(d.top+h, len(d.laid))] {
		lines = append(lines, d.margin(e, d.top+i)+line)
	}
	return lines
}

func (d *delivery) layout(e *env, w int) []string {
	a := d.now()
	var lines []string
	switch {
	case d.pane == eventPane:
		return d.eventLines(e, w)
	case d.pane == diffPane:
		return d.diff(e, w)
	case a == nil:
		return []string{e.paint(dim, "nothing was sent yet")}
	case d.pane == requestPane && a.Outcome == webhook.Transformation:
		for _, line := range text.Lines("Nothing was sent: "+result(a), w, true) {
			lines = append(lines, e.paint(outcome(a.Outcome), line))
		}
		return lines
	case d.pane == requestPane:
		to := "POST " + d.shown.URL
		if a.RemoteAddr != "" {
			to += "  →  " + a.RemoteAddr
		}
		lines = append(lines, e.paint(strong, text.Cut(to, w)))
		lines = append(append(lines, headLines(e, a.RequestHeader, w, d.wrap)...), "")
		if d.shown.Transformed {
			lines = append(lines, e.paint(info, text.Cut("made by a transform · the pane Event has the event as it came", w)), "")
		}
		return append(lines, bodyLines(d.shown.RequestBody, w, d.wrap)...)
	}
	for _, line := range text.Lines(result(a)+" after "+text.Millis(a.DurationMS), w, true) {
		lines = append(lines, e.paint(outcome(a.Outcome), line))
	}
	lines = append(append(lines, headLines(e, a.ResponseHeader, w, d.wrap)...), "")
	if a.Code == 0 {
		return append(lines, e.paint(dim, "there is no answer"))
	}
	if a.ResponseBody == "" {
		return append(lines, e.paint(dim, "the answer has no body"))
	}
	lines = append(lines, bodyLines(a.ResponseBody, w, d.wrap)...)
	if len(a.ResponseBody) >= keptBody {
		lines = append(lines, "", e.paint(warn, text.Cut("The appliance keeps no more than this beginning of an answer.", w)))
	}
	return lines
}
