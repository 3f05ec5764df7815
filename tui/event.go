package tui

import (
	"context"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// event is one event: its data, and what became of it at each subscriber.
type event struct {
	id    webhook.EventID
	among *list[api.Event]

	loader
	finder
	shown      api.EventDetail
	deliveries *list[api.Delivery]
	top, room  int
	wrap       bool
	laid       []string
	laidFor    string
}

func newEvent(e *env, id webhook.EventID, among *list[api.Event]) *event {
	return &event{id: id, among: among, wrap: true, deliveries: newList(func(d *api.Delivery) string { return string(d.ID) }, fanoutColumns(e)...)}
}

// fanoutColumns are those of the deliveries of one event.
func fanoutColumns(e *env) []column[api.Delivery] {
	return []column[api.Delivery]{
		{title: "SUBSCRIBER", width: 14, flexible: true, keep: 10, cell: func(d *api.Delivery) cell { return cell{subscriberOf(d), plain} }},
		{title: "STATE", width: 11, keep: 9, cell: func(d *api.Delivery) cell { return stateCell(e, d) }},
		{title: "CODE", width: 4, right: true, keep: 8, cell: func(d *api.Delivery) cell { return cell{code(d.LastCode), outcome(d.LastOutcome)} }},
		{title: "TRY", width: 3, right: true, keep: 7, cell: func(d *api.Delivery) cell { return cell{fmt.Sprint(d.AttemptCount), plain} }},
		{title: "TOOK", width: 7, right: true, keep: 5, cell: func(d *api.Delivery) cell { return cell{text.Millis(d.LastDurationMS), plain} }},
		{title: "NEXT", width: 7, right: true, keep: 6, cell: func(d *api.Delivery) cell { return nextCell(e, d) }},
		{title: "WHY", width: 12, flexible: true, keep: 4, cell: func(d *api.Delivery) cell { return cell{why(d), outcome(d.LastOutcome)} }},
	}
}

func (v *event) title() string { return string(v.id) }

func (v *event) state() *loader { return &v.loader }

func (v *event) editing() bool { return false }

func (v *event) load(e *env) tea.Cmd {
	id := v.id
	return fetch(e, &v.loader, func(ctx context.Context) (api.EventDetail, error) { return e.client.Event(ctx, id) },
		func(detail api.EventDetail) tea.Cmd {
			if v.shown.ID != detail.ID {
				v.laidFor = ""
			}
			v.shown = detail
			v.deliveries.setRows(detail.Deliveries)
			return nil
		})
}

func (v *event) keys() []binding {
	return []binding{
		{"enter", "open the delivery"}, {"e", "why"}, {"r", "replay"}, {"E", "edit in the sandbox"}, {"t", "send now"}, {"y", "copy id"}, {"Y", "copy data"},
		{"w", "wrap"}, {"J K", "next, previous"}, {"PgUp PgDn", "scroll"}, {"/", "find"}, {"n N", "next, previous match"},
	}
}

func (v *event) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	if v.shown.ID == "" {
		return nil, false
	}
	row := v.deliveries.current()
	switch name := key.String(); name {
	case "pgdown", "ctrl+f":
		v.top += v.room
	case "pgup", "ctrl+b":
		v.top -= v.room
	case "w":
		v.wrap, v.hit = !v.wrap, 0
	case "e":
		first := webhook.SubscriberID("")
		if row != nil {
			first = row.SubscriberID
		}
		return e.open(newExplained(e, v.id, first)), true
	case "E":
		return e.compose(v.shown.Type, v.shown.Data), true
	case "y":
		return copyText("the event's id", string(v.id)), true
	case "Y":
		return copyText("the data", string(v.shown.Data)), true
	case "J":
		return v.step(1), true
	case "K":
		return v.step(-1), true
	case "r":
		return e.ask(newConfirm("Replay this event?", "Replay", []string{
			"Every subscriber that receives such events gets it once more,", "as a new delivery.",
		}, func() tea.Cmd {
			return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
				done, err := e.client.ReplayEvent(ctx, v.id, "")
				return counted(done.Replayed, "new delivery is", "new deliveries are") + " on the way", err
			})
		})), true
	case "enter":
		if row != nil {
			return e.open(newDelivery(e, row.ID, v.deliveries)), true
		}
	case "t":
		if row != nil {
			return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
				_, err := e.client.Resend(ctx, row.ID)
				return "it goes out now, with its whole schedule before it", err
			}), true
		}
	default:
		if cmd, taken := v.finder.press(e, name, &v.laid, &v.top); taken {
			return cmd, true
		}
		return nil, v.deliveries.press(name)
	}
	return nil, true
}

func (v *event) step(by int) tea.Cmd {
	if v.among == nil {
		return say(info, "there is no list behind this screen")
	}
	row := v.among.step(string(v.id), by)
	if row == nil {
		return say(info, "there is no further one")
	}
	v.abandon()
	v.id, v.top, v.hit, v.laidFor = row.ID, 0, 0, ""
	v.shown = api.EventDetail{}
	v.loader.at = time.Time{}
	v.deliveries.setRows(nil)
	return look
}

func (v *event) render(e *env, w, h int) []string {
	s := &v.shown
	if s.ID == "" {
		return waiting(e, &v.loader, w)
	}
	from := s.Source
	if s.ClientID != "" {
		from += " · client " + s.ClientID
	}
	if s.AgentID != "" {
		from += " · agent " + s.AgentID
	}
	if s.SenderKey != "" {
		from += " · sender key " + s.SenderKey
	}
	stamp := api.Time{Time: time.Unix(s.Timestamp, 0)}
	skew := ""
	if d := s.ReceivedAt.Sub(stamp.Time).Truncate(time.Second); d > time.Minute || d < -time.Minute {
		skew = ", " + d.String() + " apart"
	}
	lines := []string{
		withID(e, s.Type, string(s.ID), w),
		text.Cut(" from "+from, w),
		e.paint(dim, text.Cut(" received "+moment(s.ReceivedAt)+" UTC · the sender's time is "+moment(stamp)+skew, w)),
		"",
	}
	if len(s.Deliveries) == 0 {
		lines = append(lines, text.Cut("   No subscriber receives events of this type.", w))
	} else {
		lines = append(lines, v.deliveries.render(e, w, min(len(s.Deliveries)+1, max(h/2-len(lines), 3)))...)
	}
	size := " data · " + text.Bytes(int64(len(s.Data))) + " "
	lines = append(lines, e.paint(dim, size+ruled(e, w-text.Width(size))))
	v.room = max(h-len(lines), 1)
	if key := fmt.Sprint(w, v.wrap); v.laidFor != key {
		v.laid, v.laidFor = bodyLines(string(s.Data), w-2, v.wrap), key
	}
	v.top = min(max(v.top, 0), max(len(v.laid)-v.room, 0))
	for i, line := range v.laid[v.top:min(v.top+v.room, len(v.laid))] {
		lines = append(lines, v.margin(e, v.top+i)+line)
	}
	return lines
}
