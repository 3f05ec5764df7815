package sender

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxTokens is how many tokens are kept. Beyond that many the one that was not
	// used for the longest time is asked for again.
	maxTokens = 4096
	// maxTokenAnswer bounds what is read of a token endpoint's answer.
	maxTokenAnswer = 64 << 10
	// maxToken bounds a token: servers refuse longer headers.
	maxToken = 16 << 10
	// maxDescription bounds what is told of an error's description.
	maxDescription = 200
	// renewBefore is how long before its end a token is replaced, or half its life
	// if that is shorter.
	renewBefore = time.Minute
	// unknownLife is for how long a token is used that does not say when it ends.
	unknownLife = time.Hour
)

// tokens are those that subscribers' deliveries carry. They are kept in memory
// only.
type tokens struct {
	mu   sync.Mutex
	kept *simplelru.LRU[[sha256.Size]byte, *token]
}

func newTokens() *tokens {
	kept, err := simplelru.NewLRU[[sha256.Size]byte, *token](maxTokens, nil)
	if err != nil {
		panic(err) // the size is a constant
	}
	return &tokens{kept: kept}
}

// A token is that of one subscriber, as long as nothing changes that it is asked
// for with.
type token struct {
	// config remembers how the server wants the credentials.
	config clientcredentials.Config
	// turn has one place: whoever holds it asks for the token.
	turn chan struct{}

	mu    sync.Mutex
	value string
	// renew is when it is to be replaced, and ends when it is of no use any more.
	renew, ends time.Time
	// asked counts how often it was asked for, and err is what came of the last
	// time.
	asked int
	err   error
}

// of returns the token of the subscriber, which may have no value yet.
func (t *tokens) of(s *webhook.Subscriber) *token {
	o := &s.OAuth2
	key := digest(append([]string{string(s.ID), o.TokenURL, o.ClientID, o.ClientSecret.Reveal(), o.Audience}, o.Scopes...)...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if kept, ok := t.kept.Get(key); ok {
		return kept
	}
	made := &token{turn: make(chan struct{}, 1), config: clientcredentials.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), TokenURL: o.TokenURL, Scopes: o.Scopes,
	}}
	if o.Audience != "" {
		made.config.EndpointParams = url.Values{"audience": {o.Audience}}
	}
	t.kept.Add(key, made)
	return made
}

// get returns the subscriber's token, which it asks for over the transport if
// need be. Only one caller at a time asks; those who wait for it share its
// failure, since the server would tell them the same.
func (t *tokens) get(ctx context.Context, s *webhook.Subscriber, transport http.RoundTripper) (string, error) {
	k := t.of(s)
	value, asked := k.known(time.Now())
	if value != "" {
		return value, nil
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if value, err, done := k.since(asked, time.Now()); done {
		return value, err
	}
	answer, err := k.ask(ctx, transport)
	return k.keep(answer, err, time.Now())
}

// drop forgets the token, if it is still this one.
func (t *tokens) drop(s *webhook.Subscriber, value string) {
	k := t.of(s)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.value == value {
		k.value = ""
	}
}

// known returns the token, unless there is none that is fresh, and how often it
// was asked for.
func (k *token) known(now time.Time) (string, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.renew) {
		return k.value, k.asked
	}
	return "", k.asked
}

// since tells what others have got who asked meanwhile. That their time ran out
// means nothing to one who still has some.
func (k *token) since(asked int, now time.Time) (_ string, _ error, done bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var timeout net.Error
	switch {
	case k.asked == asked:
		return "", nil, false
	case k.value != "" && now.Before(k.renew):
		return k.value, nil, true
	case k.err != nil && !(errors.As(k.err, &timeout) && timeout.Timeout()):
		return "", k.err, true
	}
	return "", nil, false
}

// keep keeps what came of asking. A token that was to be replaced, and is not,
// serves to its end.
func (k *token) keep(answer *oauth2.Token, err error, now time.Time) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	k.err = err
	if err != nil {
		if k.value != "" && now.Before(k.ends) {
			return k.value, nil
		}
		return "", err
	}
	life := unknownLife
	if !answer.Expiry.IsZero() {
		life = max(answer.Expiry.Sub(now), 0)
	}
	k.value, k.ends = answer.AccessToken, now.Add(life)
	k.renew = k.ends.Add(-min(renewBefore, life/2))
	return k.value, nil
}

// ask asks the server for a token.
func (k *token) ask(ctx context.Context, transport http.RoundTripper) (*oauth2.Token, error) {
	client := &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := k.config.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	if err != nil {
		return nil, k.explain(ctx, err)
	}
	switch {
	case answer.TokenType != "" && !strings.EqualFold(answer.TokenType, "bearer"):
		return nil, &tokenError{"the token is not one to bear"}
	case len(answer.AccessToken) > maxToken || strings.ContainsFunc(answer.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, &tokenError{"the token cannot stand in a header"}
	}
	return answer, nil
}

// A tokenError says why a token endpoint gave no token. It tells of the answer
// only what RFC 6749 section 5.2 has for people.
type tokenError struct{ reason string }

func (e *tokenError) Error() string { return e.reason }

// explain makes an error of the library one that can be shown: the library quotes
// what the server sent, which may be a token.
func (k *token) explain(ctx context.Context, err error) error {
	var answer *oauth2.RetrieveError
	var request *url.Error
	switch {
	case errors.As(err, &answer):
		reason := fmt.Sprintf("the server answered %d", answer.Response.StatusCode)
		for _, part := range []struct {
			text string
			most int
		}{{answer.ErrorCode, 64}, {answer.ErrorDescription, maxDescription}} {
			if text := k.harmless(part.text, part.most); text != "" {
				reason += ": " + text
			}
		}
		return &tokenError{reason}
	case errors.As(err, &request):
		return request.Err // without the URL
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &tokenError{"the answer holds no token"}
}

// harmless makes a server's text fit to be shown.
func (k *token) harmless(text string, most int) string {
	id, secret := url.QueryEscape(k.config.ClientID), url.QueryEscape(k.config.ClientSecret)
	// In a form, and with Authorization: Basic, which some repeat that do not like it.
	for _, form := range []string{k.config.ClientSecret, secret, base64.StdEncoding.EncodeToString([]byte(id + ":" + secret))} {
		if form != "" {
			text = strings.ReplaceAll(text, form, webhook.HiddenValue)
		}
	}
	text = oneLine(text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// bounded cuts answers off.
type bounded struct{ to http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.to.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	withoutSwitch(response)
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxTokenAnswer), response.Body}
	return response, nil
}
