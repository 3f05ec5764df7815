package admin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// An operation is what the OpenAPI document says of it.
type operation struct {
	id, method, path string
	needs            webhook.Role
}

// operations reads those that need a role from the document.
func (n *network) operations(t *testing.T) []operation {
	t.Helper()
	_, _, body := n.request(t, "GET", "/openapi.json", "", nil)
	var document struct {
		Paths map[string]map[string]struct{ OperationID, Description string }
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	var all []operation
	for path, methods := range document.Paths {
		for method, o := range methods {
			if _, role, ok := strings.Cut(o.Description, "Needs the role "); ok {
				all = append(all, operation{o.OperationID, strings.ToUpper(method), path, webhook.Role(strings.TrimSuffix(role, "."))})
			}
		}
	}
	return all
}

// A state is all that an operation could have changed.
type state struct {
	events      []webhook.EventSummary
	deliveries  []webhook.Delivery
	subscribers []webhook.Subscriber
	tokens      []webhook.Token
}

func (n *network) state(t *testing.T) state {
	t.Helper()
	var s state
	events, err := n.store.Events(t.Context(), webhook.EventFilter{}, webhook.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := n.store.Deliveries(t.Context(), webhook.DeliveryFilter{}, webhook.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	s.events, s.deliveries = events.Items, deliveries.Items
	if s.subscribers, err = n.store.Subscribers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.tokens, err = n.store.Tokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestNobodyDoesWhatTheirRoleLacks asks for every operation of the document, on
// things that are there and with bodies that are good.
func TestNobodyDoesWhatTheirRoleLacks(t *testing.T) {
	n := listen(t)
	ctx := t.Context()
	sub, err := n.first.AddSubscriber(ctx, api.SubscriberChange{
		URL: value("https://receiver.example/"), Events: &[]webhook.Pattern{"*"}, Active: value(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	var published [2]api.Published
	for i := range published {
		if published[i], err = n.first.Publish(ctx, api.Publish{Event: "a.b", Data: json.RawMessage(`1`)}); err != nil {
			t.Fatal(err)
		}
	}
	spare, err := n.first.CreateToken(ctx, api.NewToken{Name: "spare", Role: webhook.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	dead, err := webhook.FindDelivery(ctx, n.store, published[0].Deliveries[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.store.Record(ctx, []webhook.Result{{DueAt: dead.NextAttemptAt, State: webhook.Dead, Attempt: webhook.Attempt{
		DeliveryID: dead.ID, Number: 1, StartedAt: time.Now(), Outcome: webhook.Timeout,
	}}}); err != nil {
		t.Fatal(err)
	}
	refused := webhook.Rejection{ID: n.store.IDs().Rejection(time.Now()), At: time.Now(), Status: 401, Code: "invalid_signature", Check: webhook.CheckSignature}
	if err := n.store.Reject(ctx, []webhook.Rejection{refused}); err != nil {
		t.Fatal(err)
	}
	ids := strings.NewReplacer(
		"/rejections/{id}", "/rejections/"+string(refused.ID), "/sources/{name}", "/sources/inbound",
		"/events/{id}", "/events/"+string(published[0].ID), "/deliveries/{id}", "/deliveries/"+string(published[1].Deliveries[0].ID),
		"/subscribers/{id}", "/subscribers/"+string(sub.ID), "/tokens/{id}", "/tokens/"+string(spare.ID))
	bodies := map[string]string{
		"publish-event": `{"event":"a.b","data":1}`, "replay-events": `{}`, "replay-dead-letters": `{}`, "cancel-deliveries": `{}`, "purge-dead-letters": `{}`,
		"add-subscriber": `{"url":"https://other.example/","events":["*"]}`, "change-subscriber": `{"description":"changed"}`,
		"create-token": `{"name":"mine","role":"admin"}`, "send-sample": `{"event":"a.b","data":1}`,
	}
	operations := n.operations(t)
	if len(operations) < 30 {
		t.Fatalf("only %d operations need a role", len(operations))
	}
	before := n.state(t)
	ask := func(o operation, role webhook.Role) (int, string) {
		status, _, body := n.request(t, o.method, ids.Replace(o.path), bodies[o.id], bearer(n.tokens[role]))
		return status, body
	}
	for _, o := range operations {
		for _, role := range webhook.Roles() {
			if role.May(o.needs) {
				continue
			}
			if status, body := ask(o, role); status != http.StatusForbidden || code(body) != "forbidden" {
				t.Errorf("%s as %s: %d %s", o.id, role, status, body)
			}
		}
	}
	if diff := cmp.Diff(before, n.state(t), cmp.AllowUnexported(state{})); diff != "" {
		t.Errorf("what was refused has changed something: %s", diff)
	}
	// What is changed here is gone for those who ask later, but not forbidden.
	for _, o := range operations {
		for _, role := range webhook.Roles() {
			if !role.May(o.needs) {
				continue
			}
			if status, body := ask(o, role); status >= 400 && status != http.StatusNotFound && status != http.StatusConflict {
				t.Errorf("%s as %s: %d %s", o.id, role, status, body)
			}
		}
	}
}

func TestStatsTellTheAskersRole(t *testing.T) {
	n := listen(t)
	for _, role := range webhook.Roles() {
		if stats, err := n.client(t, n.tokens[role]).Stats(t.Context()); err != nil || stats.Role != role {
			t.Errorf("as %s: %q, %v", role, stats.Role, err)
		}
	}
}
