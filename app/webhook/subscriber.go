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

	// maxOldSecrets bounds the signatures of a delivery.
	maxOldSecrets = 4
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
	// FinalOn4xx makes an answer 4xx final, save 408, 425 and 429.
	FinalOn4xx bool

	CreatedAt time.Time
	UpdatedAt time.Time
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
