package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

// reject keeps refused requests, the oldest first, and returns their ids.
func (a *appliance) reject(t *testing.T, all ...webhook.Rejection) []webhook.RejectionID {
	t.Helper()
	ids := make([]webhook.RejectionID, len(all))
	for i := range all {
		if all[i].At.IsZero() {
			all[i].At = time.Now()
		}
		all[i].ID = a.store.IDs().Rejection(all[i].At)
		ids[i] = all[i].ID
	}
	if err := a.store.Reject(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestRejectionIsShownWithAllThatIsKnownOfIt(t *testing.T) {
	a := start(t)
	at := time.Date(2025, 1, 2, 3, 4, 5, 6e6, time.UTC)
	ids := a.reject(t, webhook.Rejection{
		At: at, Source: "inbound", Status: 422, Code: "invalid_timestamp", Message: "too old\xff", Check: webhook.CheckWindow,
		Rule: "inbound.max_clock_skew = 5m", Peer: netip.MustParseAddr("10.0.0.1"), Client: netip.MustParseAddr("2001:db8::1"),
		ASN: 64500, Organisation: "Example Ltd", Skew: value(int64(-600)), Expected: "sha256= and 64 hex digits", Diagnosis: "stale",
		EventType: "order.created", SenderKey: "key-1", Method: "POST", Path: "/webhook/inbound",
		Header: "Content-Type: application/json\nX-Agent-Signature: ***\nX-Odd: \xff: b\n", BodySize: 77, BodyDigest: "ab12", Unkept: 3,
	})
	got, err := a.Rejection(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	want := api.RejectionDetail{
		Rejection: api.Rejection{
			ID: ids[0], At: api.Time{Time: at}, Source: "inbound", Status: 422, Code: "invalid_timestamp", Message: "too old\ufffd", Check: webhook.CheckWindow,
			ClientIP: "2001:db8::1", PeerIP: "10.0.0.1", ASN: 64500, Organisation: "Example Ltd", SkewSeconds: value(int64(-600)),
			EventType: "order.created", SenderKey: "key-1", Unkept: 3,
		},
		Passed: []webhook.Check{
			webhook.CheckPath, webhook.CheckMethod, webhook.CheckMediaType, webhook.CheckAddress, webhook.CheckRate, webhook.CheckSize,
			webhook.CheckEmpty, webhook.CheckJSON, webhook.CheckMembers, webhook.CheckSignature,
		},
		Rule: "inbound.max_clock_skew = 5m", Expected: "sha256= and 64 hex digits", Diagnosis: "stale", Method: "POST", Path: "/webhook/inbound",
		Header:   []api.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Agent-Signature", Value: "***"}, {Name: "X-Odd", Value: "\ufffd: b"}},
		BodySize: 77, BodySHA256: "ab12",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if list := collect(t, a.Rejections(t.Context(), api.RejectionFilter{}, 0)); len(list) != 1 || !cmp.Equal(list[0], want.Rejection) {
		t.Errorf("listed as %s", cmp.Diff([]api.Rejection{want.Rejection}, list))
	}
}

func TestRejectionOfWhichNothingIsKnownHasNoNulls(t *testing.T) {
	a := start(t)
	ids := a.reject(t, webhook.Rejection{At: time.Unix(1, 0), Status: 404, Code: "unknown_source", Message: "m", Check: webhook.CheckPath})
	_, _, body := a.request(t, "GET", "/api/v1/rejections/"+string(ids[0]), "")
	want := `{"id":"` + string(ids[0]) + `","at":"1970-01-01T00:00:01.000Z","source":"","status":404,"code":"unknown_source","message":"m","check":"path",` +
		`"client_ip":"","peer_ip":"","passed":[],"method":"","path":"","header":[],"body_size":0}` + "\n"
	if body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestRejectionThatIsNotKeptSaysThatNotAllAre(t *testing.T) {
	a := start(t)
	for _, id := range []string{string(a.store.IDs().Rejection(time.Now())), "rej_nothing", "evt_1", "%ff"} {
		status, _, body := a.request(t, "GET", "/api/v1/rejections/"+id, "")
		var refused api.Error
		if err := json.Unmarshal([]byte(body), &refused); err != nil || status != 404 || refused.Code != "not_found" ||
			!strings.Contains(refused.Message, "kept within bounds in number, size and rate") || !strings.HasPrefix(string(refused.RequestID), "rej_") {
			t.Errorf("%s: %d %s", id, status, body)
		}
	}
}

func TestRejectionsAreSelectedByEveryFilter(t *testing.T) {
	a := start(t)
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	ids := a.reject(t,
		webhook.Rejection{At: ago(3 * time.Hour), Source: "inbound", Status: 401, Code: "invalid_signature", Check: webhook.CheckSignature, Client: netip.MustParseAddr("203.0.113.7"), Message: "the signature does not match"},
		webhook.Rejection{At: ago(time.Hour), Source: "github", Status: 401, Code: "missing_signature", Check: webhook.CheckSignature, Client: netip.MustParseAddr("203.0.113.8"), Header: "User-Agent: Hookshot\n"},
		webhook.Rejection{At: ago(time.Minute), Source: "inbound", Status: 422, Code: "invalid_timestamp", Check: webhook.CheckWindow, Client: netip.MustParseAddr("2001:db8::1"), EventType: "order.paid"},
		webhook.Rejection{Source: "", Status: 503, Code: "overloaded", Check: webhook.CheckStorage, Client: netip.MustParseAddr("198.51.100.1")},
	)
	for _, c := range []struct {
		filter api.RejectionFilter
		want   string // which of them, the newest first
	}{
		{api.RejectionFilter{}, "3210"},
		{api.RejectionFilter{Source: "inbound"}, "20"},
		{api.RejectionFilter{Q: "source:github"}, "1"},
		{api.RejectionFilter{Code: "invalid_signature"}, "0"},
		{api.RejectionFilter{Status: "401"}, "10"},
		{api.RejectionFilter{Status: "4xx"}, "210"},
		{api.RejectionFilter{Q: "status:5xx"}, "3"},
		{api.RejectionFilter{IP: "203.0.113.7"}, "0"},
		{api.RejectionFilter{IP: "::ffff:203.0.113.7"}, "0"},
		{api.RejectionFilter{IP: "203.0.113.0/24"}, "10"},
		{api.RejectionFilter{Q: "ip:2001:db8::/32"}, "2"},
		{api.RejectionFilter{Q: "ip:0.0.0.0/0"}, "310"},
		{api.RejectionFilter{Since: "2h"}, "321"},
		{api.RejectionFilter{Until: "2h"}, "0"},
		{api.RejectionFilter{Q: "since:2h until:30m"}, "1"},
		{api.RejectionFilter{Q: "does NOT match"}, "0"},
		{api.RejectionFilter{Q: "hookshot"}, "1"},
		{api.RejectionFilter{Q: "order.paid status:422"}, "2"},
		{api.RejectionFilter{Q: string(ids[2])}, "2"},
		{api.RejectionFilter{Q: string(ids[2]) + " code:overloaded"}, ""},
	} {
		var got strings.Builder
		for _, r := range collect(t, a.Rejections(t.Context(), c.filter, 0)) {
			fmt.Fprint(&got, slices.Index(ids, r.ID))
		}
		if got.String() != c.want {
			t.Errorf("%+v selects %q, want %q", c.filter, got.String(), c.want)
		}
	}
	for q, says := range map[string]string{
		"code:invalid_signatur": "did you mean invalid_signature?", "sub:a": "rejections are not selected by that", "ip:x": "must be an address",
	} {
		var refused *client.Error
		_, err := a.RejectionsPage(t.Context(), api.RejectionFilter{Q: q}, api.PageQuery{})
		if !errors.As(err, &refused) || refused.Status != 422 || !strings.Contains(refused.Fields["q"], says) || strings.HasSuffix(refused.Message, "?.") {
			t.Errorf("%s: %v, want 422 with %q", q, err, says)
		}
	}
}

func TestRejectionsArePagedLikeTheOtherLists(t *testing.T) {
	a := start(t)
	ids := a.reject(t, make([]webhook.Rejection, 7)...)
	slices.Reverse(ids)
	var got []webhook.RejectionID
	page := api.PageQuery{Limit: 3}
	for range 4 {
		list, err := a.RejectionsPage(t.Context(), api.RejectionFilter{}, page)
		if err != nil || len(list.Items) > 3 {
			t.Fatalf("%d items, %v", len(list.Items), err)
		}
		for _, r := range list.Items {
			got = append(got, r.ID)
		}
		if page.Cursor = list.NextCursor; page.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Error(diff)
	}
	for _, cursor := range []string{"evt_" + string(ids[0][4:]), "x"} {
		var refused *client.Error
		_, err := a.RejectionsPage(t.Context(), api.RejectionFilter{}, api.PageQuery{Cursor: cursor})
		if !errors.As(err, &refused) || refused.Fields["cursor"] == "" {
			t.Errorf("the cursor %s: %v", cursor, err)
		}
	}
	if status, _, body := a.request(t, "GET", "/api/v1/rejections?limit=501", ""); status != 422 {
		t.Errorf("too many at once: %d %s", status, body)
	}
}
