package security_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/pintle/pintle/app/security"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestOnlyPublicAddressesAreCalledUnlessAllowed(t *testing.T) {
	tests := []struct {
		allow []netip.Prefix
		addr  string
		ok    bool
	}{
		{nil, "93.184.216.34", true},
		{nil, "2606:2800:220:1:248:1893:25c8:1946", true},
		{nil, "0.0.0.0", false},
		{nil, "0.1.2.3", false},
		{nil, "10.1.2.3", false},
		{nil, "100.64.0.1", false},
		{nil, "127.0.0.1", false},
		{nil, "127.255.255.254", false},
		{nil, "169.254.1.1", false},
		{nil, "172.16.0.1", false},
		{nil, "172.31.255.255", false},
		{nil, "172.32.0.1", true},
		{nil, "192.0.2.1", false},
		{nil, "192.168.1.1", false},
		{nil, "198.18.0.1", false},
		{nil, "198.51.100.1", false},
		{nil, "203.0.113.1", false},
		{nil, "224.0.0.1", false},
		{nil, "239.255.255.250", false},
		{nil, "240.0.0.1", false},
		{nil, "255.255.255.255", false},
		{nil, "::", false},
		{nil, "::1", false},
		{nil, "100::1", false},
		{nil, "2001:db8::1", false},
		{nil, "3fff::1", false},
		{nil, "fc00::1", false},
		{nil, "fdff::1", false},
		{nil, "fe80::1%eth0", false},
		{nil, "fec0::1", false},
		{nil, "ff02::1", false},
		// Mapped and compatible.
		{nil, "::ffff:127.0.0.1", false},
		{nil, "::ffff:93.184.216.34", true},
		{nil, "::127.0.0.1", false},
		{nil, "::93.184.216.34", false},
		// NAT64, 6to4, Teredo, ISATAP.
		{nil, "64:ff9b::7f00:1", false},
		{nil, "64:ff9b::93.184.216.34", false},
		{nil, "64:ff9b:1::7f00:1", false},
		{nil, "2002:7f00:1::", false},
		{nil, "2002:5db8:d822::1", false},
		{nil, "2001:0:5db8:d822:0:0:80ff:fffe", false},
		{nil, "2606:2800:220:1:0:5efe:7f00:1", false},
		{nil, "2606:2800:220:1:200:5efe:10.0.0.1", false},
		{nil, "2606:2800:220:1:0:5efe:93.184.216.34", true},
		// Metadata.
		{nil, "169.254.169.254", false},
		{nil, "169.254.170.2", false},
		{nil, "169.254.170.23", false},
		{nil, "168.63.129.16", false},
		{nil, "100.100.100.200", false},
		{nil, "192.0.0.192", false},
		{nil, "fd00:ec2::254", false},
		{nil, "fd00:ec2::23", false},
		{nil, "fd20:ce::254", false},
		// What is allowed.
		{prefixes("10.0.0.0/8"), "10.1.2.3", true},
		{prefixes("10.0.0.0/8"), "::ffff:10.1.2.3", true},
		{prefixes("::ffff:10.0.0.0/104"), "10.1.2.3", true},
		{prefixes("10.0.0.0/8"), "192.168.1.1", false},
		{prefixes("127.0.0.0/8"), "127.0.0.1", true},
		{prefixes("0.0.0.0/32"), "0.0.0.0", true},
		{prefixes("::1/128"), "::1", true},
		{prefixes("fc00::/7"), "fc00::1%eth0", true},
		{prefixes("fe80::/10"), "fe80::1%eth0", true},
		{prefixes("169.254.0.0/16"), "169.254.1.1", true},
		// No range allows what serves credentials.
		{prefixes("169.254.0.0/16"), "169.254.169.254", false},
		{prefixes("169.254.169.254/31"), "169.254.169.254", false},
		{prefixes("169.254.169.254/32"), "169.254.169.254", true},
		{prefixes("169.254.169.254/32"), "::ffff:169.254.169.254", true},
		{prefixes("0.0.0.0/0"), "168.63.129.16", false},
		{prefixes("fc00::/7"), "fd00:ec2::254", false},
		{prefixes("169.254.0.0/16"), "169.254.0.23", false},
		{prefixes("169.254.0.0/16"), "169.254.42.42", false},
		{prefixes("fd00::/8"), "fd00:42::42", false},
		{prefixes("fd00::/8"), "fd00:a9fe:a9fe::1", false},
		{prefixes("fd00::/8"), "fd00:c1::a9fe:a9fe", false},
		{prefixes("fd00::/8"), "fd00:100::100:200", false},
		{prefixes("fe80::/10"), "fe80::a9fe:a9fe%eth0", false},
		{prefixes("fe80::a9fe:a9fe/128"), "fe80::a9fe:a9fe%eth0", true},
		{prefixes("::/0"), "64:ff9b::169.254.169.254", false},
		{prefixes("::/0", "0.0.0.0/0"), "64:ff9b::169.254.169.254", false},
		{prefixes("::/0", "0.0.0.0/0"), "64:ff9b:1::169.254.169.254", false},
		{prefixes("::/0", "0.0.0.0/0"), "64:ff9b:1:a9fe:a9:fe00::", false},
		{prefixes("::/0", "0.0.0.0/0"), "2002:a9fe:a9fe::", false},
		{prefixes("::/0", "0.0.0.0/0"), "2001::5601:5601", false},
		{prefixes("::/0", "0.0.0.0/0"), "::169.254.169.254", false},
		{prefixes("::/0", "0.0.0.0/0"), "::ffff:169.254.169.254", false},
		{prefixes("::/0", "0.0.0.0/0"), "2606::5efe:a9fe:a9fe", false},
		// An address that leads to another needs both.
		{prefixes("64:ff9b::/96"), "64:ff9b::93.184.216.34", true},
		{prefixes("64:ff9b::/96"), "64:ff9b::10.0.0.1", false},
		{prefixes("64:ff9b::a00:1/128"), "64:ff9b::10.0.0.1", false},
		{prefixes("10.0.0.0/8"), "64:ff9b::10.0.0.1", false},
		{prefixes("64:ff9b::/96", "10.0.0.0/8"), "64:ff9b::10.0.0.1", true},
		{prefixes("64:ff9b:1::/48"), "64:ff9b:1::93.184.216.34", true},
		{prefixes("64:ff9b:1::/48"), "64:ff9b:1:a00:0:100::", false},
		{prefixes("64:ff9b:1::/48"), "64:ff9b:1:a:0:1::", false},
		{prefixes("64:ff9b:1::/48"), "64:ff9b:1:0:a:0:100:0", false},
		{prefixes("2002::/16"), "2002:5db8:d822::1", true},
		{prefixes("2002::/16"), "2002:a00:1::1", false},
		{prefixes("2002::/16", "10.0.0.0/8"), "2002:a00:1::1", true},
		{prefixes("::/96"), "::127.0.0.1", false},
		{prefixes("2001::/32"), "2001:0:5db8:d822:0:0:a247:27dd", true},
		{prefixes("2001::/32"), "2001:0:5db8:d822:0:0:f5ff:fffe", false},
		{prefixes("2001::/32"), "2001:0:a00:1:0:0:a247:27dd", false},
	}
	for _, tt := range tests {
		err := security.NewOutboundGuard(tt.allow).CheckAddr(netip.MustParseAddr(tt.addr))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, security.ErrBlocked) {
			t.Errorf("allow %v: %s: %v, want allowed %v", tt.allow, tt.addr, err, tt.ok)
		}
	}
}

// entry is one of outbound.allow_networks in a refusal.
var entry = regexp.MustCompile(`"([^"]+)"`)

func FuzzRefusalNamesWhatWouldAllowIt(f *testing.F) {
	for _, addr := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::", "fe80::1", "64:ff9b::a9fe:a9fe",
		"64:ff9b:1:a9fe:a9:fe0a:1:1", "2002:a9fe:a9fe::", "2001:0:a00:1::5601:5601", "2606::5efe:a00:1", "::169.254.169.254", "fd00:ec2::254"} {
		f.Add(netip.MustParseAddr(addr).AsSlice())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		err := security.NewOutboundGuard(nil).CheckAddr(addr)
		if err == nil {
			return
		}
		var allow []netip.Prefix
		for _, m := range entry.FindAllStringSubmatch(err.Error(), -1) {
			p, err := netip.ParsePrefix(m[1])
			if err != nil || !p.IsSingleIP() {
				t.Fatalf("%s: %v", addr, err)
			}
			allow = append(allow, p)
		}
		if again := security.NewOutboundGuard(allow).CheckAddr(addr); again != nil {
			t.Fatalf("%v; with these: %v", err, again)
		}
		for i := range allow {
			if security.NewOutboundGuard(slices.Delete(slices.Clone(allow), i, i+1)).CheckAddr(addr) == nil {
				t.Fatalf("%v; %s is not needed", err, allow[i])
			}
		}
	})
}

func TestAddressesAreCheckedWhenConnecting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "localhost.", "foo.localhost", "::ffff:127.0.0.1", "0.0.0.0", "::"} {
		for _, port := range []string{port, "80", "22"} {
			conn, err := security.NewOutboundGuard(nil).Dialer().DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
			var dns *net.DNSError
			if !errors.Is(err, security.ErrBlocked) && !errors.As(err, &dns) {
				t.Errorf("dial %s: %v, want ErrBlocked", host, err)
			}
			if err == nil {
				conn.Close()
			}
		}
	}
	conn, err := security.NewOutboundGuard(prefixes("127.0.0.0/8")).Dialer().DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("dial an allowed address: %v", err)
	}
	conn.Close()
	if err := security.NewOutboundGuard(nil).Control("udp4", "93.184.216.34:53", nil); !errors.Is(err, security.ErrBlocked) {
		t.Errorf("UDP: %v", err)
	}
}

func TestAddressesAreCheckedWhenSaved(t *testing.T) {
	guard := security.NewOutboundGuard(prefixes("10.0.0.0/8"))
	guard.Resolver = names(t, map[string][][]netip.Addr{
		"public.test":  {addresses("93.184.216.34")},
		"private.test": {addresses("192.168.0.1", "192.168.0.2")},
		"mixed.test":   {addresses("192.168.0.1", "93.184.216.34")},
		"allowed.test": {addresses("10.1.2.3")},
	})
	tests := map[string]struct{ ok, proxied bool }{
		"https://public.test/hook":                    {true, true},
		"https://allowed.test/hook":                   {true, true},
		"https://unknown.test/hook":                   {true, true},
		"https://private.test/hook":                   {false, false},
		"https://PRIVATE.test./hook":                  {false, false},
		"https://mixed.test/hook":                     {true, false},
		"http://10.1.2.3:8080/":                       {true, true},
		"http://127.0.0.1:9000/":                      {},
		"http://127.0.0.1./":                          {},
		"http://127.1/":                               {},
		"http://127.1./":                              {},
		"http://127.0.0.1../":                         {},
		"http://10..1/":                               {},
		"http://./":                                   {},
		"http://0x7f000001/":                          {},
		"http://0X7F.1/":                              {},
		"http://2130706433/":                          {},
		"http://0177.0.0.1/":                          {},
		"http://0/":                                   {},
		"http://0x/":                                  {},
		"http://256.1.1.1/":                           {},
		"http://evil.test.1/":                         {},
		"http://①②⑦.⓪.⓪.①/":                           {},
		"http://localhost:9000/":                      {},
		"http://api.LOCALHOST/":                       {},
		"http://localhost./":                          {},
		"http://ｌocalhost/":                           {},
		"http://[::1]:9000/":                          {},
		"http://[::]:9000/":                           {},
		"http://[::ffff:7f00:1]/":                     {},
		"http://[::ffff:127.0.0.1]/":                  {},
		"http://[64:ff9b::7f00:1]/":                   {},
		"http://[fe80::1%25eth0]/":                    {},
		"http://169.254.169.254/latest/":              {},
		"http://[::ffff:169.254.169.254]/latest/":     {},
		"http://169.254.169.254.:80/latest/meta-data": {},
	}
	for raw, want := range tests {
		err := guard.Check(t.Context(), raw)
		if (err == nil) != want.ok || err != nil && !errors.Is(err, security.ErrBlocked) {
			t.Errorf("%s: %v, want allowed %v", raw, err, want.ok)
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := guard.CheckProxied(t.Context(), u.Hostname()); (err == nil) != want.proxied {
			t.Errorf("%s through a proxy: %v, want allowed %v", raw, err, want.proxied)
		}
	}
	if err := guard.Check(t.Context(), "https://private.test/"); err == nil || !strings.Contains(err.Error(), `private.test: `) || !strings.Contains(err.Error(), `"192.168.0.1/32"`) {
		t.Errorf("the refusal of a name is %v", err)
	}
}

// TestSilentResolverHoldsNobodyUp asks one that never answers.
func TestSilentResolverHoldsNobodyUp(t *testing.T) {
	// Package net makes what all its lookups share at the first one, which must not be
	// in the bubble.
	refusing := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	if _, err := refusing.LookupHost(t.Context(), "example.com"); err == nil {
		t.Fatal("a name was found without a server")
	}
	synctest.Test(t, func(t *testing.T) {
		guard := security.NewOutboundGuard(nil)
		guard.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		started := time.Now()
		if err := guard.Check(t.Context(), "https://example.com/"); err != nil {
			t.Error(err)
		}
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		started = time.Now()
		if err := guard.CheckProxied(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		if took := time.Since(started); took > 500*time.Millisecond {
			t.Errorf("before a request it took %s", took)
		}
	})
}

// TestNameThatTurnsPrivateIsBlocked has a name resolve to a public address when it
// is saved, and to a private one when it is called.
func TestNameThatTurnsPrivateIsBlocked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	guard := security.NewOutboundGuard(nil)
	guard.Resolver = names(t, map[string][][]netip.Addr{"rebind.test": {addresses("93.184.216.34"), addresses("127.0.0.1")}})
	if err := guard.Check(t.Context(), "http://rebind.test:"+port+"/"); err != nil {
		t.Fatal(err)
	}
	conn, err := guard.Dialer().DialContext(t.Context(), "tcp", "rebind.test:"+port)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, security.ErrBlocked) || !strings.Contains(err.Error(), `"127.0.0.1/32"`) {
		t.Errorf("dialled with %v", err)
	}
}

func addresses(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// names resolves names as a DNS server does, each to its lists of IPv4 addresses
// in turn, and in the end always to the last.
func names(t *testing.T, known map[string][][]netip.Addr) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	t.Cleanup(func() { conn.Close(); server.Wait() })
	server.Go(func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(buffer[:n]); err != nil || len(m.Questions) != 1 {
				t.Errorf("a question of %d bytes: %v", n, err)
				return
			}
			q := m.Questions[0]
			name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
			m.Response, m.Additionals = true, nil
			lists, ok := known[name]
			if !ok {
				m.RCode = dnsmessage.RCodeNameError
			}
			if ok && q.Type == dnsmessage.TypeA {
				for _, a := range lists[0] {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
						Body:   &dnsmessage.AResource{A: a.As4()},
					})
				}
				if len(lists) > 1 {
					known[name] = lists[1:]
				}
			}
			answer, err := m.Pack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.WriteTo(answer, from)
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}
