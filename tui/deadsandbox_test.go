package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

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

func letterGroups() []api.DeadGroup {
	at := api.Time{Time: began.Add(-2 * time.Hour)}
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

func TestGroupsAreToldApartByWhatWentWrong(t *testing.T) {
	at := api.Time{Time: began}
	group := api.DeadGroup{SubscriberID: "sub_1", SubscriberName: "acme", Outcome: webhook.DNS, Fingerprint: `lookup …: a "b" \ c`, Count: 1, Oldest: at, Newest: at}
	other := group
	other.Fingerprint = "server misbehaving"
	c := &letterbox{groups: []api.DeadGroup{group, other}, letters: letters(1), matched: 1}
	d := driveAt(t, c, deadTab, 120, 40)
	d.see(t, `dns: lookup …: a "b" \ c`, "dns: server misbehaving")
	d.press("space", "r")
	d.see(t, "Replay 1 dead letter?", "acme · dns: lookup …")
	want := api.DeadFilter{Filter: api.DeliveryFilter{Subscriber: "sub_1", Outcome: webhook.DNS, Fingerprint: group.Fingerprint}, DryRun: true}
	expect(t, c.replays, []api.DeadReplay{{DeadFilter: want}})
	d.press("esc", "g", "enter")
	expect(t, c.queries[len(c.queries)-1:], []string{`dead sub:sub_1 outcome:dns fingerprint:"lookup …: a \"b\" \\ c"`})
}

// TestTheCauseOfAGroupIsReadToItsEnd: two may differ only there.
func TestTheCauseOfAGroupIsReadToItsEnd(t *testing.T) {
	at := api.Time{Time: began}
	group := api.DeadGroup{SubscriberID: "sub_1", SubscriberName: "acme", Outcome: webhook.Transformation, Fingerprint: "cannot iterate over: null", Count: 1, Oldest: at, Newest: at}
	other := group
	other.Fingerprint = "cannot iterate over: number\x1b[31m" + strings.Repeat(" and more", 30)
	d := driveAt(t, &letterbox{groups: []api.DeadGroup{group, other}}, deadTab, 80, 24)
	d.see(t, "transform: cannot iterate over: null")
	d.press("j")
	d.see(t, `transform: cannot iterate over: number\x1b[31m`)
	d.miss(t, "null")
	d.fits(t)
}

func TestReplayOfAGroupShowsTheExactCountAndSelectsExactlyTheGroup(t *testing.T) {
	c := &letterbox{groups: letterGroups(), matched: 1038}
	d := driveAt(t, c, deadTab, 120, 40)
	d.see(t, "acme-billing", "timeout", "38", "2h ago", "HTTP 503", "2 groups · 41 dead letters")
	d.press("r")
	d.see(t, "Replay 1,038 dead letters?", "[100/s]", "acme-billing · timeout")
	d.press("k", "right", "enter")
	want := api.DeadFilter{Filter: api.DeliveryFilter{Subscriber: "sub_1", Outcome: webhook.Timeout}}
	dry := want
	dry.DryRun = true
	expect(t, c.replays, []api.DeadReplay{{DeadFilter: dry}, {DeadFilter: want, Rate: 10}})
	d.see(t, "1,038 dead letters are on the way again", "No dead letters.")
}

func TestReplayOfMarkedGroupsSelectsEachOfThem(t *testing.T) {
	c := &letterbox{groups: letterGroups(), matched: 4}
	d := driveAt(t, c, deadTab, 120, 40)
	d.press("space", "space", "r")
	d.see(t, "Replay 8 dead letters?", "[at once]")
	d.press("right", "enter")
	second := api.DeadFilter{Filter: api.DeliveryFilter{Subscriber: "sub_2", Outcome: webhook.HTTPStatus, Code: 503}}
	if len(c.replays) != 4 {
		t.Fatalf("%d requests, want two that count and two that replay", len(c.replays))
	}
	expect(t, c.replays[3], api.DeadReplay{DeadFilter: second})
}

func TestNothingIsReplayedOrPurgedUnlessItIsChosen(t *testing.T) {
	c := &letterbox{groups: letterGroups(), matched: 4}
	d := driveAt(t, c, deadTab, 120, 40)
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
	d := driveAt(t, c, deadTab, 120, 40)
	d.press("X")
	d.see(t, "Purge 41 dead letters?", "acme-billing · timeout", "deleted for good", "events stay")
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
	d.see(t, "41 dead letters are gone")
}

func TestAGroupOpensAsTheListOfItsLetters(t *testing.T) {
	c := &letterbox{groups: letterGroups(), letters: letters(3), matched: 2}
	d := driveAt(t, c, deadTab, 120, 40)
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
	d.see(t, "No dead letters.")
}

func TestDeadLettersFitEveryWindow(t *testing.T) {
	c := &letterbox{matched: 1234567}
	d := driveAt(t, c, deadTab, 120, 40)
	d.fits(t)
	d.press("v")
	d.fits(t)
	c.groups, c.letters = letterGroups(), letters(100)
	d = driveAt(t, c, deadTab, 120, 40)
	d.fits(t)
	for _, key := range []string{"r", "X"} {
		d.press(key)
		d.fits(t)
		for _, size := range [][2]int{{40, 10}, {200, 50}} {
			d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			d.see(t, "Cancel")
		}
		d.press("esc")
	}
	d.press("v", "space")
	d.fits(t)
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
