package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func TestEveryConditionOfTheDomainHasOneAnswer(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		retry  bool
	}{
		{webhook.ErrNotFound, 404, "not_found", false},
		{webhook.ErrConflict, 409, "conflict", false},
		{webhook.ErrOverloaded, 503, "overloaded", true},
		{webhook.ErrStorageFull, 507, "storage_full", true},
		{webhook.ErrClosed, 503, "shutting_down", false},
		{webhook.FieldsError{"url": "missing"}, 422, "invalid_subscriber", false},
		{errors.New("disk on fire"), 500, "internal_error", false},
	} {
		p := problemOf(fmt.Errorf("do something: %w", c.err))
		if p.status != c.status || p.code != c.code {
			t.Errorf("%v: got %d %s, want %d %s", c.err, p.status, p.code, c.status, c.code)
		}
		if got := p.header.Get("Retry-After") != ""; got != c.retry {
			t.Errorf("%v: Retry-After %v, want %v", c.err, got, c.retry)
		}
		if strings.Contains(p.message, "fire") {
			t.Errorf("%v: the message tells what only the log may: %s", c.err, p.message)
		}
	}
}

func TestRequestsFromWebPagesAndForeignHostsAreForbidden(t *testing.T) {
	for _, c := range []struct {
		host, origin string
		allowed      bool
	}{
		{"pintle", "", true},
		{"localhost", "", true},
		{"LocalHost:8081", "", true},
		{"evil.example", "", false},
		{"localhost.evil.example", "", false},
		{"127.0.0.1", "", false},
		{"", "", false},
		{"localhost", "http://localhost", false},
		{"localhost", "null", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if got := forbidden(r, onSocket, "use localhost") == nil; got != c.allowed {
			t.Errorf("host %q, origin %q: allowed %v, want %v", c.host, c.origin, got, c.allowed)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "127.0.0.1"
	if p := forbidden(r, onSocket, "use localhost"); !strings.HasSuffix(p.message, "; use localhost.") {
		t.Errorf("the message is %q, want it to say what would do", p.message)
	}
	r.Host = "pintle"
	r.Header["Origin"] = []string{""}
	if forbidden(r, onSocket, "use localhost") == nil {
		t.Error("an empty Origin is allowed, want it forbidden like any other")
	}
}

func TestDecodeNamesEveryFault(t *testing.T) {
	var change api.SubscriberChange
	faults, err := decode([]byte(`{"url":5,"timeout":"soon","events":"*","headers":{"a":1},"active":null,"URL":"x","rate":3,"schedule":["1s",true],"concurrency":1.5}`), &change)
	if err != nil {
		t.Fatal(err)
	}
	want := webhook.FieldsError{
		"url":         "must be a string",
		"timeout":     "must be a duration such as 5s or 2m, or whole seconds",
		"events":      "must be a list, each item of it a string",
		"headers":     "must be an object, each value of it a string and no name twice",
		"active":      "must be true or false",
		"URL":         "there is no such field",
		"rate":        "there is no such field",
		"schedule":    "must be a list, each item of it a duration such as 5s or 2m, or whole seconds",
		"concurrency": "must be a whole number",
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeNamesFaultsOfANestedObject(t *testing.T) {
	var replay api.DeadReplay
	faults, err := decode([]byte(`{"filter":{"code":"x","colour":1,"since":"2h"},"dry_run":true}`), &replay)
	if err != nil {
		t.Fatal(err)
	}
	want := webhook.FieldsError{"filter.code": "must be a whole number", "filter.colour": "there is no such field"}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Error(diff)
	}
	if replay.Filter.Since != "2h" || !replay.DryRun {
		t.Errorf("got %+v", replay)
	}
}

func TestDecodeTakesNoNullForAList(t *testing.T) {
	var purge api.DeadFilter
	faults, err := decode([]byte(`{"ids":null,"filter":null}`), &purge)
	if err != nil || len(faults) != 1 || faults["ids"] == "" {
		t.Errorf("got %v, %v", faults, err)
	}
}

func TestDecodeKeepsADefaultThatIsGivenForNull(t *testing.T) {
	overlap := api.Duration(time.Hour)
	rotation := api.Rotation{Overlap: &overlap}
	if faults, err := decode([]byte(`{"overlap":null}`), &rotation); err != nil || len(faults) > 0 || overlap != api.Duration(time.Hour) {
		t.Errorf("got %s, %v, %v", overlap, faults, err)
	}
}

func TestDecodeGivesADefaultForNull(t *testing.T) {
	full := webhook.Subscriber{
		URL: "http://a", ClientID: "c", Description: "x", Headers: map[string]string{"A": "b"}, Timeout: time.Second, Concurrency: 3,
		Schedule: webhook.Schedule{time.Second}, RateLimit: 5, Signing: webhook.SigningStripe, Filter: ".a", Transform: ".b",
		Ordered: ".c", OnDead: webhook.OnDeadSkip, Basic: webhook.BasicAuth{Username: "u", Password: "p"},
		OAuth2: webhook.OAuth2{TokenURL: "http://t", ClientID: "i", ClientSecret: "s", Scopes: []string{"a"}, Audience: "e"},
		TLS:    webhook.ClientTLS{Cert: "c", Key: "k", CA: "a"}, NoHold: true,
	}
	var nulls []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[api.SubscriberChange]()) {
		if f.Tag.Get("nullable") == "true" {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			nulls = append(nulls, `"`+name+`":null`)
		}
	}
	var change api.SubscriberChange
	faults, err := decode([]byte("{"+strings.Join(nulls, ",")+"}"), &change)
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	apply(change, &full, faults)
	if diff := cmp.Diff(webhook.Subscriber{URL: "http://a", NoHold: true}, full, cmpopts.EquateEmpty()); diff != "" || len(faults) > 0 {
		t.Error(faults, diff)
	}
}

func TestThreeStarsKeepACredentialThatIsThere(t *testing.T) {
	var change api.SubscriberChange
	faults, err := decode([]byte(`{"basic_password":"***","oauth2_client_secret":"***","tls_key":"***","basic_username":"***"}`), &change)
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	with := webhook.Subscriber{
		Basic: webhook.BasicAuth{Username: "u", Password: "p"}, OAuth2: webhook.OAuth2{ClientSecret: "s"}, TLS: webhook.ClientTLS{Key: "k"},
	}
	want := with
	want.Basic.Username = "***" // which is no credential
	apply(change, &with, faults)
	if diff := cmp.Diff(want, with); diff != "" || len(faults) > 0 {
		t.Error(faults, diff)
	}
	without := webhook.Subscriber{}
	apply(change, &without, faults)
	if without.Basic.Password != "" || without.OAuth2.ClientSecret != "" || without.TLS.Key != "" || len(faults) != 3 {
		t.Errorf("the stars became a credential, or are no fault: %+v, %v", without, faults)
	}
}

func TestOrderIsReadFromATruthValueOrAPath(t *testing.T) {
	for given, want := range map[string]api.Ordered{`true`: "true", `false`: "", `"true"`: "true", `"false"`: "", `".data.id"`: ".data.id", `null`: "", `""`: ""} {
		var change api.SubscriberChange
		faults, err := decode([]byte(`{"ordered":`+given+`}`), &change)
		if err != nil || len(faults) > 0 || change.Ordered == nil || *change.Ordered != want {
			t.Errorf("%s: %v %v %v", given, change.Ordered, faults, err)
		}
	}
	var change api.SubscriberChange
	if faults, err := decode([]byte(`{"ordered":5}`), &change); err != nil || faults["ordered"] != "must be true, false or a jq path such as .data.order_id" {
		t.Errorf("a number: %v, %v", faults, err)
	}
}

func TestDecodeRefusesWhatIsNotOneJSONObject(t *testing.T) {
	for body, code := range map[string]string{
		``:                                  "empty_body",
		" \n":                               "empty_body",
		`[]`:                                "invalid_json",
		`"x"`:                               "invalid_json",
		`{"url":"a"`:                        "invalid_json",
		`{"url":"a"} x`:                     "invalid_json",
		`{"url":"a"}{}`:                     "invalid_json",
		`{"url":"a","url":"b"`:              "invalid_json",
		`{"url":"a","\u0075rl":"b"}`:        "invalid_json",
		"\ufeff{}":                          "invalid_json",
		"{\"url\":\"\xff\"}":                "invalid_json",
		`{'url':'a'}`:                       "invalid_json",
		`{"url":` + strings.Repeat("[", 65): "invalid_json",
		`{"url":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`: "invalid_json",
	} {
		var change api.SubscriberChange
		_, err := decode([]byte(body), &change)
		var p *problem
		if !errors.As(err, &p) || p.status != http.StatusBadRequest || p.code != code {
			t.Errorf("%q: got %v, want %s", body, err, code)
		}
	}
}

func TestPublishedDataIsKeptByteForByteAndOutlivesTheRequest(t *testing.T) {
	for _, data := range []string{`{"a" : 1.50, "b":"\u0041\/"}`, `null`, `{"a":1,"a":2}`, `"\ud800"`, "[\n1 ]", `1e400`} {
		body := []byte(`{"event":"order.created","data": ` + data + ` , "timestamp":1731602712}`)
		e, _, err := parsePublish(body, time.Now())
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		clear(body) // the library reads the next request into the same memory
		if string(e.Data) != data {
			t.Errorf("got %s, want %s", e.Data, data)
		}
	}
}

func TestPublishNamesFaultsAsTheInboundEndpointDoes(t *testing.T) {
	long := strings.Repeat("x", 129)
	for body, code := range map[string]string{
		`{"data":1}`:                                      "invalid_event",
		`{"event":"a b","data":1}`:                        "invalid_event",
		`{"event":7,"data":1}`:                            "invalid_event",
		`{"event":"` + long + `","data":1}`:               "invalid_event",
		`{"event":"a"}`:                                   "invalid_data",
		`{"event":"a","data":1,"timestamp":1.5}`:          "invalid_timestamp",
		`{"event":"a","data":1,"timestamp":1e9}`:          "invalid_timestamp",
		`{"event":"a","data":1,"timestamp":"5"}`:          "invalid_timestamp",
		`{"event":"a","data":1,"timestamp":0}`:            "invalid_timestamp",
		`{"event":"a","data":1,"timestamp":-5}`:           "invalid_timestamp",
		`{"event":"a","data":1,"timestamp":null}`:         "invalid_timestamp",
		`{"event":"a","data":1,"timestamp":1e11}`:         "invalid_timestamp",
		`{"event":"a","data":1,"timestamp":100000000000}`: "invalid_timestamp",
		`{"event":"a","data":1,"id":"` + long + `"}`:      "invalid_id",
		`{"event":"a","data":1,"id":"a\u0007"}`:           "invalid_id",
		`{"event":"a","data":1,"id":5}`:                   "invalid_id",
		`{"event":"a","data":1,"agent_id":"a\nb"}`:        "invalid_request",
		`{"event":"a","data":1,"client_id":[]}`:           "invalid_request",
		`{"event":"a","data":1,"signature":"x"}`:          "invalid_request",
	} {
		_, _, err := parsePublish([]byte(body), time.Now())
		var p *problem
		if !errors.As(err, &p) || p.status != http.StatusBadRequest || p.code != code {
			t.Errorf("%s: got %v, want %s", body, err, code)
		}
	}
}

func TestPublishesAreRepeatsOnlyUnderOneID(t *testing.T) {
	key := func(body string) webhook.DedupeKey {
		_, key, err := parsePublish([]byte(body), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	if first, second := key(`{"event":"a","data":1}`), key(`{"event":"a","data":1}`); first == second {
		t.Error("two publishes without an id have one key")
	}
	if key(`{"event":"a","data":1,"id":"x"}`) != key(`{"event":"b","data":2,"id":"x"}`) {
		t.Error("two publishes with one id have two keys")
	}
	if key(`{"event":"a","data":1,"id":"x"}`) != webhook.NewDedupeKey(webhook.SourceAdmin, "x") {
		t.Error("the key is not the domain's for the source and id")
	}
}

func TestStatesAndOutcomesInTheDocumentAreThoseOfTheDomain(t *testing.T) {
	words := func(of any) string { return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(of), "[]")), ",") }
	for _, c := range []struct {
		of    any
		field string
		want  string
	}{
		{api.DeliveryFilter{}, "State", words(webhook.States())},
		{api.Delivery{}, "State", words(webhook.States())},
		{api.DeliveryFilter{}, "Outcome", words(webhook.Outcomes())},
		{api.Attempt{}, "Outcome", words(webhook.Outcomes())},
		{api.Gate{}, "Name", words(webhook.GateNames())},
		{api.Gate{}, "Verdict", words(webhook.Verdicts())},
	} {
		f, _ := reflect.TypeOf(c.of).FieldByName(c.field)
		if got := f.Tag.Get("enum"); got != c.want {
			t.Errorf("%T.%s: got %s, want %s", c.of, c.field, got, c.want)
		}
	}
}

func TestBoundsOfAPageInTheDocumentAreThoseOfTheAPI(t *testing.T) {
	f, _ := reflect.TypeFor[api.PageQuery]().FieldByName("Limit")
	if got, want := f.Tag.Get("maximum"), fmt.Sprint(api.MaxLimit); got != want {
		t.Errorf("maximum %s, want %s", got, want)
	}
	if got, want := f.Tag.Get("default"), fmt.Sprint(api.DefaultLimit); got != want {
		t.Errorf("default %s, want %s", got, want)
	}
}

func TestSubscriberThatIsHeldSaysWhenItIsProbed(t *testing.T) {
	at := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	held := wireSubscriber(t.Context(), &webhook.Subscriber{FailingSince: at}, webhook.LaneState{Held: true, ProbeAt: at.Add(time.Minute)})
	if !held.Held || !held.ProbeAt.Equal(at.Add(time.Minute)) || !held.FailingSince.Equal(at) {
		t.Errorf("held: %+v", held)
	}
	if free := wireSubscriber(t.Context(), &webhook.Subscriber{}, webhook.LaneState{ProbeAt: at}); free.Held || !free.ProbeAt.IsZero() {
		t.Errorf("free: %+v", free)
	}
}
