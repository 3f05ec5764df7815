package tui

import (
	"slices"
	"strings"
	"testing"
)

// TestWhatTheFilterSelectsIsCountedBeforeItIsCancelled: and the number is written
// out, since there is no key that takes it back.
func TestWhatTheFilterSelectsIsCountedBeforeItIsCancelled(t *testing.T) {
	d := drive(t)
	d.run(d.goTo(deliveriesTab, "sub:acme-billing"))
	d.keys("X")
	d.see(t, "Cancel 1,222 pending deliveries?", "Filter: sub:acme-billing")
	d.keys("enter")
	if len(d.fake.changed) > 0 {
		t.Errorf("without an answer it did %q", d.fake.changed)
	}
	d.keys("X 1 2 2 2 enter")
	d.see(t, "1,222 deliveries were cancelled")
	asked := slices.DeleteFunc(slices.Clone(d.fake.asked), func(s string) bool { return !strings.HasPrefix(s, "cancel") })
	if len(asked) != 3 || asked[2] != asked[0] || len(d.fake.changed) != 1 || d.fake.changed[0] != asked[0] {
		t.Errorf("it asked for %q, and changed %q", asked, d.fake.changed)
	}
	d.keys("f2 X")
	d.see(t, "There is no filter: these are all that are pending.")
	d.check(t)
}

func TestWhoIsOfASubscriberCancelsOnlyItsDeliveries(t *testing.T) {
	d := drive(t)
	d.keys("4 enter X")
	d.see(t, "Filter: sub:"+string(d.fake.subscribers[0].ID))
}
