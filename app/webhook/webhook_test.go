package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

func TestIDsAreNewAndSortByTimeWhateverTheClockDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := webhook.NewIDs("0123456789", webhook.FirstAt(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "last"), 0)))
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0)
		last := ""
		for range rapid.IntRange(1, 50).Draw(t, "ids") {
			now = now.Add(time.Duration(rapid.Int64Range(-1e13, 1e13).Draw(t, "step")))
			if now.Unix() < 0 {
				now = time.Unix(0, 0)
			}
			id := string(ids.Event(now))
			if id <= last {
				t.Fatalf("%s follows %s", id, last)
			}
			sequence, ok := ids.Parse(webhook.EventPrefix, id)
			if !ok || ids.Format(webhook.EventPrefix, sequence) != id {
				t.Fatalf("%s is read as %d, %v", id, sequence, ok)
			}
			last = id
		}
	})
}

func TestConcurrentIDsDiffer(t *testing.T) {
	ids, now := webhook.NewIDs(webhook.NewInstance(), 0), time.Now()
	var mu sync.Mutex
	seen := map[webhook.DeliveryID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				id := ids.Delivery(now)
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 8000 {
		t.Errorf("%d ids of 8000 differ", len(seen))
	}
}

func TestIDsTellTheirTimeAndInstallation(t *testing.T) {
	now := time.UnixMilli(1731602712345).UTC()
	ids := webhook.NewIDs("00000000aa", 0)
	id := string(ids.Delivery(now))
	sequence, ok := ids.Parse(webhook.DeliveryPrefix, id)
	if !ok || !webhook.MadeAt(sequence).Equal(now) || len(id) != 30 {
		t.Errorf("%s was made at %v, %v", id, webhook.MadeAt(sequence), ok)
	}
	for _, other := range []string{"", "dlv_", id[:29], id + "0", "evt_" + id[4:], strings.ToUpper(id), "dlv_g" + id[5:], "dlv_f" + id[5:]} {
		if _, ok := ids.Parse(webhook.DeliveryPrefix, other); ok {
			t.Errorf("%q is taken for a delivery", other)
		}
	}
	if _, ok := webhook.NewIDs("00000000bb", 0).Parse(webhook.DeliveryPrefix, id); ok {
		t.Error("another installation's id is taken for one's own")
	}
	if got := webhook.DeliveryID(id).Attempt(3); string(got) != "att_"+id[4:]+"-3" {
		t.Errorf("the attempt is %s", got)
	}
}

func TestTimesThatNoIDHasStandBeforeOrBehindAll(t *testing.T) {
	now := webhook.FirstAt(time.Unix(1731602712, 0))
	for _, before := range []time.Time{{}, time.Unix(-1, 0), time.Unix(0, 0)} {
		if first := webhook.FirstAt(before); first != 0 {
			t.Errorf("the first at %s is %d", before, first)
		}
	}
	for _, behind := range []time.Time{time.Date(2110, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<40, 0)} {
		if first := webhook.FirstAt(behind); first <= now {
			t.Errorf("the first at %s is %d, before what is now", behind, first)
		}
	}
}

func TestWaitsAreLengthenedNeverShortened(t *testing.T) {
	policy := webhook.RetryPolicy{Retries: 8, Schedule: webhook.DefaultSchedule(), Jitter: 0.1}
	rapid.Check(t, func(t *rapid.T) {
		tries := rapid.IntRange(1, 8).Draw(t, "tries")
		hint := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "hint"))
		base := policy.Schedule[min(tries, 6)-1]
		wait, ok := policy.Next(tries, rapid.Float64Range(0, 1).Draw(t, "random"), hint)
		asked := min(hint, webhook.MaxRetryAfter)
		if !ok || wait < base || wait < asked || wait > max(base+base/10, asked) {
			t.Fatalf("after %d tries and a hint of %s: wait %s, %v", tries, hint, wait, ok)
		}
	})
	if _, ok := policy.Next(9, 0, 0); ok {
		t.Error("a ninth retry was granted of eight")
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	s := webhook.Secret("hush")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("a", "secret", s, "all", []webhook.Secret{s})
	encoded, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, struct{ S webhook.Secret }{s}) + log.String() + string(encoded); strings.Contains(shown, "hush") {
		t.Errorf("the secret shows: %s", shown)
	}
	if s.Reveal() != "hush" {
		t.Error("the secret is lost")
	}
	if made := webhook.NewSecret(); len(made.Reveal()) != len("whsec_")+44 || made == webhook.NewSecret() {
		t.Error("made secrets are not whsec_ and the base64 of 32 random bytes")
	}
}

func TestSubscriberFaultsAreAllNamed(t *testing.T) {
	good := func() webhook.Subscriber {
		return webhook.Subscriber{URL: "https://example.com/hook?a=b", Secret: "s", Events: []webhook.Pattern{"*"}}
	}
	s := good()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		field  string
		change func(*webhook.Subscriber)
	}{
		{"url", func(s *webhook.Subscriber) { s.URL = "" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "ftp://example.com" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "file:///etc/passwd" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "https://" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "https://me:pass@example.com" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "https://example.com/#a" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "https://example.com/\n" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "https://example.com:65536/" }},
		{"url", func(s *webhook.Subscriber) { s.URL = "https://example.com:0/" }},
		{"secret", func(s *webhook.Subscriber) { s.Secret = "" }},
		{"secret", func(s *webhook.Subscriber) { s.Secret = "a\x1b[31m" }},
		{"events", func(s *webhook.Subscriber) { s.Events = nil }},
		{"events", func(s *webhook.Subscriber) { s.Events = []webhook.Pattern{"a", "*.b"} }},
		{"client_id", func(s *webhook.Subscriber) { s.ClientID = "a\n" }},
		{"headers", func(s *webhook.Subscriber) { s.Headers = map[string]string{"webhook-id": "x"} }},
		{"headers", func(s *webhook.Subscriber) { s.Headers = map[string]string{"X-AGENT-signature": "x"} }},
		{"headers", func(s *webhook.Subscriber) { s.Headers = map[string]string{"a b": "x"} }},
		{"headers", func(s *webhook.Subscriber) { s.Headers = map[string]string{"A": "x\r\nB: y"} }},
		{"headers", func(s *webhook.Subscriber) { s.Headers = map[string]string{"X-A": "1", "x-a": "2"} }},
		{"timeout", func(s *webhook.Subscriber) { s.Timeout = 61 * time.Second }},
		{"concurrency", func(s *webhook.Subscriber) { s.Concurrency = -1 }},
		{"schedule", func(s *webhook.Subscriber) { s.Schedule = webhook.Schedule{-1} }},
	}
	for _, tt := range tests {
		s := good()
		tt.change(&s)
		var faults webhook.FieldsError
		if err := s.Validate(); !errors.As(err, &faults) || len(faults) != 1 || faults[tt.field] == "" {
			t.Errorf("%+v: %v, want a fault of %s", s, err, tt.field)
		}
	}
	all := webhook.Subscriber{}
	var faults webhook.FieldsError
	if err := all.Validate(); !errors.As(err, &faults) || len(faults) != 3 {
		t.Errorf("an empty one has the faults %v", faults)
	}
}

func TestBodyIsTheEventAndNothingElse(t *testing.T) {
	e := webhook.Event{Type: "a.b", Timestamp: 7, Data: []byte(`{"x": 1}`)}
	if got := string(e.Body()); got != `{"event":"a.b","timestamp":7,"data":{"x": 1}}` {
		t.Errorf("body is %s", got)
	}
}

func TestDedupeKeysBelongToTheirSource(t *testing.T) {
	keys := []webhook.DedupeKey{webhook.NewDedupeKey("a", "bc"), webhook.NewDedupeKey("ab", "c"), webhook.NewDedupeKey("a", "b"), webhook.NewDedupeKey("a", "bc")}
	if keys[0] == keys[1] || keys[0] == keys[2] || keys[0] != keys[3] {
		t.Error("keys of different sources or names are the same, or the same ones differ")
	}
}

func TestListsHaveEveryValue(t *testing.T) {
	if !slices.Contains(webhook.States(), webhook.Cancelled) || len(webhook.States()) != 4 || len(webhook.Outcomes()) != 11 {
		t.Error("a state or an outcome is missing from its list")
	}
}
