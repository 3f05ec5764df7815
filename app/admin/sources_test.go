package admin_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

// sources are the inbound endpoints of all tests.
func sources() []webhook.Source {
	return []webhook.Source{{
		Name: webhook.SourceInbound, Path: "/webhook/inbound", Scheme: webhook.SchemeAgent, Secrets: []webhook.Secret{inboundSecret, "the one before"},
		Enabled: true, ValidateSignature: true, MaxClockSkew: 5 * time.Minute, MaxBody: 1 << 20,
	}, {
		Name: "git hub", Path: "/git hub", Scheme: webhook.SchemeGitHub, Secrets: []webhook.Secret{"github-secret"}, ClientID: "acme", EventPrefix: "github",
		Enabled: true, ValidateSignature: true, MaxBody: 25 << 20, RateLimit: 2.5,
		AllowIPs: []netip.Prefix{netip.MustParsePrefix("192.30.252.0/22"), netip.MustParsePrefix("2001:db8::/32")}, AllowASNs: []uint32{36459},
	}, {
		Name: "open", Path: "/open", Scheme: webhook.SchemeNone,
	}}
}

func TestSourcesAreListedWithoutTheirSecrets(t *testing.T) {
	a := start(t)
	want := []api.Source{{
		Name: "inbound", URL: "http://inbound/webhook/inbound", Path: "/webhook/inbound", Scheme: webhook.SchemeAgent, Expects: "as agent does", Secrets: 2,
		Enabled: true, ValidateSignature: true, MaxClockSkew: api.Duration(5 * time.Minute), MaxBody: 1 << 20, AllowIPs: []string{}, AllowASNs: []uint32{},
	}, {
		Name: "git hub", URL: "http://inbound/git%20hub", Path: "/git hub", Scheme: webhook.SchemeGitHub, Expects: "as github does", Secrets: 1,
		ClientID: "acme", EventPrefix: "github", Enabled: true, ValidateSignature: true, MaxBody: 25 << 20, RateLimit: 2.5,
		AllowIPs: []string{"192.30.252.0/22", "2001:db8::/32"}, AllowASNs: []uint32{36459},
	}, {
		Name: "open", URL: "http://inbound/open", Path: "/open", Scheme: webhook.SchemeNone, Expects: "as none does", AllowIPs: []string{}, AllowASNs: []uint32{},
	}}
	got, err := a.Sources(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, _, body := a.request(t, "GET", "/api/v1/sources", ""); strings.Contains(body, "-secret") || strings.Contains(body, "the one before") || strings.Contains(body, "null") {
		t.Errorf("the list is %s", body)
	}
}

func TestNewestSecretOfASourceIsToldOnRequest(t *testing.T) {
	a := start(t)
	for name, want := range map[string]string{"inbound": inboundSecret, "git hub": "github-secret"} {
		if secret, err := a.SourceSecret(t.Context(), name); err != nil || secret.Reveal() != want {
			t.Errorf("%s: got %q, %v", name, secret.Reveal(), err)
		}
	}
	for name, says := range map[string]string{"open": "has no secret", "nobody": "no source with this name", "Inbound": "no source"} {
		var refused *client.Error
		if _, err := a.SourceSecret(t.Context(), name); !errors.As(err, &refused) || refused.Status != http.StatusNotFound || !strings.Contains(refused.Message, says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
