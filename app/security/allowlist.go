package security

import (
	"net/netip"
	"slices"
)

// An Allowlist decides by address and autonomous system. It does not change, so
// that any number of goroutines may ask it.
type Allowlist struct {
	addresses addressSet
	asns      []uint32 // ascending
}

// NewAllowlist returns a list that allows the addresses of these ranges and
// these autonomous systems. If it has neither it allows anybody.
func NewAllowlist(ips []netip.Prefix, asns []uint32) *Allowlist {
	return &Allowlist{addresses: newAddressSet(ips), asns: slices.Sorted(slices.Values(asns))}
}

// Allows says whether an address in an autonomous system may come in: one of
// the two must be listed. The system 0 is one that is not known, and is never
// listed.
func (a *Allowlist) Allows(addr netip.Addr, asn uint32) bool {
	if len(a.addresses) == 0 && len(a.asns) == 0 {
		return true
	}
	if a.addresses.contains(plain(addr)) {
		return true
	}
	_, listed := slices.BinarySearch(a.asns, asn)
	return listed && asn != 0
}

// An addressSet holds ranges of which none has a part in another, ascending,
// each of plain addresses.
type addressSet []netip.Prefix

func newAddressSet(prefixes []netip.Prefix) addressSet {
	sorted := make(addressSet, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			// Contains would find no address in it, neither form of one.
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		sorted = append(sorted, p.Masked())
	}
	slices.SortFunc(sorted, netip.Prefix.Compare)
	// A range is either whole in another one or apart from it, and the wider
	// one comes first.
	set := sorted[:0]
	for _, p := range sorted {
		if len(set) == 0 || !set[len(set)-1].Overlaps(p) {
			set = append(set, p)
		}
	}
	return set
}

// contains takes a plain address.
func (s addressSet) contains(addr netip.Addr) bool {
	// Only the last range that begins at the address or before can hold it.
	after, _ := slices.BinarySearchFunc(s, addr, func(p netip.Prefix, a netip.Addr) int {
		if p.Addr().Compare(a) <= 0 {
			return -1
		}
		return 1
	})
	return after > 0 && s[after-1].Contains(addr)
}
