package tui

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// explainEvery is how long an explanation is shown before it is asked for anew.
const explainEvery = 4 * beat

// explanation says why an event reaches a subscriber, or does not: the gates on
// its way, and of a delivery what happened and what is planned.
type explanation struct {
	// delivery is what is explained; if empty, the event and the subscriber are.
	delivery   webhook.DeliveryID
	event      webhook.EventID
	subscriber webhook.SubscriberID

	loader
	scroller
	shown api.DeliveryExplanation
}

func newExplanation(id webhook.DeliveryID) *explanation { return &explanation{delivery: id} }

func (v *explanation) title() string { return "Why" }

func (v *explanation) state() *loader { return &v.loader }

func (v *explanation) editing() bool { return false }

func (v *explanation) load(e *env) tea.Cmd {
	if v.err == nil && e.now().Sub(v.at) < explainEvery {
		return nil
	}
	return fetch(e, &v.loader, func(ctx context.Context) (api.DeliveryExplanation, error) { return v.ask(ctx, e.client) },
		func(shown api.DeliveryExplanation) tea.Cmd {
			v.shown, v.laidFor = shown, ""
			return nil
		})
}

func (v *explanation) ask(ctx context.Context, c Client) (api.DeliveryExplanation, error) {
	if v.delivery != "" {
		return c.ExplainDelivery(ctx, v.delivery)
	}
	x, err := c.ExplainEvent(ctx, v.event, v.subscriber)
	shown := api.DeliveryExplanation{EventID: x.EventID, EventType: x.EventType}
	if len(x.Subscribers) > 0 {
		shown.Explanation = x.Subscribers[0]
	}
	return shown, err
}

func (v *explanation) keys() []binding {
	return []binding{
		{"j k PgUp PgDn", "scroll"}, {"enter", "open the delivery"}, {"S", "subscriber"}, {"o", "open the event"}, {"y", "copy as text"},
		{"/", "find"}, {"n N", "next, previous match"},
	}
}

func (v *explanation) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	if v.shown.EventID == "" {
		return nil, false
	}
	switch name := key.String(); name {
	case "enter":
		if v.shown.Delivery == nil {
			return say(info, "there is no delivery"), true
		}
		return e.open(newDelivery(e, v.shown.Delivery.ID, nil)), true
	case "S":
		return e.goTo(subscribersTab, string(v.shown.SubscriberID)), true
	case "o":
		return e.open(newEvent(e, v.shown.EventID, nil)), true
	case "y":
		return copyText("the explanation", v.plain(e)), true
	default:
		return v.scroller.press(e, name)
	}
}

// subject is what is explained.
func (v *explanation) subject() (what, id string) {
	return v.shown.EventType + " → " + explainedName(&v.shown.Explanation), string(cmp.Or(v.delivery, webhook.DeliveryID(v.shown.EventID)))
}

func explainedName(x *api.Explanation) string {
	return cmp.Or(x.SubscriberName, string(x.SubscriberID))
}

func (v *explanation) render(e *env, w, h int) []string {
	if v.shown.EventID == "" {
		return waiting(e, &v.loader, w)
	}
	what, id := v.subject()
	lines := []string{withID(e, what, id, w)}
	// What is left of a wait changes with every second.
	key := fmt.Sprint(w, e.dark, e.now().Unix())
	return append(lines, v.visible(e, key, h-len(lines), func() []string { return v.layout(e, w-2) })...)
}

func (v *explanation) layout(e *env, w int) []string {
	var lines []string
	for _, line := range wrapped(text.Cut(v.shown.Summary, maxFact), w) {
		lines = append(lines, e.paint(strong, line))
	}
	lines = append(lines, "", partLine(e, "gates", w))
	lines = append(lines, factLines(e, gateFacts(e, v.shown.Gates), gateWidth, w)...)
	if len(v.shown.Story) > 0 {
		lines = append(lines, "", partLine(e, "story", w))
	}
	for _, f := range storyFacts(e, v.shown.Story) {
		lines = append(lines, factLines(e, []fact{f}, storyWidth, w)...)
	}
	return lines
}

const (
	// gateWidth is how wide the signs and names of the gates are.
	gateWidth = 15
	// storyWidth is how wide the times of a story are.
	storyWidth = 14
)

// decisive is the gate that is to blame: the first that stops, or else the first
// that waits; -1: there is none.
func decisive(gates []api.Gate) int {
	waits := -1
	for i := range gates {
		switch {
		case gates[i].Verdict == webhook.Stops:
			return i
		case gates[i].Verdict == webhook.Waits && waits < 0:
			waits = i
		}
	}
	return waits
}

// verdict returns the sign and the role of what a gate says.
func (g *glyphs) verdict(v webhook.Verdict) (sign string, r role) {
	switch v {
	case webhook.Passes:
		return g.ok, good
	case webhook.Stops:
		return g.fail, bad
	case webhook.Waits:
		return g.retry, warn
	}
	return "?", dim
}

// gateFacts are the gates and what they say. The one that decides is in
// capitals, since colour alone must not tell.
func gateFacts(e *env, gates []api.Gate) []fact {
	at := decisive(gates)
	facts := make([]fact, len(gates))
	for i := range gates {
		g := &gates[i]
		sign, r := e.glyphs.verdict(g.Verdict)
		says := string(g.Verdict)
		if i == at {
			says = strings.ToUpper(says)
		} else if g.Verdict == webhook.Passes {
			r = plain
		}
		facts[i] = fact{sign + " " + gateName(g.Name), sentence(says, g.Reason, left(e, g.Until)), r}
	}
	return facts
}

// gateName is what people call a gate.
func gateName(name webhook.GateName) string { return strings.ReplaceAll(string(name), "_", " ") }

// sentence joins what is not empty.
func sentence(parts ...string) string {
	var kept []string
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, " · ")
}

// left says how long it is until something; empty: that is not known.
func left(e *env, until api.Time) string {
	switch wait := until.Sub(e.now()); {
	case until.IsZero():
		return ""
	case wait <= 0:
		return "now"
	default:
		at, _, _ := strings.Cut(clockOrDay(e.now(), until), ".")
		return "in " + text.Span(wait) + " (" + at + ")"
	}
}

// storyFacts are the moments of a story under their times.
func storyFacts(e *env, story []api.Moment) []fact {
	facts := make([]fact, len(story))
	for i := range story {
		m := &story[i]
		value, r := m.What, plain
		if m.Planned {
			wait := "now"
			if d := m.At.Sub(e.now()); d > 0 {
				wait = "in " + text.Span(d)
			}
			value, r = sentence("planned, "+wait, m.What), dim
		}
		facts[i] = fact{clockOrDay(e.now(), m.At), value, r}
	}
	return facts
}

// plain is all of it as a text.
func (v *explanation) plain(e *env) string {
	var b strings.Builder
	what, id := v.subject()
	fmt.Fprintf(&b, "%s\n%s\n\n%s\n\n", text.Clean(what), text.Clean(id), text.Clean(v.shown.Summary))
	writeFacts(&b, gateFacts(e, v.shown.Gates), gateWidth)
	if len(v.shown.Story) > 0 {
		b.WriteByte('\n')
	}
	writeFacts(&b, storyFacts(e, v.shown.Story), storyWidth)
	return b.String()
}

// explained is what became of an event at every subscriber.
type explained struct {
	id webhook.EventID
	// first is the subscriber that the cursor begins on; empty: the first one.
	first webhook.SubscriberID

	loader
	shown api.EventExplanation
	rows  *list[api.Explanation]
}

func newExplained(e *env, id webhook.EventID, first webhook.SubscriberID) *explained {
	return &explained{id: id, first: first, rows: newList(func(x *api.Explanation) string { return string(x.SubscriberID) },
		column[api.Explanation]{title: "SUBSCRIBER", width: 14, flexible: true, keep: 9, cell: func(x *api.Explanation) cell { return cell{explainedName(x), plain} }},
		column[api.Explanation]{title: "VERDICT", width: 20, keep: 10, cell: func(x *api.Explanation) cell { return verdictCell(e, x) }},
		column[api.Explanation]{title: "WHY", width: 24, flexible: true, keep: 8, cell: func(x *api.Explanation) cell { return cell{x.Summary, plain} }},
	)}
}

// verdictCell is where the delivery stands, or else which gate decides.
func verdictCell(e *env, x *api.Explanation) cell {
	at := decisive(x.Gates)
	if x.Delivery != nil && (x.Delivery.State != webhook.Pending || at < 0) {
		return stateCell(e, x.Delivery)
	}
	if at < 0 {
		return cell{"? no delivery", dim}
	}
	g := &x.Gates[at]
	sign, r := e.glyphs.verdict(g.Verdict)
	return cell{sign + " " + string(g.Verdict) + ": " + gateName(g.Name), r}
}

func (v *explained) title() string { return "Why" }

func (v *explained) state() *loader { return &v.loader }

func (v *explained) editing() bool { return false }

func (v *explained) load(e *env) tea.Cmd {
	if v.err == nil && e.now().Sub(v.at) < explainEvery {
		return nil
	}
	return fetch(e, &v.loader, func(ctx context.Context) (api.EventExplanation, error) { return e.client.ExplainEvent(ctx, v.id, "") },
		func(shown api.EventExplanation) tea.Cmd {
			v.shown = shown
			v.rows.setRows(shown.Subscribers)
			if at := slices.IndexFunc(shown.Subscribers, func(x api.Explanation) bool { return x.SubscriberID == v.first }); at >= 0 {
				v.rows.move(at - v.rows.cursor)
			}
			v.first = ""
			return nil
		})
}

func (v *explained) keys() []binding {
	return []binding{{"enter", "why"}, {"j k", "move"}, {"S", "subscriber"}, {"o", "open the event"}, {"y", "copy as text"}}
}

func (v *explained) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	if v.shown.EventID == "" {
		return nil, false
	}
	row := v.rows.current()
	switch name := key.String(); {
	case name == "o":
		return e.open(newEvent(e, v.id, nil)), true
	case name == "y":
		return copyText("the explanation", v.plain(e)), true
	case name == "space" || name == "ctrl+space" || name == "ctrl+@":
		return nil, true // nothing here is done to several
	case row == nil:
	case name == "enter" && row.Delivery != nil:
		return e.open(newExplanation(row.Delivery.ID)), true
	case name == "enter":
		return e.open(&explanation{event: v.id, subscriber: row.SubscriberID}), true
	case name == "S":
		return e.goTo(subscribersTab, string(row.SubscriberID)), true
	}
	return nil, v.rows.press(key.String())
}

func (v *explained) render(e *env, w, h int) []string {
	if v.shown.EventID == "" {
		return waiting(e, &v.loader, w)
	}
	lines := []string{withID(e, v.shown.EventType, string(v.id), w)}
	for _, line := range wrapped(text.Cut(v.summary(), 2*w), w-2) {
		lines = append(lines, " "+e.paint(strong, line))
	}
	// The list cuts what the one under the cursor has to say, as a rule.
	var says []string
	if row := v.rows.current(); row != nil {
		says = wrapped(text.Cut(row.Summary, 3*w), w-4)
		says = says[:min(len(says), max(h-len(lines)-4, 0))]
	}
	lines = append(lines, v.rows.render(e, w, max(min(h-len(lines)-len(says)-1, len(v.rows.rows)+1), 2))...)
	if len(says) > 0 {
		lines = append(lines, "")
	}
	for _, line := range says {
		lines = append(lines, "   "+line)
	}
	return lines
}

func (v *explained) summary() string {
	if v.shown.Partial {
		return v.shown.Summary + " There are more subscribers than these."
	}
	return v.shown.Summary
}

// plain is all of it as a text.
func (v *explained) plain(e *env) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n%s\n", text.Clean(v.shown.EventType), text.Clean(string(v.id)), text.Clean(v.summary()))
	for i := range v.shown.Subscribers {
		x := &v.shown.Subscribers[i]
		fmt.Fprintf(&b, "\n%s\n%s\n%s\n", text.Clean(explainedName(x)), text.Clean(verdictCell(e, x).text), text.Clean(x.Summary))
	}
	return b.String()
}
