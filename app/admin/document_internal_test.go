package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// noSandbox stands for one where only its presence matters.
type noSandbox struct{}

func (noSandbox) Samples() []api.Sample { return nil }

func (noSandbox) Send(context.Context, api.SandboxSend) (api.SandboxAnswer, error) {
	return api.SandboxAnswer{}, nil
}

// A document is what the tests read of the OpenAPI document.
type document struct {
	Info    struct{ Version string }
	Servers []struct{ URL string }
	Paths   map[string]map[string]struct {
		OperationID string
		Description string
		Security    []map[string][]string
		RequestBody struct {
			Required bool
			Content  map[string]json.RawMessage
		}
		Responses map[string]struct {
			Content map[string]struct{ Schema map[string]any }
		}
	}
	Components struct {
		Schemas         map[string]json.RawMessage
		SecuritySchemes map[string]struct{ Type, Scheme string }
	}
}

func readDocument(t *testing.T) document {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/openapi.json", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	New(Options{Version: "1.2.3", Sandbox: noSandbox{}}).Socket.ServeHTTP(w, r)
	var d document
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocumentListsAllPathsWithTheirBodiesAndOneShapeOfErrors(t *testing.T) {
	document := readDocument(t)
	if document.Info.Version != "1.2.3" {
		t.Errorf("version %q", document.Info.Version)
	}
	got := map[string]bool{}
	for path, methods := range document.Paths {
		for method, operation := range methods {
			got[strings.ToUpper(method)+" "+path] = len(operation.RequestBody.Content) > 0
			for name := range operation.RequestBody.Content {
				if name != "application/json" {
					t.Errorf("%s %s takes %s", method, path, name)
				}
			}
			schema := operation.Responses["default"].Content["application/json"].Schema
			if schema["$ref"] != "#/components/schemas/Error" {
				t.Errorf("%s %s: errors are %v", method, path, schema)
			}
		}
	}
	want := map[string]bool{ // whether it takes a body
		"GET /healthz":                                false,
		"GET /readyz":                                 false,
		"GET /metrics":                                false,
		"GET /api/v1/events":                          false,
		"POST /api/v1/events":                         true,
		"GET /api/v1/events/{id}":                     false,
		"POST /api/v1/events/{id}/replay":             true,
		"POST /api/v1/replays":                        true,
		"GET /api/v1/subscribers":                     false,
		"POST /api/v1/subscribers":                    true,
		"GET /api/v1/subscribers/{id}":                false,
		"PATCH /api/v1/subscribers/{id}":              true,
		"DELETE /api/v1/subscribers/{id}":             false,
		"POST /api/v1/subscribers/{id}/pause":         true,
		"POST /api/v1/subscribers/{id}/resume":        false,
		"POST /api/v1/subscribers/{id}/rotate-secret": true,
		"POST /api/v1/subscribers/{id}/secret":        false,
		"POST /api/v1/subscribers/{id}/test":          false,
		"GET /api/v1/deliveries":                      false,
		"GET /api/v1/deliveries/{id}":                 false,
		"POST /api/v1/deliveries/{id}/resend":         false,
		"POST /api/v1/deliveries/{id}/cancel":         false,
		"GET /api/v1/deliveries/{id}/explain":         false,
		"POST /api/v1/deliveries/cancel":              true,
		"GET /api/v1/events/{id}/explain":             false,
		"GET /api/v1/dead-letters":                    false,
		"DELETE /api/v1/dead-letters":                 true,
		"GET /api/v1/dead-letters/groups":             false,
		"POST /api/v1/dead-letters/replay":            true,
		"GET /api/v1/stats":                           false,
		"GET /api/v1/tail":                            false,
		"GET /api/v1/tokens":                          false,
		"POST /api/v1/tokens":                         true,
		"DELETE /api/v1/tokens/{id}":                  false,
		"GET /api/v1/sandbox/samples":                 false,
		"POST /api/v1/sandbox/send":                   true,
		"GET /api/v1/rejections":                      false,
		"GET /api/v1/rejections/{id}":                 false,
		"GET /api/v1/sources":                         false,
		"GET /api/v1/sources/{name}/secret":           false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name := range document.Components.Schemas {
		if strings.HasPrefix(name, "ErrorM") || strings.HasPrefix(name, "ErrorD") {
			t.Errorf("the document describes %s, which no answer has", name)
		}
	}
}

func TestEveryOperationSaysWhichRoleItNeeds(t *testing.T) {
	want := map[string]webhook.Role{
		"healthz": "", "readyz": "",
		"metrics":       webhook.Viewer,
		"publish-event": webhook.Operator, "list-events": webhook.Viewer, "show-event": webhook.Viewer,
		"replay-event": webhook.Operator, "replay-events": webhook.Operator,
		"list-subscribers": webhook.Viewer, "add-subscriber": webhook.Administrator, "show-subscriber": webhook.Viewer,
		"change-subscriber": webhook.Administrator, "remove-subscriber": webhook.Administrator,
		"pause-subscriber": webhook.Operator, "resume-subscriber": webhook.Operator, "test-subscriber": webhook.Operator,
		"show-subscriber-secret": webhook.Administrator, "rotate-subscriber-secret": webhook.Administrator,
		"list-deliveries": webhook.Viewer, "show-delivery": webhook.Viewer,
		"resend-delivery": webhook.Operator, "cancel-delivery": webhook.Operator, "cancel-deliveries": webhook.Operator,
		"explain-delivery": webhook.Viewer, "explain-event": webhook.Viewer,
		"list-dead-letters": webhook.Viewer, "group-dead-letters": webhook.Viewer,
		"replay-dead-letters": webhook.Operator, "purge-dead-letters": webhook.Administrator,
		"show-stats": webhook.Viewer, "tail": webhook.Viewer,
		"list-tokens": webhook.Administrator, "create-token": webhook.Administrator, "revoke-token": webhook.Administrator,
		"list-samples": webhook.Viewer, "send-sample": webhook.Operator,
		"list-rejections": webhook.Viewer, "show-rejection": webhook.Viewer,
		"list-sources": webhook.Viewer, "show-source-secret": webhook.Administrator,
	}
	got := map[string]webhook.Role{}
	for _, methods := range readDocument(t).Paths {
		for _, operation := range methods {
			_, role, _ := strings.Cut(operation.Description, "Needs the role ")
			got[operation.OperationID] = webhook.Role(strings.TrimSuffix(role, "."))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A generated client finds out from the document where to send the token.
func TestDocumentSaysWhichOperationsNeedAToken(t *testing.T) {
	d := readDocument(t)
	if got := d.Components.SecuritySchemes[bearer]; len(d.Components.SecuritySchemes) != 1 || got.Type != "http" || got.Scheme != "bearer" {
		t.Errorf("schemes %v", d.Components.SecuritySchemes)
	}
	if len(d.Servers) != 1 || d.Servers[0].URL != "/" {
		t.Errorf("servers %v", d.Servers)
	}
	needs := []map[string][]string{{bearer: {}}}
	for path, methods := range d.Paths {
		for method, operation := range methods {
			want := needs
			if path == "/healthz" || path == "/readyz" {
				want = []map[string][]string{}
			}
			// Left out, it would not be said of the operation that it needs none.
			if diff := cmp.Diff(want, operation.Security); diff != "" {
				t.Errorf("%s %s: %s", method, path, diff)
			}
		}
	}
}

func TestDocumentAllowsNullWhereItGivesAFieldItsDefault(t *testing.T) {
	var change struct {
		Properties map[string]struct{ Type any }
	}
	if err := json.Unmarshal(readDocument(t).Components.Schemas["SubscriberChange"], &change); err != nil {
		t.Fatal(err)
	}
	for name, property := range change.Properties {
		_, one := property.Type.(string)
		faults, err := decode([]byte(`{"`+name+`":null}`), &api.SubscriberChange{})
		// These are read, but an empty one is not valid.
		needed := name == "url" || name == "secret" || name == "events"
		if allowed := err == nil && len(faults) == 0 && !needed; allowed == one {
			t.Errorf("%s has the type %v, and a null is allowed: %v", name, property.Type, allowed)
		}
	}
}

func TestDocumentSaysThatAnOrderIsAPathOrATruthValue(t *testing.T) {
	d := readDocument(t)
	for name, want := range map[string][]any{"Subscriber": {"boolean", "string"}, "SubscriberChange": {"boolean", "string", "null"}} {
		var schema struct {
			Properties map[string]struct {
				Type        any
				Description string
			}
		}
		if err := json.Unmarshal(d.Components.Schemas[name], &schema); err != nil {
			t.Fatal(err)
		}
		ordered := schema.Properties["ordered"]
		if diff := cmp.Diff(any(want), ordered.Type); diff != "" || ordered.Description == "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
