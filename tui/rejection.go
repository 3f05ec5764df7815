package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// rejection is one refused request: which gates it passed and which refused it,
// what is known of the reason, and the head of the request.
type rejection struct {
	id webhook.RejectionID
	// among is the list that it was opened from, for the one before and after.
	among *list[api.Rejection]

	loader
	scroller
	shown api.RejectionDetail
}

func newRejection(id webhook.RejectionID, among *list[api.Rejection]) *rejection {
	return &rejection{id: id, among: among}
}

func (v *rejection) title() string { return string(v.id) }

func (v *rejection) state() *loader { return &v.loader }

func (v *rejection) editing() bool { return false }

func (v *rejection) load(e *env) tea.Cmd {
	id := v.id
	if v.shown.ID != "" && v.err == nil && e.now().Sub(v.at) < 4*beat {
		return nil // it does not change; but it goes when there are too many
	}
	return fetch(e, &v.loader, func(ctx context.Context) (api.RejectionDetail, error) { return e.client.Rejection(ctx, id) },
		func(detail api.RejectionDetail) tea.Cmd {
			v.shown, v.laidFor = detail, ""
			return nil
		})
}

func (v *rejection) keys() []binding {
	return []binding{
		{"j k PgUp PgDn", "scroll"}, {"y", "copy id"}, {"Y", "copy all as text"}, {"i", "only this client"}, {"J K", "next, previous"},
		{"/", "find"}, {"n N", "next, previous match"},
	}
}

func (v *rejection) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	if v.shown.ID == "" {
		return nil, false
	}
	switch name := key.String(); name {
	case "y":
		return copyText("the rejection's id", string(v.id)), true
	case "Y":
		return copyText("the rejection", v.plain(e)), true
	case "i":
		return onlyClient(e, "", &v.shown.Rejection), true
	case "J":
		return v.step(1), true
	case "K":
		return v.step(-1), true
	default:
		return v.scroller.press(e, name)
	}
}

// step shows the next or the previous rejection of the list that this one was
// opened from.
func (v *rejection) step(by int) tea.Cmd {
	if v.among == nil {
		return say(info, "there is no list behind this screen")
	}
	row := v.among.step(string(v.id), by)
	if row == nil {
		return say(info, "there is no further one")
	}
	v.abandon()
	*v = rejection{id: row.ID, among: v.among, scroller: scroller{finder: finder{sought: v.sought}}, loader: loader{turn: v.turn}}
	return look
}

// A rung is one gate of the ladder, and what became of the request there.
type rung struct {
	words string
	role  role
}

// rungs are the gates that the request passed, the one that refused it, and
// those that it did not come to.
func (v *rejection) rungs(g *glyphs) []rung {
	var rungs []rung
	for _, check := range v.shown.Passed {
		rungs = append(rungs, rung{gate(check) + " " + g.ok, good})
	}
	rungs = append(rungs, rung{gate(v.shown.Check) + " " + g.fail, bad})
	all := webhook.Checks()
	if at := slices.Index(all, v.shown.Check); at >= 0 {
		for _, check := range all[at+1:] {
			rungs = append(rungs, rung{gate(check) + " –", dim})
		}
	}
	return rungs
}

// gate is what people call a check.
func gate(check webhook.Check) string {
	if check == webhook.CheckJSON {
		return "JSON"
	}
	return strings.ReplaceAll(text.Cut(string(check), 30), "_", " ")
}

// ladder draws the gates, as many to a line as there is room for.
func (v *rejection) ladder(e *env, w int) []string {
	var lines []string
	line, used := "", 0
	for i, r := range v.rungs(e.glyphs) {
		words, arrow := text.Cut(r.words, w-2), ""
		if i > 0 {
			arrow = " → "
		}
		if i > 0 && used+text.Width(arrow+words) > w {
			lines = append(lines, line)
			line, used, arrow = "", 0, "→ "
		}
		line += e.paint(dim, arrow) + e.paint(r.role, words)
		used += text.Width(arrow + words)
	}
	return append(lines, line)
}

// facts are all that are known: what was answered and why, and who asked.
func (v *rejection) facts() []fact {
	s := &v.shown
	unkept := ""
	if s.Unkept > 0 {
		unkept = counted(s.Unkept, "rejection", "rejections") + " like it just before, too many to be kept"
	}
	body := "none was read"
	if s.BodySHA256 != "" {
		body = text.Bytes(s.BodySize) + " · SHA-256 " + s.BodySHA256
	}
	client := clientOf(&s.Rejection)
	if s.PeerIP != "" && s.PeerIP != s.ClientIP {
		client += ", through " + s.PeerIP
	}
	all := []fact{
		{"Answer", answerOf(&s.Rejection) + ": " + s.Message, severity(s.Status)},
		{"Rule", s.Rule, plain},
		{"Clock", clockFact(s), plain},
		{"Expected", s.Expected, plain},
		{"Diagnosis", s.Diagnosis, strong},
		{"Refused", moment(s.At) + " UTC", plain},
		{"Source", sourceOf(&s.Rejection), plain},
		{"Client", client, plain},
		{"Event", s.EventType, plain},
		{"Key", s.SenderKey, plain},
		{"Unkept", unkept, warn},
		{"Body", body, plain},
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.value == "" })
}

// clockFact says how far the sender's clock was off, and how far it may be
// where that is why it was refused: the rule is a setting and its value.
func clockFact(s *api.RejectionDetail) string {
	if s.SkewSeconds == nil {
		return ""
	}
	span, ahead := skewSpan(*s.SkewSeconds)
	line := "its clock is " + span
	switch {
	case *s.SkewSeconds == 0:
		line = "its clock is as ours"
	case ahead:
		line += " ahead of ours"
	default:
		line += " behind ours"
	}
	_, value, _ := strings.Cut(s.Rule, "max_clock_skew = ")
	if allowed, err := time.ParseDuration(value); err == nil {
		line += "; " + api.Duration(allowed).String() + " are allowed"
	}
	return line
}

func (v *rejection) render(e *env, w, h int) []string {
	s := &v.shown
	if s.ID == "" {
		return waiting(e, &v.loader, w)
	}
	lines := []string{withID(e, answerOf(&s.Rejection)+" · "+sourceOf(&s.Rejection), string(s.ID), w)}
	return append(lines, v.visible(e, fmt.Sprint(w, e.dark), h-len(lines), func() []string { return v.layout(e, w-2) })...)
}

// factWidth is how wide the names of the facts are.
const factWidth = 10

func (v *rejection) layout(e *env, w int) []string {
	lines := append(v.ladder(e, w), "")
	lines = append(lines, factLines(e, v.facts(), factWidth, w)...)
	lines = append(lines, "", partLine(e, "request", w))
	lines = append(lines, e.paint(strong, text.Cut(v.shown.Method+" "+v.shown.Path, w)))
	return append(lines, headLines(e, v.shown.Header, w, true)...)
}

// plain is all of it as a text, to be handed to whoever sent the request.
func (v *rejection) plain(e *env) string {
	var b strings.Builder
	var ladder []string
	for _, r := range v.rungs(e.glyphs) {
		ladder = append(ladder, r.words)
	}
	fmt.Fprintf(&b, "%s\n%s\n\n", text.Clean(string(v.id)), strings.Join(ladder, "  "))
	writeFacts(&b, v.facts(), factWidth)
	fmt.Fprintf(&b, "\n%s %s\n", text.Clean(v.shown.Method), text.Clean(v.shown.Path))
	for _, h := range v.shown.Header {
		fmt.Fprintf(&b, "%s: %s\n", text.Clean(h.Name), text.Clean(h.Value))
	}
	return b.String()
}
