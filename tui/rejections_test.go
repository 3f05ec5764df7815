package tui

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// openRejection opens the newest rejection that the query selects.
func (d *driver) openRejection(query string) {
	d.run(d.goTo(rejectionsTab, query))
	d.keys("enter")
	d.render()
}

func (d *driver) refused() *pager[api.Rejection] { return d.tabs[rejectionsTab].(*rejections).pager }

func TestRejectionsLookAsTheyDid(t *testing.T) {
	for _, c := range []struct {
		w, h  int
		ascii bool
	}{{40, 10, false}, {40, 10, true}, {80, 24, true}, {100, 30, false}} {
		d := drive(t, func(o *Options, _ *fake) { o.Width, o.Height, o.ASCII = c.w, c.h, c.ascii })
		name := fmt.Sprintf("%dx%d", c.w, c.h)
		if c.ascii {
			name += "-ascii"
		}
		for screen, keys := range map[string]string{"rejections": "7 g", "rejection": "7 g j j enter"} {
			d.keys(keys)
			d.check(t)
			golden(t, screen+"-"+name, trimmed(d.text()))
			if text := d.text(); c.ascii && !isASCII(text) {
				t.Errorf("not ASCII:\n%s", text)
			}
		}
	}
}

// trimmed is a screen without the blanks at the ends of its lines.
func trimmed(screen string) string {
	var b strings.Builder
	for line := range strings.Lines(screen + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func TestARejectionSaysWhichGateRefusedItAndWhy(t *testing.T) {
	d := drive(t)
	d.send(tea.WindowSizeMsg{Width: 80, Height: 40})
	for query, wants := range map[string][]string{
		"status:401": {
			"path ✓ → method ✓ → media type ✓ → address ✓ → rate ✓ → size ✓ → empty ✓", "→ JSON ✓ → members ✓ → signature ✗ → window – → storage –",
			"401 invalid_signature: the signature does not match", "Expected  X-Hub-Signature-256: sha256=", "Diagnosis none of the 2 secrets",
			"203.0.113.7 AS64500 Example Networks, through 10.0.0.1", "github.push", "7.3 kB · SHA-256", "POST /webhook/github", "User-Agent: GitHub-Hookshot/044aadd",
		},
		"status:422": {"signature ✓ → window ✗ → storage –", "its clock is 6m52s behind ours; 5m are allowed", "inbound.max_clock_skew = 5m0s", "Key       ord-88"},
		"status:404": {" path ✗ → method – ", "1,204 rejections like it just before", "Client    2001:db8:1::7\n", "none was read"},
		"status:507": {"window ✓ → storage ✗\n", "its clock is 2s ahead of ours\n"},
	} {
		d.openRejection(query)
		d.see(t, wants...)
		d.check(t)
	}
	d.miss(t, "secret_")
}

func TestAClockIsOffByWhateverWasSent(t *testing.T) {
	for seconds, want := range map[int64][2]string{
		0:             {"+0s", "its clock is as ours"},
		-412:          {"-6m52s", "its clock is 6m52s behind ours"},
		86400:         {"+1d00h", "its clock is 1d00h ahead of ours"},
		math.MaxInt64: {"+99420d12h", "its clock is 99420d12h ahead of ours"},
		math.MinInt64: {"-99420d12h", "its clock is 99420d12h behind ours"},
	} {
		s := &api.RejectionDetail{Rejection: api.Rejection{SkewSeconds: &seconds}}
		if got := [2]string{skewOf(&s.Rejection), clockFact(s)}; got != want {
			t.Errorf("%d: %q, want %q", seconds, got, want)
		}
	}
}

func TestTheRejectionsFollowWhatIsNew(t *testing.T) {
	d := drive(t)
	d.keys("7")
	d.fake.refuse(2)
	d.beat()
	d.see(t, "14 rejections · FOLLOW")
	if d.refused().current().ID != d.fake.rejections[0].ID {
		t.Error("the newest row is not under the cursor")
	}
	d.keys("j")
	at := d.refused().current().ID
	d.fake.refuse(3)
	d.beat()
	d.see(t, "FOLLOW OFF · ↑3 new")
	if d.refused().current().ID != at {
		t.Error("the row under the cursor has changed")
	}
}

func TestTheRejectionsAreNarrowedByQueryClientAndTime(t *testing.T) {
	d := drive(t)
	d.keys(":")
	d.write("rejections source:github")
	d.keys("enter")
	d.see(t, "source:github", "6 rejections")
	d.miss(t, "unknown_source")
	d.keys("/ ctrl+u")
	d.see(t, "source: code: status: ip: since: until:")
	d.keys("enter j i")
	d.see(t, "ip:2001:db8:1::7", "3 rejections")
	d.keys("@")
	d.write("2h")
	d.keys("enter")
	d.see(t, "ip:2001:db8:1::7 until:2h")
	d.keys("f2")
	d.see(t, "12 rejections")
	d.keys("enter i")
	d.see(t, "ip:203.0.113.7 ", "9 rejections")
}

// TestAClientWithoutAnAddressSelectsNothing: a query must mean what is shown.
func TestAClientWithoutAnAddressSelectsNothing(t *testing.T) {
	d := drive(t)
	for _, address := range []string{"", "1.2.3.4 source:x", "\"", "a\nb"} {
		for i := range d.fake.rejections {
			d.fake.rejections[i].ClientIP = address
		}
		d.keys("7 ctrl+r i")
		d.see(t, "the address of the client is not known")
		if d.refused().query != "" {
			t.Errorf("%q has become the query %q", address, d.refused().query)
		}
	}
}

func TestNoRejectionsSaySo(t *testing.T) {
	d := drive(t, func(_ *Options, f *fake) { f.rejections = nil })
	for _, width := range []int{40, 80} {
		d.send(tea.WindowSizeMsg{Width: width, Height: 24})
		d.keys("7")
		d.see(t, "✓ Nothing was refused.")
		d.check(t)
	}
	d.run(d.goTo(rejectionsTab, "code:rate_limited"))
	d.see(t, "No rejections match this filter.")
}

func TestARejectionCanBeCopied(t *testing.T) {
	d := drive(t)
	evil := "a\x1b[31m\u202e\nb"
	for i := range d.fake.rejections {
		r := &d.fake.rejections[i]
		r.Message, r.Diagnosis, r.Header = evil, evil, []api.Header{{Name: "X-Evil", Value: evil}}
	}
	id := string(d.fake.rejections[0].ID)
	d.keys("7 y")
	if d.clip != id {
		t.Errorf("copied %q", d.clip)
	}
	d.clip = ""
	d.keys("enter y")
	if d.clip != id {
		t.Errorf("copied %q", d.clip)
	}
	d.keys("Y")
	for _, want := range []string{id + "\n", "path ✓", "storage ✗\n", `Answer    507 storage_full: a\x1b[31m\u202e\nb` + "\n", `X-Evil: a\x1b[31m\u202e\nb` + "\n", "POST /webhook/github\n"} {
		if !strings.Contains(d.clip, want) {
			t.Errorf("it lacks %q:\n%s", want, d.clip)
		}
	}
	if strings.ContainsAny(d.clip, "\x1b\u202e") {
		t.Errorf("what is handed on is not clean: %q", d.clip)
	}
}

func TestATextIsFoundInARejection(t *testing.T) {
	d := drive(t)
	d.openRejection("status:401")
	d.find("hookshot")
	d.see(t, ">User-Agent: GitHub-Hookshot")
	d.find("no such thing")
	d.see(t, "is not here")
}

func TestRejectionsAreReadOneAfterTheOther(t *testing.T) {
	d := drive(t)
	d.keys("7 enter J")
	d.see(t, string(d.fake.rejections[1].ID), "unknown_source")
	d.keys("K K")
	d.see(t, string(d.fake.rejections[0].ID), "there is no further one")
	d.keys("J esc")
	if got, want := d.refused().current().ID, d.fake.rejections[1].ID; got != want {
		t.Errorf("the cursor is on %s, want %s", got, want)
	}
}

// TestARejectionThatIsGoneStaysOnTheScreen: only so many are kept, and a flood
// takes the old ones from under the reader's eyes.
func TestARejectionThatIsGoneStaysOnTheScreen(t *testing.T) {
	d := drive(t)
	d.keys("7 enter")
	d.fake.rejections = nil
	d.beats(5)
	d.see(t, "storage_full", "there is no such rejection")
	d.openRejection("rej_gone")
	d.see(t, "No rejections match")
}

func TestAFindingAboutRefusalsLeadsToThem(t *testing.T) {
	d := drive(t, func(_ *Options, f *fake) {
		f.stats.Attention = []api.Finding{{Severity: api.Warning, Subject: api.Rejections, Text: "204 in an hour", Query: "source:github"}}
	})
	d.see(t, "204 in an hour")
	d.keys("enter")
	d.see(t, "ANSWER", "source:github", "6 rejections")
}

func TestAnOldRejectionHasItsDay(t *testing.T) {
	at := func(s string) api.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return api.Time{Time: v}
	}
	for s, want := range map[string]string{
		"2026-01-31T00:00:00Z": "00:00:00.000", "2026-01-30T23:59:59Z": "Jan 30 23:59", "2025-01-31T14:02:31Z": "Jan 31 14:02", "2026-01-31T01:30:00+02:00": "Jan 30 23:30",
	} {
		if got := clockOrDay(began, at(s)); got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
}

// TestNoHostileRejectionIsObeyed: whoever is refused writes most of what is
// shown of it.
func TestNoHostileRejectionIsObeyed(t *testing.T) {
	evil := "\x1b]52;c;ZXZpbA==\a\x1bP$q\x1b_G\u009b2J\x9b2J\u202e\r\n\b支付" + strings.Repeat("\x1b[31mx", 100_000)
	d := drive(t)
	for i := range d.fake.rejections {
		d.fake.rejections[i] = api.RejectionDetail{
			Rejection: api.Rejection{
				ID: d.fake.rejections[i].ID, Source: evil, Status: 401, Code: evil, Message: evil, Check: webhook.Check(evil), ClientIP: evil, PeerIP: evil + "2",
				ASN: math.MaxUint32, Organisation: evil, SkewSeconds: new(int64(math.MinInt64)), EventType: evil, SenderKey: evil, Unkept: math.MaxInt,
			},
			Passed: slices.Repeat([]webhook.Check{webhook.Check(evil)}, 20), Rule: evil, Expected: evil, Diagnosis: evil, Method: evil, Path: evil,
			Header: []api.Header{{Name: evil, Value: evil}}, BodySize: math.MaxInt64, BodySHA256: evil,
		}
	}
	best := time.Minute
	for range 3 {
		best = min(best, d.clockOf(func() {
			d.keys("7 ctrl+r enter")
			d.check(t)
		}))
		d.keys("esc")
	}
	d.keys("7 enter")
	for _, size := range [][2]int{{40, 10}, {41, 11}, {80, 24}, {200, 50}} {
		d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for range 5 {
			d.check(t)
			d.keys("pgdown")
		}
		d.keys("G")
		d.check(t)
	}
	if best > 200*time.Millisecond*slowdown {
		t.Errorf("it took %s", best)
	}
	d.fake.err = errors.New(evil)
	d.keys("esc enter")
	d.check(t)
}
