package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// Rules say who may come in, and where. They can be replaced while requests
// come in: each request is judged by those in force when it began.
type Rules struct {
	// Sources are the endpoints. Their names and paths are unique.
	Sources []webhook.Source
	// TrustedProxies are believed when they say whom they speak for.
	TrustedProxies []netip.Prefix
	// ASNs knows the autonomous systems of addresses; nil: nobody does.
	ASNs *security.ASNDatabase
}

// rules are [Rules] made ready for use.
type rules struct {
	byPath  map[string]*source
	proxies *security.Proxies
	asns    *security.ASNDatabase
	// secrets are how those of all sources begin, so that one which comes where
	// it does not belong is not kept with the request.
	secrets []string
}

// secretBeginning is by how many bytes a secret is recognised, so that one that
// was cut short is too. One of fewer than secretLeast could be part of any word.
const (
	secretBeginning = 12
	secretLeast     = 8
)

// hold reports whether one of the secrets stands in the text.
func (r *rules) hold(text string) bool {
	return slices.ContainsFunc(r.secrets, func(begin string) bool { return strings.Contains(text, begin) })
}

// A source is a [webhook.Source] made ready for use.
type source struct {
	webhook.Source
	verifier  *signature.Verifier
	allowlist *security.Allowlist
	places    places
}

func newRules(r Rules) (*rules, error) {
	made := &rules{byPath: map[string]*source{}, proxies: security.NewProxies(r.TrustedProxies), asns: r.ASNs}
	for _, s := range r.Sources {
		verifier, err := signature.NewVerifier(s.Scheme, s.Form, s.Secrets)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		for _, secret := range s.Secrets {
			// Senders leave the prefix of Standard Webhooks out.
			text := strings.TrimPrefix(secret.Reveal(), webhook.SecretPrefix)
			if len(text) >= secretLeast {
				made.secrets = append(made.secrets, text[:min(len(text), secretBeginning)])
			}
		}
		made.byPath[s.Path] = &source{
			Source: s, verifier: verifier, allowlist: security.NewAllowlist(s.AllowIPs, s.AllowASNs), places: placesOf(&s),
		}
	}
	return made, nil
}

// setting names keys of the source as they stand in the configuration.
func (s *source) setting(keys ...string) string {
	section := "sources." + s.Name
	if s.Name == webhook.SourceInbound {
		section = "inbound"
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = section + "." + key
	}
	return strings.Join(names, " and ")
}
