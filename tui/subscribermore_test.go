package tui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// to puts the cursor of the form on the field.
func (s *sitting) to(t *testing.T, name string) {
	t.Helper()
	f := s.screen().(*form)
	for range f.fields {
		if f.fields[f.focus].name == name {
			return
		}
		s.press("tab")
	}
	t.Fatalf("there is no field %q", name)
}

// put pastes a value into the field.
func (s *sitting) put(t *testing.T, name, value string) {
	t.Helper()
	s.to(t, name)
	s.send(tea.PasteMsg{Content: value})
}

const testPEM = "-----BEGIN THING-----\nAAAA\n-----END THING-----"

func guarded() api.Subscriber {
	s := acme()
	s.BasicUsername, s.BasicPassword, s.TLSCert, s.TLSKey = "pintle", hiddenValue, testPEM, hiddenValue
	s.OAuth2ClientSecret = hiddenValue
	return s
}

func TestAllThatASubscriberCanHaveIsWrittenInTheForm(t *testing.T) {
	s := sit(t, &desk{})
	s.press("n")
	s.put(t, "url", "https://a.example/hooks")
	s.put(t, "events", "*")
	s.put(t, "rate_limit", "0.5")
	for _, name := range []string{"hold", "auto_pause", "on_dead", "scheme"} {
		s.to(t, name)
		s.press("right")
	}
	want := api.SubscriberChange{
		URL: new("https://a.example/hooks"), Events: &[]webhook.Pattern{"*"}, RateLimit: new(0.5), Hold: new(false), AutoPause: new(false),
		OnDead: new(webhook.OnDeadSkip), Scheme: new(webhook.SigningStripe), Ordered: new(api.Ordered(".data.order_id")), OAuth2Scopes: &[]string{"a", "b"},
		Filter: new(".data.amount\n> 100"), Transform: new("{a: 1}"), BasicUsername: new("me"), BasicPassword: new(" pass word"),
		OAuth2TokenURL: new("https://id.example/token"), OAuth2ClientID: new("c-1"), OAuth2ClientSecret: new("hush-hush"), OAuth2Audience: new("aud"),
		TLSCert: new(testPEM), TLSKey: new(testPEM), TLSCA: new(testPEM),
	}
	s.put(t, "ordered", string(*want.Ordered))
	s.put(t, "oauth2_scopes", "a, b")
	s.put(t, "basic_password", *want.BasicPassword)
	for _, name := range []string{"filter", "transform", "basic_username", "oauth2_token_url", "oauth2_client_id", "oauth2_client_secret", "oauth2_audience", "tls_cert", "tls_key", "tls_ca"} {
		s.put(t, name, **textOf(&want, name))
		s.check(t)
		s.miss(t, "pass word", "hush-hush")
	}
	s.press("ctrl+s")
	if diff := cmp.Diff([]api.SubscriberChange{want}, s.desk.added); diff != "" {
		t.Errorf("added (-want +got):\n%s\n%s", diff, s.text())
	}
}

// TestACredentialThatIsLeftAloneStays: the stars that stand for it are not sent
// as part of another one.
func TestACredentialThatIsLeftAloneStays(t *testing.T) {
	s := sit(t, &desk{subscribers: []api.Subscriber{guarded()}})
	for _, name := range []string{"basic_password", "oauth2_client_secret", "tls_key"} {
		of := func(c *api.SubscriberChange) *string {
			if name == "basic_password" {
				return c.BasicPassword
			}
			return *textOf(c, name)
		}
		for keys, want := range map[string]*string{"left right": nil, "x y": new("xy"), "backspace": new(""), "backspace z": new("z")} {
			s.press("E")
			s.to(t, "rate_limit")
			s.press("7")
			s.to(t, name)
			s.see(t, "***")
			s.keys(keys)
			s.press("ctrl+s")
			if len(s.desk.changed) != 1 {
				t.Fatalf("%s, %s: changed %v:\n%s", name, keys, s.desk.changed, s.text())
			}
			if got := of(&s.desk.changed[0]); !cmp.Equal(got, want) {
				t.Errorf("%s, %s: it was sent as %v", name, keys, got)
			}
			s.desk.changed = nil
		}
	}
}

func TestAFaultFarDownIsSeenAtItsField(t *testing.T) {
	s := sit(t, &desk{subscribers: []api.Subscriber{guarded()}, refuse: refusal{"transform": "line 1, column 3: unexpected token", "tls_key": "is not that of the certificate"}})
	for _, size := range [][2]int{{40, 10}, {80, 24}, {200, 50}} {
		s.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		s.press("n")
		s.put(t, "url", "https://a.example")
		s.put(t, "events", "*")
		s.put(t, "transform", "{ )")
		s.press("ctrl+s")
		s.see(t, "> Transform", "! line 1, column 3: unexpected")
		s.to(t, "tls_key")
		s.see(t, "> Key", "! is not that of the")
		s.check(t)
		s.press("esc", "tab", "enter")
	}
}

func TestTheLessUsualFieldsStandUnderHeadings(t *testing.T) {
	s := sit(t, &desk{subscribers: []api.Subscriber{guarded()}})
	s.send(tea.WindowSizeMsg{Width: 80, Height: 60})
	s.press("E")
	s.see(t, "─ pace and outages ─", "─ filter and transform ─", "─ order ─", "─ signature and credentials ─", "─ TLS ─")
	s.check(t)
}

func TestPgDnAndPgUpGoFromPartToPart(t *testing.T) {
	s := sit(t, &desk{})
	s.press("n", "tab")
	f := s.screen().(*form)
	var seen []string
	for range 6 {
		seen = append(seen, f.fields[f.focus].name)
		s.press("pgdown")
	}
	s.press("down", "pgup", "pgup")
	seen = append(seen, f.fields[f.focus].name)
	for range 6 {
		s.press("pgup")
	}
	seen = append(seen, f.fields[f.focus].name)
	if want := []string{"description", "rate_limit", "filter", "ordered", "scheme", "tls_cert", "scheme", "url"}; !cmp.Equal(seen, want) {
		t.Errorf("it goes by %v, want %v", seen, want)
	}
}

func TestTheCursorIsWhereTheFaultOfAnExpressionIs(t *testing.T) {
	for fault, want := range map[string][2]int{
		"line 9, column 4: unexpected token": {8, 3}, "line 1, column 1: empty": {0, 0}, "line 77, column 900: odd": {11, 2}, "it takes too long": {11, 2},
	} {
		s := sit(t, &desk{subscribers: []api.Subscriber{acme()}, refuse: refusal{"filter": fault}})
		s.press("n")
		s.put(t, "url", "https://a.example")
		s.put(t, "events", "*")
		s.put(t, "filter", strings.Repeat("支付 and\n", 11)+"ok")
		s.press("ctrl+s")
		area := &s.screen().(*form).field("filter").area
		if got := [2]int{area.Line(), area.Column()}; got != want {
			t.Errorf("%s: the cursor is at %v, want %v", fault, got, want)
		}
		s.see(t, "! "+fault)
		s.check(t)
	}
}

func TestWhatCanBeSaidOfCredentialsIsSaidAtOnce(t *testing.T) {
	for name, bad := range map[string]string{
		"oauth2_token_url": "ftp://id.example", "oauth2_client_id": strings.Repeat("x", 5000), "oauth2_client_secret": strings.Repeat("x", 5000), "oauth2_scopes": `a"b`,
		"oauth2_audience": strings.Repeat("x", 5000), "basic_username": "a:b", "rate_limit": "-1", "tls_ca": strings.Repeat("x", 100_000),
	} {
		s := sit(t, &desk{})
		s.press("n")
		s.put(t, "url", "https://a.example")
		s.put(t, "events", "*")
		s.put(t, name, bad)
		s.press("ctrl+s")
		f, still := s.screen().(*form)
		if !still || f.field(name).fault == "" {
			t.Errorf("%s: no fault is found:\n%s", name, s.text())
		}
	}
}
