package webhook

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxTimeout bounds a subscriber's own timeout.
const MaxTimeout = 60 * time.Second

const (
	// MaxExpression bounds a filter or a transform, in bytes.
	MaxExpression = 16 << 10
	// MinRateLimit is the lowest rate: a request in a thousand seconds.
	MinRateLimit = 0.001

	// maxOldSecrets bounds the signatures of a delivery.
	maxOldSecrets = 4
	// maxPEM bounds a certificate chain or a key, in bytes.
	maxPEM = 64 << 10
)

// A Subscriber is who receives events: an address, a secret and a choice of
// event types.
type Subscriber struct {
	ID SubscriberID
	// ClientID makes the subscriber receive that client's events beside those
	// of nobody in particular; empty: only the latter.
	ClientID string
	// URL is where deliveries are posted; http or https.
	URL string
	// Secret signs its deliveries.
	Secret Secret
	// OldSecrets were replaced, and still sign beside Secret for a while, the
	// newest first.
	OldSecrets []OldSecret
	// Events are the patterns of the types it receives; at least one.
	Events []Pattern
	// Active is false while the subscriber is paused: its deliveries are
	// made, and wait.
	Active bool
	// PausedReason says who or what paused it, and is empty while Active.
	PausedReason string
	// Description is free text for people.
	Description string
	// Headers are sent with every delivery beside Pintle's own.
	Headers map[string]string
	// Timeout bounds a whole request; zero: outbound.timeout.
	Timeout time.Duration
	// Concurrency is how many requests are in flight to it at most; zero:
	// outbound.concurrency.
	Concurrency int
	// Schedule replaces outbound.schedule, and with it the number of retries;
	// empty: outbound.schedule.
	Schedule Schedule
	// FinalOn4xx makes an answer 4xx final, save 408, 425 and 429, and
	// 401 where there is an OAuth2 token, which may have been revoked.
	FinalOn4xx bool
	// RateLimit is how many requests begin in a second at most, evenly spaced;
	// zero: no bound.
	RateLimit float64
	// Signing is the form of X-Agent-Signature; empty: [SigningPlain].
	Signing Signing
	// Filter is a jq expression: of the events of its types, the subscriber
	// receives those for which it is true; empty: all.
	Filter string
	// Transform is a jq expression that makes the body which is sent out of the
	// body that others get; empty: the latter is sent.
	Transform string
	// Ordered is the jq path of the key of an event: events of one key are
	// delivered one after the other, in the order in which they were accepted.
	// [OrderedStrictly] gives all events one key; empty: there is no order.
	Ordered string
	// OnDead says what a dead letter does to the later events of its key; empty:
	// [OnDeadBlock]. It means something only where Ordered does.
	OnDead OnDead
	// Basic are credentials of HTTP basic authentication; the zero value: none.
	Basic BasicAuth
	// OAuth2 is where a bearer token comes from; the zero value: none is sent.
	OAuth2 OAuth2
	// TLS is how its deliveries speak TLS; the zero value: as all do.
	TLS ClientTLS
	// NoHold keeps its lane open in an outage: every delivery spends its retries.
	NoHold bool
	// NoAutoPause keeps it active however long it fails.
	NoAutoPause bool
	// FailingSince is when the present outage began: from that attempt on every
	// one has failed. It is zero where there is no outage; see [HoldPolicy].
	FailingSince time.Time

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Signing is the form of the header X-Agent-Signature.
type Signing string

// The forms of X-Agent-Signature. Whatever it is, deliveries carry the headers of
// Standard Webhooks too.
const (
	SigningPlain  Signing = "plain"  // sha256=<hex of the body>
	SigningStripe Signing = "stripe" // t=<unix>,v1=<hex of "t.body">
)

// OrderedStrictly is the [Subscriber.Ordered] of one who gets all events in
// order, whatever is in them.
const OrderedStrictly = "true"

// OnDead is what a dead letter does to the later events of its key.
type OnDead string

// What a dead letter does to the later events of its key.
const (
	// OnDeadBlock has them wait until it is sent again, replayed or purged.
	OnDeadBlock OnDead = "block"
	// OnDeadSkip lets them go on.
	OnDeadSkip OnDead = "skip"
)

// BasicAuth are the credentials of HTTP basic authentication, RFC 7617.
type BasicAuth struct {
	Username string
	Password Secret
}

// OAuth2 is how a bearer token is got: by the client credentials grant, RFC 6749
// section 4.4.
type OAuth2 struct {
	// TokenURL is where tokens are asked for; empty: none are.
	TokenURL     string
	ClientID     string
	ClientSecret Secret
	// Scopes are asked for; nil: those that the server gives by itself.
	Scopes []string
	// Audience is sent as the parameter audience, which some servers want; empty:
	// it is not sent.
	Audience string
}

// ClientTLS is what deliveries to a subscriber bring to the handshake, in PEM.
type ClientTLS struct {
	// Cert is the client's certificate, followed by those that vouch for it, and
	// Key its private key; both are set, or none.
	Cert string
	Key  Secret
	// CA are the certificates of the authorities that the receiver's must come
	// from; empty: those of the system.
	CA string
}

// An OldSecret is one that has been replaced and is still valid for a while.
type OldSecret struct {
	Secret Secret
	// Until is when it ceases to be valid.
	Until time.Time
}

// ValidSecrets returns the secrets that sign at the time, the newest first.
func (s *Subscriber) ValidSecrets(now time.Time) []Secret {
	secrets := make([]Secret, 1, 1+len(s.OldSecrets))
	secrets[0] = s.Secret
	for _, old := range s.OldSecrets {
		if now.Before(old.Until) {
			secrets = append(secrets, old.Secret)
		}
	}
	return secrets
}

// Rotate replaces the secret. The present one stays valid until the time, and
// so do those that were replaced before, each until its own. Where the time has
// come already none stays: whoever allows no overlap distrusts what was.
func (s *Subscriber) Rotate(fresh Secret, now, until time.Time) {
	if !until.After(now) {
		s.Secret, s.OldSecrets = fresh, nil
		return
	}
	old := []OldSecret{{s.Secret, until}}
	for _, o := range s.OldSecrets {
		if now.Before(o.Until) && len(old) < maxOldSecrets {
			old = append(old, o)
		}
	}
	s.Secret, s.OldSecrets = fresh, old
}

// Name is what people call it: the first line of its description, or else the
// host and path of its URL.
func (s *Subscriber) Name() string {
	name, _, _ := strings.Cut(s.Description, "\n")
	if name = strings.TrimSpace(name); name != "" {
		return name
	}
	if u, err := url.Parse(s.URL); err == nil {
		return u.Host + strings.TrimSuffix(u.EscapedPath(), "/")
	}
	return s.URL
}

// Receives reports whether the event is one for this subscriber: of its client
// and of a type that one of its patterns selects. It does not ask whether the
// subscriber is paused.
func (s *Subscriber) Receives(e *Event) bool {
	if e.ClientID != "" && e.ClientID != s.ClientID {
		return false
	}
	for _, p := range s.Events {
		if p.Match(e.Type) {
			return true
		}
	}
	return false
}

// Validate returns nil, or a [FieldsError] that names every fault.
func (s *Subscriber) Validate() error {
	faults := FieldsError{}
	if err := validURL(s.URL); err != nil {
		faults["url"] = err.Error()
	}
	if len(s.ClientID) > 128 || !printable(s.ClientID) {
		faults["client_id"] = "at most 128 printable characters"
	}
	if s.Secret == "" || len(s.Secret) > 256 || !printable(string(s.Secret)) {
		faults["secret"] = "1 to 256 printable characters"
	}
	if len(s.Events) == 0 {
		faults["events"] = "at least one pattern, such as order.* or *"
	} else if len(s.Events) > 1000 {
		faults["events"] = "at most 1000 patterns"
	}
	for _, p := range s.Events {
		if err := p.Validate(); err != nil {
			faults["events"] = err.Error()
			break
		}
	}
	if len(s.Description) > 1000 {
		faults["description"] = "at most 1000 bytes"
	}
	if err := validHeaders(s.Headers); err != nil {
		faults["headers"] = err.Error()
	}
	if s.Timeout < 0 || s.Timeout > MaxTimeout {
		faults["timeout"] = fmt.Sprintf("between 0s and %s", MaxTimeout)
	}
	if !(s.RateLimit >= 0 && s.RateLimit <= 100_000) || s.RateLimit > 0 && s.RateLimit < MinRateLimit {
		faults["rate_limit"] = "0, or between 0.001 and 100000 requests per second"
	}
	if s.Signing != "" && s.Signing != SigningPlain && s.Signing != SigningStripe {
		faults["scheme"] = "plain or stripe"
	}
	s.validateExpressions(faults)
	s.validateAccess(faults)
	if s.Concurrency < 0 || s.Concurrency > 1000 {
		faults["concurrency"] = "between 0 and 1000"
	}
	if len(s.Schedule) > 0 {
		if err := s.Schedule.Validate(); err != nil {
			faults["schedule"] = err.Error()
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// validateExpressions finds what can be said of the expressions without reading
// them.
func (s *Subscriber) validateExpressions(faults FieldsError) {
	for field, expression := range map[string]string{"filter": s.Filter, "transform": s.Transform} {
		if len(expression) > MaxExpression {
			faults[field] = fmt.Sprintf("at most %d bytes", MaxExpression)
		}
	}
	if len(s.Ordered) > 1000 {
		faults["ordered"] = "at most 1000 bytes"
	}
	if s.OnDead != "" && s.OnDead != OnDeadBlock && s.OnDead != OnDeadSkip {
		faults["on_dead"] = "block or skip"
	}
}

// validateAccess finds what is wrong with the credentials.
func (s *Subscriber) validateAccess(faults FieldsError) {
	basic := s.Basic != BasicAuth{}
	switch {
	case basic && s.OAuth2.TokenURL != "":
		faults["basic_username"] = "goes not with oauth2_token_url: both would set the header Authorization"
	case strings.Contains(s.Basic.Username, ":") || len(s.Basic.Username) > 256 || !printable(s.Basic.Username):
		faults["basic_username"] = "at most 256 printable characters, without a colon"
	case basic && s.Basic.Username == "":
		faults["basic_username"] = "missing, while there is a password"
	}
	if len(s.Basic.Password) > 1024 || !printable(string(s.Basic.Password)) {
		faults["basic_password"] = "at most 1024 printable characters"
	}
	if basic || s.OAuth2.TokenURL != "" {
		for name := range s.Headers {
			if http.CanonicalHeaderKey(name) == "Authorization" {
				faults["headers"] = "Authorization is set by basic_username or oauth2_token_url"
			}
		}
	}
	s.OAuth2.validate(faults)
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		faults["tls_cert"] = "goes with tls_key: set both, or none"
	}
	for field, pem := range map[string]string{"tls_cert": s.TLS.Cert, "tls_key": string(s.TLS.Key), "tls_ca": s.TLS.CA} {
		if len(pem) > maxPEM {
			faults[field] = fmt.Sprintf("at most %d bytes", maxPEM)
		}
	}
}

func (o *OAuth2) validate(faults FieldsError) {
	if o.TokenURL == "" {
		if o.ClientID != "" || o.ClientSecret != "" || len(o.Scopes) > 0 || o.Audience != "" {
			faults["oauth2_token_url"] = "missing, while there are other oauth2 fields"
		}
		return
	}
	if err := validURL(o.TokenURL); err != nil {
		faults["oauth2_token_url"] = err.Error()
	}
	if o.ClientID == "" || len(o.ClientID) > 1024 || !printable(o.ClientID) {
		faults["oauth2_client_id"] = "1 to 1024 printable characters"
	}
	if o.ClientSecret == "" || len(o.ClientSecret) > 4096 || !printable(string(o.ClientSecret)) {
		faults["oauth2_client_secret"] = "1 to 4096 printable characters"
	}
	if len(o.Audience) > 2048 || !printable(o.Audience) {
		faults["oauth2_audience"] = "at most 2048 printable characters"
	}
	if len(o.Scopes) > 100 || slices.ContainsFunc(o.Scopes, func(scope string) bool {
		return scope == "" || len(scope) > 256 || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
	}) {
		faults["oauth2_scopes"] = "at most 100, each of 1 to 256 visible ASCII characters" // RFC 6749 section 3.3
	}
}

// ValidateChange is Validate, without the faults that the subscriber had before:
// one that an earlier version took must not stand in the way of pausing it.
func (s *Subscriber) ValidateChange(before *Subscriber) error {
	var old, faults FieldsError
	if !errors.As(s.Validate(), &faults) {
		return nil
	}
	errors.As(before.Validate(), &old)
	maps.DeleteFunc(faults, func(field, fault string) bool { return old[field] == fault })
	if len(faults) == 0 {
		return nil
	}
	return faults
}

func validURL(raw string) error {
	if raw == "" {
		return fmt.Errorf("missing")
	}
	if len(raw) > 2048 {
		return fmt.Errorf("longer than 2048 characters")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fmt.Errorf("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("must begin with http:// or https://")
	case u.Hostname() == "":
		return fmt.Errorf("names no host")
	case !validPort(u.Port()):
		return fmt.Errorf("the port is not between 1 and 65535")
	case u.User != nil:
		return fmt.Errorf("must not carry a user or password")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return fmt.Errorf("must not have a fragment")
	}
	return nil
}

// validPort reports whether the port of a URL can be called; without one, its
// scheme has one.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func validHeaders(headers map[string]string) error {
	if len(headers) > 50 {
		return fmt.Errorf("at most 50 headers")
	}
	known := map[string]bool{}
	for name, value := range headers {
		canonical := http.CanonicalHeaderKey(name)
		if known[canonical] {
			return fmt.Errorf("%s is given twice", canonical)
		}
		known[canonical] = true
		if !headerName(name) {
			return fmt.Errorf("%q is not a header name of letters, digits, - and _", name)
		}
		if ReservedHeader(name) {
			return fmt.Errorf("%s is set by Pintle", canonical)
		}
		if len(value) > 4096 || strings.TrimSpace(value) != value || !printable(value) {
			return fmt.Errorf("%s: at most 4096 printable characters without spaces around them", name)
		}
	}
	return nil
}

func headerName(s string) bool {
	for i := range len(s) {
		c := s[i]
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !word && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// ReservedHeader reports whether the header is Pintle's own to send, so that no
// subscriber can set it.
func ReservedHeader(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Host", "Content-Length", "Content-Type", "Content-Encoding", "Connection", "Keep-Alive",
		"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "User-Agent":
		return true
	}
	return strings.HasPrefix(name, "X-Agent-") || strings.HasPrefix(name, "Webhook-")
}

// HiddenValue stands for the value of a header that carries credentials.
const HiddenValue = "***"

// CredentialHeader reports whether the values of the header are nobody's to see,
// going by its name.
func CredentialHeader(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"auth", "cookie", "token", "secret", "key", "password", "credential", "session"},
		func(part string) bool { return strings.Contains(name, part) })
}

// printable reports whether s has no control or other invisible bytes that
// could break a header or a terminal line.
func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\ufffd' || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}

// ValidSenderID reports whether s can be an event id of the sender's own: 1 to
// 128 printable characters.
func ValidSenderID(s string) bool {
	return s != "" && len([]rune(s)) <= 128 && printable(s)
}
