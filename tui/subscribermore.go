package tui

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// particularFields are the fields that most subscribers do without.
func particularFields(s *api.Subscriber) []*field {
	rate := ""
	if s.RateLimit != 0 {
		rate = strconv.FormatFloat(s.RateLimit, 'f', -1, 64)
	}
	fields := []*field{
		newLine("rate_limit", "Rate limit", rate, "Requests that begin in a second at most, such as 10 or 0.5. Empty: no bound.", func(v string) error {
			rate, err := parseRate(strings.TrimSpace(v))
			if err != nil {
				return err
			}
			return rule("rate_limit", webhook.Subscriber{RateLimit: rate})
		}).under("pace and outages"),
		newChoice("hold", "Hold", yesNo(s.Hold), "Whether its deliveries wait through an outage without spending retries. Left and right choose.", "yes", "no"),
		newChoice("auto_pause", "Auto pause", yesNo(s.AutoPause), "Whether it is paused when an outage lasts very long. Left and right choose.", "yes", "no"),
		newLines("filter", "Filter", s.Filter, "A jq expression: only events for which it is true are delivered, such as .data.amount > 100. Empty: all of its types.", func(v string) error {
			return rule("filter", webhook.Subscriber{Filter: v})
		}).under("filter and transform"),
		newLines("transform", "Transform", s.Transform, "A jq expression that makes the body that is sent, such as {text: .data.message}. Empty: the usual body.", func(v string) error {
			return rule("transform", webhook.Subscriber{Transform: v})
		}),
		newLine("ordered", "Ordered", string(s.Ordered), "A jq path such as .data.order_id: events of one key come one after the other. true: all do. Empty: no order.", func(v string) error {
			return rule("ordered", webhook.Subscriber{Ordered: strings.TrimSpace(v)})
		}).under("order"),
		newChoice("on_dead", "On dead", string(cmp.Or(s.OnDead, webhook.OnDeadBlock)), "Whether a dead letter blocks the later events of its key, or is skipped. Left and right choose.", string(webhook.OnDeadBlock), string(webhook.OnDeadSkip)),
	}
	return append(fields, accessFields(s)...)
}

// accessFields are those by which the receiver knows who calls, and the other way
// round.
func accessFields(s *api.Subscriber) []*field {
	const keeps = " " + hiddenValue + " stays as it is."
	return []*field{
		newChoice("scheme", "Scheme", string(cmp.Or(s.Scheme, webhook.SigningPlain)), "The form of X-Agent-Signature. Left and right choose.", string(webhook.SigningPlain), string(webhook.SigningStripe)).under("signature and credentials"),
		newLine("basic_username", "Basic user", s.BasicUsername, "Of HTTP basic authentication. Empty: none.", func(v string) error {
			return rule("basic_username", webhook.Subscriber{Basic: webhook.BasicAuth{Username: strings.TrimSpace(v)}})
		}),
		newLine("basic_password", "Basic password", s.BasicPassword, "Of HTTP basic authentication."+keeps, func(v string) error {
			return rule("basic_password", webhook.Subscriber{Basic: webhook.BasicAuth{Password: webhook.Secret(v)}})
		}).hide(),
		newLine("oauth2_token_url", "OAuth2 URL", s.OAuth2TokenURL, "Where bearer tokens are got, by the client credentials grant. Empty: none are sent.", func(v string) error {
			return rule("oauth2_token_url", webhook.Subscriber{OAuth2: webhook.OAuth2{TokenURL: strings.TrimSpace(v)}})
		}),
		newLine("oauth2_client_id", "OAuth2 client", s.OAuth2ClientID, "The client id that tokens are asked for with.", func(v string) error {
			return oauth2Rule("oauth2_client_id", v, webhook.OAuth2{ClientID: strings.TrimSpace(v)})
		}),
		newLine("oauth2_client_secret", "OAuth2 secret", s.OAuth2ClientSecret, "The client secret that goes with it."+keeps, func(v string) error {
			return oauth2Rule("oauth2_client_secret", v, webhook.OAuth2{ClientSecret: webhook.Secret(strings.TrimSpace(v))})
		}).hide(),
		newLine("oauth2_scopes", "OAuth2 scopes", strings.Join(s.OAuth2Scopes, " "), "The scopes that are asked for, between spaces. Empty: those that the server gives.", func(v string) error {
			return oauth2Rule("oauth2_scopes", v, webhook.OAuth2{Scopes: words(v)})
		}),
		newLine("oauth2_audience", "Audience", s.OAuth2Audience, "Sent as the parameter audience, which some servers want.", func(v string) error {
			return oauth2Rule("oauth2_audience", v, webhook.OAuth2{Audience: strings.TrimSpace(v)})
		}),
		newLines("tls_cert", "Certificate", s.TLSCert, "The certificate chain that is shown to the receiver, in PEM. Empty: none. Tab goes on.", func(v string) error {
			return rule("tls_cert", webhook.Subscriber{TLS: webhook.ClientTLS{Cert: v, Key: webhook.Secret(v)}})
		}).under("TLS"),
		newLines("tls_key", "Key", s.TLSKey, "Its private key, in PEM."+keeps+" Tab goes on.", func(v string) error {
			return rule("tls_key", webhook.Subscriber{TLS: webhook.ClientTLS{Key: webhook.Secret(v)}})
		}).hide(),
		newLines("tls_ca", "Authorities", s.TLSCA, "Those that the receiver's certificate must come from, in PEM. Empty: those of the system. Tab goes on.", func(v string) error {
			return rule("tls_ca", webhook.Subscriber{TLS: webhook.ClientTLS{CA: v}})
		}),
	}
}

// oauth2Rule is what the domain says of one field beside a token URL. Whether an
// empty one is needed depends on the others, and is for the appliance to say.
func oauth2Rule(name, value string, o webhook.OAuth2) error {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	o.TokenURL = "https://token.invalid/"
	return rule(name, webhook.Subscriber{OAuth2: o})
}

func parseRate(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errors.New("not a number")
	}
	return rate, nil
}

// changeParticular puts the value of one of these fields into the change. It has
// been checked.
func changeParticular(c *api.SubscriberChange, f *field) {
	value := strings.TrimSpace(f.value())
	yes := value == "yes"
	switch f.name {
	case "rate_limit":
		rate, _ := parseRate(value)
		c.RateLimit = &rate
	case "hold":
		c.Hold = &yes
	case "auto_pause":
		c.AutoPause = &yes
	case "ordered":
		c.Ordered = (*api.Ordered)(&value)
	case "on_dead":
		c.OnDead = (*webhook.OnDead)(&value)
	case "scheme":
		c.Scheme = (*webhook.Signing)(&value)
	case "basic_password":
		value = f.value() // whose spaces may be meant
		c.BasicPassword = &value
	case "oauth2_scopes":
		scopes := words(value)
		c.OAuth2Scopes = &scopes
	default:
		*textOf(c, f.name) = &value
	}
}

// textOf is where the change has a field that is a text and no more.
func textOf(c *api.SubscriberChange, name string) **string {
	return map[string]**string{
		"filter": &c.Filter, "transform": &c.Transform, "basic_username": &c.BasicUsername,
		"oauth2_token_url": &c.OAuth2TokenURL, "oauth2_client_id": &c.OAuth2ClientID, "oauth2_client_secret": &c.OAuth2ClientSecret, "oauth2_audience": &c.OAuth2Audience,
		"tls_cert": &c.TLSCert, "tls_key": &c.TLSKey, "tls_ca": &c.TLSCA,
	}[name]
}
