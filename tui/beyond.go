package tui

import (
	"context"
	"fmt"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// beyond is what a delivery's screen shows that is not of the delivery itself.
type beyond struct {
	eventLoader, gateLoader loader
	// event is the event, where a transform has made another body of it.
	event api.EventDetail
	// gate is what holds the delivery back, other than that it is not due; nil:
	// nothing does.
	gate *api.Gate
}

// load asks for what the delivery makes worth knowing.
func (b *beyond) load(e *env, d *api.DeliveryDetail, changed func()) tea.Cmd {
	var event, gate tea.Cmd
	id, eventID := d.ID, d.EventID
	if d.Transformed && b.event.ID == "" && stale(e, &b.eventLoader) {
		event = fetch(e, &b.eventLoader, func(ctx context.Context) (api.EventDetail, error) { return e.client.Event(ctx, eventID) },
			func(detail api.EventDetail) tea.Cmd {
				b.event = detail
				changed()
				return nil
			})
	}
	if d.State == webhook.Pending && stale(e, &b.gateLoader) {
		gate = fetch(e, &b.gateLoader, func(ctx context.Context) (api.DeliveryExplanation, error) { return e.client.ExplainDelivery(ctx, id) },
			func(x api.DeliveryExplanation) tea.Cmd {
				b.gate = nil
				if at := decisive(x.Gates); at >= 0 && x.Gates[at].Name != webhook.GateSchedule {
					b.gate = &x.Gates[at]
				}
				return nil
			})
	}
	return tea.Batch(event, gate)
}

// stale reports whether it is time to ask for an explanation anew.
func stale(e *env, l *loader) bool { return e.now().Sub(l.at) >= explainEvery }

// abandon forgets the requests that are under way, and is ready for others.
func (b *beyond) abandon() {
	b.eventLoader.abandon()
	b.gateLoader.abandon()
	*b = beyond{eventLoader: loader{turn: b.eventLoader.turn}, gateLoader: loader{turn: b.gateLoader.turn}}
}

// due says what the delivery waits for besides its time; empty: nothing.
func (b *beyond) due(e *env) string {
	if b.gate == nil {
		return ""
	}
	if wait := b.gate.Until.Sub(e.now()); wait > 0 {
		return fmt.Sprintf("held until %s (in %s)", b.gate.Until.UTC().Format("15:04:05"), text.Span(wait))
	}
	return "held by " + gateName(b.gate.Name)
}

// particularLine says what is special about the delivery; empty: nothing is.
func (d *delivery) particularLine(e *env, w int) string {
	order, held, judged, made := "", "", "", ""
	r := info
	if d.shown.OrderKey != "" {
		order = "order key " + text.Cut(d.shown.OrderKey, max(w/3, 10))
	}
	if g := d.beyond.gate; g != nil && d.shown.State == webhook.Pending {
		held, r = gateName(g.Name)+" "+string(g.Verdict)+": "+g.Reason, warn
	}
	if d.shown.Unjudged {
		judged, r = "the filter has not been asked yet", warn
	}
	if d.shown.Transformed {
		made = "a transform made the body"
	}
	if line := sentence(order, judged, made, held); line != "" {
		return e.paint(r, text.Cut(" "+line, w))
	}
	return ""
}

// eventBody is the body that the event has without any transform; empty: it is
// not known yet.
func (d *delivery) eventBody() string {
	if !d.shown.Transformed {
		return d.shown.RequestBody
	}
	v := &d.beyond.event
	if v.ID == "" {
		return ""
	}
	return string((&webhook.Event{Type: v.Type, Timestamp: v.Timestamp, Data: v.Data}).Body())
}

// eventLines lays out the event.
func (d *delivery) eventLines(e *env, w int) []string {
	lines := []string{e.paint(dim, text.Cut(string(d.shown.EventID)+" · made "+moment(d.shown.CreatedAt)+" UTC", w)), ""}
	if body := d.eventBody(); body != "" {
		return append(lines, bodyLines(body, w, d.wrap)...)
	}
	return append(lines, waiting(e, &d.beyond.eventLoader, w)...)
}

// diff lays out what the transform has made of the event.
func (d *delivery) diff(e *env, w int) []string {
	if body := d.eventBody(); body != "" {
		return diffLines(e, body, d.shown.RequestBody, w, d.wrap)
	}
	return waiting(e, &d.beyond.eventLoader, w)
}
