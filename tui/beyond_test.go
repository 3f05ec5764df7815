package tui

import (
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func TestADeliveryThatIsHeldSaysUntilWhen(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		d := drive(t, inOutage, func(o *Options, f *fake) {
			o.Width, o.Height = size[0], size[1]
			f.deliveries[10].OrderKey = "order-88"
		})
		d.keys("3 " + strings.Repeat("j ", 10) + "enter")
		d.see(t, "held until 14:03:05 (in 34s)", "order key order-88 · outage waits: 12 attempts in a row")
		d.miss(t, "next at", "if every try fails")
		d.check(t)
		d.fake.held = false
		d.beats(8)
		d.see(t, "next at 14:04:13", "order key order-88")
		d.miss(t, "outage")
	}
}

func TestWhatATransformMadeIsShownBesideTheEvent(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		d := drive(t, func(o *Options, f *fake) {
			o.Width, o.Height, f.transformed = size[0], size[1], `{"text":"a transform made this"}`
		})
		d.keys("3 j enter f")
		d.see(t, "made by a transform", `"text": "a transform made this"`)
		d.keys("Y")
		if d.clip != d.fake.transformed {
			t.Errorf("copied %q", d.clip)
		}
		d.keys("tab tab")
		d.see(t, `"timestamp": `, `"id": "in_8812"`)
		d.miss(t, "a transform")
		d.check(t)
		d.keys("f E")
		d.see(t, `"id": "in_8812"`, "Type ")
	}
}

func TestAnEventThatIsGoneIsNoBody(t *testing.T) {
	d := drive(t, func(_ *Options, f *fake) { f.transformed = "{}" })
	d.fake.events = nil
	d.keys("3 j enter tab tab")
	d.see(t, "there is no such event")
	d.keys("E")
	d.see(t, "the event is not here yet")
}

// TestAnAttemptThatSentNothingShowsNoRequest: what a transform could not make was
// not sent, and neither was anything in its place.
func TestAnAttemptThatSentNothingShowsNoRequest(t *testing.T) {
	d := drive(t, func(_ *Options, f *fake) {
		for i := range f.deliveries {
			f.deliveries[i].LastOutcome, f.deliveries[i].LastError = webhook.Transformation, "cannot iterate over null"
		}
	})
	d.keys("3 j j j j enter")
	d.see(t, "transform: cannot", "Nothing was sent: transform: cannot iterate over null")
	d.miss(t, "POST https", "in_8812")
}

// TestTheNextDeliveryHasNothingOfThePreviousOne: neither its event nor the gate
// that held it, not even before there are others.
func TestTheNextDeliveryHasNothingOfThePreviousOne(t *testing.T) {
	d := drive(t, inOutage, func(_ *Options, f *fake) {
		f.transformed = "{}"
		next := &f.deliveries[9]
		next.State, next.SubscriberPaused, next.NextAttemptAt = webhook.Pending, false, api.Time{Time: began.Add(time.Hour)}
	})
	d.keys("3 " + strings.Repeat("j ", 10) + "enter tab tab")
	d.see(t, "held until", `"event": "`+d.fake.deliveries[10].EventType)
	d.fake.held = false
	d.keys("K")
	d.see(t, "next at 15:02:31", `"event": "`+d.fake.deliveries[9].EventType)
	d.miss(t, "held until")
	d.send(tea.WindowSizeMsg{Width: 40, Height: 10})
	d.check(t)
}
