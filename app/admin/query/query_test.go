package query_test

import (
	"strings"
	"testing"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/query"
)

func TestQueriesAreReadAsTheyAreMeant(t *testing.T) {
	tests := []struct {
		text string
		want query.Query
	}{
		{"", query.Query{}},
		{"  \t ", query.Query{}},
		{"sub:acme-* status:dead since:2h", query.Query{Subscriber: "acme-*", Status: "dead", Since: "2h"}},
		{"Subscriber:sub_1 STATE:pending", query.Query{Subscriber: "sub_1", Status: "pending"}},
		{"type:order.** client:acme source:inbound", query.Query{Type: "order.**", Client: "acme", Source: "inbound"}},
		{"event:order.created", query.Query{Type: "order.created"}},
		{"event:evt_1", query.Query{Event: "evt_1"}},
		{"evt_1 dlv_2", query.Query{Event: "evt_1", Delivery: "dlv_2"}},
		{"since:2026-01-31T14:00:00Z until:1h", query.Query{Since: "2026-01-31T14:00:00Z", Until: "1h"}},
		{"code:5xx outcome:timeout", query.Query{Code: "5xx", Outcome: "timeout"}},
		{"connection  refused", query.Query{Text: "connection refused"}},
		{`connection status:dead refused`, query.Query{Status: "dead", Text: "connection refused"}},
		{`"status:dead"`, query.Query{Text: "status:dead"}},
		{`"a \"b\" \\ c" d`, query.Query{Text: `a "b" \ c d`}},
		{`sub:"acme billing" x`, query.Query{Subscriber: "acme billing", Text: "x"}},
		{"https://example.com/a:b", query.Query{Text: "https://example.com/a:b"}},
		{"10.0.0.1:80", query.Query{Text: "10.0.0.1:80"}},
		{"支付:完成", query.Query{Text: "支付:完成"}},
		{":x", query.Query{Text: ":x"}},
		{`event:"evt_1 x"`, query.Query{Event: "evt_1 x"}},
		{"rej_1 IP:2001:db8::/32 code:invalid_signature", query.Query{Rejection: "rej_1", IP: "2001:db8::/32", Code: "invalid_signature"}},
		{"client_ip:203.0.113.7 2001:db8::1", query.Query{IP: "203.0.113.7", Text: "2001:db8::1"}},
	}
	for _, tt := range tests {
		got, err := query.Parse(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q is read as %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
	}
}

func TestWrongQueriesAreRefusedWithTheTerm(t *testing.T) {
	for text, want := range map[string]string{
		"statsu:dead":                "did you mean status?",
		"evnt:evt_1":                 "did you mean event?",
		"order:created":              `there is no key "order"`,
		"sub:a sub:a":                "sub is given twice",
		"sub:":                       "sub: has no value",
		`sub:""`:                     "sub: has no value",
		"sub:a subscriber:b":         "given twice",
		"event:evt_1 evt_2":          "given twice",
		"dlv_1 dlv_2":                "given twice",
		"rej_1 rej_2":                "the rejection is given twice",
		"ip:192.0.2.1 ip:192.0.2.1":  "ip is given twice",
		"ipp:192.0.2.1":              "did you mean ip?",
		`"never closed`:              "not closed",
		`status:"dead`:               "not closed",
		"type:a event:b":             "given twice",
		"status:dead status:pending": "status is given twice",
	} {
		if got, err := query.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %+v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "sub:acme-* status:dead since:2h timeout", `"a \" b" type:"x y" evt_1`, "code:5xx //x a://b", `\`, "sub:\"//\"", "dlv_\u2028x", `event:"evt_1 x" dlv_1:"`, `event:evt_1:2`, "evt_1 evt_1", "sub:a sub:a", "rej_1 ip:::/0", `ip:"fe80::1%eth0" code:invalid_json status:4xx`, "rej_1 dlv_1 evt_1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, faults := query.Deliveries(api.DeliveryFilter{Q: text}, noon(), named)
		q, err := query.Parse(text)
		if err != nil {
			if faults["q"] == "" {
				t.Errorf("%q is a filter, but no query: %v", text, err)
			}
			return
		}
		again, err := query.Parse(q.String())
		if err != nil || again != q {
			t.Errorf("%q is read as %+v, written as %q, and then read as %+v, %v", text, q, q.String(), again, err)
		}
	})
}
