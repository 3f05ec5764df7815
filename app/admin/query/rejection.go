package query

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// mappedBits is how long the prefix is that an IPv4 address has as an IPv6 one.
const mappedBits = 96

// Rejections makes the filter that the parameters mean at the time, and names
// their faults.
func Rejections(f api.RejectionFilter, now time.Time) (webhook.RejectionFilter, webhook.FieldsError) {
	m := newMerge(f.Q)
	m.foreign("rejections", []string{"sub", "type", "client", "outcome", "fingerprint", "evt_", "dlv_"},
		[]string{m.q.Subscriber, m.q.Type, m.q.Client, m.q.Outcome, m.q.Fingerprint, m.q.Event, m.q.Delivery})
	source := merged(m, "source", f.Source, m.q.Source)
	code := m.rejectionCode(f.Code)
	statusFrom, statusTo := m.answered(f.Status)
	client := m.clients(f.IP)
	from, to := m.span(f.Since, f.Until, now)
	return webhook.RejectionFilter{
		ID: webhook.RejectionID(m.q.Rejection), Source: source, Code: code, StatusFrom: statusFrom, StatusTo: statusTo,
		Client: client, Since: from, Until: to, Text: m.q.Text,
	}, m.faults
}

// rejectionCode reads the error of the answer.
func (m *merge) rejectionCode(parameter string) string {
	code := strings.ToLower(merged(m, "code", parameter, m.q.Code))
	known := webhook.RejectionCodes()
	if code == "" || slices.Contains(known, code) {
		return code
	}
	meant := nearest(code, known)
	if _, _, ok := codes(code); ok {
		meant = "status:" + code
	}
	m.fault("code", parameter != "", fmt.Errorf("%q is no code of a rejection; did you mean %s?", code, meant))
	return ""
}

// answered reads the bounds of the HTTP status of the answer, zero for none.
func (m *merge) answered(parameter string) (first, last int) {
	status := merged(m, "status", parameter, m.q.Status)
	if status == "" {
		return 0, 0
	}
	first, last, ok := codes(status)
	if !ok {
		m.fault("status", parameter != "", fmt.Errorf("%q must be an HTTP status such as 401, or a class such as 4xx", status))
		return 0, 0
	}
	return first, last
}

// clients reads the range that the client's address is in; the zero Prefix for
// any.
func (m *merge) clients(parameter string) netip.Prefix {
	text := merged(m, "ip", parameter, m.q.IP)
	if text == "" {
		return netip.Prefix{}
	}
	network, err := parseRange(text)
	if err != nil {
		m.fault("ip", parameter != "", err)
	}
	return network
}

// parseRange reads an address or a range of them. One of IPv4 that is written as
// IPv6 is of IPv4, as the addresses of clients are. A range has no zone, which
// tells of our interface and not of the client.
func parseRange(s string) (netip.Prefix, error) {
	// A zone may hold anything: in fe80::1%eth0/64, all that follows the sign.
	if address, err := netip.ParseAddr(s); err == nil && !strings.Contains(s, "/") {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q must be an address such as 203.0.113.7, or a range such as 203.0.113.0/24", s)
	}
	if network.Addr().Is4In6() {
		if network.Bits() < mappedBits {
			return netip.Prefix{}, errors.New("a range of IPv4 in IPv6 has a prefix of at least /96")
		}
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-mappedBits)
	}
	return network.Masked(), nil
}
