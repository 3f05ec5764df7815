package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A key is one setting: its name, and how it is read and written.
type key struct {
	name string // section.key
	// set takes a value as TOML has it, and setText one from the environment
	// or a flag. On error the configuration is as it was.
	set     func(*Config, any) error
	setText func(*Config, string) error
	// get returns the value as TOML would have it, secrets hidden.
	get func(*Config) any
	// secret keeps the value out of faults.
	secret bool
}

type keyTable []key

// keys is the one table of all keys, in the order of config.example.toml.
func keys() keyTable {
	return keyTable{
		newKey("storage.path", text, storagePath, func(c *Config) *string { return &c.Storage.Path }),
		newKey("storage.synchronous", text, oneOf("full", "normal"), func(c *Config) *string { return &c.Storage.Synchronous }),

		newKey("inbound.enabled", boolean, nil, func(c *Config) *bool { return &c.Inbound.Enabled }),
		newKey("inbound.listen", text, hostPort, func(c *Config) *string { return &c.Inbound.Listen }),
		newKey("inbound.path", text, urlPath, func(c *Config) *string { return &c.Inbound.Path }),
		newKey("inbound.validate_signature", boolean, nil, func(c *Config) *bool { return &c.Inbound.ValidateSignature }),
		newKey("inbound.secret", secret, nil, func(c *Config) *webhook.Secret { return &c.Inbound.Secret }),
		newKey("inbound.max_clock_skew", duration, between(0, 365*24*time.Hour), func(c *Config) *time.Duration { return &c.Inbound.MaxClockSkew }),
		newKey("inbound.max_body", size, sizeBetween(1, 64<<20), func(c *Config) *int64 { return &c.Inbound.MaxBody }),

		newKey("outbound.retries", integer, between(0, 100), func(c *Config) *int { return &c.Outbound.Retries }),
		newKey("outbound.schedule", schedule, webhook.Schedule.Validate, func(c *Config) *webhook.Schedule { return &c.Outbound.Schedule }),
		newKey("outbound.jitter", number, between(0.0, 1.0), func(c *Config) *float64 { return &c.Outbound.Jitter }),
		newKey("outbound.timeout", duration, between(time.Millisecond, webhook.MaxTimeout), func(c *Config) *time.Duration { return &c.Outbound.Timeout }),
		newKey("outbound.concurrency", integer, between(1, 1000), func(c *Config) *int { return &c.Outbound.Concurrency }),
		newKey("outbound.max_in_flight", integer, between(1, 10_000), func(c *Config) *int { return &c.Outbound.MaxInFlight }),
		newKey("outbound.agent_id", text, headerValue(0), func(c *Config) *string { return &c.Outbound.AgentID }),
		newKey("outbound.user_agent", text, headerValue(1), func(c *Config) *string { return &c.Outbound.UserAgent }),
		newKey("outbound.allow_networks", networks, nil, func(c *Config) *[]netip.Prefix { return &c.Outbound.AllowNetworks }),

		newKey("admin.listen", text, hostPortOrNone, func(c *Config) *string { return &c.Admin.Listen }),
		newKey("admin.insecure", boolean, nil, func(c *Config) *bool { return &c.Admin.Insecure }),
		newKey("admin.tls_cert", text, nil, func(c *Config) *string { return &c.Admin.TLSCert }),
		newKey("admin.tls_key", text, nil, func(c *Config) *string { return &c.Admin.TLSKey }),
		newKey("admin.hosts", hosts, nil, func(c *Config) *[]string { return &c.Admin.Hosts }),
		newKey("admin.socket", text, nil, func(c *Config) *string { return &c.Admin.Socket }),

		newKey("log.level", level, nil, func(c *Config) *slog.Level { return &c.Log.Level }),
		newKey("log.format", text, oneOf("text", "json"), func(c *Config) *string { return &c.Log.Format }),
	}
}

func (t keyTable) find(name string) (key, bool) {
	for _, k := range t {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

func (t keyTable) names() []string {
	names := make([]string, len(t))
	for i, k := range t {
		names[i] = k.name
	}
	return names
}

// sections are the names before the dots, each once.
func sections() []string {
	var list []string
	for _, k := range keys() {
		section, _, _ := strings.Cut(k.name, ".")
		if !slices.Contains(list, section) {
			list = append(list, section)
		}
	}
	return list
}

// A codec turns a kind of value into what TOML has, and back.
type codec[T any] struct {
	read func(any) (T, error)
	// text makes of a variable or flag what TOML would have.
	text  func(string) any
	write func(T) any
}

func newKey[T any](name string, c codec[T], check func(T) error, at func(*Config) *T) key {
	set := func(config *Config, value any) error {
		read, err := c.read(value)
		if err == nil && check != nil {
			err = check(read)
		}
		if err == nil {
			*at(config) = read
		}
		return err
	}
	_, secret := any(*new(T)).(webhook.Secret)
	return key{
		name: name, set: set, secret: secret,
		setText: func(config *Config, s string) error { return set(config, c.text(s)) },
		get:     func(config *Config) any { return c.write(*at(config)) },
	}
}

func asIs(s string) any { return s }

var text = codec[string]{
	read: func(v any) (string, error) {
		s, ok := v.(string)
		if !ok {
			return "", fmt.Errorf("must be a string")
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", fmt.Errorf("must not have control characters")
		}
		return s, nil
	},
	text:  asIs,
	write: func(s string) any { return s },
}

var secret = codec[webhook.Secret]{
	read: func(v any) (webhook.Secret, error) {
		s, err := text.read(v)
		if hidden := webhook.Secret("hidden").String(); err == nil && s == hidden {
			err = fmt.Errorf("%s is what a hidden secret is shown as, and no secret", hidden)
		}
		return webhook.Secret(s), err
	},
	text:  asIs,
	write: func(s webhook.Secret) any { return s.String() },
}

var boolean = codec[bool]{
	read: func(v any) (bool, error) {
		b, ok := v.(bool)
		if !ok {
			return false, fmt.Errorf("must be true or false")
		}
		return b, nil
	},
	text: func(s string) any {
		if b, err := strconv.ParseBool(s); err == nil {
			return b
		}
		return s
	},
	write: func(b bool) any { return b },
}

var integer = codec[int]{
	read: func(v any) (int, error) {
		n, ok := v.(int64)
		if !ok || int64(int(n)) != n {
			return 0, fmt.Errorf("must be a whole number")
		}
		return int(n), nil
	},
	text:  wholeOrText,
	write: func(n int) any { return n },
}

func wholeOrText(s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	return s
}

var number = codec[float64]{
	read: func(v any) (float64, error) {
		switch n := v.(type) {
		case int64:
			return float64(n), nil
		case float64:
			if !math.IsNaN(n) {
				return n, nil
			}
		}
		return 0, fmt.Errorf("must be a number")
	},
	text: func(s string) any {
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			return n
		}
		return s
	},
	write: func(n float64) any { return n },
}

var duration = codec[time.Duration]{
	read: func(v any) (time.Duration, error) {
		switch d := v.(type) {
		case int64:
			if d > -1<<32 && d < 1<<32 {
				return time.Duration(d) * time.Second, nil
			}
		case string:
			if parsed, err := time.ParseDuration(d); err == nil {
				return parsed, nil
			}
		}
		return 0, fmt.Errorf(`must be a duration such as "5s" or "2m", or whole seconds`)
	},
	text:  wholeOrText,
	write: func(d time.Duration) any { return writeDuration(d) },
}

// writeDuration writes a duration without zeros at its end: 2m, not 2m0s.
func writeDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits are the units of sizes, the larger ones and the ones of 1024 first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

var size = codec[int64]{
	read: func(v any) (int64, error) {
		switch s := v.(type) {
		case int64:
			return s, nil
		case string:
			for _, unit := range sizeUnits {
				digits, ok := strings.CutSuffix(s, unit.name)
				if !ok {
					continue
				}
				n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
				if err == nil && n >= 0 && n <= math.MaxInt64/unit.bytes {
					return n * unit.bytes, nil
				}
				break
			}
		}
		return 0, fmt.Errorf(`must be a size such as "1MiB" or "500KB", or whole bytes`)
	},
	text:  wholeOrText,
	write: func(n int64) any { return writeSize(n) },
}

func writeSize(n int64) string {
	for _, unit := range sizeUnits {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", n/unit.bytes, unit.name)
		}
	}
	return "0B"
}

var schedule = codec[webhook.Schedule]{
	read: func(v any) (webhook.Schedule, error) {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf(`must be a list of durations such as ["1s", "5s"]`)
		}
		waits := make(webhook.Schedule, len(list))
		for i, item := range list {
			var err error
			if waits[i], err = duration.read(item); err != nil {
				return nil, fmt.Errorf("entry %d %w", i+1, err)
			}
		}
		return waits, nil
	},
	text: func(s string) any { return splitList(s, wholeOrText) },
	write: func(waits webhook.Schedule) any {
		list := make([]string, len(waits))
		for i, wait := range waits {
			list[i] = writeDuration(wait)
		}
		return list
	},
}

// splitList reads a list with commas; nothing is an empty list.
func splitList(s string, item func(string) any) any {
	list := []any{}
	if strings.TrimSpace(s) == "" {
		return list
	}
	for part := range strings.SplitSeq(s, ",") {
		list = append(list, item(strings.TrimSpace(part)))
	}
	return list
}

var networks = codec[[]netip.Prefix]{
	read: func(v any) ([]netip.Prefix, error) {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf(`must be a list of addresses and ranges such as ["10.0.0.0/8"]`)
		}
		prefixes := make([]netip.Prefix, len(list))
		for i, item := range list {
			s, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("entry %d must be a string", i+1)
			}
			var err error
			if prefixes[i], err = readNetwork(s); err != nil {
				return nil, err
			}
		}
		return prefixes, nil
	},
	text: func(s string) any { return splitList(s, asIs) },
	write: func(prefixes []netip.Prefix) any {
		list := make([]string, len(prefixes))
		for i, p := range prefixes {
			list[i] = p.String()
		}
		return list
	},
}

var hosts = codec[[]string]{
	read: func(v any) ([]string, error) {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf(`must be a list of names such as ["pintle.example.com"]`)
		}
		var names []string
		for i, item := range list {
			name, ok := item.(string)
			if !ok || !hostName(name) {
				return nil, fmt.Errorf("entry %d must be the name of a host, such as pintle.example.com, without scheme and port", i+1)
			}
			names = append(names, name)
		}
		return names, nil
	},
	text:  func(s string) any { return splitList(s, asIs) },
	write: func(names []string) any { return append([]string{}, names...) },
}

// hostName reports whether s can be a name in the header Host.
func hostName(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", r)
	})
}

// readNetwork reads an address or a range. An IPv4 address that is written as
// an IPv6 one is taken for what it is.
func readNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a range such as 10.0.0.0/8", s)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("%q reaches beyond IPv4", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits behind its mask; did you mean %s?", s, p.Masked())
	}
	return p, nil
}

var level = codec[slog.Level]{
	read: func(v any) (slog.Level, error) {
		var l slog.Level
		s, _ := v.(string)
		switch s {
		case "debug", "info", "warn", "error":
			return l, l.UnmarshalText([]byte(s))
		}
		return l, fmt.Errorf("must be debug, info, warn or error")
	},
	text:  asIs,
	write: func(l slog.Level) any { return strings.ToLower(l.String()) },
}

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

func oneOf(values ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(values, s) {
			return fmt.Errorf("must be %s", strings.Join(values, " or "))
		}
		return nil
	}
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
