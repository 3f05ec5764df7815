package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

const secret = webhook.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

// receive serves a receiver and returns its URL and the arrivals, each put
// there before it is answered.
func receive(t *testing.T, options sandbox.ReceiverOptions) (url string, arrivals chan sandbox.Arrival) {
	t.Helper()
	if err := options.Faults.Validate(); err != nil {
		t.Fatal(err)
	}
	arrivals = make(chan sandbox.Arrival, 1000)
	options.OnArrival = func(a sandbox.Arrival) { arrivals <- a }
	server := httptest.NewServer(sandbox.NewReceiver(options))
	t.Cleanup(server.Close)
	return server.URL, arrivals
}

// delivery is a request as the appliance makes it.
func delivery(t *testing.T, url, webhookID string, attempt int, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Agent-Event", "order.created")
	req.Header.Set("X-Agent-Delivery", "dlv_"+webhookID)
	req.Header.Set("X-Agent-Attempt", strconv.Itoa(attempt))
	req.Header.Set("X-Agent-Signature", signature.SignAgent(secret, []byte(body)))
	req.Header.Set("webhook-id", webhookID)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now, 10))
	req.Header.Set("webhook-signature", signature.SignStandard(webhookID, now, []byte(body), secret))
	return req
}

func do(t *testing.T, req *http.Request) (status int, header http.Header, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestReceiverTellsWhatArrived(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{Secrets: []webhook.Secret{secret}})
	const body = `{"event":"order.created","timestamp":1,"data":{}}`
	if status, _, _ := do(t, delivery(t, url+"/hooks", "evt_1", 3, body)); status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	a := <-arrivals
	if a.Path != "/hooks" || a.Event != "order.created" || a.Delivery != "dlv_evt_1" || a.WebhookID != "evt_1" ||
		a.Attempt != 3 || a.Seen != 0 || a.Status != http.StatusOK || a.Failed || string(a.Body) != body || a.Time.IsZero() {
		t.Errorf("got %+v", a)
	}
	if !a.Verdict.OK() || a.Verdict.String() != "verified" {
		t.Errorf("verdict: %v", a.Verdict)
	}
}

func TestReceiverWithoutSecretChecksNothing(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{})
	req := delivery(t, url, "evt_1", 1, "{}")
	req.Header.Set("X-Agent-Signature", "nonsense")
	if status, _, _ := do(t, req); status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	if a := <-arrivals; a.Verdict.Checked || a.Verdict.OK() || a.Verdict.String() != "not checked" {
		t.Errorf("verdict: %+v", a.Verdict)
	}
}

func TestReceiverAnswers401ToASignatureThatIsNotGood(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{Secrets: []webhook.Secret{secret}})
	for _, c := range []struct {
		name   string
		change func(http.Header)
		want   error
	}{
		{"none", func(h http.Header) { h.Del("X-Agent-Signature"); h.Del("Webhook-Signature") }, sandbox.ErrNoSignature},
		{"agent only", func(h http.Header) { h.Del("Webhook-Signature") }, nil},
		{"standard only", func(h http.Header) { h.Del("X-Agent-Signature") }, nil},
		{"agent wrong", func(h http.Header) { h.Set("X-Agent-Signature", signature.SignAgent("other", nil)) }, signature.ErrMismatch},
		{"agent malformed", func(h http.Header) { h.Set("X-Agent-Signature", "t=1,v1=0") }, signature.ErrMalformed},
		{"agent twice", func(h http.Header) { h.Add("X-Agent-Signature", h.Get("X-Agent-Signature")) }, signature.ErrMalformed},
		{"stripe", func(h http.Header) {
			h.Set("X-Agent-Signature", signature.SignStripe(secret, time.Now().Unix(), []byte("{}")))
		}, nil},
		{"stripe of another body", func(h http.Header) {
			h.Set("X-Agent-Signature", signature.SignStripe(secret, time.Now().Unix(), []byte("[]")))
		}, signature.ErrMismatch},
		{"stripe stale", func(h http.Header) {
			h.Set("X-Agent-Signature", signature.SignStripe(secret, time.Now().Add(-10*time.Minute).Unix(), []byte("{}")))
		}, sandbox.ErrStale},
		{"standard for another id", func(h http.Header) { h.Set("Webhook-Id", "evt_2") }, signature.ErrMismatch},
		{"standard without id", func(h http.Header) { h.Del("Webhook-Id") }, signature.ErrMalformed},
		{"standard without timestamp", func(h http.Header) { h.Del("Webhook-Timestamp") }, signature.ErrMalformed},
		{"standard stale", func(h http.Header) {
			old := time.Now().Add(-10 * time.Minute).Unix()
			h.Set("Webhook-Timestamp", strconv.FormatInt(old, 10))
			h.Set("Webhook-Signature", signature.SignStandard("evt_1", old, []byte("{}"), secret))
		}, sandbox.ErrStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := delivery(t, url, "evt_1", 1, "{}")
			c.change(req.Header)
			status, _, body := do(t, req)
			a := <-arrivals
			if c.want != nil && !strings.Contains(body, c.want.Error()) {
				t.Errorf("the answer does not say why: %q", body)
			}
			if !errors.Is(a.Verdict.Err, c.want) || a.Verdict.OK() != (c.want == nil) {
				t.Errorf("verdict %v, want %v", a.Verdict, c.want)
			}
			want := http.StatusUnauthorized
			if c.want == nil {
				want = http.StatusOK
			}
			if status != want || a.Status != want {
				t.Errorf("answered %d, told %d, want %d", status, a.Status, want)
			}
		})
	}
}

func TestReceiverTakesAnyOfItsSecrets(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{Secrets: []webhook.Secret{"older", secret}})
	do(t, delivery(t, url, "evt_1", 1, "{}"))
	if a := <-arrivals; !a.Verdict.OK() {
		t.Errorf("verdict: %v", a.Verdict)
	}
}

func TestReceiverFailsTheFirstTriesOfEachEvent(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{
		Faults: sandbox.Faults{FailFirst: 2, Status: 503, RetryAfter: 1500 * time.Millisecond},
	})
	for _, c := range []struct {
		path, id string
		want     int
		seen     int
	}{
		{"/a", "evt_1", 503, 0},
		{"/a", "evt_2", 503, 0},
		{"/a", "evt_1", 503, 1},
		{"/a", "evt_1", 200, 2},
		{"/b", "evt_1", 503, 0}, // another path is another subscriber
		{"/a", "evt_2", 503, 1},
		{"/a", "evt_2", 200, 2},
	} {
		status, header, _ := do(t, delivery(t, url+c.path, c.id, 1, "{}"))
		a := <-arrivals
		if status != c.want || a.Status != c.want || a.Seen != c.seen || a.Failed != (c.want == 503) {
			t.Errorf("%s %s: answered %d, told %+v, want %d, seen %d", c.path, c.id, status, a, c.want, c.seen)
		}
		wantRetry := map[int]string{503: "2"}[c.want]
		if got := header.Get("Retry-After"); got != wantRetry {
			t.Errorf("%s %s: Retry-After %q, want %q", c.path, c.id, got, wantRetry)
		}
	}
}

func TestReceiverFailsAShareThatItsSeedDecides(t *testing.T) {
	outcomes := func(seed uint64) (statuses []byte, failures int) {
		url, _ := receive(t, sandbox.ReceiverOptions{Faults: sandbox.Faults{FailRate: 0.3}, Seed: seed})
		for i := range 200 {
			status, _, _ := do(t, delivery(t, url, "evt_"+strconv.Itoa(i), 1, "{}"))
			statuses = append(statuses, byte(status/100))
			if status == http.StatusInternalServerError {
				failures++
			}
		}
		return statuses, failures
	}
	first, failures := outcomes(1)
	if failures < 30 || failures > 90 {
		t.Errorf("%d of 200 failed, want about 60", failures)
	}
	if again, _ := outcomes(1); !bytes.Equal(first, again) {
		t.Error("the same seed picked other arrivals")
	}
	if other, _ := outcomes(2); bytes.Equal(first, other) {
		t.Error("another seed picked the same arrivals")
	}
}

func TestReceiverFailsEverythingWhenOnlyTheWayToFailIsGiven(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{Faults: sandbox.Faults{Status: 204}})
	for attempt := range 3 {
		status, _, body := do(t, delivery(t, url, "evt_1", attempt+1, "{}"))
		if a := <-arrivals; status != 204 || body != "" || !a.Failed {
			t.Errorf("try %d: answered %d %q, told %+v", attempt+1, status, body, a)
		}
	}
}

func TestReceiverResetsTheConnection(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{Faults: sandbox.Faults{Reset: true}})
	_, err := http.DefaultClient.Do(delivery(t, url, "evt_1", 1, "{}"))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if a := <-arrivals; a.Status != 0 || !a.Failed {
		t.Errorf("told %+v", a)
	}
}

func TestReceiverHangsUntilTheClientGoesAway(t *testing.T) {
	returned := make(chan any, 1)
	arrived := make(chan struct{})
	receiver := sandbox.NewReceiver(sandbox.ReceiverOptions{
		Faults:    sandbox.Faults{Hang: true},
		OnArrival: func(sandbox.Arrival) { close(arrived) },
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			returned <- recover()
			panic(http.ErrAbortHandler)
		}()
		receiver.ServeHTTP(w, req)
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := http.DefaultClient.Do(delivery(t, server.URL, "evt_1", 1, "{}").WithContext(ctx))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := <-returned; got != http.ErrAbortHandler {
		t.Errorf("the handler ended with %v, and so with an answer", got)
	}
}

func TestReceiverDelaysItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receiver := sandbox.NewReceiver(sandbox.ReceiverOptions{Faults: sandbox.Faults{Delay: 2 * time.Second}})
		started := time.Now()
		w := httptest.NewRecorder()
		receiver.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
		if took := time.Since(started); took != 2*time.Second || w.Code != http.StatusOK {
			t.Errorf("answered %d after %s", w.Code, took)
		}
	})
}

func TestReceiverEndsItsDelayWhenTheClientGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receiver := sandbox.NewReceiver(sandbox.ReceiverOptions{Faults: sandbox.Faults{Delay: time.Hour}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		started := time.Now()
		func() {
			defer func() {
				if got := recover(); got != http.ErrAbortHandler {
					t.Errorf("the handler ended with %v", got)
				}
			}()
			receiver.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil))
		}()
		if took := time.Since(started); took != time.Second {
			t.Errorf("ended after %s", took)
		}
	})
}

func TestReceiverAnswersWithABodyOfTheSizeAsked(t *testing.T) {
	url, _ := receive(t, sandbox.ReceiverOptions{Faults: sandbox.Faults{BodySize: 100_001}})
	if status, _, body := do(t, delivery(t, url, "evt_1", 1, "{}")); status != 200 || len(body) != 100_001 {
		t.Errorf("answered %d with %d bytes", status, len(body))
	}
}

func TestReceiverTakesItsTimeForABody(t *testing.T) {
	for _, size := range []int64{0, 3, 1000, 1234} {
		synctest.Test(t, func(t *testing.T) {
			receiver := sandbox.NewReceiver(sandbox.ReceiverOptions{Faults: sandbox.Faults{BodySize: size, BodyTime: 9 * time.Second}})
			started := time.Now()
			w := httptest.NewRecorder()
			receiver.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
			if size == 0 {
				size = int64(len("OK\n"))
			}
			if took := time.Since(started); took < 8*time.Second || took > 9*time.Second || int64(w.Body.Len()) != size || w.Body.String()[:3] != "OK\n" {
				t.Errorf("%d bytes after %s, want %d", w.Body.Len(), took, size)
			}
		})
	}
}

func TestReceiverRedirectsAndPutsOff(t *testing.T) {
	url, _ := receive(t, sandbox.ReceiverOptions{Faults: sandbox.Faults{
		Status: 307, Location: "/elsewhere", RetryAfter: time.Hour, RetryAfterDate: true, HeaderSize: 5000,
	}})
	req := delivery(t, url, "evt_1", 1, "{}")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	at, err := http.ParseTime(resp.Header.Get("Retry-After"))
	if wait := time.Until(at); err != nil || wait < 59*time.Minute || wait > 61*time.Minute {
		t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
	}
	if resp.StatusCode != 307 || resp.Header.Get("Location") != "/elsewhere" || len(resp.Header.Get("X-Padding")) != 5000 {
		t.Errorf("answered %d with %.200v", resp.StatusCode, resp.Header)
	}
}

func TestReceiverAnswersWithGarbage(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{Faults: sandbox.Faults{Garbage: true}})
	if _, err := http.DefaultClient.Do(delivery(t, url, "evt_1", 1, "{}")); err == nil || !strings.Contains(err.Error(), "malformed HTTP") {
		t.Errorf("got %v", err)
	}
	if a := <-arrivals; a.Status != 0 || !a.Failed {
		t.Errorf("told %+v", a)
	}
}

func TestReceiverTakesNothingButBoundedPosts(t *testing.T) {
	url, arrivals := receive(t, sandbox.ReceiverOptions{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, header, _ := do(t, req); status != http.StatusMethodNotAllowed || header.Get("Allow") != "POST" {
		t.Errorf("GET is answered %d", status)
	}

	w := httptest.NewRecorder()
	endless := httptest.NewRequest(http.MethodPost, "/", io.LimitReader(zeros{}, 64<<20))
	sandbox.NewReceiver(sandbox.ReceiverOptions{OnArrival: func(a sandbox.Arrival) { arrivals <- a }}).ServeHTTP(w, endless)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 64 MiB is answered %d", w.Code)
	}
	if len(arrivals) != 0 {
		t.Errorf("%d arrivals", len(arrivals))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestFaultsThatContradictThemselvesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults sandbox.Faults
		ok     bool
	}{
		{"none", sandbox.Faults{}, true},
		{"all that go together", sandbox.Faults{FailFirst: 1, FailRate: 0.5, Status: 429, RetryAfter: time.Second, Delay: time.Second, BodySize: 1}, true},
		{"reset of some", sandbox.Faults{FailFirst: 1, Reset: true, Delay: time.Second}, true},
		{"Retry-After with the default status", sandbox.Faults{FailFirst: 1, RetryAfter: time.Second}, true},
		{"redirect", sandbox.Faults{Status: 302, Location: "/x"}, true},
		{"garbage", sandbox.Faults{Garbage: true, HeaderSize: 1, BodyTime: 1}, true},
		{"date of Retry-After", sandbox.Faults{Status: 503, RetryAfter: time.Second, RetryAfterDate: true}, true},
		{"Location without a redirect", sandbox.Faults{Status: 500, Location: "/x"}, false},
		{"Location without a status", sandbox.Faults{FailFirst: 1, Location: "/x"}, false},
		{"date of no Retry-After", sandbox.Faults{Status: 503, RetryAfterDate: true}, false},
		{"garbage and hang", sandbox.Faults{Garbage: true, Hang: true}, false},
		{"garbage with a status", sandbox.Faults{Garbage: true, Status: 500}, false},
		{"negative header", sandbox.Faults{HeaderSize: -1}, false},
		{"negative time of the body", sandbox.Faults{BodyTime: -1}, false},
		{"rate above one", sandbox.Faults{FailRate: 1.1}, false},
		{"negative tries", sandbox.Faults{FailFirst: -1}, false},
		{"informational status", sandbox.Faults{Status: 103}, false},
		{"status of four digits", sandbox.Faults{Status: 1000}, false},
		{"reset and hang", sandbox.Faults{Reset: true, Hang: true}, false},
		{"reset with a status", sandbox.Faults{Reset: true, Status: 500}, false},
		{"Retry-After of nothing", sandbox.Faults{RetryAfter: time.Second}, false},
		{"negative delay", sandbox.Faults{Delay: -1}, false},
		{"negative size", sandbox.Faults{BodySize: -1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.faults.Validate(); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
