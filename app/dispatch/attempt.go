package dispatch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/signature"
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

// NewTransport returns the transport for deliveries. It calls only what the
// guard allows, verifies TLS, keeps connections and asks no proxy: behind one
// the guard would see the proxy's address only.
func NewTransport(guard *security.OutboundGuard, idlePerHost int) *http.Transport {
	return &http.Transport{
		DialContext:            guard.Dialer().DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // an answer is kept as it came, and cannot swell
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// A target is what the requests to one subscriber have in common.
type target struct {
	// request lacks what differs: the body and Pintle's own headers.
	request http.Request
	// block shows the subscriber's headers.
	block string
}

func newTarget(s *webhook.Subscriber) *target {
	// The URL was checked when the subscriber was saved; should it not parse,
	// the transport refuses to call nothing.
	address, _ := url.Parse(s.URL)
	if address == nil {
		address = &url.URL{}
	}
	header := http.Header{}
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	return &target{
		request: http.Request{
			Method: http.MethodPost, URL: address, Host: address.Host,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		},
		block: string(appendHeader(nil, header)),
	}
}

// A trial is an attempt with what a worker learnt beyond its result.
type trial struct {
	assignment assignment
	result     webhook.Result
	// retryAfter is how long the receiver wants to be left alone; zero: not.
	retryAfter time.Duration
	// gone says that the receiver wants no more deliveries.
	gone bool
}

// worker makes the attempts that it is given until there are no more.
func (d *Dispatcher) worker() {
	buffer := make([]byte, maxKept)
	for a := range d.scheduler.jobs {
		d.underWay.Add(1)
		t := d.try(a, buffer)
		d.underWay.Add(-1)
		d.log(&t)
		if d.o.Observer != nil {
			d.o.Observer.Attempted(a.job.Event, a.subscriber, &t.result)
		}
		if t.gone {
			d.work.Go(func() { d.pause(a.subscriber) })
		}
		d.scheduler.post(func() { d.scheduler.finished(&t) })
		d.recorder.add(t)
	}
}

func (d *Dispatcher) log(t *trial) {
	a, attempt := &t.assignment, &t.result.Attempt
	if t.result.State == webhook.Delivered {
		d.o.Logger.Debug("delivered", "delivery", a.job.Delivery, "subscriber", a.subscriber.ID, "attempt", attempt.Number, "code", attempt.Code)
		return
	}
	failure := []any{"delivery", a.job.Delivery, "subscriber", a.subscriber.ID, "event", a.job.Event.Type,
		"attempt", attempt.Number, "outcome", attempt.Outcome, "code", attempt.Code, "error", attempt.Error}
	if t.result.State == webhook.Dead {
		d.o.Logger.Warn("delivery is dead", failure...)
		return
	}
	d.o.Logger.Info("attempt failed", append(failure, "next", t.result.NextAttemptAt)...)
}

// try makes one attempt and judges it. The buffer is for what is kept of it.
func (d *Dispatcher) try(a assignment, buffer []byte) trial {
	started := time.Now()
	timeout := d.o.Timeout
	if a.subscriber.Timeout > 0 {
		timeout = a.subscriber.Timeout
	}
	trace := newTrace()
	ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(d.attempts, &trace.hooks), timeout)
	defer cancel()
	t := trial{assignment: a, result: webhook.Result{DueAt: a.job.DueAt, Attempt: webhook.Attempt{
		DeliveryID: a.job.Delivery, Number: a.job.Attempts + 1, StartedAt: started,
	}}}
	attempt := &t.result.Attempt
	var request *http.Request
	request, attempt.RequestHeader = d.request(ctx, a, attempt.Number, started, buffer)
	answer, err := d.o.Transport.RoundTrip(request)
	if err != nil {
		attempt.Outcome, attempt.Error = outcomeOf(ctx, err), clip(err.Error())
	} else {
		attempt.Code, attempt.Outcome = answer.StatusCode, webhook.HTTPStatus
		attempt.ResponseHeader = webhook.HeaderBlock(appendHeader(buffer[:0], answer.Header))
		if answer.StatusCode >= 200 && answer.StatusCode <= 299 {
			attempt.Outcome = webhook.OK
		} else {
			t.retryAfter = retryAfter(answer.Header.Get("Retry-After"), time.Now())
		}
		// The status decides; a body that breaks off is only noted.
		if attempt.ResponseBody, err = readAnswer(answer.Body, buffer); err != nil {
			attempt.Error = clip("read the answer: " + err.Error())
		}
	}
	now := time.Now()
	attempt.Duration = now.Sub(started)
	trace.tell(attempt, now)
	d.judge(&t, now)
	return t
}

// clip returns the beginning of a text that is too long, in memory of its own.
func clip(s string) string {
	if len(s) <= maxError {
		return s
	}
	return strings.ToValidUTF8(s[:maxError], "") + "…"
}

// request signs and addresses the attempt, and shows its header. The header
// names are written as the contract has them. The buffer is only made use of.
func (d *Dispatcher) request(ctx context.Context, a assignment, number int, now time.Time, buffer []byte) (*http.Request, webhook.HeaderBlock) {
	e, secrets := a.job.Event, a.subscriber.ValidSecrets(now)
	body := e.Body()
	request := a.target.request.WithContext(ctx)
	header := make(http.Header, len(request.Header)+10)
	for name, values := range request.Header {
		header[name] = values
	}
	values, block := make([]string, 0, 10), buffer[:0]
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
		block, _ = appendLine(block, name, value)
	}
	set("Content-Type", "application/json")
	set("User-Agent", d.o.UserAgent)
	agent := e.AgentID
	if agent == "" {
		agent = d.o.AgentID
	}
	if agent != "" {
		set("X-Agent-ID", agent)
	}
	set("X-Agent-Event", e.Type)
	set("X-Agent-Delivery", string(a.job.Delivery))
	set("X-Agent-Attempt", strconv.Itoa(number))
	// This one holds a single signature, so that it is made with the newest.
	set("X-Agent-Signature", signature.SignAgent(secrets[0], body))
	set("webhook-id", string(e.ID))
	set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	set("webhook-signature", signature.SignStandard(string(e.ID), now.Unix(), body, secrets...))
	request.Header, request.ContentLength = header, int64(len(body))
	// So that a request that an idle connection lost before a byte of it was
	// written goes out on another one.
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	request.Body = io.NopCloser(bytes.NewReader(body))
	return request, webhook.HeaderBlock(append(block, a.target.block...))
}

// readAnswer returns the beginning of the body. It reads further, so that the
// connection can be used again, but not without bound.
func readAnswer(body io.ReadCloser, buffer []byte) (kept []byte, err error) {
	defer body.Close()
	n := 0
	for n < len(buffer) && err == nil {
		var read int
		read, err = body.Read(buffer[n:])
		n += read
	}
	if n > 0 {
		kept = bytes.Clone(buffer[:n])
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, body, maxRead-maxKept)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return kept, err
}

// judge decides what follows from the attempt.
func (d *Dispatcher) judge(t *trial, now time.Time) {
	job, subscriber, r := &t.assignment.job, t.assignment.subscriber, &t.result
	code := r.Attempt.Code
	r.Spent = job.Spent + 1
	switch {
	case r.Attempt.Outcome == webhook.OK:
		r.State = webhook.Delivered
		return
	case r.Attempt.Outcome == webhook.Interrupted:
		r.State, r.Spent, r.NextAttemptAt = webhook.Pending, job.Spent, now
		return
	case code == http.StatusGone:
		r.State, t.gone = webhook.Dead, true
		return
	case subscriber.FinalOn4xx && code >= 400 && code <= 499 && !transient(code):
		r.State = webhook.Dead
		return
	}
	wait, ok := d.policy(subscriber).Next(r.Spent, rand.Float64(), t.retryAfter)
	if !ok {
		r.State = webhook.Dead
		return
	}
	// Time is kept to the millisecond; rounded down, the wait would be shortened.
	r.State, r.NextAttemptAt = webhook.Pending, now.Add(wait).Truncate(time.Millisecond).Add(time.Millisecond)
}

// transient reports whether a status 4xx says that a later try may do.
func transient(code int) bool {
	return code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests
}

// retryAfter reads the header in both of its forms, RFC 9110 section 10.2.3.
// What makes no sense is no hint.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return min(time.Duration(min(seconds, 1<<30))*time.Second, webhook.MaxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), webhook.MaxRetryAfter)
	}
	return 0
}

// outcomeOf tells what an error of the transport means.
func outcomeOf(ctx context.Context, err error) webhook.Outcome {
	var (
		dns      *net.DNSError
		op       *net.OpError
		timeout  net.Error
		record   tls.RecordHeaderError
		verify   *tls.CertificateVerificationError
		alert    tls.AlertError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
	)
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		return webhook.Interrupted
	case errors.Is(err, security.ErrBlocked):
		return webhook.Blocked
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return webhook.Timeout
	case errors.As(err, &dns):
		return webhook.DNS
	case errors.As(err, &record), errors.As(err, &verify), errors.As(err, &alert), errors.As(err, &unknown), errors.As(err, &hostname):
		return webhook.TLS
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return webhook.Reset
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "connect"):
		return webhook.Connect
	case strings.Contains(err.Error(), "server response headers exceeded"):
		// net/http has no type for this one.
		return webhook.TooLarge
	case strings.Contains(err.Error(), "tls: "):
		return webhook.TLS
	}
	return webhook.Reset
}
