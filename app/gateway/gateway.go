// Package gateway is the inbound side: it takes a request apart, checks it in
// the order that the contract sets, hands the event over to be stored, and
// answers. The answer 200 goes out after the event and all its deliveries are
// durable, never before.
package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// ReadTimeout is how long a request may take to arrive, body included. It
	// is for the server to enforce.
	ReadTimeout = 10 * time.Second
	// memoryBudget bounds the bodies that are held at a time, in bytes.
	memoryBudget = 64 << 20
	// budgetWait is how long a request waits for its share of the budget.
	budgetWait = time.Second
)

// A Publisher stores events and has them delivered.
type Publisher interface {
	Publish(ctx context.Context, e webhook.Event, key webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error)
}

// Options say what is let in. All fields without a stated default are needed.
type Options struct {
	Publisher Publisher
	IDs       *webhook.IDs
	Logger    *slog.Logger
	// Source is the endpoint.
	Source webhook.Source
	// Enabled is false when nothing is let in.
	Enabled bool
	// ValidateSignature is false when anyone is believed.
	ValidateSignature bool
	// MaxClockSkew is how far a timestamp may be off, either way; zero: any.
	MaxClockSkew time.Duration
	// MaxBody bounds a body, in bytes.
	MaxBody int64
	// Ready returns nil when events can be stored and delivered.
	Ready func(context.Context) error
	// Observe is told of each request once it is answered, health checks aside;
	// nil: nobody is.
	Observe func(Receipt)
}

// A Receipt is what came of one request.
type Receipt struct {
	Source string
	// Result is "received", "duplicate" or the code of the refusal.
	Result string
	// Status is the HTTP status of the answer.
	Status int
	// RequestID names a refusal; empty where the event was taken.
	RequestID webhook.RejectionID
	// At is when it was answered, and Took how long that took from the end of
	// its header.
	At   time.Time
	Took time.Duration
}

// New returns the handler of the inbound listener.
func New(o Options) http.Handler {
	return &gateway{o: o, memory: semaphore.NewWeighted(max(memoryBudget, o.MaxBody))}
}

type gateway struct {
	o      Options
	memory *semaphore.Weighted
}

// ServeHTTP is no [http.ServeMux], since that redirects what it cannot match
// and answers in text.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		health(w, nil)
		return
	case "/readyz":
		health(w, g.o.Ready(r.Context()))
		return
	}
	began := time.Now()
	receipt := Receipt{Source: g.o.Source.Name, Status: http.StatusOK}
	accepted, err := g.receive(w, r)
	if err != nil {
		why := rejectionOf(err)
		receipt.Result, receipt.Status = why.code, why.status
		receipt.RequestID = g.refuse(w, r, why)
	} else {
		receipt.Result = resultOf(accepted)
		writeAccepted(w, accepted)
	}
	if g.o.Observe != nil {
		receipt.At = time.Now()
		receipt.Took = receipt.At.Sub(began)
		g.o.Observe(receipt)
	}
}

// health answers a probe, with the reason if something is wrong.
func health(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err == nil {
		io.WriteString(w, "{\"status\":\"ok\"}\n")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	json.NewEncoder(w).Encode(map[string]any{"status": "unavailable", "reasons": []string{err.Error()}})
}

// refuse answers with the rejection and returns the name that it gave it.
func (g *gateway) refuse(w http.ResponseWriter, r *http.Request, why *rejection) webhook.RejectionID {
	id := g.o.IDs.Rejection(time.Now())
	level := slog.LevelInfo
	if why.status >= 500 {
		level = slog.LevelError
	}
	g.o.Logger.Log(r.Context(), level, "request refused", "request_id", id, "source", g.o.Source.Name, "status", why.status,
		"code", why.code, "reason", why.message, "peer", r.RemoteAddr, "error", why.err)
	why.write(w, id)
	return id
}

// receive checks the request and has its event stored. A panic is an internal
// error, and never costs more than the request.
func (g *gateway) receive(w http.ResponseWriter, r *http.Request) (_ webhook.Accepted, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.o.Logger.Error("panic while receiving", "panic", p, "stack", string(debug.Stack()))
			err = reject(internalError, "the event could not be stored; try again")
		}
	}()
	switch {
	case r.URL.Path != g.o.Source.Path:
		return webhook.Accepted{}, reject(unknownSource, "there is no source at this path")
	case !g.o.Enabled:
		return webhook.Accepted{}, reject(inboundDisabled, "this appliance receives nothing at the moment")
	case r.Method != http.MethodPost:
		return webhook.Accepted{}, reject(methodNotAllowed, "events are posted")
	}
	if err := checkMediaType(r.Header); err != nil {
		return webhook.Accepted{}, err
	}
	size := r.ContentLength
	if size > g.o.MaxBody {
		return webhook.Accepted{}, g.tooLarge()
	}
	if size < 0 {
		size = g.o.MaxBody
	}
	if err := g.reserve(r.Context(), size); err != nil {
		return webhook.Accepted{}, err
	}
	defer g.memory.Release(size)
	body, err := g.readBody(w, r)
	if err != nil {
		return webhook.Accepted{}, err
	}
	event, key, err := g.check(r.Header, body, time.Now())
	if err != nil {
		return webhook.Accepted{}, err
	}
	accepted, _, err := g.o.Publisher.Publish(r.Context(), event, key)
	return accepted, err
}

func checkMediaType(header http.Header) error {
	if header.Get("Content-Encoding") != "" {
		return reject(unsupportedMediaType, "the body must not be encoded")
	}
	values := header.Values("Content-Type")
	if len(values) != 1 {
		return reject(unsupportedMediaType, "the Content-Type must be application/json")
	}
	if values[0] == "application/json" { // what nearly everybody sends
		return nil
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/json" && !strings.HasSuffix(mediaType, "+json") {
		return reject(unsupportedMediaType, "the Content-Type must be application/json")
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return reject(unsupportedMediaType, "the charset must be UTF-8")
	}
	return nil
}

func (g *gateway) tooLarge() error {
	return reject(payloadTooLarge, "the body is larger than %d bytes", g.o.MaxBody)
}

// reserve takes the size of a body out of the memory budget.
func (g *gateway) reserve(ctx context.Context, size int64) error {
	if g.memory.TryAcquire(size) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, budgetWait)
	defer cancel()
	if g.memory.Acquire(ctx, size) != nil {
		return reject(overloaded, "too many requests are being received; nothing was stored, try again")
	}
	return nil
}

func (g *gateway) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	reader := http.MaxBytesReader(w, r.Body, g.o.MaxBody)
	var body []byte
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(reader, body)
	} else {
		body, err = io.ReadAll(reader)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
	case errors.As(err, &tooLarge):
		return nil, g.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, reject(requestTimeout, "the body did not arrive within %s", ReadTimeout)
	default:
		return nil, reject(invalidJSON, "the body could not be read to its end")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, reject(emptyBody, "the body is empty")
	}
	return body, nil
}

// check makes an event of the body, if it is one and its sender is who he says.
func (g *gateway) check(header http.Header, body []byte, now time.Time) (webhook.Event, webhook.DedupeKey, error) {
	envelope, err := parseEnvelope(body)
	if err != nil {
		return webhook.Event{}, webhook.DedupeKey{}, err
	}
	name, err := senderKey(header, envelope)
	if err != nil {
		return webhook.Event{}, webhook.DedupeKey{}, err
	}
	if g.o.ValidateSignature {
		if err := g.checkSignature(header, body, envelope); err != nil {
			return webhook.Event{}, webhook.DedupeKey{}, err
		}
	}
	if err := g.checkWindow(envelope.timestamp, now); err != nil {
		return webhook.Event{}, webhook.DedupeKey{}, err
	}
	key := name
	if key == "" {
		digest := sha256.Sum256(body)
		key = string(digest[:])
	}
	return webhook.Event{
		Source: g.o.Source.Name, Type: envelope.event, Timestamp: envelope.timestamp,
		// A copy, so that the event does not hold the whole body, whose other
		// members nobody counts.
		Data:     bytes.Clone(envelope.data),
		ClientID: g.o.Source.ClientID, SenderKey: name,
	}, webhook.NewDedupeKey(g.o.Source.Name, key), nil
}

// senderKey returns the name by which the sender would recognise the event:
// from a header or the body, empty if it gave none.
func senderKey(header http.Header, e *envelope) (string, error) {
	for _, name := range [...]string{"Idempotency-Key", "Webhook-Id"} {
		switch values := header[name]; {
		case len(values) == 0 || len(values) == 1 && values[0] == "":
		case len(values) > 1 || !webhook.ValidSenderID(values[0]):
			return "", reject(invalidID, "%s must be one value of 1 to 128 printable characters", name)
		default:
			return values[0], nil
		}
	}
	return e.id, nil
}

// checkSignature looks in the headers, and in the body only where there is
// none. More than one value is never a choice.
func (g *gateway) checkSignature(header http.Header, body []byte, e *envelope) error {
	signatures := slices.Concat(header["X-Agent-Signature"], header["X-Signature"])
	signed := body
	if len(signatures) == 0 {
		if !e.hasSignature {
			return reject(missingSignature, "the request is not signed: set X-Agent-Signature, or signature in the body")
		}
		signatures, signed = []string{e.signature}, e.unsigned
	}
	if len(signatures) > 1 || signature.VerifyAgent(signatures[0], signed, g.o.Source.Secrets...) != nil {
		return reject(invalidSignature, "the signature does not match")
	}
	return nil
}

func (g *gateway) checkWindow(timestamp int64, now time.Time) error {
	if g.o.MaxClockSkew == 0 {
		return nil
	}
	skew, side := timestamp-now.Unix(), "ahead of"
	if skew < 0 {
		skew, side = -skew, "behind"
	}
	if skew <= int64(g.o.MaxClockSkew/time.Second) {
		return nil
	}
	return reject(outsideWindow, "the timestamp is %d seconds %s our clock; at most %d are allowed",
		skew, side, int64(g.o.MaxClockSkew/time.Second))
}

// resultOf is the status in the answer to a request that was accepted.
func resultOf(a webhook.Accepted) string {
	if a.Duplicate {
		return "duplicate"
	}
	return "received"
}

func writeAccepted(w http.ResponseWriter, a webhook.Accepted) {
	// Neither an id nor an event type has anything to escape.
	b := make([]byte, 0, 192)
	b = append(b, `{"status":"`...)
	b = append(b, resultOf(a)...)
	b = append(b, `","id":"`...)
	b = append(b, a.ID...)
	b = append(b, `","event":"`...)
	b = append(b, a.Type...)
	b = append(b, `","received_at":`...)
	b = strconv.AppendInt(b, a.ReceivedAt.Unix(), 10)
	b = append(b, "}\n"...)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}
