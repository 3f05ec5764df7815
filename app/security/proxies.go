package security

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/realclientip/realclientip-go"
)

// Proxies finds who sent a request that came through trusted proxies.
type Proxies struct {
	trusted addressSet
	header  realclientip.Strategy
}

// NewProxies returns what believes the X-Forwarded-For of peers in these ranges.
func NewProxies(trusted []netip.Prefix) *Proxies {
	p := &Proxies{trusted: newAddressSet(trusted)}
	ranges := make([]net.IPNet, 0, len(p.trusted))
	for _, t := range p.trusted {
		ranges = append(ranges, net.IPNet{IP: t.Addr().AsSlice(), Mask: net.CIDRMask(t.Bits(), t.Addr().BitLen())})
	}
	// It refuses only the name of another header.
	p.header = realclientip.Must(realclientip.NewRightmostTrustedRangeStrategy("X-Forwarded-For", ranges))
	return p
}

// Client returns who sent a request, and the other end of its connection, which
// is the same one unless that is a trusted proxy. The lines of X-Forwarded-For
// are one list, read from the right: the first address in it that is no trusted
// proxy is the client. If there is none, or before it something that is no
// address, the client is the peer. Both are plain; the zero Addr is returned
// only for a remoteAddr that is no address, such as that of a Unix socket.
func (p *Proxies) Client(remoteAddr string, header http.Header) (client, peer netip.Addr) {
	peer = addressOf(remoteAddr)
	if !p.Trusts(peer) {
		return peer, peer
	}
	client, err := netip.ParseAddr(p.header.ClientIP(header, remoteAddr))
	if err != nil {
		return peer, peer
	}
	return plain(client), peer
}

// Trusts says whether an address is that of a trusted proxy.
func (p *Proxies) Trusts(addr netip.Addr) bool { return p.trusted.contains(plain(addr)) }

// addressOf reads the text of a [net.Addr], with or without a port. It returns
// the zero Addr for anything else.
func addressOf(text string) netip.Addr {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return plain(with.Addr())
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return plain(addr)
}
