package app

import (
	"context"
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

// A sender posts to the appliance's own inbound endpoint, over HTTP and signed,
// as an external system would: whatever stands between the two is tried too.
type sender struct {
	url    string
	secret webhook.Secret
	client *http.Client
}

func newSender(url string, secret webhook.Secret) *sender {
	// No proxy stands between the appliance and itself, and a connection that
	// is kept would only hold up the stop of the inbound server.
	return &sender{url: url, secret: secret, client: &http.Client{
		Timeout: sandboxTimeout, Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

// Samples returns an event of each type that the sandbox knows.
func (s *sender) Samples() []api.Sample {
	samples := sandbox.NewSamples(uint64(time.Now().UnixNano()))
	var list []api.Sample
	for _, eventType := range sandbox.SampleTypes() {
		list = append(list, api.Sample{Event: eventType, Data: samples.Of(eventType).Data})
	}
	return list
}

// Send posts an event and returns what the endpoint answered, be it a refusal.
func (s *sender) Send(ctx context.Context, send api.SandboxSend) (api.SandboxAnswer, error) {
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
	a, err := sandbox.Send(ctx, s.client, s.url, s.secret, sandbox.Event{Type: send.Event, Data: send.Data}, options...)
	if err != nil {
		return api.SandboxAnswer{}, fmt.Errorf("post to our own inbound endpoint: %w", err)
	}
	return api.SandboxAnswer{
		Status: a.StatusCode, DurationMS: float64(a.Duration) / float64(time.Millisecond),
		EventID: a.ID, Duplicate: a.Duplicate(), Error: a.Error, Message: a.Message,
	}, nil
}
