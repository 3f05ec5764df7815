package tui

import (
	"context"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// events is the list of what was accepted.
type events struct {
	*pager[api.Event]
}

func newEvents(e *env) *events {
	v := &events{newPager("event", "events", func(v *api.Event) string { return string(v.ID) },
		func(ctx context.Context, c Client, query string, page api.PageQuery) (api.List[api.Event], error) {
			return c.EventsPage(ctx, api.EventFilter{Q: query}, page)
		},
		column[api.Event]{title: "RECEIVED", width: 12, keep: 9, cell: func(v *api.Event) cell { return cell{clock(v.ReceivedAt), dim} }},
		column[api.Event]{title: "TYPE", width: 16, flexible: true, keep: 10, cell: func(v *api.Event) cell { return cell{v.Type, plain} }},
		column[api.Event]{title: "FAN-OUT", width: 16, keep: 8, cell: func(v *api.Event) cell { return fanout(e, v) }},
		column[api.Event]{title: "SOURCE", width: 10, keep: 6, cell: func(v *api.Event) cell { return cell{v.Source, dim} }},
		column[api.Event]{title: "CLIENT", width: 10, keep: 4, cell: func(v *api.Event) cell { return cell{v.ClientID, dim} }},
		column[api.Event]{title: "SIZE", width: 7, right: true, keep: 5, cell: func(v *api.Event) cell { return cell{text.Bytes(int64(v.Size)), plain} }},
		column[api.Event]{title: "SENDER KEY", width: 12, flexible: true, keep: 3, cell: func(v *api.Event) cell { return cell{v.SenderKey, dim} }},
		column[api.Event]{title: "ID", width: 30, keep: 1, cell: func(v *api.Event) cell { return cell{string(v.ID), dim} }},
	)}
	v.terms = "type: source: client: since: until:"
	return v
}

// fanout is how many deliveries are in each state: 5 ✓ 1 ◔ 1 ✗.
func fanout(e *env, v *api.Event) cell {
	var parts []string
	r := good
	for _, state := range []webhook.State{webhook.Delivered, webhook.Pending, webhook.Dead, webhook.Cancelled} {
		n := v.Fanout[state]
		if n == 0 {
			continue
		}
		sign, _, stateRole := e.glyphs.state(state, 1)
		parts = append(parts, fmt.Sprintf("%d %s", n, sign))
		if state != webhook.Cancelled {
			r = stateRole
		}
	}
	if len(parts) == 0 {
		return cell{"to nobody", dim}
	}
	if v.FanoutPartial {
		parts = append(parts, "+")
	}
	return cell{strings.Join(parts, " "), r}
}

func (v *events) title() string { return "Events" }

func (v *events) editing() bool { return false }

func (v *events) keys() []binding {
	return []binding{
		{"enter", "open"}, {"/", "filter"}, {"F", "follow"}, {"e", "why"}, {"space", "mark"}, {"r", "replay"}, {"R", "replay all that match"},
		{"d", "deliveries"}, {"y", "copy id"}, {"@", "time"}, {"F2", "filter off"},
	}
}

func (v *events) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	row := v.current()
	switch name := key.String(); {
	case name == "R":
		return replayEvents(e, api.EventReplay{Filter: api.EventFilter{Q: v.inForce()}}, v.inForce()), true
	case row == nil:
	case name == "enter":
		return e.open(newEvent(e, row.ID, v.list)), true
	case name == "e":
		return e.open(newExplained(e, row.ID, "")), true
	case name == "d":
		return e.goTo(deliveriesTab, string(row.ID)), true
	case name == "y":
		return copyText("the event's id", string(row.ID)), true
	case name == "r":
		rows := v.marked()
		return e.ask(newConfirm("Replay "+counted(len(rows), "event", "events")+"?", "Replay", []string{
			"Every subscriber that receives such events gets them once more,", "as new deliveries.",
		}, func() tea.Cmd {
			return each(e, rows, "replayed", func(ctx context.Context, v *api.Event) error {
				_, err := e.client.ReplayEvent(ctx, v.ID, "")
				return err
			}, func() { clear(v.marks) })
		})), true
	}
	return v.pager.press(e, key)
}

// replayEvents counts the events that a replay selects, and then asks.
func replayEvents(e *env, replay api.EventReplay, query string) tea.Cmd {
	replay.DryRun = true
	return e.change(webhook.Operator, func(ctx context.Context) (func() tea.Cmd, error) {
		found, err := e.client.ReplayEvents(ctx, replay)
		return func() tea.Cmd {
			if found.Matched == 0 {
				return say(warn, "no event matches")
			}
			lines := []string{"Every subscriber that receives such events gets them once more,", "as new deliveries."}
			if query == "" {
				lines = append(lines, "", "There is no filter: these are all events there are.")
			} else {
				lines = append(lines, "", "Filter: "+text.Clean(query))
			}
			return e.ask(newTypedConfirm("Replay "+counted(found.Matched, "event", "events")+"?", "Replay", fmt.Sprint(found.Matched), lines, func() tea.Cmd {
				replay.DryRun = false
				return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
					done, err := e.client.ReplayEvents(ctx, replay)
					return counted(done.Replayed, "new delivery is", "new deliveries are") + " on the way", err
				})
			}))
		}, err
	})
}
