package tui

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// groupsEvery is how long the groups are shown before they are counted again.
const groupsEvery = 4 * beat

// dead is what was given up: in groups that share the subscriber and the cause,
// or one by one.
type dead struct {
	loader // of the groups
	groups *list[api.DeadGroup]
	// stale says that the groups are to be counted now, however new they are.
	stale bool
	flat  *pager[api.Delivery]
	// single says that the flat list is shown.
	single bool
}

func newDead(e *env) *dead {
	d := &dead{
		groups: newList(func(g *api.DeadGroup) string {
			return fmt.Sprint(g.SubscriberID, "|", g.Outcome, "|", g.Code, "|", g.Fingerprint)
		},
			column[api.DeadGroup]{title: "SUBSCRIBER", width: 12, flexible: true, keep: 10, cell: func(g *api.DeadGroup) cell {
				if g.SubscriberName == "" {
					return cell{string(g.SubscriberID) + " (removed)", dim}
				}
				return cell{g.SubscriberName, plain}
			}},
			column[api.DeadGroup]{title: "CAUSE", width: 12, flexible: true, keep: 9, cell: func(g *api.DeadGroup) cell { return cell{cause(g), outcome(g.Outcome)} }},
			column[api.DeadGroup]{title: "COUNT", width: 6, right: true, keep: 8, cell: func(g *api.DeadGroup) cell { return cell{text.Count(g.Count), strong} }},
			column[api.DeadGroup]{title: "OLDEST", width: 8, right: true, keep: 7, cell: func(g *api.DeadGroup) cell { return agoCell(e, g.Oldest) }},
			column[api.DeadGroup]{title: "NEWEST", width: 8, right: true, keep: 6, cell: func(g *api.DeadGroup) cell { return agoCell(e, g.Newest) }},
		),
		flat: newPager("dead letter", "dead letters", func(d *api.Delivery) string { return string(d.ID) },
			func(ctx context.Context, c Client, query string, page api.PageQuery) (api.List[api.Delivery], error) {
				return c.DeliveriesPage(ctx, api.DeliveryFilter{State: webhook.Dead, Q: query}, page)
			}, deliveryColumns(e)...),
	}
	d.flat.terms = "sub: type: outcome: code: fingerprint: since: until:"
	d.flat.none = cell{e.glyphs.ok + " No dead letters.", good}
	return d
}

// cause is what the letters of a group died of.
func cause(g *api.DeadGroup) string {
	words := string(g.Outcome)
	switch {
	case g.Outcome == webhook.HTTPStatus:
		words = "HTTP " + strconv.Itoa(g.Code)
	case g.Code != 0:
		words += " after HTTP " + strconv.Itoa(g.Code)
	}
	switch {
	case g.Fingerprint == "":
		return words
	case g.Code == 0:
		return because(g.Outcome, g.Fingerprint)
	}
	return words + ": " + g.Fingerprint
}

// agoCell is how long ago something was.
func agoCell(e *env, t api.Time) cell { return cell{text.Age(e.now().Sub(t.Time)) + " ago", dim} }

func (d *dead) title() string { return "Dead letters" }

func (d *dead) editing() bool { return false }

func (d *dead) state() *loader {
	if d.single {
		return &d.flat.loader
	}
	return &d.loader
}

func (d *dead) load(e *env) tea.Cmd {
	if d.single {
		return d.flat.load(e)
	}
	if !d.stale && d.err == nil && e.now().Sub(d.at) < groupsEvery {
		return nil
	}
	d.stale = d.stale && d.busy
	return fetch(e, &d.loader, e.client.DeadGroups, func(groups []api.DeadGroup) tea.Cmd {
		d.groups.setRows(groups)
		return nil
	})
}

// seek shows the letters that the query selects, one by one.
func (d *dead) seek(query string) {
	d.single = true
	d.flat.seek(query)
}

func (d *dead) keys() []binding {
	if d.single {
		return []binding{
			{"enter", "open"}, {"/", "filter"}, {"v", "groups"}, {"e", "why"}, {"space", "mark"}, {"r", "replay"}, {"R", "replay all that match"},
			{"X", "purge the marked, or all that match"}, {"t", "send now"}, {"S", "subscriber"}, {"y", "copy id"}, {"@", "time"}, {"F2", "filter off"},
		}
	}
	return []binding{
		{"enter", "open the group"}, {"v", "one by one"}, {"space", "mark"}, {"r", "replay group"}, {"R", "replay all"},
		{"X", "purge group"}, {"S", "subscriber"}, {"/", "filter"},
	}
}

func (d *dead) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	name := key.String()
	switch {
	case name == "v":
		d.single = !d.single
		return look, true
	case name == "R":
		return d.replay(e, d.all()), true
	case name == "X":
		return d.purge(e, d.doomed()), true
	case d.single:
		return d.pressFlat(e, key)
	}
	group := d.groups.current()
	switch {
	case name == "/":
		d.single = true
		return d.pressFlat(e, key)
	case group == nil:
		return nil, d.groups.press(name)
	case name == "enter":
		d.seek(groupQuery(group))
		return look, true
	case name == "r":
		return d.replay(e, d.markedGroups()), true
	case name == "S":
		return e.goTo(subscribersTab, string(group.SubscriberID)), true
	}
	return nil, d.groups.press(name)
}

func (d *dead) pressFlat(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	row := d.flat.current()
	switch name := key.String(); {
	case name == "esc" || name == "alt+esc" || name == "backspace":
		d.single = false
		return look, true
	case row == nil:
	case name == "enter":
		return e.open(newDelivery(e, row.ID, d.flat.list)), true
	case name == "e":
		return e.open(newExplanation(row.ID)), true
	case name == "r":
		return d.replay(e, d.markedLetters()), true
	case name == "t":
		return (&deliveries{d.flat}).resend(e), true
	case name == "S":
		return e.goTo(subscribersTab, string(row.SubscriberID)), true
	case name == "y":
		return copyText("the delivery's id", string(row.ID)), true
	}
	return d.flat.press(e, key)
}

// groupQuery selects the letters of a group.
func groupQuery(g *api.DeadGroup) string {
	query := "sub:" + string(g.SubscriberID)
	if g.Outcome != "" {
		query += " outcome:" + string(g.Outcome)
	}
	if g.Code != 0 {
		query += " code:" + strconv.Itoa(g.Code)
	}
	if g.Fingerprint != "" {
		query += " fingerprint:" + inQuotes(g.Fingerprint)
	}
	return query
}

// inQuotes writes a value of a query so that it is read as one, whatever is in
// it.
func inQuotes(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}

// A selection is the dead letters that something is done to. More than one
// filter select disjoint ones.
type selection struct {
	filters []api.DeadFilter
	// words say which letters these are.
	words []string
	// done is called when something has been done to them.
	done func()
}

// all are the letters that are shown: those that match the filter, or all there
// are.
func (d *dead) all() selection {
	query := ""
	if d.single {
		query = d.flat.inForce()
	}
	s := selection{
		filters: []api.DeadFilter{{Filter: api.DeliveryFilter{Q: query}}},
		words:   []string{"These are all dead letters there are."},
		done:    d.recount,
	}
	if query != "" {
		s.words = []string{"Filter: " + text.Clean(query)}
	}
	return s
}

func (d *dead) markedGroups() selection {
	s := selection{done: func() {
		clear(d.groups.marks)
		d.recount()
	}}
	for _, g := range d.groups.marked() {
		s.filters = append(s.filters, api.DeadFilter{Filter: api.DeliveryFilter{Subscriber: string(g.SubscriberID), Outcome: g.Outcome, Code: g.Code, Fingerprint: g.Fingerprint}})
		s.words = append(s.words, text.Clean(g.SubscriberName)+" · "+text.Clean(cause(&g)))
	}
	if n := len(s.words); n > maxNamed {
		s.words = append(s.words[:maxNamed-1], fmt.Sprintf("and %d groups more", n-maxNamed+1))
	}
	return s
}

// doomed are the letters that a purge deletes: the marked groups, or the one
// under the cursor; of single letters, the marked ones or else all that match.
func (d *dead) doomed() selection {
	switch {
	case !d.single:
		return d.markedGroups()
	case len(d.flat.marks) > 0:
		return d.markedLetters()
	}
	return d.all()
}

// maxNamed bounds how many groups a dialog names.
const maxNamed = 5

func (d *dead) markedLetters() selection {
	var ids []webhook.DeliveryID
	for _, row := range d.flat.marked() {
		ids = append(ids, row.ID)
	}
	return selection{
		filters: []api.DeadFilter{{IDs: ids}},
		done: func() {
			// The rest of the list stays where it is.
			d.flat.setRows(slices.DeleteFunc(slices.Clone(d.flat.rows), func(row api.Delivery) bool { return slices.Contains(ids, row.ID) }))
			clear(d.flat.marks)
			d.stale = true
		},
	}
}

// recount has what is shown fetched anew.
func (d *dead) recount() {
	d.stale = true
	d.flat.restart()
}

// replay counts what is selected, and then asks how fast it is to be sent.
func (d *dead) replay(e *env, s selection) tea.Cmd {
	send := func(ctx context.Context, dry bool, rate float64) (sum api.Replayed, err error) {
		for _, filter := range s.filters {
			filter.DryRun = dry
			done, err := e.client.ReplayDeadLetters(ctx, api.DeadReplay{DeadFilter: filter, Rate: rate})
			if err != nil {
				return sum, err
			}
			sum.Matched += done.Matched
			sum.Replayed += done.Replayed
		}
		return sum, nil
	}
	return e.change(webhook.Operator, func(ctx context.Context) (func() tea.Cmd, error) {
		found, err := send(ctx, true, 0)
		return func() tea.Cmd {
			if found.Matched == 0 {
				return say(warn, "no dead letter matches")
			}
			lines := append(slices.Clone(s.words), "Each gets its whole schedule anew.")
			return e.ask(newPaced("Replay "+counted(found.Matched, "dead letter", "dead letters")+"?", "Replay", found.Matched, lines, func(rate float64) tea.Cmd {
				return e.change(webhook.Operator, func(ctx context.Context) (func() tea.Cmd, error) {
					sum, err := send(ctx, false, rate)
					return func() tea.Cmd {
						s.done()
						return say(good, replayed(sum))
					}, err
				})
			}))
		}, err
	})
}

// replayed says what came of a replay of dead letters.
func replayed(sum api.Replayed) string {
	line := counted(sum.Replayed, "dead letter is", "dead letters are") + " on the way again"
	if left := sum.Matched - sum.Replayed; left > 0 {
		line += "; " + text.Count(int64(left)) + " not: the subscriber has been removed"
	}
	return line
}

// purge counts what is selected, and has the number written out before it is
// deleted.
func (d *dead) purge(e *env, s selection) tea.Cmd {
	purge := func(ctx context.Context, dry bool) (sum api.Purged, err error) {
		for _, filter := range s.filters {
			filter.DryRun = dry
			done, err := e.client.PurgeDeadLetters(ctx, filter)
			if err != nil {
				return sum, err
			}
			sum.Matched += done.Matched
			sum.Purged += done.Purged
		}
		return sum, nil
	}
	return e.change(webhook.Administrator, func(ctx context.Context) (func() tea.Cmd, error) {
		found, err := purge(ctx, true)
		return func() tea.Cmd {
			if found.Matched == 0 {
				return say(warn, "no dead letter matches")
			}
			lines := append(slices.Clone(s.words), "They and their attempts are deleted for good.", "The events stay.")
			return e.ask(newTypedConfirm("Purge "+counted(found.Matched, "dead letter", "dead letters")+"?", "Purge", fmt.Sprint(found.Matched), lines, func() tea.Cmd {
				return e.change(webhook.Administrator, func(ctx context.Context) (func() tea.Cmd, error) {
					sum, err := purge(ctx, false)
					return func() tea.Cmd {
						s.done()
						return say(good, counted(sum.Purged, "dead letter is", "dead letters are")+" gone")
					}, err
				})
			}))
		}, err
	})
}

func (d *dead) render(e *env, w, h int) []string {
	if d.single {
		return d.flat.render(e, w, h)
	}
	if d.at.IsZero() {
		return waiting(e, &d.loader, w)
	}
	if len(d.groups.rows) == 0 {
		return []string{
			"", e.paint(good, text.Cut("   "+e.glyphs.ok+" No dead letters.", w)), "",
			text.Cut("   A delivery that is given up comes here: after the last retry, or an", w),
			text.Cut("   answer that is final. From here it can be sent again.", w),
		}
	}
	var letters int64
	for i := range d.groups.rows {
		letters += d.groups.rows[i].Count
	}
	line := counted(len(d.groups.rows), "group", "groups") + " · " + counted(int(letters), "dead letter", "dead letters")
	if n := len(d.groups.marks); n > 0 {
		line += " · " + text.Count(int64(n)) + " marked"
	}
	lines := []string{e.paint(dim, text.Cut(" "+line+" · by subscriber and cause, v shows each", w))}
	// The list cuts the cause, as a rule, and two may differ only at the end.
	g := d.groups.current()
	if text.Width(cause(g)) <= w/3 || h < 8 {
		return append(lines, d.groups.render(e, w, h-1)...)
	}
	says := wrapped(text.Cut(cause(g), 3*w), w-4)
	says = says[:min(len(says), h-6)]
	lines = append(lines, d.groups.render(e, w, min(h-len(says)-2, len(d.groups.rows)+1))...)
	lines = append(lines, "")
	for _, line := range says {
		lines = append(lines, "   "+e.paint(outcome(g.Outcome), line))
	}
	return lines
}

// paces are how many are sent in a second, as a dialog offers them.
var paces = [...]struct {
	name string
	rate float64
}{{"at once", 0}, {"10/s", 10}, {"100/s", 100}}

// manyLetters is from where on a replay goes out slowly, if nothing else is
// chosen: a receiver that has just come back should not be run over.
const manyLetters = 100

// A paced is a confirm that also asks how fast.
type paced struct {
	*confirm
	words []string
	pace  int
}

func newPaced(title, verb string, n int, lines []string, yes func(rate float64) tea.Cmd) *paced {
	p := &paced{words: lines}
	if n >= manyLetters {
		p.pace = len(paces) - 1
	}
	p.confirm = newConfirm(title, verb, nil, func() tea.Cmd { return yes(paces[p.pace].rate) })
	return p
}

func (p *paced) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	switch key.String() {
	case "down", "j":
		p.pace = min(p.pace+1, len(paces)-1)
	case "up", "k":
		p.pace = max(p.pace-1, 0)
	default:
		return p.confirm.press(e, key)
	}
	return nil, false
}

func (p *paced) render(e *env, w, h int) []string {
	line := "Pace, j k: "
	for i, pace := range paces {
		if i == p.pace {
			line += "[" + pace.name + "] "
		} else {
			line += " " + pace.name + "  "
		}
	}
	p.lines = append(slices.Clone(p.words), "", strings.TrimRight(line, " "))
	return p.confirm.render(e, w, h)
}
