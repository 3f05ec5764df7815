package webhook_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

// TestReplacedSecretsAreValidUntilTheirTime rotates at random and holds
// ValidSecrets against a list of when each secret ends.
func TestReplacedSecretsAreValidUntilTheirTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type grant struct {
			secret webhook.Secret
			until  time.Time
		}
		now := time.Unix(1731602712, 0)
		s := webhook.Subscriber{Secret: webhook.NewSecret()}
		var replaced []grant // the newest first
		for range rapid.IntRange(0, 12).Draw(t, "rotations") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "hours")) * time.Hour)
			until := now.Add(time.Duration(rapid.IntRange(-1, 24).Draw(t, "overlap")) * time.Hour)
			before, kept := s.OldSecrets, slices.Clone(s.OldSecrets)
			replaced = slices.Insert(replaced, 0, grant{s.Secret, until})
			if !until.After(now) {
				replaced = nil // no overlap: what was before is not trusted any more
			}
			fresh := webhook.NewSecret()
			s.Rotate(fresh, now, until)
			if s.Secret != fresh || !slices.Equal(before, kept) {
				t.Fatal("the secret is not the fresh one, or what it replaced was changed in place")
			}
			replaced = slices.DeleteFunc(replaced, func(g grant) bool { return !now.Before(g.until) })
			replaced = replaced[:min(len(replaced), 4)]
		}
		at := now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "later")) * time.Hour)
		want := []webhook.Secret{s.Secret}
		for _, g := range replaced {
			if at.Before(g.until) {
				want = append(want, g.secret)
			}
		}
		got := s.ValidSecrets(at)
		if !slices.Equal(got, want) {
			t.Fatalf("%d secrets are valid, want %d, the newest first", len(got), len(want))
		}
		got[0] = "changed"
		if s.Secret == "changed" {
			t.Fatal("the list is the subscriber's own")
		}
	})
}

func TestFaultsOfBeforeDoNotStandInTheWayOfAChange(t *testing.T) {
	before := webhook.Subscriber{URL: "https://example.com:0", Secret: "s", Events: []webhook.Pattern{"*"}, Active: true}
	paused := before
	paused.Active = false
	if before.Validate() == nil || paused.ValidateChange(&before) != nil {
		t.Errorf("valid before: %v; to pause it: %v", before.Validate(), paused.ValidateChange(&before))
	}
	paused.Events = nil
	var faults webhook.FieldsError
	if err := paused.ValidateChange(&before); !errors.As(err, &faults) || len(faults) != 1 || faults["events"] == "" {
		t.Errorf("a new fault beside the old one: %v", err)
	}
	paused.Events, paused.URL = before.Events, "ftp://example.com"
	if err := paused.ValidateChange(&before); !errors.As(err, &faults) || faults["url"] == "" {
		t.Errorf("another fault in place of the old one: %v", err)
	}
}

func TestSubscriberIsCalledByItsDescriptionOrItsURL(t *testing.T) {
	for _, tt := range []struct{ description, url, want string }{
		{"Orders", "https://example.com/hook", "Orders"},
		{"  Orders \r\nof the shop", "https://example.com/hook", "Orders"},
		{"", "https://example.com:8443/hook?token=hush", "example.com:8443/hook"},
		{" \nsecond line", "https://example.com/", "example.com"},
		{"", "https://example.com/a%2Fb", "example.com/a%2Fb"},
		{"", "https://example.com", "example.com"},
		{"", "://", "://"},
	} {
		s := webhook.Subscriber{Description: tt.description, URL: tt.url}
		if got := s.Name(); got != tt.want {
			t.Errorf("%q at %s is called %q, want %q", tt.description, tt.url, got, tt.want)
		}
	}
}

func TestWaitsAreThoseOfEachRetry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := webhook.RetryPolicy{Retries: rapid.IntRange(0, 20).Draw(t, "retries"), Jitter: 0.1}
		for _, seconds := range rapid.SliceOfN(rapid.IntRange(0, 100), 1, 8).Draw(t, "schedule") {
			policy.Schedule = append(policy.Schedule, time.Duration(seconds)*time.Second)
		}
		waits := policy.Waits()
		if len(waits) != policy.Retries {
			t.Fatalf("%d waits for %d retries", len(waits), policy.Retries)
		}
		for i, wait := range waits {
			if next, ok := policy.Next(i+1, 0, 0); !ok || next != wait {
				t.Fatalf("the wait before retry %d is shown as %s, and is %s", i+1, wait, next)
			}
		}
	})
	policy := webhook.RetryPolicy{Retries: 3, Schedule: webhook.Schedule{1, 2}}
	policy.Waits()[0] = 9
	if policy.Schedule[0] != 1 {
		t.Error("the waits are the schedule itself")
	}
}

func TestHeaderBlockGivesItsLinesBack(t *testing.T) {
	block := webhook.HeaderBlock("A: 1\nEmpty: \nA: b: c\nNo-Colon\n")
	var got [][2]string
	for name, value := range block.All() {
		got = append(got, [2]string{name, value})
	}
	if want := [][2]string{{"A", "1"}, {"Empty", ""}, {"A", "b: c"}, {"No-Colon", ""}}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range block.All() {
		break // does not go on, nor panic
	}
	if got := maps.Collect(webhook.HeaderBlock("").All()); len(got) != 0 {
		t.Errorf("an empty block has %v", got)
	}
}

func TestHeadersWithCredentialsAreKnownByTheirNames(t *testing.T) {
	for _, name := range []string{"Authorization", "PROXY-AUTHORIZATION", "cookie", "Set-Cookie", "X-Auth-Token", "X-Auth", "X-Session-Id", "Client_Secret", "X-API-KEY", "x-password", "My-Credentials"} {
		if !webhook.CredentialHeader(name) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{"X-Agent-Signature", "webhook-signature", "Content-Type", "X-Tenant"} {
		if webhook.CredentialHeader(name) {
			t.Errorf("%s is hidden", name)
		}
	}
}
