package admin

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// A Sandbox posts events to the appliance's own inbound endpoint.
type Sandbox interface {
	// Samples returns events to begin with, one of each type.
	Samples() []api.Sample
	// Send posts an event and returns the answer, be it a refusal.
	Send(ctx context.Context, s api.SandboxSend) (api.SandboxAnswer, error)
}

func (s *server) registerSandbox() {
	if s.o.Sandbox == nil {
		return
	}
	tags := []string{"sandbox"}
	send := body[api.SandboxSend](s)
	send.Required = true
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "list-samples", Method: http.MethodGet, Path: api.Prefix + "/sandbox/samples", Tags: tags,
		Summary: "List events to begin with",
	}, func(context.Context, *struct{}) (*answer[api.List[api.Sample]], error) {
		return &answer[api.List[api.Sample]]{api.List[api.Sample]{Items: s.o.Sandbox.Samples()}}, nil
	})
	register(s, webhook.Operator, huma.Operation{
		OperationID: "send-sample", Method: http.MethodPost, Path: api.Prefix + "/sandbox/send", Tags: tags,
		Summary: "Post an event to the inbound endpoint, as an external system would", RequestBody: send,
		Description: "The answer tells what the endpoint said, also where it refused the event.",
	}, s.sendSample)
}

func (s *server) sendSample(ctx context.Context, in *bodyInput) (*answer[api.SandboxAnswer], error) {
	var send api.SandboxSend
	faults, err := decode(in.RawBody, &send)
	if err != nil {
		return nil, err
	}
	if send.Data == nil {
		faults["data"] = "is missing"
	}
	if faults["signing"] == "" && !slices.Contains([]string{"", "header", "body", "none", "wrong"}, send.Signing) {
		faults["signing"] = "must be header, body, none or wrong"
	}
	if key := send.IdempotencyKey; key != "" && !webhook.ValidSenderID(key) {
		faults["idempotency_key"] = "must be 1 to 128 printable characters"
	}
	if len(faults) > 0 {
		return nil, invalidRequest(faults)
	}
	said, err := s.o.Sandbox.Send(ctx, send)
	if err != nil {
		return nil, err
	}
	return &answer[api.SandboxAnswer]{said}, nil
}
