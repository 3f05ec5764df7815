package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/webhook"
)

// sandboxTimeout bounds a request to our own inbound endpoint, connection and
// answer included.
const sandboxTimeout = 15 * time.Second

// A selfSender posts to the appliance's own inbound endpoint, over HTTP and signed,
// as an external system would: whatever stands between the two is tried too.
type selfSender struct {
	// endpoint is where the endpoint is now, and what it is signed for with.
	endpoint func() (url string, secret webhook.Secret)
	client   *http.Client
}

// newSender returns a sender. The name is what TLS is asked for; empty: none.
func newSender(endpoint func() (string, webhook.Secret), name string) *selfSender {
	// No proxy stands between the appliance and itself, and a connection that
	// is kept would only hold up the stop of the inbound server. What answers at
	// our own address is ourselves, and our certificate is for another name.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
	return &selfSender{endpoint: endpoint, client: &http.Client{Timeout: sandboxTimeout, Transport: transport}}
}

// Samples returns an event of each type that the sandbox knows.
func (s *selfSender) Samples() []api.Sample {
	samples := sandbox.NewSamples(uint64(time.Now().UnixNano()))
	var list []api.Sample
	for _, eventType := range sandbox.SampleTypes() {
		list = append(list, api.Sample{Event: eventType, Data: samples.Of(eventType).Data})
	}
	return list
}

// Send posts an event and returns what the endpoint answered, be it a refusal.
func (s *selfSender) Send(ctx context.Context, send api.SandboxSend) (api.SandboxAnswer, error) {
	var options []sandbox.Option
	if send.Signing != "" {
		options = append(options, sandbox.Signed(sandbox.Signing(send.Signing)))
	}
	if send.Skew != 0 {
		options = append(options, sandbox.Skewed(time.Duration(send.Skew)))
	}
	if send.IdempotencyKey != "" {
		options = append(options, sandbox.WithIdempotencyKey(send.IdempotencyKey))
	}
	url, secret := s.endpoint()
	a, err := sandbox.Send(ctx, s.client, url, secret, sandbox.Event{Type: send.Event, Data: send.Data}, options...)
	if err != nil {
		return api.SandboxAnswer{}, fmt.Errorf("post to our own inbound endpoint: %w", err)
	}
	return api.SandboxAnswer{
		Status: a.StatusCode, DurationMS: float64(a.Duration) / float64(time.Millisecond),
		EventID: a.ID, Duplicate: a.Duplicate(), Error: a.Error, Message: a.Message, RequestID: a.RequestID,
	}, nil
}
