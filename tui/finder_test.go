package tui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/webhook"
)

// openDead opens a delivery that is dead, at what its receiver answered.
func (d *driver) openDead(answer string) {
	d.fake.answer = answer
	d.keys("3 / ctrl+u")
	d.write("status:dead")
	d.keys("enter enter tab")
	d.render()
}

// openData opens the data of a delivery.
func (d *driver) openData(data string) {
	d.fake.data = data
	d.keys("3 enter tab tab")
	d.render()
}

// find looks for a text in the pane.
func (d *driver) find(s string) {
	d.keys("/")
	d.write(s)
	d.keys("enter")
	d.render()
}

func (d *driver) hit() int { return d.screen().(*delivery).hit - 1 }

func TestATextIsFoundInADelivery(t *testing.T) {
	d := drive(t)
	lines := make([]string, 300)
	for i := range lines {
		lines[i] = fmt.Sprintf(`"line %d"`, i)
		if i%100 == 50 {
			lines[i] = fmt.Sprintf(`"line %d has the Needle"`, i)
		}
	}
	d.openData("[" + strings.Join(lines, ",") + "]")
	d.find("needle")
	d.see(t, `>    "line 50 has the Needle"`)
	first := d.hit()
	for _, step := range []struct {
		key string
		at  int
	}{{"n", 100}, {"n", 200}, {"n", 0}, {"N", 200}, {"N", 100}} {
		d.keys(step.key)
		if got := d.hit() - first; got != step.at {
			t.Fatalf("%s leads to line %d, want %d", step.key, got, step.at)
		}
		d.see(t, fmt.Sprintf(`>    "line %d has the Needle"`, 50+step.at))
	}
	d.beat()
	d.find("no such thing")
	d.see(t, `"no such thing" is not here`)
	d.check(t)
}

func TestATextIsFoundWhereALineIsBroken(t *testing.T) {
	d := drive(t)
	x := strings.Repeat("x", 64)
	d.openData(`"` + x + "needle" + strings.Repeat("y", 300) + `"`)
	d.find("needle")
	d.see(t, `>  "data": "`+x+"nee")
	d.find("xneedlex")
	d.see(t, "is not here")
}

func TestATextIsFoundInAnEvent(t *testing.T) {
	d := drive(t)
	d.keys("2 enter")
	d.render()
	d.keys("n")
	d.see(t, "nothing to find yet")
	d.find("4200")
	d.see(t, `>  "amount": 4200`)
}

func TestADeliveryThatIsRetriedSaysWhenHoweverLongTheError(t *testing.T) {
	d := drive(t)
	d.fake.mu.Lock()
	for i := range d.fake.deliveries {
		if v := &d.fake.deliveries[i]; v.State == webhook.Pending && v.AttemptCount > 0 || v.State == webhook.Dead {
			v.LastOutcome, v.LastCode, v.LastError = webhook.Reset, 0, strings.Repeat("read tcp 127.0.0.1:9 ", 20)+"the end"
		}
	}
	d.fake.mu.Unlock()
	d.keys("3 /")
	d.write("status:retrying")
	d.keys("enter enter")
	d.see(t, "attempt 2 failed (reset: ", "next at 14:04:13 (in 1m42s)")
	d.keys("tab")
	d.see(t, "the end after")
	d.openDead("no")
	d.see(t, "r replays it")
}

func TestTheWholeScreenOfABodyIsLeftByEsc(t *testing.T) {
	d := drive(t)
	d.openDead("no such hook")
	d.keys("f")
	d.miss(t, "DEAD ·")
	d.keys("esc")
	d.see(t, "DEAD ·")
	d.keys("esc")
	d.see(t, "TIME")
}

func TestAnAnswerThatWasNotKeptWholeSaysSo(t *testing.T) {
	d := drive(t)
	d.openDead(strings.Repeat("x", 16<<10))
	d.keys("G")
	d.see(t, "keeps no more than this beginning")
}

func TestASubscribersDeliveriesDoNotRepeatWhichOneItIs(t *testing.T) {
	d := drive(t)
	d.keys("4 enter")
	d.see(t, "LATEST DELIVERIES", "EVENT")
	d.miss(t, "sub:sub_", "SUBSCRIBER ")
}

func TestWhatWaitsForAPausedSubscriberIsNotDueNow(t *testing.T) {
	d := drive(t)
	d.keys("4 j enter")
	d.see(t, "PAUSED", " paused")
	d.miss(t, "  now ")
}
