package sender

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pintle/pintle/app/webhook"
)

// An authority is a token endpoint and a receiver at a time, without a network, so
// that a test can run on synthetic time. It gives the tokens token-1, token-2, …
type authority struct {
	// answer replaces the answer of the token endpoint, if it is not nil.
	answer func(r *http.Request, form url.Values) *http.Response
	// life is how long a token lasts, in seconds; zero: it does not say.
	life int
	// refuse has the receiver answer 401 to this token.
	refuse string

	mu       sync.Mutex
	asked    []url.Values
	basic    []string
	received []string // the headers Authorization
}

func (a *authority) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Host != "auth.test" {
		got := r.Header.Get("Authorization")
		a.received = append(a.received, got)
		if a.refuse != "" && got == "Bearer "+a.refuse {
			return reply(401, "no"), nil
		}
		return reply(200, "yes"), nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	a.asked = append(a.asked, form)
	a.basic = append(a.basic, r.Header.Get("Authorization"))
	if a.answer != nil {
		return a.answer(r, form), nil
	}
	return reply(200, a.token(len(a.asked))), nil
}

func (a *authority) token(n int) string {
	token := map[string]any{"access_token": fmt.Sprintf("token-%d", n), "token_type": "Bearer"}
	if a.life != 0 {
		token["expires_in"] = a.life
	}
	text, err := json.Marshal(token)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func reply(code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Status: fmt.Sprint(code), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

func client(change ...func(*webhook.Subscriber)) *webhook.Subscriber {
	s := &webhook.Subscriber{ID: "sub_1", URL: "https://receiver.test/", Secret: "s", OAuth2: webhook.OAuth2{
		TokenURL: "https://auth.test/token?tenant=hush", ClientID: "client", ClientSecret: "cl!ent hush",
	}}
	for _, f := range change {
		f(s)
	}
	return s
}

func TestTokenIsAskedForAsTheServerWants(t *testing.T) {
	a := &authority{}
	s := client(func(s *webhook.Subscriber) {
		s.OAuth2.Scopes, s.OAuth2.Audience = []string{"events:write", "other"}, "https://api.test"
	})
	got := send(t, Options{Transport: a}, s)
	if got.Attempt.Outcome != webhook.OK || len(a.received) != 1 || a.received[0] != "Bearer token-1" {
		t.Fatalf("the attempt is %+v, with %q", got.Attempt, a.received)
	}
	want := url.Values{"grant_type": {"client_credentials"}, "scope": {"events:write other"}, "audience": {"https://api.test"}}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("client:"+url.QueryEscape("cl!ent hush")))
	if a.asked[0].Encode() != want.Encode() || a.basic[0] != basic {
		t.Errorf("asked with %v and %s, want %v and %s", a.asked[0], a.basic[0], want, basic)
	}
	header := string(got.Attempt.RequestHeader)
	if !strings.Contains(header, "Authorization: ***\n") || strings.Contains(header, "token-1") {
		t.Errorf("the request's header is kept as %q", header)
	}
}

func TestTokenIsAskedForInTheBodyWhereTheHeaderIsRefused(t *testing.T) {
	a := &authority{}
	a.answer = func(r *http.Request, form url.Values) *http.Response {
		if form.Get("client_secret") != "cl!ent hush" {
			return reply(401, `{"error":"invalid_client"}`)
		}
		return reply(200, a.token(7))
	}
	sender := New(Options{Transport: a, Timeout: time.Second})
	for range 2 {
		if got := sender.Send(t.Context(), work(client())); got.Attempt.Outcome != webhook.OK {
			t.Fatalf("the attempt is %+v", got.Attempt)
		}
		sender.tokens.drop(client(), "token-7")
	}
	if len(a.asked) != 3 {
		t.Errorf("asked %d times, want 3: it is not remembered what the server wants", len(a.asked))
	}
}

func TestTokenServesUntilAMinuteBeforeItsEnd(t *testing.T) {
	for _, tt := range []struct {
		life       int
		last, next time.Duration
	}{
		{600, 539 * time.Second, 541 * time.Second},
		{60, 29 * time.Second, 31 * time.Second},
		{0, 58 * time.Minute, 60 * time.Minute},
		{1 << 40, 24 * time.Hour, 24856 * 24 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &authority{life: tt.life}
			sender := New(Options{Transport: a, Timeout: time.Second})
			started := time.Now()
			for i, want := range []struct {
				at    time.Duration
				asked int
			}{{0, 1}, {tt.last, 1}, {tt.next, 2}} {
				time.Sleep(want.at - time.Since(started))
				if got := sender.Send(t.Context(), work(client())); got.Attempt.Outcome != webhook.OK || len(a.asked) != want.asked {
					t.Errorf("life %d, attempt %d: asked %d times, want %d; %+v", tt.life, i, len(a.asked), want.asked, got.Attempt)
				}
			}
		})
	}
}

func TestTokenServesToItsEndWhereNoOtherIsGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{life: 600}
		sender := New(Options{Transport: a, Timeout: time.Second})
		sender.Send(t.Context(), work(client()))
		a.answer = func(*http.Request, url.Values) *http.Response { return reply(503, "") }
		time.Sleep(570 * time.Second)
		if got := sender.Send(t.Context(), work(client())); got.Attempt.Outcome != webhook.OK || len(a.asked) == 1 {
			t.Errorf("a token that has half a minute left: %+v", got.Attempt)
		}
		time.Sleep(31 * time.Second)
		if got := sender.Send(t.Context(), work(client())); got.Attempt.Outcome != webhook.Connect {
			t.Errorf("a token that has ended: %+v", got.Attempt)
		}
	})
}

func TestRefusedTokenIsReplaced(t *testing.T) {
	a := &authority{life: 3600, refuse: "token-1"}
	sender := New(Options{Transport: a, Timeout: time.Second})
	for i, want := range []int{401, 200, 200} {
		if got := sender.Send(t.Context(), work(client())); got.Attempt.Code != want {
			t.Errorf("attempt %d: %+v, want %d", i, got.Attempt, want)
		}
	}
	if len(a.asked) != 2 {
		t.Errorf("asked %d times, want 2", len(a.asked))
	}
}

func TestTokenIsOfOneSubscriberAndItsTerms(t *testing.T) {
	a := &authority{life: 3600}
	sender := New(Options{Transport: a, Timeout: time.Second})
	for _, s := range []*webhook.Subscriber{
		client(), client(), client(func(s *webhook.Subscriber) { s.ID = "sub_2" }),
		client(func(s *webhook.Subscriber) { s.OAuth2.ClientSecret = "other" }),
		client(func(s *webhook.Subscriber) { s.OAuth2.Scopes = []string{"x"} }),
		client(func(s *webhook.Subscriber) { s.OAuth2.Audience = "x" }),
	} {
		sender.Send(t.Context(), work(s))
	}
	if want := "[Bearer token-1 Bearer token-1 Bearer token-2 Bearer token-3 Bearer token-4 Bearer token-5]"; fmt.Sprint(a.received) != want {
		t.Errorf("received %v, want %s", a.received, want)
	}
}

func TestOnlyOneAsksForATokenAtATime(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := &authority{life: 3600}
			slow := roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "auth.test" {
					time.Sleep(time.Second)
				}
				return a.RoundTrip(r)
			})
			asks := 1
			if fails {
				a.answer = func(*http.Request, url.Values) *http.Response { return reply(401, `{"error":"invalid_client"}`) }
				asks = 2 // the second with the credentials in the body
			}
			sender := New(Options{Transport: slow, Timeout: 5 * time.Second})
			var attempts sync.WaitGroup
			for range 10 {
				attempts.Go(func() {
					if got := sender.Send(t.Context(), work(client())); (got.Attempt.Outcome != webhook.OK) != fails {
						t.Errorf("the attempt is %+v", got.Attempt)
					}
				})
			}
			attempts.Wait()
			if len(a.asked) != asks {
				t.Errorf("fails %v: asked %d times, want %d", fails, len(a.asked), asks)
			}
		})
	}
}

func TestWaitForATokenIsBoundedByTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		sender := New(Options{Transport: hang, Timeout: 5 * time.Second})
		var attempts sync.WaitGroup
		for i := range 5 {
			attempts.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				got := sender.Send(t.Context(), work(client())).Attempt
				if got.Outcome != webhook.Timeout || got.Duration != 5*time.Second || !strings.HasPrefix(got.Error, "oauth2 token: ") {
					t.Errorf("attempt %d is %+v", i, got)
				}
			})
		}
		attempts.Wait()
	})
}

func TestFailureToGetATokenIsToldWithoutTheAnswer(t *testing.T) {
	body := func(code int, body string) func(*http.Request, url.Values) *http.Response {
		return func(*http.Request, url.Values) *http.Response { return reply(code, body) }
	}
	long := strings.Repeat("é", 300)
	for _, tt := range []struct {
		name   string
		answer func(*http.Request, url.Values) *http.Response
		error  string
	}{
		{"a code", body(400, `{"error":"invalid_scope"}`), "the server answered 400: invalid_scope"},
		{"a description", body(401, `{"error":"invalid_client","error_description":"no\u0000 such\nclient cl!ent hush"}`), "the server answered 401: invalid_client: no  such client ***"},
		{"a long description", body(400, `{"error":"x","error_description":"`+long+`"}`), "the server answered 400: x: " + long[:200] + "…"},
		{"a code with 200", body(200, `{"error":"invalid_client","access_token":"hush"}`), "the server answered 200: invalid_client"},
		{"a page", body(502, "<html>hush"), "the server answered 502"},
		{"a redirect", body(302, ""), "the server answered 302"},
		{"no token", body(200, `{"hush":"hush"}`), "the answer holds no token"},
		{"no JSON", body(200, `{"access_token":"hush`), "the answer holds no token"},
		{"another kind of token", body(200, `{"access_token":"hush","token_type":"mac"}`), "the token is not one to bear"},
		{"a token that breaks the header", body(200, `{"access_token":"hush\r\nX: y"}`), "the token cannot stand in a header"},
		{"a huge token", body(200, `{"access_token":"`+strings.Repeat("x", 20<<10)+`"}`), "the token cannot stand in a header"},
		{"an answer without end", body(200, `{"access_token":"`+strings.Repeat("x", 1<<20)+`"}`), "the answer holds no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &authority{answer: tt.answer}
			got := send(t, Options{Transport: a}, client()).Attempt
			if got.Outcome != webhook.Connect || got.Code != 0 || got.Error != "oauth2 token: "+tt.error || got.RequestHeader != "" {
				t.Errorf("the attempt is %+v", got)
			}
			if len(a.received) != 0 {
				t.Error("the receiver was called without a token")
			}
		})
	}
}

// TestFailureToGetATokenHidesTheCredentials has a server repeat what it does not
// like, after it has shown where it wants them.
func TestFailureToGetATokenHidesTheCredentials(t *testing.T) {
	asked := 0
	a := &authority{answer: func(r *http.Request, _ url.Values) *http.Response {
		if asked++; asked == 1 {
			return reply(200, `{"access_token":"t","token_type":"bearer","expires_in":-1}`)
		}
		return reply(401, `{"error":"invalid_client","error_description":"malformed: `+r.Header.Get("Authorization")+`"}`)
	}}
	sender := New(Options{Transport: a, Timeout: time.Second})
	for _, want := range []string{"", "oauth2 token: the server answered 401: invalid_client: malformed: Basic ***"} {
		if got := sender.Send(t.Context(), work(client())).Attempt; got.Error != want {
			t.Errorf("the attempt is %s %q, want %q", got.Outcome, got.Error, want)
		}
	}
}

func TestTokenEndpointIsGuarded(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer receiver.Close()
	guard := loopback()
	guard.Resolver = answers(t, map[string]string{"internal.test": "10.0.0.1"})
	for address, want := range map[string]webhook.Outcome{
		"http://169.254.169.254/token":                            webhook.Blocked,
		"http://internal.test/token":                              webhook.Blocked,
		"http://nowhere.test/token":                               webhook.DNS,
		"https://" + receiver.Listener.Addr().String() + "/token": webhook.TLS,
	} {
		got := send(t, Options{Transport: NewTransport(guard, 1, nil)}, client(func(s *webhook.Subscriber) {
			s.URL, s.OAuth2.TokenURL = receiver.URL, address
		})).Attempt
		if got.Outcome != want || !strings.HasPrefix(got.Error, "oauth2 token: ") || got.RemoteAddr != "" || strings.Contains(got.Error, "/token") {
			t.Errorf("%s: the attempt is %+v, want %s", address, got, want)
		}
	}
}

// FuzzTokenAnswer holds whatever a token endpoint sends to two rules: what is told
// of it is short and harmless, and what is sent of it can stand in a header.
func FuzzTokenAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"x","expires_in":"60"}`)
	f.Add(200, "application/x-www-form-urlencoded", "access_token=a%0ab&expires_in=1")
	f.Add(400, "text/plain", "error=x&error_description=%1b%5b31m")
	f.Add(200, "", `{"access_token":"x","expires_in":-99999999999}`)
	f.Add(200, "application/json", `{"error":{}}`)
	f.Fuzz(func(t *testing.T, code int, kind, body string) {
		a := &authority{answer: func(*http.Request, url.Values) *http.Response {
			r := reply(code, body)
			r.Header.Set("Content-Type", kind)
			return r
		}}
		got := send(t, Options{Transport: a}, client()).Attempt
		if len(got.Error) > 400 || !utf8.ValidString(got.Error) || strings.ContainsFunc(got.Error, unicode.IsControl) {
			t.Errorf("the error is %q", got.Error)
		}
		for _, header := range a.received {
			if strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("sent with %q", header)
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
