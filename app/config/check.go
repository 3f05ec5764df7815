package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// clockSkew and bodySize hold for [inbound] and for every source.
var (
	clockSkew = between(0, 365*24*time.Hour)
	bodySize  = sizeBetween(1, 64<<20)
)

func between[T int | float64 | time.Duration](low, high T) func(T) error {
	return func(v T) error {
		if v < low || v > high {
			return fmt.Errorf("must be between %v and %v", low, high)
		}
		return nil
	}
}

func sizeBetween(low, high int64) func(int64) error {
	return func(n int64) error {
		if n < low || n > high {
			return fmt.Errorf("must be between %s and %s", writeSize(low), writeSize(high))
		}
		return nil
	}
}

func oneOf[T ~string](values ...T) func(T) error {
	return func(s T) error {
		if !slices.Contains(values, s) {
			list := fmt.Sprint(values[0])
			for i, value := range values[1:] {
				separator := ", "
				if i == len(values)-2 {
					separator = " or "
				}
				list += separator + string(value)
			}
			return fmt.Errorf("must be %s", list)
		}
		return nil
	}
}

func backupEvery(d time.Duration) error {
	if d != 0 && (d < time.Minute || d > 365*24*time.Hour) {
		return fmt.Errorf("must be between 1m and 8760h, or 0 for never")
	}
	return nil
}

// recipientsOfAge are public keys of age. What is wrong is said without the entry,
// which may be a private one.
func recipientsOfAge(keys []string) error {
	_, err := security.ParseRecipients(keys)
	return err
}

func storagePath(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("must name a file")
	case strings.HasPrefix(s, "postgres://"), strings.HasPrefix(s, "postgresql://"):
		return fmt.Errorf("postgres:// is reserved for the shared engine, which this version does not have")
	}
	return nil
}

func hostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /") {
		return fmt.Errorf("must be host:port, such as 127.0.0.1:8080 or :8080")
	}
	return nil
}

func hostPortOrNone(s string) error {
	if s == "" {
		return nil
	}
	return hostPort(s)
}

func urlPath(s string) error {
	switch {
	case !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?#% "):
		return fmt.Errorf("must be a path that begins with / and has none of ? # %% nor a space")
	case s == "/healthz" || s == "/readyz":
		return fmt.Errorf("%s is for health checks", s)
	}
	return nil
}

func headerValue(least int) func(string) error {
	return func(s string) error {
		if len(s) < least || len(s) > 256 || strings.TrimSpace(s) != s {
			return fmt.Errorf("must be %d to 256 characters without spaces around them", least)
		}
		return nil
	}
}

func rateLimit(n float64) error {
	if n < 0 || n > 1_000_000 {
		return fmt.Errorf("must be between 0 and 1000000 requests per second")
	}
	return nil
}

// hosts are names in the header Host.
func hosts(names []string) error {
	for i, name := range names {
		if name == "" || len(name) > 253 || !only(name, alphanumeric+".-_") {
			return fmt.Errorf("entry %d must be the name of a host, such as pintle.example.com, without scheme and port", i+1)
		}
	}
	return nil
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// only reports whether s has no characters but these.
func only(s, characters string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(characters, r) })
}

// domains are names that a certificate can be had for by a connection alone.
func domains(names []string) error {
	label := regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
	for i, name := range names {
		if strings.Contains(name, "*") {
			return fmt.Errorf("entry %d is a wildcard; its proof goes through DNS, so name each host", i+1)
		}
		_, err := netip.ParseAddr(name)
		invalid := func(s string) bool { return !label.MatchString(s) }
		if err == nil || len(name) > 253 || slices.ContainsFunc(strings.Split(name, "."), invalid) {
			return fmt.Errorf("entry %d must be the name of a host, such as pintle.example.com", i+1)
		}
	}
	return nil
}

func emailOrNone(s string) error {
	if s == "" {
		return nil
	}
	if address, err := mail.ParseAddress(s); err != nil || address.Address != s {
		return fmt.Errorf("must be an address such as operator@example.com")
	}
	return nil
}

func httpsURL(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("must be a URL such as https://ca.example.com/directory")
	}
	return nil
}

// encryptionKeys are keys in the form of a keyring; none is fine.
func encryptionKeys(s webhook.Secret) error {
	if s == "" {
		return nil
	}
	_, err := security.ParseKeyring(s.Reveal())
	return err
}

// proxyURL is where a proxy is. What is wrong is said without the URL, which may
// have a password.
func proxyURL(s webhook.Secret) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s.Reveal())
	if err == nil && u.Port() != "" {
		_, err = strconv.ParseUint(u.Port(), 10, 16)
	}
	switch {
	case err != nil, u.Hostname() == "", !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme),
		strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("must be a URL such as http://proxy.example.com:3128, with http, https or socks5")
	}
	return nil
}

func eventPatterns(list []webhook.Pattern) error {
	if len(list) == 0 {
		return fmt.Errorf(`must name at least one; ["*"] is all`)
	}
	for i, p := range list {
		if err := p.Validate(); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil
}

// expression is one of jq that compiles.
func expression(s string) error {
	if s == "" {
		return fmt.Errorf("must not be empty; . leaves the body as it is")
	}
	return transform.Check(s)
}

func sourceName(s string) error {
	switch {
	case len(s) > 64 || s == "" || strings.ContainsAny(s[:1], "_-") || !only(s, "abcdefghijklmnopqrstuvwxyz0123456789_-"):
		return fmt.Errorf("must be 1 to 64 of a–z 0–9 _ -, a letter or digit first")
	case s == webhook.SourceInbound || s == webhook.SourceAdmin || s == webhook.SourcePintle:
		return fmt.Errorf("%s is the name of a source that every installation has", s)
	}
	return nil
}

func clientID(s string) error {
	if len(s) > 128 || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return fmt.Errorf("must be at most 128 printable characters")
	}
	return nil
}

func eventPrefix(s string) error {
	if s != "" && (len(s) > 64 || !webhook.ValidType(s)) {
		return fmt.Errorf("must be at most 64 of A–Z a–z 0–9 . _ - : /")
	}
	return nil
}

// place is where a type may stand.
func place(p webhook.Place) error {
	kind, what, _ := strings.Cut(string(p), ":")
	valid := false
	switch {
	case p == "", len(p) > 256:
		valid = p == ""
	case kind == "header":
		valid = headerName(what) == nil
	case kind == "body":
		valid = !slices.Contains(strings.Split(what, "."), "")
	case kind == "const":
		valid = webhook.ValidType(what)
	}
	if !valid {
		return fmt.Errorf(`must be "header:Name", "body:member.member" or "const:type"`)
	}
	return nil
}

// placeThatVaries is where an id or a time may stand: what is the same in every
// request makes all but the first a duplicate, or is soon out of the window.
func placeThatVaries(p webhook.Place) error {
	if strings.HasPrefix(string(p), "const:") || place(p) != nil {
		return fmt.Errorf(`must be "header:Name" or "body:member.member"`)
	}
	return nil
}

func headerName(s string) error {
	if s == "" || len(s) > 128 || !only(s, alphanumeric+"!#$%&'*+-.^_`|~") {
		return fmt.Errorf("must be the name of a header, such as X-Signature")
	}
	return nil
}

func headerNameOrNone(s string) error {
	if s == "" {
		return nil
	}
	return headerName(s)
}

// signaturePrefix may end in a space, as in "HMAC ", but a header's value never
// begins with one.
func signaturePrefix(s string) error {
	if len(s) > 64 || strings.HasPrefix(s, " ") {
		return fmt.Errorf("must be at most 64 characters, the first one no space")
	}
	return nil
}

// template is what a signature of a form is made over.
func template(s string) error {
	for _, word := range regexp.MustCompile(`\{[^{}]*\}`).FindAllString(s, -1) {
		if word != "{body}" && word != "{timestamp}" && word != "{id}" {
			return fmt.Errorf("%s is none of {body}, {timestamp} and {id}", printable(word))
		}
	}
	if strings.Count(s, "{body}") != 1 || len(s) > 256 {
		return fmt.Errorf("must have {body} once, and at most 256 characters")
	}
	return nil
}
