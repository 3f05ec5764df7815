package security

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// ErrBlocked says that an address is not one that Pintle may call. The text
// around it names the entry of outbound.allow_networks that would allow it.
var ErrBlocked = errors.New("address is not allowed")

// metadata are the addresses at which clouds hand out credentials. A range
// that happens to contain one does not allow it.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // AWS, GCP, Azure and most others
	netip.MustParseAddr("169.254.170.2"),   // AWS ECS
	netip.MustParseAddr("168.63.129.16"),   // Azure WireServer; a public address
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // GCP
}

// An OutboundGuard decides which addresses may be called. Private, loopback,
// link-local and reserved ones are refused unless they are allowed by name.
type OutboundGuard struct {
	allowed []netip.Prefix
	public  *ssrf.Guardian
}

// NewOutboundGuard returns a guard that allows the public internet and these
// networks.
func NewOutboundGuard(allowed []netip.Prefix) *OutboundGuard {
	return &OutboundGuard{allowed: allowed, public: ssrf.New(ssrf.WithAnyPort())}
}

// Check returns nil, or an error that wraps [ErrBlocked].
func (g *OutboundGuard) Check(addr netip.Addr) error {
	addr = plain(addr)
	exact := netip.PrefixFrom(addr, addr.BitLen())
	for _, m := range metadata {
		if addr != m {
			continue
		}
		for _, p := range g.allowed {
			if p == exact {
				return nil
			}
		}
		return fmt.Errorf("%w: %s serves cloud credentials; it needs %q itself in outbound.allow_networks", ErrBlocked, addr, exact)
	}
	for _, p := range g.allowed {
		if p.Contains(addr) {
			return nil
		}
	}
	if g.public.SafeAddr(addr) != nil {
		return fmt.Errorf("%w: %s is private or reserved; %q in outbound.allow_networks would allow it", ErrBlocked, addr, exact)
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
	return g.Check(target.Addr())
}

// CheckURL refuses a URL whose host is an address that may not be called, so
// that a person hears of it at once. A name is only resolved, and then checked,
// when it is connected to.
func (g *OutboundGuard) CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w: not a URL", ErrBlocked)
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		// RFC 6761 section 6.3: such a name always means loopback.
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	return g.Check(addr)
}

// Dialer returns a dialer that connects to allowed addresses only.
func (g *OutboundGuard) Dialer() *net.Dialer { return &net.Dialer{Control: g.Control} }
