package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

// echo is a sandbox whose answers tell what it was asked for.
type echo struct{}

func (echo) Samples() []api.Sample {
	return []api.Sample{{Event: "order.created", Data: json.RawMessage(`{"a":1}`)}}
}

func (echo) Send(_ context.Context, s api.SandboxSend) (api.SandboxAnswer, error) {
	return api.SandboxAnswer{Status: 401, Error: s.Signing, Message: fmt.Sprint(s.Event, " ", string(s.Data), " ", s.Skew, " ", s.IdempotencyKey)}, nil
}

func TestSandboxPassesOnWhatIsSentAndAnswered(t *testing.T) {
	a := start(t)
	got, err := a.SandboxSend(t.Context(), api.SandboxSend{
		Event: "a b", Data: json.RawMessage(`{"x" : 1}`), Signing: "wrong", Skew: api.Duration(-10 * time.Minute), IdempotencyKey: "k",
	})
	if want := (api.SandboxAnswer{Status: 401, Error: "wrong", Message: `a b {"x" : 1} -10m k`}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if samples, err := a.Samples(t.Context()); err != nil || len(samples) != 1 || samples[0].Event != "order.created" || string(samples[0].Data) != `{"a":1}` {
		t.Errorf("samples: %+v, %v", samples, err)
	}
}

func TestRotationKeepsTheOldSecretForItsOverlap(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	s := a.add(t, "/200", true)
	overlap := func(s api.Subscriber) time.Duration {
		if s.OldSecretUntil.IsZero() {
			return 0
		}
		return time.Until(s.OldSecretUntil.Time).Round(time.Minute)
	}
	rotated, err := a.RotateSecret(ctx, s.ID, api.Rotation{Secret: "mine", Overlap: value(api.Duration(time.Hour))})
	if err != nil || rotated.Secret != "mine" || overlap(rotated) != time.Hour {
		t.Errorf("with a secret and an hour: %+v, %v", rotated, err)
	}
	status, _, body := a.request(t, "POST", "/api/v1/subscribers/"+string(s.ID)+"/rotate-secret", "")
	rotated = api.Subscriber{}
	if err := json.Unmarshal([]byte(body), &rotated); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if !strings.HasPrefix(rotated.Secret, webhook.SecretPrefix) || rotated.Secret == s.Secret || overlap(rotated) != 24*time.Hour {
		t.Errorf("without a body: %+v", rotated)
	}
	if rotated, err = a.RotateSecret(ctx, s.ID, api.Rotation{Overlap: value(api.Duration(time.Minute))}); err != nil || overlap(rotated) != 24*time.Hour {
		t.Errorf("one that was replaced earlier and stays longer is not told of: %+v, %v", rotated, err)
	}
	if status, _, body := a.request(t, "POST", "/api/v1/subscribers/"+string(s.ID)+"/rotate-secret", `{"secret":"mine","overlap":null}`); status != 200 || !strings.Contains(body, "old_secret_until") {
		t.Errorf("an overlap of null is none and not the default: %d %s", status, body)
	}
	if secret, err := a.SubscriberSecret(ctx, s.ID); err != nil || secret.Reveal() != "mine" {
		t.Errorf("the secret is %q, %v", secret.Reveal(), err)
	}
	if changed, err := a.UpdateSubscriber(ctx, s.ID, api.SubscriberChange{Secret: value("alone")}); err != nil || overlap(changed) != 0 {
		t.Errorf("a secret set by hand leaves an old one: %+v, %v", changed, err)
	}
	if rotated, err = a.RotateSecret(ctx, s.ID, api.Rotation{Overlap: value(api.Duration(0))}); err != nil || overlap(rotated) != 0 {
		t.Errorf("without an overlap: %+v, %v", rotated, err)
	}
	for body, field := range map[string]string{`{"overlap":"721h"}`: "overlap", `{"overlap":"-1s"}`: "overlap", `{"secret":"a\u0007"}`: "secret", `{"old":1}`: "old"} {
		status, _, answer := a.request(t, "POST", "/api/v1/subscribers/"+string(s.ID)+"/rotate-secret", body)
		var refused api.Error
		if err := json.Unmarshal([]byte(answer), &refused); err != nil || status != 422 || refused.Fields[field] == "" {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

func TestTestEventReachesItsSubscriberWhateverThePatterns(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	a.add(t, "/200", true)
	s, err := a.AddSubscriber(ctx, api.SubscriberChange{URL: value("https://o.example/200"), Events: &[]webhook.Pattern{"order.*"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.TestSubscriber(ctx, s.ID)
	if err != nil || len(p.Deliveries) != 1 || p.Deliveries[0].SubscriberID != s.ID {
		t.Fatalf("got %+v, %v", p, err)
	}
	var sent struct {
		Event string
		Data  struct{ Message, Subscriber string }
	}
	if err := json.Unmarshal([]byte(<-a.sent), &sent); err != nil || sent.Event != "pintle.test" || sent.Data.Subscriber != string(s.ID) || sent.Data.Message == "" {
		t.Errorf("sent %+v, %v", sent, err)
	}
	if _, err := a.PauseSubscriber(ctx, s.ID, ""); err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if _, err := a.TestSubscriber(ctx, s.ID); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("a paused one: %v", err)
	}
}

func TestSubscribersAreSelectedByNameAndByID(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	add := func(url, description string) webhook.SubscriberID {
		s, err := a.AddSubscriber(ctx, api.SubscriberChange{URL: &url, Description: &description, Events: &[]webhook.Pattern{"*"}, Active: value(false)})
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	billing := add("https://hooks.acme.example/200/b", "ACME billing\nsecond line")
	shop := add("https://hooks.acme.example:8443/200/s", "")
	other := add("https://other.example:8443/200", "Other")
	names := map[webhook.SubscriberID]string{billing: "billing", shop: "shop", other: "other"}
	a.publish(t, "a.b")
	if err := a.RemoveSubscriber(ctx, other); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"":                              "other shop billing",
		"*":                             "shop billing",
		"acme billing":                  "billing",
		"acme*":                         "billing",
		"*BILL*":                        "billing",
		"*second*":                      "billing",
		"hooks.acme.example":            "shop billing",
		"hooks.acme.example:8443/200/s": "shop", "hooks.acme.example:8443": "shop",
		"*/200/*":     "shop",
		"billing":     "",
		"Other":       "",
		"sub_nothing": "",
		string(other): "other",
		string(shop):  "shop",
	} {
		for _, filter := range []api.DeliveryFilter{{Subscriber: name}, {Q: "sub:" + strings.ReplaceAll(`"`+name+`"`, `""`, "*")}} {
			if name == "" && filter.Q != "" {
				continue
			}
			var got []string
			for _, d := range collect(t, a.Deliveries(ctx, filter, 0)) {
				got = append(got, names[d.SubscriberID])
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%+v selects %v, want %q", filter, got, want)
			}
		}
	}
}

func TestQuerySelectsAsTheParametersDo(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	a.add(t, "/200", false)
	first := a.publish(t, "order.created")
	second, err := a.Publish(ctx, api.Publish{Event: "user.created", ID: "mine-17", Data: json.RawMessage(`{"name":"Zoe Q"}`)})
	if err != nil {
		t.Fatal(err)
	}
	dead, retried := first.Deliveries[0].ID, second.Deliveries[0].ID
	a.fail(t, webhook.Dead, dead)
	a.fail(t, webhook.Pending, retried)
	waiting := a.publish(t, "order.paid").Deliveries[0].ID
	names := map[webhook.DeliveryID]string{dead: "dead", retried: "retried", waiting: "waiting"}
	for q, want := range map[string]string{
		"":                                      "waiting retried dead",
		"status:dead":                           "dead",
		"state:pending":                         "waiting retried",
		"status:retrying":                       "retried",
		"status:failing":                        "retried",
		"type:order.*":                          "waiting dead",
		"event:order.paid":                      "waiting",
		"event:" + string(second.ID):            "retried",
		string(first.ID):                        "dead",
		string(waiting):                         "waiting",
		"code:500":                              "retried dead",
		"code:5xx type:user.created":            "retried",
		"code:404":                              "",
		"outcome:http_status":                   "retried dead",
		"since:1h":                              "waiting retried dead",
		"until:1h":                              "",
		"zoe q":                                 "retried",
		`"zoe  q"`:                              "",
		"mine-17":                               "retried",
		"client:nobody":                         "",
		string(first.ID) + " status:dead sub:*": "dead",
	} {
		var got []string
		for _, d := range collect(t, a.Deliveries(ctx, api.DeliveryFilter{Q: q}, 0)) {
			got = append(got, names[d.ID])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q selects %v, want %q", q, got, want)
		}
	}
	for q, want := range map[string]int{
		"": 3, "type:order.*": 2, "source:admin": 3, "source:inbound": 0, "zoe": 1, string(first.ID): 1, "event:" + string(first.ID) + " zoe": 0, "since:1h": 3, "until:1h": 0,
	} {
		if got := len(collect(t, a.Events(ctx, api.EventFilter{Q: q}, 0))); got != want {
			t.Errorf("%q selects %d events, want %d", q, got, want)
		}
	}
	if got := collect(t, a.DeadLetters(ctx, api.DeliveryFilter{Q: "status:dead code:5xx"}, 0)); len(got) != 1 || got[0].ID != dead {
		t.Errorf("dead letters: %+v", got)
	}
}

func TestDeliveryIsShownWithAllThatExplainsIt(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	s, err := a.AddSubscriber(ctx, api.SubscriberChange{
		URL: value("https://receiver.example/503"), Events: &[]webhook.Pattern{"*"}, Description: value("Billing"),
		Schedule: &[]api.Duration{api.Duration(time.Hour), api.Duration(2 * time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := a.publish(t, "a.b").Deliveries[0].ID
	body := <-a.sent
	a.stop()
	d, err := a.Delivery(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if d.URL != s.URL || d.SubscriberName != "Billing" || d.Spent != 1 || d.RequestBody != body || d.LastDurationMS < 0 ||
		!cmp.Equal(d.Schedule, []api.Duration{api.Duration(time.Hour), api.Duration(2 * time.Hour)}) {
		t.Errorf("got %+v", d)
	}
	header := map[string]string{}
	for _, h := range d.Attempts[0].RequestHeader {
		header[h.Name] = h.Value
	}
	if header["X-Agent-Delivery"] != string(id) || header["X-Agent-Event"] != "a.b" {
		t.Errorf("the request header is %v", header)
	}
	shown, err := a.Subscriber(ctx, s.ID)
	if err != nil || shown.Health == nil {
		t.Fatalf("shown as %+v, %v", shown, err)
	}
	if h := shown.Health; h.Attempts != 1 || h.Failed != 1 || h.Pending != 1 || h.Retrying != 1 || h.LastCode != 503 || h.LastAt.IsZero() {
		t.Errorf("its health is %+v", h)
	}
	for listed, err := range a.Subscribers(ctx, 0) {
		if err != nil || !cmp.Equal(listed.Health, shown.Health) {
			t.Errorf("listed with the health %+v, %v", listed.Health, err)
		}
	}
	if err := a.RemoveSubscriber(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	if d, err = a.Delivery(ctx, id); err != nil || d.URL != "" || d.SubscriberName != "" {
		t.Errorf("of a removed subscriber: %+v, %v", d, err)
	}
}

func TestEventShowsAtMost500OfItsDeliveries(t *testing.T) {
	a := start(t)
	s := a.add(t, "/200", false)
	p := a.publish(t, "a.b")
	replays := make([]webhook.Replay, 500)
	for i := range replays {
		replays[i] = webhook.Replay{EventID: p.ID, Delivery: webhook.NewDelivery{SubscriberID: s.ID}, DueAt: time.Now()}
	}
	if _, err := a.dispatcher.Replay(t.Context(), replays); err != nil {
		t.Fatal(err)
	}
	e, err := a.Event(t.Context(), p.ID)
	if err != nil || len(e.Deliveries) != api.MaxLimit || !e.FanoutPartial || e.Fanout[webhook.Pending] != api.MaxLimit {
		t.Errorf("%d deliveries, partial %v, %v, %v", len(e.Deliveries), e.FanoutPartial, e.Fanout, err)
	}
	for listed, err := range a.Events(t.Context(), api.EventFilter{}, 0) {
		if err != nil || listed.Size != len(`{}`) || listed.Fanout[webhook.Pending] == 0 {
			t.Errorf("listed as %+v, %v", listed, err)
		}
	}
}

func TestStatsTellHowTheApplianceDoes(t *testing.T) {
	a := start(t)
	a.deaden(t, 2)
	stats, err := a.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Version != "test" || stats.InboundURL != "http://inbound/webhook/inbound" || !stats.StartedAt.Equal(time.UnixMilli(1)) || stats.Role != webhook.Administrator ||
		len(stats.Minutes) != 61 || stats.Totals.Events != 2 || stats.LastHour.Dead != 2 || stats.Queue.MaxInFlight != 10 || len(stats.Worst) != 1 {
		t.Errorf("got %+v", stats)
	}
	a.publish(t, "a.b")
	again, err := a.Stats(t.Context())
	if err != nil || again.Totals.Events != 2 && again.Now.Sub(stats.Now.Time) < time.Second {
		t.Errorf("asked again at once: %+v, %v", again.Totals, err)
	}
}

// TestEveryMethodOfTheClientHitsAnOperation calls each with names of things that
// do not exist: it is refused, or not, but never for its path.
func TestEveryMethodOfTheClientHitsAnOperation(t *testing.T) {
	a := start(t)
	v := reflect.ValueOf(a.Client)
	called := 0
	for i := range v.NumMethod() {
		name, method := v.Type().Method(i).Name, v.Method(i)
		if method.Type().NumIn() == 0 || method.Type().In(0) != reflect.TypeFor[context.Context]() {
			continue
		}
		called++
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		for j := 1; j < method.Type().NumIn(); j++ {
			arg := reflect.New(method.Type().In(j)).Elem()
			if arg.Kind() == reflect.String {
				arg.SetString("nothing")
			}
			in = append(in, arg)
		}
		for _, out := range method.Call(in) {
			err, _ := out.Interface().(error)
			if out.Kind() == reflect.Func {
				for _, second := range out.Seq2() {
					err, _ = second.Interface().(error)
					break
				}
			}
			var refused *client.Error
			if errors.As(err, &refused) && (refused.Status == http.StatusMethodNotAllowed || refused.Message == "There is no such path.") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if called < 30 {
		t.Errorf("only %d methods were called", called)
	}
}
