package security_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

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
		{nil, "127.0.0.1", false},
		{nil, "0.0.0.0", false},
		{nil, "10.1.2.3", false},
		{nil, "172.16.0.1", false},
		{nil, "192.168.1.1", false},
		{nil, "100.64.0.1", false},
		{nil, "169.254.1.1", false},
		{nil, "169.254.169.254", false},
		{nil, "168.63.129.16", false},
		{nil, "224.0.0.1", false},
		{nil, "255.255.255.255", false},
		{nil, "::", false},
		{nil, "::1", false},
		{nil, "::ffff:127.0.0.1", false},
		{nil, "::ffff:93.184.216.34", true},
		{nil, "::127.0.0.1", false},
		{nil, "64:ff9b::7f00:1", false},
		{nil, "2002:7f00:1::", false},
		{nil, "fe80::1%eth0", false},
		{nil, "fc00::1", false},
		{nil, "fd00:ec2::254", false},
		{prefixes("10.0.0.0/8"), "10.1.2.3", true},
		{prefixes("10.0.0.0/8"), "::ffff:10.1.2.3", true},
		{prefixes("10.0.0.0/8"), "192.168.1.1", false},
		{prefixes("127.0.0.0/8"), "127.0.0.1", true},
		{prefixes("fc00::/7"), "fc00::1%eth0", true},
		{prefixes("169.254.0.0/16"), "169.254.1.1", true},
		{prefixes("169.254.0.0/16"), "169.254.169.254", false},
		{prefixes("169.254.169.254/32"), "169.254.169.254", true},
		{prefixes("0.0.0.0/0"), "168.63.129.16", false},
		{prefixes("fc00::/7"), "fd00:ec2::254", false},
	}
	for _, tt := range tests {
		err := security.NewOutboundGuard(tt.allow).Check(netip.MustParseAddr(tt.addr))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, security.ErrBlocked) {
			t.Errorf("allow %v: %s: %v, want allowed %v", tt.allow, tt.addr, err, tt.ok)
		}
	}
}

func TestAddressesAreCheckedWhenConnecting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		conn, err := security.NewOutboundGuard(nil).Dialer().DialContext(context.Background(), "tcp", net.JoinHostPort(host, port))
		if !errors.Is(err, security.ErrBlocked) {
			t.Errorf("dial %s: %v, want ErrBlocked", host, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	conn, err := security.NewOutboundGuard(prefixes("127.0.0.0/8")).Dialer().DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("dial an allowed address: %v", err)
	}
	conn.Close()
}

func TestLiteralAddressesAreCheckedWhenSaved(t *testing.T) {
	guard := security.NewOutboundGuard(prefixes("10.0.0.0/8"))
	tests := map[string]bool{
		"https://example.com/hook":       true,
		"http://10.1.2.3:8080/":          true,
		"http://127.0.0.1:9000/":         false,
		"http://localhost:9000/":         false,
		"http://api.LOCALHOST/":          false,
		"http://localhost./":             false,
		"http://[::1]:9000/":             false,
		"http://[::ffff:7f00:1]/":        false,
		"http://169.254.169.254/latest/": false,
	}
	for url, ok := range tests {
		if err := guard.CheckURL(url); (err == nil) != ok {
			t.Errorf("%s: %v, want allowed %v", url, err, ok)
		}
	}
}
