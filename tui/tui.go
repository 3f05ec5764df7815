// Package tui is the dashboard: one screen a file, drawn in the terminal.
//
// It knows the appliance through [Client] and nothing else. No key waits for
// the network: whatever is asked for is asked in the background, and what is on
// the screen stays there until the answer comes. A screen draws only the rows
// that are seen and asks only for those, so that neither the length of the
// history nor the pace of the traffic matters.
//
// Everything foreign passes through package text before it is drawn.
package tui

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// framesPerSecond bounds how often the terminal is written to.
	framesPerSecond = 20
	// fetchTimeout bounds a request to the appliance.
	fetchTimeout = 10 * time.Second
)

// Options say what the dashboard shows, and where. All fields without a stated
// default are needed.
type Options struct {
	Client Client
	// Version is that of this program.
	Version string
	// Address says which appliance it is, for people.
	Address string
	// Leaving says what becomes of the appliance when the dashboard is left;
	// empty: it goes on.
	Leaving string
	// ReadOnly refuses every key that would change something.
	ReadOnly bool
	// ASCII draws without signs beyond ASCII.
	ASCII bool
	// Input and Output are the terminal; nil: standard input and output.
	Input  io.Reader
	Output io.Writer
	// Environ is the environment of the terminal; nil: that of the process.
	Environ []string
	// Width and Height are the window's until the terminal tells its own; zero:
	// it does so.
	Width, Height int
	// Now is the clock; nil: [time.Now].
	Now func() time.Time
}

// Run shows the dashboard until a person leaves it or the context ends. When it
// returns, nothing of it is running any more and the terminal is as it was.
func Run(ctx context.Context, o Options) error {
	m, release := newModel(ctx, o)
	defer release()
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithFPS(framesPerSecond), tea.WithoutSignalHandler()}
	if o.Input != nil {
		options = append(options, tea.WithInput(o.Input))
	}
	if o.Output != nil {
		options = append(options, tea.WithOutput(o.Output))
	}
	if o.Environ != nil {
		options = append(options, tea.WithEnvironment(o.Environ))
	}
	if o.Width > 0 && o.Height > 0 {
		options = append(options, tea.WithWindowSize(o.Width, o.Height))
	}
	_, err := tea.NewProgram(m, options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("show the dashboard: %w", err)
	}
	return nil
}

// WantsASCII reports whether the environment is one whose terminal cannot be
// trusted with signs beyond ASCII: a locale without UTF-8.
func WantsASCII(environ []string) bool {
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToUpper(values[name]); value != "" {
			return !strings.Contains(value, "UTF-8") && !strings.Contains(value, "UTF8")
		}
	}
	return false
}

// An env is what all screens share. Only the goroutine of Update touches it,
// save ctx and work.
type env struct {
	client   Client
	address  string
	version  string
	leaving  string
	readOnly bool
	ascii    bool // the terminal shows nothing beyond ASCII
	now      func() time.Time
	glyphs   *glyphs
	styles   *styles
	dark     bool // the background of the terminal
	// wishes are what the message that is dealt with asks of the model.
	wishes []tea.Msg
	// stats are the last known ones; nil before the first.
	stats *api.Stats

	// ctx ends with the dashboard, and work is what runs in the background.
	ctx  context.Context
	work *work
}

// work counts what runs in the background, so that its end can be waited for.
type work struct {
	mu    sync.Mutex
	ended bool
	wait  sync.WaitGroup
}

// begin reports whether there may still be new work; if so, done ends it.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.wait.Add(1)
	}
	return !w.ended
}

func (w *work) done() { w.wait.Done() }

// end waits for what runs, and lets nothing more begin.
func (w *work) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.wait.Wait()
}

func newEnv(ctx context.Context, o Options) *env {
	e := &env{
		client: o.Client, address: o.Address, version: o.Version, leaving: cmp.Or(o.Leaving, "The appliance goes on without it."), readOnly: o.ReadOnly, ascii: o.ASCII,
		now: o.Now, glyphs: newGlyphs(!o.ASCII), styles: newStyles(true), dark: true, ctx: ctx, work: &work{},
	}
	if e.now == nil {
		e.now = time.Now
	}
	return e
}

func (e *env) paint(r role, s string) string { return e.styles.paint(r, s) }

// may says why the person at the keyboard must not do what the role is needed
// for; empty: they may.
func (e *env) may(need webhook.Role) string {
	switch {
	case e.readOnly && need != webhook.Viewer:
		return "the dashboard was started with --read-only"
	case e.stats != nil && !e.stats.Role.May(need):
		return fmt.Sprintf("this needs the role %s; yours is %s", need, e.stats.Role)
	}
	return ""
}

// run does the work in the background.
func (e *env) run(do func(context.Context) tea.Msg) tea.Cmd {
	return func() tea.Msg {
		if !e.work.begin() {
			return nil
		}
		defer e.work.done()
		return do(e.ctx)
	}
}

// A loader knows how it stands with what a screen shows.
type loader struct {
	busy  bool
	since time.Time // when the request that is under way began
	at    time.Time // when what is shown was fetched; zero before the first
	err   error     // of the last request
	turn  int
	stop  context.CancelFunc
}

// A reply is the end of a request, to be dealt with in the goroutine of Update.
type reply struct {
	err error
	// change says that the request was to change something.
	change bool
	done   func() tea.Cmd
}

// fetch asks the appliance in the background, unless it is being asked already.
// The answer goes to take, unless it has been overtaken by then.
func fetch[T any](e *env, l *loader, get func(context.Context) (T, error), take func(T) tea.Cmd) tea.Cmd {
	if l.busy {
		return nil
	}
	l.busy, l.since = true, e.now()
	l.turn++
	turn := l.turn
	ctx, stop := context.WithTimeout(e.ctx, fetchTimeout)
	l.stop = stop
	return e.run(func(context.Context) tea.Msg {
		defer stop()
		value, err := get(ctx)
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil // nobody wants it any more, and it tells nothing
		}
		return reply{err: err, done: func() tea.Cmd {
			if l.turn != turn {
				return nil
			}
			l.busy, l.err = false, err
			if err != nil {
				return nil
			}
			l.at = e.now()
			return take(value)
		}}
	})
}

// abandon forgets the request that is under way, so that another can begin.
func (l *loader) abandon() {
	if l.busy {
		l.stop()
		l.busy = false
		l.turn++
	}
}

// act has the appliance change something, if the person may, and says what came
// of it.
func (e *env) act(need webhook.Role, do func(context.Context) (said string, err error)) tea.Cmd {
	return e.change(need, func(ctx context.Context) (func() tea.Cmd, error) {
		said, err := do(ctx)
		return func() tea.Cmd { return say(good, said) }, err
	})
}

// change is act with something of its own to do afterwards.
func (e *env) change(need webhook.Role, do func(context.Context) (done func() tea.Cmd, err error)) tea.Cmd {
	if why := e.may(need); why != "" {
		return say(warn, why)
	}
	return e.run(func(ctx context.Context) tea.Msg {
		ctx, stop := context.WithTimeout(ctx, fetchTimeout)
		defer stop()
		done, err := do(ctx)
		if err != nil {
			done = func() tea.Cmd { return say(bad, reason(err)) }
		}
		return reply{err: err, change: true, done: done}
	})
}

// reason says why a request failed. Which address it went to is left out: it
// would push what matters off the line.
func reason(err error) string {
	var call *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "the appliance did not answer in time"
	case errors.As(err, &call):
		return strings.Replace(err.Error(), call.Error(), call.Err.Error(), 1)
	}
	return err.Error()
}

// refused reports whether the error is an answer of the appliance, as opposed to
// there being none.
func refused(err error) bool {
	var answer interface{ Refused() bool }
	return errors.As(err, &answer) && answer.Refused()
}

// missing reports whether the appliance answered that there is no such thing.
func missing(err error) bool {
	var answer interface{ NotFound() bool }
	return errors.As(err, &answer) && answer.NotFound()
}

// A said is a line at the bottom of the screen.
type said struct {
	role role
	text string
}

// say shows a line at the bottom of the screen for a while.
func say(r role, text string) tea.Cmd { return func() tea.Msg { return said{r, text} } }

// at has the model deal with the wish before it looks at another key. A command
// would come too late: whoever types "/dead" in one go means "dead" to be
// written in the filter, not to be pressed in the list. There is nothing left
// to do for the command that it returns.
func (e *env) at(wish tea.Msg) tea.Cmd {
	e.wishes = append(e.wishes, wish)
	return nil
}

// An opened is a screen that is to be shown above the present one.
type opened struct{ screen screen }

func (e *env) open(s screen) tea.Cmd { return e.at(opened{s}) }

// A closed is a screen's wish to be left.
type closed struct{ screen screen }

func (e *env) leave(s screen) tea.Cmd { return e.at(closed{s}) }

// A looked is a wish to see at once what the appliance has to tell.
type looked struct{}

func look() tea.Msg { return looked{} }

// An asked is an overlay that is to be shown.
type asked struct{ overlay overlay }

func (e *env) ask(o overlay) tea.Cmd { return e.at(asked{o}) }

// A sent is a wish to go to another root screen, there to show what the query
// selects.
type sent struct {
	tab   tab
	query string
}

func (e *env) goTo(t tab, query string) tea.Cmd { return e.at(sent{t, query}) }

// A composed is an event that is to be filled into the sandbox.
type composed struct {
	eventType string
	data      json.RawMessage
}

// newModel returns the program's model, and what waits for the end of all that
// it has started.
func newModel(ctx context.Context, o Options) (m *model, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	e := newEnv(ctx, o)
	m = &model{env: e, width: o.Width, height: o.Height}
	m.tabs = [...]screen{
		overviewTab:    newOverview(e),
		eventsTab:      newEvents(e),
		deliveriesTab:  newDeliveries(e),
		subscribersTab: newSubscribers(e),
		deadTab:        newDead(e),
		sandboxTab:     newSandbox(e),
		rejectionsTab:  newRejections(e),
	}
	m.stack = []screen{m.tabs[overviewTab]}
	return m, func() {
		cancel()
		e.work.end()
	}
}
