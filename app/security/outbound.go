package security

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
	"golang.org/x/net/idna"
)

// ErrBlocked says that an address is not one that Pintle may call. The text
// around it names the entries of outbound.allow_networks that would allow it.
var ErrBlocked = errors.New("address is not allowed")

const (
	// resolvePatience bounds how long a name is looked up to be checked when it is
	// saved.
	resolvePatience = 2 * time.Second
	// proxiedPatience does so before each request through a proxy: behind one there
	// may be no resolver that answers.
	proxiedPatience = 500 * time.Millisecond
)

// metadata are the addresses at which clouds hand out credentials. A range
// that happens to contain one does not allow it.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"),    // AWS, GCP, Azure and most others
	netip.MustParseAddr("169.254.170.2"),      // AWS ECS
	netip.MustParseAddr("169.254.170.23"),     // AWS EKS
	netip.MustParseAddr("168.63.129.16"),      // Azure WireServer; a public address
	netip.MustParseAddr("100.100.100.200"),    // Alibaba
	netip.MustParseAddr("192.0.0.192"),        // Oracle
	netip.MustParseAddr("fd00:ec2::254"),      // AWS
	netip.MustParseAddr("fd00:ec2::23"),       // AWS EKS
	netip.MustParseAddr("fd20:ce::254"),       // GCP
	netip.MustParseAddr("169.254.0.23"),       // Tencent
	netip.MustParseAddr("169.254.42.42"),      // Scaleway
	netip.MustParseAddr("fd00:42::42"),        // Scaleway
	netip.MustParseAddr("fd00:a9fe:a9fe::1"),  // Akamai
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle
	netip.MustParseAddr("fd00:100::100:200"),  // Alibaba
	netip.MustParseAddr("fe80::a9fe:a9fe"),    // OpenStack
}

// An OutboundGuard decides which addresses may be called. Private, loopback,
// link-local and reserved ones are refused unless they are allowed by name. An
// address that leads to an IPv4 address, as those of NAT64 do, may be called only
// where both may.
type OutboundGuard struct {
	// Resolver resolves names; nil: that of the system. It is set before the guard
	// is used.
	Resolver *net.Resolver

	allowed []netip.Prefix
	public  *ssrf.Guardian
}

// NewOutboundGuard returns a guard that allows the public internet and these
// networks.
func NewOutboundGuard(allowed []netip.Prefix) *OutboundGuard {
	g := &OutboundGuard{allowed: slices.Clone(allowed), public: ssrf.New(ssrf.WithAnyPort())}
	for i, p := range g.allowed {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			// Contains would find no address in it, neither form of one.
			g.allowed[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return g
}

// CheckAddr returns nil, or an error that wraps [ErrBlocked].
func (g *OutboundGuard) CheckAddr(addr netip.Addr) error {
	addr = plain(addr)
	var missing []string
	reason := ""
	for _, a := range append([]netip.Addr{addr}, embedded(addr)...) {
		why := g.refuse(a)
		entry := fmt.Sprintf("%q", netip.PrefixFrom(a, a.BitLen()))
		if why == "" || slices.Contains(missing, entry) {
			continue
		}
		missing = append(missing, entry)
		if a != addr {
			why = fmt.Sprintf("leads to %s, which %s", a, why)
		}
		if reason == "" || !isMetadata(addr) && isMetadata(a) {
			reason = why
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s %s; %s in outbound.allow_networks would allow it", ErrBlocked, addr, reason, strings.Join(missing, " and "))
}

// refuse says why the address, taken by itself, may not be called; empty: it may.
func (g *OutboundGuard) refuse(addr netip.Addr) string {
	if isMetadata(addr) {
		if slices.Contains(g.allowed, netip.PrefixFrom(addr, addr.BitLen())) {
			return ""
		}
		return "serves cloud credentials, and no range allows it"
	}
	if slices.ContainsFunc(g.allowed, func(p netip.Prefix) bool { return p.Contains(addr) }) || g.public.SafeAddr(addr) == nil {
		return ""
	}
	return "is private or reserved"
}

func isMetadata(addr netip.Addr) bool { return slices.Contains(metadata, addr) }

// Ranges of addresses that lead to IPv4 addresses.
var (
	compatible = netip.MustParsePrefix("::/96")          // RFC 4291 section 2.5.5.1
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380
	thisHost   = netip.MustParsePrefix("0.0.0.0/8")      // RFC 1122
)

// embedded returns the IPv4 addresses to which an IPv6 address may lead.
func embedded(addr netip.Addr) []netip.Addr {
	if !addr.Is6() || addr.IsUnspecified() || addr.IsLoopback() {
		return nil
	}
	b := addr.As16()
	at := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	switch {
	case compatible.Contains(addr), nat64.Contains(addr):
		return []netip.Addr{at(12, 13, 14, 15)}
	case localNAT64.Contains(addr):
		// The network decides how long its prefix is, and with it where the address
		// stands, RFC 6052 section 2.2. Where there is nothing but zeros it is not.
		places := []netip.Addr{at(12, 13, 14, 15), at(9, 10, 11, 12), at(7, 9, 10, 11), at(6, 7, 9, 10)}
		return slices.DeleteFunc(places, func(a netip.Addr) bool { return thisHost.Contains(a) })
	case sixToFour.Contains(addr):
		return []netip.Addr{at(2, 3, 4, 5)}
	case teredo.Contains(addr):
		server, client := at(4, 5, 6, 7), at(12, 13, 14, 15).As4()
		for i := range client {
			client[i] ^= 0xff
		}
		return []netip.Addr{netip.AddrFrom4(client), server}
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214 section 6.1
		return []netip.Addr{at(12, 13, 14, 15)}
	}
	return nil
}

// Control is for [net.Dialer]: it runs after name resolution, for each address
// that is about to be connected to.
func (g *OutboundGuard) Control(network, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("%w: %s %s", ErrBlocked, network, address)
	}
	return g.CheckAddr(target.Addr())
}

// Check refuses a URL that may not be called, so that a person hears of it at
// once: one whose host is such an address, or a name that has now no address but
// such. A name without an address is accepted, since it may have one later. What
// it accepts is checked again when it is connected to.
func (g *OutboundGuard) Check(ctx context.Context, raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w: not a URL", ErrBlocked)
	}
	refusals, resolved, err := g.judge(ctx, u.Hostname(), resolvePatience)
	if err != nil || len(refusals) < resolved || resolved == 0 {
		return err
	}
	return refusals[0]
}

// CheckProxied is Check for a host that a proxy is about to connect to, after
// which nothing is checked any more: one refused address is enough.
func (g *OutboundGuard) CheckProxied(ctx context.Context, host string) error {
	refusals, _, err := g.judge(ctx, host, proxiedPatience)
	if err != nil || len(refusals) == 0 {
		return err
	}
	return refusals[0]
}

// judge says of a host how many addresses it has, as far as that can be found out
// in time, and why some of them may not be called. The error is that of a host which
// is none.
func (g *OutboundGuard) judge(ctx context.Context, host string, patience time.Duration) (refusals []error, resolved int, err error) {
	name, literal, err := readHost(host)
	if err != nil {
		return nil, 0, err
	}
	addresses := []netip.Addr{literal}
	if !literal.IsValid() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if addresses, err = g.resolver().LookupNetIP(ctx, "ip", name); err != nil {
			return nil, 0, nil
		}
	}
	for _, a := range addresses {
		err := g.CheckAddr(a)
		switch {
		case err != nil && !literal.IsValid():
			refusals = append(refusals, fmt.Errorf("%s: %w", name, err))
		case err != nil:
			refusals = append(refusals, err)
		}
	}
	return refusals, len(addresses), nil
}

func (g *OutboundGuard) resolver() *net.Resolver {
	if g.Resolver != nil {
		return g.Resolver
	}
	return net.DefaultResolver
}

// readHost returns the name that would be looked up for the host of a URL, or the
// address that it stands for.
func readHost(host string) (name string, literal netip.Addr, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return "", addr, nil
	}
	// As net/http does, to which ①②⑦.⓪.⓪.① is 127.0.0.1.
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	name = strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		// RFC 6761 section 6.3: such a name always means loopback.
		return "", netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return "", addr, nil
	}
	if slices.Contains(strings.Split(name, "."), "") {
		// Some would look up what is left without it.
		return "", netip.Addr{}, fmt.Errorf("%w: %q has an empty part", ErrBlocked, host)
	}
	// No name ends in a number. To some resolvers such a host is an address, in one
	// of the forms that C had for them, and others look it up in vain.
	last := name[strings.LastIndexByte(name, '.')+1:]
	if numeric(last) {
		return "", netip.Addr{}, fmt.Errorf("%w: %q is no address in its usual form", ErrBlocked, host)
	}
	return name, netip.Addr{}, nil
}

// numeric reports whether a label is a number in C: decimal, octal or hexadecimal.
func numeric(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	if digits == "" {
		return hex
	}
	return strings.Trim(digits, "0123456789") == "" || hex && strings.Trim(digits, "0123456789abcdef") == ""
}

// Dialer returns a dialer that connects to allowed addresses only.
func (g *OutboundGuard) Dialer() *net.Dialer {
	return &net.Dialer{Control: g.Control, Resolver: g.Resolver}
}
