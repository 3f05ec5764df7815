package tui

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

const (
	// maxData bounds the data that can be written, and maxType the type: longer
	// than a valid one, so that an invalid one can be tried.
	maxData, maxType = 64 << 10, 256
	// maxHistory is how many sends are kept.
	maxHistory = 20
	// besideWidth is from where on the answer is beside the event, not below it.
	besideWidth = 100
	// settledEvery is how often is looked at an event when nothing of it is
	// pending, and at the appliance when there is no event.
	settledEvery = 4 * beat
)

// A focus is where in the sandbox the keys go.
type focus int

const (
	resultFocus focus = iota
	typeFocus
	dataFocus
	optionFocus
	focusCount
)

// An option is one way in which the event can be sent wrongly.
type option int

const (
	signingOption option = iota
	clockOption
	keyOption
	optionCount
)

var (
	optionNames  = [optionCount]string{"Signing", "Clock", "Idem. key"}
	optionValues = [optionCount][]string{
		{"header", "body", "none", "wrong"},
		{"right", "-10m", "+10m"},
		{"none", "new", "same"},
	}
	skews = [...]time.Duration{0, -10 * time.Minute, 10 * time.Minute}
)

// The values of the option for the idempotency key.
const (
	noKey = iota
	newKey
	sameKey
)

// A draft is an event as it is written, and how it is to be sent.
type draft struct {
	eventType, data string
	options         [optionCount]int
}

// sandbox sends events through the inbound door, as an external system would,
// and shows what becomes of them.
type sandbox struct {
	loader
	focus     focus
	option    option
	eventType *editor
	data      *editor
	options   [optionCount]int
	key       string // the idempotency key that was sent last

	samples []api.Sample
	sample  int
	loaded  bool // the samples are known
	absent  bool // the appliance has no sandbox

	history []draft // the oldest first
	recall  int     // which of them is shown; len(history): none
	put     draft   // what was there before a sample or an old send took its place
	// doubted is the data that has been called invalid; sent once more, it goes
	// out as it is.
	doubted *string
	// overfull says that there was no room for what was written last.
	overfull bool

	sending    bool
	answer     *api.SandboxAnswer
	refusal    string // why the appliance did not even send it
	event      webhook.EventID
	shown      api.EventDetail // the event, once it is known
	deliveries *list[api.Delivery]
}

func newSandbox(e *env) *sandbox {
	return &sandbox{
		eventType: newEditor(true, maxType), data: newEditor(false, maxData),
		deliveries: newList(func(d *api.Delivery) string { return string(d.ID) }, fanoutColumns(e)...),
	}
}

// compose fills an event into the sandbox, to be changed and sent.
func (e *env) compose(eventType string, data json.RawMessage) tea.Cmd {
	if len(data) > maxData {
		return say(warn, "the data has "+text.Bytes(int64(len(data)))+"; the sandbox takes at most "+text.Bytes(maxData))
	}
	return e.at(composed{eventType, data})
}

func (s *sandbox) title() string { return "Sandbox" }

func (s *sandbox) state() *loader { return &s.loader }

func (s *sandbox) editing() bool { return s.editor() != nil }

// editor is the one that has the focus; nil: none.
func (s *sandbox) editor() *editor {
	switch s.focus {
	case typeFocus:
		return s.eventType
	case dataFocus:
		return s.data
	}
	return nil
}

func (s *sandbox) load(e *env) tea.Cmd {
	settled := e.now().Sub(s.at) < settledEvery
	switch {
	case s.event != "":
		if settled && s.shown.ID == s.event && !s.pending() {
			return nil
		}
		id := s.event
		return fetch(e, &s.loader, func(ctx context.Context) (api.EventDetail, error) { return e.client.Event(ctx, id) },
			func(detail api.EventDetail) tea.Cmd {
				if id == s.event {
					s.shown = detail
					// The first one that was made is the first one shown.
					slices.Reverse(detail.Deliveries)
					s.deliveries.setRows(detail.Deliveries)
				}
				return nil
			})
	case settled && s.err == nil:
		return nil
	}
	return fetch(e, &s.loader, func(ctx context.Context) (*[]api.Sample, error) {
		samples, err := e.client.Samples(ctx)
		if missing(err) {
			return nil, nil // an answer too
		}
		return &samples, err
	}, func(samples *[]api.Sample) tea.Cmd {
		if s.absent = samples == nil; s.absent {
			return nil
		}
		s.samples = *samples
		if !s.loaded && s.draft() == (draft{}) && len(s.samples) > 0 {
			s.show(s.samples[0].Event, s.samples[0].Data)
		}
		s.loaded = true
		return nil
	})
}

// pending reports whether more is to be expected of the event.
func (s *sandbox) pending() bool {
	return slices.ContainsFunc(s.shown.Deliveries, func(d api.Delivery) bool { return d.State == webhook.Pending })
}

// fill shows an event, ready to be changed.
func (s *sandbox) fill(eventType string, data json.RawMessage) {
	s.keep()
	s.show(eventType, data)
	s.focus = dataFocus
}

func (s *sandbox) show(eventType string, data json.RawMessage) {
	s.eventType.set(eventType)
	s.data.set(indented(string(data)))
	s.recall = len(s.history)
}

// indented is JSON made readable; what is none, or would be too long, stays.
func indented(data string) string {
	var b bytes.Buffer
	if depth(data) > maxIndented || json.Indent(&b, []byte(data), "", "  ") != nil || b.Len() > maxData {
		return data
	}
	return strings.TrimSpace(b.String())
}

func (s *sandbox) draft() draft {
	return draft{s.eventType.value(), s.data.value(), s.options}
}

func (s *sandbox) restore(d draft) {
	s.eventType.set(d.eventType)
	s.data.set(d.data)
	s.options = d.options
}

func (s *sandbox) keys() []binding {
	keys := []binding{{"ctrl+s", "send"}, {"tab", "next field"}, {"ctrl+n ctrl+p", "samples"}, {"ctrl+l", "format"}, {"ctrl+up ctrl+down", "sent before"}}
	switch s.focus {
	case resultFocus:
		shown := []binding{{"ctrl+s", "send"}, {"tab e", "edit"}}
		if s.event != "" {
			shown = append(shown, binding{"enter", "open the delivery"}, binding{"o", "open the event"}, binding{"y", "copy event id"})
		}
		return append(shown, keys[2:]...)
	case optionFocus:
		return append([]binding{{"j k h l", "choose"}}, keys...)
	}
	return append(keys, binding{"esc", "leave the text"})
}

func (s *sandbox) paste(pasted string) {
	if ed := s.editor(); ed != nil {
		s.overfull = !ed.insert(pasted)
	}
}

func (s *sandbox) press(e *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	switch key.String() {
	case "ctrl+s":
		return s.send(e), true
	case "ctrl+l":
		return s.format(), true
	case "ctrl+n":
		return s.cycle(1), true
	case "ctrl+p":
		return s.cycle(-1), true
	case "ctrl+up":
		return s.remember(-1), true
	case "ctrl+down":
		return s.remember(1), true
	case "tab":
		s.focus, s.overfull = (s.focus+1)%focusCount, false
		return nil, true
	case "shift+tab":
		s.focus, s.overfull = (s.focus+focusCount-1)%focusCount, false
		return nil, true
	}
	switch s.focus {
	case typeFocus, dataFocus:
		s.pressText(key)
		return nil, true
	case optionFocus:
		return nil, s.pressOption(key.String())
	}
	return s.pressResult(e, key.String())
}

func (s *sandbox) pressText(key tea.KeyPressMsg) {
	if name := key.String(); name == "esc" || name == "alt+esc" {
		s.focus, s.overfull = resultFocus, false
		return
	}
	taken, fits := s.editor().press(key)
	s.overfull = !fits
	if !taken && key.String() == "enter" {
		s.focus = dataFocus
	}
}

func (s *sandbox) pressOption(name string) bool {
	values := len(optionValues[s.option])
	switch name {
	case "down", "j":
		s.option = (s.option + 1) % optionCount
	case "up", "k":
		s.option = (s.option + optionCount - 1) % optionCount
	case "right", "l", "space", "enter":
		s.options[s.option] = (s.options[s.option] + 1) % values
	case "left", "h":
		s.options[s.option] = (s.options[s.option] + values - 1) % values
	case "esc", "alt+esc":
		s.focus = resultFocus
	default:
		return false
	}
	return true
}

func (s *sandbox) pressResult(e *env, name string) (tea.Cmd, bool) {
	row := s.deliveries.current()
	switch {
	case name == "e":
		s.focus = dataFocus
	case name == "enter" && row != nil:
		return e.open(newDelivery(e, row.ID, s.deliveries)), true
	case name == "o" && s.event != "":
		return e.open(newEvent(e, s.event, nil)), true
	case name == "y" && s.event != "":
		return copyText("the event's id", string(s.event)), true
	default:
		return nil, s.deliveries.press(name)
	}
	return nil, true
}

// cycle shows the next or the previous sample.
func (s *sandbox) cycle(by int) tea.Cmd {
	n := len(s.samples)
	if n == 0 {
		return say(info, "there are no samples")
	}
	s.keep()
	s.sample = (s.sample + by + n) % n
	s.show(s.samples[s.sample].Event, s.samples[s.sample].Data)
	line := fmt.Sprintf("sample %d of %d", s.sample+1, n)
	if s.put != (draft{}) {
		line += " · ctrl+down brings back what was written"
	}
	return say(info, line)
}

// keep remembers what is written, if that is nothing that can be had again.
func (s *sandbox) keep() {
	now := s.draft()
	if slices.Contains(s.history, now) || slices.ContainsFunc(s.samples, func(sample api.Sample) bool {
		return sample.Event == now.eventType && indented(string(sample.Data)) == now.data
	}) {
		return
	}
	s.put = now
}

// remember shows the send before or after; after the last one, what was being
// written.
func (s *sandbox) remember(by int) tea.Cmd {
	to := s.recall + by
	switch {
	case to < 0:
		return say(info, "nothing was sent before that")
	case to < len(s.history):
		if s.recall == len(s.history) {
			s.keep()
		}
		s.restore(s.history[to])
	case s.put != (draft{}):
		to = len(s.history)
		s.restore(s.put)
	default:
		return say(info, "nothing was written after that")
	}
	s.recall = to
	return nil
}

// format indents the JSON.
func (s *sandbox) format() tea.Cmd {
	data := s.data.value()
	if fault := faultOf(data); fault != "" {
		return say(warn, fault)
	}
	s.data.set(indented(data))
	return nil
}

// faultOf says where and why a text is no JSON; empty: it is.
func faultOf(data string) string {
	decoder := json.NewDecoder(strings.NewReader(data))
	var value json.RawMessage
	err := decoder.Decode(&value)
	at := len(data)
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return "there is no JSON"
	case errors.As(err, &syntax):
		at = int(syntax.Offset) - 1
	case err == nil:
		at = int(decoder.InputOffset())
		rest := strings.TrimLeft(data[at:], " \t\r\n")
		if rest == "" {
			return ""
		}
		at = len(data) - len(rest)
		err = errors.New("text after the value")
	}
	before := data[:min(max(at, 0), len(data))]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	return fmt.Sprintf("line %d, column %d: %s", line, column, text.Clean(err.Error()))
}

// send posts what is written, exactly as it is.
func (s *sandbox) send(e *env) tea.Cmd {
	now := s.draft()
	if s.sending {
		return say(info, "the event before is still on its way")
	}
	if why := e.may(webhook.Operator); why != "" {
		return say(warn, why)
	}
	if fault := faultOf(now.data); fault != "" && (s.doubted == nil || *s.doubted != now.data) {
		s.doubted = &now.data
		return say(warn, fault+" · ctrl+s sends it all the same")
	}
	s.doubted = nil
	switch {
	case now.options[keyOption] == newKey, now.options[keyOption] == sameKey && s.key == "":
		s.key = "sandbox-" + rand.Text()
	}
	request := api.SandboxSend{
		Event: now.eventType, Data: json.RawMessage(now.data),
		Signing: optionValues[signingOption][now.options[signingOption]],
		Skew:    api.Duration(skews[now.options[clockOption]]),
	}
	if now.options[keyOption] != noKey {
		request.IdempotencyKey = s.key
	}
	s.history = slices.DeleteFunc(s.history, func(d draft) bool { return d == now })
	s.history = append(s.history, now)
	s.history = s.history[max(len(s.history)-maxHistory, 0):]
	s.recall = len(s.history)
	s.sending, s.answer, s.refusal = true, nil, ""
	s.watch("")
	// Unlike after other changes, what went wrong is to be seen on the screen.
	return e.run(func(ctx context.Context) tea.Msg {
		ctx, stop := context.WithTimeout(ctx, fetchTimeout)
		defer stop()
		answer, err := e.client.SandboxSend(ctx, request)
		return reply{err: err, change: true, done: func() tea.Cmd { return s.answered(answer, err) }}
	})
}

func (s *sandbox) answered(answer api.SandboxAnswer, err error) tea.Cmd {
	s.sending = false
	switch {
	case missing(err):
		s.absent = true
	case err != nil:
		s.refusal = reason(err)
	default:
		s.answer = &answer
		s.watch(answer.EventID)
	}
	return nil
}

// watch shows what becomes of an event.
func (s *sandbox) watch(id webhook.EventID) {
	s.abandon()
	s.event, s.shown = id, api.EventDetail{}
	s.deliveries.setRows(nil)
}
