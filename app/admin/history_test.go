package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// record stores what came of an attempt, after which the delivery is in the
// state.
func (a *appliance) record(t *testing.T, state webhook.State, attempt webhook.Attempt) {
	t.Helper()
	d, err := webhook.FindDelivery(t.Context(), a.store, attempt.DeliveryID)
	if err != nil {
		t.Fatal(err)
	}
	result := webhook.Result{DueAt: d.NextAttemptAt, State: state, Spent: attempt.Number, Attempt: attempt}
	if state == webhook.Pending {
		result.NextAttemptAt = time.Now().Add(time.Hour)
	}
	if err := a.store.Record(t.Context(), []webhook.Result{result}); err != nil {
		t.Fatal(err)
	}
}

func TestAttemptIsShownAsItWasRecorded(t *testing.T) {
	a := start(t)
	a.add(t, "/200", false)
	id := a.publish(t, "a.b").Deliveries[0].ID
	at := time.Date(2025, 1, 2, 3, 4, 5, 6e6, time.UTC)
	a.record(t, webhook.Pending, webhook.Attempt{
		DeliveryID: id, Number: 1, StartedAt: at, Duration: 1234567 * time.Microsecond, Outcome: webhook.HTTPStatus, Code: 503,
		Error: "read the answer: \xff", RemoteAddr: "192.0.2.1:443",
		RequestHeader: "Content-Type: application/json\nX-A: b: c\n", ResponseHeader: "Server: \nX-A: 1\nX-A: 2\n", ResponseBody: []byte("no\xff"),
		Timing: webhook.Timing{DNS: time.Millisecond, Connect: 2 * time.Millisecond, TLS: 3 * time.Millisecond, Wait: 4500 * time.Microsecond},
	})
	a.record(t, webhook.Pending, webhook.Attempt{DeliveryID: id, Number: 2, StartedAt: at.Add(time.Second), Duration: time.Second, Outcome: webhook.Timeout, Error: "too late"})
	d, err := a.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Attempt{{
		ID: id.Attempt(1), Number: 1, StartedAt: api.Time{Time: at}, DurationMS: 1234.567, Outcome: webhook.HTTPStatus, Code: 503,
		Error: "read the answer: \ufffd", RemoteAddr: "192.0.2.1:443",
		RequestHeader:  []api.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-A", Value: "b: c"}},
		ResponseHeader: []api.Header{{Name: "Server", Value: ""}, {Name: "X-A", Value: "1"}, {Name: "X-A", Value: "2"}},
		ResponseBody:   "no\ufffd", Timing: api.Timing{DNS: 1, Connect: 2, TLS: 3, Wait: 4.5},
	}, {
		ID: id.Attempt(2), Number: 2, StartedAt: api.Time{Time: at.Add(time.Second)}, DurationMS: 1000, Outcome: webhook.Timeout, Error: "too late",
	}}
	if diff := cmp.Diff(want, d.Attempts); diff != "" {
		t.Error(diff)
	}
	if d.AttemptCount != 2 || d.Spent != 2 || d.LastOutcome != webhook.Timeout || d.LastCode != 0 || d.LastError != "too late" || d.LastDurationMS != 1000 {
		t.Errorf("the delivery is %+v", d.Delivery)
	}
}

func TestCredentialsAreHiddenInTheHistory(t *testing.T) {
	a := start(t)
	s, err := a.AddSubscriber(t.Context(), api.SubscriberChange{
		URL: value("https://receiver.example/200"), Events: &[]webhook.Pattern{"*"}, Secret: value("s3cret-key"),
		Headers: &map[string]string{"Authorization": "Bearer hush", "X-Team": "billing"},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := a.publish(t, "a.b").Deliveries[0].ID
	<-a.sent
	a.stop()
	header := a.sentHeader(t, id)
	if header.Get("X-Team") != "billing" || header.Get("Authorization") == "" {
		t.Errorf("shown with %v", header)
	}
	for _, path := range []string{"/api/v1/deliveries/" + string(id), "/api/v1/deliveries"} {
		if _, _, body := a.request(t, "GET", path, ""); strings.Contains(body, "hush") || strings.Contains(body, "s3cret-key") {
			t.Errorf("%s shows a credential of %s: %s", path, s.ID, body)
		}
	}
}

// sentHeader is what the history shows of the header of the first attempt.
func (a *appliance) sentHeader(t *testing.T, id webhook.DeliveryID) http.Header {
	t.Helper()
	d, err := a.Delivery(t.Context(), id)
	if err != nil || len(d.Attempts) == 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	header := http.Header{}
	for _, h := range d.Attempts[0].RequestHeader {
		header.Add(h.Name, h.Value)
	}
	return header
}

func TestDeliveriesAreSignedWithEverySecretThatIsValid(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	s := a.add(t, "/200", true)
	type sent struct {
		why      string
		event    webhook.EventID
		delivery webhook.DeliveryID
		body     string
		secrets  []webhook.Secret // the newest first
	}
	var all []sent
	send := func(why string, secrets ...webhook.Secret) {
		p := a.publish(t, "a.b")
		all = append(all, sent{why, p.ID, p.Deliveries[0].ID, <-a.sent, secrets})
	}
	rotate := func(r api.Rotation) webhook.Secret {
		rotated, err := a.RotateSecret(ctx, s.ID, r)
		if err != nil {
			t.Fatal(err)
		}
		return webhook.Secret(rotated.Secret)
	}
	first := webhook.Secret(s.Secret)
	send("at first", first)
	second := rotate(api.Rotation{})
	send("after a rotation", second, first)
	third := rotate(api.Rotation{Overlap: value(api.Duration(time.Hour))})
	send("after another", third, second, first)
	fourth := rotate(api.Rotation{Overlap: value(api.Duration(0))})
	send("without an overlap", fourth)
	fifth := rotate(api.Rotation{})
	if _, err := a.UpdateSubscriber(ctx, s.ID, api.SubscriberChange{Secret: value("by hand")}); err != nil {
		t.Fatal(err)
	}
	send("set by hand", "by hand")
	a.stop()
	for _, c := range all {
		header := a.sentHeader(t, c.delivery)
		timestamp, err := strconv.ParseInt(header.Get("webhook-timestamp"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		signatures := header.Get("webhook-signature")
		if n := len(strings.Fields(signatures)); n != len(c.secrets) {
			t.Errorf("%s: %d signatures, want %d", c.why, n, len(c.secrets))
		}
		for i, secret := range c.secrets {
			if err := signature.VerifyStandard(signatures, string(c.event), timestamp, []byte(c.body), secret); err != nil {
				t.Errorf("%s, secret %d: %v", c.why, i, err)
			}
		}
		if err := signature.VerifyAgent(header.Get("X-Agent-Signature"), []byte(c.body), c.secrets[0]); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
		if err := signature.VerifyStandard(signatures, string(c.event), timestamp, []byte(c.body), fifth); err == nil {
			t.Errorf("%s: signed with a secret that was not valid", c.why)
		}
	}
}

func TestTextIsLookedForInTheErrorOfTheLastAttemptOnly(t *testing.T) {
	a := start(t)
	a.add(t, "/200", false)
	id := a.publish(t, "a.b").Deliveries[0].ID
	for number, fault := range []string{"connection refused", "certificate has EXPIRED 100%"} {
		a.record(t, webhook.Pending, webhook.Attempt{DeliveryID: id, Number: number + 1, StartedAt: time.Now(), Outcome: webhook.Connect, Error: fault})
	}
	for q, want := range map[string]int{"has expired": 1, "100% ": 1, "has_expired": 0, "refused": 0, "outcome:connect expired": 1, "outcome:dns expired": 0} {
		if got := len(collect(t, a.Deliveries(t.Context(), api.DeliveryFilter{Q: q}, 0))); got != want {
			t.Errorf("%q selects %d, want %d", q, got, want)
		}
	}
}

func TestPurgedDeliveriesTakeTheirAttemptsAndTheirPlaceInTheGroupsAlong(t *testing.T) {
	a := start(t)
	ctx := t.Context()
	s, ids := a.deaden(t, 3)
	groups := func() (n int64) {
		t.Helper()
		list, err := a.DeadGroups(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range list {
			n += g.Count
		}
		return n
	}
	health := func() int64 {
		t.Helper()
		shown, err := a.Subscriber(ctx, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return shown.Health.Dead
	}
	for left := 2; left >= 0; left-- {
		if purged, err := a.PurgeDeadLetters(ctx, api.DeadFilter{IDs: ids[left : left+1]}); err != nil || purged.Purged != 1 {
			t.Fatalf("purged %+v, %v", purged, err)
		}
		if groups() != int64(left) || health() != int64(left) {
			t.Errorf("%d in groups and %d in the subscriber's health, want %d", groups(), health(), left)
		}
	}
	var refused *client.Error
	if _, err := a.Delivery(ctx, ids[0]); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("a purged delivery: %v", err)
	}
	if attempts, err := a.store.Attempts(ctx, ids[0]); err == nil && len(attempts) > 0 {
		t.Errorf("its attempts are left: %v", attempts)
	}
	if _, err := a.PurgeDeadLetters(ctx, api.DeadFilter{IDs: ids[:1]}); !errors.As(err, &refused) || refused.Fields["ids"] == "" {
		t.Errorf("purged twice: %v", err)
	}
}

func TestAnEmptyListOfDeadLettersIsNoneAndNullIsAFault(t *testing.T) {
	a := start(t)
	a.deaden(t, 2)
	if got, err := a.PurgeDeadLetters(t.Context(), api.DeadFilter{IDs: []webhook.DeliveryID{}}); err != nil || got != (api.Purged{}) {
		t.Errorf("an empty list: %+v, %v", got, err)
	}
	if status, _, body := a.request(t, "DELETE", "/api/v1/dead-letters", `{"ids":null}`); status != 422 {
		t.Errorf("null: %d %s", status, body)
	}
	many := make([]webhook.DeliveryID, 1000)
	for i := range many {
		many[i] = webhook.DeliveryID(fmt.Sprint("dlv_", i))
	}
	var refused *client.Error
	if _, err := a.PurgeDeadLetters(t.Context(), api.DeadFilter{IDs: many}); !errors.As(err, &refused) ||
		!strings.Contains(refused.Fields["ids"], "dlv_19 and 980 more") {
		t.Errorf("a thousand wrong ids: %v", err)
	}
	if n := len(collect(t, a.DeadLetters(t.Context(), api.DeliveryFilter{}, 0))); n != 2 {
		t.Errorf("%d dead letters are left, want both", n)
	}
}

func TestTimesFarAwaySelectAllOrNone(t *testing.T) {
	a := start(t)
	a.deaden(t, 1)
	for _, c := range []struct {
		since, until string
		want         int
	}{
		{"", "9999-12-31T00:00:00Z", 1}, {"9999-12-31T00:00:00Z", "", 0}, {"", "99999999999", 1}, {"99999999999", "", 0},
		{"1970-01-02T00:00:00Z", "", 1}, {"", "1970-01-02T00:00:00Z", 0}, {"2562047h", "", 1}, {"", "2562047h", 0},
	} {
		if n := len(collect(t, a.Events(t.Context(), api.EventFilter{Since: c.since, Until: c.until}, 0))); n != c.want {
			t.Errorf("since %q, until %q: %d events, want %d", c.since, c.until, n, c.want)
		}
	}
	// The zero time must not pass for "no bound".
	status, _, body := a.request(t, "DELETE", "/api/v1/dead-letters", `{"filter":{"until":"0001-01-01T00:00:00Z"}}`)
	var refused api.Error
	if err := json.Unmarshal([]byte(body), &refused); err != nil || status != 422 || refused.Fields["filter.until"] == "" {
		t.Errorf("the first moment of all: %d %s", status, body)
	}
}

func TestTextThatNoEngineLooksForIsAFaultOfTheQuery(t *testing.T) {
	a := start(t)
	for _, q := range []string{strings.Repeat("a", 60_000), "a%00", "%ff"} {
		for _, list := range []string{"events", "deliveries", "dead-letters", "rejections"} {
			status, _, body := a.request(t, "GET", "/api/v1/"+list+"?q="+q, "")
			var refused api.Error
			if err := json.Unmarshal([]byte(body), &refused); err != nil || status != 422 || refused.Fields["q"] == "" {
				t.Errorf("%s, %.10s: %d %s", list, q, status, body)
			}
		}
	}
}
