package dispatch

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

var holdPolicy = webhook.HoldPolicy{Hold: true, Failures: 10, After: time.Minute, PauseAfter: 120 * time.Hour}

// A patient is a health at a time that the test sets.
type patient struct {
	*health
	now time.Time
}

func newPatient(change ...func(*webhook.Subscriber, *webhook.HoldPolicy)) *patient {
	s, policy := webhook.Subscriber{URL: "https://example.com", Active: true}, holdPolicy
	for _, f := range change {
		f(&s, &policy)
	}
	return &patient{newHealth(&s, policy), time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}
}

// try makes an attempt as soon as it may begin, which ends at once.
func (p *patient) try(outcome webhook.Outcome) (probe, changed bool) {
	if at := p.next(p.now); !at.IsZero() {
		p.now = at
	}
	probe = p.begun(p.now)
	return probe, p.ended(outcome, probe, p.now)
}

// fail makes attempts that fail, so far from each other.
func (p *patient) fail(n int, every time.Duration) {
	for range n {
		p.now = p.now.Add(every)
		p.ended(webhook.Timeout, p.begun(p.now), p.now)
	}
}

// sicken brings the outage on.
func (p *patient) sicken(t *testing.T) {
	t.Helper()
	p.fail(10, 7*time.Second)
	if !p.held() {
		t.Fatal("ten failures over 63 seconds are no outage")
	}
}

func TestOutageBeginsAfterSoManyFailuresInARowOverSoLong(t *testing.T) {
	tests := []struct {
		name   string
		play   func(p *patient)
		policy func(*webhook.HoldPolicy)
		outage bool
	}{
		{name: "ten failures over a minute", play: func(p *patient) { p.fail(10, 7*time.Second) }, outage: true},
		{name: "nine over an hour", play: func(p *patient) { p.fail(9, 10*time.Minute) }},
		{name: "a hundred in 59 seconds", play: func(p *patient) { p.fail(100, 590*time.Millisecond) }},
		{name: "a hundred in 59 seconds, and one after them", play: func(p *patient) {
			p.fail(100, 590*time.Millisecond)
			p.fail(1, 2*time.Second)
		}, outage: true},
		{name: "a success between them", play: func(p *patient) {
			p.fail(9, time.Minute)
			p.try(webhook.OK)
			p.fail(9, time.Minute)
		}},
		{name: "one that was cut short between them", play: func(p *patient) {
			p.fail(9, time.Minute)
			p.try(webhook.Interrupted)
			p.fail(1, time.Minute)
		}, outage: true},
		{name: "one that was cut short is no failure", play: func(p *patient) {
			p.fail(9, time.Minute)
			p.now = p.now.Add(time.Hour)
			p.try(webhook.Interrupted)
		}},
		{name: "one that came to nothing is no failure", play: func(p *patient) {
			p.fail(9, time.Minute)
			p.try("")
		}},
		{name: "the first failure of a second row counts the minute anew", play: func(p *patient) {
			p.fail(1, time.Hour)
			p.try(webhook.OK)
			p.now = p.now.Add(time.Hour)
			p.fail(50, time.Second)
		}},
		{name: "failures of the transform", play: func(p *patient) {
			for range 11 {
				p.now = p.now.Add(10 * time.Second)
				p.try(webhook.Transformation)
			}
		}, outage: true},
		{name: "one failure, where one is enough", play: func(p *patient) { p.fail(1, 0) }, outage: true,
			policy: func(policy *webhook.HoldPolicy) { policy.Failures, policy.After = 1, 0 }},
		{name: "a thousand, where none are enough", play: func(p *patient) { p.fail(1000, time.Minute) },
			policy: func(policy *webhook.HoldPolicy) { policy.Failures = 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPatient(func(_ *webhook.Subscriber, policy *webhook.HoldPolicy) {
				if tt.policy != nil {
					tt.policy(policy)
				}
			})
			tt.play(p)
			if p.held() != tt.outage {
				t.Errorf("in an outage: %v, want %v", p.held(), tt.outage)
			}
		})
	}
}

func TestOutageIsKnownSinceTheFirstFailure(t *testing.T) {
	p := newPatient()
	p.try(webhook.OK)
	p.now = p.now.Add(time.Hour + 123456*time.Nanosecond)
	first := p.now.Add(7 * time.Second)
	for i := range 10 {
		p.now = p.now.Add(7 * time.Second)
		if changed := p.ended(webhook.Timeout, p.begun(p.now), p.now); changed != (i == 9) {
			t.Errorf("failure %d changes what is stored: %v", i+1, changed)
		}
	}
	if !p.since.Equal(first.Truncate(time.Millisecond)) {
		t.Errorf("the outage began at %s, want %s", p.since, first)
	}
}

func TestProbesGoOneByOneAtGrowingIntervals(t *testing.T) {
	p := newPatient()
	p.sicken(t)
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		before := p.now
		at := p.next(p.now)
		if wait := at.Sub(before); wait != want*time.Second {
			t.Errorf("probe %d goes after %s, want %s", i+1, wait, want*time.Second)
		}
		if p.width(10) != 1 {
			t.Errorf("%d may be under way", p.width(10))
		}
		if probe, _ := p.try(webhook.Connect); !probe {
			t.Errorf("attempt %d of the outage is no probe", i+1)
		}
	}
	var state webhook.LaneState
	p.tell(&state)
	if !state.Held || !state.ProbeAt.Equal(p.now.Add(10*time.Minute)) || state.Failures != 18 || state.Rate != 0 {
		t.Errorf("the lane is %+v", state)
	}
}

func TestProbeThatIsCutShortIsDueAgain(t *testing.T) {
	for _, outcome := range []webhook.Outcome{webhook.Interrupted, ""} {
		p := newPatient()
		p.sicken(t)
		p.try(outcome)
		if at := p.next(p.now); !at.IsZero() || p.width(10) != 1 {
			t.Errorf("after %q the next probe goes at %s, %d may be under way", outcome, at, p.width(10))
		}
		if probe, _ := p.try(webhook.OK); !probe || p.held() {
			t.Error("the probe after it does not end the outage")
		}
	}
}

func TestSuccessEndsTheOutageWhateverItWas(t *testing.T) {
	p := newPatient()
	p.sicken(t)
	if changed := p.ended(webhook.OK, false, p.now); !changed || p.held() || p.rate != firstRate {
		t.Errorf("a success of an attempt that began before: changed %v, held %v, rate %v", changed, p.held(), p.rate)
	}
	p = newPatient()
	p.sicken(t)
	if at := p.next(p.now); p.ended(webhook.Timeout, false, p.now.Add(time.Second)) || !p.next(p.now).Equal(at) {
		t.Error("a failure of an attempt that began before puts the probe off")
	}
}

func TestRateRisesUntilItBoundsNothing(t *testing.T) {
	p := newPatient()
	p.sicken(t)
	p.try(webhook.OK)
	begin := p.now
	starts := map[int]int{} // by second
	for p.rate > 0 {
		if want := min(10, int(p.rate)); p.width(10) != want {
			t.Fatalf("%d may be under way at a rate of %v", p.width(10), p.rate)
		}
		p.try(webhook.OK)
		starts[int(p.now.Sub(begin)/time.Second)]++
	}
	for second, n := range starts {
		if limit := firstRate<<second + 1; n > limit {
			t.Errorf("%d attempts began in second %d, want at most %d", n, second, limit)
		}
	}
	if took := p.now.Sub(begin); took < 10*time.Second || took > 12*time.Second {
		t.Errorf("the rate has risen for %s, want ten seconds", took)
	}
	if p.wait != 0 || p.width(10) != 10 {
		t.Errorf("the wait of the next outage goes on from %s; %d may be under way", p.wait, p.width(10))
	}
}

func TestRateRisesOnlyWhereSomethingSucceeded(t *testing.T) {
	p := newPatient()
	p.sicken(t)
	p.try(webhook.OK)
	p.try(webhook.Timeout)
	p.try(webhook.Timeout)
	p.try(webhook.OK)
	if p.rate != firstRate {
		t.Errorf("the rate is %v after a second without a success", p.rate)
	}
	p.try(webhook.OK)
	p.try(webhook.OK)
	if p.rate != 2*firstRate {
		t.Errorf("the rate is %v after a second with a success", p.rate)
	}
}

func TestRecoveryEndsWhenNothingWaitsAnyMore(t *testing.T) {
	recovering := func() *patient {
		p := newPatient()
		p.sicken(t)
		p.try(webhook.OK)
		return p
	}
	p := recovering()
	p.now = p.now.Add(time.Minute)
	if p.try(webhook.Timeout); p.rate != 0 || p.wait != 0 {
		t.Errorf("after a minute without use the rate is %v, the wait %s", p.rate, p.wait)
	}
	p = recovering()
	p.try(webhook.OK)
	for range 2 { // that take their time, and so all places
		p.now = p.next(p.now)
		p.begun(p.now)
	}
	p.now = p.now.Add(time.Minute)
	p.ended(webhook.OK, false, p.now)
	if p.begun(p.now); p.rate == 0 {
		t.Error("the recovery ended because the receiver is slow")
	}
	p = recovering()
	p.now = p.now.Add(time.Minute)
	p.hush(p.now)
	if p.try(webhook.OK); p.rate == 0 {
		t.Error("the recovery ended because the receiver wanted to be left alone")
	}
}

func TestThreeFailuresInARowBringTheOutageBack(t *testing.T) {
	p := newPatient()
	p.sicken(t)
	p.try(webhook.Timeout) // after 10 s
	p.try(webhook.OK)      // after 20 s
	p.fail(2, time.Second)
	p.try(webhook.OK)
	if p.held() {
		t.Fatal("two failures brought the outage back")
	}
	first := p.now.Add(time.Second)
	p.fail(3, time.Second)
	if !p.held() || !p.since.Equal(first) {
		t.Fatalf("held %v since %s, want since %s", p.held(), p.since, first)
	}
	if wait := p.next(p.now).Sub(p.now); wait != 40*time.Second {
		t.Errorf("the next probe goes after %s, want to go on from 20s", wait)
	}
}

func TestStoredOutageGoesOnWithAProbeAtOnce(t *testing.T) {
	since := time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC)
	stored := func(s *webhook.Subscriber, _ *webhook.HoldPolicy) { s.FailingSince = since }
	p := newPatient(stored)
	if !p.held() || p.width(10) != 1 || !p.next(p.now).IsZero() {
		t.Fatalf("held %v, %d may be under way, the next at %s", p.held(), p.width(10), p.next(p.now))
	}
	if probe, changed := p.try(webhook.Timeout); !probe || changed || !p.since.Equal(since) {
		t.Errorf("the first attempt: probe %v, changed %v, since %s", probe, changed, p.since)
	}
	if wait := p.next(p.now).Sub(p.now); wait != 10*time.Second {
		t.Errorf("the second probe goes after %s", wait)
	}
	p = newPatient(stored, func(_ *webhook.Subscriber, policy *webhook.HoldPolicy) { policy.Failures = 0 })
	if p.held() {
		t.Error("an outage is taken from the store where none can be")
	}
	if _, changed := p.try(webhook.Timeout); !changed || !p.since.IsZero() {
		t.Error("the store is not told that there is no outage")
	}
}

func TestNothingIsHeldWhereHoldIsOff(t *testing.T) {
	for name, off := range map[string]func(*webhook.Subscriber, *webhook.HoldPolicy){
		"everywhere":         func(_ *webhook.Subscriber, policy *webhook.HoldPolicy) { policy.Hold = false },
		"for the subscriber": func(s *webhook.Subscriber, _ *webhook.HoldPolicy) { s.NoHold = true },
	} {
		p := newPatient(off)
		p.fail(20, time.Minute)
		if p.since.IsZero() || p.held() || p.width(10) != 10 || !p.next(p.now).IsZero() {
			t.Errorf("off %s: since %s, held %v, %d may be under way", name, p.since, p.held(), p.width(10))
		}
		if probe, _ := p.try(webhook.Timeout); probe {
			t.Errorf("off %s: there are probes", name)
		}
		if _, changed := p.try(webhook.OK); !changed || p.rate > 0 {
			t.Errorf("off %s: success changes %v, rate %v", name, changed, p.rate)
		}
	}
}

func TestPersonEndsAnOutage(t *testing.T) {
	active := webhook.Subscriber{URL: "https://example.com", Active: true}
	paused, moved, described := active, active, active
	paused.Active = false
	moved.URL = "https://elsewhere.example"
	described.Description = "new"

	p := newPatient()
	p.sicken(t)
	at := p.next(p.now)
	if p.changed(&described) || !p.held() || !p.next(p.now).Equal(at) {
		t.Error("a new description touched the outage")
	}
	if p.changed(&paused) || !p.held() {
		t.Error("a pause ended the outage")
	}
	probe := p.begun(at)
	if !p.changed(&active) || p.held() {
		t.Error("resuming did not end the outage")
	}
	if !p.next(p.now).IsZero() || p.rate != firstRate {
		t.Errorf("after it the first goes at %s, the rate is %v", p.next(p.now), p.rate)
	}
	if p.ended(webhook.Timeout, probe, p.now); p.held() || p.failures != 1 {
		t.Error("the probe of before is taken for one of now")
	}
	for name, change := range map[string]func(*webhook.Subscriber){
		"url":       func(s *webhook.Subscriber) { s.URL = moved.URL },
		"secret":    func(s *webhook.Subscriber) { s.Secret = "fresh" },
		"scheme":    func(s *webhook.Subscriber) { s.Signing = webhook.SigningStripe },
		"filter":    func(s *webhook.Subscriber) { s.Filter = "." },
		"transform": func(s *webhook.Subscriber) { s.Transform = "." },
		"timeout":   func(s *webhook.Subscriber) { s.Timeout = time.Minute },
		"basic":     func(s *webhook.Subscriber) { s.Basic.Username = "user" },
		"oauth2":    func(s *webhook.Subscriber) { s.OAuth2.Scopes = []string{"write"} },
		"tls":       func(s *webhook.Subscriber) { s.TLS.CA = "other" },
		"headers":   func(s *webhook.Subscriber) { s.Headers = map[string]string{"X-Key": "other"} },
	} {
		p := newPatient()
		p.sicken(t)
		other := *p.subscriber
		change(&other)
		if !p.changed(&other) || p.held() {
			t.Errorf("another %s did not end the outage", name)
		}
	}
}

func TestHoldCanBeTurnedOffAndOnInAnOutage(t *testing.T) {
	s := webhook.Subscriber{URL: "https://example.com", Active: true, NoHold: true}
	p := newPatient()
	p.sicken(t)
	if p.changed(&s) || p.held() || p.since.IsZero() || p.width(10) != 10 {
		t.Errorf("off: held %v, since %s, width %d", p.held(), p.since, p.width(10))
	}
	on := s
	on.NoHold = false
	if p.changed(&on) || !p.held() || !p.next(p.now).IsZero() {
		t.Errorf("on: held %v, next at %s", p.held(), p.next(p.now))
	}
	p.try(webhook.OK)
	if p.changed(&s); p.rate != 0 {
		t.Error("the rate bounds a subscriber without a hold")
	}
}

func TestOverdueIsSaidOnceAfterSoLong(t *testing.T) {
	p := newPatient()
	p.sicken(t)
	if p.overdue(p.since.Add(120*time.Hour - 1)) {
		t.Error("overdue before 120 hours")
	}
	if !p.overdue(p.since.Add(120 * time.Hour)) {
		t.Error("not overdue after 120 hours")
	}
	if p.overdue(p.since.Add(121 * time.Hour)) {
		t.Error("overdue twice")
	}
	for name, change := range map[string]func(*webhook.Subscriber, *webhook.HoldPolicy){
		"never":                   func(_ *webhook.Subscriber, policy *webhook.HoldPolicy) { policy.PauseAfter = 0 },
		"not for this subscriber": func(s *webhook.Subscriber, _ *webhook.HoldPolicy) { s.NoAutoPause = true },
	} {
		p := newPatient(change)
		p.sicken(t)
		if p.overdue(p.now.Add(10000 * time.Hour)) {
			t.Errorf("%s, but it is paused", name)
		}
	}
}

// TestHealthKeepsItsPromises plays a scheduler that begins attempts whenever it
// may, and a receiver that does what it likes.
func TestHealthKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := webhook.HoldPolicy{
			Hold:     rapid.Bool().Draw(t, "hold"),
			Failures: rapid.IntRange(0, 12).Draw(t, "failures"),
			After:    time.Duration(rapid.IntRange(0, 90).Draw(t, "after")) * time.Second,
		}
		s := webhook.Subscriber{URL: "https://example.com", Active: true, NoHold: rapid.Float64Range(0, 1).Draw(t, "subscriber") < 0.2}
		h := newHealth(&s, policy)
		now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
		bound := rapid.IntRange(1, 12).Draw(t, "bound")
		var (
			underWay []bool // probe or not
			probes   int
			row      int // failures in a row, the first of them at rowAt
			rowAt    time.Time
			rate     float64
		)
		outcomes := []webhook.Outcome{webhook.OK, webhook.HTTPStatus, webhook.Timeout, webhook.Transformation, webhook.Interrupted, ""}
		luck := rapid.IntRange(0, 9).Draw(t, "luck")
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 100, 1000, 10000}).Draw(t, "pass")*rapid.IntRange(1, 15).Draw(t, "times")/10) * time.Millisecond)
			if rapid.IntRange(0, 49).Draw(t, "sleep") == 0 {
				now = now.Add(10 * time.Minute)
			}
			for len(underWay) < h.width(bound) && h.next(now).IsZero() && len(underWay) < bound {
				held := h.held()
				probe := h.begun(now)
				if probe != held {
					t.Fatalf("held %v, but probe %v", held, probe)
				}
				if probe {
					probes++
				}
				if probes > 1 {
					t.Fatal("two probes are under way")
				}
				underWay = append(underWay, probe)
			}
			if h.held() && len(underWay) == 0 && h.next(now).After(now.Add(maxProbe)) {
				t.Fatal("a lane is held for ever")
			}
			if len(underWay) == 0 {
				continue
			}
			i := rapid.IntRange(0, len(underWay)-1).Draw(t, "which")
			probe := underWay[i]
			underWay = append(underWay[:i], underWay[i+1:]...)
			if probe {
				probes--
			}
			outcome := webhook.OK
			if rapid.IntRange(0, 9).Draw(t, "lucky") >= luck {
				outcome = rapid.SampledFrom(outcomes).Draw(t, "outcome")
			}
			before, recovering, known := h.since, h.rate > 0, h.known
			if outcome == webhook.OK {
				row = 0
			} else if failed(outcome) {
				if row++; row == 1 {
					rowAt = now
				}
			}
			if changed := h.ended(outcome, probe, now); changed != !known.Equal(h.since) {
				t.Fatalf("changed is %v, the outage was %s and is %s", changed, before, h.since)
			}
			switch {
			case outcome == webhook.OK && !h.since.IsZero():
				t.Fatal("a success did not end the outage")
			case outcome == webhook.OK && h.rate > 0 && h.rate < rate:
				t.Fatalf("the rate fell from %v to %v by a success", rate, h.rate)
			case before.IsZero() && !h.since.IsZero():
				many := policy.Failures > 0 && row >= policy.Failures && now.Sub(rowAt) >= policy.After
				if !many && !(recovering && row >= relapse) {
					t.Fatalf("an outage began after %d failures in %s", row, now.Sub(rowAt))
				}
			case h.since.IsZero() && policy.Failures > 0 && row >= policy.Failures && now.Sub(rowAt) >= policy.After && failed(outcome):
				t.Fatalf("no outage after %d failures in %s", row, now.Sub(rowAt))
			}
			if rate = h.rate; failed(outcome) {
				rate = 0
			}
			if h.held() && (!policy.Hold || s.NoHold) {
				t.Fatal("held without a hold")
			}
		}
	})
}
