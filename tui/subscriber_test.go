package tui

import (
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func TestASubscriberInAnOutageSaysSo(t *testing.T) {
	held := acme()
	held.Held, held.FailingSince, held.ProbeAt = true, api.Time{Time: began.Add(-150 * time.Second)}, api.Time{Time: began.Add(34 * time.Second)}
	s := sit(t, &desk{subscribers: []api.Subscriber{held}})
	s.see(t, "acme billing", " HELD ")
	s.press("enter")
	s.see(t, "✗ HELD · outage for 2m30s · next probe in 34s · 812 deliveries wait", "Outage        since 2026-01-31 14:00:01 UTC")
	s.now = s.now.Add(time.Minute)
	s.see(t, "next probe now")
	s.check(t)
	s.press("esc")
	for want, change := range map[string]func(*api.Subscriber){
		"failing": func(v *api.Subscriber) { v.Held = false },
		"paused":  func(v *api.Subscriber) { v.Active, v.PausedReason = false, "410 Gone" },
	} {
		now := held
		change(&now)
		s := sit(t, &desk{subscribers: []api.Subscriber{now}})
		s.see(t, " "+want+" ")
		s.press("enter")
		s.see(t, strings.ToUpper(want))
		s.miss(t, "next probe")
		if !now.Active {
			s.see(t, "! PAUSED · 410 Gone")
		}
	}
}

// TestWhatIsSetIsSeen: what most subscribers do without takes no room.
func TestWhatIsSetIsSeen(t *testing.T) {
	labels := []string{"Filter ", "Transform ", "Order ", "Rate limit ", "Scheme ", "Basic auth ", "OAuth2 ", "TLS ", "Hold ", "Auto pause "}
	s := sit(t, &desk{subscribers: []api.Subscriber{acme()}})
	s.send(tea.WindowSizeMsg{Width: 100, Height: 60})
	s.press("enter")
	s.miss(t, labels...)
	all := acme()
	all.Filter, all.Transform = ".data.amount > 100", "{\n  text: .data.message\n}"
	all.Ordered, all.OnDead, all.RateLimit, all.Scheme = ".data.order_id", webhook.OnDeadSkip, 0.5, webhook.SigningStripe
	all.BasicUsername, all.BasicPassword = "pintle", "hush-hush"
	all.OAuth2TokenURL, all.OAuth2ClientID, all.OAuth2ClientSecret = "https://id.example/token", "c-1", "hush-hush"
	all.OAuth2Scopes, all.OAuth2Audience = []string{"hooks", "more"}, "https://api.example"
	all.TLSCert, all.TLSKey, all.TLSCA, all.Hold, all.AutoPause = "-----BEGIN", "hush-hush", "-----BEGIN", false, false
	s = sit(t, &desk{subscribers: []api.Subscriber{all}})
	s.send(tea.WindowSizeMsg{Width: 100, Height: 60})
	s.press("enter")
	s.see(t, labels...)
	s.see(t, ".data.amount > 100", "  text: .data.message", "by .data.order_id · a dead letter is skipped", "0.5 requests per second", "stripe signatures", "as pintle",
		"as c-1 at https://id.example/token · hooks more · https://api.example", "with a certificate of its own · authorities of its own", "no: an outage spends retries")
	s.miss(t, "hush-hush")
	s.check(t)
	// It is seen in a small window too, before what is as everywhere.
	s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	s.see(t, "Filter ")
	s.miss(t, "Description ")
}

func TestAnExpressionThatFailedIsNotTheReceiversFault(t *testing.T) {
	for _, o := range webhook.Outcomes() {
		if o != webhook.Transformation && outcome(o) == outcome(webhook.Transformation) {
			t.Errorf("it looks like %s", o)
		}
	}
}

func TestTheHelpSaysWhatEachOutcomeMeans(t *testing.T) {
	d := drive(t)
	d.send(tea.WindowSizeMsg{Width: 80, Height: 70})
	d.keys("3 ?")
	for _, o := range webhook.Outcomes() {
		d.see(t, "  "+string(o)+" ")
	}
	for _, b := range outcomeWords() {
		if b.does == "" {
			t.Errorf("nothing is said of %s", b.key)
		}
	}
}

func TestTheListSaysWhyASubscriberReceivesNothing(t *testing.T) {
	held, paused := acme(), acme()
	held.Held, held.FailingSince, held.ProbeAt = true, api.Time{Time: began.Add(-150 * time.Second)}, api.Time{Time: began.Add(34 * time.Second)}
	paused.ID, paused.Active, paused.PausedReason = "sub_0000", false, "410 Gone"
	s := sit(t, &desk{subscribers: []api.Subscriber{held, paused}})
	s.send(tea.WindowSizeMsg{Width: 120, Height: 24})
	s.see(t, "2m30s · probe 34s", "410 Gone")
	s.now = s.now.Add(time.Minute)
	s.see(t, "3m30s · probe now")
}

// TestWhatIsHeldIsNotCalledDue: what an outage holds is due, as a rule.
func TestWhatIsHeldIsNotCalledDue(t *testing.T) {
	d := drive(t)
	s := &d.fake.subscribers[0]
	s.Held, s.FailingSince, s.ProbeAt = true, api.Time{Time: began}, api.Time{Time: began.Add(time.Minute)}
	d.send(tea.WindowSizeMsg{Width: 120, Height: 40})
	d.keys("4 enter")
	d.see(t, " held ")
	d.miss(t, " now ")
	d.keys("3")
	d.see(t, " held ", " now ") // the others are not held
	d.keys("1")
	d.see(t, " held ")
	d.keys("4 enter")
	s.Held = false
	d.beats(4)
	d.miss(t, " held ")
}
