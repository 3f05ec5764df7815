package tui

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func sandboxBox() *letterbox {
	return &letterbox{
		samples: []api.Sample{{Event: "order.created", Data: json.RawMessage(`{"a":1}`)}, {Event: "user.updated", Data: json.RawMessage(`{"b":2}`)}},
		answer:  api.SandboxAnswer{Status: 202, DurationMS: 12, EventID: "evt_1"},
	}
}

func TestTheFirstSampleIsThereAndTheOthersFollow(t *testing.T) {
	d := driveAt(t, sandboxBox(), sandboxTab, 120, 40)
	d.see(t, "order.created", `"a": 1`)
	d.press("ctrl+n")
	d.see(t, "user.updated", `"b": 2`)
	d.press("ctrl+n")
	d.see(t, "order.created")
}

func TestTheSandboxSendsExactlyWhatIsWritten(t *testing.T) {
	c := sandboxBox()
	d := driveAt(t, c, sandboxTab, 120, 40)
	d.press("tab", "ctrl+u")
	d.write("q1.x")
	d.press("tab")
	for range 10 {
		d.press("ctrl+k")
	}
	d.write(`{"n": 1.0, "s":"é "}`)
	d.press("tab", "right", "down", "right", "down", "right", "ctrl+s")
	want := api.SandboxSend{
		Event: "q1.x", Data: json.RawMessage(`{"n": 1.0, "s":"é "}`), Signing: "body",
		Skew: api.Duration(-10 * time.Minute),
	}
	if len(c.sends) != 1 || c.sends[0].IdempotencyKey == "" {
		t.Fatalf("sent %+v, want one with a key", c.sends)
	}
	want.IdempotencyKey = c.sends[0].IdempotencyKey
	if string(c.sends[0].Data) != string(want.Data) {
		t.Errorf("sent the data %q, want %q", c.sends[0].Data, want.Data)
	}
	expect(t, c.sends[0], want)
	d.press("right", "ctrl+s")
	if len(c.sends) != 2 || c.sends[1].IdempotencyKey != want.IdempotencyKey {
		t.Errorf("the same key as before was %q, want %q", c.sends[1].IdempotencyKey, want.IdempotencyKey)
	}
}

func TestKeysOfTheDashboardAreTextWhileOneWrites(t *testing.T) {
	d := driveAt(t, sandboxBox(), sandboxTab, 120, 40)
	d.press("tab")
	d.write("q12?:")
	d.see(t, "order.createdq12?:")
	if d.tab != sandboxTab || d.overlay != nil {
		t.Error("a letter was taken for a key of the dashboard")
	}
	d.press("esc", "1")
	if d.tab != overviewTab {
		t.Error("esc did not leave the text")
	}
}

func TestARefusalOfTheInboundDoorIsShown(t *testing.T) {
	c := sandboxBox()
	c.answer = api.SandboxAnswer{Status: 401, DurationMS: 3, Error: "invalid_signature", Message: "The signature\x1b[31m is wrong.", RequestID: "rej_1"}
	d := driveAt(t, c, sandboxTab, 120, 40)
	d.press("ctrl+s")
	d.see(t, "401", "invalid_signature", `The signature\x1b[31m is wrong.`, "rej_1")
	d.fits(t)
	c.sendErr = sorry{}
	d.press("ctrl+s")
	d.see(t, "not sent", "no (refused)")
}

func TestAnEventIsWatchedUntilItsDeliveriesHaveEnded(t *testing.T) {
	c := sandboxBox()
	c.event = api.EventDetail{Event: api.Event{ID: "evt_1"}, Deliveries: letters(2)}
	c.event.Deliveries[0].State = webhook.Pending
	d := driveAt(t, c, sandboxTab, 120, 40)
	d.press("ctrl+s")
	d.see(t, "202 received", "evt_1", "2 deliveries", "retrying")
	d.fits(t)
	before := c.looks
	for range 4 {
		d.beat()
	}
	if got := c.looks - before; got != 4 {
		t.Errorf("looked %d times in four beats while one was pending, want 4", got)
	}
	c.event.Deliveries = letters(2)
	c.event.Deliveries[0].State, c.event.Deliveries[1].State = webhook.Delivered, webhook.Delivered
	d.beat()
	d.see(t, "2 delivered")
	before = c.looks
	for range 8 {
		d.beat()
	}
	if got := c.looks - before; got != 2 {
		t.Errorf("looked %d times in eight beats after the end, want 2", got)
	}
	d.press("enter")
	if _, ok := d.screen().(*delivery); !ok {
		t.Error("enter opened no delivery")
	}
}

func TestInvalidJSONIsCalledSoAndSentTheSecondTime(t *testing.T) {
	c := sandboxBox()
	d := driveAt(t, c, sandboxTab, 120, 40)
	d.press("e", "ctrl+k")
	d.write("{]")
	d.press("ctrl+s")
	d.see(t, "line 1, column 2")
	if len(c.sends) != 0 {
		t.Fatal("it was sent at once")
	}
	d.press("ctrl+s")
	if len(c.sends) != 1 || !strings.HasPrefix(string(c.sends[0].Data), "{]") {
		t.Errorf("sent %+v", c.sends)
	}
}

func TestAnApplianceWithoutSandboxIsNamedInWords(t *testing.T) {
	c := &letterbox{samplesErr: sorry{notFound: true}}
	d := driveAt(t, c, sandboxTab, 120, 40)
	d.see(t, "This appliance has no sandbox.")
	d.fits(t)
	c = sandboxBox()
	c.sendErr = sorry{notFound: true}
	d = driveAt(t, c, sandboxTab, 120, 40)
	d.press("ctrl+s")
	d.see(t, "This appliance has no sandbox.")
}

func TestComposeFillsTheSandbox(t *testing.T) {
	d := driveAt(t, sandboxBox(), deadTab, 120, 40)
	d.compose("invoice.paid", json.RawMessage(`{"id":"x","n":[1]}`))
	d.see(t, "invoice.paid", `  "id": "x",`)
	if d.tab != sandboxTab {
		t.Error("the sandbox was not opened")
	}
	d.compose("big", json.RawMessage(`"`+strings.Repeat("x", maxData)+`"`))
	d.see(t, "invoice.paid", "at most 66 kB")
}

func TestWhatWasSentCanBeHadAgain(t *testing.T) {
	d := driveAt(t, sandboxBox(), sandboxTab, 120, 40)
	d.press("ctrl+s", "ctrl+n", "ctrl+s", "tab", "ctrl+u")
	d.write("mine")
	d.press("ctrl+up")
	d.see(t, "user.updated")
	d.press("ctrl+up")
	d.see(t, "order.created")
	d.press("ctrl+down", "ctrl+down")
	d.see(t, "mine")
	s := d.tabs[sandboxTab].(*sandbox)
	for range 30 {
		d.write("x")
		d.press("ctrl+s")
	}
	if len(s.history) != maxHistory {
		t.Errorf("%d sends are kept, want %d", len(s.history), maxHistory)
	}
}

func TestReadOnlyTheSandboxSendsNothing(t *testing.T) {
	c := sandboxBox()
	d := driveAt(t, c, sandboxTab, 120, 40)
	d.env.readOnly = true
	d.press("ctrl+s")
	if len(c.sends) != 0 {
		t.Error("it was sent")
	}
}

func TestTheSandboxFitsEveryWindow(t *testing.T) {
	d := driveAt(t, sandboxBox(), sandboxTab, 120, 40)
	d.compose("evil\x1b[31m\u202e", json.RawMessage("[\"\u202e支付\u200d\t"+strings.Repeat("長い", 5000)+"\"]"))
	for range focusCount {
		d.fits(t)
		d.press("tab")
	}
	d.press("e")
	d.send(tea.PasteMsg{Content: strings.Repeat("x", maxData)})
	d.see(t, "no more fits")
	d.fits(t)
}

// FuzzEditor writes and moves at random and expects the size to be right, the
// cursor in the text, and the drawing in its bounds.
func FuzzEditor(f *testing.F) {
	f.Add("{\"a\": 1}\n\tb\u202e", uint64(1))
	f.Add("支付\r\n\x1b[31m\xff", uint64(2))
	e := newEnv(f.Context(), Options{})
	codes := []rune{tea.KeyLeft, tea.KeyRight, tea.KeyUp, tea.KeyDown, tea.KeyHome, tea.KeyEnd, tea.KeyBackspace, tea.KeyDelete, tea.KeyEnter, tea.KeyPgUp, tea.KeyPgDown}
	f.Fuzz(func(t *testing.T, s string, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		ed := newEditor(seed%5 == 0, 400)
		for range 100 {
			key := tea.KeyPressMsg{Code: codes[random.IntN(len(codes))], Mod: tea.KeyMod(random.IntN(2)) * tea.ModCtrl}
			switch random.IntN(4) {
			case 0:
				key = tea.KeyPressMsg{Code: []rune("wukhd")[random.IntN(5)], Mod: tea.ModCtrl}
			case 1:
				ed.insert(s)
			}
			ed.press(key)
			if ed.size != len(ed.value()) || ed.size > ed.limit {
				t.Fatalf("the size is %d, of %d bytes, at most %d", ed.size, len(ed.value()), ed.limit)
			}
			w, h := 1+random.IntN(30), 1+random.IntN(5)
			lines := ed.render(e, w, h, true)
			if len(lines) != h {
				t.Fatalf("%d lines, want %d", len(lines), h)
			}
			for _, line := range lines {
				if paintedWidth(line) > w {
					t.Fatalf("%q is wider than %d", line, w)
				}
			}
		}
	})
}

// FuzzFault expects a fault to be named exactly where there is one.
func FuzzFault(f *testing.F) {
	for _, s := range []string{"", " ", "{}", "{} x", "[1,", "nul", "\"\xff\"", "{\n ]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if fault := faultOf(s); (fault == "") != json.Valid([]byte(s)) {
			t.Errorf("%q: fault %q, valid %v", s, fault, json.Valid([]byte(s)))
		}
	})
}

func BenchmarkWritingInALongText(b *testing.B) {
	e := newEnv(b.Context(), Options{})
	ed := newEditor(false, 2*maxData)
	ed.set(strings.Repeat("  \"abc\": \"def\",\n", maxData/16))
	for b.Loop() {
		ed.press(tea.KeyPressMsg{Code: 'x', Text: "x"})
		ed.press(tea.KeyPressMsg{Code: tea.KeyBackspace})
		ed.render(e, 80, 40, true)
	}
}
