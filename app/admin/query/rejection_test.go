package query_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

// comparePrefixes lets cmp compare ranges, whose fields it cannot see.
func comparePrefixes() cmp.Option {
	return cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
}

func TestQueryAndParametersMakeOneFilterOfRejections(t *testing.T) {
	want := webhook.RejectionFilter{
		ID: "rej_1", Source: "inbound", Code: "invalid_signature", StatusFrom: 400, StatusTo: 499,
		Client: netip.MustParsePrefix("203.0.113.0/24"), Since: noon().Add(-2 * time.Hour), Until: noon().Add(-time.Hour), Text: "x y",
	}
	for _, f := range []api.RejectionFilter{
		{Q: "rej_1 source:inbound code:invalid_signature status:4xx ip:203.0.113.0/24 since:2h until:1h x y"},
		{Q: "rej_1 x y", Source: "inbound", Code: "Invalid_Signature", Status: "4XX", IP: "203.0.113.9/24", Since: "2h", Until: "1h"},
		{Q: "rej_1 code:invalid_signature ip:203.0.113.0/24 until:1h x y", Source: "inbound", Code: "invalid_signature", Status: "4xx", IP: "203.0.113.0/24", Since: "2h"},
	} {
		got, faults := query.Rejections(f, noon())
		if diff := cmp.Diff(want, got, comparePrefixes()); diff != "" || len(faults) > 0 {
			t.Errorf("%+v: %v %s", f, faults, diff)
		}
	}
	if got, faults := query.Rejections(api.RejectionFilter{}, noon()); got != (webhook.RejectionFilter{}) || len(faults) > 0 {
		t.Errorf("nothing selects %+v, %v; want all", got, faults)
	}
}

func TestOneAddressHasOneForm(t *testing.T) {
	for written, want := range map[string]string{
		"203.0.113.7": "203.0.113.7/32", "::ffff:203.0.113.7": "203.0.113.7/32", "2001:DB8::1": "2001:db8::1/128",
		"203.0.113.7/24": "203.0.113.0/24", "::ffff:203.0.113.7/120": "203.0.113.0/24", "2001:db8::1/32": "2001:db8::/32",
		"fe80::1%eth0": "fe80::1/128", "0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0", "::ffff:0:0/96": "0.0.0.0/0",
	} {
		got, faults := query.Rejections(api.RejectionFilter{IP: written}, noon())
		if got.Client != netip.MustParsePrefix(want) || len(faults) > 0 {
			t.Errorf("%s is %s, %v; want %s", written, got.Client, faults, want)
		}
	}
}

func TestEveryCodeOfARefusalCanBeAskedFor(t *testing.T) {
	for _, code := range webhook.RejectionCodes() {
		if got, faults := query.Rejections(api.RejectionFilter{Q: "code:" + code}, noon()); got.Code != code || len(faults) > 0 {
			t.Errorf("%s: %+v, %v", code, got, faults)
		}
	}
}

func TestEveryFaultOfAFilterOfRejectionsHasItsName(t *testing.T) {
	for _, c := range []struct {
		filter      api.RejectionFilter
		field, says string
	}{
		{api.RejectionFilter{Q: "colour:red"}, "q", `"colour"`},
		{api.RejectionFilter{Q: "code:invalid_signatur"}, "q", `code: "invalid_signatur" is no code of a rejection; did you mean invalid_signature?`},
		{api.RejectionFilter{Code: "rate_limit"}, "code", `did you mean rate_limited?`},
		{api.RejectionFilter{Q: "code:401"}, "q", `did you mean status:401?`},
		{api.RejectionFilter{Q: "status:dead"}, "q", `status: "dead" must be an HTTP status such as 401`},
		{api.RejectionFilter{Status: "0xx"}, "status", "must be an HTTP status"},
		{api.RejectionFilter{Status: "401", Q: "status:4xx"}, "q", `status: "4xx", but the parameter status says "401"`},
		{api.RejectionFilter{Q: "ip:nowhere"}, "q", `ip: "nowhere" must be an address`},
		{api.RejectionFilter{Q: "ip:203.0.113.0/33"}, "q", `ip: "203.0.113.0/33" must be an address`},
		{api.RejectionFilter{Q: "ip:fe80::1%eth0/64"}, "q", "must be an address"},
		{api.RejectionFilter{IP: "::ffff:0:0/95"}, "ip", "at least /96"},
		{api.RejectionFilter{IP: "203.0.113.7", Q: "ip:203.0.113.8"}, "q", `ip: "203.0.113.8", but the parameter ip says "203.0.113.7"`},
		{api.RejectionFilter{Q: "since:soon"}, "q", `since: "soon"`},
		{api.RejectionFilter{Until: "soon"}, "until", "soon"},
		{api.RejectionFilter{Source: "a", Q: "source:b"}, "q", "source"},
		{api.RejectionFilter{Q: "sub:a"}, "q", `sub: "a": rejections are not selected by that`},
		{api.RejectionFilter{Q: "type:a"}, "q", `type: "a": rejections`},
		{api.RejectionFilter{Q: "client:a"}, "q", `client: "a": rejections`},
		{api.RejectionFilter{Q: "outcome:ok"}, "q", `outcome: "ok": rejections`},
		{api.RejectionFilter{Q: "evt_1"}, "q", `evt_: "evt_1": rejections`},
		{api.RejectionFilter{Q: "dlv_1"}, "q", `dlv_: "dlv_1": rejections`},
	} {
		_, faults := query.Rejections(c.filter, noon())
		if len(faults) != 1 || !strings.Contains(faults[c.field], c.says) {
			t.Errorf("%+v: got %v, want only %s with %q", c.filter, faults, c.field, c.says)
		}
	}
}

// FuzzRejections holds the filter of a foreign query to these rules: what is
// wrong with it is said under its name, what is not wrong bounds the filter, and
// a range has the one form in which addresses are kept.
func FuzzRejections(f *testing.F) {
	for _, seed := range []string{"", "source:inbound code:invalid_signature status:401 ip:203.0.113.7 since:2h x", "ip:::ffff:1.2.3.4/97 status:4xx", "ip:fe80::1%eth0", "rej_1 code:rate_limit", "ip:::/0 until:0s", `code:"invalid_json" "ip:x"`, "ip:1.2.3.4/00", "ip:::ffff:0:0/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := query.Parse(text)
		filter, faults := query.Rejections(api.RejectionFilter{Q: text}, noon())
		if len(faults) > 0 {
			if len(faults) > 1 || faults["q"] == "" {
				t.Errorf("%q has the faults %v", text, faults)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q passes in spite of %v", text, err)
		}
		network := filter.Client
		for _, c := range []struct {
			said  string
			bound bool
		}{
			{q.Source, filter.Source != ""}, {q.Code, slices.Contains(webhook.RejectionCodes(), filter.Code)},
			{q.Status, filter.StatusFrom >= 100 && filter.StatusTo >= filter.StatusFrom},
			{q.IP, network.IsValid() && network == network.Masked() && !network.Addr().Is4In6()},
			{q.Since, !filter.Since.IsZero()}, {q.Until, !filter.Until.IsZero()},
			{q.Rejection, filter.ID != ""}, {q.Text, filter.Text != ""},
			{q.Subscriber + q.Type + q.Client + q.Outcome + q.Event + q.Delivery, false},
		} {
			if c.said != "" && !c.bound {
				t.Errorf("%q: %q does not bound %+v", text, c.said, filter)
			}
		}
	})
}
