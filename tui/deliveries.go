package tui

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// deliveries is the list of deliveries.
type deliveries struct {
	*pager[api.Delivery]
}

func newDeliveries(e *env) *deliveries {
	d := &deliveries{}
	d.pager = newPager("delivery", "deliveries", func(d *api.Delivery) string { return string(d.ID) },
		func(ctx context.Context, c Client, query string, page api.PageQuery) (api.List[api.Delivery], error) {
			return c.DeliveriesPage(ctx, api.DeliveryFilter{Q: query}, page)
		}, deliveryColumns(e)...)
	return d
}

func deliveryColumns(e *env) []column[api.Delivery] {
	return []column[api.Delivery]{
		{title: "TIME", width: 12, keep: 9, cell: func(d *api.Delivery) cell { return cell{clock(d.CreatedAt), dim} }},
		{title: "EVENT", width: 14, flexible: true, keep: 10, cell: func(d *api.Delivery) cell { return cell{d.EventType, plain} }},
		{title: "SUBSCRIBER", width: 12, flexible: true, keep: 7, cell: func(d *api.Delivery) cell { return cell{subscriberOf(d), plain} }},
		{title: "STATE", width: 11, keep: 8, cell: func(d *api.Delivery) cell { return stateCell(e, d) }},
		{title: "CODE", width: 4, right: true, keep: 6, cell: func(d *api.Delivery) cell { return cell{code(d.LastCode), outcome(d.LastOutcome)} }},
		{title: "TRY", width: 3, right: true, keep: 5, cell: func(d *api.Delivery) cell { return cell{strconv.Itoa(d.AttemptCount), plain} }},
		{title: "TOOK", width: 7, right: true, keep: 4, cell: func(d *api.Delivery) cell { return cell{text.Millis(d.LastDurationMS), plain} }},
		{title: "NEXT", width: 7, right: true, keep: 3, cell: func(d *api.Delivery) cell { return nextCell(e, d) }},
		{title: "WHY", width: 12, flexible: true, keep: 2, cell: func(d *api.Delivery) cell { return cell{why(d), outcome(d.LastOutcome)} }},
	}
}

func (d *deliveries) title() string { return "Deliveries" }

func (d *deliveries) editing() bool { return false }

// stateCell is the sign and the word for where a delivery stands.
func stateCell(e *env, d *api.Delivery) cell {
	sign, word, r := e.glyphs.state(d.State, d.AttemptCount)
	return cell{sign + " " + word, r}
}

// nextCell is how long it is until the next try.
func nextCell(e *env, d *api.Delivery) cell {
	switch wait := d.NextAttemptAt.Sub(e.now()); {
	case d.State != webhook.Pending:
		return cell{"–", dim}
	case d.SubscriberPaused:
		return cell{"paused", warn} // it may be due, and yet does not go out
	case d.SubscriberHeld:
		return cell{"held", bad}
	case wait <= 0:
		return cell{"now", info}
	default:
		return cell{text.Span(wait), warn}
	}
}

// subscriberOf is what the subscriber of a delivery is called.
func subscriberOf(d *api.Delivery) string {
	return cmp.Or(d.SubscriberName, string(d.SubscriberID))
}

// why says in a word or two what came of the last attempt.
func why(d *api.Delivery) string {
	switch d.LastOutcome {
	case "", webhook.OK:
		return ""
	case webhook.HTTPStatus:
		return "HTTP " + strconv.Itoa(d.LastCode)
	}
	if d.LastError == "" {
		return string(d.LastOutcome)
	}
	return because(d.LastOutcome, d.LastError)
}

// because joins an outcome and its error, which may name the outcome itself.
func because(o webhook.Outcome, fault string) string {
	if strings.HasPrefix(fault, string(o)+": ") {
		return fault
	}
	return string(o) + ": " + fault
}

// clock writes a time of the day to the millisecond.
func clock(t api.Time) string { return t.UTC().Format("15:04:05.000") }

// moment writes a date and time to the second; the zero time is a dash.
func moment(t api.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// code writes an HTTP status; zero, for no answer, is a dash.
func code(n int) string {
	if n == 0 {
		return "–"
	}
	return strconv.Itoa(n)
}

func (d *deliveries) keys() []binding {
	return []binding{
		{"enter", "open"}, {"/", "filter"}, {"F", "follow"}, {"e", "why"}, {"space", "mark"}, {"t", "send now"}, {"x", "cancel"},
		{"X", "cancel all that match"}, {"r", "replay as new"}, {"S", "subscriber"}, {"y", "copy id"}, {"@", "time"}, {"F2", "filter off"},
	}
}

func (d *deliveries) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	row := d.current()
	name := key.String()
	if name == "X" {
		return d.cancelAll(e), true
	}
	if row == nil || !rowKey(name) {
		return d.pager.press(e, key)
	}
	switch name {
	case "enter":
		return e.open(newDelivery(e, row.ID, d.list)), true
	case "t":
		return d.resend(e), true
	case "x":
		return d.cancel(e), true
	case "r":
		return replay(e, row), true
	case "e":
		return e.open(newExplanation(row.ID)), true
	case "S":
		return e.goTo(subscribersTab, string(row.SubscriberID)), true
	case "y":
		return copyText("the delivery's id", string(row.ID)), true
	}
	return nil, false
}

// rowKey reports whether the key does something with the row under the cursor.
func rowKey(key string) bool {
	switch key {
	case "enter", "e", "t", "x", "r", "S", "y":
		return true
	}
	return false
}

// resend sends the marked deliveries again, at once. More than one are counted
// first.
func (d *deliveries) resend(e *env) tea.Cmd {
	rows := d.marked()
	do := func() tea.Cmd {
		return each(e, rows, "sent again", func(ctx context.Context, d *api.Delivery) error {
			_, err := e.client.Resend(ctx, d.ID)
			return err
		}, d.unmark)
	}
	if len(rows) == 1 {
		return do()
	}
	return e.ask(newConfirm(fmt.Sprintf("Send %d deliveries again?", len(rows)), "Send", []string{
		"Each goes out at once, with its whole schedule before it.",
		"Those that were delivered already arrive a second time.",
	}, do))
}

func (d *deliveries) cancel(e *env) tea.Cmd {
	var rows []api.Delivery
	for _, row := range d.marked() {
		if row.State == webhook.Pending {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return say(warn, "only what is pending can be cancelled")
	}
	return e.ask(newConfirm("Cancel "+counted(len(rows), "delivery", "deliveries")+"?", "Cancel them", []string{
		"They are not tried any more. A resend takes one up again.",
	}, func() tea.Cmd {
		return each(e, rows, "cancelled", func(ctx context.Context, d *api.Delivery) error {
			_, err := e.client.Cancel(ctx, d.ID)
			return err
		}, d.unmark)
	}))
}

// cancelAll counts what is pending of that which the filter selects, and has the
// number written out before it is given up.
func (d *deliveries) cancelAll(e *env) tea.Cmd {
	filter := api.DeliveryFilter{Q: d.inForce()}
	return e.change(webhook.Operator, func(ctx context.Context) (func() tea.Cmd, error) {
		found, err := e.client.CancelDeliveries(ctx, api.Cancel{Filter: filter, DryRun: true})
		return func() tea.Cmd {
			if found.Matched == 0 {
				return say(warn, "no pending delivery matches")
			}
			words := "Filter: " + text.Clean(filter.Q)
			if filter.Q == "" {
				words = "There is no filter: these are all that are pending."
			}
			lines := []string{words, "They are not tried any more. A resend takes one up again."}
			return e.ask(newTypedConfirm("Cancel "+counted(found.Matched, "pending delivery", "pending deliveries")+"?", "Cancel them", fmt.Sprint(found.Matched), lines, func() tea.Cmd {
				return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
					done, err := e.client.CancelDeliveries(ctx, api.Cancel{Filter: filter})
					return counted(done.Cancelled, "delivery was", "deliveries were") + " cancelled", err
				})
			}))
		}, err
	})
}

func (d *deliveries) unmark() { clear(d.marks) }

// replay makes a new delivery of the same event for the same subscriber.
func replay(e *env, d *api.Delivery) tea.Cmd {
	return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
		done, err := e.client.ReplayEvent(ctx, d.EventID, d.SubscriberID)
		if err == nil && done.Replayed == 0 {
			return "nothing was replayed: the subscriber has been removed", nil
		}
		return "a new delivery of the event is on its way", err
	})
}

// each does the same to several rows, one after the other, and says how many it
// was done to. The first fault ends it.
func each[T any](e *env, rows []T, done string, do func(context.Context, *T) error, after func()) tea.Cmd {
	return e.change(webhook.Operator, func(ctx context.Context) (func() tea.Cmd, error) {
		for i := range rows {
			if err := do(ctx, &rows[i]); err != nil {
				return nil, fmt.Errorf("%d of %d %s, then: %w", i, len(rows), done, err)
			}
		}
		return func() tea.Cmd {
			after()
			return say(good, strconv.Itoa(len(rows))+" "+done)
		}, nil
	})
}

// counted writes a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return text.Count(int64(n)) + " " + many
}

// copyText puts a text into the clipboard of the terminal, wherever that is.
// Whether the terminal takes it cannot be known.
func copyText(what, s string) tea.Cmd {
	return tea.Batch(tea.SetClipboard(s), say(info, what+" was sent to the clipboard (OSC 52)"))
}
