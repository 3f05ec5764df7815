package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// subscribers is the list of those who receive.
type subscribers struct {
	*pager[api.Subscriber]
}

func newSubscribers(e *env) *subscribers {
	return &subscribers{newPager("subscriber", "subscribers", func(s *api.Subscriber) string { return string(s.ID) },
		func(ctx context.Context, c Client, query string, page api.PageQuery) (api.List[api.Subscriber], error) {
			found, err := c.SubscribersPage(ctx, page)
			// The appliance selects none of them, and they are not many.
			found.Items = slices.DeleteFunc(found.Items, func(s api.Subscriber) bool { return !selects(query, &s) })
			return found, err
		},
		column[api.Subscriber]{title: "NAME", width: 16, flexible: true, keep: 11, cell: func(s *api.Subscriber) cell { return cell{nameOf(s), plain} }},
		column[api.Subscriber]{title: "STATE", width: 7, keep: 10, cell: receiving},
		column[api.Subscriber]{title: "OK 1h", width: 6, right: true, keep: 9, cell: healthCell(okCell)},
		column[api.Subscriber]{title: "p95", width: 7, right: true, keep: 8, cell: healthCell(func(h *api.Health) cell { return cell{text.Millis(h.P95MS), plain} })},
		column[api.Subscriber]{title: "QUEUE", width: 7, right: true, keep: 7, cell: healthCell(func(h *api.Health) cell { return cell{text.Count(h.Pending), plain} })},
		column[api.Subscriber]{title: "DEAD", width: 6, right: true, keep: 6, cell: healthCell(deadCell)},
		column[api.Subscriber]{title: "LAST", width: 9, keep: 5, cell: healthCell(lastCell)},
		column[api.Subscriber]{title: "EVENTS", width: 12, flexible: true, keep: 4, cell: func(s *api.Subscriber) cell { return cell{joined(s.Events, " "), plain} }},
		column[api.Subscriber]{title: "WHY", width: 22, flexible: true, keep: 3, cell: func(s *api.Subscriber) cell {
			return cell{sentence(s.PausedReason, shortOutage(e, s)), receiving(s).role}
		}},
		column[api.Subscriber]{title: "URL", width: 16, flexible: true, keep: 3, cell: func(s *api.Subscriber) cell { return cell{s.URL, dim} }},
		column[api.Subscriber]{title: "CLIENT", width: 10, keep: 2, cell: func(s *api.Subscriber) cell { return cell{s.ClientID, dim} }},
		column[api.Subscriber]{title: "ID", width: 30, keep: 1, cell: func(s *api.Subscriber) cell { return cell{string(s.ID), dim} }},
	)}
}

// nameOf is what people call the subscriber.
func nameOf(s *api.Subscriber) string {
	return (&webhook.Subscriber{Description: s.Description, URL: s.URL}).Name()
}

// selects reports whether all words of the query are in what the subscriber is
// known by.
func selects(query string, s *api.Subscriber) bool {
	if query == "" {
		return true
	}
	known := strings.ToLower(strings.Join([]string{nameOf(s), s.URL, joined(s.Events, " "), s.ClientID, string(s.ID)}, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if !strings.Contains(known, word) {
			return false
		}
	}
	return true
}

func joined[S ~string](list []S, between string) string {
	words := make([]string, len(list))
	for i := range list {
		words[i] = string(list[i])
	}
	return strings.Join(words, between)
}

// receiving says whether the subscriber receives at the moment.
func receiving(s *api.Subscriber) cell {
	switch {
	case !s.Active:
		return cell{"paused", warn}
	case s.Held:
		return cell{"HELD", bad}
	case !s.FailingSince.IsZero():
		return cell{"failing", bad}
	}
	return cell{"active", good}
}

func deadCell(h *api.Health) cell {
	if h.Dead == 0 {
		return cell{"0", dim}
	}
	return cell{text.Count(h.Dead), bad}
}

// healthCell is a dash where nothing is known.
func healthCell(of func(*api.Health) cell) func(*api.Subscriber) cell {
	return func(s *api.Subscriber) cell {
		if s.Health == nil {
			return cell{"–", dim}
		}
		return of(s.Health)
	}
}

func (l *subscribers) title() string { return "Subscribers" }

func (l *subscribers) editing() bool { return false }

func (l *subscribers) keys() []binding {
	return append([]binding{{"enter", "open"}, {"n", "new"}, {"/", "filter"}}, append(subscriberKeys(), binding{"F", "follow"}, binding{"F2", "filter off"})...)
}

func (l *subscribers) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	row := l.current()
	switch name := key.String(); name {
	case "n":
		if why := e.may(webhook.Administrator); why != "" {
			return say(warn, why), true
		}
		return e.open(newSubscriberForm(e, nil, func(added api.Subscriber) tea.Cmd {
			l.seek("") // the new one is at the top, under the cursor
			return tea.Batch(look, showNewSecret(e, &added, "Secret of the new subscriber", true))
		})), true
	case "/":
		return e.ask(newPrompt("/", "parts of the name, URL, events, client or id", open(l.query), func(line string) tea.Cmd {
			l.seek(strings.TrimSpace(line))
			return l.load(e)
		})), true
	case "@", "space", "u", "ctrl+space", "ctrl+@":
		return nil, true // nothing here is marked, or of a time
	case "enter":
		if row != nil {
			return e.open(newSubscriber(e, row.ID)), true
		}
	default:
		if row != nil {
			if cmd, taken := pressSubscriber(e, name, row, nil); taken {
				return cmd, true
			}
		}
	}
	return l.pager.press(e, key)
}

func (l *subscribers) render(e *env, w, h int) []string {
	if len(l.rows) == 0 && l.inForce() == "" && !l.loader.at.IsZero() && l.loader.err == nil {
		return []string{"", text.Cut("   No subscribers yet. n adds one, as does `pintle subscribers add`.", w)}
	}
	return l.pager.render(e, w, h)
}

// subscriberKeys are those of one subscriber, wherever it is shown.
func subscriberKeys() []binding {
	return []binding{
		{"E", "edit"}, {"p", "pause, resume"}, {"T", "send a test"}, {"d", "deliveries"}, {"L", "dead letters"},
		{"i", "issue a new secret"}, {"D", "delete"}, {"y", "copy id"},
	}
}

// pressSubscriber does what a key asks for with one subscriber. When that has
// been removed, gone is done; it may be nil.
func pressSubscriber(e *env, key string, s *api.Subscriber, gone func() tea.Cmd) (tea.Cmd, bool) {
	name := nameOf(s)
	// Nobody should write what is refused in the end.
	switch key {
	case "E", "i", "D":
		if why := e.may(webhook.Administrator); why != "" {
			return say(warn, why), true
		}
	}
	switch key {
	case "E":
		return e.open(newSubscriberForm(e, s, func(api.Subscriber) tea.Cmd { return say(good, name+" was changed") })), true
	case "p":
		return pauseOrResume(e, s.ID, name, s.Active), true
	case "T":
		return testSubscriber(e, s.ID), true
	case "i":
		return e.ask(newRotation(e, s.ID, name)), true
	case "D":
		return removeSubscriber(e, s, gone), true
	case "d":
		return e.goTo(deliveriesTab, "sub:"+string(s.ID)), true
	case "L":
		return e.goTo(deadTab, "sub:"+string(s.ID)), true
	case "y":
		return copyText("the subscriber's id", string(s.ID)), true
	}
	return nil, false
}

// pauseOrResume pauses a subscriber that is active, after a question, and
// resumes one that is not.
func pauseOrResume(e *env, id webhook.SubscriberID, name string, active bool) tea.Cmd {
	if !active {
		return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
			_, err := e.client.ResumeSubscriber(ctx, id)
			return name + " was resumed: what waited goes out now", err
		})
	}
	if why := e.may(webhook.Operator); why != "" {
		return say(warn, why)
	}
	return e.ask(newConfirm("Pause "+name+"?", "Pause", []string{
		"Nothing is sent to it until it is resumed.",
		"Its deliveries are still made, and wait with those there are. None is lost, and no attempt is spent.",
	}, func() tea.Cmd {
		return e.act(webhook.Operator, func(ctx context.Context) (string, error) {
			_, err := e.client.PauseSubscriber(ctx, id, "")
			return name + " was paused: its deliveries wait", err
		})
	}))
}

// testSubscriber sends a test event and shows the delivery that comes of it.
func testSubscriber(e *env, id webhook.SubscriberID) tea.Cmd {
	return e.change(webhook.Operator, func(ctx context.Context) (func() tea.Cmd, error) {
		published, err := e.client.TestSubscriber(ctx, id)
		return func() tea.Cmd {
			if len(published.Deliveries) == 0 {
				return say(warn, "the test made no delivery")
			}
			return tea.Batch(e.open(newDelivery(e, published.Deliveries[0].ID, nil)), say(good, "a test event is on its way"))
		}, err
	})
}

// removeSubscriber asks for the name, or for the id where the name is hard to
// write.
func removeSubscriber(e *env, s *api.Subscriber, gone func() tea.Cmd) tea.Cmd {
	id, name := s.ID, nameOf(s)
	typed := name
	if !writable(name) {
		typed = string(id)
	}
	waits := "What waits for it is cancelled."
	switch {
	case s.Health == nil:
	case s.Health.Pending == 0:
		waits = "No delivery waits for it."
	default:
		waits = counted(int(s.Health.Pending), "delivery waits for it and is cancelled.", "deliveries wait for it and are cancelled.")
	}
	return e.ask(newTypedConfirm("Delete "+name+"?", "Delete", typed, []string{waits, "Its history stays. It cannot be brought back."}, func() tea.Cmd {
		return e.change(webhook.Administrator, func(ctx context.Context) (func() tea.Cmd, error) {
			err := e.client.RemoveSubscriber(ctx, id)
			return func() tea.Cmd {
				if gone != nil {
					return tea.Batch(gone(), say(good, name+" was deleted"))
				}
				return say(good, name+" was deleted")
			}, err
		})
	}))
}

// writable reports whether the text can be written out on any keyboard, and
// looks like what is to be written.
func writable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 30 && strings.Join(strings.Fields(s), " ") == s
}

// An overlap is how long a secret that is replaced stays valid.
type overlap struct {
	label string
	span  time.Duration
}

// overlaps are those there are to choose from, and first the one to begin with.
func overlaps() (choices []overlap, first int) {
	return []overlap{{"none", 0}, {"1h", time.Hour}, {"24h", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}, 2
}

// A rotation asks before a new secret is issued, and for how long the old one
// stays valid.
type rotation struct {
	*confirm
	choices []overlap
	chosen  int
}

func newRotation(e *env, id webhook.SubscriberID, name string) *rotation {
	r := &rotation{}
	r.choices, r.chosen = overlaps()
	r.confirm = newConfirm("Issue a new secret for "+name+"?", "Issue", nil, func() tea.Cmd {
		span := api.Duration(r.choices[r.chosen].span)
		return e.change(webhook.Administrator, func(ctx context.Context) (func() tea.Cmd, error) {
			changed, err := e.client.RotateSecret(ctx, id, api.Rotation{Overlap: &span})
			return func() tea.Cmd { return showNewSecret(e, &changed, "New secret of "+name, false) }, err
		})
	})
	return r
}

func (r *rotation) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	switch key.String() {
	case "down", "j", "space":
		r.chosen = (r.chosen + 1) % len(r.choices)
		return nil, false
	case "up", "k":
		r.chosen = (r.chosen + len(r.choices) - 1) % len(r.choices)
		return nil, false
	}
	return r.confirm.press(e, key)
}

func (r *rotation) render(e *env, w, h int) []string {
	var line strings.Builder
	for i, c := range r.choices {
		if i == r.chosen {
			fmt.Fprintf(&line, "[%s]", c.label)
		} else {
			fmt.Fprintf(&line, " %s ", c.label)
		}
	}
	then := "Deliveries are signed with the old one too until then."
	if r.choices[r.chosen].span == 0 {
		then = "The old one signs nothing from then on."
	}
	r.confirm.lines = []string{"j k  the old one stays:" + line.String(), then}
	return r.confirm.render(e, w, h)
}
