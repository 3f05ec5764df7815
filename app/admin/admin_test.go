package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin"
	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/dispatch"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

const inboundSecret = "inbound-secret"

// An appliance is the API over a real store and dispatcher, on a Unix socket.
type appliance struct {
	*client.Client
	socket     string
	store      *sqlite.Store
	dispatcher *dispatch.Dispatcher
	// sent gets a value for every delivery that is tried; the receiver answers
	// with the status that its path names.
	sent  chan string
	ready error
	// stop stops the dispatcher, once; when it returns, all results of what was
	// tried are recorded.
	stop func()
}

func start(t *testing.T) *appliance {
	t.Helper()
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := &appliance{socket: filepath.Join(dir, "s"), sent: make(chan string, 100)}
	a.store, err = sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "pintle.db"), Schema: string(schema), Synchronous: "normal"})
	if err != nil {
		t.Fatal(err)
	}
	a.dispatcher = dispatch.New(dispatch.Options{
		Store: a.store, Logger: slog.New(slog.DiscardHandler), Transport: a,
		Policy:  webhook.RetryPolicy{Retries: 0, Schedule: webhook.DefaultSchedule()},
		Timeout: 5 * time.Second, Concurrency: 10, MaxInFlight: 10, UserAgent: "test",
		Hold:  webhook.HoldPolicy{Hold: true, Failures: 10, After: time.Minute},
		Guard: security.NewOutboundGuard(nil), Expressions: transform.New(transform.Options{}),
	})
	if err := a.dispatcher.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.stop = sync.OnceFunc(func() { a.dispatcher.Stop(context.Background()) })
	listener, err := net.Listen("unix", a.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: admin.New(admin.Options{
		Store: a.store, Dispatcher: a.dispatcher, Logger: slog.New(slog.DiscardHandler), Version: "test",
		Sources: sources, Expects: func(s webhook.Source) string { return "as " + string(s.Scheme) + " does" },
		Sandbox: echo{}, StartedAt: time.UnixMilli(1), MaxInFlight: 10,
		InboundURL:   func(path string) string { return (&url.URL{Scheme: "http", Host: "inbound", Path: path}).String() },
		DatabasePath: filepath.Join(dir, "pintle.db"), Warnings: func() []string { return []string{"inbound.validate_signature is off"} },
		Ready: func(context.Context) error { return a.ready },
	}).Socket}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if a.Client, err = client.New(client.Options{Socket: a.socket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		server.Close()
		<-served
		a.stop()
		if err := a.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// RoundTrip is the receiver of all deliveries.
func (a *appliance) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.sent <- string(body)
	status := http.StatusOK
	if _, err := fmt.Sscanf(r.URL.Path, "/%d", &status); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("because"))}, nil
}

// request makes a request by hand and returns the status, header and body.
func (a *appliance) request(t *testing.T, method, path, body string, change ...func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", a.socket)
		},
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(b)
}

func value[T any](v T) *T { return &v }

// add adds a subscriber to a URL with this path.
func (a *appliance) add(t *testing.T, path string, active bool) api.Subscriber {
	t.Helper()
	s, err := a.AddSubscriber(t.Context(), api.SubscriberChange{
		URL: value("https://receiver.example" + path), Events: &[]webhook.Pattern{"*"}, Active: &active,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (a *appliance) publish(t *testing.T, event string) api.Published {
	t.Helper()
	p, err := a.Publish(t.Context(), api.Publish{Event: event, Data: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fail records a failed attempt of each delivery, after which it is in the
// state.
func (a *appliance) fail(t *testing.T, state webhook.State, ids ...webhook.DeliveryID) {
	t.Helper()
	results := make([]webhook.Result, len(ids))
	for i, id := range ids {
		d, err := webhook.FindDelivery(t.Context(), a.store, id)
		if err != nil {
			t.Fatal(err)
		}
		results[i] = webhook.Result{DueAt: d.NextAttemptAt, State: state, Spent: 1, Attempt: webhook.Attempt{
			DeliveryID: id, Number: 1, StartedAt: time.Now(), Outcome: webhook.HTTPStatus, Code: 500,
		}}
		if state == webhook.Pending {
			results[i].NextAttemptAt = time.Now().Add(time.Hour)
		}
	}
	if err := a.store.Record(t.Context(), results); err != nil {
		t.Fatal(err)
	}
}

// deaden makes dead letters of the deliveries of n events to one subscriber,
// which is paused so that what is replayed stays pending.
func (a *appliance) deaden(t *testing.T, n int) (api.Subscriber, []webhook.DeliveryID) {
	t.Helper()
	s := a.add(t, "/200", false)
	ids := make([]webhook.DeliveryID, n)
	for i := range ids {
		ids[i] = a.publish(t, "order.created").Deliveries[0].ID
	}
	a.fail(t, webhook.Dead, ids...)
	return s, ids
}

func collect[T any](t *testing.T, items func(func(T, error) bool)) []T {
	t.Helper()
	var all []T
	for item, err := range items {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

func TestPublishedEventIsDeliveredAndSaysSo(t *testing.T) {
	a := start(t)
	good, bad := a.add(t, "/200", true), a.add(t, "/503", true)
	const data = `{"a" : 1.50,"b":"\u0041"}`
	status, _, body := a.request(t, "POST", "/api/v1/events", `{"event":"order.created","timestamp":1731602712,"id":"mine","data":`+data+`}`)
	var published api.Published
	if err := json.Unmarshal([]byte(body), &published); err != nil || status != http.StatusAccepted {
		t.Fatalf("status %d: %s", status, body)
	}
	if published.Status != api.StatusReceived || len(published.Deliveries) != 2 {
		t.Fatalf("got %s", body)
	}
	for range 2 {
		if got, want := <-a.sent, `{"event":"order.created","timestamp":1731602712,"data":`+data+`}`; got != want {
			t.Errorf("delivered %s, want %s", got, want)
		}
	}
	a.stop()

	e, err := a.Event(t.Context(), published.ID)
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Data) != data || e.Type != "order.created" || e.Source != webhook.SourceAdmin || e.SenderKey != "mine" || e.Timestamp != 1731602712 {
		t.Errorf("got %+v with data %s", e.Event, e.Data)
	}
	states := map[webhook.SubscriberID]webhook.State{}
	for _, d := range e.Deliveries {
		states[d.SubscriberID] = d.State
	}
	if diff := cmp.Diff(map[webhook.SubscriberID]webhook.State{good.ID: webhook.Delivered, bad.ID: webhook.Dead}, states); diff != "" {
		t.Error(diff)
	}
	dead := collect(t, a.DeadLetters(t.Context(), api.DeliveryFilter{Code: 503}, 0))
	if len(dead) != 1 {
		t.Fatalf("dead letters: %v", dead)
	}
	d, err := a.Delivery(t.Context(), dead[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if d.AttemptCount != 1 || len(d.Attempts) != 1 || d.LastCode != 503 || d.FinishedAt.IsZero() || !d.NextAttemptAt.IsZero() {
		t.Errorf("got %+v", d)
	}
	if at := d.Attempts[0]; at.ID != d.ID.Attempt(1) || at.Outcome != webhook.HTTPStatus || at.ResponseBody != "because" {
		t.Errorf("got %+v", at)
	}
}

func TestRepeatedIDIsADuplicateOfTheFirst(t *testing.T) {
	a := start(t)
	a.add(t, "/200", false)
	first, err := a.Publish(t.Context(), api.Publish{Event: "a.b", ID: "x", Data: json.RawMessage(`1`)})
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Publish(t.Context(), api.Publish{Event: "c.d", ID: "x", Data: json.RawMessage(`2`)})
	if err != nil {
		t.Fatal(err)
	}
	want := api.Published{ID: first.ID, Status: api.StatusDuplicate, Deliveries: []api.PublishedDelivery{}}
	if diff := cmp.Diff(want, again); diff != "" {
		t.Error(diff)
	}
	if first, second := a.publish(t, "a.b"), a.publish(t, "a.b"); first.ID == second.ID {
		t.Error("two publishes without an id are one event")
	}
}

func TestListsFollowCursorsFromTheNewestToTheOldest(t *testing.T) {
	a := start(t)
	var want []webhook.EventID
	for i := range 7 {
		p := a.publish(t, fmt.Sprintf("n.%d", i%2))
		want = append([]webhook.EventID{p.ID}, want...)
	}
	var got []webhook.EventID
	query, pages := api.PageQuery{Limit: 3}, 0
	for {
		page, err := a.EventsPage(t.Context(), api.EventFilter{Since: "1h"}, query)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, e := range page.Items {
			got = append(got, e.ID)
		}
		if query.Cursor = page.NextCursor; query.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
		t.Errorf("%d pages: %s", pages, diff)
	}
	if n := len(collect(t, a.Events(t.Context(), api.EventFilter{Type: "n.1"}, 0))); n != 3 {
		t.Errorf("%d events of the type, want 3", n)
	}
	if n := len(collect(t, a.Events(t.Context(), api.EventFilter{}, 5))); n != 5 {
		t.Errorf("%d events, want the 5 asked for", n)
	}
	if n := len(collect(t, a.Events(t.Context(), api.EventFilter{Until: "1h"}, 0))); n != 0 {
		t.Errorf("%d events older than they are", n)
	}
	_, _, body := a.request(t, "GET", "/api/v1/subscribers", "")
	if strings.TrimSpace(body) != `{"items":[]}` {
		t.Errorf("an empty list is %s", body)
	}
	for range 3 {
		a.add(t, "/200", true)
	}
	first, err := a.SubscribersPage(t.Context(), api.PageQuery{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.SubscribersPage(t.Context(), api.PageQuery{Limit: 2, Cursor: first.NextCursor})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Items) != 2 || len(second.Items) != 1 || second.NextCursor != "" || second.Items[0].ID >= first.Items[1].ID {
		t.Errorf("pages %v and %v", first, second)
	}
}

func TestSubscriberGoesThroughItsLife(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	full := api.SubscriberChange{
		URL: value("https://a.example/200"), ClientID: value("c1"), Secret: value("s3cret"), Events: &[]webhook.Pattern{"order.*"},
		Description: value("d"), Headers: &map[string]string{"X-Team": "a"}, Timeout: value(api.Duration(10 * time.Second)),
		Concurrency: value(3), Schedule: &[]api.Duration{api.Duration(time.Second), api.Duration(2 * time.Minute)}, FinalOn4xx: value(true),
		RateLimit: value(2.5), Scheme: value(webhook.SigningStripe), Filter: value(".data.a"), Transform: value(".data"),
		Ordered: value(api.Ordered(".data.a")), BasicUsername: value("u"), BasicPassword: value("p4ss"), Hold: value(false),
	}
	added, err := a.AddSubscriber(ctx, full)
	if err != nil {
		t.Fatal(err)
	}
	want := api.Subscriber{
		ID: added.ID, URL: "https://a.example/200", ClientID: "c1", Secret: "s3cret", Events: []webhook.Pattern{"order.*"}, Active: true,
		Description: "d", Headers: map[string]string{"X-Team": "a"}, Timeout: api.Duration(10 * time.Second), Concurrency: 3,
		Schedule: *full.Schedule, FinalOn4xx: true, RateLimit: 2.5, Scheme: webhook.SigningStripe, Filter: ".data.a", Transform: ".data",
		Ordered: ".data.a", OnDead: webhook.OnDeadBlock, BasicUsername: "u", BasicPassword: "***", AutoPause: true, CreatedAt: added.CreatedAt, UpdatedAt: added.UpdatedAt,
	}
	if diff := cmp.Diff(want, added); diff != "" || added.ID == "" || added.CreatedAt.IsZero() {
		t.Error(diff)
	}
	_, _, body := a.request(t, "GET", "/api/v1/subscribers/"+string(added.ID), "")
	if strings.Contains(body, "secret") || strings.Contains(body, "p4ss") || !strings.Contains(body, `"timeout":"10s"`) || !strings.Contains(body, `"schedule":["1s","2m"]`) {
		t.Errorf("shown as %s", body)
	}
	if secret, err := a.SubscriberSecret(ctx, added.ID); err != nil || secret.Reveal() != "s3cret" {
		t.Errorf("secret %q, %v", secret.Reveal(), err)
	}

	paused, err := a.PauseSubscriber(ctx, added.ID, "maintenance")
	if err != nil || paused.Active || paused.PausedReason != "maintenance" {
		t.Errorf("paused: %+v, %v", paused, err)
	}
	status, _, body := a.request(t, "POST", "/api/v1/subscribers/"+string(added.ID)+"/pause", "")
	if status != 200 || !strings.Contains(body, "paused by hand") {
		t.Errorf("paused without a body: %d %s", status, body)
	}
	resumed, err := a.ResumeSubscriber(ctx, added.ID)
	if err != nil || !resumed.Active || resumed.PausedReason != "" {
		t.Errorf("resumed: %+v, %v", resumed, err)
	}

	status, _, body = a.request(t, "PATCH", "/api/v1/subscribers/"+string(added.ID), `{"timeout":7,"schedule":null,"active":false,"ordered":false,"scheme":null,"basic_password":"***","hold":true}`)
	var changed api.Subscriber
	if err := json.Unmarshal([]byte(body), &changed); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	want.Secret, want.Timeout, want.Schedule, want.UpdatedAt = "", api.Duration(7*time.Second), nil, changed.UpdatedAt
	want.Active, want.PausedReason = false, "paused by hand"
	want.Ordered, want.OnDead, want.Scheme, want.Hold = "", "", webhook.SigningPlain, true
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Error(diff)
	}

	if status, _, body := a.request(t, "DELETE", "/api/v1/subscribers/"+string(added.ID), ""); status != 204 || body != "" {
		t.Errorf("removed: %d %s", status, body)
	}
	var refused *client.Error
	if err := a.RemoveSubscriber(ctx, added.ID); !errors.As(err, &refused) || refused.Status != 404 || refused.Code != "not_found" {
		t.Errorf("removed twice: %v", err)
	}
}

func TestSubscriberWithoutASecretGetsOneAndIsActive(t *testing.T) {
	a := start(t)
	for _, request := range []string{`{"url":"https://a.example/200","events":["*"]}`, `{"url":"https://a.example/200","events":["*"],"secret":null}`} {
		status, _, body := a.request(t, "POST", "/api/v1/subscribers", request)
		var added api.Subscriber
		if err := json.Unmarshal([]byte(body), &added); err != nil || status != 201 {
			t.Fatalf("%d %s", status, body)
		}
		if !strings.HasPrefix(added.Secret, webhook.SecretPrefix) || !added.Active {
			t.Errorf("got %s", body)
		}
	}
}

func TestInvalidSubscriberIsRefusedWithEveryFaultNamed(t *testing.T) {
	a := start(t)
	s := a.add(t, "/200", true)
	for _, c := range []struct {
		method, path, body string
		fields             []string
	}{
		{"POST", "/api/v1/subscribers", `{}`, []string{"events", "url"}},
		{"POST", "/api/v1/subscribers", `{"url":"ftp://x","events":["*.x"],"timeout":"2m","concurrency":"many","rate_limit":-5,"id":"sub_1"}`,
			[]string{"concurrency", "events", "id", "rate_limit", "timeout", "url"}},
		{"POST", "/api/v1/subscribers", `{"url":"http://a/","events":["*"],"filter":".a |","transform":")","ordered":".a |","oauth2_token_url":"http://10.0.0.1/","basic_password":"***","tls_key":"***"}`,
			[]string{"basic_password", "filter", "oauth2_client_id", "oauth2_client_secret", "oauth2_token_url", "ordered", "tls_key", "transform"}},
		{"POST", "/api/v1/subscribers", `{"url":"http://10.0.0.1/","events":["*"]}`, []string{"url"}},
		{"POST", "/api/v1/subscribers", `{"url":"http://a/","events":["*"],"secret":""}`, []string{"secret"}},
		{"PATCH", "/api/v1/subscribers/" + string(s.ID), `{"url":"http://10.0.0.1/","scheme":"gitlab","on_dead":"wait","failing_since":"2025-01-01T00:00:00Z"}`, []string{"failing_since", "on_dead", "scheme", "url"}},
		{"PATCH", "/api/v1/subscribers/" + string(s.ID), `{"headers":{"Host":"x"},"paused_reason":"y"}`, []string{"headers", "paused_reason"}},
	} {
		status, _, body := a.request(t, c.method, c.path, c.body)
		var refused api.Error
		if err := json.Unmarshal([]byte(body), &refused); err != nil {
			t.Fatal(err)
		}
		var fields []string
		for field, fault := range refused.Fields {
			fields = append(fields, field)
			if fault == "" {
				t.Errorf("%s: nothing is said of %s", c.body, field)
			}
		}
		slices.Sort(fields)
		if status != 422 || refused.Code != "invalid_subscriber" || len(fields) != len(refused.Fields) || !cmp.Equal(fields, c.fields) {
			t.Errorf("%s: got %d %s, want the fields %v", c.body, status, body, c.fields)
		}
	}
	if after, err := a.Subscriber(t.Context(), s.ID); err != nil || after.URL != s.URL {
		t.Errorf("a refused change left %+v, %v", after, err)
	}
}

func TestEveryRefusalHasOneShape(t *testing.T) {
	a := start(t)
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		method, path, body string
		change             func(*http.Request)
		status             int
		code, field        string
	}{
		{"GET", "/", "", nil, 404, "not_found", ""},
		{"GET", "/docs", "", nil, 404, "not_found", ""},
		{"GET", "/api/v1", "", nil, 404, "not_found", ""},
		{"GET", "/api/v1/events/", "", nil, 404, "not_found", ""},
		{"GET", "//api/v1/events", "", nil, 404, "not_found", ""},
		{"GET", "/api/v1/../v1/events", "", nil, 404, "not_found", ""},
		{"GET", "/api/v1/events/evt_nothing", "", nil, 404, "not_found", ""},
		{"GET", "/api/v1/events/%00%2f", "", nil, 404, "not_found", ""},
		{"GET", "/api/v1/deliveries/dlv_nothing", "", nil, 404, "not_found", ""},
		{"GET", "/api/v1/subscribers/sub_nothing", "", nil, 404, "not_found", ""},
		{"POST", "/api/v1/subscribers/sub_nothing/secret", "", nil, 404, "not_found", ""},
		{"PATCH", "/api/v1/subscribers/sub_nothing", "{}", nil, 404, "not_found", ""},
		{"DELETE", "/api/v1/events", "", nil, 405, "method_not_allowed", ""},
		{"OPTIONS", "/api/v1/events", "", nil, 405, "method_not_allowed", ""},
		{"GET", "/api/v1/dead-letters/replay", "", nil, 405, "method_not_allowed", ""},
		{"GET", "/api/v1/events", "", host("evil.example"), 403, "forbidden", ""},
		{"GET", "/healthz", "", header("Origin", "http://localhost"), 403, "forbidden", ""},
		{"GET", "/api/v1/events?limit=0", "", nil, 422, "invalid_request", "limit"},
		{"GET", "/api/v1/events?limit=501", "", nil, 422, "invalid_request", "limit"},
		{"GET", "/api/v1/events?limit=many", "", nil, 422, "invalid_request", "limit"},
		{"GET", "/api/v1/events?cursor=dlv_1", "", nil, 422, "invalid_request", "cursor"},
		{"GET", "/api/v1/events?since=soon", "", nil, 422, "invalid_request", "since"},
		{"GET", "/api/v1/events?colour=red", "", nil, 422, "invalid_request", "colour"},
		{"GET", "/api/v1/deliveries?state=lost", "", nil, 422, "invalid_request", "state"},
		{"GET", "/api/v1/deliveries?code=5", "", nil, 422, "invalid_request", "code"},
		{"GET", "/api/v1/dead-letters?state=pending", "", nil, 422, "invalid_request", "state"},
		{"GET", "/api/v1/deliveries?q=stat:dead", "", nil, 422, "invalid_request", "q"},
		{"GET", "/api/v1/deliveries?q=since:soon", "", nil, 422, "invalid_request", "q"},
		{"GET", "/api/v1/deliveries?q=status:dead&state=pending", "", nil, 422, "invalid_request", "q"},
		{"GET", "/api/v1/deliveries?event_type=*.x", "", nil, 422, "invalid_request", "event_type"},
		{"GET", "/api/v1/events?q=status:dead", "", nil, 422, "invalid_request", "q"},
		{"GET", "/api/v1/dead-letters?q=status:pending", "", nil, 422, "invalid_request", "q"},
		{"POST", "/api/v1/events/evt_nothing/replay", "", nil, 404, "not_found", ""},
		{"POST", "/api/v1/deliveries/dlv_nothing/cancel", "", nil, 404, "not_found", ""},
		{"POST", "/api/v1/subscribers/sub_nothing/rotate-secret", "", nil, 404, "not_found", ""},
		{"POST", "/api/v1/subscribers/sub_nothing/test", "", nil, 404, "not_found", ""},
		{"POST", "/api/v1/replays", "", nil, 400, "empty_body", ""},
		{"POST", "/api/v1/replays", `{"rate":-1}`, nil, 422, "invalid_request", "rate"},
		{"POST", "/api/v1/replays", `{"rate":100001}`, nil, 422, "invalid_request", "rate"},
		{"POST", "/api/v1/replays", `{"rate":"fast"}`, nil, 422, "invalid_request", "rate"},
		{"POST", "/api/v1/replays", `{"subscriber":"sub_nothing"}`, nil, 422, "invalid_request", "subscriber"},
		{"POST", "/api/v1/replays", `{"filter":{"q":"code:503"}}`, nil, 422, "invalid_request", "filter.q"},
		{"DELETE", "/api/v1/dead-letters", "", nil, 400, "empty_body", ""},
		{"DELETE", "/api/v1/dead-letters", `{"filter":{"state":"pending"}}`, nil, 422, "invalid_request", "filter.state"},
		{"POST", "/api/v1/sandbox/send", `{"event":"a"}`, nil, 422, "invalid_request", "data"},
		{"POST", "/api/v1/sandbox/send", `{"event":"a","data":1,"signing":"twice"}`, nil, 422, "invalid_request", "signing"},
		{"POST", "/api/v1/sandbox/send", `{"event":"a","data":1,"idempotency_key":"a\nb"}`, nil, 422, "invalid_request", "idempotency_key"},
		{"POST", "/api/v1/events", "", nil, 400, "empty_body", ""},
		{"POST", "/api/v1/events", "{", nil, 400, "invalid_json", ""},
		{"POST", "/api/v1/events", `{"event":"a b","data":1}`, nil, 400, "invalid_event", ""},
		{"POST", "/api/v1/events", `{"event":"a","data":1,"more":2}`, nil, 400, "invalid_request", "more"},
		{"POST", "/api/v1/events", strings.Repeat(" ", 2<<20+1), nil, 413, "payload_too_large", ""},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		status, header, body := a.request(t, c.method, c.path, c.body, change)
		var refused api.Error
		if err := json.Unmarshal([]byte(body), &refused); err != nil {
			t.Errorf("%s %s: %q: %v", c.method, c.path, body, err)
			continue
		}
		if status != c.status || refused.Code != c.code || refused.Message == "" || header.Get("Content-Type") != "application/json" ||
			!strings.HasPrefix(string(refused.RequestID), webhook.RejectionPrefix) {
			t.Errorf("%s %s: got %d %s %s, want %d %s", c.method, c.path, status, header, body, c.status, c.code)
		}
		if c.field != "" && refused.Fields[c.field] == "" || c.field == "" && len(refused.Fields) > 0 {
			t.Errorf("%s %s: fields %v, want %q", c.method, c.path, refused.Fields, c.field)
		}
		if allow := header.Get("Allow"); (status == 405) != (allow != "") {
			t.Errorf("%s %s: %d with Allow %q", c.method, c.path, status, allow)
		}
	}
}

func TestBodyOfTheLargestSizeIsTaken(t *testing.T) {
	a := start(t)
	body := `{"event":"a","data":"`
	body += strings.Repeat("x", 2<<20-len(body)-2) + `"}`
	if status, _, answer := a.request(t, "POST", "/api/v1/events", body); status != 202 {
		t.Errorf("%d bytes: %d %s", len(body), status, answer)
	}
}

func TestStoppingApplianceSaysSo(t *testing.T) {
	a := start(t)
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	status, _, body := a.request(t, "POST", "/api/v1/events", `{"event":"a","data":1}`)
	if status != 503 || !strings.Contains(body, `"shutting_down"`) {
		t.Errorf("got %d %s", status, body)
	}
}

func TestReadinessGivesTheReason(t *testing.T) {
	a := start(t)
	if err := a.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := a.Ready(t.Context()); err != nil || got.Status != "ready" {
		t.Errorf("got %+v, %v", got, err)
	}
	a.ready = errors.New("the disk is gone")
	var refused *client.Error
	if _, err := a.Ready(t.Context()); !errors.As(err, &refused) || refused.Status != 503 || refused.Code != "not_ready" || !strings.Contains(refused.Message, "the disk is gone") {
		t.Errorf("got %v", err)
	}
	if err := a.Alive(t.Context()); err != nil {
		t.Errorf("a process that is not ready is alive: %v", err)
	}
}
