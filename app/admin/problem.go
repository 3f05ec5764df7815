package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// retryAfter is what clients are told to wait when the fault is ours.
const retryAfter = 5 * time.Second

// A problem is a refusal on its way to the client.
type problem struct {
	status  int
	code    string
	message string
	fields  map[string]string
	header  http.Header
	cause   error // what happened; for the log only, may be nil
}

func (p *problem) Error() string { return p.message }
func (p *problem) Unwrap() error { return p.cause }

// GetStatus tells the library the HTTP status.
func (p *problem) GetStatus() int { return p.status }

// GetHeaders tells the library the headers that go with it.
func (p *problem) GetHeaders() http.Header { return p.header }

// conditions is the one table from the conditions of the domain to answers.
// What is not in it is an internal error.
func conditions() []struct {
	condition error
	problem   problem
} {
	wait := http.Header{"Retry-After": {strconv.Itoa(int(retryAfter.Seconds()))}}
	return []struct {
		condition error
		problem   problem
	}{
		{webhook.ErrNotFound, problem{status: http.StatusNotFound, code: "not_found", message: "Nothing with this id is stored."}},
		{webhook.ErrConflict, problem{status: http.StatusConflict, code: "conflict", message: "Its present state does not allow this."}},
		{webhook.ErrOverloaded, problem{status: http.StatusServiceUnavailable, code: "overloaded", message: "Too much waits to be stored; nothing was stored, try again.", header: wait}},
		{webhook.ErrStorageFull, problem{status: http.StatusInsufficientStorage, code: "storage_full", message: "There is no room left; nothing was stored.", header: wait}},
		{webhook.ErrClosed, problem{status: http.StatusServiceUnavailable, code: "shutting_down", message: "The appliance is stopping; nothing was stored."}},
	}
}

// problemOf finds the answer that an error stands for.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var faults webhook.FieldsError
	if errors.As(err, &faults) {
		return invalidSubscriber(faults)
	}
	for _, c := range conditions() {
		if errors.Is(err, c.condition) {
			c.problem.cause = err
			return &c.problem
		}
	}
	return internalProblem(err)
}

func internalProblem(cause error) *problem {
	return &problem{
		status: http.StatusInternalServerError, code: "internal_error",
		message: "The request could not be carried out; the log says why.", cause: cause,
	}
}

func notFoundProblem(message string) *problem {
	return &problem{status: http.StatusNotFound, code: "not_found", message: message}
}

func methodProblem(allow string) *problem {
	return &problem{
		status: http.StatusMethodNotAllowed, code: "method_not_allowed",
		message: "This path takes " + allow + " only.", header: http.Header{"Allow": {allow}},
	}
}

// badRequest refuses a body for one reason that has a code of its own.
func badRequest(code, message string) *problem {
	return &problem{status: http.StatusBadRequest, code: code, message: message}
}

// sentence ends text with a full stop, unless it asks something.
func sentence(text string) string {
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

// invalidRequest refuses parameters or a body, with every fault by its name.
func invalidRequest(faults webhook.FieldsError) *problem {
	return &problem{
		status: http.StatusUnprocessableEntity, code: "invalid_request",
		message: sentence("The request is not valid: " + faults.Error()), fields: faults, cause: faults,
	}
}

// invalidSubscriber refuses a subscriber, with every fault by its field.
func invalidSubscriber(faults webhook.FieldsError) *problem {
	return &problem{
		status: http.StatusUnprocessableEntity, code: "invalid_subscriber",
		message: sentence("The subscriber is not valid: " + faults.Error()), fields: faults, cause: faults,
	}
}

// libraryProblem translates a refusal by the library, which judges parameters
// and reads bodies, but knows neither our codes nor our shape.
func libraryProblem(e *huma.ErrorModel) *problem {
	switch e.Status {
	case http.StatusBadRequest:
		return badRequest("empty_body", "The request has no body.")
	case http.StatusRequestEntityTooLarge:
		return &problem{status: e.Status, code: "payload_too_large", message: "The body is larger than 2 MiB."}
	case http.StatusRequestTimeout:
		return &problem{status: e.Status, code: "request_timeout", message: "The body came too slowly."}
	case http.StatusUnprocessableEntity:
		faults := webhook.FieldsError{}
		for _, detail := range e.Errors {
			// The location is "query.limit"; the name alone is the field's.
			_, field, found := strings.Cut(detail.Location, ".")
			if !found {
				field = detail.Location
			}
			if _, known := faults[field]; !known {
				faults[field] = detail.Message
			}
		}
		return invalidRequest(faults)
	}
	details := make([]error, 0, len(e.Errors)+1)
	for _, detail := range e.Errors {
		details = append(details, detail)
	}
	return internalProblem(errors.Join(append(details, e)...))
}

// transform gives refusals their one shape on the wire.
func (s *server) transform(ctx huma.Context, _ string, v any) (any, error) {
	var p *problem
	switch v := v.(type) {
	case *problem:
		p = v
	case *huma.ErrorModel:
		p = libraryProblem(v)
	default:
		return v, nil
	}
	ctx.SetHeader("Content-Type", "application/json")
	shape := s.shape(p)
	if p.status == http.StatusInternalServerError && !errors.Is(ctx.Context().Err(), context.Canceled) {
		s.o.Logger.Error("admin request failed", "method", ctx.Method(), "path", ctx.URL().Path,
			"request_id", shape.RequestID, "error", p.cause)
	}
	return shape, nil
}

// shape is the problem as the client sees it.
func (s *server) shape(p *problem) api.Error {
	return api.Error{
		Code: p.code, Message: p.message, Fields: p.fields,
		RequestID: s.o.Store.IDs().Rejection(time.Now()),
	}
}

// refuse answers with a problem where the library is not involved, and returns
// what the client is told as the name of its request.
func (s *server) refuse(w http.ResponseWriter, p *problem) webhook.RejectionID {
	header := w.Header()
	for name, values := range p.header {
		header[name] = slices.Clone(values)
	}
	header.Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	shape := s.shape(p)
	// The shape consists of strings, which always have a JSON form.
	_ = marshal(w, shape)
	return shape.RequestID
}
