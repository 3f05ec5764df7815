package tui

import (
	"context"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

const (
	// pageSize is how many rows are fetched at once.
	pageSize = 200
	// minNewest is how many of the newest rows are looked at, at least.
	minNewest = 50
	// maxRows bounds the rows that a list holds.
	maxRows = 10_000
	// maxCounted bounds how far new rows are counted.
	maxCounted = 100
	// slowAfter is when a request is worth a word.
	slowAfter = 150 * time.Millisecond
)

// A pager is a list whose rows come from the appliance page by page, the newest
// first, and keep coming. It follows what is new until the cursor is moved; then
// the rows stay where they are and what is new is counted.
type pager[T any] struct {
	*list[T]
	one, what string // a row and the rows are called
	terms     string // the keys of a query for these rows
	none      cell   // says that there are no rows at all
	// page fetches rows that the query selects.
	page func(ctx context.Context, c Client, query string, page api.PageQuery) (api.List[T], error)

	query string
	// off says that the query is put aside for a while.
	off bool
	// hidden says that the query is not for the person to see.
	hidden bool
	follow bool
	// fresh is how many rows are above the first one; only while not following.
	fresh int
	next  string // where to go on below; empty at the end
	ended bool   // there is nothing below
	// searching says that a page brought nothing although there is more.
	searching bool

	loader
	below  loader    // of the rows below
	looked time.Time // when the newest rows were last seen
}

func newPager[T any](one, what string, id func(*T) string, page func(context.Context, Client, string, api.PageQuery) (api.List[T], error), columns ...column[T]) *pager[T] {
	return &pager[T]{
		list: newList(id, columns...), one: one, what: what, page: page, follow: true,
		terms: "sub: type: status: outcome: code: since: until:",
		none:  cell{"No " + what + " yet. The sandbox (6) sends one, as does `pintle send`.", plain},
	}
}

func (p *pager[T]) state() *loader { return &p.loader }

// inForce is the query that holds now.
func (p *pager[T]) inForce() string {
	if p.off {
		return ""
	}
	return p.query
}

// seek shows what the query selects, from the newest.
func (p *pager[T]) seek(query string) {
	p.query, p.off = query, false
	p.restart()
}

func (p *pager[T]) restart() {
	p.abandon()
	p.below.abandon()
	p.setRows(nil)
	clear(p.marks)
	p.loader.at, p.loader.err, p.looked = time.Time{}, nil, time.Time{}
	p.follow, p.fresh, p.next, p.ended, p.searching = true, 0, "", false, false
}

// A glance is what one look at the list brought.
type glance[T any] struct {
	newest api.List[T]
	// seen are the rows from the first visible one on, as they are now.
	seen api.List[T]
	from string
}

// load looks for new rows and at what has become of the visible ones.
func (p *pager[T]) load(e *env) tea.Cmd {
	query := p.inForce()
	if p.cursor > 0 {
		p.follow = false // whoever stands below the newest row is reading
	}
	if p.follow || len(p.rows) == 0 {
		limit := min(max(2*p.height, minNewest), pageSize)
		return fetch(e, &p.loader, func(ctx context.Context) (api.List[T], error) {
			return p.page(ctx, e.client, query, api.PageQuery{Limit: limit})
		}, func(newest api.List[T]) tea.Cmd { return p.takeNewest(e, newest, limit) })
	}
	// Ids sort by age, so the one after the first visible row asks for the list
	// from that row on.
	from := p.id(&p.rows[p.top])
	visible := min(p.height+1, api.MaxLimit)
	first := p.id(&p.rows[0])
	return fetch(e, &p.loader, func(ctx context.Context) (glance[T], error) {
		g := glance[T]{from: from}
		var err error
		if g.newest, err = p.page(ctx, e.client, query, api.PageQuery{Limit: maxCounted}); err != nil {
			return g, err
		}
		g.seen, err = p.page(ctx, e.client, query, api.PageQuery{Limit: visible, Cursor: webhook.After(from)})
		return g, err
	}, func(g glance[T]) tea.Cmd {
		p.fresh = 0
		for i := range g.newest.Items {
			if p.id(&g.newest.Items[i]) > first {
				p.fresh++
			}
		}
		p.takeSeen(g)
		return p.more(e)
	})
}

// takeNewest puts the newest rows above those that are known already. Where
// they do not meet, the ones below are fetched anew when they are wanted.
func (p *pager[T]) takeNewest(e *env, newest api.List[T], limit int) tea.Cmd {
	rows, bottom := newest.Items, newest.NextCursor
	// A search that stopped at its bound looked at far more than comes in
	// between two looks, even if it found nothing.
	met := len(rows) < limit && e.now().Sub(p.looked) < staleAfter
	p.looked = e.now()
	if len(p.rows) > 0 {
		met = met || p.id(&p.rows[0]) >= bottom
	}
	if met && bottom != "" {
		for i := range p.rows {
			if p.id(&p.rows[i]) < bottom {
				rows = append(rows, p.rows[i:]...)
				break
			}
		}
	} else {
		p.below.abandon()
		p.next, p.ended = bottom, bottom == ""
	}
	if len(rows) > maxRows {
		rows = rows[:maxRows:maxRows]
		p.below.abandon()
		p.next, p.ended = p.id(&rows[maxRows-1]), false
	}
	p.fresh = 0
	if p.follow && p.cursor == 0 {
		p.rows = nil // the cursor stays on the newest row, whichever that is
	}
	p.setRows(rows)
	return p.more(e)
}

// takeSeen replaces the visible rows by what has become of them. One that the
// query selects no more is gone.
func (p *pager[T]) takeSeen(g glance[T]) {
	at := -1
	for i := range p.rows {
		if p.id(&p.rows[i]) == g.from {
			at = i
			break
		}
	}
	if at < 0 {
		return
	}
	end := len(p.rows)
	if g.seen.NextCursor != "" {
		if len(g.seen.Items) == 0 {
			return
		}
		last := p.id(&g.seen.Items[len(g.seen.Items)-1])
		for end = at; end < len(p.rows) && p.id(&p.rows[end]) >= last; end++ {
		}
	} else {
		p.next, p.ended = "", true
	}
	rows := append(append(append(make([]T, 0, len(p.rows)), p.rows[:at]...), g.seen.Items...), p.rows[end:]...)
	p.setRows(rows)
}

// more fetches the rows below when the cursor comes near them, or when there
// are fewer than the screen has room for.
func (p *pager[T]) more(e *env) tea.Cmd {
	p.searching = false
	if p.ended || p.next == "" || len(p.rows) >= maxRows || p.cursor+2*p.height < len(p.rows) {
		return nil
	}
	query, next := p.inForce(), p.next
	p.searching = len(p.rows) < p.height
	return fetch(e, &p.below, func(ctx context.Context) (api.List[T], error) {
		return p.page(ctx, e.client, query, api.PageQuery{Limit: pageSize, Cursor: next})
	}, func(below api.List[T]) tea.Cmd {
		items := below.Items
		if n := len(p.rows); n > 0 {
			// Looking at the visible ones may have brought some of these.
			last := p.id(&p.rows[n-1])
			for len(items) > 0 && p.id(&items[0]) >= last {
				items = items[1:]
			}
		}
		p.setRows(append(p.rows, items...))
		p.next, p.ended = below.NextCursor, below.NextCursor == ""
		return p.more(e)
	})
}

// press handles the keys of all such lists.
func (p *pager[T]) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	name := key.String()
	switch name {
	case "/":
		return e.ask(newPrompt("/", "words to look for, and "+p.terms, open(p.query), func(line string) tea.Cmd {
			p.seek(strings.TrimSpace(line))
			return p.load(e)
		})), true
	case "f2":
		if p.query == "" {
			return say(info, "there is no filter; / writes one"), true
		}
		p.off = !p.off
		p.restart()
		return p.load(e), true
	case "@":
		return e.ask(newPrompt("@", "a time: 2h (ago), 2026-01-31T14:00:00Z", "", func(line string) tea.Cmd {
			if line = strings.TrimSpace(line); line == "" {
				return nil
			}
			p.seek(withTerm(p.query, "until:"+line))
			p.follow = false
			return p.load(e)
		})), true
	case "F":
		p.follow = !p.follow
		if p.follow {
			p.move(-len(p.rows))
			return tea.Batch(p.reload(e), say(info, "following what is new")), true
		}
		return say(info, "not following; F follows again"), true
	}
	if !p.list.press(name) {
		return nil, false
	}
	if name != "u" {
		p.follow = false
		if name == "g" || name == "home" {
			// At the top one sees what is new, and it may move on.
			p.follow = true
			return p.reload(e), true
		}
	}
	return p.more(e), true
}

func (p *pager[T]) reload(e *env) tea.Cmd {
	p.abandon()
	return p.load(e)
}

// open is a query that can be written on: what is typed is a word of its own.
func open(query string) string {
	if query == "" {
		return ""
	}
	return query + " "
}

// withTerm puts a term into a query, in place of one with its key.
func withTerm(query, term string) string {
	key, _, _ := strings.Cut(term, ":")
	var kept []string
	for word := range strings.FieldsSeq(query) {
		if !strings.HasPrefix(word, key+":") {
			kept = append(kept, word)
		}
	}
	return strings.Join(append(kept, term), " ")
}

// render draws the line of the filter, and the list.
func (p *pager[T]) render(e *env, w, h int) []string {
	lines := []string{p.statusLine(e, w)}
	rows := p.list.render(e, w, h-1)
	if len(p.rows) > 0 {
		return append(lines, rows...)
	}
	lines = append(lines, rows[0], "")
	switch {
	case p.loader.at.IsZero() && p.loader.err == nil:
		lines = append(lines, e.paint(dim, "   loading …"))
	case p.loader.err != nil:
		lines = append(lines, failed(e, p.loader.err, w)...)
	case p.searching:
		lines = append(lines, e.paint(dim, "   searching …"))
	case p.inForce() != "":
		lines = append(lines, text.Cut("   No "+p.what+" match this filter. F2 shows all.", w))
	default:
		for _, line := range wrapped(p.none.text, max(w-4, 1)) {
			lines = append(lines, "   "+e.paint(p.none.role, text.Cut(line, w-3)))
		}
	}
	return lines
}

// statusLine says which rows these are, and whether they move.
func (p *pager[T]) statusLine(e *env, w int) string {
	count := counted(len(p.rows), p.one, p.what)
	switch {
	case len(p.rows) >= maxRows:
		count = text.Count(maxRows) + " " + p.what + " shown, there are more: narrow with /, or go to a time with @"
	case !p.ended && len(p.rows) > 0:
		count = text.Count(int64(len(p.rows))) + "+ " + p.what
	}
	if n := len(p.marks); n > 0 {
		count += " · " + text.Count(int64(n)) + " marked"
	}
	if p.searching || p.below.busy && e.now().Sub(p.below.since) > slowAfter {
		count += " · searching"
	}
	mode, r := "FOLLOW", good
	if !p.follow {
		mode, r = "FOLLOW OFF", dim
		if p.fresh > 0 {
			r, mode = warn, mode+" · "+e.glyphs.more+text.Count(int64(p.fresh))+" new"
		}
		if p.fresh >= maxCounted {
			mode = strings.Replace(mode, text.Count(int64(p.fresh)), text.Count(int64(p.fresh))+"+", 1)
		}
	}
	filter := p.query
	switch {
	case p.hidden:
		filter = ""
	case p.off:
		filter = "(off) " + filter
	}
	right := count + " · "
	room := w - text.Width(right) - text.Width(mode) - 2
	if room < 0 {
		return text.Cut(" "+mode+" · "+count, w)
	}
	return " " + e.paint(strong, text.Fit(filter, room)) + e.paint(dim, right) + e.paint(r, mode)
}

// listKeys are the keys of all lists.
func listKeys() []binding {
	return []binding{
		{"j k g G", "move; also arrows, PgUp, PgDn, Home, End"}, {"ctrl+d ctrl+u", "half a page"},
		{"/", "filter"}, {"F2", "filter off and on"}, {"F", "follow what is new"}, {"@", "go to a time"},
		{"space", "mark"}, {"ctrl+space", "mark up to here"}, {"u", "unmark all"},
	}
}
