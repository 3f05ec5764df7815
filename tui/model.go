package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/tui/text"
)

const (
	// beat is how often the screen looks at the clock, and at what has changed.
	beat = 500 * time.Millisecond
	// saidFor is how long a line at the bottom stays.
	saidFor = 5 * time.Second
	// staleAfter is when data is old although requests are not known to fail.
	staleAfter = 5 * time.Second
	// maxBackoff bounds the wait before another try to reach the appliance.
	maxBackoff = 15 * time.Second

	minWidth, minHeight = 40, 10
	// tabsWidth is the narrowest window with a line of tabs.
	tabsWidth = 60
)

// A tab is a root screen.
type tab int

const (
	overviewTab tab = iota
	eventsTab
	deliveriesTab
	subscribersTab
	deadTab
	sandboxTab
	rejectionsTab
	tabCount
)

// tabNames are what the tabs are called, on screen and behind a colon.
var tabNames = [tabCount]string{"Overview", "Events", "Deliveries", "Subscribers", "Dead letters", "Sandbox", "Rejections"}

// A screen is a part of the dashboard. All its methods run in the goroutine of
// Update.
type screen interface {
	// title names it in the line above.
	title() string
	// load asks for what it shows, unless it is being asked for already. It is
	// called when the screen appears, and again with every beat.
	load(e *env) tea.Cmd
	// state tells how it stands with what it shows.
	state() *loader
	// press takes a key, and reports whether it was one of its own.
	press(e *env, key tea.KeyPressMsg) (cmd tea.Cmd, taken bool)
	// render draws it: at most h lines of at most w cells.
	render(e *env, w, h int) []string
	// keys are those that it takes.
	keys() []binding
	// editing says that a person is writing in it: it gets all keys.
	editing() bool
}

// A seeker is a screen that can show what a query selects.
type seeker interface{ seek(query string) }

// A composer is a screen that an event can be filled into.
type composer interface {
	fill(eventType string, data json.RawMessage)
}

// A paster is a screen or overlay that takes pasted text.
type paster interface{ paste(text string) }

// An overlay stands above a screen and takes all keys.
type overlay interface {
	press(e *env, key tea.KeyPressMsg) (cmd tea.Cmd, done bool)
	// render draws it into a window of this size.
	render(e *env, w, h int) []string
	// bottom says that it belongs at the bottom of the screen, not in its middle.
	bottom() bool
}

// A binding is a key and what it does, in a word or two.
type binding struct{ key, does string }

// model is the one Bubble Tea model: it owns the window, the way from screen to
// screen, and what is known of the appliance.
type model struct {
	env           *env
	width, height int
	tabs          [tabCount]screen
	stack         []screen // the screen that is shown is the last one
	tab, lastTab  tab
	past, future  []place // where [ and ] lead
	overlay       overlay
	said          said
	saidAt        time.Time
	mouse         bool
	compact       bool // without header

	statsState loader
	// failures counts requests in a row that got no answer, and retryAt is when
	// the next one is made.
	failures int
	retryAt  time.Time
}

// A place is where one can go back to: a root screen and those above it.
type place struct {
	tab   tab
	stack []screen
}

// maxPlaces bounds how many places are remembered.
const maxPlaces = 50

type beatMsg struct{}

func nextBeat(e *env) tea.Cmd {
	return e.run(func(ctx context.Context) tea.Msg {
		timer := time.NewTimer(beat)
		defer timer.Stop()
		select {
		case <-timer.C:
			return beatMsg{}
		case <-ctx.Done():
			return nil
		}
	})
}

func (m *model) Init() tea.Cmd {
	return tea.Batch(tea.RequestBackgroundColor, m.load(), nextBeat(m.env))
}

func (m *model) screen() screen { return m.stack[len(m.stack)-1] }

// load asks for what is shown. While the appliance does not answer, it is only
// asked now and then.
func (m *model) load() tea.Cmd {
	if m.failures > 0 && m.env.now().Before(m.retryAt) {
		return nil
	}
	stats := fetch(m.env, &m.statsState, m.env.client.Stats, func(s api.Stats) tea.Cmd { m.env.stats = &s; return nil })
	if m.failures > 0 {
		return stats
	}
	return tea.Batch(stats, m.screen().load(m.env))
}

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if key, ok := msg.(tea.KeyPressMsg); ok && !m.writing() {
		if then, ok := afterEsc(key); ok {
			_, first := m.Update(tea.KeyPressMsg{Code: tea.KeyEscape})
			_, second := m.Update(then)
			return m, tea.Batch(first, second)
		}
	}
	cmd := m.deal(msg)
	for len(m.env.wishes) > 0 {
		wish := m.env.wishes[0]
		m.env.wishes = m.env.wishes[1:]
		cmd = tea.Batch(cmd, m.deal(wish))
	}
	m.env.wishes = nil
	return m, cmd
}

// writing reports whether keys go into a text.
func (m *model) writing() bool {
	switch o := m.overlay.(type) {
	case nil:
		return m.screen().editing()
	case *prompt:
		return true
	case *confirm:
		return o.typed != ""
	}
	return false
}

// afterEsc returns the key that was pressed right after esc: a terminal sends
// the two as it sends alt and that key.
func afterEsc(key tea.KeyPressMsg) (then tea.KeyPressMsg, ok bool) {
	if key.Mod&^tea.ModShift != tea.ModAlt || key.Code <= ' ' || key.Code >= 0x7f {
		return then, false
	}
	r := key.Code
	switch {
	case key.ShiftedCode != 0:
		r = key.ShiftedCode
	case key.Mod.Contains(tea.ModShift):
		r = unicode.ToUpper(r)
	}
	return tea.KeyPressMsg{Code: r, Text: string(r)}, true
}

// deal does what the message asks for.
func (m *model) deal(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.BackgroundColorMsg:
		m.env.dark = msg.IsDark()
		m.env.styles = newStyles(m.env.dark)
	case beatMsg:
		return tea.Batch(m.load(), nextBeat(m.env))
	case reply:
		return m.replied(msg)
	case said:
		m.said, m.saidAt = msg, m.env.now()
	case asked:
		// What a person is writing is not taken from under their hands.
		if m.overlay == nil {
			m.overlay = msg.overlay
		}
	case opened:
		m.depart()
		m.stack = append(m.stack, msg.screen)
		return m.load()
	case closed:
		// The wish may come late, when another screen is shown already.
		if at := slices.Index(m.stack, msg.screen); at > 0 {
			m.depart()
			m.stack = slices.Delete(m.stack, at, at+1)
		}
		return m.load()
	case looked:
		return m.load()
	case sent:
		return m.goTo(msg.tab, msg.query)
	case composed:
		if c, ok := m.tabs[sandboxTab].(composer); ok {
			c.fill(msg.eventType, msg.data)
		}
		return m.goTo(sandboxTab, "")
	case tea.KeyPressMsg:
		return m.press(msg)
	case tea.MouseWheelMsg:
		key := tea.KeyPressMsg{Code: tea.KeyDown}
		if msg.Button == tea.MouseWheelUp {
			key.Code = tea.KeyUp
		}
		return m.press(key)
	case tea.PasteMsg:
		if p, ok := m.overlay.(paster); ok {
			p.paste(msg.Content)
		} else if p, ok := m.screen().(paster); ok && m.overlay == nil && m.screen().editing() {
			p.paste(msg.Content)
		}
	}
	return nil
}

// replied notes whether the appliance answers and has the answer dealt with.
func (m *model) replied(r reply) tea.Cmd {
	cmd := r.done()
	switch {
	case m.env.ctx.Err() != nil:
	case r.err == nil || refused(r.err):
		if m.failures > 0 {
			m.failures = 0
			cmd = tea.Batch(cmd, say(good, "the appliance answers again"))
		}
	default:
		if m.failures == 0 || !m.env.now().Before(m.retryAt) {
			m.failures++
			m.retryAt = m.env.now().Add(min(time.Second<<min(m.failures-1, 4), maxBackoff))
		}
	}
	if r.change && r.err == nil {
		// What was changed should be seen at once.
		m.screen().state().abandon()
		return tea.Batch(cmd, m.load())
	}
	return cmd
}

// depart remembers the present place before another one is shown. A form is no
// place to come back to: what was written in it is sent or thrown away.
func (m *model) depart() {
	m.said = said{} // it was about the screen that is left
	if slices.ContainsFunc(m.stack, func(s screen) bool { _, ok := s.(*form); return ok }) {
		return
	}
	m.past = append(m.past, place{m.tab, slices.Clone(m.stack)})
	m.past = m.past[max(len(m.past)-maxPlaces, 0):]
	m.future = nil
}

// travel goes to the place that was remembered last in one direction.
func (m *model) travel(from, to *[]place) tea.Cmd {
	n := len(*from)
	if n == 0 {
		return say(info, "there is no further screen that way")
	}
	m.said = said{}
	there := (*from)[n-1]
	*from = (*from)[:n-1]
	*to = append(*to, place{m.tab, slices.Clone(m.stack)})
	if there.tab != m.tab {
		m.lastTab = m.tab
	}
	m.tab, m.stack = there.tab, slices.Clone(there.stack)
	return m.load()
}

func (m *model) back() tea.Cmd {
	if len(m.stack) > 1 {
		m.depart()
		m.stack = slices.Delete(m.stack, len(m.stack)-1, len(m.stack))
	}
	return m.load()
}

// goTo shows a root screen; with a query, what that selects.
func (m *model) goTo(t tab, query string) tea.Cmd {
	if t != m.tab || len(m.stack) > 1 {
		m.depart()
	}
	if t != m.tab {
		m.lastTab = m.tab
	}
	m.tab = t
	m.stack = []screen{m.tabs[t]}
	if s, ok := m.tabs[t].(seeker); ok && query != "" {
		s.seek(query)
	}
	return m.load()
}

func (m *model) press(key tea.KeyPressMsg) tea.Cmd {
	name := key.String()
	if name == "ctrl+c" {
		return tea.Quit
	}
	if m.overlay != nil {
		cmd, done := m.overlay.press(m.env, key)
		if done {
			m.overlay = nil
		}
		return cmd
	}
	if m.failures > 0 && !m.screen().editing() && changes(name) {
		return say(warn, "not while the appliance does not answer")
	}
	if cmd, taken := m.screen().press(m.env, key); taken || m.screen().editing() {
		return cmd
	}
	switch name {
	case "q":
		if len(m.stack) > 1 {
			return m.back()
		}
		m.overlay = newConfirm("Leave the dashboard?", "Leave", []string{m.env.leaving}, func() tea.Cmd { return tea.Quit })
	case "esc", "alt+esc", "backspace":
		return m.back()
	case "[":
		return m.travel(&m.past, &m.future)
	case "]":
		return m.travel(&m.future, &m.past)
	case "tab":
		return m.goTo((m.tab+1)%tabCount, "")
	case "shift+tab":
		return m.goTo((m.tab+tabCount-1)%tabCount, "")
	case "-":
		return m.goTo(m.lastTab, "")
	case ":":
		m.overlay = newPrompt(":", "a screen and a query: "+strings.ToLower(tabNames[deliveriesTab])+" status:dead", "", m.command)
	case "?":
		m.overlay = newHelp(m.screen())
	case "ctrl+r":
		m.screen().state().abandon()
		m.statsState.abandon()
		m.retryAt = time.Time{}
		return m.load()
	case "ctrl+e":
		m.compact = !m.compact
	case "%":
		m.mouse = !m.mouse
		if m.mouse {
			return say(info, "the mouse scrolls; % gives it back to the terminal")
		}
		return say(info, "the mouse is the terminal's again")
	default:
		if len(name) == 1 && name[0] >= '1' && name[0] < '1'+byte(tabCount) {
			return m.goTo(tab(name[0]-'1'), "")
		}
	}
	return nil
}

// changes reports whether the key asks for a change.
func changes(key string) bool {
	switch key {
	case "r", "R", "t", "T", "x", "p", "i", "D", "X":
		return true
	}
	return false
}

// command carries out what was written behind a colon: the beginning of a
// screen's name, and a query.
func (m *model) command(line string) tea.Cmd {
	name, query, _ := strings.Cut(strings.TrimSpace(line), " ")
	name = strings.ToLower(name)
	switch name {
	case "":
		return nil
	case "q", "quit":
		return tea.Quit
	case "help":
		return m.env.ask(newHelp(m.screen()))
	}
	for t, known := range tabNames {
		if strings.HasPrefix(strings.ToLower(known), name) {
			return m.env.goTo(tab(t), strings.TrimSpace(query))
		}
	}
	return say(warn, fmt.Sprintf("there is no screen %q", text.Cut(name, 20)))
}
