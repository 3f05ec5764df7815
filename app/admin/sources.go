package admin

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func (s *server) registerSources() {
	tags := []string{"sources"}
	const path = api.Prefix + "/sources"
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "list-sources", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "List the inbound endpoints, and what each lets in", Description: "In the order of the configuration, without a cursor.",
	}, s.listSources)
	register(s, webhook.Administrator, huma.Operation{
		OperationID: "show-source-secret", Method: http.MethodGet, Path: path + "/{name}/secret", Tags: tags,
		Summary: "Show the newest secret of an inbound endpoint", Description: "That of the section inbound has the name inbound.",
	}, s.showSourceSecret)
}

type sourceInput struct {
	Name string `path:"name" doc:"the name of the source" example:"inbound"`
}

func (s *server) sources() []webhook.Source {
	if s.o.Sources == nil {
		return nil
	}
	return s.o.Sources()
}

func (s *server) listSources(context.Context, *struct{}) (*answer[api.List[api.Source]], error) {
	all := s.sources()
	wire := make([]api.Source, len(all))
	for i := range all {
		wire[i] = s.wireSource(&all[i])
	}
	return &answer[api.List[api.Source]]{api.List[api.Source]{Items: wire}}, nil
}

func (s *server) showSourceSecret(_ context.Context, in *sourceInput) (*answer[api.Secret], error) {
	all := s.sources()
	at := slices.IndexFunc(all, func(source webhook.Source) bool { return source.Name == in.Name })
	if at < 0 {
		return nil, notFoundProblem("There is no source with this name.")
	}
	if len(all[at].Secrets) == 0 || all[at].Secrets[0] == "" {
		return nil, notFoundProblem("The source has no secret.")
	}
	return &answer[api.Secret]{api.Secret{Secret: all[at].Secrets[0].Reveal()}}, nil
}

func (s *server) wireSource(source *webhook.Source) api.Source {
	wire := api.Source{
		Name: source.Name, URL: s.o.sourceURL(source.Path), Path: source.Path, Scheme: source.Scheme, Secrets: len(source.Secrets),
		ClientID: source.ClientID, EventPrefix: source.EventPrefix, Enabled: source.Enabled, ValidateSignature: source.ValidateSignature,
		MaxClockSkew: api.Duration(source.MaxClockSkew), MaxBody: source.MaxBody, RateLimit: source.RateLimit,
		AllowIPs: make([]string, len(source.AllowIPs)), AllowASNs: append([]uint32{}, source.AllowASNs...),
	}
	for i, network := range source.AllowIPs {
		wire.AllowIPs[i] = network.String()
	}
	if s.o.Expects != nil {
		wire.Expects = s.o.Expects(*source)
	}
	return wire
}

// sourceURL is where senders post to the path.
func (o *Options) sourceURL(path string) string {
	if o.InboundURL == nil {
		return path
	}
	return o.InboundURL(path)
}

// inboundURL is where senders post to the source of the section inbound.
func (o *Options) inboundURL() string {
	if o.Sources == nil {
		return ""
	}
	return o.sourceURL(o.Sources()[0].Path)
}
