package security_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/security"
)

func TestAnAddressOrItsSystemMustBeListed(t *testing.T) {
	tests := []struct {
		ips   []netip.Prefix
		asns  []uint32
		addr  string
		asn   uint32
		allow bool
	}{
		{nil, nil, "203.0.113.9", 0, true},
		{nil, nil, "2001:db8::1", 64500, true},

		{prefixes("203.0.113.9/32"), nil, "203.0.113.9", 0, true},
		{prefixes("203.0.113.9/32"), nil, "203.0.113.10", 0, false},
		{prefixes("203.0.113.0/24"), nil, "203.0.113.255", 0, true},
		{prefixes("203.0.113.0/24"), nil, "203.0.114.0", 0, false},
		{prefixes("203.0.113.77/24"), nil, "203.0.113.1", 0, true}, // host bits
		{prefixes("0.0.0.0/0"), nil, "203.0.113.9", 0, true},
		{prefixes("0.0.0.0/0"), nil, "2001:db8::1", 0, false},
		{prefixes("::/0"), nil, "2001:db8::1", 0, true},
		{prefixes("::/0"), nil, "203.0.113.9", 0, false},
		{prefixes("::/0"), nil, "::ffff:203.0.113.9", 0, false},

		// One address of IPv6 is a /128, not the /32 that it would be of IPv4.
		{prefixes("::1/128"), nil, "::1", 0, true},
		{prefixes("::1/128"), nil, "::2", 0, false},
		{prefixes("2001:db8::/33"), nil, "2001:db8:7fff::1", 0, true},
		{prefixes("2001:db8::/33"), nil, "2001:db8:8000::1", 0, false},

		// The forms of one address.
		{prefixes("203.0.113.0/24"), nil, "::ffff:203.0.113.9", 0, true},
		{prefixes("203.0.113.0/24"), nil, "::203.0.113.9", 0, false},
		{prefixes("::ffff:203.0.113.0/120"), nil, "203.0.113.9", 0, true},
		{prefixes("::ffff:203.0.113.0/120"), nil, "::ffff:203.0.113.9", 0, true},
		{prefixes("::ffff:203.0.113.0/120"), nil, "203.0.114.9", 0, false},
		{prefixes("fe80::/10"), nil, "fe80::1%eth0", 0, true},

		// Either of the two lists.
		{nil, []uint32{64501, 64500}, "203.0.113.9", 64500, true},
		{nil, []uint32{64501, 64500}, "203.0.113.9", 64502, false},
		{prefixes("203.0.113.0/24"), []uint32{64500}, "203.0.113.9", 64499, true},
		{prefixes("203.0.113.0/24"), []uint32{64500}, "198.51.100.1", 64500, true},
		{prefixes("203.0.113.0/24"), []uint32{64500}, "198.51.100.1", 64499, false},

		// What is not known matches nothing.
		{nil, []uint32{64500}, "203.0.113.9", 0, false},
		{nil, []uint32{0, 64500}, "203.0.113.9", 0, false},

		// A narrow range in a wide one, and ranges side by side.
		{prefixes("10.1.0.0/16", "10.0.0.0/8", "10.1.2.0/24"), nil, "10.200.0.1", 0, true},
		{prefixes("10.0.1.0/24", "10.0.0.0/24"), nil, "10.0.0.255", 0, true},
		{prefixes("10.0.1.0/24", "10.0.0.0/24"), nil, "10.0.2.0", 0, false},
	}
	for _, tt := range tests {
		list := security.NewAllowlist(tt.ips, tt.asns)
		if got := list.Allows(netip.MustParseAddr(tt.addr), tt.asn); got != tt.allow {
			t.Errorf("%v %v: %s of AS%d: %v, want %v", tt.ips, tt.asns, tt.addr, tt.asn, got, tt.allow)
		}
	}
	if security.NewAllowlist(prefixes("0.0.0.0/0", "::/0"), nil).Allows(netip.Addr{}, 0) {
		t.Error("what is no address is in a range")
	}
}

// TestASetOfRangesHoldsWhatOneOfThemHolds compares the search with asking each
// range. All is close together, so that ranges overlap and addresses hit them.
func TestASetOfRangesHoldsWhatOneOfThemHolds(t *testing.T) {
	anyAddr := rapid.Custom(func(t *rapid.T) netip.Addr {
		low := rapid.Uint16().Draw(t, "low")
		if rapid.Bool().Draw(t, "v4") {
			return netip.AddrFrom4([4]byte{10, 0, byte(low >> 8), byte(low)})
		}
		return netip.AddrFrom16([16]byte{0x20, 0x01, 14: byte(low >> 8), 15: byte(low)})
	})
	rapid.Check(t, func(t *rapid.T) {
		ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
			addr := anyAddr.Draw(t, "addr")
			return netip.PrefixFrom(addr, addr.BitLen()-rapid.IntRange(0, 18).Draw(t, "host bits"))
		}), 1, 8).Draw(t, "ranges")
		addr := anyAddr.Draw(t, "addr")
		want := false
		for _, r := range ranges {
			want = want || r.Contains(addr)
		}
		if got := security.NewAllowlist(ranges, nil).Allows(addr, 0); got != want {
			t.Fatalf("%s: %v, want %v", addr, got, want)
		}
	})
}

func BenchmarkAllows(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	v4 := func() netip.Addr {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], random.Uint32())
		return netip.AddrFrom4(a)
	}
	var ips []netip.Prefix
	var asns []uint32
	for range 10_000 {
		ips = append(ips, netip.PrefixFrom(v4(), 24))
		asns = append(asns, random.Uint32())
	}
	list := security.NewAllowlist(ips, asns)
	var ask [1024]netip.Addr
	for i := range ask {
		ask[i] = v4()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		list.Allows(ask[i%len(ask)], 64500)
	}
}
