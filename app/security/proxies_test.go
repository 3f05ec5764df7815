package security_test

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/security"
)

func TestAClientIsFoundBehindTrustedProxiesOnly(t *testing.T) {
	proxies := security.NewProxies(prefixes("10.0.0.0/8", "2001:db8:1::/48", "fe80::/10", "::ffff:192.168.0.0/112"))
	tests := []struct {
		remote  string
		forward []string // the lines of X-Forwarded-For
		client  string
		peer    string
	}{
		// A peer that is no proxy is the client, whatever it claims.
		{"203.0.113.9:4711", nil, "203.0.113.9", "203.0.113.9"},
		{"203.0.113.9:4711", []string{"198.51.100.1"}, "203.0.113.9", "203.0.113.9"},
		{"203.0.113.9:4711", []string{"10.0.0.1"}, "203.0.113.9", "203.0.113.9"},
		{"[2001:db8:2::9]:4711", []string{"198.51.100.1"}, "2001:db8:2::9", "2001:db8:2::9"},

		// From the right: the first that is no proxy.
		{"10.0.0.1:80", []string{"198.51.100.1"}, "198.51.100.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.1,203.0.113.9, 10.0.0.2 ,10.0.0.3"}, "203.0.113.9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.1", "203.0.113.9", "10.0.0.2"}, "203.0.113.9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"unknown, 203.0.113.9"}, "203.0.113.9", "10.0.0.1"},

		// Nothing to believe.
		{"10.0.0.1:80", nil, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{""}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"10.0.0.2, 10.0.0.3"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9, unknown"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9, _hidden, 10.0.0.2"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9,"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9", ""}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9; 10.0.0.2"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9 10.0.0.2"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.09"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9/32"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"for=203.0.113.9"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"0.0.0.0"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"::"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9%eth0"}, "10.0.0.1", "10.0.0.1"},
		{"10.0.0.1:80", []string{strings.Repeat("10.0.0.2,", 2000) + "\x00"}, "10.0.0.1", "10.0.0.1"},

		// The forms of an address.
		{"10.0.0.1:80", []string{"203.0.113.9:4711"}, "203.0.113.9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"::ffff:203.0.113.9"}, "203.0.113.9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"[::ffff:cb00:7109]:4711"}, "203.0.113.9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"2001:DB8:2:0::9"}, "2001:db8:2::9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"[2001:db8:2::9]"}, "2001:db8:2::9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"[2001:db8:2::9]:4711"}, "2001:db8:2::9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"2001:db8:2::9%eth0"}, "2001:db8:2::9", "10.0.0.1"},
		{"10.0.0.1:80", []string{"203.0.113.9, ::ffff:10.0.0.2, [2001:db8:1::1]:80, fe80::2%eth0"}, "203.0.113.9", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:80", []string{"203.0.113.9"}, "203.0.113.9", "10.0.0.1"},
		{"[fe80::1%eth0]:80", []string{"203.0.113.9"}, "203.0.113.9", "fe80::1"},
		{"192.168.0.1:80", []string{"203.0.113.9, 192.168.0.2"}, "203.0.113.9", "192.168.0.1"},
		{"10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9", "10.0.0.1"},

		// No address at all.
		{"@", []string{"203.0.113.9"}, "", ""},
		{"", nil, "", ""},
		{"localhost:80", nil, "", ""},
	}
	for _, tt := range tests {
		client, peer := proxies.Client(tt.remote, http.Header{"X-Forwarded-For": tt.forward, "Forwarded": {"for=198.51.100.7"}, "X-Real-Ip": {"198.51.100.7"}})
		if text(client) != tt.client || text(peer) != tt.peer {
			t.Errorf("%s %.80q: %s at %s, want %s at %s", tt.remote, tt.forward, client, peer, tt.client, tt.peer)
		}
	}
}

func TestAProxyIsTrustedInEveryFormOfItsAddress(t *testing.T) {
	proxies := security.NewProxies(prefixes("10.0.0.0/8", "fe80::/10"))
	for addr, want := range map[string]bool{
		"10.0.0.1": true, "::ffff:10.0.0.1": true, "fe80::1": true, "fe80::1%eth0": true,
		"11.0.0.1": false, "::10.0.0.1": false, "::1": false,
	} {
		if got := proxies.Trusts(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if proxies.Trusts(netip.Addr{}) || security.NewProxies(nil).Trusts(netip.MustParseAddr("127.0.0.1")) {
		t.Error("what nobody named is trusted")
	}
}

// TestAnAllowlistAsksWhoSent: the claim of a stranger opens nothing, and neither
// does what a client put into the header before its proxy did.
func TestAnAllowlistAsksWhoSent(t *testing.T) {
	proxies, list := security.NewProxies(prefixes("10.0.0.1/32")), security.NewAllowlist(prefixes("203.0.113.9/32"), nil)
	for _, tt := range []struct {
		remote, forward string
		allow           bool
	}{
		{"203.0.113.9:4711", "", true},
		{"198.51.100.1:4711", "203.0.113.9", false},
		{"10.0.0.1:80", "203.0.113.9", true},
		{"10.0.0.1:80", "203.0.113.9, 198.51.100.1", false},
		{"10.0.0.1:80", "203.0.113.9, unknown", false},
		{"10.0.0.1:80", "", false},
	} {
		client, _ := proxies.Client(tt.remote, http.Header{"X-Forwarded-For": {tt.forward}})
		if got := list.Allows(client, 0); got != tt.allow {
			t.Errorf("%s %q: %v, want %v", tt.remote, tt.forward, got, tt.allow)
		}
	}
}

func text(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

// FuzzClient: nothing in a header makes a stranger somebody else, and behind a
// proxy the client is the peer or an address that stands in the header, is no
// proxy, and has only proxies to its right.
func FuzzClient(f *testing.F) {
	for _, seed := range []struct{ remote, first, second string }{
		{"203.0.113.9:4711", "198.51.100.1", ""},
		{"10.0.0.1:80", "198.51.100.1, 203.0.113.9:1,10.0.0.2", "[2001:db8:2::9%eth0]:4711"},
		{"[::ffff:10.0.0.1]:80", "unknown, _hidden,,", "::ffff:10.0.0.2"},
		{"[fe80::1%eth0]:80", "for=\"[::1]\"", "0.0.0.0, ::"},
		{"@", "10.0.0.1", "1.2.3.4%x"},
	} {
		f.Add(seed.remote, seed.first, seed.second)
	}
	proxies := security.NewProxies(prefixes("10.0.0.0/8", "2001:db8:1::/48"))
	word := regexp.MustCompile(`[0-9A-Fa-f:.]+`)
	f.Fuzz(func(t *testing.T, remote, first, second string) {
		header := http.Header{"X-Forwarded-For": {first, second}}
		client, peer := proxies.Client(remote, header)
		switch {
		case client.IsValid() != peer.IsValid():
			t.Fatalf("client %v, peer %v", client, peer)
		case client.Is4In6() || client.Zone() != "" || peer.Is4In6() || peer.Zone() != "":
			t.Fatalf("%v at %v is not plain", client, peer)
		case client == peer:
			return
		case !proxies.Trusts(peer):
			t.Fatalf("%v is taken for %v", peer, client)
		case proxies.Trusts(client):
			t.Fatalf("the proxy %v is taken for a client", client)
		}
		items := strings.Split(first+","+second, ",")
		for i := len(items) - 1; i >= 0; i-- {
			stands, proxy := false, false
			for _, w := range word.FindAllString(items[i], -1) {
				addr, err := netip.ParseAddr(w)
				if host, _, cut := strings.Cut(w, ":"); err != nil && cut {
					addr, err = netip.ParseAddr(host) // IPv4 with a port
				}
				stands = stands || err == nil && addr.Unmap() == client
				proxy = proxy || err == nil && proxies.Trusts(addr)
			}
			if stands {
				return
			}
			if !proxy {
				t.Fatalf("%v is taken from before %q", client, items[i])
			}
		}
		t.Fatalf("%v does not stand in %q", client, items)
	})
}

func BenchmarkClient(b *testing.B) {
	proxies := security.NewProxies(prefixes("10.0.0.0/8", "2001:db8:1::/48"))
	for name, remote := range map[string]string{"direct": "203.0.113.9:4711", "proxied": "10.0.0.1:80"} {
		header := http.Header{"X-Forwarded-For": {"198.51.100.1, 203.0.113.9, 10.0.0.2"}}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				proxies.Client(remote, header)
			}
		})
	}
}
