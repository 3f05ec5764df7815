package tui

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func (d *driver) list() *pager[api.Delivery] { return d.tabs[deliveriesTab].(*deliveries).pager }

// place is the row under the cursor, and how far down on the screen it is.
func (d *driver) place() (id webhook.DeliveryID, line int) {
	l := d.list()
	return l.current().ID, l.cursor - l.top
}

func TestTheListFollowsWhatIsNewUntilTheCursorMoves(t *testing.T) {
	d := drive(t)
	d.keys("3")
	d.fake.grow(3)
	d.beat()
	if d.list().current().ID != d.fake.deliveries[0].ID {
		t.Error("the newest row is not under the cursor")
	}
	d.see(t, "53 deliveries · FOLLOW")
	for _, move := range []string{"j", "pgdown", "G", "ctrl+d", "k", "space"} {
		d.keys("g j j j j " + move)
		d.render()
		id, line := d.place()
		d.fake.grow(7)
		d.beat()
		d.render()
		if now, at := d.place(); now != id || at != line {
			t.Fatalf("after %s, %s in line %d has become %s in line %d", move, id, line, now, at)
		}
		d.see(t, "FOLLOW OFF · ↑7 new")
	}
	d.keys("F")
	d.miss(t, "OFF")
	if d.list().current().ID != d.fake.deliveries[0].ID {
		t.Error("F does not lead to the newest row")
	}
}

func TestManyNewRowsAreCountedOnlySoFar(t *testing.T) {
	d := drive(t)
	d.keys("3 j")
	d.fake.grow(250)
	d.beat()
	d.see(t, "↑100+ new")
	d.keys("g")
	d.see(t, "FOLLOW")
	if d.list().current().ID != d.fake.deliveries[0].ID {
		t.Error("g does not lead to the newest row")
	}
}

// TestTheListHasEveryRowOnceWhateverComes scrolls while rows come, and reads all.
func TestTheListHasEveryRowOnceWhateverComes(t *testing.T) {
	d := drive(t, func(_ *Options, f *fake) { f.grow(900) })
	d.keys("3")
	for range 60 {
		d.render()
		d.keys("pgdown")
		d.fake.grow(3)
		d.beat()
	}
	for !d.list().ended {
		d.keys("G")
	}
	rows := d.list().rows
	for i := 1; i < len(rows); i++ {
		if rows[i].ID >= rows[i-1].ID {
			t.Fatalf("row %d, %s, comes after %s", i, rows[i].ID, rows[i-1].ID)
		}
	}
	first := slices.IndexFunc(d.fake.deliveries, func(v api.Delivery) bool { return v.ID == rows[0].ID })
	if want := len(d.fake.deliveries) - first; len(rows) != want {
		t.Errorf("there are %d rows of %d", len(rows), want)
	}
}

func TestVisibleRowsShowWhatHasBecomeOfThem(t *testing.T) {
	d := drive(t)
	d.keys("3 j")
	d.render()
	d.fake.mu.Lock()
	for i := range d.fake.deliveries {
		d.fake.deliveries[i].State = webhook.Cancelled
	}
	d.fake.mu.Unlock()
	d.beat()
	d.see(t, "⊘ cancelled")
	d.miss(t, "✗ dead")
}

func TestMarksStayWithTheirRows(t *testing.T) {
	d := drive(t)
	d.keys("3 j space j ctrl+space")
	d.see(t, "3 marked")
	var want []webhook.DeliveryID
	for _, row := range d.list().marked() {
		want = append(want, row.ID)
	}
	d.fake.grow(5)
	d.beats(3)
	d.keys("g")
	var got []webhook.DeliveryID
	for _, row := range d.list().marked() {
		got = append(got, row.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("marked were %s, and are %s", want, got)
	}
	d.keys("u")
	d.miss(t, "marked")
}

// TestAMarkGoesWithItsRow: what is not there any more must not count, nor have
// another row done to in its stead without a word.
func TestAMarkGoesWithItsRow(t *testing.T) {
	d := drive(t)
	d.keys("3 /")
	d.write("status:dead")
	d.keys("enter space space")
	d.see(t, "2 marked")
	d.fake.mu.Lock()
	for i := range d.fake.deliveries[:10] {
		d.fake.deliveries[i].State = webhook.Delivered
	}
	d.fake.mu.Unlock()
	d.beats(2)
	d.miss(t, "marked")
}

func TestAnOvertakenAnswerIsDropped(t *testing.T) {
	d := drive(t)
	d.keys("3")
	d.now = d.now.Add(beat)
	late := d.list().load(d.env) // of the list without a filter
	answer := late()
	d.list().seek("status:dead")
	d.run(d.load())
	n := len(d.list().rows)
	d.send(answer)
	if len(d.list().rows) != n || d.failures > 0 {
		t.Errorf("%d rows have become %d; failures: %d", n, len(d.list().rows), d.failures)
	}
}

// TestARequestThatIsGivenUpIsNoSilence: it says nothing of the appliance.
func TestARequestThatIsGivenUpIsNoSilence(t *testing.T) {
	d := drive(t)
	d.keys("3")
	late := d.list().load(d.env)
	d.list().abandon()
	d.run(late)
	d.see(t, "● live")
	if d.failures != 0 {
		t.Error("it counts as a failure")
	}
}

// TestABoundedSearchGoesOn: a page without a hit is not the end, and looking for
// new rows does not begin it anew.
func TestABoundedSearchGoesOn(t *testing.T) {
	d := drive(t, func(_ *Options, f *fake) { f.grow(2000); f.bound = 150 })
	oldest := string(d.fake.deliveries[len(d.fake.deliveries)-1].ID)
	d.keys("3 /")
	d.write(oldest)
	d.keys("enter")
	d.see(t, "1 delivery")
	for range 5 {
		d.fake.grow(1)
		asked := len(d.fake.asked)
		d.beat()
		d.see(t, "1 delivery")
		if n := len(d.fake.asked) - asked; n > 3 {
			t.Fatalf("a look costs %d requests", n)
		}
	}
	d.keys("j")
	d.beats(3)
	d.see(t, "1 delivery")
}

func TestTheFilterIsKeptAndCanBePutAside(t *testing.T) {
	d := drive(t)
	d.keys("3 /")
	d.write("status:dead")
	d.keys("enter")
	d.miss(t, "✓ delivered")
	d.keys("f2")
	d.see(t, "(off) status:dead", "✓ delivered")
	d.keys("f2")
	d.miss(t, "✓ delivered", "(off)")
	d.keys("1 3 /")
	d.see(t, "status:dead")
	d.keys("esc @")
	d.write("2h")
	d.keys("enter")
	if got := d.list().query; got != "status:dead until:2h" {
		t.Errorf("the query is %q", got)
	}
	d.see(t, "FOLLOW OFF")
}

func TestTheListHoldsNoMoreThanItShould(t *testing.T) {
	d := drive(t, func(_ *Options, f *fake) { f.grow(300) })
	d.keys("3")
	l := d.list()
	rows := make([]api.Delivery, maxRows)
	for i := range rows {
		rows[i].ID = webhook.DeliveryID(d.fake.ids.Format("dlv_", d.fake.sequence-int64(i)<<21))
	}
	l.rows, l.ended = rows, true
	d.fake.grow(10)
	d.beat()
	if len(l.rows) != maxRows || l.ended || l.next != string(l.rows[maxRows-1].ID) {
		t.Errorf("%d rows, ended: %v", len(l.rows), l.ended)
	}
}

// TestTheHeaderSaysWhenNobodyAnswers, and nothing looks live meanwhile.
func TestTheHeaderSaysWhenNobodyAnswers(t *testing.T) {
	d := drive(t)
	d.keys("3")
	d.fake.err = errSilent
	d.beat()
	d.see(t, "◌ stale 0.5s · retry 1 in 1s", "dial unix")
	asked := len(d.fake.asked)
	d.beat()
	if len(d.fake.asked) != asked {
		t.Error("it is asked again before its time")
	}
	d.beats(100)
	d.see(t, "◌ stale 51s · retry ", "delivered")
	if n := len(d.fake.asked) - asked; n > 8 {
		t.Errorf("in 50 seconds it was asked %d times", n)
	}
	for _, name := range []string{"t", "x", "r"} {
		d.keys(name)
		d.see(t, "not while the appliance does not answer")
	}
	if len(d.fake.changed) > 0 || d.overlay != nil {
		t.Errorf("it changed %q", d.fake.changed)
	}
	d.fake.err = nil
	d.keys("ctrl+r")
	d.see(t, "the appliance answers again")
	d.beat()
	d.see(t, "● live 0.0s")
}

func TestARefusalIsAnAnswer(t *testing.T) {
	d := drive(t)
	d.keys("3")
	d.fake.err = fmt.Errorf("list: %w", answered{"the query is not one"})
	d.beat()
	d.see(t, "the query is not one · ctrl+r tries again")
	d.miss(t, "stale", "no answer")
}

func TestAListThatIsRefusedIsNotLoading(t *testing.T) {
	d := drive(t)
	d.fake.err = answered{"there is no key \"foo\"; " + strings.Repeat("the keys are many ", 8) + "and the last"}
	d.keys("3 /")
	d.write("foo:bar")
	d.keys("enter")
	d.see(t, "✗ refused", "and the last")
	d.miss(t, "loading")
}

func TestTheCauseOfASilenceIsSaidWithoutTheAddress(t *testing.T) {
	call := func(err error) error {
		return &url.Error{Op: "Get", URL: "http://pintle/api/v1/" + strings.Repeat("long/", 30), Err: err}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{call(errSilent), errSilent.Error()},
		{fmt.Errorf("2 of 3: %w", call(errSilent)), "2 of 3: " + errSilent.Error()},
		{call(context.DeadlineExceeded), "the appliance did not answer in time"},
		{errSilent, errSilent.Error()},
	} {
		if got := reason(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestARetryThatIsUnderWayIsCalledSo(t *testing.T) {
	d := drive(t)
	d.fake.err = errSilent
	d.beat()
	d.now = d.now.Add(time.Minute)
	d.see(t, "retry 1 now")
}

func TestANewWordOfAFilterStandsApartFromTheOldOnes(t *testing.T) {
	d := drive(t)
	for _, line := range []string{"invoice", "status:dead"} {
		d.keys("3 /")
		d.write(line)
		d.keys("enter")
	}
	if got := d.list().query; got != "invoice status:dead" {
		t.Errorf("the query is %q", got)
	}
}

func TestWhatFailsIsSaid(t *testing.T) {
	d := drive(t)
	d.fake.changeErr = answered{"it is busy\x1b[31m"}
	d.keys("3 t")
	d.see(t, `it is busy\x1b[31m`)
}

func TestNobodyChangesWhatTheyMayNot(t *testing.T) {
	for name, change := range map[string]func(*Options, *fake){
		"read-only": func(o *Options, _ *fake) { o.ReadOnly = true },
		"viewer":    func(_ *Options, f *fake) { f.stats.Role = webhook.Viewer },
	} {
		t.Run(name, func(t *testing.T) {
			d := drive(t, change)
			d.beat()
			for _, screen := range []string{"3 ", "3 enter ", "2 ", "2 enter ", "4 ", "4 enter ", "5 ", "1 l "} {
				for _, name := range []string{"t", "r", "R", "x", "p", "T", "i", "D", "X", "n"} {
					d.overlay = nil
					d.keys(screen + name)
					d.keys("tab enter esc esc esc")
				}
			}
			if len(d.fake.changed) > 0 {
				t.Errorf("it changed %q", d.fake.changed)
			}
		})
	}
}

func TestAQuestionBeginsWithCancel(t *testing.T) {
	d := drive(t)
	for _, ask := range []string{"q", "3 j j j x", "2 r", "2 R"} {
		d.overlay = nil
		d.keys(ask)
		if d.overlay == nil {
			t.Fatalf("%s asks nothing", ask)
		}
		d.keys("enter")
		if d.overlay != nil || d.quit || len(d.fake.changed) > 0 {
			t.Fatalf("after %s and enter: %q", ask, d.fake.changed)
		}
	}
	d.keys("2 R")
	d.write("49")
	d.keys("tab enter")
	d.see(t, "not done")
	d.keys("2 R")
	d.write("50")
	d.keys("enter")
	if !slices.Equal(d.fake.changed, []string{"replay all"}) {
		t.Errorf("it changed %q", d.fake.changed)
	}
}

func TestNoQuestionTakesTheKeysFromWhatIsBeingWritten(t *testing.T) {
	d := drive(t)
	d.keys("3 /")
	d.send(asked{newConfirm("Sure?", "Yes", nil, func() tea.Cmd { return tea.Quit })})
	if _, ok := d.overlay.(*prompt); !ok {
		t.Errorf("the overlay is %T", d.overlay)
	}
}

func TestLeaving(t *testing.T) {
	d := drive(t)
	d.keys("3 enter q")
	if len(d.stack) != 1 || d.overlay != nil {
		t.Fatal("q does not lead back")
	}
	d.keys("q")
	d.see(t, "Leave the dashboard?")
	d.keys("y enter")
	if !d.quit {
		t.Error("it does not leave")
	}
	for _, screen := range []string{"", "/", "?", "q", "6", "4 n"} {
		d := drive(t)
		d.keys("3 " + screen + " ctrl+c")
		if !d.quit {
			t.Errorf("ctrl+c does not leave after %q", screen)
		}
	}
}

// TestEveryKeyThatIsShownDoesSomething: of the footer and of the help.
func TestEveryKeyThatIsShownDoesSomething(t *testing.T) {
	for screen, keys := range roots() {
		d := drive(t)
		d.keys(keys)
		shown := d.screen().keys()
		if screen == "events" || screen == "deliveries" || screen == "rejections" {
			shown = append(shown, listKeys()[1:]...)
		}
		for _, b := range shown {
			for one := range strings.FieldsSeq(b.key) {
				d := drive(t)
				d.keys(keys)
				name, known := map[string]string{"PgDn": "pgdown", "PgUp": "pgup", "PgDn,": "pgdown", "F2": "f2"}[one]
				if !known {
					name = one
				}
				if _, taken := d.screen().press(d.env, key(name)); !taken {
					t.Errorf("%s: %s does nothing", screen, one)
				}
			}
		}
	}
	for _, b := range globalKeys() {
		if b.key == "1-7" {
			continue
		}
		d := drive(t)
		d.keys("3 1 2 enter")
		before := fmt.Sprint(d.text(), len(d.fake.asked))
		d.keys(b.key)
		if fmt.Sprint(d.text(), len(d.fake.asked)) == before {
			t.Errorf("%s does nothing", b.key)
		}
	}
}

func TestNextAndPreviousGoByTheListBehind(t *testing.T) {
	d := drive(t)
	d.keys("3 j enter")
	second, third := d.fake.deliveries[1].ID, d.fake.deliveries[2].ID
	if got := d.screen().title(); got != string(second) {
		t.Fatalf("%s is shown", got)
	}
	d.keys("J")
	if got := d.screen().title(); got != string(third) {
		t.Errorf("J leads to %s", got)
	}
	d.keys("K K K")
	d.see(t, "there is no further one")
	if got := d.screen().title(); got != string(d.fake.deliveries[0].ID) {
		t.Errorf("K leads to %s", got)
	}
}

// TestOldStatisticsDoNotLookLive: most of the overview is made of them.
func TestOldStatisticsDoNotLookLive(t *testing.T) {
	d := drive(t)
	d.statsState.busy, d.statsState.stop = true, func() {} // they do not come
	d.beats(20)
	d.see(t, "10s old")
	d.keys("ctrl+r")
	d.see(t, "● live")
}

func TestAnEndedContextIsNoError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m, release := newModel(ctx, Options{Client: newFake(), Width: 80, Height: 24})
	cmd := m.load()
	cancel()
	release()
	if msg := cmd(); msg != nil {
		if batch, ok := msg.(tea.BatchMsg); ok {
			for _, cmd := range batch {
				if got := cmd(); got != nil {
					t.Errorf("work begins after the end: %v", got)
				}
			}
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error(time.Now())
	}
}
