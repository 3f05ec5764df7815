// Package security says who may come in and where Pintle may go.
//
// What a request meets on its way in, in this order:
//
//   - [LimitConnections] bounds how many connections there are, all together and
//     from one network, before a byte is read; [Places] does so for requests,
//     of which a connection may have many.
//   - [Proxies] finds who sent a request: the other end of the connection, or,
//     if that is a trusted proxy, whom the proxies saw. A header alone never
//     decides it.
//   - [Allowlist] decides whether that address may come in, by the address or by
//     the autonomous system that an [ASNDatabase] gives for it. What is not
//     known matches nothing.
//   - [RateLimiter] decides whether it may come in now.
//
// All of them take the forms of an address for one: an IPv4 address that came
// as ::ffff:192.0.2.1 is 192.0.2.1, and a zone is cut off. Where a client is
// counted, its network is: an IPv4 address, or the /64 of an IPv6 address,
// since a client of IPv6 commonly has at least a /64 to take addresses from.
//
// On the way out, an [OutboundGuard] keeps deliveries off private addresses.
//
// At rest, a [Keyring] seals the secrets that are kept.
package security

import "net/netip"

// plain returns the address without zone, and an IPv4 address as such.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// Network returns what stands for a client where clients are counted: the
// address itself for IPv4, the first address of its /64 for IPv6.
func Network(addr netip.Addr) netip.Addr {
	addr = plain(addr)
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}
