package suites

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// Who sends. Each of the other requests comes from an address of its own, so
// that none is too many of the same.
const (
	proxy     = "127.0.8.1" // is trusted
	listedASN = "127.0.5.1"
	otherASN  = "127.0.6.1"
)

// abusedConfig has a source for each kind of check.
func abusedConfig(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf(`[inbound]
secret = %[1]q
trusted_proxies = [%[2]q]
asn_database = %[3]q
[[sources]]
name = "listed"
scheme = "agent"
secrets = [%[1]q]
allow_ips = ["192.0.2.0/24", "2001:db8::/32"]
[[sources]]
name = "autonomous"
scheme = "agent"
secrets = [%[1]q]
allow_asns = [64500]
[[sources]]
name = "github"
scheme = "github"
secrets = [%[1]q]
event_prefix = "github"
[[sources]]
name = "off"
scheme = "agent"
secrets = [%[1]q]
enabled = false
[[sources]]
name = "narrow"
scheme = "agent"
secrets = [%[1]q]
max_body = 512
`, senderSecret.Reveal(), proxy, asnDatabase(t))
}

// asnDatabase makes a database in which the loopback network is several
// autonomous systems.
func asnDatabase(t *testing.T) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "GeoLite2-ASN", Description: map[string]string{"en": "for a test"}, IncludeReservedNetworks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for network, number := range map[string]uint32{"127.0.5.0/24": 64500, "127.0.6.0/24": 64501} {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		record := mmdbtype.Map{
			"autonomous_system_number":       mmdbtype.Uint32(number),
			"autonomous_system_organization": mmdbtype.String(fmt.Sprintf("Organisation %d", number)),
		}
		if err := tree.Insert(n, record); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "asn.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// An abuse is a request that has to be refused by our own code, and kept.
type abuse struct {
	name string
	message
	// from is the address that it comes from; empty: one of its own.
	from string

	status int
	code   string
	check  webhook.Check
	// source is its source; empty: inbound. No source: "-".
	source string
	// client is who is taken for its sender, and asn who that belongs to;
	// empty: the peer.
	client string
	asn    uint32
	// skew is how far its timestamp is ahead of the clock when it is sent; zero:
	// the message says it.
	skew int64
}

// event is a body for the inbound endpoint, at the offset from now.
func event(offset int64) string {
	return fmt.Sprintf(`{"event":"abuse.case","timestamp":%d,"data":{"n":1}}`, time.Now().Unix()+offset)
}

// head has the lines of a request with this body length that has no body yet.
func head(lines ...string) []string { return append([]string{"Host: 127.0.0.1"}, lines...) }

const asJSON = "Content-Type: application/json"

func abuses() []abuse {
	now := time.Now().Unix()
	good := event(0)
	members := func(text string) message {
		body := strings.ReplaceAll(text, "NOW", fmt.Sprint(now))
		return message{body: body, header: []string{signed(body)}}
	}
	var all []abuse
	add := func(status int, code string, check webhook.Check, rows ...abuse) {
		for _, row := range rows {
			row.status, row.code, row.check = status, code, check
			all = append(all, row)
		}
	}
	method := func(name string) abuse {
		return abuse{name: "method " + name, message: message{line: name + " " + inboundPath + " HTTP/1.1", bare: true, header: head()}}
	}
	add(405, "method_not_allowed", webhook.CheckMethod,
		method("GET"), method("HEAD"), method("PUT"), method("DELETE"), method("TRACE"), method("OPTIONS"), method("PATCH"), method("BREW"))

	typed := func(lines ...string) abuse {
		return abuse{name: "type " + strings.Join(lines, "; "), message: message{
			bare: true, body: good, header: head(append(lines, signed(good), fmt.Sprintf("Content-Length: %d", len(good)))...),
		}}
	}
	add(415, "unsupported_media_type", webhook.CheckMediaType,
		typed("Content-Type: text/plain"), typed(), typed("Content-Type: text/plain; x=application/json"), typed("Content-Type: application/json; charset=utf-16"),
		typed("Content-Type: application/json; charset=iso-8859-1"), typed("Content-Type: application/jsonp"), typed("Content-Type: application/xml"),
		typed("Content-Type: application/x-www-form-urlencoded"), typed("Content-Type: ;"), typed(asJSON, "Content-Type: text/plain"), typed(asJSON, asJSON),
		typed(asJSON, "Content-Encoding: gzip"), typed(asJSON, "Content-Encoding: br"), typed(asJSON, "Content-Encoding: gzip, identity"),
		typed(asJSON, "Content-Encoding:", "Content-Encoding: gzip"),
	)

	add(400, "empty_body", webhook.CheckEmpty,
		abuse{name: "no body", message: message{}},
		abuse{name: "neither body nor length", message: message{bare: true, header: head(asJSON)}},
		abuse{name: "white space", message: message{body: " \r\n\t "}},
		abuse{name: "chunked and empty", message: message{bare: true, header: head(asJSON, "Transfer-Encoding: chunked"), body: "0\r\n\r\n"}},
	)

	var rows []abuse
	for _, text := range []string{
		`{invalid json}`, `null`, `[]`, `"text"`, `1`, good + "x", good + good, "\ufeff" + good, utf16Text(good, true, false), utf16Text(good, false, true),
		strings.Replace(good, "abuse", "ab\xffuse", 1), strings.Replace(good, `{"n":1}`, "\"\xff\"", 1), strings.Repeat("[", 100_000),
		strings.Replace(good, `{"n":1}`, nested("[", "", "]", 65), 1),
		`{"event":"a","event":"a","timestamp":NOW,"data":1}`, `{"event":"a","timestamp":NOW,"timestamp":NOW,"data":1}`, `{"event":"a","timestamp":NOW,"data":1,"data":2}`,
		`{"event":"a","timestamp":NOW,"data":1,"id":"x","id":"x"}`, `{"event":"a","timestamp":NOW,"data":1,"signature":"x","signature":"y"}`, `{"event":"a","\u0065vent":"b","timestamp":NOW,"data":1}`,
	} {
		rows = append(rows, abuse{name: fmt.Sprintf("JSON %.40q", text), message: members(text)})
	}
	add(400, "invalid_json", webhook.CheckJSON, rows...)

	rows = nil
	for _, value := range []string{`""`, `5`, `null`, `["a"]`, `"` + strings.Repeat("a", 129) + `"`, `"a\r\nX: y"`, `"a\u001b[2J"`, `"a b"`, `"é"`, `"a\u0000"`, `"a?b"`, `"a*"`} {
		rows = append(rows, abuse{name: "event " + value, message: members(`{"event":` + value + `,"timestamp":NOW,"data":1}`)})
	}
	rows = append(rows, abuse{name: "no event", message: members(`{"timestamp":NOW,"data":1}`)}, abuse{name: "EVENT", message: members(`{"EVENT":"a","timestamp":NOW,"data":1}`)})
	for _, lines := range [][]string{nil, {"X-GitHub-Event:"}, {"X-GitHub-Event: a b"}, {"X-GitHub-Event: ping", "X-GitHub-Event: push"}} {
		body := `{"zen":"Half measures are as bad as nothing at all."}`
		header := append(lines, "X-GitHub-Delivery: 1", "X-Hub-Signature-256: "+signature.SignAgent(senderSecret, []byte(body)))
		rows = append(rows, abuse{name: fmt.Sprintf("event of GitHub %q", lines), source: "github", message: message{line: to("github"), body: body, header: header}})
	}
	add(400, "invalid_event", webhook.CheckMembers, rows...)

	rows = nil
	for _, value := range []string{`null`, `-1`, `0`, `1.5`, `1e400`, `1e9`, `true`, `"abc"`, `[]`, `-0`, `NOW000`, `NOW.0`, `9223372036854775808`, `100000000000000000000000000000`} {
		rows = append(rows, abuse{name: "timestamp " + value, message: members(`{"event":"a","timestamp":` + value + `,"data":1}`)})
	}
	rows = append(rows, abuse{name: "no timestamp", message: members(`{"event":"a","data":1}`)})
	add(400, "invalid_timestamp", webhook.CheckMembers, rows...)

	add(400, "invalid_data", webhook.CheckMembers,
		abuse{name: "no data", message: members(`{"event":"a","timestamp":NOW}`)}, abuse{name: "Data", message: members(`{"event":"a","timestamp":NOW,"Data":1}`)})

	rows = nil
	for _, value := range []string{`""`, `5`, `null`, `"` + strings.Repeat("x", 129) + `"`, `"a\nb"`, `"a\u0000"`} {
		rows = append(rows, abuse{name: "id " + value, message: members(`{"event":"a","timestamp":NOW,"data":1,"id":` + value + `}`)})
	}
	for _, lines := range [][]string{
		{"Idempotency-Key: " + strings.Repeat("x", 129)}, {"Idempotency-Key: a", "Idempotency-Key: a"}, {"webhook-id: a", "webhook-id: b"},
	} {
		rows = append(rows, abuse{name: fmt.Sprintf("id %.40s", lines[0]), message: message{body: good, header: append(lines, signed(good))}})
	}
	add(400, "invalid_id", webhook.CheckMembers, rows...)

	rows = nil
	for _, offset := range []int64{-301, -3600, -now + 1, 330, 3600, 99_999_999_000 - now} {
		rows = append(rows, abuse{name: fmt.Sprintf("%d seconds off", offset), skew: offset})
	}
	add(422, "invalid_timestamp", webhook.CheckWindow, rows...)

	add(401, "missing_signature", webhook.CheckSignature,
		abuse{name: "no signature", message: message{body: good}},
		abuse{name: "no signature, and stale", message: message{body: event(-3600)}},
		abuse{name: "no signature of GitHub", source: "github", message: message{line: to("github"), body: `{}`, header: []string{"X-GitHub-Event: ping", "X-GitHub-Delivery: 1"}}},
	)
	right := signature.SignAgent(senderSecret, []byte(good))
	digest := strings.TrimPrefix(right, "sha256=")
	raw, err := hex.DecodeString(digest)
	if err != nil {
		panic(err)
	}
	rows = nil
	for name, lines := range map[string][]string{
		"another secret":        {"X-Agent-Signature: " + signature.SignAgent("another", []byte(good))},
		"the empty secret":      {"X-Agent-Signature: " + signature.SignAgent("", []byte(good))},
		"cut short":             {"X-Agent-Signature: " + right[:len(right)-2]},
		"too long":              {"X-Agent-Signature: " + right + "00"},
		"sha1=":                 {"X-Agent-Signature: sha1=" + digest[:40]},
		"sha1= and all digits":  {"X-Agent-Signature: sha1=" + digest},
		"digits alone":          {"X-Agent-Signature: " + digest},
		"base64":                {"X-Agent-Signature: sha256=" + base64.StdEncoding.EncodeToString(raw)},
		"empty digest":          {"X-Agent-Signature: sha256="},
		"empty":                 {"X-Agent-Signature:"},
		"bad and good":          {"X-Agent-Signature: sha256=00", "X-Agent-Signature: " + right},
		"good and bad":          {"X-Agent-Signature: " + right, "X-Signature: sha256=00"},
		"good twice":            {"X-Agent-Signature: " + right, "X-Agent-Signature: " + right},
		"good in both headers":  {"X-Agent-Signature: " + right, "X-Signature: " + right},
		"two in a line":         {"X-Agent-Signature: " + right + ", " + right},
		"another scheme's name": {"X-Agent-Signature: v1=" + digest},
	} {
		rows = append(rows, abuse{name: "signature: " + name, message: message{body: good, header: lines}})
	}
	changed := strings.Replace(good, `"n":1`, `"n":2`, 1)
	indented := strings.ReplaceAll(good, ",", ", ")
	inBody := strings.TrimSuffix(good, "}") + `,"signature":"` + right + `"}`
	rows = append(rows,
		abuse{name: "one byte changed", message: message{body: changed, header: []string{signed(good)}}},
		abuse{name: "written anew", message: message{body: indented, header: []string{signed(good)}}},
		abuse{name: "in the body, for another one", message: message{body: strings.Replace(inBody, `"n":1`, `"n":2`, 1)}},
		abuse{name: "in the body, no string", message: message{body: strings.TrimSuffix(good, "}") + `,"signature":5}`}},
		abuse{name: "good in the body, bad in the header", message: message{body: inBody, header: []string{"X-Agent-Signature: " + signature.SignAgent("another", []byte(inBody))}}},
		abuse{name: "wrong and stale", message: message{body: event(-3600), header: []string{"X-Agent-Signature: " + right}}},
		abuse{name: "wrong one of GitHub", source: "github", message: message{line: to("github"), body: `{}`, header: []string{"X-GitHub-Event: ping", "X-GitHub-Delivery: 1", "X-Hub-Signature-256: " + right}}},
	)
	add(401, "invalid_signature", webhook.CheckSignature, rows...)

	listed := func(name, from, client, forwarded string) abuse {
		row := abuse{name: "address: " + name, from: from, client: client, source: "listed", message: message{line: to("listed"), body: good, header: []string{signed(good)}}}
		if forwarded != "" {
			row.header = append(row.header, "X-Forwarded-For: "+forwarded)
		}
		return row
	}
	add(403, "ip_not_allowed", webhook.CheckAddress,
		listed("not listed", "", "", ""),
		listed("a stranger's word for a listed one", "", "", "192.0.2.1"),
		listed("a listed one before the last", proxy, "203.0.113.9", "192.0.2.1, 203.0.113.9"),
		listed("behind the proxy without a word", proxy, proxy, ""),
		listed("no address", proxy, proxy, "192.0.2.1, not-an-address"),
		listed("empty", proxy, proxy, "192.0.2.1,"),
		abuse{name: "address: a list that is in two lines", from: proxy, client: "203.0.113.9", source: "listed", message: message{
			line: to("listed"), body: good, header: []string{signed(good), "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 203.0.113.9"}}},
		abuse{name: "address: another system", from: otherASN, asn: 64501, source: "autonomous", message: message{line: to("autonomous"), body: good, header: []string{signed(good)}}},
		abuse{name: "address: no system", source: "autonomous", message: message{line: to("autonomous"), body: good, header: []string{signed(good)}}},
		// It is refused before its body is asked for.
		abuse{name: "address: a body to come", source: "listed", message: message{line: to("listed"), bare: true, header: head(asJSON, "Content-Length: 1000", "Expect: 100-continue")}},
	)

	const much = 2 << 20
	add(413, "payload_too_large", webhook.CheckSize,
		abuse{name: "a length of 1 GiB", message: message{bare: true, header: head(asJSON, "Content-Length: 1073741824")}},
		abuse{name: "a length beyond 1 MiB, to be asked for", message: message{bare: true, header: head(asJSON, "Content-Length: 1048577", "Expect: 100-continue")}},
		abuse{name: "2 MiB in chunks", message: message{bare: true, header: head(asJSON, "Transfer-Encoding: chunked"), body: fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", much, strings.Repeat(" ", much))}},
		abuse{name: "2 MiB", message: message{body: strings.Repeat(" ", much)}},
		abuse{name: "beyond the source's own limit", source: "narrow", message: message{line: to("narrow"), body: strings.Repeat(" ", 513)}},
	)

	path := func(path string) abuse {
		return abuse{name: "path " + path, source: "-", message: message{line: "POST " + path + " HTTP/1.1", body: good, header: []string{signed(good)}}}
	}
	add(404, "unknown_source", webhook.CheckPath,
		path("/"), path("//webhook/inbound"), path("/webhook/inbound/"), path("/webhook/%00"), path("/x/..%2fwebhook/inbound"), path("/x/../webhook/inbound"),
		path("/webhook/INBOUND"), path("/webhook/nobody"), path("/api/v1/events"), path("*"))
	add(404, "inbound_disabled", webhook.CheckPath,
		abuse{name: "a source that is off", source: "off", message: message{line: to("off"), body: good, header: []string{signed(good)}}})
	return all
}

// TestAbuseIsRefusedAndKeptWithItsReason sends each of the table from an
// address of its own, and looks its refusal up by the id in the answer.
func TestAbuseIsRefusedAndKeptWithItsReason(t *testing.T) {
	a := start(t, abusedConfig(t), nil)
	for n, row := range abuses() {
		t.Run(row.name, func(t *testing.T) {
			if row.from == "" {
				row.from = fmt.Sprintf("127.1.%d.%d", n/250, n%250+1)
			}
			if row.skew != 0 {
				row.body = event(row.skew)
				row.header = []string{signed(row.body)}
			}
			got, err := exchange(t.Context(), row.from, a.inbound, row.bytes())
			if err != nil {
				t.Fatal(err)
			}
			if got.continued {
				t.Error("its body was asked for")
			}
			head := strings.HasPrefix(row.line, "HEAD ")
			if got.status != row.status || !head && got.Error != row.code {
				t.Fatalf("%d %s %s, want %d %s", got.status, got.Error, got.Message, row.status, row.code)
			}
			if row.status == http.StatusMethodNotAllowed && got.header.Get("Allow") != "POST" {
				t.Errorf("Allow: %q", got.header.Get("Allow"))
			}
			if head {
				return // what it was refused with is not in the answer
			}
			checkShape(t, got)
			row.checkKept(t, a.admin, got)
		})
	}
	if stored := a.events(t); len(stored) != 0 {
		t.Errorf("%d events are stored", len(stored))
	}
}

// checkShape holds a refusal to what all of them look like.
func checkShape(t *testing.T, got answer) {
	t.Helper()
	var members map[string]any
	if err := decodeStrictly(got.body, &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != 3 || got.Message == "" || !strings.HasPrefix(string(got.RequestID), "rej_") || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v %s", got.header, got.body)
	}
}

// checkKept looks the refusal up.
func (row abuse) checkKept(t *testing.T, admin *client.Client, got answer) {
	t.Helper()
	var kept api.RejectionDetail
	until(t, "the rejection", func() bool {
		var err error
		kept, err = admin.Rejection(t.Context(), got.RequestID)
		if refusal := (*client.Error)(nil); err != nil && !(errors.As(err, &refusal) && refusal.NotFound()) {
			t.Fatal(err)
		}
		return err == nil
	})
	source := row.source
	switch source {
	case "":
		source = webhook.SourceInbound
	case "-":
		source = ""
	}
	sender := row.client
	if sender == "" {
		sender = row.from
	}
	if kept.Source != source || kept.Status != row.status || kept.Code != row.code || kept.Message != got.Message || kept.Check != row.check ||
		kept.PeerIP != row.from || kept.ClientIP != sender || kept.ASN != row.asn {
		t.Errorf("kept as %+v", kept.Rejection)
	}
	if i := slices.Index(webhook.Checks(), row.check); !slices.Equal(kept.Passed, webhook.Checks()[:i]) {
		t.Errorf("%s after %v", row.check, kept.Passed)
	}
	switch skew := kept.SkewSeconds; {
	case row.skew == 0:
	case skew == nil:
		t.Error("the skew is not kept")
	case *skew > row.skew || *skew < row.skew-10:
		t.Errorf("the skew is kept as %d", *skew)
	}
	if row.check == webhook.CheckSignature && kept.Expected == "" {
		t.Error("which signature was expected is not kept")
	}
	if row.body != "" && !row.bare && slices.Contains([]webhook.Check{webhook.CheckJSON, webhook.CheckMembers, webhook.CheckSignature, webhook.CheckWindow}, row.check) {
		if sum := sha256.Sum256([]byte(row.body)); kept.BodySHA256 != hex.EncodeToString(sum[:]) || kept.BodySize != int64(len(row.body)) {
			t.Errorf("the body is kept as %d bytes with the digest %s", kept.BodySize, kept.BodySHA256)
		}
	}
	// Neither the secret nor a signature that holds may be read there.
	text := fmt.Sprintf("%+v", kept)
	for _, hidden := range []string{senderSecret.Reveal(), signature.SignAgent(senderSecret, []byte(row.body))[len("sha256="):]} {
		if strings.Contains(text, hidden) {
			t.Errorf("%s can be read in %s", hidden, text)
		}
	}
}

// TestNetHTTPRefusesWhatIsNoHTTP has the requests that never come to our code,
// and are answered in text.
func TestNetHTTPRefusesWhatIsNoHTTP(t *testing.T) {
	a := start(t, abusedConfig(t), nil)
	good := event(0)
	length := fmt.Sprintf("Content-Length: %d", len(good))
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("X-Field-%d: x", i)
	}
	for _, row := range []struct {
		name   string
		status int
		line   string
		header []string
	}{
		{"two lengths", 400, "", head(asJSON, length, "Content-Length: 3")},
		{"a length that is no number", 400, "", head(asJSON, "Content-Length: 0x10")},
		{"a negative length", 400, "", head(asJSON, "Content-Length: -1")},
		{"an unknown transfer encoding", 501, "", head(asJSON, "Transfer-Encoding: gzip")},
		{"chunked twice", 501, "", head(asJSON, "Transfer-Encoding: chunked, chunked")},
		{"an unknown expectation", 417, "", head(asJSON, length, "Expect: miracles")},
		{"no host", 400, "", []string{asJSON, length}},
		{"two hosts", 400, "", head("Host: other", asJSON, length)},
		{"white space before the colon", 400, "", head(asJSON, length, "X-A : b")},
		{"a header of 40 kB", 431, "", head(asJSON, length, "X-A: "+strings.Repeat("a", 40<<10))},
		{"more than 100 header fields", 431, "", head(append(many, asJSON, length)...)},
		{"an unknown version", 505, "POST /webhook/inbound HTTP/3.0", head(asJSON, length)},
		{"no request line", 400, "hello", head(asJSON, length)},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := message{line: row.line, bare: true, header: append(row.header, signed(good)), body: good}
			if got := a.post(t, m); got.status != row.status {
				t.Errorf("%d %s, want %d", got.status, got.body, row.status)
			}
		})
	}
	if stored := a.events(t); len(stored) != 0 {
		t.Errorf("%d events are stored", len(stored))
	}
}
