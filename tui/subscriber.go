package tui

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// subscriber is one subscriber: all that is known of it, and its latest
// deliveries.
type subscriber struct {
	id webhook.SubscriberID

	loader
	shown     api.Subscriber
	latest    *deliveries
	top, room int // of the fields
	height    int // how many lines the fields take
}

func newSubscriber(e *env, id webhook.SubscriberID) *subscriber {
	s := &subscriber{id: id, latest: newDeliveries(e)}
	s.latest.seek("sub:" + string(id))
	// Which subscriber it is goes without saying here.
	s.latest.hidden = true
	s.latest.columns = slices.DeleteFunc(s.latest.columns, func(c column[api.Delivery]) bool { return c.title == "SUBSCRIBER" })
	return s
}

func (s *subscriber) title() string {
	if s.shown.ID == "" {
		return string(s.id)
	}
	return nameOf(&s.shown)
}

func (s *subscriber) state() *loader { return &s.loader }

func (s *subscriber) editing() bool { return false }

func (s *subscriber) load(e *env) tea.Cmd {
	return tea.Batch(
		fetch(e, &s.loader, func(ctx context.Context) (api.Subscriber, error) { return e.client.Subscriber(ctx, s.id) },
			func(shown api.Subscriber) tea.Cmd {
				s.shown = shown
				return nil
			}),
		s.latest.load(e))
}

func (s *subscriber) keys() []binding {
	return append(append([]binding{{"enter", "open the delivery"}}, subscriberKeys()...), binding{"$", "show the secret"},
		binding{"PgUp PgDn", "scroll the fields"}, binding{"e", "why"}, binding{"t", "send now"}, binding{"r", "replay as new"}, binding{"x", "cancel"}, binding{"X", "cancel all that match"}, binding{"F", "follow"})
}

func (s *subscriber) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	if s.shown.ID == "" {
		return nil, false
	}
	switch name := key.String(); name {
	case "$":
		return showSecret(e, s.id, nameOf(&s.shown)), true
	case "S", "/", "@", "f2":
		return nil, true // the deliveries are those of this subscriber
	case "pgdown", "ctrl+f":
		if s.height > s.room {
			s.top += s.room
			return nil, true
		}
	case "pgup", "ctrl+b":
		if s.height > s.room {
			s.top -= s.room
			return nil, true
		}
	default:
		if cmd, taken := pressSubscriber(e, name, &s.shown, func() tea.Cmd { return e.leave(s) }); taken {
			return cmd, true
		}
	}
	return s.latest.press(e, key)
}

func (s *subscriber) render(e *env, w, h int) []string {
	if s.shown.ID == "" {
		return waiting(e, &s.loader, w)
	}
	lines := []string{s.stateLine(e, w)}
	fields := s.fields(e, w)
	s.height = len(fields)
	// The deliveries have a third of the screen at least.
	s.room = min(len(fields), max((h-2)*2/3, 1))
	s.top = min(max(s.top, 0), len(fields)-s.room)
	lines = append(lines, fields[s.top:s.top+s.room]...)
	more := ""
	if s.room < len(fields) {
		more = fmt.Sprintf(" fields %d–%d of %d · PgDn ", s.top+1, s.top+s.room, len(fields))
	}
	rule := text.Cut(" LATEST DELIVERIES ", w-text.Width(more))
	lines = append(lines, e.paint(heading, rule)+e.paint(dim, ruled(e, w-text.Width(rule)-text.Width(more))+more))
	if room := h - len(lines); room > 0 {
		lines = append(lines, s.deliveryLines(e, w, room)...)
	}
	return lines
}

func (s *subscriber) deliveryLines(e *env, w, h int) []string {
	if len(s.latest.rows) == 0 && !s.latest.loader.at.IsZero() && s.latest.loader.err == nil && !s.latest.searching {
		return []string{e.paint(dim, text.Cut("   Nothing was sent to it yet. T sends a test.", w))}
	}
	if h < 4 {
		return s.latest.list.render(e, w, h)
	}
	return s.latest.pager.render(e, w, h)
}

// stateLine says whether it receives, and how it does.
func (s *subscriber) stateLine(e *env, w int) string {
	state := receiving(&s.shown)
	sign := map[role]string{good: e.glyphs.ok, warn: "!", bad: e.glyphs.fail}[state.role]
	line := sentence(sign+" "+strings.ToUpper(state.text), s.shown.PausedReason, outage(e, &s.shown))
	if h := s.shown.Health; h != nil && h.Pending > 0 {
		line += " · " + counted(int(h.Pending), "delivery waits", "deliveries wait")
	}
	return e.paint(state.role, text.Cut(" "+line+" · "+nameOf(&s.shown), w))
}

// outage says since when nothing gets through, and when that is tried again;
// empty: there is no outage.
func outage(e *env, s *api.Subscriber) string {
	if !s.Active || s.FailingSince.IsZero() {
		return ""
	}
	line := "outage for " + text.Span(e.now().Sub(s.FailingSince.Time))
	switch wait := s.ProbeAt.Sub(e.now()); {
	case !s.Held:
	case s.ProbeAt.IsZero() || wait <= 0:
		line += " · next probe now"
	default:
		line += " · next probe in " + text.Span(wait)
	}
	return line
}

// shortOutage is outage for a list, which has the state beside it.
func shortOutage(e *env, s *api.Subscriber) string {
	return strings.NewReplacer("outage for ", "", "next probe in ", "probe ", "next probe", "probe").Replace(outage(e, s))
}

// fields lays out all that is known of the subscriber.
func (s *subscriber) fields(e *env, w int) []string {
	sub := &s.shown
	var lines []string
	add := func(label, value string, r role) {
		for i, part := range wrappedLines(value, max(w-labelWidth-3, 8)) {
			if i > 0 {
				label = ""
			}
			lines = append(lines, "  "+e.paint(keyName, text.Fit(label, labelWidth))+e.paint(r, text.Cut(part, w-labelWidth-2)))
		}
	}
	or := func(value, otherwise string) (string, role) {
		if value == "" {
			return otherwise, dim
		}
		return value, plain
	}
	show := func(label, value, otherwise string) {
		shown, r := or(value, otherwise)
		add(label, shown, r)
	}
	add("URL", sub.URL, plain)
	add("Events", joined(sub.Events, ", "), plain)
	if !sub.FailingSince.IsZero() {
		add("Outage", "since "+moment(sub.FailingSince)+" UTC", bad)
	}
	s.health(add)
	// What is set stands before what is as everywhere.
	for _, f := range particulars(sub) {
		add(f.name, f.value, f.role)
	}
	show("Description", sub.Description, "none")
	show("Client", sub.ClientID, "none: only events of no client in particular")
	if len(sub.Headers) == 0 {
		show("Headers", "", "none of its own")
	}
	for i, name := range slices.Sorted(maps.Keys(sub.Headers)) {
		label := ""
		if i == 0 {
			label = "Headers"
		}
		add(label, name+": "+shownValue(name, sub.Headers[name]), plain)
	}
	show("Schedule", schedule(sub.Schedule), "the configured one")
	timeout, concurrency, final := "", "", ""
	if sub.Timeout != 0 {
		timeout = sub.Timeout.String()
	}
	if sub.Concurrency != 0 {
		concurrency = fmt.Sprint(sub.Concurrency) + " requests at once"
	}
	if sub.FinalOn4xx {
		final = "yes: such an answer is not tried again"
	}
	show("Timeout", timeout, "the configured one")
	show("Concurrency", concurrency, "the configured one")
	show("4xx is final", final, "no: it is tried again")
	secret := "$ shows it · i issues a new one"
	if sub.OldSecretUntil.After(e.now()) {
		secret += " · the old one signs too until " + moment(sub.OldSecretUntil) + " UTC"
	}
	add("Secret", secret, plain)
	add("Created", moment(sub.CreatedAt)+" UTC · changed "+moment(sub.UpdatedAt)+" UTC", dim)
	add("ID", string(sub.ID), dim)
	return lines
}

// particulars are what is set of that which most subscribers do without.
func particulars(s *api.Subscriber) []fact {
	rate, order, scheme, basic, oauth, hold, pause := "", "", "", "", "", "", ""
	if s.RateLimit != 0 {
		rate = strconv.FormatFloat(s.RateLimit, 'f', -1, 64) + " requests per second at most"
	}
	if s.Ordered != "" {
		order = orderOf(s)
	}
	if s.Scheme != "" && s.Scheme != webhook.SigningPlain {
		scheme = string(s.Scheme) + " signatures"
	}
	if s.BasicUsername != "" || s.BasicPassword != "" {
		basic = "as " + s.BasicUsername
	}
	if s.OAuth2TokenURL != "" {
		oauth = sentence("as "+s.OAuth2ClientID+" at "+s.OAuth2TokenURL, strings.Join(s.OAuth2Scopes, " "), s.OAuth2Audience)
	}
	var tls []string
	if s.TLSCert != "" {
		tls = append(tls, "with a certificate of its own")
	}
	if s.TLSCA != "" {
		tls = append(tls, "authorities of its own")
	}
	if !s.Hold {
		hold = "no: an outage spends retries"
	}
	if !s.AutoPause {
		pause = "no: however long an outage is"
	}
	all := []fact{
		{"Filter", s.Filter, plain},
		{"Transform", s.Transform, plain},
		{"Order", order, plain},
		{"Rate limit", rate, plain},
		{"Scheme", scheme, plain},
		{"Basic auth", basic, plain},
		{"OAuth2", oauth, plain},
		{"TLS", strings.Join(tls, " · "), plain},
		{"Hold", hold, plain},
		{"Auto pause", pause, plain},
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.value == "" })
}

// orderOf says in which order the subscriber receives, and what a dead letter
// does to it.
func orderOf(s *api.Subscriber) string {
	order := "one after the other by " + string(s.Ordered)
	if s.Ordered == webhook.OrderedStrictly {
		order = "all events one after the other"
	}
	if s.OnDead == webhook.OnDeadSkip {
		return order + " · a dead letter is skipped"
	}
	return order + " · a dead letter blocks what comes later"
}

// health says how it did in the last hour.
func (s *subscriber) health(add func(label, value string, r role)) {
	h := s.shown.Health
	switch {
	case h == nil:
		return
	case h.Attempts == 0:
		add("Last hour", "no attempts", dim)
	default:
		share, last := okCell(h), lastCell(h)
		add("Last hour", fmt.Sprintf("%s ok of %s · median %s · p95 %s · last %s at %s UTC", share.text,
			counted(int(h.Attempts), "attempt", "attempts"), text.Millis(h.P50MS), text.Millis(h.P95MS), last.text, moment(h.LastAt)), share.role)
	}
	r := plain
	if h.Dead > 0 {
		r = bad
	}
	add("Deliveries", fmt.Sprintf("%s pending · %s of them retrying · %s dead", text.Count(h.Pending), text.Count(h.Retrying), text.Count(h.Dead)), r)
}

// wrappedLines breaks each line of a text from outside.
func wrappedLines(s string, w int) []string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		lines = append(lines, wrapped(line, w)...)
	}
	return lines
}

func schedule(waits []api.Duration) string {
	words := make([]string, len(waits))
	for i, wait := range waits {
		words[i] = wait.String()
	}
	return strings.Join(words, ", ")
}

// hiddenValue stands for a value that is not shown.
const hiddenValue = "***"

// shownValue is the value of a header; one that may let somebody in is hidden.
func shownValue(name, value string) string {
	if webhook.CredentialHeader(name) {
		return hiddenValue
	}
	return value
}
