// Package admin is the admin API: JSON over HTTP, described by an OpenAPI
// document that is made from the types in package api.
//
// Every refusal has one shape, [api.Error], and every condition of the domain
// one status and code, in one table. Whoever reaches the Unix socket may do
// everything, for its file mode is the permission; on a network, the token that
// comes with a request says what its bearer may do. A request that a web page
// could have caused is refused on both.
package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/board"
	"github.com/pintle/pintle/app/feed"
	"github.com/pintle/pintle/app/webhook"
)

// maxBody bounds the body of a request, in bytes: an event with all the data
// that an inbound endpoint would take by default, and room to spare.
const maxBody = 2 << 20

// bearer is what the OpenAPI document calls the token.
const bearer = "token"

// A Dispatcher brings events to subscribers.
type Dispatcher interface {
	// Publish stores the event with its deliveries and begins to send them. It
	// gives the event its id and time of receipt.
	Publish(ctx context.Context, e webhook.Event, key webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error)
	// PublishTo is Publish, but to this subscriber only and whatever its
	// patterns.
	PublishTo(ctx context.Context, e webhook.Event, key webhook.DedupeKey, to webhook.SubscriberID) (webhook.Accepted, []webhook.NewDelivery, error)

	// Subscriber returns the subscriber with this id.
	Subscriber(id webhook.SubscriberID) (webhook.Subscriber, bool)
	// Subscribers returns all subscribers, the newest first. The list is
	// shared: it must not be changed.
	Subscribers() []*webhook.Subscriber
	// Recipients returns a delivery, without its id, for each subscriber that
	// receives such an event. An event without its data is read where that is
	// needed.
	Recipients(ctx context.Context, e *webhook.Event) ([]webhook.NewDelivery, error)
	// Recipient returns a delivery of the event, without its id, for this
	// subscriber, whatever its patterns and its filter.
	Recipient(e *webhook.Event, id webhook.SubscriberID) (webhook.NewDelivery, error)
	// Policy is when failed deliveries to the subscriber are tried again.
	Policy(id webhook.SubscriberID) webhook.RetryPolicy
	// Held reports whether the deliveries of the subscriber wait for the end of an
	// outage.
	Held(s *webhook.Subscriber) bool
	// LaneState is how the lane of the subscriber stands at the moment.
	LaneState(ctx context.Context, id webhook.SubscriberID) (webhook.LaneState, error)
	// Explain says what each gate between the event and the subscriber says. The
	// delivery is that of the event to this subscriber; nil: there is none. The
	// event has its data.
	Explain(ctx context.Context, e *webhook.Event, id webhook.SubscriberID, d *webhook.Delivery) (webhook.Explanation, error)
	// Check finds what is wrong with a subscriber that its Validate cannot know.
	// Of a change it looks only at what differs from before; nil: it is new.
	Check(ctx context.Context, s, before *webhook.Subscriber) webhook.FieldsError
	// AddSubscriber stores a new subscriber and gives it its id and times.
	AddSubscriber(ctx context.Context, s webhook.Subscriber) (webhook.Subscriber, error)
	// UpdateSubscriber applies the change, while nobody else changes the
	// subscriber, and stores it. An error of the change leaves it as it was.
	UpdateSubscriber(ctx context.Context, id webhook.SubscriberID, change func(*webhook.Subscriber) error) (webhook.Subscriber, error)
	// RemoveSubscriber removes the subscriber and cancels what waits for it.
	RemoveSubscriber(ctx context.Context, id webhook.SubscriberID) error

	// Resend sends deliveries again, with their whole schedule before them: the
	// first at the time, each further one so much later. It returns those that
	// it took up.
	Resend(ctx context.Context, ids []webhook.DeliveryID, first time.Time, every time.Duration) ([]webhook.Delivery, error)
	// Replay makes new deliveries of stored events, which it gives their ids,
	// and returns those that it made.
	Replay(ctx context.Context, replays []webhook.Replay) ([]webhook.Delivery, error)
	// Cancel gives up what is pending of these, and returns what it was.
	Cancel(ctx context.Context, ids []webhook.DeliveryID) ([]webhook.Delivery, error)
	// Purge deletes dead letters with their attempts, and returns how many there
	// were.
	Purge(ctx context.Context, ids []webhook.DeliveryID) (int, error)

	// InFlight is how many requests are under way.
	InFlight() int
}

// Options are what the API works on. All fields without a stated default are
// needed.
type Options struct {
	Store      webhook.Store
	Dispatcher Dispatcher
	Logger     *slog.Logger
	// Version is the release, for the OpenAPI document.
	Version string
	// Sources are the inbound endpoints as they are at the moment, that of the
	// section inbound first; nil: there is none.
	Sources func() []webhook.Source
	// Expects says in which form the senders of a source sign; nil: nothing does.
	Expects func(webhook.Source) string
	// Sandbox posts events to the inbound endpoint; nil: there is none.
	Sandbox Sandbox
	// StartedAt is when the process started.
	StartedAt time.Time
	// InboundURL is where senders post to the path; nil: nowhere.
	InboundURL func(path string) string
	// MaxInFlight is how many requests may be under way.
	MaxInFlight int
	// Rate is what went on in the last seconds; nil: the last minute stands in.
	Rate func() api.Rate
	// DatabasePath is a file on the disk whose room is watched; empty: none is.
	DatabasePath string
	// Warnings are what the operator should know, each beginning with what it is
	// about; nil: nothing ever is.
	Warnings func() []string
	// Degraded are those of them that are no choice of the operator's: what works
	// worse than it should; nil: nothing ever does.
	Degraded func() []string
	// Ready says why the appliance cannot store or deliver; nil: it always can.
	Ready func(context.Context) error
	// Hosts are the names under which the API is reached over a network, beside
	// localhost and IP addresses; "*.example.com" stands for one level below.
	Hosts []string
	// Feed is the live stream; nil: there is none.
	Feed *feed.Feed
	// Metrics answers at /metrics; nil: nothing does.
	Metrics http.Handler
}

// Handlers are the API, as it is served on each kind of listener.
type Handlers struct {
	// Socket trusts whoever reaches it.
	Socket http.Handler
	// TCP asks for a token.
	TCP http.Handler
}

// server answers requests.
type server struct {
	o   Options
	api huma.API
	// roles are what each operation needs, by its id; empty: nothing.
	roles   map[string]webhook.Role
	board   *board.Board
	tokens  tokens
	streams atomic.Int64 // how many tails are open
}

// New returns the handlers of the API.
func New(o Options) Handlers {
	s := &server{o: o, roles: map[string]webhook.Role{}, board: newBoard(o)}
	mux := http.NewServeMux()
	s.api = humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Pintle admin API",
				Version:     o.Version,
				Description: "Lists run from the newest to the oldest. Every error has the same shape.",
			},
			Servers: []*huma.Server{{URL: "/", Description: "Where this document came from"}},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{bearer: {
					Type: "http", Scheme: "bearer",
					Description: "A token that pintle tokens create has made. The Unix socket needs none.",
				}},
			},
		},
		// The second name is how the library finds the first for its own errors.
		Formats:                      map[string]huma.Format{"application/json": {Marshal: marshal}, "json": {Marshal: marshal}},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{s.transform},
	})
	s.api.UseMiddleware(s.authorize)
	s.registerHealth()
	s.registerEvents()
	s.registerSubscribers()
	s.registerDeliveries()
	s.registerDeadLetters()
	s.registerRejections()
	s.registerStats()
	s.registerSandbox()
	s.registerSources()
	s.registerTokens()
	s.registerTail()
	s.registerMetrics()

	document := s.document()
	serveDocument := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		// Whoever does not get the answer asked for it, and notices.
		_, _ = w.Write(document)
	}
	mux.HandleFunc("GET /openapi.json", serveDocument)
	mux.HandleFunc("GET "+api.Prefix+"/openapi.json", serveDocument)
	return Handlers{
		Socket: s.guard(mux, s.fromSocket),
		TCP:    s.guard(mux, s.fromNetwork),
	}
}

// marshal writes an answer whole or not at all. A client that has gone away is
// nobody's fault, so the error of writing is dropped.
func marshal(w io.Writer, v any) error {
	b, err := api.Marshal(v)
	if err != nil {
		return err
	}
	_, _ = w.Write(append(b, '\n'))
	return nil
}

// document writes the OpenAPI document.
func (s *server) document() []byte {
	// The library's own shape of errors, which it registers with the first
	// operation and which no answer has.
	schemas := s.api.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	b, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		panic(err) // it consists of what was registered, and nothing else
	}
	return b
}

// guard stands before all endpoints. It refuses what a web page could have
// sent and whom the listener does not know, and gives its own shape to what the
// mux would refuse in plain text.
func (s *server) guard(mux *http.ServeMux, admit func(*http.Request) (webhook.Role, *problem)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if fault == http.ErrAbortHandler {
				panic(fault)
			}
			stack := string(debug.Stack())
			id := s.refuse(w, internalProblem(nil))
			s.o.Logger.Error("admin request panicked", "method", r.Method, "path", r.URL.Path,
				"request_id", id, "panic", fault, "stack", stack)
		}()
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("X-Content-Type-Options", "nosniff")

		role, p := admit(r)
		if p != nil {
			s.refuse(w, p)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), admissionKey{}, admission{role, admit}))
		// The mux would redirect a path that is not in its shortest form.
		if escaped := r.URL.EscapedPath(); escaped != path.Clean(escaped) {
			s.refuse(w, notFoundProblem("There is no such path."))
			return
		}
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		refused := &refusal{header: http.Header{}}
		handler.ServeHTTP(refused, r)
		if refused.status == http.StatusMethodNotAllowed {
			s.refuse(w, methodProblem(refused.header.Get("Allow")))
			return
		}
		s.refuse(w, notFoundProblem("There is no such path."))
	})
}

// A refusal takes what the mux would answer.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }
func (r *refusal) WriteHeader(status int)      { r.status = status }

// bodyInput is the input of an operation with a body. The body is read by
// [decode] and not by the library, which would compare names without regard to
// case, stop at the first fault and take data apart.
type bodyInput struct {
	RawBody []byte
}

// answer is the output of an operation.
type answer[T any] struct {
	Body T
}

// body describes the body of a request in the OpenAPI document.
func body[T any](s *server) *huma.RequestBody {
	return &huma.RequestBody{Content: map[string]*huma.MediaType{
		"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")},
	}}
}

// register adds an operation that needs the role; an empty one is open to all.
// An error of its handler becomes the answer that the table has for it.
func register[I, O any](s *server, role webhook.Role, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	s.roles[op.OperationID] = role
	op.Security = []map[string][]string{}
	if role != "" {
		op.Security = append(op.Security, map[string][]string{bearer: {}})
		op.Description = strings.TrimPrefix(op.Description+" Needs the role "+string(role)+".", " ")
	}
	op.MaxBodyBytes = maxBody + 1 // the library refuses a body that reaches it
	op.SkipValidateBody = true
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	op.Responses = map[string]*huma.Response{
		"default": {
			Description: "Error",
			Content: map[string]*huma.MediaType{
				"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Error](), true, "")},
			},
		},
	}
	required := op.RequestBody != nil && op.RequestBody.Required
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, problemOf(err)
		}
		return out, nil
	})
	if op.RequestBody != nil {
		// Registration has described the raw body too.
		op.RequestBody.Required = required
		delete(op.RequestBody.Content, "application/octet-stream")
	}
}

func (s *server) registerHealth() {
	register(s, "", huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{"health"},
		Summary: "The process is alive",
	}, func(context.Context, *struct{}) (*answer[api.Alive], error) {
		return &answer[api.Alive]{api.Alive{Status: "ok"}}, nil
	})
	register(s, "", huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{"health"},
		Summary: "The appliance can store and deliver; 503 says why not",
	}, func(ctx context.Context, _ *struct{}) (*answer[api.Alive], error) {
		if s.o.Ready != nil {
			if err := s.o.Ready(ctx); err != nil {
				return nil, &problem{status: http.StatusServiceUnavailable, code: "not_ready", message: err.Error(), cause: err}
			}
		}
		alive := api.Alive{Status: "ready"}
		if s.o.Degraded != nil {
			alive.Warnings = s.o.Degraded()
		}
		return &answer[api.Alive]{alive}, nil
	})
}
