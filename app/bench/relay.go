package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// relayTask says what the relay is to be.
type relayTask struct {
	// Secret is the senders', SubscriberSecret the receivers'.
	Secret, SubscriberSecret string
	Subscribers              []string
	// Concurrency is how many requests are in flight to one subscriber.
	Concurrency int
}

// relayReady tells where the relay is.
type relayReady struct{ URL string }

const (
	relayPath    = "/webhook/inbound"
	relayMaxBody = 1 << 20
	// relayInFlight is how many requests are in flight in all; the appliance's
	// default.
	relayInFlight = 256
	// relayQueue is how many events wait for one subscriber at most.
	relayQueue = 1024
	// relayTimeout bounds a whole outbound request, relayReadTimeout an inbound
	// one; the appliance's defaults.
	relayTimeout     = 5 * time.Second
	relayReadTimeout = 10 * time.Second
)

func playRelay(ctx context.Context, task relayTask, answer func(any) error) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r, err := newRelay(task)
	if err != nil {
		l.Close()
		return err
	}
	server := &http.Server{Handler: r, ReadTimeout: relayReadTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if err := answer(relayReady{URL: "http://" + l.Addr().String() + relayPath}); err != nil {
		return err
	}
	<-ctx.Done()
	// A bounded time for the requests that are being answered; their queues
	// have workers until the last of them is done.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayTimeout)
	defer cancel()
	err = server.Shutdown(grace)
	r.close()
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		return served
	}
	return err
}

// A relay forwards events and stores nothing.
type relay struct {
	task      relayTask
	ids       *webhook.IDs
	transport *http.Transport
	queues    []chan *webhook.Event
	flight    chan struct{}
	workers   sync.WaitGroup
}

func newRelay(task relayTask) (*relay, error) {
	r := &relay{
		task:   task,
		ids:    webhook.NewIDs(webhook.NewInstance(), 0),
		flight: make(chan struct{}, relayInFlight),
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: relayTimeout}).DialContext,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: task.Concurrency,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
	}
	var targets []*url.URL
	for _, subscriber := range task.Subscribers {
		target, err := url.Parse(subscriber)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	for _, target := range targets {
		queue := make(chan *webhook.Event, relayQueue)
		r.queues = append(r.queues, queue)
		for range task.Concurrency {
			r.workers.Go(func() {
				for e := range queue {
					r.flight <- struct{}{}
					// Nothing is kept here, so a failed request is an event
					// lost; the sink will miss it.
					_ = r.deliver(target, e)
					<-r.flight
				}
			})
		}
	}
	return r, nil
}

func (r *relay) close() {
	for _, queue := range r.queues {
		close(queue)
	}
	r.workers.Wait()
	r.transport.CloseIdleConnections()
}

// ServeHTTP takes an event in.
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	body, err := readBody(http.MaxBytesReader(w, req.Body, relayMaxBody), req.ContentLength)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, err := decode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := signature.VerifyAgent(req.Header.Get("X-Agent-Signature"), body, webhook.Secret(r.task.Secret)); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	e.ID, e.ReceivedAt = r.ids.Event(now), now
	for _, queue := range r.queues {
		select {
		case queue <- e:
		case <-req.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status":"received","id":%q,"event":%q,"received_at":%d}`+"\n", e.ID, e.Type, now.Unix())
}

// deliver posts the event to a subscriber.
func (r *relay) deliver(target *url.URL, e *webhook.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), relayTimeout)
	defer cancel()
	now, body, secret := time.Now(), e.Body(), webhook.Secret(r.task.SubscriberSecret)
	// A round trip of the transport, not a client's: nothing here follows a
	// redirect or keeps a cookie, so the floor does not pay for it.
	request := &http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":      {"application/json"},
			"User-Agent":        {"AI-Agent-Webhook/1.0"},
			"X-Agent-Event":     {e.Type},
			"X-Agent-Delivery":  {string(r.ids.Delivery(now))},
			"X-Agent-Attempt":   {"1"},
			"X-Agent-Signature": {signature.SignAgent(secret, body)},
			"webhook-id":        {string(e.ID)},
			"webhook-timestamp": {strconv.FormatInt(now.Unix(), 10)},
			"webhook-signature": {signature.SignStandard(string(e.ID), now.Unix(), body, secret)},
		},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	response, err := r.transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// readBody reads a body in one piece where its length is known.
func readBody(r io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > relayMaxBody {
		return io.ReadAll(r)
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return body, err
}

// decode reads the envelope with the appliance's library and about as strictly:
// one object, no known member twice, and data only checked and kept as it is.
func decode(body []byte) (*webhook.Event, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.Join(errors.New("decode event: not an object"), err)
	}
	values := make(map[string]jsontext.Value, 3)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("decode event: %w", err)
		}
		member := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("decode event: %w", err)
		}
		switch member {
		case "event", "timestamp", "data":
			if _, twice := values[member]; twice {
				return nil, fmt.Errorf("decode event: %s stands twice", member)
			}
			end := d.InputOffset()
			values[member] = body[end-int64(len(value)) : end : end]
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("decode event: something follows it"), err)
	}
	eventType, err1 := jsontext.AppendUnquote(nil, values["event"])
	timestamp, err2 := strconv.ParseInt(string(values["timestamp"]), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	if !webhook.ValidType(string(eventType)) || values["data"] == nil {
		return nil, errors.New("decode event: no event or no data")
	}
	return &webhook.Event{
		Source: webhook.SourceInbound, Type: string(eventType), Timestamp: timestamp, Data: values["data"],
	}, nil
}
