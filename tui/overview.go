package tui

import (
	"context"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// shownFailures is how many of the last failures are fetched.
const shownFailures = 20

// sideBySide is from which width on two lists stand beside each other.
const sideBySide = 100

// A part of the overview that the cursor can be in.
type part int

const (
	attentionPart part = iota
	worstPart
	failurePart
	partCount
)

// overview is the first screen: how the appliance does, and what to look at.
type overview struct {
	loader
	part      part
	attention *list[api.Finding]
	worst     *list[api.SubscriberStats]
	failures  *list[api.Delivery]
}

func newOverview(e *env) *overview {
	return &overview{
		attention: newList(func(f *api.Finding) string { return f.Subject + f.Text },
			column[api.Finding]{title: "NEEDS ATTENTION", width: 18, flexible: true, keep: 2, cell: func(f *api.Finding) cell {
				if f.Severity == api.Critical {
					return cell{e.glyphs.fail + " " + f.Subject, bad}
				}
				return cell{"! " + f.Subject, warn}
			}},
			column[api.Finding]{title: "", width: 20, flexible: true, keep: 1, cell: func(f *api.Finding) cell { return cell{f.Text, plain} }}),
		worst: newList(func(s *api.SubscriberStats) string { return string(s.ID) },
			column[api.SubscriberStats]{title: "WORST SUBSCRIBERS, 5 MIN", width: 24, flexible: true, keep: 5, cell: func(s *api.SubscriberStats) cell {
				switch {
				case !s.Active:
					return cell{s.Name + " (paused)", dim}
				case s.Held:
					return cell{s.Name + " (held)", bad}
				}
				return cell{s.Name, plain}
			}},
			column[api.SubscriberStats]{title: "OK", width: 6, right: true, keep: 4, cell: func(s *api.SubscriberStats) cell { return okCell(&s.Health) }},
			column[api.SubscriberStats]{title: "p95", width: 7, right: true, keep: 3, cell: func(s *api.SubscriberStats) cell { return cell{text.Millis(s.P95MS), plain} }},
			column[api.SubscriberStats]{title: "QUEUE", width: 6, right: true, keep: 2, cell: func(s *api.SubscriberStats) cell { return cell{text.Count(s.Pending), plain} }},
			column[api.SubscriberStats]{title: "LAST", width: 7, keep: 1, cell: func(s *api.SubscriberStats) cell { return lastCell(&s.Health) }}),
		failures: newList(func(d *api.Delivery) string { return string(d.ID) },
			column[api.Delivery]{title: "LAST FAILURES", width: 13, keep: 9, cell: func(d *api.Delivery) cell { return cell{clock(d.CreatedAt), dim} }},
			column[api.Delivery]{title: "", width: 16, flexible: true, keep: 8, cell: func(d *api.Delivery) cell { return cell{d.EventType, plain} }},
			column[api.Delivery]{title: "", width: 14, flexible: true, keep: 7, cell: func(d *api.Delivery) cell { return cell{subscriberOf(d), plain} }},
			column[api.Delivery]{title: "", width: 11, keep: 6, cell: func(d *api.Delivery) cell { return stateCell(e, d) }},
			column[api.Delivery]{title: "", width: 7, right: true, keep: 4, cell: func(d *api.Delivery) cell { return nextCell(e, d) }},
			column[api.Delivery]{title: "", width: 14, flexible: true, keep: 5, cell: func(d *api.Delivery) cell { return cell{why(d), outcome(d.LastOutcome)} }}),
	}
}

// okCell is the share of attempts that worked.
func okCell(h *api.Health) cell {
	if h.Attempts == 0 {
		return cell{"–", dim}
	}
	share := float64(h.Attempts-h.Failed) / float64(h.Attempts)
	r := good
	switch {
	case share < 0.5:
		r = bad
	case share < 0.99:
		r = warn
	}
	return cell{text.Percent(share), r}
}

// lastCell is what the last attempt came to.
func lastCell(h *api.Health) cell {
	switch {
	case h.LastOutcome == "":
		return cell{"–", dim}
	case h.LastCode != 0:
		return cell{fmt.Sprint(h.LastCode), outcome(h.LastOutcome)}
	}
	return cell{string(h.LastOutcome), outcome(h.LastOutcome)}
}

func (o *overview) title() string { return "Overview" }

func (o *overview) state() *loader { return &o.loader }

func (o *overview) editing() bool { return false }

// load asks for the last failures; the rest is in the statistics, which are
// fetched for every screen.
func (o *overview) load(e *env) tea.Cmd {
	return fetch(e, &o.loader, func(ctx context.Context) ([]api.Delivery, error) {
		retrying, err := e.client.DeliveriesPage(ctx, api.DeliveryFilter{Q: "status:retrying"}, api.PageQuery{Limit: shownFailures})
		if err != nil {
			return nil, err
		}
		dead, err := e.client.DeliveriesPage(ctx, api.DeliveryFilter{State: webhook.Dead}, api.PageQuery{Limit: shownFailures})
		return newestOf(retrying.Items, dead.Items, shownFailures), err
	}, func(failures []api.Delivery) tea.Cmd {
		o.failures.setRows(failures)
		return nil
	})
}

// newestOf merges two lists that run from the newest.
func newestOf(a, b []api.Delivery, limit int) []api.Delivery {
	merged := make([]api.Delivery, 0, limit)
	for len(merged) < limit && (len(a) > 0 || len(b) > 0) {
		if len(b) == 0 || len(a) > 0 && a[0].ID > b[0].ID {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return merged
}

func (o *overview) keys() []binding {
	return []binding{{"enter", "open"}, {"j k", "move"}, {"h l", "attention, subscribers, failures"}, {"p", "pause subscriber"}, {"t", "send now"}, {"e", "why"}}
}

func (o *overview) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	switch name := key.String(); name {
	case "l", "right":
		o.part = (o.part + 1) % partCount
	case "h", "left":
		o.part = (o.part + partCount - 1) % partCount
	case "enter":
		return o.enter(e), true
	case "e":
		if row := o.failures.current(); o.part == failurePart && row != nil {
			return e.open(newExplanation(row.ID)), true
		}
		return say(info, "h and l lead to the last failures, which can be explained"), true
	case "t":
		if row := o.failures.current(); o.part == failurePart && row != nil {
			return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
				_, err := e.client.Resend(ctx, row.ID)
				return "it goes out now, with its whole schedule before it", err
			}), true
		}
		return say(info, "h and l lead to the last failures, which can be sent again"), true
	case "p":
		if row := o.worst.current(); o.part == worstPart && row != nil {
			return pauseOrResume(e, row.ID, row.Name, row.Active), true
		}
		return say(info, "h and l lead to the subscribers, which can be paused"), true
	default:
		return nil, o.pressPart(name)
	}
	return nil, true
}

func (o *overview) pressPart(name string) bool {
	switch o.part {
	case attentionPart:
		return o.attention.press(name)
	case worstPart:
		return o.worst.press(name)
	}
	return o.failures.press(name)
}

// enter opens what is behind the row under the cursor.
func (o *overview) enter(e *env) tea.Cmd {
	switch o.part {
	case attentionPart:
		f := o.attention.current()
		switch {
		case f == nil:
			return nil
		case f.Subject == api.Rejections && f.SubscriberID == "":
			return e.goTo(rejectionsTab, f.Query)
		case f.Query != "":
			return e.goTo(deliveriesTab, f.Query)
		case f.SubscriberID != "":
			return e.goTo(subscribersTab, string(f.SubscriberID))
		}
	case worstPart:
		if s := o.worst.current(); s != nil {
			return e.goTo(deliveriesTab, "sub:"+string(s.ID))
		}
	case failurePart:
		if d := o.failures.current(); d != nil {
			return e.open(newDelivery(e, d.ID, o.failures))
		}
	}
	return nil
}

func (o *overview) render(e *env, w, h int) []string {
	s := e.stats
	if s == nil {
		return waiting(e, &o.loader, w)
	}
	o.attention.setRows(s.Attention)
	o.worst.setRows(s.Worst)
	lines := o.charts(e, s, w)
	lines = append(lines, "", o.queueLine(e, s, w), o.dayLine(e, s, w), "")
	room := max(h-len(lines), 0)
	if room < 4 {
		return lines
	}
	o.attention.blurred, o.worst.blurred, o.failures.blurred = o.part != attentionPart, o.part != worstPart, o.part != failurePart
	attention := func(w, h int) []string {
		return shown(e, o.attention, "NEEDS ATTENTION", e.glyphs.ok+" nothing", good, w, h)
	}
	worst := func(w, h int) []string {
		return shown(e, o.worst, "SUBSCRIBERS", "no attempts in the last five minutes", dim, w, h)
	}
	upper := min(max(room/2, 3), max(len(s.Attention), len(s.Worst), 1)+1)
	if w >= sideBySide {
		left := w / 2
		a, b := fill(attention(left-1, upper), upper), fill(worst(w-left-1, upper), upper)
		for i := range upper {
			lines = append(lines, fitPainted(a[i], left-1)+e.paint(dim, "│")+" "+b[i])
		}
	} else {
		lines = append(lines, attention(w, min(upper, len(s.Attention)+1))...)
		lines = append(lines, worst(w, min(upper, len(s.Worst)+1))...)
	}
	if room = h - len(lines) - 1; room >= 2 {
		lines = append(lines, "")
		lines = append(lines, shown(e, o.failures, "LAST FAILURES", e.glyphs.ok+" nothing is failing", good, w, room)...)
	}
	return lines
}

// shown draws a list under its heading, or the words for its being empty.
func shown[T any](e *env, l *list[T], name, empty string, r role, w, h int) []string {
	if len(l.rows) == 0 {
		return []string{e.paint(heading, text.Cut("   "+name, w)), e.paint(r, text.Cut("   "+empty, w))}
	}
	return l.render(e, w, h)
}

// charts draws the last hour, a line for each figure.
func (o *overview) charts(e *env, s *api.Stats, w int) []string {
	minutes := s.Minutes
	series := func(value func(*api.Minute) float64) []float64 {
		values := make([]float64, len(minutes))
		for i := range minutes {
			values[i] = value(&minutes[i])
		}
		return values
	}
	// The minute that has begun is not over yet: what there is of it stands for
	// the whole.
	begun := 60.0
	if n := len(minutes); n > 0 {
		begun = min(max(s.Now.Sub(minutes[n-1].Start.Time).Seconds(), 1), 60)
	}
	perSecond := func(count func(*api.Minute) int64) []float64 {
		values := series(func(m *api.Minute) float64 { return float64(count(m)) / 60 })
		if n := len(values); n > 0 {
			values[n-1] *= 60 / begun
		}
		return values
	}
	share := 0.0
	if s.Rate.Attempts > 0 {
		share = s.Rate.Failed / s.Rate.Attempts
	}
	p95 := 0.0
	for _, m := range minutes[max(len(minutes)-2, 0):] {
		if m.P95MS > 0 {
			p95 = m.P95MS
		}
	}
	rate := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	return []string{
		o.chart(e, w, "IN", "events/s", rate(s.Rate.Events), good, perSecond(func(m *api.Minute) int64 { return m.Events }), rate),
		o.chart(e, w, "OUT", "attempts/s", rate(s.Rate.Attempts), info, perSecond(func(m *api.Minute) int64 { return m.Attempts }), rate),
		o.chart(e, w, "FAIL", "of attempts", text.Percent(share), bad, series(func(m *api.Minute) float64 {
			if m.Attempts == 0 {
				return 0
			}
			return float64(m.Failed) / float64(m.Attempts)
		}), text.Percent),
		o.chart(e, w, "p95", "latency", text.Millis(p95), warn, series(func(m *api.Minute) float64 { return m.P95MS }), text.Millis),
	}
}

// chart draws one figure: its name and unit, its value now, the last hour, and
// the largest value of it.
func (o *overview) chart(e *env, w int, name, unit, now string, r role, values []float64, write func(float64) string) string {
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	left := " " + text.Fit(name, 5) + text.Fit(unit, 12)
	right := "  max " + write(most)
	if w < 80 {
		left, right = " "+text.Fit(name, 5), ""
	}
	value := text.FitRight(now, 8)
	room := w - text.Width(left) - text.Width(value) - 2 - max(text.Width(right), 14)
	line := e.paint(heading, left) + e.paint(strong, value) + "  " + e.paint(r, spark(e.glyphs, values, room))
	return fitPainted(line, w-max(text.Width(right), 0)) + e.paint(dim, right)
}

func (o *overview) queueLine(e *env, s *api.Stats, w int) string {
	parts := []string{
		fmt.Sprintf("%s pending", text.Count(s.Queue.Pending)),
		fmt.Sprintf("%s retrying", text.Count(s.Queue.Retrying)),
		fmt.Sprintf("%d of %d in flight", s.Queue.InFlight, s.Queue.MaxInFlight),
	}
	r := plain
	if !s.Queue.OldestDue.IsZero() {
		if late := s.Now.Sub(s.Queue.OldestDue.Time); late > time.Second {
			parts = append(parts, "the oldest has been due for "+text.Span(late))
			if late > time.Minute {
				r = warn
			}
		} else {
			parts = append(parts, "the next is due in "+text.Span(-late))
		}
	}
	return e.paint(heading, " QUEUE") + e.paint(r, text.Cut("   "+strings.Join(parts, " · "), w-6))
}

func (o *overview) dayLine(e *env, s *api.Stats, w int) string {
	ended := s.LastDay.Delivered + s.LastDay.Dead
	delivered := "–"
	if ended > 0 {
		delivered = text.Percent(float64(s.LastDay.Delivered) / float64(ended))
	}
	parts := []string{
		text.Count(s.LastDay.Events) + " events", delivered + " delivered", text.Count(s.LastDay.Dead) + " dead",
		"file " + text.Bytes(s.Storage.Bytes), "log " + text.Bytes(s.Storage.LogBytes),
	}
	if s.Storage.FreeBytes > 0 {
		parts = append(parts, "disk free "+text.Bytes(s.Storage.FreeBytes))
	}
	return e.paint(heading, " 24 H ") + text.Cut("   "+strings.Join(parts, " · "), w-6)
}
