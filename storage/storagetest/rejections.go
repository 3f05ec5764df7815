package storagetest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pintle/pintle/app/webhook"
)

// rejection returns a request that was refused.
func rejection(s webhook.Store, at time.Time, change ...func(*webhook.Rejection)) webhook.Rejection {
	r := webhook.Rejection{
		ID: s.IDs().Rejection(at), At: at, Source: webhook.SourceInbound, Status: 401, Code: "invalid_signature", Message: "The signature does not match.",
		Check: webhook.CheckSignature, Peer: netip.MustParseAddr("192.0.2.1"), Client: netip.MustParseAddr("192.0.2.1"), Method: "POST", Path: "/webhooks",
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

// rejections reads a whole list.
func rejections(t *testing.T, s webhook.Store, f webhook.RejectionFilter) []webhook.Rejection {
	t.Helper()
	return walk(t, func(page webhook.Page) (webhook.List[webhook.Rejection], error) { return s.Rejections(ctx, f, page) })
}

func equalRejections(t *testing.T, what string, got, want []webhook.Rejection) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testRejections(t *testing.T, open Open) {
	s := open(t)
	behind, none := int64(-301), int64(0)
	full := rejection(s, start, func(r *webhook.Rejection) {
		r.Source, r.Status, r.Code, r.Message = "stripe", 401, "timestamp_out_of_range", "Zu spät: \x00\xff."
		r.Check, r.Rule = webhook.CheckWindow, "inbound.max_clock_skew = 5m"
		r.Peer, r.Client = netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2001:db8::7")
		r.ASN, r.Organisation, r.Skew = 4_294_967_295, "Example AG", &behind
		r.Expected, r.Diagnosis, r.EventType, r.SenderKey = "v1, hex", "stale", "charge.failed\xff", "evt_1\x00\xff"
		r.Path, r.Header = "/hooks/é", "Host: example.com\nX-Odd: \xf0\x9f\x98\x80\n"
		r.BodySize, r.BodyDigest, r.Unkept = 1<<40, strings.Repeat("ab", 32), 17
	})
	now := rejection(s, start, func(r *webhook.Rejection) { r.Skew = &none })
	bare := webhook.Rejection{ID: s.IDs().Rejection(start), At: start.Add(time.Hour)}
	must(t, s.Reject(ctx, nil))
	must(t, s.Reject(ctx, []webhook.Rejection{full}))
	must(t, s.Reject(ctx, []webhook.Rejection{now, bare}))
	equalRejections(t, "rejections", rejections(t, s, webhook.RejectionFilter{}), []webhook.Rejection{bare, now, full})
}

func testRejectionFilters(t *testing.T, open Open) {
	s := open(t)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	kept := map[string]webhook.Rejection{
		"a": rejection(s, at(0)),
		"b": rejection(s, at(1), func(r *webhook.Rejection) {
			r.Source, r.Status, r.Code, r.Message, r.Rule = "github", 413, "too_large", "Too large: 100% over.", "inbound.max_body = 1MiB"
			r.Client, r.SenderKey, r.Header = netip.MustParseAddr("192.0.2.129"), "key_1", "User-Agent: Hookshot\n"
		}),
		"c": rejection(s, at(2), func(r *webhook.Rejection) {
			r.Source, r.Status, r.Code, r.Client = "", 404, "not_found", netip.MustParseAddr("2001:db8::1")
			r.Diagnosis, r.EventType, r.Path = "re-serialised JSON", "user.created", "/elsewhere"
		}),
		// The clock had jumped: it has the id of one that came later.
		"d": rejection(s, at(3), func(r *webhook.Rejection) {
			r.At, r.Status, r.Code, r.Client = at(-60), 429, "rate_limited", netip.MustParseAddr("::ffff:192.0.2.1")
		}),
		"e": rejection(s, at(4), func(r *webhook.Rejection) { r.Status, r.Code, r.Client = 403, "forbidden", netip.Addr{} }),
	}
	names := map[webhook.RejectionID]string{}
	var all []webhook.Rejection
	for name, r := range kept {
		names[r.ID] = name
		all = append(all, r)
	}
	must(t, s.Reject(ctx, all))
	for _, tt := range []struct {
		filter webhook.RejectionFilter
		want   string
	}{
		{webhook.RejectionFilter{}, "edcba"},
		{webhook.RejectionFilter{ID: kept["c"].ID}, "c"},
		{webhook.RejectionFilter{ID: kept["c"].ID, Source: "github"}, ""},
		{webhook.RejectionFilter{ID: "rej_nobody's"}, ""},
		{webhook.RejectionFilter{Source: "inbound"}, "eda"},
		{webhook.RejectionFilter{Code: "not_found"}, "c"},
		{webhook.RejectionFilter{StatusFrom: 404}, "dcb"},
		{webhook.RejectionFilter{StatusTo: 404}, "eca"},
		{webhook.RejectionFilter{StatusFrom: 403, StatusTo: 413}, "ecb"},
		{webhook.RejectionFilter{Client: netip.MustParsePrefix("192.0.2.1/32")}, "a"},
		{webhook.RejectionFilter{Client: netip.MustParsePrefix("192.0.2.77/24")}, "ba"},
		{webhook.RejectionFilter{Client: netip.MustParsePrefix("192.0.2.128/25")}, "b"},
		{webhook.RejectionFilter{Client: netip.MustParsePrefix("0.0.0.0/0")}, "ba"},
		{webhook.RejectionFilter{Client: netip.MustParsePrefix("2001:db8::/33")}, "c"},
		{webhook.RejectionFilter{Client: netip.MustParsePrefix("::/0")}, "dc"},
		{webhook.RejectionFilter{Client: netip.MustParsePrefix("2001:db8:8000::/33")}, ""},
		{webhook.RejectionFilter{Since: at(1)}, "ecb"},
		{webhook.RejectionFilter{Until: at(1)}, "da"},
		{webhook.RejectionFilter{Since: at(0), Until: at(2)}, "ba"},
		{webhook.RejectionFilter{Text: "TOO LARGE"}, "b"},
		{webhook.RejectionFilter{Text: "100%"}, "b"},
		{webhook.RejectionFilter{Text: "max_body"}, "b"},
		{webhook.RejectionFilter{Text: "maxxbody"}, ""},
		{webhook.RejectionFilter{Text: "key_1"}, "b"},
		{webhook.RejectionFilter{Text: "hookshot"}, "b"},
		{webhook.RejectionFilter{Text: "Re-Serialised"}, "c"},
		{webhook.RejectionFilter{Text: "user."}, "c"},
		{webhook.RejectionFilter{Text: "/else"}, "c"},
		{webhook.RejectionFilter{Text: "/webhooks"}, "edba"},
		{webhook.RejectionFilter{Text: "signature", Source: "inbound", StatusFrom: 401, StatusTo: 401}, "a"},
	} {
		got := ""
		for _, r := range rejections(t, s, tt.filter) {
			got += names[r.ID]
		}
		if got != tt.want {
			t.Errorf("%+v selects %q, want %q", tt.filter, got, tt.want)
		}
	}
}

func testRejectionPages(t *testing.T, open Open) {
	s := open(t)
	var all, want []webhook.Rejection
	for i := range 2500 {
		r := rejection(s, start.Add(time.Duration(i)*time.Second))
		if i%500 == 0 {
			r.Code = "rare"
			want = append([]webhook.Rejection{r}, want...)
		}
		all = append(all, r)
	}
	must(t, s.Reject(ctx, all))
	first, err := s.Rejections(ctx, webhook.RejectionFilter{}, webhook.Page{Limit: 3})
	must(t, err)
	equalRejections(t, "the first page", first.Items, []webhook.Rejection{all[2499], all[2498], all[2497]})
	// What comes meanwhile does not shift what follows.
	must(t, s.Reject(ctx, []webhook.Rejection{rejection(s, start.Add(time.Hour))}))
	second, err := s.Rejections(ctx, webhook.RejectionFilter{}, webhook.Page{Limit: 2, Before: first.Next})
	must(t, err)
	equalRejections(t, "the second page", second.Items, []webhook.Rejection{all[2496], all[2495]})
	last, err := s.Rejections(ctx, webhook.RejectionFilter{}, webhook.Page{Limit: 2, Before: string(all[2].ID)})
	must(t, err)
	if equalRejections(t, "the last page", last.Items, []webhook.Rejection{all[1], all[0]}); last.Next != "" {
		t.Errorf("the last page goes on at %s", last.Next)
	}
	rare, err := s.Rejections(ctx, webhook.RejectionFilter{Code: "rare"}, webhook.Page{Limit: 4})
	must(t, err)
	equalRejections(t, "a page of rare ones", rare.Items, want[:4])
	rare, err = s.Rejections(ctx, webhook.RejectionFilter{Code: "rare"}, webhook.Page{Limit: 4, Before: rare.Next})
	must(t, err)
	if equalRejections(t, "the next page of rare ones", rare.Items, want[4:]); rare.Next != "" {
		t.Errorf("the last page of rare ones goes on at %s", rare.Next)
	}
}

// newestOf checks that what is kept are the newest of all, and no fewer than
// nine tenths of what may be kept.
func newestOf(t *testing.T, s webhook.Store, all []webhook.Rejection, most int) int {
	t.Helper()
	kept := walk(t, func(page webhook.Page) (webhook.List[webhook.Rejection], error) {
		page.Limit = 1000
		return s.Rejections(ctx, webhook.RejectionFilter{}, page)
	})
	if len(kept) > most || len(kept) < min(len(all), most*9/10) {
		t.Errorf("%d of %d are kept, want at most %d and not much fewer", len(kept), len(all), most)
	}
	for i := range kept {
		if want := all[len(all)-1-i].ID; kept[i].ID != want {
			t.Fatalf("number %d of what is kept is %s, want %s", i, kept[i].ID, want)
		}
	}
	return len(kept)
}

func testRejectionNumber(t *testing.T, open Open) {
	s := open(t)
	var all []webhook.Rejection
	reject := func(n int) {
		t.Helper()
		var some []webhook.Rejection
		for range n {
			some = append(some, rejection(s, start.Add(time.Duration(len(all)+len(some))*time.Second)))
		}
		must(t, s.Reject(ctx, some))
		all = append(all, some...)
	}
	reject(webhook.MaxRejections - 1)
	reject(1)
	if kept := newestOf(t, s, all, webhook.MaxRejections); kept != webhook.MaxRejections {
		t.Errorf("%d are kept, want as many as may be", kept)
	}
	reject(1)
	newestOf(t, s, all, webhook.MaxRejections)
	reject(webhook.MaxRejections + webhook.MaxRejections/2)
	newestOf(t, s, all, webhook.MaxRejections)
	// What the engine has counted outlives it.
	must(t, s.Close())
	s = open(t)
	reject(1000)
	newestOf(t, s, all, webhook.MaxRejections)
}

func testRejectionBytes(t *testing.T, open Open) {
	s := open(t)
	const size = 64 << 10
	var all []webhook.Rejection
	for i := range 3 {
		var some []webhook.Rejection
		for range webhook.MaxRejectionBytes / size / 2 {
			some = append(some, rejection(s, start.Add(time.Duration(len(all)+len(some))*time.Second), func(r *webhook.Rejection) {
				r.Header = strings.Repeat("x", size-1000)
			}))
		}
		must(t, s.Reject(ctx, some))
		all = append(all, some...)
		if i == 0 {
			if kept := rejections(t, s, webhook.RejectionFilter{}); len(kept) != len(all) {
				t.Errorf("of half the bytes that may be %d rejections are kept, want %d", len(kept), len(all))
			}
		}
	}
	newestOf(t, s, all, webhook.MaxRejectionBytes/(size-1000))
	var some []webhook.Rejection
	for i := range 1000 {
		some = append(some, rejection(s, start.Add(time.Hour+time.Duration(i)*time.Second)))
	}
	must(t, s.Reject(ctx, some))
	bytes, n := 0, 0
	for _, r := range rejections(t, s, webhook.RejectionFilter{}) {
		n++
		bytes += len(r.Header)
	}
	if bytes > webhook.MaxRejectionBytes || n < 1000 {
		t.Errorf("%d rejections with %d bytes of header are kept", n, bytes)
	}
}

func testRejectFails(t *testing.T, open Open) {
	s := open(t)
	good, again := rejection(s, start), rejection(s, start)
	must(t, s.Reject(ctx, []webhook.Rejection{good}))
	for what, bad := range map[string]webhook.Rejection{"taken id": good, "foreign id": {ID: "rej_nobody's"}} {
		if err := s.Reject(ctx, []webhook.Rejection{again, bad}); err == nil {
			t.Errorf("a rejection with a %s was kept", what)
		}
	}
	equalRejections(t, "after calls that failed", rejections(t, s, webhook.RejectionFilter{}), []webhook.Rejection{good})
}
