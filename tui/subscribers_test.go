package tui

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

const deskSecret = "whsec_bm90IGEgc2VjcmV0LCBidXQgbG9uZyBlbm91Z2ggZm9yIG9uZQ=="

// A desk is an appliance that knows subscribers and nothing else, and notes
// what it was asked for.
type desk struct {
	Client
	subscribers []api.Subscriber
	refuse      error
	added       []api.SubscriberChange
	changed     []api.SubscriberChange
	rotated     []api.Rotation
	asked       []string
	pages       int // how many were asked for
}

// A refusal is an answer of the desk that names faults by their fields.
type refusal map[string]string

func (r refusal) Error() string             { return "refused" }
func (r refusal) Refused() bool             { return true }
func (r refusal) Faults() map[string]string { return r }

func (d *desk) Stats(context.Context) (api.Stats, error) {
	return api.Stats{Role: webhook.Administrator, Now: api.Time{Time: began}}, nil
}

func (d *desk) SubscribersPage(_ context.Context, page api.PageQuery) (api.List[api.Subscriber], error) {
	d.pages++
	var l api.List[api.Subscriber]
	for _, s := range d.subscribers {
		if page.Cursor != "" && string(s.ID) >= page.Cursor {
			continue
		}
		if len(l.Items) == page.Limit {
			l.NextCursor = string(l.Items[len(l.Items)-1].ID)
			break
		}
		l.Items = append(l.Items, s)
	}
	return l, nil
}

func (d *desk) Subscriber(_ context.Context, id webhook.SubscriberID) (api.Subscriber, error) {
	for _, s := range d.subscribers {
		if s.ID == id {
			return s, nil
		}
	}
	return api.Subscriber{}, refusal{}
}

func (d *desk) DeliveriesPage(context.Context, api.DeliveryFilter, api.PageQuery) (api.List[api.Delivery], error) {
	return api.List[api.Delivery]{Items: []api.Delivery{{ID: "dlv_1", EventType: "order.\x1b[31mpaid", State: webhook.Pending}}}, nil
}

func (d *desk) Delivery(_ context.Context, id webhook.DeliveryID) (api.DeliveryDetail, error) {
	return api.DeliveryDetail{Delivery: api.Delivery{ID: id, EventType: "pintle.test"}}, nil
}

func (d *desk) AddSubscriber(_ context.Context, c api.SubscriberChange) (api.Subscriber, error) {
	if d.refuse != nil {
		return api.Subscriber{}, d.refuse
	}
	d.added = append(d.added, c)
	s := api.Subscriber{ID: webhook.SubscriberID(fmt.Sprintf("sub_%04d", 9000+len(d.added))), URL: *c.URL, Events: *c.Events, Active: true}
	d.subscribers = append([]api.Subscriber{s}, d.subscribers...)
	s.Secret = deskSecret
	return s, nil
}

func (d *desk) UpdateSubscriber(_ context.Context, id webhook.SubscriberID, c api.SubscriberChange) (api.Subscriber, error) {
	d.changed = append(d.changed, c)
	return d.Subscriber(context.Background(), id)
}

func (d *desk) RotateSecret(_ context.Context, id webhook.SubscriberID, r api.Rotation) (api.Subscriber, error) {
	d.rotated = append(d.rotated, r)
	return api.Subscriber{ID: id, Secret: deskSecret}, nil
}

func (d *desk) SubscriberSecret(context.Context, webhook.SubscriberID) (webhook.Secret, error) {
	return deskSecret, nil
}

func (d *desk) note(what string, id webhook.SubscriberID) error {
	d.asked = append(d.asked, what+" "+string(id))
	return nil
}

func (d *desk) PauseSubscriber(_ context.Context, id webhook.SubscriberID, _ string) (api.Subscriber, error) {
	return api.Subscriber{}, d.note("pause", id)
}

func (d *desk) ResumeSubscriber(_ context.Context, id webhook.SubscriberID) (api.Subscriber, error) {
	return api.Subscriber{}, d.note("resume", id)
}

func (d *desk) RemoveSubscriber(_ context.Context, id webhook.SubscriberID) error {
	return d.note("remove", id)
}

func (d *desk) TestSubscriber(_ context.Context, id webhook.SubscriberID) (api.Published, error) {
	return api.Published{Deliveries: []api.PublishedDelivery{{ID: "dlv_7", SubscriberID: id}}}, d.note("test", id)
}

// A sitting is a person at the dashboard of a desk.
type sitting struct {
	*driver
	desk *desk
}

func sit(t testing.TB, d *desk) *sitting {
	return &sitting{driveAt(t, d, subscribersTab, 100, 30), d}
}

func acme() api.Subscriber {
	return api.Subscriber{
		ID: "sub_0001", URL: "https://acme.example/in", Events: []webhook.Pattern{"order.*", "user.created"}, Active: true, Description: "acme billing", Hold: true, AutoPause: true,
		Headers: map[string]string{"Authorization": "Bearer hush-hush", "X-Env": "prod"}, Timeout: api.Duration(5 * time.Second),
		Health: &api.Health{Attempts: 10, Failed: 1, P95MS: 120, Pending: 812, Dead: 3, LastOutcome: webhook.OK, LastCode: 200},
	}
}

func TestFormCreatesWhatWasTyped(t *testing.T) {
	s := sit(t, &desk{})
	s.see(t, "No subscribers yet. n adds one")
	s.press("n", "https://a.example/hooks", "enter", "Réception n° 1", "enter", "enter", "order.*, user.created", "enter", "bot.**", "enter", "enter")
	s.press("c1", "enter")
	s.send(tea.PasteMsg{Content: "s3cret"})
	s.miss(t, "s3cret")
	s.press("enter", "X-Env: prod", "tab", "10s", "enter", "3", "enter", "1s 2m", "enter", "right", "enter", "right", "ctrl+s")
	want := []api.SubscriberChange{{
		URL: new("https://a.example/hooks"), Description: new("Réception n° 1"), Events: &[]webhook.Pattern{"order.*", "user.created", "bot.**"},
		ClientID: new("c1"), Secret: new("s3cret"), Headers: &map[string]string{"X-Env": "prod"}, Timeout: new(api.Duration(10 * time.Second)),
		Concurrency: new(3), Schedule: &[]api.Duration{api.Duration(time.Second), api.Duration(2 * time.Minute)}, FinalOn4xx: new(true), Active: new(false),
	}}
	if diff := cmp.Diff(want, s.desk.added); diff != "" {
		t.Fatalf("added (-want +got):\n%s\n%s", diff, s.text())
	}
	s.see(t, "Secret of the new subscriber", deskSecret)
	s.press("T")
	if !cmp.Equal(s.desk.asked, []string{"test sub_9001"}) {
		t.Errorf("asked for %v", s.desk.asked)
	}
	s.see(t, "pintle.test")
	s.press("esc")
	s.see(t, "a.example/hooks", "1 subscriber")
}

func TestFieldsThatWereNotTouchedAreNotSent(t *testing.T) {
	s := sit(t, &desk{subscribers: []api.Subscriber{acme()}})
	s.press("E")
	s.see(t, "Authorization: ***")
	s.miss(t, "hush-hush")
	s.press("down", "down", "down", "down", "down")
	s.see(t, "one per line: Name: value")
	s.send(tea.PasteMsg{Content: "\nX-More: 1"})
	s.press("ctrl+s")
	want := []api.SubscriberChange{{Headers: &map[string]string{"Authorization": "Bearer hush-hush", "X-Env": "prod", "X-More": "1"}}}
	if diff := cmp.Diff(want, s.desk.changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s\n%s", diff, s.text())
	}
	s.press("E", "ctrl+s")
	if len(s.desk.changed) != 1 {
		t.Errorf("sent without a change: %v", s.desk.changed[1:])
	}
	s.see(t, "nothing was changed")
}

func TestRefusalIsShownAtItsFieldsAndKeepsWhatWasTyped(t *testing.T) {
	s := sit(t, &desk{refuse: refusal{
		"url": "is not one that may be called", "events[0]": "is too wide", "colour": "unknown",
	}})
	s.press("n", "https://10.0.0.1/", "tab", "tab", "*", "ctrl+s")
	f := s.screen().(*form)
	if got := f.field("url").fault; got != "is not one that may be called" || f.focus != 0 {
		t.Errorf("url: %q, focus %d", got, f.focus)
	}
	if got := f.field("events").fault; got != "[0]: is too wide" {
		t.Errorf("events: %q", got)
	}
	s.see(t, "! is not one that may be called", "! colour: unknown", "https://10.0.0.1/")
	s.press("x")
	s.miss(t, "! is not one that may be called")
	s.desk.refuse = context.DeadlineExceeded
	s.press("ctrl+s")
	s.see(t, "whether it was done is not known")
}

func TestFaultsAreFoundBeforeAnythingIsSent(t *testing.T) {
	s := sit(t, &desk{})
	s.press("n", "ftp://a", "tab", "tab", "*.made", "tab", "tab", "tab", "Nonsense", "tab", "soon", "tab", "many", "tab", "1s later", "ctrl+s")
	s.see(t, "must begin with http://", "a wildcard is the whole last segment", "line 1 is not Name: value", `"soon" is not a duration`, "not a whole number", `"later" is not a duration`,
		"6 fields need another look")
	if len(s.desk.added) > 0 {
		t.Error("it was sent")
	}
}

func TestLeavingAFormAsksOnlyWhenSomethingWouldBeLost(t *testing.T) {
	s := sit(t, &desk{})
	s.press("n", "esc")
	if _, still := s.screen().(*form); still || s.overlay != nil {
		t.Error("an empty form is not left at once")
	}
	s.press("n", "https", "esc")
	s.see(t, "Throw away what you wrote?")
	s.press("enter")
	s.see(t, "https")
	s.press("esc", "tab", "enter")
	if _, still := s.screen().(*form); still {
		t.Error("the form is still there")
	}
}

func TestFormTakesOnlyEscWhileItIsSent(t *testing.T) {
	s := sit(t, &desk{subscribers: []api.Subscriber{acme()}})
	s.press("n", "https://a.example", "tab", "tab", "*")
	s.hold = true
	s.press("ctrl+s", "zzz", "tab")
	s.see(t, "sending …", "https://a.example")
	f := s.screen().(*form)
	if got := f.field("events").value(); got != "*" || f.focus != 2 {
		t.Errorf("a key was taken: events %q, focus %d", got, f.focus)
	}
	s.hold = false
	s.press("esc")
	if s.screen() == screen(f) {
		t.Error("esc does not leave it")
	}
	s.press("enter")
	for _, cmd := range s.held {
		s.run(cmd)
	}
	// The answer comes late, and must close nothing else; the secret is shown
	// for there is no other way to see it.
	s.see(t, deskSecret)
	if _, still := s.screen().(*subscriber); !still {
		t.Error("it closed another screen")
	}
	if len(s.desk.added) != 1 {
		t.Errorf("added %d", len(s.desk.added))
	}
}

func TestSecretIsGoneWhenItsBoxCloses(t *testing.T) {
	for name, keys := range map[string][2][]string{
		"new":     {{"n", "https://a.example", "tab", "tab", "*", "ctrl+s"}, {"x", "y", "enter"}},
		"rotated": {{"i", "tab", "enter"}, {"esc"}},
		"shown":   {{"enter", "$"}, {"j"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sit(t, &desk{subscribers: []api.Subscriber{acme()}})
			s.press(keys[0]...)
			s.see(t, deskSecret)
			if !holds(reflect.ValueOf(s.model), deskSecret, map[uintptr]bool{}) {
				t.Fatal("the search does not find it while it is shown")
			}
			for _, key := range keys[1][:len(keys[1])-1] {
				s.press(key)
				s.see(t, deskSecret)
			}
			s.press(keys[1][len(keys[1])-1])
			s.miss(t, deskSecret)
			if holds(reflect.ValueOf(s.model), deskSecret, map[uintptr]bool{}) {
				t.Error("the model still holds it")
			}
		})
	}
}

// holds reports whether the text is in anything that can be reached.
func holds(v reflect.Value, s string, seen map[uintptr]bool) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.Contains(v.String(), s)
	case reflect.Pointer:
		if v.IsNil() || seen[v.Pointer()] {
			return false
		}
		seen[v.Pointer()] = true
		return holds(v.Elem(), s, seen)
	case reflect.Interface:
		return !v.IsNil() && holds(v.Elem(), s, seen)
	case reflect.Struct:
		for i := range v.NumField() {
			if holds(v.Field(i), s, seen) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if holds(v.Index(i), s, seen) {
				return true
			}
		}
	}
	return false
}

func TestChangesAskFirst(t *testing.T) {
	paused := acme()
	paused.ID, paused.Active, paused.Description = "sub_0000", false, "支付"
	s := sit(t, &desk{subscribers: []api.Subscriber{acme(), paused}})
	s.press("p", "enter", "D", "enter", "D", "acme", "enter")
	if len(s.desk.asked) > 0 {
		t.Errorf("without an answer: %v", s.desk.asked)
	}
	s.press("D")
	s.see(t, "812 deliveries wait for it and are cancelled.", "Write acme billing to go on")
	s.press("acme billing", "enter", "p", "tab", "enter", "down", "p", "D")
	s.see(t, "Write sub_0000 to go on")
	s.press("esc", "i", "down", "tab", "enter", "enter")
	if want := []string{"remove sub_0001", "pause sub_0001", "resume sub_0000"}; !cmp.Equal(s.desk.asked, want) {
		t.Errorf("got %v, want %v", s.desk.asked, want)
	}
	if want := []api.Rotation{{Overlap: new(api.Duration(7 * 24 * time.Hour))}}; !cmp.Equal(s.desk.rotated, want) {
		t.Errorf("rotated %v", s.desk.rotated)
	}
}

func TestWhoMustNotChangeIsToldSoBeforeWriting(t *testing.T) {
	for _, key := range []string{"n", "E", "i", "D", "p", "T"} {
		s := sit(t, &desk{subscribers: []api.Subscriber{acme()}})
		s.env.readOnly = true
		s.press(key)
		if s.overlay != nil || len(s.stack) > 1 || len(s.desk.asked) > 0 {
			t.Errorf("%s goes on", key)
		}
		s.see(t, "--read-only")
	}
}

func TestFilterFindsSubscribersBeyondTheFirstPage(t *testing.T) {
	d := &desk{}
	for i := 999; i >= 0; i-- {
		d.subscribers = append(d.subscribers, api.Subscriber{ID: webhook.SubscriberID(fmt.Sprintf("sub_%04d", i)), URL: fmt.Sprintf("https://h%d.example/", i), Active: true})
	}
	s := sit(t, d)
	s.press("/", "H7.example", "enter")
	before := d.pages
	for range 3 {
		s.run(s.load())
		s.see(t, "h7.example", "1 subscriber")
	}
	if n := d.pages - before; n > 3 {
		t.Errorf("what is known was searched again: %d pages", n)
	}
	s.run(s.goTo(subscribersTab, "sub_0003"))
	s.see(t, "h3.example")
	s.miss(t, "h7.example")
	s.run(s.goTo(subscribersTab, "nobody"))
	s.see(t, "No subscribers match this filter")
}

func TestSubscriberScreensFillTheWindowAndNoMore(t *testing.T) {
	foreign := acme()
	foreign.ID, foreign.Description = "sub_0002", "支付\u202e \x1b[31m"+strings.Repeat("長い名前", 40)
	foreign.URL, foreign.PausedReason, foreign.Active = "https://h.example/"+strings.Repeat("p", 300), strings.Repeat("理由 ", 80), false
	foreign.Headers["X-Long"] = strings.Repeat("界", 200)
	foreign.OldSecretUntil = api.Time{Time: time.Unix(1_900_000_000, 0)}
	ways := [][]string{
		{}, {"enter"}, {"enter", "pgdown"}, {"enter", "$"}, {"p"}, {"i"}, {"D"}, {"D", "acme"}, {"n"}, {"n", "ctrl+s"}, {"E"}, {"E", "tab"}, {"E", "tab", "tab", "enter", "enter"},
		{"E", "tab", "tab", "tab", "tab", "tab"}, {"E", "x", "esc"}, {"E", "up", "right"}, {"n", "https://a", "tab", "tab", "*", "ctrl+s"}, {"down", "E"}, {"down", "enter"}, {"/"}, {"?"},
	}
	rapid.Check(t, func(r *rapid.T) {
		s := sit(t, &desk{subscribers: []api.Subscriber{foreign, acme()}})
		s.press(rapid.SampledFrom(ways).Draw(r, "way")...)
		for range 3 {
			w, h := rapid.IntRange(40, 200).Draw(r, "w"), rapid.IntRange(10, 50).Draw(r, "h")
			s.send(tea.WindowSizeMsg{Width: w, Height: h})
			lines := s.render()
			if len(lines) != h {
				r.Fatalf("%d lines in %dx%d", len(lines), w, h)
			}
			for _, line := range lines {
				if got := ansi.StringWidth(line); got > w || strings.ContainsAny(line, "\n\u202e") || strings.Contains(line, "[31m\u957f") {
					r.Fatalf("%d cells in %dx%d: %q", got, w, h, line)
				}
			}
			if o := s.overlay; o != nil && !o.bottom() {
				seen := s.text()
				if _, ok := o.(*confirm); ok && !strings.Contains(seen, "Cancel") {
					r.Fatalf("no buttons in %dx%d:\n%s", w, h, seen)
				}
			}
		}
	})
}

func TestWhatMattersIsSeenInTheSmallestWindow(t *testing.T) {
	s := sit(t, &desk{subscribers: []api.Subscriber{acme()}})
	s.send(tea.WindowSizeMsg{Width: 40, Height: 10})
	s.miss(t, "…")
	s.press("D")
	s.see(t, "812 deliveries", "Write acme billing", "Cancel", "Delete")
	s.press("esc", "i", "tab", "enter")
	shown := strings.NewReplacer("\n", "", " ", "", "│", "").Replace(s.text())
	if !strings.Contains(shown, deskSecret) {
		t.Errorf("not the whole secret is seen in\n%s", s.text())
	}
	s.see(t, "y copies it")
}

func TestFieldWithTheCursorIsSeenInTheSmallestWindow(t *testing.T) {
	s := sit(t, &desk{subscribers: []api.Subscriber{acme()}})
	s.send(tea.WindowSizeMsg{Width: 40, Height: 10})
	s.press("E")
	f := s.screen().(*form)
	for range 2 * len(f.fields) {
		s.see(t, "> "+f.fields[f.focus].label)
		s.press("tab")
	}
}
