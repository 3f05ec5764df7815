package tui

import (
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func TestADeliveryIsExplained(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		d := drive(t, func(o *Options, f *fake) { o.Width, o.Height, f.held = size[0], size[1], true })
		d.keys("3 e")
		d.see(t, "It waits for the end of an outage.", "✓ existed", "passes · It is so.",
			"◔ outage       WAITS · 12 attempts in a row have failed · in 34s (14:03:05)", "waits · the next try is not due yet", "? rate", "✓ retry after")
		d.keys("G")
		d.see(t, "story", "The event came in.", "14:03:05.000  planned, in 34s · It is tried again.")
		d.check(t)
	}
}

// inOutage has the subscribers be in an outage.
func inOutage(_ *Options, f *fake) { f.held = true }

func TestAnExplanationIsAskedForAnewByItself(t *testing.T) {
	d := drive(t, inOutage)
	d.keys("3 e")
	d.beats(4)
	d.see(t, "in 32s")
	d.fake.evil = "It has changed."
	d.beats(4)
	d.see(t, "WAITS · It has changed.")
	d.keys("esc")
	d.see(t, "50 deliveries")
}

// TestWhereverThereIsADeliveryItsExplanationIsOneKeyAway: that key is e.
func TestWhereverThereIsADeliveryItsExplanationIsOneKeyAway(t *testing.T) {
	for name, keys := range map[string]string{"deliveries": "3", "delivery": "3 enter", "dead letters": "5 v", "overview": "1 l l", "subscriber": "4 enter"} {
		d := drive(t)
		d.keys(keys)
		d.render()
		d.keys("e")
		if _, ok := d.screen().(*explanation); !ok {
			t.Errorf("%s: e leads to %T", name, d.screen())
		}
		d.keys("esc ?")
		if lines := strings.Join(helpLines(d), "\n"); !strings.Contains(lines, "why") {
			t.Errorf("%s: the help does not name it:\n%s", name, lines)
		}
	}
}

// helpLines are the keys of the screen.
func helpLines(d *driver) []string {
	var lines []string
	for _, b := range d.screen().keys() {
		lines = append(lines, b.key+" "+b.does)
	}
	return lines
}

func TestAnEventIsExplainedForEachSubscriber(t *testing.T) {
	for _, keys := range []string{"2 e", "2 enter e"} {
		d := drive(t)
		d.keys(keys)
		d.see(t, "1 of 2 subscribers receives it. There are more subscribers than these.", "acme-billing", "globex-crm", "✗ stops: filter", "Its filter says no.")
		d.fake.evil = strings.Repeat("word ", 20) + "end."
		d.beats(4)
		d.see(t, "word end.") // in full, of the one under the cursor
		d.fake.evil = ""
		d.beats(4)
		at := 0
		for i, x := range d.screen().(*explained).rows.rows {
			if x.Delivery == nil {
				at = i
			}
		}
		d.keys(strings.Repeat("j ", at) + "enter")
		d.see(t, "✗ filter       STOPS · the filter .data.amount > 9000 is false for it")
		d.miss(t, "story")
		d.keys("enter")
		d.see(t, "there is no delivery")
		d.keys("esc " + strings.Repeat("k ", at) + strings.Repeat("j ", 1-at) + "enter")
		if _, ok := d.screen().(*explanation); !ok || d.screen().(*explanation).delivery == "" {
			t.Errorf("%s: the one with a delivery leads to %T", keys, d.screen())
		}
		d.keys("enter")
		d.see(t, "Request")
	}
}

// TestARowOfAnEventIsExplainedFirst: the cursor is on it, and is then free.
func TestARowOfAnEventIsExplainedFirst(t *testing.T) {
	for at := range 2 {
		d := drive(t)
		d.fake.deliveries[0].SubscriberID = d.fake.subscribers[at].ID
		d.keys("2 enter e")
		rows := d.screen().(*explained).rows
		if got := rows.current().SubscriberID; got != d.fake.subscribers[at].ID {
			t.Errorf("the cursor is on %s, want %s", got, d.fake.subscribers[at].ID)
		}
		d.keys("g")
		d.beats(4)
		if rows.cursor != 0 {
			t.Error("it goes back there by itself")
		}
	}
}

func TestTheGateThatStopsIsNamedBeforeOneThatWaits(t *testing.T) {
	gates := func(verdicts ...webhook.Verdict) []api.Gate {
		var gates []api.Gate
		for _, v := range verdicts {
			gates = append(gates, api.Gate{Verdict: v})
		}
		return gates
	}
	for want, g := range map[int][]api.Gate{
		-1: gates(webhook.Passes, webhook.Unknown),
		1:  gates(webhook.Passes, webhook.Waits, webhook.Waits),
		2:  gates(webhook.Passes, webhook.Waits, webhook.Stops, webhook.Stops),
	} {
		if got := decisive(g); got != want {
			t.Errorf("%v: %d, want %d", g, got, want)
		}
	}
}

func TestAnExplanationCanBeCopied(t *testing.T) {
	d := drive(t, inOutage)
	d.keys("3 e y")
	for _, want := range []string{string(d.fake.deliveries[0].ID) + "\n", "\nIt waits for the end of an outage.\n", "◔ outage       WAITS · 12 attempts", "planned, in 34s · It is tried again.\n"} {
		if !strings.Contains(d.clip, want) {
			t.Errorf("it lacks %q:\n%s", want, d.clip)
		}
	}
	d.fake.evil = "a\x1b[31m\u202e\nb"
	d.keys("2 e y")
	if !strings.Contains(d.clip, `a\x1b[31m\u202e\nb`) || strings.ContainsAny(d.clip, "\x1b\u202e") {
		t.Errorf("what is handed on is not clean: %q", d.clip)
	}
}

func TestATextIsFoundInAnExplanation(t *testing.T) {
	d := drive(t)
	d.keys("3 e")
	d.render()
	d.find("tried again")
	d.see(t, ">14:03:05.000")
}

func TestAnExplanationThatFailsSaysWhy(t *testing.T) {
	for _, keys := range []string{"3 e", "2 e"} {
		d := drive(t)
		d.hold = true
		d.keys(keys)
		d.fake.err = answered{"there is no such thing"}
		d.hold = false
		for _, cmd := range d.held {
			d.run(cmd)
		}
		d.see(t, "there is no such thing")
		d.keys("enter y S")
		d.fake.err = nil
		d.beats(2)
		d.miss(t, "there is no such thing")
	}
}

func TestNoHostileExplanationIsObeyed(t *testing.T) {
	evil := "\x1b]52;c;ZXZpbA==\a\x1bP$q\u009b2J\x9b2J\u202e\r\n\b支付" + strings.Repeat("\x1b[31mx", 100_000)
	for _, ascii := range []bool{false, true} {
		d := drive(t, func(o *Options, f *fake) { o.ASCII, f.evil = ascii, evil })
		for i := range d.fake.subscribers {
			d.fake.subscribers[i].Description = evil
		}
		best := time.Minute
		for range 3 {
			best = min(best, d.clockOf(func() {
				d.keys("3 ctrl+r e")
				d.check(t)
			}))
			d.keys("esc")
		}
		if best > 200*time.Millisecond*slowdown {
			t.Errorf("it took %s", best)
		}
		for _, keys := range []string{"3 e", "2 e", "2 e enter"} {
			d.keys(keys)
			for _, size := range [][2]int{{40, 10}, {41, 11}, {80, 24}, {200, 50}} {
				d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				d.check(t)
				d.keys("pgdown pgdown")
				d.check(t)
			}
		}
		d.fake.err = errors.New(evil)
		d.keys("3 e")
		d.check(t)
	}
}
