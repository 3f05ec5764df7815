package gateway

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

func TestOneWrongSignatureIsExplainedAtATime(t *testing.T) {
	var kept []webhook.Rejection
	g, err := New(Options{
		IDs: webhook.NewIDs("0123456789", 0), Logger: slog.New(slog.DiscardHandler),
		Keep: func(_ context.Context, r []webhook.Rejection) error { kept = append(kept, r...); return nil },
	}, Rules{Sources: []webhook.Source{{
		Name: "inbound", Path: "/", Scheme: webhook.SchemeAgent, Secrets: []webhook.Secret{"secret"}, Enabled: true, ValidateSignature: true, MaxBody: 1 << 10,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	// Whoever does not wait, since the sender is gone.
	gone, leave := context.WithCancel(t.Context())
	leave()
	post := func() string {
		r := httptest.NewRequestWithContext(gone, "POST", "/", strings.NewReader(`{"event":"a","timestamp":1,"data":1}`))
		r.Header.Set("Content-Type", "application/json")
		g.ServeHTTP(httptest.NewRecorder(), r)
		return kept[len(kept)-1].Diagnosis
	}
	g.keeper.explaining.TryAcquire(1)
	if got := post(); !strings.Contains(got, "not looked for") {
		t.Errorf("while another is: %s", got)
	}
	g.keeper.explaining.Release(1)
	if got := post(); !strings.Contains(got, "there is no X-Agent-Signature") {
		t.Errorf("alone: %s", got)
	}
}

func TestAPanicOfAnExplanationIsNoMoreThanThat(t *testing.T) {
	g, err := New(Options{Logger: slog.New(slog.DiscardHandler)}, Rules{})
	if err != nil {
		t.Fatal(err)
	}
	v := &visit{g: g, r: httptest.NewRequest("POST", "/", nil), source: &source{}} // without a verifier
	if got := v.explain(); !strings.Contains(got, "not found") {
		t.Errorf("explained: %s", got)
	}
	if !g.keeper.explaining.TryAcquire(1) {
		t.Error("nobody can explain any more")
	}
}

func TestWhatWasNotKeptIsCountedOnce(t *testing.T) {
	k := newKeeper(Options{IDs: webhook.NewIDs("0123456789", 0)})
	key, now := alike{"inbound", netip.MustParseAddr("192.0.2.1"), "invalid_json"}, time.Now()
	for range alikeBurst + 50 {
		k.admit(key, now)
	}
	later := now.Add(time.Minute)
	if _, unkept, keep := k.admit(key, later); !keep || unkept != 50 {
		t.Errorf("kept %v, for %d others; want for 50", keep, unkept)
	}
	if _, unkept, keep := k.admit(key, later); !keep || unkept != 0 {
		t.Errorf("the next is kept %v, for %d others; want for none", keep, unkept)
	}
}

// TestLargeBodiesLeaveRoomForTheFirstShares is in synthetic time, since who finds
// no room waits a moment for it.
func TestLargeBodiesLeaveRoomForTheFirstShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		large, small := share{memory: m}, share{memory: m}
		for _, n := range []int64{firstShare, restBudget} {
			if err := large.grow(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		if err := small.grow(t.Context(), firstShare); err != nil {
			t.Errorf("the first share: %v", err)
		}
		if err := small.grow(t.Context(), 1); err == nil {
			t.Error("there was more than there is")
		}
		large.release()
		if err := small.grow(t.Context(), 1); err != nil {
			t.Errorf("once there is room: %v", err)
		}
		small.release()
		if !m.first.TryAcquire(firstBudget) || !m.rest.TryAcquire(restBudget) {
			t.Error("not all was given back")
		}
	})
}
