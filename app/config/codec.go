package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A codec turns a kind of value into what TOML has, and back.
type codec[T any] struct {
	read func(any) (T, error)
	// text makes of a variable or flag what TOML would have.
	text  func(string) any
	write func(T) any
}

func asIs(s string) any { return s }

var text = textOf[string]("")

// textOf reads a string on one line, or one with the given control characters.
func textOf[T ~string](controls string) codec[T] {
	return codec[T]{
		read: func(v any) (T, error) {
			s, ok := v.(string)
			if !ok {
				return "", fmt.Errorf("must be a string")
			}
			if strings.ContainsFunc(s, func(r rune) bool { return (r < ' ' || r == 0x7f) && !strings.ContainsRune(controls, r) }) {
				return "", fmt.Errorf("must not have control characters")
			}
			return T(s), nil
		},
		text:  asIs,
		write: func(s T) any { return string(s) },
	}
}

var (
	secret      = secretOf("")
	secretLines = secretOf("\t\r\n")
)

// secretOf reads a secret on one line, or one with the given control characters.
func secretOf(controls string) codec[webhook.Secret] {
	return codec[webhook.Secret]{
		read: func(v any) (webhook.Secret, error) {
			s, err := textOf[webhook.Secret](controls).read(v)
			if err == nil && s.Reveal() == hidden {
				err = errHidden
			}
			return s, err
		},
		text:  asIs,
		write: func(s webhook.Secret) any { return s.String() },
	}
}

// hidden is what a secret is shown as.
const hidden = "***"

var errHidden = errors.New(hidden + " is what a hidden secret is shown as, and no secret")

// proxy reads a URL, of which all but the credentials is shown.
var proxy = codec[webhook.Secret]{
	read: func(v any) (webhook.Secret, error) {
		s, err := secret.read(v)
		if u, bad := url.Parse(s.Reveal()); err == nil && bad == nil && u.User.Username() == hidden {
			err = errHidden
		}
		return s, err
	},
	text: asIs,
	write: func(s webhook.Secret) any {
		// It was checked when it was read.
		u, err := url.Parse(s.Reveal())
		if err != nil {
			return hidden
		}
		if u.User == nil {
			return s.Reveal()
		}
		return u.Scheme + "://" + hidden + "@" + u.Host + u.Path
	},
}

// listOf reads a list, an empty one as nil; with names what it has, for faults.
func listOf[L ~[]T, T, W any](with string, item codec[T], write func(T) W) codec[L] {
	return codec[L]{
		read: func(v any) (L, error) {
			list, ok := v.([]any)
			if !ok {
				return nil, fmt.Errorf("must be a list of %s", with)
			}
			var items L
			for i, entry := range list {
				read, err := item.read(entry)
				if err != nil {
					return nil, fmt.Errorf("entry %d %w", i+1, err)
				}
				items = append(items, read)
			}
			return items, nil
		},
		text: func(s string) any { return splitList(s, item.text) },
		write: func(items L) any {
			list := make([]W, len(items))
			for i, item := range items {
				list[i] = write(item)
			}
			return list
		},
	}
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

// same writes an entry of a list as it is.
func same[T any](v T) T { return v }

var (
	secrets = listOf[[]webhook.Secret](`secrets such as ["whsec_…"]`, secret, webhook.Secret.String)
	names   = listOf[[]string](`names such as ["pintle.example.com"]`, text, same)
	// Recipients are public.
	recipients = listOf[[]string](`public keys such as ["age1…"]`, text, same)
	networks   = listOf[[]netip.Prefix](`addresses and ranges such as ["10.0.0.0/8"]`, network, netip.Prefix.String)
	schedule   = listOf[webhook.Schedule](`durations such as ["1s", "5s"]`, duration, webhook.FormatDuration)
	asns       = listOf[[]uint32]("AS numbers such as [64500]", asn, same)
	patterns   = listOf[[]webhook.Pattern](`patterns such as ["order.*"]`, textOf[webhook.Pattern](""), same)
)

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
	write: func(d time.Duration) any { return webhook.FormatDuration(d) },
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

var network = codec[netip.Prefix]{
	read: func(v any) (netip.Prefix, error) {
		s, ok := v.(string)
		if !ok {
			return netip.Prefix{}, fmt.Errorf("must be a string")
		}
		return readNetwork(s)
	},
	text:  asIs,
	write: func(p netip.Prefix) any { return p.String() },
}

var asn = codec[uint32]{
	read: func(v any) (uint32, error) {
		switch n := v.(type) {
		case int64:
			if n >= 1 && n <= math.MaxUint32 {
				return uint32(n), nil
			}
		case string:
			digits := n
			if len(n) > 2 && strings.EqualFold(n[:2], "AS") {
				digits = n[2:]
			}
			if parsed, err := strconv.ParseUint(digits, 10, 32); err == nil && parsed > 0 {
				return uint32(parsed), nil
			}
		}
		return 0, fmt.Errorf(`must be an AS number such as 64500 or "AS64500"`)
	},
	text:  asIs,
	write: func(n uint32) any { return n },
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
		return p, fmt.Errorf("is %q, neither an address nor a range such as 10.0.0.0/8", s)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("is %q, which reaches beyond IPv4", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("is %q, which has bits behind its mask; did you mean %s?", s, p.Masked())
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
