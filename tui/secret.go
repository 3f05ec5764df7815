package tui

import (
	"context"

	tea "charm.land/bubbletea/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// A secretBox shows a secret. When it closes, the secret is gone from memory as
// far as that is in its hands.
type secretBox struct {
	title  string
	secret string
	// once says that the secret was made just now: then only a key that is meant
	// to closes the box.
	once bool
	// test sends a test event; nil: that is not offered.
	test func() tea.Cmd
}

// showNewSecret shows a secret that has just been made.
func showNewSecret(e *env, s *api.Subscriber, title string, test bool) tea.Cmd {
	box := &secretBox{title: title, secret: s.Secret, once: true}
	if test {
		id := s.ID
		box.test = func() tea.Cmd { return testSubscriber(e, id) }
	}
	return e.ask(box)
}

// showSecret fetches the secret of a subscriber and shows it.
func showSecret(e *env, id webhook.SubscriberID, name string) tea.Cmd {
	return e.change(webhook.Administrator, func(ctx context.Context) (func() tea.Cmd, error) {
		secret, err := e.client.SubscriberSecret(ctx, id)
		return func() tea.Cmd { return e.ask(&secretBox{title: "Secret of " + name, secret: secret.Reveal()}) }, err
	})
}

func (b *secretBox) press(_ *env, key tea.KeyPressMsg) (tea.Cmd, bool) {
	var cmd tea.Cmd
	switch name := key.String(); {
	case name == "y":
		return copyText("the secret", b.secret), false
	case name == "T" && b.test != nil:
		cmd = b.test()
	case b.once && name != "enter" && name != "esc" && name != "alt+esc":
		return nil, false
	}
	b.secret = ""
	return cmd, true
}

func (b *secretBox) bottom() bool { return false }

func (b *secretBox) render(e *env, w, h int) []string {
	keys, note := "y copies it · any other key closes", ""
	if b.once {
		keys, note = "y copies it · enter closes", "The receiver needs it to verify signatures."
	}
	if b.test != nil {
		keys += " · T sends a test"
	}
	inner := boxWidth(w, b.title, b.secret, keys, note)
	var body []string
	for _, line := range text.Lines(b.secret, inner, true) {
		body = append(body, e.paint(strong, text.Fit(line, inner)))
	}
	tail := wrapped(keys, inner)
	if note != "" {
		tail = append(tail, wrapped(note, inner)...)
	}
	// Where there is little room, it is the secret that must be seen.
	if len(body)+len(tail)+3 <= h {
		body = append(body, text.Spaces(inner))
	}
	for _, line := range tail {
		body = append(body, e.paint(dim, text.Fit(line, inner)))
	}
	return box(e, w, b.title, body[:min(len(body), max(h-2, 1))], inner)
}
