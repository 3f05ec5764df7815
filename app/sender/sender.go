// Package sender makes one attempt of a delivery: the body, the signatures and
// the credentials, the request, and what came of it. What follows for the
// delivery is for package dispatch to judge.
//
// # The body
//
// A subscriber gets the event as it came, or what the transforms made of it: those
// of the configuration that apply to all events, then those for patterns in the
// order of the file, then the subscriber's own. They run before the first request
// of a delivery and never again, so that every attempt sends the same bytes. A
// filter that could not be asked when the event was accepted is asked before them.
//
// # Credentials
//
// Every request carries the signatures of Standard Webhooks, one for each valid
// secret, and X-Agent-Signature in the form that the subscriber chose. Beside them
// stand the subscriber's own headers, basic authentication or a bearer token, and
// in the handshake its client certificate. A token is kept in memory only, and is
// asked for anew a minute before it ends, and after an answer 401. Where there is
// none the attempt fails with what came of asking for it, and the receiver is not
// called.
//
// # Addresses
//
// Whatever is called, receivers and token endpoints alike, is checked by the
// [security.OutboundGuard] when it is connected to, after its name was resolved;
// see [NewTransport] for what a proxy changes.
package sender

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxRead is how much of an answer is read, and maxKept how much is kept.
	maxRead = 64 << 10
	maxKept = 16 << 10
	// maxHeader bounds the header of an answer.
	maxHeader = 32 << 10
	// maxError bounds what is kept of an error, which may quote all that a
	// receiver sent in place of a header, or all names in its certificate.
	maxError = 1 << 10
)

// Options say how to send. All fields without a stated default are needed.
type Options struct {
	// Transport makes the requests; see [NewTransport]. Subscribers with
	// certificates of their own get a copy of it, and so need it to be a
	// [*http.Transport].
	Transport http.RoundTripper
	// Expressions run filters and transforms; nil: there are none, and deliveries
	// that need one fail.
	Expressions *transform.Pool
	// Transforms are those of the configuration, in its order; see
	// [Sender.SetTransforms].
	Transforms []webhook.Transform
	// Timeout bounds a request to a subscriber without a timeout of its own.
	Timeout time.Duration
	// AgentID is sent as X-Agent-ID for events without one of their own; empty: it
	// is not sent.
	AgentID string
	// UserAgent is sent as User-Agent.
	UserAgent string
}

// A Sender makes attempts. It is safe for concurrent use.
type Sender struct {
	o          Options
	hooks      atomic.Pointer[[]hook]
	tokens     *tokens
	transports *transports
	buffers    sync.Pool // of *[maxKept]byte, for what is kept of an answer
}

// New returns a sender.
func New(o Options) *Sender {
	s := &Sender{o: o, tokens: newTokens(), transports: newTransports(o.Transport)}
	s.buffers.New = func() any { return new([maxKept]byte) }
	s.SetTransforms(o.Transforms)
	return s
}

// SetTransforms replaces the transforms of the configuration. Deliveries of which
// something was sent already keep the body that they have.
func (s *Sender) SetTransforms(transforms []webhook.Transform) {
	ordered := inOrder(transforms)
	s.hooks.Store(&ordered)
}

// CloseIdleConnections closes the connections on which nothing is under way.
func (s *Sender) CloseIdleConnections() { s.transports.closeIdle() }

// Work is a delivery to be tried.
type Work struct {
	Job        *webhook.Job
	Subscriber *webhook.Subscriber
	// Target was made of the subscriber.
	Target *Target
}

// An Answer is what came of an attempt.
type Answer struct {
	Attempt webhook.Attempt
	// Body, if not nil, is what transforms made, which all attempts of the delivery
	// send from now on.
	Body []byte
	// Unjudged says that the subscriber's filter has still to be asked.
	Unjudged bool
	// Rejected says that the filter does not want the event. The attempt is then
	// none, and has no outcome.
	Rejected bool
	// RetryAfter is how long the receiver wants to be left alone; zero: not.
	RetryAfter time.Duration
}

// Send makes one attempt. It takes the subscriber's timeout at most, and before
// the first request once more that long for the body. When the context ends, the
// request is cut short and its outcome is [webhook.Interrupted]. The body is made
// whatever the context says: until a request has begun there is nothing of which
// one could doubt whether it arrived.
func (s *Sender) Send(ctx context.Context, w Work) Answer {
	started := time.Now()
	answer := Answer{Attempt: webhook.Attempt{DeliveryID: w.Job.Delivery, Number: w.Job.Attempts + 1, StartedAt: started}}
	timeout := s.o.Timeout
	if w.Subscriber.Timeout > 0 {
		timeout = w.Subscriber.Timeout
	}
	if body, ok := s.body(w, timeout, &answer); ok {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		s.post(ctx, limited, w, body, &answer)
	}
	answer.Attempt.Duration = time.Since(started)
	return answer
}

// post makes the request, within the limited one of both contexts.
func (s *Sender) post(ctx, limited context.Context, w Work, body []byte, answer *Answer) {
	attempt := &answer.Attempt
	fail := func(prefix string, err error) {
		attempt.Outcome, attempt.Error = outcomeOf(ctx, limited, err), clip(prefix+err.Error())
	}
	transport, err := s.transports.of(&w.Subscriber.TLS)
	if err != nil {
		fail("", err)
		return
	}
	var bearer string
	if w.Subscriber.OAuth2.TokenURL != "" {
		from := s.transports.base
		if sameHost(w.Subscriber.OAuth2.TokenURL, w.Subscriber.URL) {
			from = transport
		}
		if bearer, err = s.tokens.get(limited, w.Subscriber, from); err != nil {
			fail("oauth2 token: ", err)
			return
		}
	}
	buffer := s.buffers.Get().(*[maxKept]byte)
	defer s.buffers.Put(buffer)
	trace := newTrace()
	defer func() { trace.tell(attempt, time.Now()) }()
	request, block := s.request(httptrace.WithClientTrace(limited, &trace.hooks), w, attempt.Number, body, bearer, buffer[:0])
	attempt.RequestHeader = block
	response, err := transport.RoundTrip(request)
	if err != nil {
		fail("", err)
		return
	}
	withoutSwitch(response)
	attempt.Code, attempt.Outcome = response.StatusCode, webhook.HTTPStatus
	attempt.ResponseHeader = webhook.HeaderBlock(appendHeader(buffer[:0], response.Header))
	switch {
	case response.StatusCode >= 200 && response.StatusCode <= 299:
		attempt.Outcome = webhook.OK
	default:
		answer.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	}
	if response.StatusCode == http.StatusUnauthorized && bearer != "" {
		s.tokens.drop(w.Subscriber, bearer)
	}
	// The status decides; a body that breaks off is only noted.
	if attempt.ResponseBody, err = readAnswer(response.Body, buffer[:]); err != nil {
		attempt.Error = clip("read the answer: " + err.Error())
	}
}

// interrupted reports whether the limited context has ended because the one that
// it was made of has.
func interrupted(ctx, limited context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(limited), context.DeadlineExceeded)
}
