package security

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// ConnectionLimits are how many connections a listener has at a time.
type ConnectionLimits struct {
	// Total bounds them all together, and PerAddress those from one IPv4
	// address or one /64 of IPv6; zero: no limit. PerAddress is not for peers
	// without an address, such as those of a Unix socket.
	Total, PerAddress int
	// Exempt says whose connections PerAddress is not for, such as a trusted
	// proxy, which has those of all its clients; nil: nobody's.
	Exempt func(netip.Addr) bool
	// OnRefuse is called with a connection over a limit, which is closed
	// afterwards; nil: it is only closed. Nothing is accepted meanwhile, so it
	// must not block.
	OnRefuse func(net.Conn)
}

// LimitConnections bounds the connections of a listener. One over a limit is
// accepted and closed at once, since the system would otherwise keep it waiting
// in its queue, and those behind it too.
func LimitConnections(l net.Listener, limits ConnectionLimits) net.Listener {
	return &limitedListener{Listener: l, limits: limits, places: NewPlaces(limits.Total, limits.PerAddress)}
}

type limitedListener struct {
	net.Listener
	limits ConnectionLimits
	places *Places
}

// Accept returns the next connection that is within the limits.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		counted := l.counted(conn)
		if l.places.Take(counted) {
			return &limitedConn{Conn: conn, closed: sync.OnceFunc(func() { l.places.Leave(counted) })}, nil
		}
		if l.limits.OnRefuse != nil {
			l.limits.OnRefuse(conn)
		}
		conn.Close()
	}
}

// counted returns the network that a connection counts for, the zero Addr for
// none.
func (l *limitedListener) counted(conn net.Conn) netip.Addr {
	if l.limits.PerAddress <= 0 {
		return netip.Addr{}
	}
	peer := addressOf(conn.RemoteAddr().String())
	if !peer.IsValid() || l.limits.Exempt != nil && l.limits.Exempt(peer) {
		return netip.Addr{}
	}
	return Network(peer)
}

// A limitedConn counts until it is closed.
type limitedConn struct {
	net.Conn
	closed func()
}

// Close makes room for another connection, once.
func (c *limitedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// CloseWrite is looked for by [net/http.Server], which ends its side with it
// and waits before it closes: else a client that still sends would lose the
// answer to a body that is too large.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
