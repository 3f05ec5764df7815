// Package gateway is the inbound side: it takes a request apart, checks it in
// the order that the contract sets, hands the event over to be stored, and
// answers. The answer 200 goes out after the event and all its deliveries are
// durable, never before.
//
// What is refused is answered with a code and an id, and kept under that id
// with all that helps to see why, within bounds that a flood cannot break.
package gateway

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// ReadTimeout is how long a request may take to arrive, body included. It
	// is for the server to enforce.
	ReadTimeout = 10 * time.Second
	// maxHeaders is how many header fields a request may have.
	maxHeaders = 100
	// maxRequests bounds the requests that are being received at a time, and
	// maxRequestsPerAddress those of one client. Each takes some 12 KiB beside
	// its body, and HTTP/2 lets a connection have a hundred.
	maxRequests           = 4096
	maxRequestsPerAddress = 1024
	// rateBuckets bounds the addresses whose rate is known.
	rateBuckets = 65_536
)

// A Publisher stores events and has them delivered.
type Publisher interface {
	Publish(ctx context.Context, e webhook.Event, key webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error)
}

// Options are what the gateway works with. All fields without a stated default
// are needed.
type Options struct {
	Publisher Publisher
	IDs       *webhook.IDs
	Logger    *slog.Logger
	// Keep stores refused requests; nil: they are only logged.
	Keep func(context.Context, []webhook.Rejection) error
	// Ready returns nil when events can be stored and delivered.
	Ready func(context.Context) error
	// Degraded says what is not as it should be although events are stored and
	// delivered; nil: nothing ever is.
	Degraded func() []string
	// Observe is told of each request once it is answered, health checks aside;
	// nil: nobody is.
	Observe func(Receipt)
}

// A Receipt is what came of one request.
type Receipt struct {
	// Source is the name of the source; empty where no source has the path.
	Source string
	// Client is who sent it; the zero Addr where that is not known.
	Client netip.Addr
	// Result is "received", "duplicate", "challenge" or the code of the refusal.
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

// A Gateway is the handler of the inbound listener.
type Gateway struct {
	o      Options
	memory *memory
	places *security.Places
	rates  *security.RateLimiter
	keeper *keeper
	rules  atomic.Pointer[rules]
}

// New returns a gateway that judges by the rules. It fails if a source can
// verify nothing, as with a secret that is no key of its scheme.
func New(o Options, r Rules) (*Gateway, error) {
	g := &Gateway{o: o, memory: newMemory(), places: security.NewPlaces(maxRequests, maxRequestsPerAddress), rates: security.NewRateLimiter(rateBuckets), keeper: newKeeper(o)}
	return g, g.Use(r)
}

// Use replaces the rules; on error those before stay in force. Requests that
// are under way are judged by the rules that they began with.
func (g *Gateway) Use(r Rules) error {
	made, err := newRules(r)
	if err == nil {
		g.rules.Store(made)
	}
	return err
}

// TrustsProxy reports whether the address is that of a trusted proxy.
func (g *Gateway) TrustsProxy(addr netip.Addr) bool { return g.rules.Load().proxies.Trusts(addr) }

// ServeHTTP is no [http.ServeMux], since that redirects what it cannot match
// and answers in text.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		writeJSON(w, http.StatusOK, health{Status: "ok"})
		return
	case "/readyz":
		g.readyz(w, r)
		return
	}
	began := time.Now()
	v := &visit{g: g, rules: g.rules.Load(), r: r, now: began, share: share{memory: g.memory}}
	defer v.share.release()
	receipt := Receipt{Status: http.StatusOK}
	result, err := v.receive(w)
	if err != nil {
		why := rejectionOf(err)
		receipt.Result, receipt.Status = why.code, why.status
		receipt.RequestID = g.keeper.refuse(v, why)
		why.write(w, receipt.RequestID)
	} else {
		receipt.Result = result.name()
		result.write(w)
	}
	if g.o.Observe != nil {
		receipt.Source, receipt.Client = v.sourceName(), v.client
		receipt.At = time.Now()
		receipt.Took = receipt.At.Sub(began)
		g.o.Observe(receipt)
	}
}

// health answers a probe.
type health struct {
	Status string `json:"status"`
	// Reasons say why the appliance is not ready.
	Reasons []string `json:"reasons,omitempty"`
	// Warnings say what is not as it should be although it is ready.
	Warnings []string `json:"warnings,omitempty"`
}

func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	answer, status := health{Status: "ready"}, http.StatusOK
	if err := g.o.Ready(r.Context()); err != nil {
		answer.Status, answer.Reasons, status = "unavailable", []string{err.Error()}, http.StatusServiceUnavailable
	}
	if g.o.Degraded != nil {
		answer.Warnings = g.o.Degraded()
	}
	writeJSON(w, status, answer)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encode(w, v)
}

// encode writes JSON to be read by people too: sha256=<64 hex digits> stays as
// it is.
func encode(w io.Writer, v any) {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// An answer that does not arrive is the asker's to notice.
	_ = encoder.Encode(v)
}

// receive checks the request and has its event stored. A panic is an internal
// error, and never costs more than the request.
func (v *visit) receive(w http.ResponseWriter) (_ *result, err error) {
	defer func() {
		if p := recover(); p != nil {
			v.g.o.Logger.Error("panic while receiving", "panic", p, "stack", string(debug.Stack()))
			err = reject(internalError, "the event could not be stored; try again")
		}
	}()
	v.source = v.rules.byPath[v.r.URL.Path]
	v.client, v.peer = v.rules.proxies.Client(v.r.RemoteAddr, v.r.Header)
	network := security.Network(v.client)
	if v.rules.proxies.Trusts(v.client) {
		network = netip.Addr{} // it does not say whose request it is
	}
	if !v.g.places.Take(network) {
		return nil, tooMany()
	}
	defer v.g.places.Leave(network)
	if err := v.checkHead(); err != nil {
		return nil, err
	}
	if err := v.readBody(w); err != nil {
		return nil, err
	}
	read, err := v.read()
	if err != nil {
		return nil, err
	}
	if err := v.checkSender(read); err != nil {
		return nil, err
	}
	if read.challenge != "" {
		return &result{challenge: read.challenge}, nil
	}
	event, key := v.event(read)
	accepted, _, err := v.g.o.Publisher.Publish(v.r.Context(), event, key)
	if err != nil {
		return nil, err
	}
	return &result{accepted: accepted}, nil
}

// A result answers a request that was not refused.
type result struct {
	accepted webhook.Accepted
	// challenge is what a sender wants to hear in place of it; may be empty.
	challenge string
}

// name is the status in the answer, and the label in the metrics.
func (r *result) name() string {
	switch {
	case r.challenge != "":
		return "challenge"
	case r.accepted.Duplicate:
		return "duplicate"
	}
	return "received"
}

func (r *result) write(w http.ResponseWriter) {
	if r.challenge != "" {
		writeJSON(w, http.StatusOK, map[string]string{"challenge": r.challenge})
		return
	}
	// Neither an id nor an event type has anything to escape.
	b := make([]byte, 0, 192)
	b = append(b, `{"status":"`...)
	b = append(b, r.name()...)
	b = append(b, `","id":"`...)
	b = append(b, r.accepted.ID...)
	b = append(b, `","event":"`...)
	b = append(b, r.accepted.Type...)
	b = append(b, `","received_at":`...)
	b = strconv.AppendInt(b, r.accepted.ReceivedAt.Unix(), 10)
	b = append(b, "}\n"...)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}
