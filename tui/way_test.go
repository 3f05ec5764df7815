package tui

import (
	"fmt"
	"testing"
)

func TestTheWayThroughTheScreensCanBeGoneBackAndForth(t *testing.T) {
	d := drive(t)
	d.keys("3 enter 2")
	d.keys("[")
	d.see(t, "› dlv")
	d.keys("[ [")
	d.see(t, "NEEDS ATTENTION")
	d.keys("[")
	d.see(t, "no further screen")
	d.keys("] ] ]")
	d.see(t, "FAN-OUT")
	d.keys("]")
	d.see(t, "no further screen")
	d.keys("[ 5 ]")
	d.see(t, "no further screen")
	d.keys("4 n esc [ [")
	d.miss(t, "New subscriber")
	for range 3 * maxPlaces {
		d.keys("1 2")
	}
	if n := len(d.past); n != maxPlaces {
		t.Errorf("%d places are remembered", n)
	}
}

func TestAKeyRightAfterEscIsNotLost(t *testing.T) {
	d := drive(t)
	d.keys("3 enter")
	d.send(key("alt+:"))
	d.write("events")
	d.keys("enter")
	d.see(t, "FAN-OUT")
	if len(d.stack) > 1 {
		t.Error("esc had no effect")
	}
	d.keys("?")
	d.send(key("alt+D"))
	if d.overlay != nil {
		t.Error("esc did not close the help")
	}
	// In a text, alt and a letter are what they are.
	d.keys("/")
	d.write("one two")
	d.send(key("alt+b"))
	d.write("x")
	d.see(t, "one xtwo")
}

func TestTheNameOfTheOpenTabIsSeenInANarrowWindow(t *testing.T) {
	d := drive(t, func(o *Options, _ *fake) { o.Width = 60 })
	for i, name := range tabNames {
		if tab(i) == deadTab {
			name = "Dead:41"
		}
		d.keys(fmt.Sprint(i + 1))
		d.see(t, fmt.Sprintf(" %d %s ", i+1, name))
		d.check(t)
	}
}

func TestWhatWasSaidStaysWithItsScreen(t *testing.T) {
	d := drive(t)
	d.keys("3 y")
	d.see(t, "sent to the clipboard")
	d.keys("2")
	d.miss(t, "sent to the clipboard")
}

func TestAWrongWordIsCalledSo(t *testing.T) {
	d := drive(t)
	d.keys("4 D")
	d.write("other")
	d.keys("enter")
	d.see(t, "was not written out")
	d.keys("D enter")
	if len(d.fake.changed) > 0 || d.overlay != nil {
		t.Errorf("it changed %q", d.fake.changed)
	}
}

func TestTheHelpGoesToItsEnds(t *testing.T) {
	d := drive(t)
	d.keys("? G")
	d.see(t, "mouse", "Keys ")
	d.keys("g")
	d.miss(t, "mouse")
	d.see(t, "Overview")
}
