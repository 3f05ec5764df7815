package suites

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// limitedConfig has a source that each address may use once a second.
func limitedConfig() string {
	return fmt.Sprintf(`[inbound]
secret = %[1]q
trusted_proxies = [%[2]q]
[[sources]]
name = "limited"
scheme = "agent"
secrets = [%[1]q]
rate_limit = 1
`, senderSecret.Reveal(), proxy)
}

// TestTooManyOfOneAddressDisturbNobodyElse: a network of IPv6 counts as one
// address.
func TestTooManyOfOneAddressDisturbNobodyElse(t *testing.T) {
	const sent = 20
	a := start(t, limitedConfig(), nil)
	number := 0
	from := func(address string, lines ...string) answer {
		t.Helper()
		number++
		body := event(0)
		m := message{line: to("limited"), header: append(lines, signed(body), "Idempotency-Key: "+strconv.Itoa(number)), body: body}
		got, err := exchange(t.Context(), address, a.inbound, m.bytes())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	flood := func(name string, send func(n int) answer) {
		t.Helper()
		began, accepted, refused := time.Now(), 0, 0
		for n := range sent {
			switch got := send(n); got.status {
			case http.StatusOK:
				accepted++
			case http.StatusTooManyRequests:
				refused++
				checkShape(t, got)
				if seconds, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || seconds < 1 || got.Error != "rate_limited" {
					t.Errorf("%s: %s, Retry-After %q", name, got.Error, got.header.Get("Retry-After"))
				}
				row := abuse{from: "127.0.2.1", status: got.status, code: got.Error, check: webhook.CheckRate, source: "limited"}
				if name == "one network" {
					row.from, row.client = proxy, "2001:db8:0:1::"+strconv.Itoa(n+1)
				}
				if refused == 1 {
					row.checkKept(t, a.admin, got)
				}
			default:
				t.Fatalf("%s: %d %s", name, got.status, got.Message)
			}
		}
		// A burst may be let through beside what the time allows.
		if most := int(time.Since(began).Seconds()) + 5; accepted == 0 || accepted > most {
			t.Errorf("%s: %d were accepted and %d refused", name, accepted, refused)
		}
	}
	flood("one address", func(int) answer { return from("127.0.2.1") })
	if got := from("127.0.2.2"); got.status != http.StatusOK {
		t.Errorf("another address: %d %s", got.status, got.Error)
	}
	body := event(0)
	if got, err := exchange(t.Context(), "127.0.2.1", a.inbound, message{body: body, header: []string{signed(body)}}.bytes()); err != nil || got.status != http.StatusOK {
		t.Errorf("another source: %d %s %v", got.status, got.Error, err)
	}
	flood("one network", func(n int) answer { return from(proxy, fmt.Sprintf("X-Forwarded-For: 2001:db8:0:1::%d", n+1)) })
	if got := from(proxy, "X-Forwarded-For: 2001:db8:0:2::1"); got.status != http.StatusOK {
		t.Errorf("another network: %d %s", got.status, got.Error)
	}
}

// TestSlowBodyIsGivenUp has a sender that does not come to an end.
func TestSlowBodyIsGivenUp(t *testing.T) {
	t.Parallel() // with the next one, since both wait
	a := start(t, limitedConfig(), nil)
	slow := message{bare: true, header: head(asJSON, "Content-Length: 100"), body: `{"event":`}
	began := time.Now()
	got, err := exchange(t.Context(), "127.0.3.1", a.inbound, slow.bytes())
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); got.status != http.StatusRequestTimeout || got.Error != "request_timeout" || took > 15*time.Second || !got.closes {
		t.Errorf("%d %s after %s, the connection closed %v", got.status, got.Error, took, got.closes)
	}
	checkShape(t, got)
	abuse{from: "127.0.3.1", status: got.status, code: got.Error, check: webhook.CheckSize}.checkKept(t, a.admin, got)
}

// TestSlowHeaderIsGivenUp has a sender whose request never begins.
func TestSlowHeaderIsGivenUp(t *testing.T) {
	t.Parallel()
	a := start(t, limitedConfig(), nil)
	c, err := dial(t.Context(), "", a.inbound)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("POST " + inboundPath + " HTTP/1.1\r\nHost: x\r\nX-")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	// It is closed, with or without an answer that nobody will read.
	_, err = readAnswer(bufio.NewReader(c), http.MethodPost)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a header without an end is waited for %s (%v)", took, err)
	}
}

// TestLargeBodiesThatComeSlowlyHoldBoundedMemory opens more large bodies than
// there is memory for, and ends none. What is small is taken meanwhile, what is
// large is told to come later, and taken when the others are gone.
func TestLargeBodiesThatComeSlowlyHoldBoundedMemory(t *testing.T) {
	const size, most = 1 << 20, 200
	a := start(t, limitedConfig(), nil)
	large := event(0)
	large = strings.Replace(large, `"n":1`, `"pad":"`+strings.Repeat("x", size-len(large)-100)+`"`, 1)
	m := message{body: large, header: []string{signed(large)}}
	request := m.bytes()
	var open []net.Conn
	var got answer
	for len(open) == 0 || got.status == http.StatusOK && len(open) < most {
		// How many of them hold as much as there is depends on the order in which
		// they come, so that it is found by trying.
		for range 20 {
			c, err := dial(t.Context(), "", a.inbound)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			// One that is refused already is not read to its end.
			_, _ = c.Write(request[:len(request)-1])
			open = append(open, c)
		}
		var err error
		if got, err = exchange(t.Context(), "127.0.3.3", a.inbound, request); err != nil {
			t.Fatal(err)
		}
	}
	small := event(0)
	if got := a.post(t, message{body: small, header: []string{signed(small)}}); got.Status != "received" {
		t.Errorf("a small one: %d %s", got.status, got.Error)
	}
	if got.status != http.StatusServiceUnavailable || got.Error != "overloaded" || got.header.Get("Retry-After") == "" {
		t.Errorf("a large one: %d %s%s, Retry-After %q", got.status, got.Status, got.Error, got.header.Get("Retry-After"))
	}
	checkShape(t, got)
	abuse{from: "127.0.3.3", status: got.status, code: got.Error, check: webhook.CheckSize}.checkKept(t, a.admin, got)
	for _, c := range open {
		c.Close()
	}
	until(t, "room for the large one", func() bool { return a.post(t, m).status == http.StatusOK })
}

// A failing store is the engine with an error, or a panic, in its way.
type failing struct {
	webhook.Store
	next atomic.Pointer[error]
}

var errPanic = errors.New("to panic")

func (f *failing) Accept(ctx context.Context, accepts []webhook.Accept) ([]webhook.Accepted, error) {
	switch err := f.next.Swap(nil); {
	case err == nil:
		return f.Store.Accept(ctx, accepts)
	case *err == errPanic:
		panic(errPanic)
	default:
		return nil, fmt.Errorf("accept 1 event: %w", *err)
	}
}

// TestFailureBurnsNoKey: the sender's retry of an event that was not stored is
// not taken for a repeat, whatever the failure was.
func TestFailureBurnsNoKey(t *testing.T) {
	store := &failing{}
	a := start(t, limitedConfig(), func(s webhook.Store) webhook.Store { store.Store = s; return store })
	for n, row := range []struct {
		err    error
		status int
		code   string
		later  bool
	}{
		{errors.New("disk I/O error at /var/lib"), 500, "internal_error", false},
		{errPanic, 500, "internal_error", false},
		{webhook.ErrStorageFull, 507, "storage_full", true},
		{webhook.ErrOverloaded, 503, "overloaded", true},
	} {
		body := strings.Replace(event(0), `"n":1`, fmt.Sprintf(`"n":"failure-%d"`, n), 1)
		m := message{body: body, header: []string{signed(body), "Idempotency-Key: failure-" + strconv.Itoa(n)}}
		from := fmt.Sprintf("127.0.4.%d", n+1)
		store.next.Store(&row.err)
		got, err := exchange(t.Context(), from, a.inbound, m.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got.status != row.status || got.Error != row.code || got.header.Get("Retry-After") != "" != row.later || strings.Contains(got.Message, "/var") {
			t.Errorf("%v: %d %s %s, Retry-After %q", row.err, got.status, got.Error, got.Message, got.header.Get("Retry-After"))
		}
		checkShape(t, got)
		abuse{from: from, status: row.status, code: row.code, check: webhook.CheckStorage}.checkKept(t, a.admin, got)
		if got := a.post(t, m); got.Status != "received" {
			t.Errorf("%v: the retry is %s %s", row.err, got.Status, got.Error)
		}
		if got := a.post(t, m); got.Status != "duplicate" {
			t.Errorf("%v: the repeat is %s %s", row.err, got.Status, got.Error)
		}
	}
}

// TestFullFileTakesEventsAgainWhenWhatWaitsIsDelivered fills the file with what
// waits for a subscriber that is paused, and resumes that.
func TestFullFileTakesEventsAgainWhenWhatWaitsIsDelivered(t *testing.T) {
	a := start(t, limitedConfig()+"[storage]\nmax_size = \"4MiB\"\n", nil)
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
	t.Cleanup(server.Close)
	subscriber, err := a.admin.AddSubscriber(t.Context(), api.SubscriberChange{URL: &server.URL, Events: &[]webhook.Pattern{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.admin.PauseSubscriber(t.Context(), subscriber.ID, "for the test"); err != nil {
		t.Fatal(err)
	}
	var refused message
	var got answer
	accepted := int64(0)
	until(t, "the file to be full", func() bool {
		body := strings.Replace(event(0), `"n":1`, fmt.Sprintf(`"n":%d,"pad":%q`, accepted, strings.Repeat("x", 16<<10)), 1)
		refused = message{body: body, header: []string{signed(body)}}
		got = a.post(t, refused)
		if got.status == http.StatusOK {
			accepted++
		}
		return got.status != http.StatusOK
	})
	if got.status != http.StatusInsufficientStorage || got.Error != "storage_full" || got.header.Get("Retry-After") == "" {
		t.Errorf("after %d events: %d %s, Retry-After %q", accepted, got.status, got.Error, got.header.Get("Retry-After"))
	}
	checkShape(t, got)
	kept, err := a.admin.Rejection(t.Context(), got.RequestID)
	if err != nil || kept.Check != webhook.CheckStorage {
		t.Errorf("kept as %+v, %v", kept, err)
	}
	until(t, "it to say that it cannot store events", func() bool {
		_, err := a.admin.Ready(t.Context())
		return err != nil
	})
	if _, err := a.admin.ResumeSubscriber(t.Context(), subscriber.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "all that waited to be delivered", func() bool { return arrived.Load() == accepted })
	until(t, "room", func() bool { return a.post(t, refused).Status == "received" })
	until(t, "what was refused to be delivered", func() bool { return arrived.Load() == accepted+1 })
}
