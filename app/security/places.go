package security

import (
	"net/netip"
	"sync"
)

// Places bounds how much there is of something at a time, all together and for
// each network. It is safe for concurrent use.
type Places struct {
	total, perNetwork int

	mu    sync.Mutex
	taken int
	// by counts what each network has taken. Its size is bounded by what is
	// taken.
	by map[netip.Addr]int
}

// NewPlaces returns so many places, of which one network may take so many; zero:
// no limit.
func NewPlaces(total, perNetwork int) *Places {
	return &Places{total: total, perNetwork: perNetwork, by: make(map[netip.Addr]int)}
}

// Take reports whether there is a place for the network, and takes it. The zero
// Addr is no network, and bounded by the total only. Each place that is taken is
// to be left.
func (p *Places) Take(network netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total > 0 && p.taken >= p.total {
		return false
	}
	if network.IsValid() {
		if p.perNetwork > 0 && p.by[network] >= p.perNetwork {
			return false
		}
		p.by[network]++
	}
	p.taken++
	return true
}

// Leave gives back a place that the network took.
func (p *Places) Leave(network netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if !network.IsValid() {
		return
	}
	if p.by[network]--; p.by[network] == 0 {
		delete(p.by, network)
	}
}
