package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// post sends one event to an endpoint that takes everything, and returns the
// request that reached it.
func post(t *testing.T, e sandbox.Event, options ...sandbox.Option) (header http.Header, body []byte) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		header = req.Header
		body, _ = io.ReadAll(req.Body)
	}))
	defer server.Close()
	a, err := sandbox.Send(t.Context(), server.Client(), server.URL, secret, e, options...)
	if err != nil || !a.Accepted() {
		t.Fatalf("got %+v, %v", a, err)
	}
	return header, body
}

func TestSendPostsTheEventSigned(t *testing.T) {
	header, body := post(t, sandbox.Event{Type: "order.created", Timestamp: 1731602712, ID: "A \"1\"", Data: []byte(`{ "n": 1.0 }`)},
		sandbox.WithIdempotencyKey("key-1"))
	const want = `{"event":"order.created","timestamp":1731602712,"id":"A \"1\"","data":{ "n": 1.0 }}`
	if string(body) != want {
		t.Errorf("body %s, want %s", body, want)
	}
	if err := signature.VerifyAgent(header.Get("X-Agent-Signature"), body, secret); err != nil {
		t.Error(err)
	}
	if header.Get("Content-Type") != "application/json" || header.Get("Idempotency-Key") != "key-1" {
		t.Errorf("header %v", header)
	}
}

func TestSendWithoutDataOrIDSendsAnEmptyObjectAndNoID(t *testing.T) {
	if _, body := post(t, sandbox.Event{Type: "a", Timestamp: 5}); string(body) != `{"event":"a","timestamp":5,"data":{}}` {
		t.Errorf("body %s", body)
	}
}

func TestSendStampsAnEventWithTheSendersClock(t *testing.T) {
	for _, skew := range []time.Duration{0, -time.Hour, time.Hour} {
		before := time.Now().Add(skew).Unix()
		_, body := post(t, sandbox.Event{Type: "a"}, sandbox.Skewed(skew))
		after := time.Now().Add(skew).Unix()
		var got struct{ Timestamp int64 }
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if got.Timestamp < before || got.Timestamp > after {
			t.Errorf("skew %s: timestamp %d, want %d to %d", skew, got.Timestamp, before, after)
		}
	}
}

func TestSendSignsInTheWayAsked(t *testing.T) {
	e := sandbox.Event{Type: "order.created", Timestamp: 1731602712, Data: []byte(`{"order_id":"A12345"}`)}
	_, plain := post(t, e)

	t.Run("body", func(t *testing.T) {
		header, body := post(t, e, sandbox.Signed(sandbox.SignBody))
		if header.Values("X-Agent-Signature") != nil {
			t.Error("the header is there too")
		}
		want := string(plain[:len(plain)-1]) + `,"signature":"` + signature.SignAgent(secret, plain) + `"}`
		if string(body) != want {
			t.Errorf("body %s, want %s", body, want)
		}
	})
	t.Run("none", func(t *testing.T) {
		header, body := post(t, e, sandbox.Signed(sandbox.SignNone))
		if header.Values("X-Agent-Signature") != nil || !bytes.Equal(body, plain) {
			t.Errorf("header %v, body %s", header, body)
		}
	})
	t.Run("wrong", func(t *testing.T) {
		header, body := post(t, e, sandbox.Signed(sandbox.SignWrong))
		if err := signature.VerifyAgent(header.Get("X-Agent-Signature"), body, secret); err != signature.ErrMismatch {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		if _, err := sandbox.Send(t.Context(), http.DefaultClient, "http://127.0.0.1:1", secret, e, sandbox.Signed("sideways")); err == nil || !strings.Contains(err.Error(), "sideways") {
			t.Errorf("got %v", err)
		}
	})
}

func TestSendReadsTheAnswer(t *testing.T) {
	for _, c := range []struct {
		name                string
		status              int
		body                string
		accepted, duplicate bool
		want                sandbox.Answer
	}{
		{"received", 200, `{"status":"received","id":"evt_1","event":"order.created","received_at":1731603333}`, true, false,
			sandbox.Answer{Status: "received", ID: "evt_1", Event: "order.created", ReceivedAt: 1731603333}},
		{"duplicate", 200, `{"status":"duplicate","id":"evt_1","event":"order.created","received_at":1731603333}`, true, true,
			sandbox.Answer{Status: "duplicate", ID: "evt_1", Event: "order.created", ReceivedAt: 1731603333}},
		{"refused", 401, `{"error":"invalid_signature","message":"no","request_id":"rej_1"}`, false, false,
			sandbox.Answer{Error: "invalid_signature", Message: "no", RequestID: "rej_1"}},
		{"not JSON", 502, `<html>`, false, false, sandbox.Answer{}},
		{"JSON of another kind", 404, `{"status":404}`, false, false, sandbox.Answer{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer server.Close()
			got, err := sandbox.Send(t.Context(), server.Client(), server.URL, secret, sandbox.Event{Type: "a"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Duration <= 0 || got.Accepted() != c.accepted || got.Duplicate() != c.duplicate {
				t.Errorf("got %+v", got)
			}
			c.want.StatusCode, c.want.Body, c.want.Duration = c.status, []byte(c.body), got.Duration
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSendFailsWithoutAnAnswer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if a, err := sandbox.Send(t.Context(), http.DefaultClient, server.URL, secret, sandbox.Event{Type: "a"}); err == nil {
		t.Errorf("got %+v", a)
	}
}

// roundTrip answers requests without a network, so that traffic can run in a
// bubble of its own time.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestTrafficSendsAtItsRateUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		traffic := sandbox.Traffic{
			URL: "http://appliance.test/webhook/inbound", Secret: secret, Rate: 10, Seed: 1,
			Client: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				body, _ := io.ReadAll(req.Body)
				if err := signature.VerifyAgent(req.Header.Get("X-Agent-Signature"), body, secret); err != nil {
					t.Error(err)
				}
				switch sent.Add(1) % 10 {
				case 1:
					return answer(200, `{"status":"duplicate"}`), nil
				case 2:
					return answer(503, `{"error":"overloaded"}`), nil
				case 3:
					return nil, io.ErrUnexpectedEOF
				}
				return answer(200, `{"status":"received"}`), nil
			})},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 9950*time.Millisecond)
		defer cancel()
		var told atomic.Int64
		traffic.OnAnswer = func(sandbox.Event, sandbox.Answer, error) { told.Add(1) }
		got := traffic.Run(ctx)
		want := sandbox.Counts{Sent: 100, Received: 70, Duplicate: 10, Refused: 10, Failed: 10}
		if got != want || told.Load() != 100 {
			t.Errorf("got %+v and %d answers, want %+v", got, told.Load(), want)
		}
	})
}

func TestTrafficDoesNotPileUpBehindASlowEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		traffic := sandbox.Traffic{
			URL: "http://appliance.test/", Rate: 100, Connections: 3,
			Client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second) // the bubble's time, which costs none
				now.Add(-1)
				return answer(200, `{"status":"received"}`), nil
			})},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		got := traffic.Run(ctx)
		// The requests under way at the end are finished and counted.
		if most.Load() != 3 || got.Sent != got.Received || got.Sent < 15 || got.Sent > 18 || now.Load() != 0 {
			t.Errorf("%d in flight at most, %+v", most.Load(), got)
		}
	})
}

func TestSamplesAreValidAndDecidedByTheirSeed(t *testing.T) {
	first, again, other := sandbox.NewSamples(1), sandbox.NewSamples(1), sandbox.NewSamples(2)
	types, bodies := map[string]bool{}, map[string]bool{}
	differs := false
	for range 2000 {
		e := first.Next()
		if !webhook.ValidType(e.Type) || !json.Valid(e.Data) {
			t.Fatalf("%s %s", e.Type, e.Data)
		}
		types[e.Type] = true
		bodies[e.Type+string(e.Data)] = true
		if same := again.Next(); !reflect.DeepEqual(e, same) {
			t.Fatalf("%+v and %+v", e, same)
		}
		differs = differs || !reflect.DeepEqual(e, other.Next())
	}
	if len(types) != len(sandbox.SampleTypes()) {
		t.Errorf("only %v", types)
	}
	if len(bodies) != 2000 {
		t.Errorf("%d of 2000 samples repeat another", 2000-len(bodies))
	}
	if !differs {
		t.Error("another seed makes the same samples")
	}
}

func TestSamplesOfOtherTypesAreMadeToo(t *testing.T) {
	e := sandbox.NewSamples(1, "ship.moored").Next()
	if e.Type != "ship.moored" || !json.Valid(e.Data) {
		t.Errorf("got %+v", e)
	}
}
