package sandbox

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxBody bounds what is read of one request.
	maxBody = 32 << 20
	// maxRemembered bounds how many events a receiver recognises again; the
	// one that came first is forgotten first.
	maxRemembered = 100_000
	// maxSkew is how far a webhook-timestamp may be from the clock, as the
	// libraries of Standard Webhooks have it.
	maxSkew = 5 * time.Minute
	// maxPieces is into how many pieces a body is cut that takes its time.
	maxPieces = 50
)

// An Arrival is one request that reached a [Receiver]. Everything in it that
// is text came from outside and may hold any character that HTTP lets through.
type Arrival struct {
	// Time is when the request had been read.
	Time time.Time
	// Path is the path of the URL that it was posted to.
	Path string
	// Event, Delivery and WebhookID are the headers X-Agent-Event,
	// X-Agent-Delivery and webhook-id; empty where there is none.
	Event     string
	Delivery  string
	WebhookID string
	// Attempt is the header X-Agent-Attempt; zero where there is no such number.
	Attempt int
	// Seen is how often this webhook-id has arrived on this path before; zero
	// for a new one, and for a request without one.
	Seen int
	// Verdict says what the signatures are worth.
	Verdict Verdict
	// Header is the whole header of the request.
	Header http.Header
	// Body is the body as it came.
	Body []byte
	// Status is what the request is answered with; zero: no answer.
	Status int
	// Failed says that the receiver was told to let this arrival fail.
	Failed bool
}

// A Verdict is what a [Receiver] thinks of the signatures of an arrival. The
// zero value is that of a receiver without a secret: nothing was checked.
type Verdict struct {
	// Checked says that there was a secret to check against.
	Checked bool
	// Err says why the request is not to be believed; nil if it is, or if it
	// was not checked.
	Err error
}

// OK reports whether the signatures were checked and are good.
func (v Verdict) OK() bool { return v.Checked && v.Err == nil }

// String is the verdict for people: "verified", "not checked", or what is
// wrong.
func (v Verdict) String() string {
	switch {
	case !v.Checked:
		return "not checked"
	case v.Err != nil:
		return v.Err.Error()
	}
	return "verified"
}

// Why an arrival is not believed, beside the errors of package signature.
var (
	// ErrNoSignature says that the request carries no signature.
	ErrNoSignature = errors.New("no signature")
	// ErrStale says that the timestamp that is signed is too far from the clock.
	ErrStale = errors.New("the timestamp is too far from the clock")
)

// ReceiverOptions say what a [Receiver] checks and how it behaves.
type ReceiverOptions struct {
	// Secrets are the keys that are valid; empty: no signature is checked.
	Secrets []webhook.Secret
	// Faults say how it misbehaves. The caller has validated them.
	Faults Faults
	// Seed decides which arrivals Faults.FailRate picks: the same seed picks
	// the same places in the sequence of arrivals.
	Seed uint64
	// OnArrival is called for each arrival, if it is not nil, once its answer
	// is decided and before it is given. Calls may run at the same time, and
	// the answer waits for them.
	OnArrival func(Arrival)
}

// A Receiver is an HTTP handler that takes deliveries, as a subscriber's
// server would. It answers 200, or 401 to a request whose signature is not
// good; an arrival that Faults picks fails in its own way, whatever its
// signature. What is no delivery is no arrival either: a request that is not a
// POST is answered 405, so that a look with a browser disturbs nothing, and a
// body beyond 32 MiB 413.
//
// The signature is good if at least one of X-Agent-Signature, in either of its
// forms, and webhook-signature is there and each one that is there verifies; a
// timestamp that is signed must be within five minutes of the clock.
//
// A Receiver needs no stop: whoever serves it ends its requests, delayed and
// hanging ones included, by ending their contexts.
type Receiver struct {
	secrets   []webhook.Secret
	faults    Faults
	onArrival func(Arrival)

	mu   sync.Mutex
	rand *rand.Rand
	seen map[eventKey]int
	// order holds the keys of seen as a ring; oldest is where the next one
	// goes once it is full.
	order  []eventKey
	oldest int
}

// eventKey recognises an event on one path, so that several subscribers that
// share a server are counted apart. It is a digest: what is remembered has the
// same size whatever a sender writes.
type eventKey [sha256.Size]byte

func newEventKey(path, webhookID string) eventKey {
	return sha256.Sum256([]byte(path + "\x00" + webhookID))
}

// NewReceiver makes a receiver.
func NewReceiver(options ReceiverOptions) *Receiver {
	return &Receiver{
		secrets:   options.Secrets,
		faults:    options.Faults,
		onArrival: options.OnArrival,
		rand:      rand.New(rand.NewPCG(options.Seed, 0)),
		seen:      map[eventKey]int{},
	}
}

// ServeHTTP takes one delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "a delivery is a POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		// The client went away before it had sent everything.
		panic(http.ErrAbortHandler)
	}

	a := Arrival{
		Time:      time.Now(),
		Path:      req.URL.Path,
		Event:     req.Header.Get("X-Agent-Event"),
		Delivery:  req.Header.Get("X-Agent-Delivery"),
		WebhookID: req.Header.Get("Webhook-Id"),
		Header:    req.Header,
		Body:      body,
		Status:    http.StatusOK,
	}
	if n, err := strconv.Atoi(req.Header.Get("X-Agent-Attempt")); err == nil && n > 0 {
		a.Attempt = n
	}
	a.Verdict = r.verify(a)
	if a.Verdict.Err != nil {
		a.Status = http.StatusUnauthorized
	}
	a.Seen, a.Failed = r.count(a.Path, a.WebhookID)
	if a.Failed {
		a.Status = r.faults.status()
		if r.faults.silent() {
			a.Status = 0
		}
	}
	if r.onArrival != nil {
		r.onArrival(a)
	}
	r.answer(w, req, a)
}

// verify judges the signatures of an arrival.
func (r *Receiver) verify(a Arrival) Verdict {
	if len(r.secrets) == 0 {
		return Verdict{}
	}
	agent, standard := a.Header.Values("X-Agent-Signature"), a.Header.Values("Webhook-Signature")
	if len(agent) == 0 && len(standard) == 0 {
		return Verdict{true, ErrNoSignature}
	}
	if len(agent) > 0 {
		err := signature.ErrMalformed
		if len(agent) == 1 {
			err = r.verifyAgent(a, agent[0])
		}
		if err != nil {
			return Verdict{true, fmt.Errorf("X-Agent-Signature: %w", err)}
		}
	}
	if len(standard) > 0 {
		if err := r.verifyStandard(a, standard); err != nil {
			return Verdict{true, fmt.Errorf("webhook-signature: %w", err)}
		}
	}
	return Verdict{true, nil}
}

// verifyAgent verifies X-Agent-Signature in the form that it has: the plain one, or
// that of Stripe.
func (r *Receiver) verifyAgent(a Arrival, header string) error {
	if !strings.HasPrefix(header, "t=") {
		return signature.VerifyAgent(header, a.Body, r.secrets...)
	}
	v, err := signature.NewVerifier(webhook.SchemeStripe, webhook.SignatureForm{}, r.secrets)
	if err != nil {
		return err
	}
	proof, err := v.Verify(signature.Message{Header: http.Header{"Stripe-Signature": {header}}, Body: a.Body})
	if err != nil {
		return err
	}
	return fresh(a, proof.Timestamp)
}

func (r *Receiver) verifyStandard(a Arrival, headers []string) error {
	timestamp, err := strconv.ParseInt(a.Header.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || len(headers) != 1 || a.WebhookID == "" {
		return signature.ErrMalformed
	}
	if err := signature.VerifyStandard(headers[0], a.WebhookID, timestamp, a.Body, r.secrets...); err != nil {
		return err
	}
	return fresh(a, timestamp)
}

// fresh returns nil, or [ErrStale].
func fresh(a Arrival, timestamp int64) error {
	// Compared in seconds: a duration could not hold every timestamp.
	now := a.Time.Unix()
	if tolerance := int64(maxSkew / time.Second); timestamp < now-tolerance || timestamp > now+tolerance {
		return ErrStale
	}
	return nil
}

// count notes an arrival. It returns how often the event has arrived before,
// and whether this arrival is to fail.
func (r *Receiver) count(path, webhookID string) (seen int, fail bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if webhookID != "" {
		key := newEventKey(path, webhookID)
		n, known := r.seen[key]
		if !known {
			r.remember(key)
		}
		seen, r.seen[key] = n, n+1
	}
	f := r.faults
	if !f.some() {
		return seen, f.fail()
	}
	// The lot is drawn for every arrival, so that what FailFirst picks does
	// not shift the sequence.
	lot := r.rand.Float64() < f.FailRate
	return seen, lot || seen < f.FailFirst
}

// remember makes room for a new event.
func (r *Receiver) remember(key eventKey) {
	if len(r.order) < maxRemembered {
		r.order = append(r.order, key)
		return
	}
	delete(r.seen, r.order[r.oldest])
	r.order[r.oldest] = key
	r.oldest = (r.oldest + 1) % maxRemembered
}

// answer gives an arrival the answer that was decided, or none.
func (r *Receiver) answer(w http.ResponseWriter, req *http.Request, a Arrival) {
	wait(req, r.faults.Delay)
	if a.Failed && r.faults.Hang {
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	}
	if a.Failed && r.faults.Reset {
		reset(w)
		return
	}
	if a.Failed && r.faults.Garbage {
		garble(w)
		return
	}
	if a.Failed {
		r.hints(w.Header(), time.Now())
	}
	if r.faults.HeaderSize > 0 {
		w.Header().Set("X-Padding", strings.Repeat("x", r.faults.HeaderSize))
	}
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		w.WriteHeader(a.Status)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// The line is what the appliance keeps and shows of the answer.
	line := cmp.Or(http.StatusText(a.Status), "status "+strconv.Itoa(a.Status)) + "\n"
	if !a.Failed && a.Verdict.Err != nil {
		line = a.Verdict.String() + "\n"
	}
	size := cmp.Or(r.faults.BodySize, int64(len(line)))
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(a.Status)
	body := io.LimitReader(&repeated{text: line}, size)
	if r.faults.BodyTime == 0 {
		io.Copy(w, body)
		return
	}
	r.trickle(w, req, body, size)
}

// hints are the headers of an answer that fails.
func (r *Receiver) hints(header http.Header, now time.Time) {
	if r.faults.Location != "" {
		header.Set("Location", r.faults.Location)
	}
	if r.faults.RetryAfter == 0 {
		return
	}
	seconds := (r.faults.RetryAfter + time.Second - 1) / time.Second
	value := strconv.FormatInt(int64(seconds), 10)
	if r.faults.RetryAfterDate {
		value = now.Add(seconds * time.Second).UTC().Format(http.TimeFormat)
	}
	header.Set("Retry-After", value)
}

// trickle sends the body piece by piece.
func (r *Receiver) trickle(w http.ResponseWriter, req *http.Request, body io.Reader, size int64) {
	pieces := min(size, maxPieces)
	for range pieces {
		wait(req, r.faults.BodyTime/time.Duration(pieces))
		io.CopyN(w, body, (size+pieces-1)/pieces)
		http.NewResponseController(w).Flush()
	}
}

// wait lets the time pass; a request whose client goes away meanwhile ends
// here.
func wait(req *http.Request, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-req.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// garble answers with what is no HTTP. Where the server does not hand the
// connection out, as under HTTP/2, it aborts the request.
func garble(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	conn.Write([]byte("\x00\x01\x02 this is not HTTP\r\n\r\n"))
	conn.Close()
}

// reset closes the connection so that the peer sees a reset. Where the server
// does not hand the connection out, as under HTTP/2, it aborts the request.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// Without lingering, the close sends RST in place of FIN.
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// repeated reads as its text over and over again.
type repeated struct {
	text string
	at   int // where the next read begins
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		copied := copy(p[n:], r.text[r.at:])
		n, r.at = n+copied, (r.at+copied)%len(r.text)
	}
	return n, nil
}
