package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// An Event is what an external system has to tell.
type Event struct {
	// Type is what happened. It is sent as it is, even if it is no valid type.
	Type string
	// Data is the JSON value that goes with it, sent as it is; empty: {}.
	Data []byte
	// Timestamp is when it happened, in Unix seconds; zero: now.
	Timestamp int64
	// ID is the sender's own id, the member "id" of the body; empty: none.
	ID string
}

// A Signing says how an event is signed.
type Signing string

// The ways to sign an event.
const (
	// SignHeader signs in X-Agent-Signature.
	SignHeader Signing = "header"
	// SignBody signs in the member "signature", the last one of the body; what
	// is signed is the body without it.
	SignBody Signing = "body"
	// SignNone does not sign.
	SignNone Signing = "none"
	// SignWrong sends, in X-Agent-Signature, a well-formed signature made with
	// another secret.
	SignWrong Signing = "wrong"
)

// Signings lists the ways to sign an event.
func Signings() []Signing { return []Signing{SignHeader, SignBody, SignNone, SignWrong} }

// An Option changes how [Send] sends one event.
type Option func(*sending)

// sending is what the options of a Send come to.
type sending struct {
	signing        Signing
	skew           time.Duration
	idempotencyKey string
	source         *webhook.Source // nil: an agent's
}

// Signed signs in this way; without the option, it is SignHeader.
func Signed(how Signing) Option { return func(s *sending) { s.signing = how } }

// Skewed shifts the event's timestamp, as a sender whose clock is wrong by so
// much would.
func Skewed(by time.Duration) Option { return func(s *sending) { s.skew = by } }

// WithIdempotencyKey sends the header Idempotency-Key.
func WithIdempotencyKey(key string) Option { return func(s *sending) { s.idempotencyKey = key } }

// ToSource sends as the senders of the source do, under its scheme. Save under
// the scheme agent, the event's data is the whole body. Its type and its id,
// which is made up if it has none, go where the source reads them; a member that
// the data has already stays as it is.
func ToSource(source *webhook.Source) Option { return func(s *sending) { s.source = source } }

// An Answer is what an inbound endpoint said. Beside the status, everything is
// from its body, and zero where the body is not Pintle's.
type Answer struct {
	StatusCode int `json:"-"`

	// Status is "received" or "duplicate".
	Status string `json:"status"`
	// ID is the stored event; for a duplicate, the first one.
	ID webhook.EventID `json:"id"`
	// Event is the type of the stored event.
	Event string `json:"event"`
	// ReceivedAt is when it was accepted, in Unix seconds.
	ReceivedAt int64 `json:"received_at"`

	// Error is the code of a refusal, and Message its reason in a sentence.
	Error   string `json:"error"`
	Message string `json:"message"`
	// RequestID names the refusal in the appliance's history.
	RequestID webhook.RejectionID `json:"request_id"`

	// Body is the answer's body, at most its first 64 KiB.
	Body []byte `json:"-"`
	// Duration is how long the endpoint took, to the end of its answer.
	Duration time.Duration `json:"-"`
}

// Accepted reports whether the event was taken: 2xx.
func (a Answer) Accepted() bool { return a.StatusCode/100 == 2 }

// Duplicate reports whether the event was taken and had been known before.
func (a Answer) Duplicate() bool { return a.Accepted() && a.Status == "duplicate" }

// Send posts one event to an inbound endpoint, as an external system would,
// and returns its answer, be it a refusal. An error means that there is no
// answer.
func Send(ctx context.Context, client *http.Client, url string, secret webhook.Secret, e Event, options ...Option) (Answer, error) {
	s := sending{signing: SignHeader}
	for _, option := range options {
		option(&s)
	}
	if e.Timestamp == 0 {
		e.Timestamp = time.Now().Unix()
	}
	e.Timestamp += int64(s.skew / time.Second)

	message := s.agentMessage
	if s.source != nil && s.source.Scheme != webhook.SchemeAgent {
		message = s.sourceMessage
	}
	header, body, err := message(secret, e)
	if err != nil {
		return Answer{}, err
	}
	header.Set("Content-Type", "application/json")
	if s.idempotencyKey != "" {
		header.Set("Idempotency-Key", s.idempotencyKey)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header = header
	started := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	a := Answer{StatusCode: resp.StatusCode}
	if a.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return Answer{}, fmt.Errorf("read the answer: %w", err)
	}
	a.Duration = time.Since(started)
	// The body of another server may be anything; it is kept as it came.
	var read Answer
	if json.Unmarshal(a.Body, &read) == nil {
		read.StatusCode, read.Body, read.Duration = a.StatusCode, a.Body, a.Duration
		return read, nil
	}
	return a, nil
}

// agentMessage makes the header and the body of an event in the form of the
// inbound contract.
func (s *sending) agentMessage(secret webhook.Secret, e Event) (http.Header, []byte, error) {
	header, body := http.Header{}, e.body()
	switch s.signing {
	case SignHeader:
		header.Set("X-Agent-Signature", signature.SignAgent(secret, body))
	case SignBody:
		member := `,"signature":"` + signature.SignAgent(secret, body) + `"}`
		body = append(body[:len(body)-1], member...)
	case SignWrong:
		header.Set("X-Agent-Signature", signature.SignAgent(secret+" is not the secret", body))
	case SignNone:
	default:
		return nil, nil, fmt.Errorf("no way to sign is called %q", s.signing)
	}
	return header, body, nil
}

// body writes the event in the form of the inbound contract.
func (e Event) body() []byte {
	data := e.Data
	if len(data) == 0 {
		data = []byte("{}")
	}
	b := make([]byte, 0, len(data)+len(e.Type)+len(e.ID)+192)
	b = append(b, `{"event":`...)
	b = appendJSON(b, e.Type)
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, e.Timestamp, 10)
	if e.ID != "" {
		b = append(b, `,"id":`...)
		b = appendJSON(b, e.ID)
	}
	b = append(b, `,"data":`...)
	b = append(b, data...)
	return append(b, '}')
}

// appendJSON appends s as a JSON string.
func appendJSON(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // every string has a JSON form
	}
	return append(dst, quoted...)
}
