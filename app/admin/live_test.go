package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin"
	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/feed"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// A network is the API on a TCP listener, with a live stream that the test
// publishes to itself.
type network struct {
	url     string
	handler http.Handler
	store   *sqlite.Store
	feed    *feed.Feed
	log     *lockedBuffer
	// tokens has a token of each role.
	tokens map[webhook.Role]string
	// first is the client of the first token, an administrator's.
	first *client.Client
}

// A lockedBuffer takes a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func listen(t *testing.T) *network {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{feed: feed.New(time.Now()), log: &lockedBuffer{}, tokens: map[webhook.Role]string{}}
	n.store, err = sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "pintle.db"), Schema: string(schema), Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	dispatcher := dispatch.New(dispatch.Options{
		Store: n.store, Logger: logger, Transport: http.DefaultTransport, Policy: webhook.RetryPolicy{Schedule: webhook.DefaultSchedule()},
		Timeout: time.Second, Concurrency: 1, MaxInFlight: 1, UserAgent: "test",
	})
	if err := dispatcher.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	handlers := admin.New(admin.Options{
		Store: n.store, Dispatcher: dispatcher, Logger: logger, Version: "test",
		Sources: sources,
		Sandbox: echo{},
		Hosts:   []string{"Pintle.example", "*.wild.example"}, Feed: n.feed,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "webhook_queue_depth 0\n") }),
	})
	server := httptest.NewServer(handlers.TCP)
	n.url, n.handler = server.URL, handlers.TCP
	// The first tokens are made on the socket, where nobody needs one.
	socket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "localhost"
		handlers.Socket.ServeHTTP(w, r)
	}))
	trusted, err := client.New(client.Options{Server: socket.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range webhook.Roles() {
		made, err := trusted.CreateToken(t.Context(), api.NewToken{Name: "the " + string(role), Role: role})
		if err != nil {
			t.Fatal(err)
		}
		n.tokens[role] = made.Token
	}
	n.first = n.client(t, n.tokens[webhook.Administrator])
	t.Cleanup(func() {
		trusted.Close()
		n.feed.Close()
		socket.Close()
		server.Close()
		dispatcher.Stop(context.Background())
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *network) client(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Server: n.url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// request makes a request and returns the status, the header and, save for a
// stream, the body.
func (n *network) request(t *testing.T, method, path, body string, header http.Header) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") == "text/event-stream" {
		return response.StatusCode, response.Header, ""
	}
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(b)
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func code(body string) string {
	var refused api.Error
	if json.Unmarshal([]byte(body), &refused) != nil {
		return body
	}
	return refused.Code
}

func TestNetworkAsksForATokenEverywhereButAtHealthAndDocument(t *testing.T) {
	n := listen(t)
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if status, _, body := n.request(t, "GET", path, "", nil); status != 200 {
			t.Errorf("%s without a token: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/metrics", "/api/v1/metrics", "/api/v1/events", "/api/v1/tail", "/api/v1/tokens", "/api/v1/openapi.json", "/api/v1/nothing", "/"} {
		for _, c := range []struct {
			header http.Header
			want   string
		}{
			{nil, "missing_token"},
			{bearer("pintle_wrong"), "invalid_token"},
			{bearer(""), "invalid_token"},
			{http.Header{"Authorization": {"Basic " + n.tokens[webhook.Administrator]}}, "invalid_token"},
			{http.Header{"Authorization": {n.tokens[webhook.Administrator]}}, "invalid_token"},
			{http.Header{"Authorization": {"Bearer x", "Bearer " + n.tokens[webhook.Administrator]}}, "invalid_token"},
		} {
			status, header, body := n.request(t, "GET", path, "", c.header)
			if status != 401 || code(body) != c.want || header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s with %v: %d %s", path, c.header, status, body)
			}
		}
	}
	if status, _, body := n.request(t, "GET", "/api/v1/nothing", "", bearer(n.tokens[webhook.Viewer])); status != 404 {
		t.Errorf("a path that is not there, with a token: %d %s", status, body)
	}
	if log := n.log.String(); !strings.Contains(log, "invalid_token") || !strings.Contains(log, "peer=127.0.0.1") || strings.Contains(log, "pintle_") {
		t.Errorf("logged:\n%s", log)
	}
}

func TestRolesIncludeThoseBelowAndNothingMore(t *testing.T) {
	n := listen(t)
	for _, c := range []struct {
		method, path, body string
		needs              webhook.Role
		status             int // for those who have the role
	}{
		{"GET", "/metrics", "", webhook.Viewer, 200},
		{"GET", "/api/v1/metrics?x=y", "", webhook.Viewer, 200},
		{"GET", "/api/v1/tail", "", webhook.Viewer, 200},
		{"GET", "/api/v1/events", "", webhook.Viewer, 200},
		{"GET", "/api/v1/stats", "", webhook.Viewer, 200},
		{"POST", "/api/v1/events", `{"event":"a","data":1}`, webhook.Operator, 202},
		{"POST", "/api/v1/subscribers/sub_x/pause", "", webhook.Operator, 404},
		{"GET", "/api/v1/tokens", "", webhook.Administrator, 200},
		{"POST", "/api/v1/subscribers", `{}`, webhook.Administrator, 422},
		{"POST", "/api/v1/tokens", `{}`, webhook.Administrator, 422},
		{"DELETE", "/api/v1/tokens/tok_x", "", webhook.Administrator, 404},
		{"GET", "/api/v1/rejections", "", webhook.Viewer, 200},
		{"GET", "/api/v1/rejections/rej_x", "", webhook.Viewer, 404},
		{"GET", "/api/v1/sources", "", webhook.Viewer, 200},
		{"GET", "/api/v1/sources/inbound/secret", "", webhook.Administrator, 200},
		{"GET", "/api/v1/sources/nobody/secret", "", webhook.Administrator, 404},
		{"POST", "/api/v1/subscribers/sub_x/secret", "", webhook.Administrator, 404},
	} {
		for _, role := range webhook.Roles() {
			status, _, body := n.request(t, c.method, c.path, c.body, bearer(n.tokens[role]))
			if role.May(c.needs) {
				if status != c.status {
					t.Errorf("%s %s as %s: %d %s, want %d", c.method, c.path, role, status, body, c.status)
				}
			} else if status != 403 || code(body) != "forbidden" || !strings.Contains(body, string(c.needs)) {
				t.Errorf("%s %s as %s: %d %s, want 403 that names %s", c.method, c.path, role, status, body, c.needs)
			}
		}
	}
}

// TestCredentialsAmongHeadersAreForAdministratorsOnly finds them where one
// subscriber is asked for, and in no list.
func TestCredentialsAmongHeadersAreForAdministratorsOnly(t *testing.T) {
	n := listen(t)
	added, err := n.first.AddSubscriber(t.Context(), api.SubscriberChange{
		URL: value("http://127.0.0.1:1"), Events: &[]webhook.Pattern{"never"},
		Headers: &map[string]string{"Authorization": "Bearer hush", "X-Tenant": "acme"},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := "/api/v1/subscribers/" + string(added.ID)
	for _, role := range webhook.Roles() {
		requests := [][2]string{{"GET", "/api/v1/subscribers"}, {"GET", path}}
		if role.May(webhook.Operator) {
			requests = append(requests, [2]string{"POST", path + "/pause"}, [2]string{"POST", path + "/resume"})
		}
		for _, r := range requests {
			status, _, body := n.request(t, r[0], r[1], "", bearer(n.tokens[role]))
			shown := role == webhook.Administrator && r[1] != "/api/v1/subscribers"
			if status != 200 || !strings.Contains(body, "acme") || strings.Contains(body, "hush") != shown {
				t.Errorf("%s %s as %s: %d %s", r[0], r[1], role, status, body)
			}
		}
	}
}

// TestHiddenHeaderStaysAsItIs writes back what a list has told.
func TestHiddenHeaderStaysAsItIs(t *testing.T) {
	n := listen(t)
	added, err := n.first.AddSubscriber(t.Context(), api.SubscriberChange{
		URL: value("http://127.0.0.1:1"), Events: &[]webhook.Pattern{"never"},
		Headers: &map[string]string{"X-Api-Key": "hush", "X-Tenant": "acme"},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := "/api/v1/subscribers/" + string(added.ID)
	admin := bearer(n.tokens[webhook.Administrator])
	for _, tt := range []struct {
		change string
		status int
		want   string
	}{
		{`{"headers":{"x-api-key":"***","X-Tenant":"***"}}`, 200, `"headers":{"X-Tenant":"***","x-api-key":"hush"}`},
		{`{"headers":{"X-Token":"***"}}`, 422, `"headers":"X-Token: *** keeps the value that is there, and there is none"`},
		{`{"headers":{"X-Api-Key":"new"}}`, 200, `"headers":{"X-Api-Key":"new"}`},
	} {
		if status, _, body := n.request(t, "PATCH", path, tt.change, admin); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %d with %s", tt.change, status, body, tt.status, tt.want)
		}
	}
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

func TestRoleIsCheckedBeforeTheBodyIsRead(t *testing.T) {
	n := listen(t)
	for token, want := range map[string]int{n.tokens[webhook.Viewer]: 403, "pintle_wrong": 401} {
		r := httptest.NewRequest("POST", "http://localhost/api/v1/events", unread{t})
		r.Header = bearer(token)
		w := httptest.NewRecorder()
		n.handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("status %d, want %d", w.Code, want)
		}
	}
}

func TestHostsThatAreNotOursAndOriginsAreForbiddenWhateverTheToken(t *testing.T) {
	n := listen(t)
	for host, want := range map[string]int{
		"localhost": 200, "127.0.0.1:8081": 200, "[::1]:8081": 200, "192.0.2.1": 200, "[::1]": 200,
		"pintle.example": 200, "PINTLE.EXAMPLE:8081": 200, "a.wild.example": 200,
		"wild.example": 403, "a.b.wild.example": 403, "evil.example": 403, "pintle.example.evil.example": 403,
		"pintle": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
	} {
		header := bearer(n.tokens[webhook.Administrator])
		header.Set("Host", host)
		if status, _, body := n.request(t, "GET", "/api/v1/events", "", header); status != want || want == 403 && code(body) != "forbidden" {
			t.Errorf("host %s: %d %s, want %d", host, status, body, want)
		}
	}
	header := bearer(n.tokens[webhook.Administrator])
	header.Set("Origin", n.url)
	if status, _, _ := n.request(t, "GET", "/healthz", "", header); status != 403 {
		t.Errorf("with an origin: %d", status)
	}
}

func TestTokenIsShownOnceAndKeptAsADigest(t *testing.T) {
	n := listen(t)
	made, err := n.first.CreateToken(t.Context(), api.NewToken{Name: "ci", Role: webhook.Operator})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.Token, "pintle_") || !strings.HasPrefix(string(made.ID), "tok_") || made.Role != webhook.Operator {
		t.Errorf("made %+v", made)
	}
	if _, err := n.client(t, made.Token).Publish(t.Context(), api.Publish{Event: "a", Data: json.RawMessage("1")}); err != nil {
		t.Errorf("with the new token: %v", err)
	}
	list, err := n.first.Tokens(t.Context())
	if err != nil || len(list) != 4 {
		t.Fatalf("%d tokens, %v", len(list), err)
	}
	made.Token = ""
	if diff := cmp.Diff(made, list[0], cmp.Comparer(func(a, b api.Time) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("the newest in the list: %s", diff)
	}
	kept, err := n.store.Tokens(t.Context())
	if err != nil || strings.Contains(fmt.Sprintf("%s", kept[0].Hash), "pintle_") {
		t.Errorf("kept as %v, %v", kept, err)
	}
}

func TestTokensAreListedInPagesLikeAllElse(t *testing.T) {
	n := listen(t)
	all, err := n.first.Tokens(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("%d tokens, %v", len(all), err)
	}
	var paged []webhook.TokenID
	for query := "?limit=2"; ; {
		status, _, body := n.request(t, "GET", "/api/v1/tokens"+query, "", bearer(n.tokens[webhook.Administrator]))
		var page api.List[api.Token]
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != 200 {
			t.Fatalf("%s: %d %s", query, status, body)
		}
		for _, token := range page.Items {
			paged = append(paged, token.ID)
		}
		if page.NextCursor == "" {
			break
		}
		query = "?limit=2&cursor=" + page.NextCursor
	}
	if diff := cmp.Diff([]webhook.TokenID{all[0].ID, all[1].ID, all[2].ID}, paged); diff != "" {
		t.Error(diff)
	}
	for _, query := range []string{"?limit=501", "?cursor=evt_1"} {
		if status, _, _ := n.request(t, "GET", "/api/v1/tokens"+query, "", bearer(n.tokens[webhook.Administrator])); status != 422 {
			t.Errorf("%s: %d", query, status)
		}
	}
}

func TestRevokedTokenIsInvalidAtOnceAndStaysListed(t *testing.T) {
	n := listen(t)
	made, err := n.first.CreateToken(t.Context(), api.NewToken{Name: "ci", Role: webhook.Administrator})
	if err != nil {
		t.Fatal(err)
	}
	bearer := n.client(t, made.Token)
	if _, err := bearer.Tokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.first.RevokeToken(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if _, err := bearer.Tokens(t.Context()); !errors.As(err, &refused) || refused.Status != 401 || refused.Code != "invalid_token" {
		t.Errorf("with a revoked token: %v", err)
	}
	list, err := n.first.Tokens(t.Context())
	if err != nil || list[0].ID != made.ID || list[0].RevokedAt.IsZero() || !list[1].RevokedAt.IsZero() {
		t.Errorf("listed as %+v, %v", list, err)
	}
	if err := n.first.RevokeToken(t.Context(), made.ID); err != nil {
		t.Errorf("revoked twice: %v", err)
	}
	again, err := n.first.Tokens(t.Context())
	if diff := cmp.Diff(list, again); err != nil || diff != "" {
		t.Errorf("the second time changed something: %v %s", err, diff)
	}
	if err := n.first.RevokeToken(t.Context(), "tok_nothing"); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("a token that is not there: %v", err)
	}
}

func TestTailEndsWhenItsTokenIsRevoked(t *testing.T) {
	n := listen(t)
	made, err := n.first.CreateToken(t.Context(), api.NewToken{Name: "watcher", Role: webhook.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	// A tail that went on would fail the test here, and not hang.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", n.url+"/api/v1/tail", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = bearer(made.Token)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := n.first.RevokeToken(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	n.attempt("secret.thing", "", &webhook.Subscriber{})
	body, err := io.ReadAll(response.Body)
	if err != nil || strings.Contains(string(body), "secret.thing") {
		t.Errorf("after the revocation: %q, %v", body, err)
	}
}

func TestInvalidTokenIsRefusedWithEveryFaultNamed(t *testing.T) {
	n := listen(t)
	for body, fields := range map[string]string{
		`{}`:                                  "name role",
		`{"name":"","role":"root"}`:           "name role",
		`{"name":"a\nb","role":"admin"}`:      "name",
		`{"name":" a","role":"admin"}`:        "name",
		`{"name":5,"role":"admin","token":1}`: "name token",
		`{"name":"` + strings.Repeat("x", 129) + `","role":"admin"}`: "name",
	} {
		status, _, answer := n.request(t, "POST", "/api/v1/tokens", body, bearer(n.tokens[webhook.Administrator]))
		var refused api.Error
		if err := json.Unmarshal([]byte(answer), &refused); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, field := range []string{"name", "role", "token"} {
			if refused.Fields[field] != "" {
				got = append(got, field)
			}
		}
		if status != 422 || strings.Join(got, " ") != fields || len(got) != len(refused.Fields) {
			t.Errorf("%s: %d %s, want the fields %s", body, status, answer, fields)
		}
	}
}

// attempt publishes an attempt to a subscriber.
func (n *network) attempt(eventType, clientID string, s *webhook.Subscriber) {
	n.feed.Attempted(&webhook.Event{Type: eventType, ClientID: clientID}, s, &webhook.Result{
		Attempt: webhook.Attempt{DeliveryID: "dlv_1", Number: 1, StartedAt: time.Now(), Outcome: webhook.OK, Code: 200}, State: webhook.Delivered,
	})
}

// tail reads lines of a stream until it ends or there are enough.
func (n *network) tail(t *testing.T, query string, header http.Header, lines int) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", n.url+"/api/v1/tail"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = bearer(n.tokens[webhook.Viewer])
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %d %s", query, response.StatusCode, response.Header)
	}
	var got []string
	for scanner := bufio.NewScanner(response.Body); len(got) < lines && scanner.Scan(); {
		got = append(got, scanner.Text())
	}
	return got
}

func TestTailIsAStreamOfServerSentEvents(t *testing.T) {
	n := listen(t)
	n.feed.Accepted(&webhook.Event{ID: "evt_1", Type: "order.created", Source: "inbound", ReceivedAt: time.Unix(1, 0)}, 2, false)
	n.feed.Rejected(feed.Rejection{ID: "rej_1", Source: "inbound", Client: netip.MustParseAddr("::1"), Status: 401, Code: "missing_signature", At: time.Unix(2, 0)})
	got := n.tail(t, "?since=1", nil, 14)
	var first uint64
	if _, err := fmt.Sscanf(got[6], "id: %d", &first); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	want := []string{
		": what happens from here on", "",
		fmt.Sprintf("id: %d", first-1), "event: gap",
		fmt.Sprintf(`data: {"sequence":%d,"kind":"gap","time":"1970-01-01T00:00:01.000Z"}`, first-1), "",
		fmt.Sprintf("id: %d", first), "event: event",
		fmt.Sprintf(`data: {"sequence":%d,"kind":"event","time":"1970-01-01T00:00:01.000Z","event_id":"evt_1","event_type":"order.created","source":"inbound","deliveries":2}`, first), "",
		fmt.Sprintf("id: %d", first+1), "event: rejection",
		fmt.Sprintf(`data: {"sequence":%d,"kind":"rejection","time":"1970-01-01T00:00:02.000Z","source":"inbound","error":"missing_signature","request_id":"rej_1","status":401,"client_ip":"::1"}`, first+1), "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTailSelectsWhatIsAskedFor(t *testing.T) {
	n := listen(t)
	added, err := n.first.AddSubscriber(t.Context(), api.SubscriberChange{
		URL: value("https://acme.example/hook"), Events: &[]webhook.Pattern{"*"}, Description: value("ACME orders"),
	})
	if err != nil {
		t.Fatal(err)
	}
	// What the fewest select comes last, so that one too many is noticed.
	n.feed.Rejected(feed.Rejection{ID: "rej_1", Status: 401, Code: "missing_signature", At: time.Now()})
	n.attempt("user.created", "", &webhook.Subscriber{ID: "sub_other", Description: "other"})
	n.feed.Accepted(&webhook.Event{Type: "order.created", ClientID: "c1", ReceivedAt: time.Now()}, 1, false)
	n.attempt("order.created", "c1", &webhook.Subscriber{ID: added.ID, Description: "ACME orders"})
	for query, want := range map[string]string{
		"":                                "rejection attempt event attempt",
		"&kind=event":                     "event",
		"&kind=event,rejection":           "rejection event",
		"&kind=event&kind=attempt":        "attempt event attempt",
		"&event_type=order.*":             "event attempt",
		"&event_type=*":                   "attempt event attempt",
		"&client_id=c1":                   "event attempt",
		"&subscriber=acme*":               "attempt",
		"&subscriber=acme.example":        "attempt",
		"&subscriber=*":                   "attempt attempt",
		"&subscriber=" + string(added.ID): "attempt",
	} {
		var kinds []string
		const before = 2 + 4 // the first comment, and a gap
		for _, line := range n.tail(t, "?since=1"+query, nil, before+4*len(strings.Fields(want)))[before:] {
			if kind, ok := strings.CutPrefix(line, "event: "); ok {
				kinds = append(kinds, kind)
			}
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	for query, field := range map[string]string{"kind=gap": "kind", "kind=events": "kind", "event_type=*.x": "event_type", "since=x": "since", "colour=1": "colour"} {
		status, _, body := n.request(t, "GET", "/api/v1/tail?"+query, "", bearer(n.tokens[webhook.Viewer]))
		if status != 422 || !strings.Contains(body, `"`+field+`"`) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

func TestTailGoesOnAfterTheLastEventID(t *testing.T) {
	n := listen(t)
	for i := range 5 {
		n.feed.Accepted(&webhook.Event{Type: fmt.Sprintf("n.%d", i), ReceivedAt: time.Now()}, 0, false)
	}
	// A comment and a gap stand before the first event.
	id, ok := strings.CutPrefix(n.tail(t, "?since=1", nil, 8)[6], "id: ")
	if !ok {
		t.Fatal("no id where one should be")
	}
	for _, lines := range [][]string{
		n.tail(t, "", http.Header{"Last-Event-Id": {id}}, 5),
		n.tail(t, "?since="+id, nil, 5),
		n.tail(t, "?since=1", http.Header{"Last-Event-Id": {id}}, 5),
		n.tail(t, "?since="+id, http.Header{"Last-Event-Id": {"of another server"}}, 5),
	} {
		if !strings.Contains(lines[4], `"n.1"`) {
			t.Errorf("went on with %q", lines)
		}
	}
}

func TestTailsBeyondTheBoundAreRefusedAndAnEndedOneMakesRoom(t *testing.T) {
	n := listen(t)
	open := func(ctx context.Context) *http.Response {
		r, err := http.NewRequestWithContext(ctx, "GET", n.url+"/api/v1/tail", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = bearer(n.tokens[webhook.Viewer])
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 100 {
		response := open(ctx)
		defer response.Body.Close()
		if response.StatusCode != 200 {
			t.Fatalf("status %d below the bound", response.StatusCode)
		}
	}
	response := open(t.Context())
	b, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != 503 || code(string(b)) != "overloaded" || response.Header.Get("Retry-After") == "" {
		t.Errorf("beyond the bound: %d %s", response.StatusCode, b)
	}
	cancel()
	for response := open(t.Context()); ; response = open(t.Context()) {
		response.Body.Close()
		if response.StatusCode == 200 {
			break
		}
	}
}

func TestClientReadsTheTailUntilTheApplianceStops(t *testing.T) {
	n := listen(t)
	viewer := n.client(t, n.tokens[webhook.Viewer])
	var got []api.Happening
	var end error
	first := true
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// An attempt is published again and again until the stream, whose beginning
	// nobody else can see, has it.
	begun := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for {
			n.attempt("order.created", "", &webhook.Subscriber{ID: "sub_1", Description: "Zoë's"})
			select {
			case <-begun:
				return
			case <-ctx.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	for h, err := range viewer.Tail(ctx, api.TailQuery{Kinds: []api.Kind{api.KindAttempt, api.KindEvent}, Subscriber: "sub_1"}) {
		if err != nil {
			end = err
			break
		}
		got = append(got, h)
		if first {
			first = false
			close(begun)
			n.feed.Close()
		}
	}
	publisher.Wait()
	if !errors.Is(end, io.ErrUnexpectedEOF) {
		t.Errorf("ended with %v, want an unexpected end", end)
	}
	if len(got) == 0 || got[0].SubscriberName != "Zoë's" || got[0].Outcome != webhook.OK || got[0].Sequence == 0 {
		t.Errorf("read %+v", got)
	}

	var refused *client.Error
	for _, err := range n.client(t, "").Tail(t.Context(), api.TailQuery{}) {
		if !errors.As(err, &refused) || refused.Code != "missing_token" {
			t.Errorf("without a token: %v", err)
		}
	}
	if refused == nil {
		t.Error("a refusal is no error")
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, err := range viewer.Tail(stopped, api.TailQuery{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
}

func TestQuietTailShowsThatItIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := feed.New(time.Now())
		handler := admin.New(admin.Options{Feed: live, Logger: slog.New(slog.DiscardHandler)}).Socket
		ctx, leave := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/api/v1/tail?kind=attempt", nil)
		w := httptest.NewRecorder()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			handler.ServeHTTP(w, r)
		}()
		// What is not selected does not count as a sign of life.
		for range 50 {
			time.Sleep(time.Second)
			live.Accepted(&webhook.Event{ReceivedAt: time.Now()}, 0, false)
		}
		leave()
		<-ended
		if got := strings.Count(w.Body.String(), ": nothing new\n\n"); got != 3 || strings.Contains(w.Body.String(), "data:") {
			t.Errorf("in 50 quiet seconds it wrote %q", w.Body)
		}
	})
}
