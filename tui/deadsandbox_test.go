package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// letterbox is an appliance in memory, as far as the dead letters and the
// sandbox need one. It notes what it is asked for.
type letterbox struct {
	Client
	groups  []api.DeadGroup
	letters []api.Delivery
	matched int
	queries []string
	replays []api.DeadReplay
	purges  []api.DeadFilter

	samples    []api.Sample
	samplesErr error
	sends      []api.SandboxSend
	answer     api.SandboxAnswer
	sendErr    error
	event      api.EventDetail
	looks      int
}

func (c *letterbox) Stats(context.Context) (api.Stats, error) {
	return api.Stats{Role: webhook.Administrator, Version: "test"}, nil
}
func (c *letterbox) DeadGroups(context.Context) ([]api.DeadGroup, error) { return c.groups, nil }
func (c *letterbox) DeliveriesPage(_ context.Context, f api.DeliveryFilter, _ api.PageQuery) (api.List[api.Delivery], error) {
	c.queries = append(c.queries, string(f.State)+" "+f.Q)
	return api.List[api.Delivery]{Items: c.letters}, nil
}
func (c *letterbox) ReplayDeadLetters(_ context.Context, r api.DeadReplay) (api.Replayed, error) {
	c.replays = append(c.replays, r)
	if r.DryRun {
		return api.Replayed{Matched: c.matched}, nil
	}
	c.groups = nil
	return api.Replayed{Matched: c.matched, Replayed: c.matched}, nil
}
func (c *letterbox) PurgeDeadLetters(_ context.Context, f api.DeadFilter) (api.Purged, error) {
	c.purges = append(c.purges, f)
	if f.DryRun {
		return api.Purged{Matched: c.matched}, nil
	}
	return api.Purged{Matched: c.matched, Purged: c.matched}, nil
}
func (c *letterbox) Samples(context.Context) ([]api.Sample, error) { return c.samples, c.samplesErr }
func (c *letterbox) SandboxSend(_ context.Context, s api.SandboxSend) (api.SandboxAnswer, error) {
	c.sends = append(c.sends, s)
	return c.answer, c.sendErr
}
func (c *letterbox) Event(context.Context, webhook.EventID) (api.EventDetail, error) {
	c.looks++
	return c.event, nil
}
func (c *letterbox) Delivery(context.Context, webhook.DeliveryID) (api.DeliveryDetail, error) {
	return api.DeliveryDetail{}, nil
}

// sorry is an answer of the appliance that refuses.
type sorry struct{ notFound bool }

func (sorry) Error() string    { return "no (refused)" }
func (sorry) Refused() bool    { return true }
func (r sorry) NotFound() bool { return r.notFound }

// counter is a dashboard without a terminal, with a clock of its own.
type counter struct {
	t     *testing.T
	m     *model
	clock time.Time
}

func newDesk(t *testing.T, c Client, at tab) *counter {
	d := &counter{t: t, clock: time.Unix(1_800_000_000, 0)}
	m, release := newModel(t.Context(), Options{Client: c, Address: "here", Width: 120, Height: 40, Now: func() time.Time { return d.clock }})
	t.Cleanup(release)
	d.m = m
	m.tab, m.stack = at, []screen{m.tabs[at]}
	d.run(m.load())
	return d
}

// run carries out a command and all that follow from it.
func (d *counter) run(cmd tea.Cmd) {
	d.t.Helper()
	if cmd == nil {
		return
	}
	msg := cmd()
	if batch, ok := msg.(tea.BatchMsg); ok {
		for _, cmd := range batch {
			d.run(cmd)
		}
		return
	}
	if msg != nil {
		_, next := d.m.Update(msg)
		d.run(next)
	}
}

// compose fills the sandbox, as a screen does.
func (d *counter) compose(eventType string, data json.RawMessage) {
	d.t.Helper()
	d.run(d.m.env.compose(eventType, data))
	d.run(look)
}

func (d *counter) beat() {
	d.clock = d.clock.Add(beat)
	d.run(d.m.load())
}

// press presses keys, named as Bubble Tea names them.
func (d *counter) press(names ...string) {
	d.t.Helper()
	named := map[string]tea.KeyPressMsg{
		"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "tab": {Code: tea.KeyTab}, "space": {Code: tea.KeySpace, Text: " "},
		"left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight}, "down": {Code: tea.KeyDown}, "up": {Code: tea.KeyUp},
		"backspace": {Code: tea.KeyBackspace}, "ctrl+up": {Code: tea.KeyUp, Mod: tea.ModCtrl}, "ctrl+down": {Code: tea.KeyDown, Mod: tea.ModCtrl},
	}
	for _, name := range names {
		key, ok := named[name]
		if letter, ctrl := strings.CutPrefix(name, "ctrl+"); !ok && ctrl {
			key = tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl}
		} else if !ok {
			key = tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
		}
		_, cmd := d.m.Update(key)
		d.run(cmd)
	}
}

func (d *counter) write(s string) {
	d.t.Helper()
	for _, r := range s {
		d.press(string(r))
	}
}

func (d *counter) screen() string { return ansi.Strip(strings.Join(d.m.render(), "\n")) }

func (d *counter) shows(want ...string) {
	d.t.Helper()
	for _, w := range want {
		if !strings.Contains(d.screen(), w) {
			d.t.Errorf("the screen does not show %q:\n%s", w, d.screen())
		}
	}
}

// fits fails unless the window is filled exactly at every size.
func (d *counter) fits() {
	d.t.Helper()
	for _, w := range []int{40, 47, 59, 60, 80, 99, 100, 101, 140, 200} {
		for _, h := range []int{10, 11, 13, 17, 20, 24, 30, 50} {
			d.m.Update(tea.WindowSizeMsg{Width: w, Height: h})
			lines := d.m.render()
			if len(lines) != h {
				d.t.Fatalf("%dx%d: %d lines", w, h, len(lines))
			}
			for i, line := range lines {
				if width := ansi.StringWidth(line); width > w {
					d.t.Fatalf("%dx%d: line %d is %d wide: %q", w, h, i, width, line)
				}
				if strings.ContainsAny(ansi.Strip(line), "\x1b\u202e\a\r\n\t") {
					d.t.Fatalf("%dx%d: line %d is not clean: %q", w, h, i, line)
				}
			}
		}
	}
	d.m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
}

func letterGroups() []api.DeadGroup {
	at := api.Time{Time: time.Unix(1_799_992_800, 0)}
	return []api.DeadGroup{
		{SubscriberID: "sub_1", SubscriberName: "acme-billing", Outcome: webhook.Timeout, Count: 38, Oldest: at, Newest: at},
		{SubscriberID: "sub_2", SubscriberName: "globex\x1b[31m\u202e", Outcome: webhook.HTTPStatus, Code: 503, Count: 3, Oldest: at, Newest: at},
	}
}

func letters(n int) []api.Delivery {
	var rows []api.Delivery
	for i := range n {
		rows = append(rows, api.Delivery{
			ID: webhook.DeliveryID(fmt.Sprintf("dlv_%03d", n-i)), EventType: "支付.完成", SubscriberID: "sub_1", SubscriberName: "acme\x1b[31m",
			State: webhook.Dead, LastOutcome: webhook.Timeout, LastError: "a\u202eb", AttemptCount: 6,
		})
	}
	return rows
}

func TestReplayOfAGroupShowsTheExactCountAndSelectsExactlyTheGroup(t *testing.T) {
	c := &letterbox{groups: letterGroups(), matched: 1038}
	d := newDesk(t, c, deadTab)
	d.shows("acme-billing", "timeout", "38", "2h ago", "HTTP 503", "2 groups · 41 dead letters")
	d.press("r")
	d.shows("Replay 1,038 dead letters?", "[100/s]", "acme-billing · timeout")
	d.press("k", "right", "enter")
	want := api.DeadFilter{Filter: api.DeliveryFilter{Subscriber: "sub_1", Outcome: webhook.Timeout}}
	dry := want
	dry.DryRun = true
	expect(t, c.replays, []api.DeadReplay{{DeadFilter: dry}, {DeadFilter: want, Rate: 10}})
	d.shows("1,038 dead letters are on the way again", "No dead letters.")
}

func TestReplayOfMarkedGroupsSelectsEachOfThem(t *testing.T) {
	c := &letterbox{groups: letterGroups(), matched: 4}
	d := newDesk(t, c, deadTab)
	d.press("space", "space", "r")
	d.shows("Replay 8 dead letters?", "[at once]")
	d.press("right", "enter")
	second := api.DeadFilter{Filter: api.DeliveryFilter{Subscriber: "sub_2", Outcome: webhook.HTTPStatus, Code: 503}}
	if len(c.replays) != 4 {
		t.Fatalf("%d requests, want two that count and two that replay", len(c.replays))
	}
	expect(t, c.replays[3], api.DeadReplay{DeadFilter: second})
}

func TestNothingIsReplayedOrPurgedUnlessItIsChosen(t *testing.T) {
	c := &letterbox{groups: letterGroups(), matched: 4}
	d := newDesk(t, c, deadTab)
	for _, key := range []string{"r", "R", "X"} {
		d.press(key, "enter")
		d.press(key, "esc")
	}
	for _, r := range c.replays {
		if !r.DryRun {
			t.Errorf("replayed: %+v", r)
		}
	}
	for _, f := range c.purges {
		if !f.DryRun {
			t.Errorf("purged: %+v", f)
		}
	}
	if len(c.replays) != 4 || len(c.purges) != 2 {
		t.Errorf("%d and %d requests counted, want 4 and 2", len(c.replays), len(c.purges))
	}
}

func TestAPurgeNeedsItsCountWrittenOut(t *testing.T) {
	c := &letterbox{groups: letterGroups(), matched: 41}
	d := newDesk(t, c, deadTab)
	d.press("X")
	d.shows("Purge 41 dead letters?", "acme-billing · timeout", "deleted for good", "events stay")
	d.write("40")
	d.press("tab", "enter")
	if len(c.purges) != 1 {
		t.Fatal("purged with the wrong count")
	}
	d.press("X")
	d.write("41")
	d.press("enter")
	group := api.DeliveryFilter{Subscriber: "sub_1", Outcome: webhook.Timeout}
	expect(t, c.purges, []api.DeadFilter{{Filter: group, DryRun: true}, {Filter: group, DryRun: true}, {Filter: group}})
	d.shows("41 dead letters are gone")
}

func TestAGroupOpensAsTheListOfItsLetters(t *testing.T) {
	c := &letterbox{groups: letterGroups(), letters: letters(3), matched: 2}
	d := newDesk(t, c, deadTab)
	d.press("j", "enter")
	if got, want := c.queries[len(c.queries)-1], "dead sub:sub_2 outcome:http_status code:503"; got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
	d.press("space", "space", "r", "right", "enter")
	expect(t, c.replays[1], api.DeadReplay{DeadFilter: api.DeadFilter{IDs: []webhook.DeliveryID{"dlv_003", "dlv_002"}}})
	d.press("R", "right", "enter")
	expect(t, c.replays[3], api.DeadReplay{DeadFilter: api.DeadFilter{Filter: api.DeliveryFilter{Q: "sub:sub_2 outcome:http_status code:503"}}})
	d.press("esc")
	d.beat()
	d.shows("No dead letters.")
}

func TestDeadLettersFitEveryWindow(t *testing.T) {
	c := &letterbox{matched: 1234567}
	d := newDesk(t, c, deadTab)
	d.fits()
	d.press("v")
	d.fits()
	c.groups, c.letters = letterGroups(), letters(100)
	d = newDesk(t, c, deadTab)
	d.fits()
	for _, key := range []string{"r", "X"} {
		d.press(key)
		d.fits()
		for _, size := range [][2]int{{40, 10}, {200, 50}} {
			d.m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			d.shows("Cancel")
		}
		d.press("esc")
	}
	d.press("v", "space")
	d.fits()
}

// expect compares as JSON, in which these types are compared by others.
func expect(t *testing.T, got, want any) {
	t.Helper()
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}
