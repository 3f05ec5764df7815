package admin

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// decodeSubscriber reads fields of a subscriber, with the faults by name.
func decodeSubscriber(raw []byte, change *api.SubscriberChange) (webhook.FieldsError, error) {
	faults, err := decode(raw, change)
	for _, name := range []string{
		"id", "created_at", "updated_at", "paused_reason", "failing_since", "held", "probe_at", "old_secret_until", "health",
	} {
		if _, given := faults[name]; given {
			faults[name] = "is set by Pintle"
		}
	}
	return faults, err
}

// apply gives the subscriber the fields that the change names, and notes what
// cannot be applied.
func apply(c api.SubscriberChange, s *webhook.Subscriber, faults webhook.FieldsError) {
	assign(&s.ClientID, c.ClientID)
	assign(&s.URL, c.URL)
	if c.Secret != nil {
		// A secret that is set by hand holds at once, and alone.
		s.Secret, s.OldSecrets = webhook.Secret(*c.Secret), nil
	}
	assign(&s.Events, c.Events)
	assign(&s.Description, c.Description)
	if c.Headers != nil {
		s.Headers = withHidden(*c.Headers, s.Headers, faults)
	}
	assign((*api.Duration)(&s.Timeout), c.Timeout)
	assign(&s.Concurrency, c.Concurrency)
	assign(&s.FinalOn4xx, c.FinalOn4xx)
	if c.Schedule != nil {
		s.Schedule = nil
		for _, wait := range *c.Schedule {
			s.Schedule = append(s.Schedule, time.Duration(wait))
		}
	}
	assign(&s.RateLimit, c.RateLimit)
	assign(&s.Signing, c.Scheme)
	assign(&s.Filter, c.Filter)
	assign(&s.Transform, c.Transform)
	assign((*api.Ordered)(&s.Ordered), c.Ordered)
	assign(&s.OnDead, c.OnDead)
	applyAccess(c, s, faults)
	if c.Hold != nil {
		s.NoHold = !*c.Hold
	}
	if c.AutoPause != nil {
		s.NoAutoPause = !*c.AutoPause
	}
	if c.Active != nil && *c.Active != (s.Active) {
		s.Active = *c.Active
		s.PausedReason = ""
		if !s.Active {
			s.PausedReason = pausedByHand
		}
	}
}

// applyAccess is apply for the credentials and what belongs to them.
func applyAccess(c api.SubscriberChange, s *webhook.Subscriber, faults webhook.FieldsError) {
	assign(&s.Basic.Username, c.BasicUsername)
	assign(&s.OAuth2.TokenURL, c.OAuth2TokenURL)
	assign(&s.OAuth2.ClientID, c.OAuth2ClientID)
	assign(&s.OAuth2.Scopes, c.OAuth2Scopes)
	assign(&s.OAuth2.Audience, c.OAuth2Audience)
	assign(&s.TLS.Cert, c.TLSCert)
	assign(&s.TLS.CA, c.TLSCA)
	for _, credential := range []struct {
		name  string
		field *webhook.Secret
		value *string
	}{
		{"basic_password", &s.Basic.Password, c.BasicPassword},
		{"oauth2_client_secret", &s.OAuth2.ClientSecret, c.OAuth2ClientSecret},
		{"tls_key", &s.TLS.Key, c.TLSKey},
	} {
		switch {
		case credential.value == nil:
		case *credential.value != webhook.HiddenValue:
			*credential.field = webhook.Secret(*credential.value)
		case *credential.field == "":
			faults[credential.name] = webhook.HiddenValue + " keeps the one that is there, and there is none"
		}
	}
}

// withHidden returns the headers, with the value that was there in place of each
// that is hidden.
func withHidden(headers, before map[string]string, faults webhook.FieldsError) map[string]string {
	headers = maps.Clone(headers)
	for name, value := range headers {
		if value != webhook.HiddenValue || !webhook.CredentialHeader(name) {
			continue
		}
		found := false
		for old, kept := range before {
			if http.CanonicalHeaderKey(old) == http.CanonicalHeaderKey(name) {
				headers[name], found = kept, true
			}
		}
		if !found {
			faults["headers"] = name + ": " + webhook.HiddenValue + " keeps the value that is there, and there is none"
		}
	}
	return headers
}

func assign[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// judge returns nil, or a refusal that names every fault: those that reading
// the change has found, and what is invalid of the subscriber as it would be.
// Before is as it was; nil: it is a new one.
func (s *server) judge(ctx context.Context, changed, before *webhook.Subscriber, invalid error, faults webhook.FieldsError) error {
	all := s.o.Dispatcher.Check(ctx, changed, before)
	if all == nil {
		all = webhook.FieldsError{}
	}
	// What the field can be at all says more than what is wrong inside it, and a
	// value that could not be read more than what stands in its place.
	if invalid != nil {
		maps.Copy(all, problemOf(invalid).fields)
	}
	maps.Copy(all, faults)
	if len(all) > 0 {
		return invalidSubscriber(all)
	}
	return nil
}

// wireSubscriber is the subscriber as the one who asks may see it. Credentials
// among its headers are for those who could change them, and need them for that;
// all others are nobody's to see.
func wireSubscriber(ctx context.Context, s *webhook.Subscriber, lane webhook.LaneState) api.Subscriber {
	wire := api.Subscriber{
		ID: s.ID, ClientID: s.ClientID, URL: s.URL, Events: s.Events, Active: s.Active,
		Description: s.Description, Headers: s.Headers, Timeout: api.Duration(s.Timeout), Concurrency: s.Concurrency,
		FinalOn4xx: s.FinalOn4xx, RateLimit: s.RateLimit, Scheme: cmp.Or(s.Signing, webhook.SigningPlain), Filter: s.Filter, Transform: s.Transform,
		Ordered: api.Ordered(s.Ordered), BasicUsername: s.Basic.Username, BasicPassword: hidden(s.Basic.Password),
		OAuth2TokenURL: s.OAuth2.TokenURL, OAuth2ClientID: s.OAuth2.ClientID, OAuth2ClientSecret: hidden(s.OAuth2.ClientSecret),
		OAuth2Scopes: s.OAuth2.Scopes, OAuth2Audience: s.OAuth2.Audience,
		TLSCert: s.TLS.Cert, TLSKey: hidden(s.TLS.Key), TLSCA: s.TLS.CA,
		Hold: !s.NoHold, AutoPause: !s.NoAutoPause, FailingSince: api.Time{Time: s.FailingSince}, Held: lane.Held,
		CreatedAt: api.Time{Time: s.CreatedAt}, UpdatedAt: api.Time{Time: s.UpdatedAt}, PausedReason: s.PausedReason,
	}
	if lane.Held {
		wire.ProbeAt = api.Time{Time: lane.ProbeAt}
	}
	if s.Ordered != "" {
		wire.OnDead = cmp.Or(s.OnDead, webhook.OnDeadBlock)
	}
	if !roleOf(ctx).May(webhook.Administrator) {
		wire.Headers = hiddenHeaders(s.Headers)
	}
	for _, wait := range s.Schedule {
		wire.Schedule = append(wire.Schedule, api.Duration(wait))
	}
	// One that was replaced earlier may stay valid longer.
	now := time.Now()
	for _, old := range s.OldSecrets {
		if old.Until.After(now) && old.Until.After(wire.OldSecretUntil.Time) {
			wire.OldSecretUntil = api.Time{Time: old.Until}
		}
	}
	return wire
}

// hiddenHeaders are the headers without the credentials among them.
func hiddenHeaders(headers map[string]string) map[string]string {
	headers = maps.Clone(headers)
	for name := range headers {
		if webhook.CredentialHeader(name) {
			headers[name] = webhook.HiddenValue
		}
	}
	return headers
}

// hidden says that there is a credential, and no more.
func hidden(credential webhook.Secret) string {
	if credential == "" {
		return ""
	}
	return webhook.HiddenValue
}
