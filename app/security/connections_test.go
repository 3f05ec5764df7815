package security_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pintle/pintle/app/security"
)

// A door is a limited listener whose connections are greeted with a byte and
// live until their other end closes. It sends on left when one is closed.
type door struct {
	net.Listener
	left       chan struct{}
	open, most atomic.Int64
}

func openDoor(t *testing.T, limits security.ConnectionLimits) *door {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{Listener: security.LimitConnections(inner, limits), left: make(chan struct{}, 1000)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := d.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				for now := d.open.Add(1); ; {
					if most := d.most.Load(); now <= most || d.most.CompareAndSwap(most, now) {
						break
					}
				}
				conn.Write([]byte{'!'})
				io.Copy(io.Discard, conn)
				d.open.Add(-1)
				conn.Close()
				conn.Close() // as a server may that is shut down
				d.left <- struct{}{}
			})
		}
	})
	t.Cleanup(func() {
		d.Close()
		all.Wait()
	})
	return d
}

// enter connects from an address, and returns nil if it is refused.
func (d *door) enter(t *testing.T, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", d.Addr().String())
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return nil
	}
	return conn
}

// leave closes a connection and waits until the other end has closed it too.
func (d *door) leave(conn net.Conn) {
	conn.Close()
	<-d.left
}

func TestConnectionsAreBoundedAllTogetherAndPerAddress(t *testing.T) {
	d := openDoor(t, security.ConnectionLimits{Total: 3, PerAddress: 2})
	a1, a2 := d.enter(t, "127.0.0.1"), d.enter(t, "127.0.0.1")
	if a1 == nil || a2 == nil {
		t.Fatal("refused within the limits")
	}
	if d.enter(t, "127.0.0.1") != nil {
		t.Error("three from one address")
	}
	b := d.enter(t, "127.0.0.2")
	if b == nil {
		t.Fatal("one address has taken another's place")
	}
	if d.enter(t, "127.0.0.3") != nil {
		t.Error("four all together")
	}
	d.leave(a1)
	if a1 = d.enter(t, "127.0.0.1"); a1 == nil {
		t.Error("no room after one has left")
	}
	if d.enter(t, "127.0.0.3") != nil {
		t.Error("closing twice made room for two")
	}
	for _, conn := range []net.Conn{a1, a2, b} {
		d.leave(conn)
	}
	for _, from := range []string{"127.0.0.3", "127.0.0.3", "127.0.0.4"} {
		if d.enter(t, from) == nil {
			t.Errorf("no room for %s after all have left", from)
		}
	}
}

func TestZeroIsNoLimitOfConnections(t *testing.T) {
	d := openDoor(t, security.ConnectionLimits{})
	for range 50 {
		if d.enter(t, "127.0.0.1") == nil {
			t.Fatal("refused")
		}
	}
}

func TestATrustedProxyHasTheConnectionsOfItsClients(t *testing.T) {
	proxies := security.NewProxies(prefixes("127.0.0.2/32"))
	d := openDoor(t, security.ConnectionLimits{Total: 5, PerAddress: 1, Exempt: proxies.Trusts})
	for range 4 {
		if d.enter(t, "127.0.0.2") == nil {
			t.Fatal("a proxy is limited as an address is")
		}
	}
	if d.enter(t, "127.0.0.1") == nil || d.enter(t, "127.0.0.3") != nil || d.enter(t, "127.0.0.2") != nil {
		t.Error("a proxy's connections do not count in the total")
	}
}

func TestWhoIsRefusedCanBeTold(t *testing.T) {
	var refused []string
	d := openDoor(t, security.ConnectionLimits{PerAddress: 1, OnRefuse: func(conn net.Conn) {
		peer, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		refused = append(refused, peer.Addr().String())
		conn.Write([]byte("?full"))
	}})
	if d.enter(t, "127.0.0.1") == nil {
		t.Fatal("refused within the limit")
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if answer, err := io.ReadAll(conn); string(answer) != "?full" || err != nil {
		t.Errorf("answer %q, %v", answer, err)
	}
	if len(refused) != 1 || refused[0] != "127.0.0.1" {
		t.Errorf("refused %v", refused)
	}
}

// TestManyConnectionsAreCountedRight has many come and go at once: never are
// there more than allowed, and in the end there is room for all again.
func TestManyConnectionsAreCountedRight(t *testing.T) {
	d := openDoor(t, security.ConnectionLimits{Total: 10, PerAddress: 4})
	var clients sync.WaitGroup
	var entered atomic.Int64
	for i := range 8 {
		clients.Go(func() {
			from := net.IPv4(127, 0, 0, byte(1+i%4)).String()
			for range 40 {
				if conn := d.enter(t, from); conn != nil {
					entered.Add(1)
					conn.Close()
				}
			}
		})
	}
	clients.Wait()
	for range entered.Load() {
		<-d.left
	}
	if most := d.most.Load(); most > 10 || most < 1 {
		t.Errorf("%d at once", most)
	}
	for i := range 10 {
		if d.enter(t, net.IPv4(127, 0, 0, byte(1+i/4)).String()) == nil {
			t.Errorf("no room for connection %d after all have left", i)
		}
	}
	if d.enter(t, "127.0.0.9") != nil {
		t.Error("eleven all together")
	}
}

// A talk is a listener whose connections are given.
type talk struct{ conns chan net.Conn }

func (l talk) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (l talk) Close() error   { return nil }
func (l talk) Addr() net.Addr { return &net.TCPAddr{} }

// A from is a connection from an address, and nothing else.
type from struct {
	net.Conn
	addr string
}

func (c from) RemoteAddr() net.Addr { return named(c.addr) }
func (c from) Close() error         { return nil }

type named string

func (n named) Network() string { return "tcp" }
func (n named) String() string  { return string(n) }

func TestConnectionsOfIPv6AreCountedByNetwork(t *testing.T) {
	conns := []net.Conn{
		from{addr: "[2001:db8::1]:1"}, from{addr: "[2001:db8::ffff:2]:1"}, from{addr: "[2001:db8:0:1::1]:1"},
		from{addr: "[::ffff:203.0.113.9]:1"}, from{addr: "203.0.113.9:2"}, from{addr: "@"}, from{addr: "@"},
	}
	l := talk{make(chan net.Conn, len(conns))}
	for _, conn := range conns {
		l.conns <- conn
	}
	close(l.conns)
	limited := security.LimitConnections(l, security.ConnectionLimits{PerAddress: 1})
	for _, want := range []int{0, 2, 3, 5, 6} {
		if conn, err := limited.Accept(); err != nil || conn.RemoteAddr() != conns[want].RemoteAddr() {
			t.Fatalf("accepted %v, %v, want %s", conn, err, conns[want].RemoteAddr())
		}
	}
	if _, err := limited.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener's error is %v", err)
	}
}

// TestALimitedConnectionCanEndItsSide, since net/http needs that so that a
// client which still sends reads the answer.
func TestALimitedConnectionCanEndItsSide(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := security.LimitConnections(inner, security.ConnectionLimits{Total: 1})
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := server.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the client reads %d, %v", n, err)
	}
	client.Write([]byte("x"))
	if n, err := server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the server reads %d, %v", n, err)
	}
}
