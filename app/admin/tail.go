package admin

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/feed"
	"github.com/pintle/pintle/app/webhook"
)

const (
	// maxStreams is how many tails are open at a time.
	maxStreams = 100
	// heartbeat is how often a tail on which nothing happens shows that it is
	// alive.
	heartbeat = 15 * time.Second
	// tailWrite is how long the reader of a tail may take to read a batch.
	tailWrite = 30 * time.Second
)

// tailInput is what a tail is asked for. The kinds may be repeated, separated
// by commas, or both.
type tailInput struct {
	api.TailQuery
	Since       uint64 `query:"since" doc:"go on after the happening with this sequence"`
	LastEventID string `header:"Last-Event-ID" doc:"the same, as browsers and other readers of server-sent events ask for it"`
}

// Resolve reads the kinds, of which the library takes the first value only.
func (in *tailInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	in.Kinds = nil
	for _, value := range u.Query()["kind"] {
		for kind := range strings.SplitSeq(value, ",") {
			if kind != "" {
				in.Kinds = append(in.Kinds, api.Kind(kind))
			}
		}
	}
	return nil
}

// after returns the sequence after which the tail begins; zero: now. A
// Last-Event-ID that is none of ours is what a reader kept of another server.
func (in *tailInput) after() uint64 {
	if last, err := strconv.ParseUint(in.LastEventID, 10, 64); err == nil {
		return last
	}
	return in.Since
}

func (s *server) registerTail() {
	register(s, webhook.Viewer, huma.Operation{
		OperationID: "tail", Method: http.MethodGet, Path: api.Prefix + "/tail", Tags: []string{"tail"},
		Summary: "Follow what happens, as server-sent events",
		Description: "The id of each event is its sequence, and its name its kind. A gap stands for happenings that are no " +
			"longer kept. The stream ends when the appliance stops; go on with Last-Event-ID or since.",
	}, s.tail)
	operation := s.api.OpenAPI().Paths[api.Prefix+"/tail"].Get
	operation.Responses["200"] = &huma.Response{
		Description: "A stream of server-sent events, the data of each a Happening",
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Happening](), true, ""),
		}},
	}
}

func (s *server) tail(_ context.Context, in *tailInput) (*huma.StreamResponse, error) {
	if err := validTail(&in.TailQuery); err != nil {
		return nil, err
	}
	if s.o.Feed == nil {
		return nil, notFoundProblem("This appliance has no live stream.")
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		if s.streams.Add(1) > maxStreams {
			s.streams.Add(-1)
			p := problemOf(webhook.ErrOverloaded)
			p.message = "Too many tails are open; close one, or try again."
			s.refuse(w, p)
			return
		}
		defer s.streams.Add(-1)
		s.stream(r, w, s.o.Feed.Read(in.after()), &in.TailQuery)
	}}, nil
}

func validTail(q *api.TailQuery) error {
	faults := webhook.FieldsError{}
	for _, kind := range q.Kinds {
		if !slices.Contains(api.Kinds(), kind) {
			faults["kind"] = "must be event, attempt or rejection"
		}
	}
	if q.EventType != "" {
		if err := q.EventType.Validate(); err != nil {
			faults["event_type"] = err.Error()
		}
	}
	if len(faults) > 0 {
		return invalidRequest(faults)
	}
	return nil
}

// stream writes what the reader finds and the query selects, until the feed or
// the request ends, or its token is revoked.
func (s *server) stream(r *http.Request, w http.ResponseWriter, reader *feed.Reader, q *api.TailQuery) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // what nginx goes by
	control := http.NewResponseController(w)
	// The deadlines of the server are for short requests; they would cut the
	// stream off. A writer without deadlines has none to lift.
	_ = control.SetReadDeadline(time.Time{})
	write := func(b []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(tailWrite))
		_, err := w.Write(b)
		return err == nil && control.Flush() == nil
	}
	if !write([]byte(": what happens from here on\n\n")) || r.Method == http.MethodHead {
		return
	}
	var (
		batch   []api.Happening
		out     []byte
		written = time.Now()
	)
	for {
		ctx, cancel := context.WithDeadline(r.Context(), written.Add(heartbeat))
		news, err := reader.Next(ctx, batch)
		quiet := ctx.Err() != nil && r.Context().Err() == nil
		cancel()
		if err != nil && !quiet {
			return
		}
		out, batch = out[:0], news
		for i := range news {
			if s.selects(q, &news[i]) {
				out = appendHappening(out, &news[i])
			}
		}
		if len(out) == 0 && quiet {
			out = append(out, ": nothing new\n\n"...)
		}
		if len(out) > 0 {
			if !stillAdmitted(r) || !write(out) {
				return
			}
			written = time.Now()
		}
	}
}

// appendHappening appends a happening as a server-sent event. Its JSON has no
// line break, which would end the field.
func appendHappening(out []byte, h *api.Happening) []byte {
	data, err := api.Marshal(h)
	if err != nil {
		panic(err) // it consists of strings, numbers and times
	}
	out = append(out, "id: "...)
	out = strconv.AppendUint(out, h.Sequence, 10)
	out = append(out, "\nevent: "...)
	out = append(out, h.Kind...)
	out = append(out, "\ndata: "...)
	out = append(out, data...)
	return append(out, "\n\n"...)
}

// selects reports whether the query selects the happening. A gap is for
// everybody: what it stands for may be what was asked for.
func (s *server) selects(q *api.TailQuery, h *api.Happening) bool {
	if h.Kind == api.KindGap {
		return true
	}
	switch {
	case len(q.Kinds) > 0 && !slices.Contains(q.Kinds, h.Kind),
		q.EventType != "" && (h.EventType == "" || !q.EventType.Match(h.EventType)),
		q.ClientID != "" && q.ClientID != h.ClientID,
		q.Subscriber != "" && !s.concerns(h, q.Subscriber):
		return false
	}
	return true
}

// concerns reports whether the happening is about the subscriber that is meant
// by the name or id.
func (s *server) concerns(h *api.Happening, name string) bool {
	if h.SubscriberID == "" {
		return false
	}
	sub, known := s.o.Dispatcher.Subscriber(h.SubscriberID)
	return string(h.SubscriberID) == name || glob(name, h.SubscriberName) || known && isNamed(&sub, name)
}

func (s *server) registerMetrics() {
	operation := func(id, path string, hidden bool) {
		register(s, webhook.Viewer, huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"stats"}, Hidden: hidden,
			Summary: "Metrics, in the text format of Prometheus",
			// A scraper may send parameters of its own.
			SkipValidateParams: true,
		}, s.metrics)
	}
	operation("metrics", "/metrics", false)
	operation("metrics-below-prefix", api.Prefix+"/metrics", true)
	s.api.OpenAPI().Paths["/metrics"].Get.Responses["200"] = &huma.Response{
		Description: "The metrics",
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
}

func (s *server) metrics(context.Context, *struct{}) (*huma.StreamResponse, error) {
	if s.o.Metrics == nil {
		return nil, notFoundProblem("This appliance has no metrics.")
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		s.o.Metrics.ServeHTTP(w, r)
	}}, nil
}
