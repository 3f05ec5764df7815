package sqlite

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A subscriberRow is a subscriber as its columns have it.
type subscriberRow struct {
	id, clientID, url, secret, events string
	active                            bool
	pausedReason, description         string
	headers                           string
	timeout                           int64
	concurrency                       int
	schedule                          string
	finalOn4xx                        bool
	createdAt, updatedAt              int64
	oldSecrets                        string
	rateLimit                         float64
	scheme, filter, transform         string
	ordered, onDead                   string
	basicUsername, basicPassword      string
	oauth2                            string
	tlsCert, tlsKey, tlsCA            string
	hold, autoPause                   bool
	failingSince                      sql.NullInt64
}

// fields are where the columns go.
func (r *subscriberRow) fields() []any {
	return []any{
		&r.id, &r.clientID, &r.url, &r.secret, &r.events, &r.active, &r.pausedReason, &r.description,
		&r.headers, &r.timeout, &r.concurrency, &r.schedule, &r.finalOn4xx, &r.createdAt, &r.updatedAt, &r.oldSecrets,
		&r.rateLimit, &r.scheme, &r.filter, &r.transform, &r.ordered, &r.onDead, &r.basicUsername, &r.basicPassword, &r.oauth2,
		&r.tlsCert, &r.tlsKey, &r.tlsCA, &r.hold, &r.autoPause, &r.failingSince,
	}
}

// values are what the columns hold.
func (r *subscriberRow) values() []any {
	return []any{
		r.id, r.clientID, r.url, r.secret, r.events, r.active, r.pausedReason, r.description,
		r.headers, r.timeout, r.concurrency, r.schedule, r.finalOn4xx, r.createdAt, r.updatedAt, r.oldSecrets,
		r.rateLimit, r.scheme, r.filter, r.transform, r.ordered, r.onDead, r.basicUsername, r.basicPassword, r.oauth2,
		r.tlsCert, r.tlsKey, r.tlsCA, r.hold, r.autoPause, r.failingSince,
	}
}

// oldSecret is a [webhook.OldSecret] as its column has it.
type oldSecret struct {
	Secret string `json:"secret"`
	Until  int64  `json:"until"`
}

// oauth2 is a [webhook.OAuth2] as its column has it.
type oauth2 struct {
	TokenURL     string   `json:"token_url,omitempty"`
	ClientID     string   `json:"client_id,omitempty"`
	ClientSecret string   `json:"client_secret,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
	Audience     string   `json:"audience,omitempty"`
}

func newSubscriberRow(sub *webhook.Subscriber) (*subscriberRow, error) {
	waits := make([]int64, len(sub.Schedule))
	for i, wait := range sub.Schedule {
		waits[i] = wait.Milliseconds()
	}
	headers := sub.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	old := make([]oldSecret, len(sub.OldSecrets))
	for i, o := range sub.OldSecrets {
		old[i] = oldSecret{o.Secret.Reveal(), millis(o.Until)}
	}
	row := &subscriberRow{
		id: string(sub.ID), clientID: sub.ClientID, url: sub.URL, secret: sub.Secret.Reveal(),
		active: sub.Active, pausedReason: sub.PausedReason, description: sub.Description,
		timeout: sub.Timeout.Milliseconds(), concurrency: sub.Concurrency, finalOn4xx: sub.FinalOn4xx,
		createdAt: millis(sub.CreatedAt), updatedAt: millis(sub.UpdatedAt),
		rateLimit: sub.RateLimit, scheme: string(sub.Signing), filter: sub.Filter, transform: sub.Transform,
		ordered: sub.Ordered, onDead: string(sub.OnDead),
		basicUsername: sub.Basic.Username, basicPassword: sub.Basic.Password.Reveal(),
		tlsCert: sub.TLS.Cert, tlsKey: sub.TLS.Key.Reveal(), tlsCA: sub.TLS.CA,
		hold: !sub.NoHold, autoPause: !sub.NoAutoPause,
	}
	if row.scheme == "" {
		row.scheme = string(webhook.SigningPlain)
	}
	if row.onDead == "" {
		row.onDead = string(webhook.OnDeadBlock)
	}
	if !sub.FailingSince.IsZero() {
		row.failingSince = sql.NullInt64{Int64: millis(sub.FailingSince), Valid: true}
	}
	o := oauth2{sub.OAuth2.TokenURL, sub.OAuth2.ClientID, sub.OAuth2.ClientSecret.Reveal(), sub.OAuth2.Scopes, sub.OAuth2.Audience}
	return row, encode(map[*string]any{&row.events: sub.Events, &row.headers: headers, &row.schedule: waits, &row.oldSecrets: old, &row.oauth2: &o})
}

func (r *subscriberRow) subscriber() (webhook.Subscriber, error) {
	var (
		waits []int64
		old   []oldSecret
		o     oauth2
	)
	sub := webhook.Subscriber{
		ID: webhook.SubscriberID(r.id), ClientID: r.clientID, URL: r.url, Secret: webhook.Secret(r.secret),
		Active: r.active, PausedReason: r.pausedReason, Description: r.description,
		Timeout: time.Duration(r.timeout) * time.Millisecond, Concurrency: r.concurrency, FinalOn4xx: r.finalOn4xx,
		CreatedAt: fromMillis(r.createdAt), UpdatedAt: fromMillis(r.updatedAt),
		RateLimit: r.rateLimit, Signing: webhook.Signing(r.scheme), Filter: r.filter, Transform: r.transform,
		Ordered: r.ordered, OnDead: webhook.OnDead(r.onDead),
		Basic:  webhook.BasicAuth{Username: r.basicUsername, Password: webhook.Secret(r.basicPassword)},
		TLS:    webhook.ClientTLS{Cert: r.tlsCert, Key: webhook.Secret(r.tlsKey), CA: r.tlsCA},
		NoHold: !r.hold, NoAutoPause: !r.autoPause, FailingSince: optional(r.failingSince),
	}
	for _, column := range []struct {
		name, text string
		to         any
	}{
		{"events", r.events, &sub.Events}, {"headers", r.headers, &sub.Headers}, {"schedule", r.schedule, &waits},
		{"old_secrets", r.oldSecrets, &old}, {"oauth2", r.oauth2, &o},
	} {
		if err := json.Unmarshal([]byte(column.text), column.to); err != nil {
			return sub, fmt.Errorf("subscriber %s: read %s: %w", sub.ID, column.name, err)
		}
	}
	for _, o := range old {
		sub.OldSecrets = append(sub.OldSecrets, webhook.OldSecret{Secret: webhook.Secret(o.Secret), Until: fromMillis(o.Until)})
	}
	for _, wait := range waits {
		sub.Schedule = append(sub.Schedule, time.Duration(wait)*time.Millisecond)
	}
	sub.OAuth2 = webhook.OAuth2{
		TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecret: webhook.Secret(o.ClientSecret), Scopes: o.Scopes, Audience: o.Audience,
	}
	return sub, nil
}

// eachSecret replaces each secret of the row. The place is where it is kept.
func (r *subscriberRow) eachSecret(replace func(place, secret string) (string, error)) error {
	var (
		headers map[string]string
		old     []oldSecret
		o       oauth2
	)
	for text, to := range map[*string]any{&r.headers: &headers, &r.oldSecrets: &old, &r.oauth2: &o} {
		if err := json.Unmarshal([]byte(*text), to); err != nil {
			return fmt.Errorf("read the secrets of %s: %w", r.id, err)
		}
	}
	var err error
	set := func(to *string, column string) {
		if err == nil {
			*to, err = replace("webhook_subscribers."+column+"/"+r.id, *to)
		}
	}
	set(&r.secret, "secret")
	set(&r.basicPassword, "basic_password")
	set(&r.tlsKey, "tls_key")
	set(&o.ClientSecret, "oauth2")
	for i := range old {
		set(&old[i].Secret, "old_secrets")
	}
	for name, value := range headers {
		set(&value, "headers."+name)
		headers[name] = value
	}
	if err != nil {
		return err
	}
	return encode(map[*string]any{&r.headers: headers, &r.oldSecrets: old, &r.oauth2: &o})
}

// encode writes columns in JSON.
func encode(columns map[*string]any) error {
	for to, value := range columns {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		*to = string(text)
	}
	return nil
}
