package cli

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// reject keeps a refused request and returns its id.
func (r *remote) reject(t *testing.T, refused webhook.Rejection) string {
	t.Helper()
	refused.ID = r.store.IDs().Rejection(refused.At)
	if err := r.store.Reject(t.Context(), []webhook.Rejection{refused}); err != nil {
		t.Fatal(err)
	}
	return string(refused.ID)
}

// stale is a refusal with something in every field, some of it hostile.
func stale() webhook.Rejection {
	skew := int64(-600)
	return webhook.Rejection{
		At: time.Unix(1_800_000_000, 0), Source: "inbound", Status: 422, Code: "invalid_timestamp", Check: webhook.CheckWindow,
		Message: "the timestamp is 600 seconds behind our clock; at most 300 are allowed",
		Rule:    "inbound.max_clock_skew = 5m", Peer: netip.MustParseAddr("10.0.0.1"), Client: netip.MustParseAddr("203.0.113.7"),
		ASN: 64500, Organisation: "Example\x1b[2J Ltd", Skew: &skew, Expected: "sha256=<hex>", Diagnosis: "stale",
		EventType: "order.created", SenderKey: "key-1", Method: "POST", Path: "/webhook/inbound\u202e",
		Header: "Content-Type: application/json\nX-Agent-Signature: ***\nX-Odd: \x1b]0;owned\x07\n", BodySize: 77, BodyDigest: "ab12", Unkept: 12,
	}
}

func TestRejectionIsShownWithItsLadderOfChecks(t *testing.T) {
	r := startRemote(t)
	id := r.reject(t, stale())
	want := `REJECTION   ` + id + `
AT          2027-01-15 08:00:00Z
ANSWER      422 invalid_timestamp
WHY         the timestamp is 600 seconds behind our clock; at most 300 are allowed
CHECKS      path ✓ method ✓ media_type ✓ address ✓ rate ✓ size ✓ empty ✓ json ✓ members ✓ signature ✓ window ✗
RULE        inbound.max_clock_skew = 5m
EXPECTED    sha256=<hex>
DIAGNOSIS   stale
SKEW        600 seconds behind our clock
SOURCE      inbound
CLIENT      203.0.113.7 AS64500 Example\x1b[2J Ltd
PROXY       10.0.0.1
TYPE        order.created
SENDER KEY  key-1
REQUEST     POST /webhook/inbound\u202e
BODY        77 bytes, SHA-256 ab12
NOT KEPT    12 rejections of the same source, client and code, just before it

REQUEST HEADER
Content-Type: application/json
X-Agent-Signature: ***
X-Odd: \x1b]0;owned\a
`
	if got := r.must(t, "rejections", "show", id); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	plain := r.reject(t, webhook.Rejection{
		At: time.Unix(1_800_000_001, 0), Status: 404, Code: "unknown_source", Message: "there is no source at this path", Check: webhook.CheckPath,
		Peer: netip.MustParseAddr("::1"), Client: netip.MustParseAddr("::1"), Method: "GET", Path: "/",
	})
	want = `REJECTION  ` + plain + `
AT         2027-01-15 08:00:01Z
ANSWER     404 unknown_source
WHY        there is no source at this path
CHECKS     path ✗
CLIENT     ::1
REQUEST    GET /
`
	if got := r.must(t, "rejections", "show", plain); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := r.must(t, "rejections", "show", plain, "-o", "json"); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"passed":[]`) {
		t.Errorf("as JSON %s", got)
	}
	if _, _, err := r.run(t, "rejections", "show", "rej_nothing"); exitStatus(err) != exitFailed || !strings.Contains(err.Error(), "not_found") {
		t.Errorf("one that is not kept: %v", err)
	}
}

func TestRejectionsAreListedInOneLineEach(t *testing.T) {
	r := startRemote(t)
	id := r.reject(t, stale())
	got := strings.Split(r.must(t, "rejections", "list"), "\n")
	want := []string{
		"AT                    STATUS  CODE               SOURCE   CLIENT       ASN      WHY                                             REJECTION",
		"2027-01-15 08:00:00Z  422     invalid_timestamp  inbound  203.0.113.7  AS64500  (+12) the timestamp is 600 seconds behind our…  " + id, "",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := r.must(t, "rejections", "list", "-o", "json"); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, `{"id":"`+id) {
		t.Errorf("as JSON %s", got)
	}
}

func TestRejectionsAreSelectedByWordsAndByFlags(t *testing.T) {
	r := startRemote(t)
	r.reject(t, stale())
	for _, c := range []struct {
		args []string
		want int
	}{
		{nil, 1},
		{[]string{"--source", "inbound", "--code", "invalid_timestamp", "--status", "4xx", "--ip", "203.0.113.0/24", "--since", "1h", "--until", "2200-01-01T00:00:00Z"}, 1},
		{[]string{"code:invalid_timestamp", "behind our clock"}, 1},
		{[]string{"--source", "other"}, 0},
		{[]string{"--code", "invalid_signature"}, 0},
		{[]string{"--status", "401"}, 0},
		{[]string{"--ip", "203.0.113.8"}, 0},
		{[]string{"--until", "1h"}, 0},
		{[]string{"ip:198.51.100.0/24"}, 0},
	} {
		got := r.must(t, append([]string{"rejections", "list", "-o", "json"}, c.args...)...)
		if n := strings.Count(got, "\n"); n != c.want {
			t.Errorf("%q: %d, want %d", c.args, n, c.want)
		}
	}
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{exitUsage, `--code: "invalid_signatur" is no code of a rejection; did you mean invalid_signature?`, []string{"--code", "invalid_signatur"}},
		{exitUsage, "--status: ", []string{"--status", "dead"}},
		{exitUsage, "--ip: ", []string{"--ip", "nowhere"}},
		{exitUsage, "--since: ", []string{"--since", "soon"}},
		{exitUsage, "--limit", []string{"--limit", "0"}},
		{exitUsage, "rejections are not selected by that", []string{"sub:acme-*"}},
	} {
		_, _, err := r.run(t, append([]string{"rejections", "list"}, c.args...)...)
		if exitStatus(err) != c.status || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, status %d; want %d with %q", c.args, err, exitStatus(err), c.status, c.says)
		}
	}
}

func TestSkewIsShownWithItsSide(t *testing.T) {
	for seconds, want := range map[int64]string{
		0: "none", 1: "1 second ahead of our clock", -1: "1 second behind our clock", 5: "5 seconds ahead of our clock", -5: "5 seconds behind our clock",
		math.MinInt64: "9223372036854775808 seconds behind our clock",
	} {
		if got := shownSkew(&seconds); got != want {
			t.Errorf("%d: %q, want %q", seconds, got, want)
		}
	}
	if got := shownSkew(nil); got != "" {
		t.Errorf("without a timestamp: %q", got)
	}
	if got := shownReason(api.Rejection{Message: "short"}); got != "short" {
		t.Errorf("a reason that nothing was left out of is %q", got)
	}
}
