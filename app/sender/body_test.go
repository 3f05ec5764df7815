package sender

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/transform"
	"github.com/pintle/pintle/app/webhook"
)

// expressing returns a sender that runs expressions and sends to the recording.
func expressing(t *testing.T, r *recording, transforms ...webhook.Transform) *Sender {
	t.Helper()
	pool := transform.New(transform.Options{Timeout: 5 * time.Second})
	t.Cleanup(pool.Close)
	return New(Options{Transport: r, Expressions: pool, Transforms: transforms, Timeout: 30 * time.Second})
}

func TestTransformsMakeTheBodyOneAfterTheOther(t *testing.T) {
	r := &recording{}
	sender := expressing(t, r,
		webhook.Transform{Events: []webhook.Pattern{"order.*"}, Expression: `.path += "b"`},
		webhook.Transform{Events: []webhook.Pattern{"user.*"}, Expression: `.path += "x"`},
		webhook.Transform{Events: []webhook.Pattern{"*"}, Expression: `{path: "a", data, id: $id, source: $source, client: $client_id}`})
	s := &webhook.Subscriber{ID: "sub_1", URL: "https://example.com", Secret: "s", Transform: `.path += "c"`}
	w := work(s)
	w.Job.Event.Source, w.Job.Event.ClientID = "shop", "acme"
	got := sender.Send(t.Context(), w)
	want := `{"client":"acme","data":{"id":1},"id":"evt_1","path":"abc","source":"shop"}`
	if got.Attempt.Outcome != webhook.OK || r.body != want || string(got.Body) != want || got.Unjudged || got.Rejected {
		t.Errorf("%s was sent, want %s; %+v", r.body, want, got)
	}
	if r.header["X-Agent-Signature"][0] != signature.SignAgent("s", []byte(want)) || r.header["Content-Type"][0] != "application/json" {
		t.Errorf("the header is %v", r.header)
	}
	// After a failure in the making it is made again.
	w.Job.Attempts, w.Job.LastOutcome = 1, webhook.Transformation
	if got := sender.Send(t.Context(), w); string(got.Body) != want || got.Attempt.Number != 2 {
		t.Errorf("the second attempt is %+v", got)
	}
}

func TestEventWithoutTransformsIsSentAsItCame(t *testing.T) {
	r := &recording{}
	w := work(&webhook.Subscriber{URL: "https://example.com", Secret: "s"})
	got := expressing(t, r, webhook.Transform{Events: []webhook.Pattern{"user.*"}, Expression: "1"}).Send(t.Context(), w)
	if r.body != string(w.Job.Event.Body()) || got.Body != nil {
		t.Errorf("%s was sent, and %s is kept", r.body, got.Body)
	}
}

func TestFilterIsAskedWhereItWasNot(t *testing.T) {
	for _, tt := range []struct {
		name, filter, transform string
		unjudged                bool
		outcome                 webhook.Outcome
		rejected, still         bool
		error                   string
	}{
		{"wants it", ".data.id == 1", "", true, webhook.OK, false, false, ""},
		{"does not", ".data.id == 2", "", true, "", true, false, ""},
		{"says nothing", "empty", "{}", true, "", true, false, ""},
		{"does not, and was asked before", ".data.id == 2", "", false, webhook.OK, false, false, ""},
		{"is gone", "", "", true, webhook.OK, false, false, ""},
		{"fails", ".data | error", "", true, webhook.Transformation, false, true, "filter: "},
		{"wants it, and the transform fails", "true", `error("no")`, true, webhook.Transformation, false, false, "transform: "},
		{"was asked before, and the transform fails", "true", `error("a\u0000b")`, false, webhook.Transformation, false, false, "transform: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &recording{}
			w := work(&webhook.Subscriber{ID: "sub_1", URL: "https://example.com", Secret: "s", Filter: tt.filter, Transform: tt.transform})
			w.Job.Unjudged = tt.unjudged
			got := expressing(t, r).Send(t.Context(), w)
			if got.Attempt.Outcome != tt.outcome || got.Rejected != tt.rejected || got.Unjudged != tt.still ||
				!strings.HasPrefix(got.Attempt.Error, tt.error) || tt.error == "" && got.Attempt.Error != "" || strings.Contains(got.Attempt.Error, "\x00") {
				t.Errorf("%+v", got)
			}
			if sent := r.header != nil; sent != (tt.outcome == webhook.OK) || got.Attempt.RequestHeader == "" == sent {
				t.Errorf("sent: %v, with the header %q", sent, got.Attempt.RequestHeader)
			}
		})
	}
}

// TestBodyIsMadeThoughPintleStops keeps a stop from hiding whether something was
// sent.
func TestBodyIsMadeThoughPintleStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r := &recording{}
	sender := expressing(t, r)
	for transform, want := range map[string]webhook.Outcome{"{}": webhook.OK, `error("no")`: webhook.Transformation} {
		w := work(&webhook.Subscriber{ID: "sub_1", URL: "https://example.com", Secret: "s", Transform: transform})
		// This transport does not heed the stop, so that what comes of it is OK.
		if got := sender.Send(ctx, w); got.Attempt.Outcome != want || got.Attempt.Duration <= 0 {
			t.Errorf("%s: %+v", transform, got)
		}
	}
}
