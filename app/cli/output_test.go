package cli

import (
	"testing"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

func TestBytesAreShownInTheLargestUnitThatFits(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := shownBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestAllIsWellOnlyWhereNothingFailed(t *testing.T) {
	for _, c := range []struct {
		attempts, failed int64
		want             string
	}{{0, 0, ""}, {10, 0, "100%"}, {1000, 1, "99%"}, {3, 3, "0%"}} {
		if got := shownShare(c.attempts, c.failed); got != c.want {
			t.Errorf("%d of %d failed: got %q, want %q", c.failed, c.attempts, got, c.want)
		}
	}
}

func TestDeliverySaysWhyItIsWhereItIs(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	in := func(d time.Duration) api.Time { return api.Time{Time: now.Add(d)} }
	two := []api.Duration{api.Duration(time.Second), api.Duration(time.Minute)}
	for want, d := range map[string]api.DeliveryDetail{
		"attempt 1 of 3 is due now; pintle deliveries explain tells what it waits for": {
			Schedule: two, Delivery: api.Delivery{State: webhook.Pending, NextAttemptAt: in(-time.Second)},
		},
		"the last attempt ended with status 503; attempt 2 of 3 is due in 1m30s": {
			Schedule: two, Spent: 1, Delivery: api.Delivery{
				State: webhook.Pending, LastOutcome: webhook.HTTPStatus, LastCode: 503, NextAttemptAt: in(90 * time.Second),
			},
		},
		"all 3 attempts of its schedule failed, the last one with timeout": {
			Schedule: two, Spent: 3, Delivery: api.Delivery{State: webhook.Dead, LastOutcome: webhook.Timeout},
		},
		"status 410 was final": {
			Schedule: two, Spent: 1, Delivery: api.Delivery{State: webhook.Dead, LastOutcome: webhook.HTTPStatus, LastCode: 410},
		},
		"attempt 4 was answered with 204": {
			Schedule: two, Delivery: api.Delivery{State: webhook.Delivered, AttemptCount: 4, LastOutcome: webhook.OK, LastCode: 204},
		},
	} {
		if got := standing(d, now); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestHappeningIsOneHarmlessLine(t *testing.T) {
	at := api.Time{Time: time.Unix(1_800_000_000, 5e6)}
	for want, h := range map[string]api.Happening{
		"08:00:00.005Z  event      order.created     evt_1  from inbound, client acme, 2 deliveries": {
			Kind: api.KindEvent, EventType: "order.created", EventID: "evt_1", Source: "inbound", ClientID: "acme", Deliveries: 2,
		},
		"08:00:00.005Z  event      order.created     evt_1  from inbound, a duplicate": {
			Kind: api.KindEvent, EventType: "order.created", EventID: "evt_1", Source: "inbound", Duplicate: true,
		},
		`08:00:00.005Z  attempt    order.created     dlv_1  to acme\x1b  #2, timeout in 5s, too\nslow, next at 08:00:30Z`: {
			Kind: api.KindAttempt, EventType: "order.created", DeliveryID: "dlv_1", SubscriberName: "acme\x1b", Attempt: 2,
			Outcome: webhook.Timeout, DurationMS: 5000, Error: "too\nslow", State: webhook.Pending,
			NextAttemptAt: api.Time{Time: at.Add(30 * time.Second)},
		},
		"08:00:00.005Z  attempt    order.created     dlv_1  to -  #7, status 500 in 1.5ms, dead": {
			Kind: api.KindAttempt, EventType: "order.created", DeliveryID: "dlv_1", Attempt: 7,
			Outcome: webhook.HTTPStatus, Code: 500, DurationMS: 1.5, State: webhook.Dead,
		},
		"08:00:00.005Z  rejection  401 invalid_signature  rej_1  at inbound, from 203.0.113.7": {
			Kind: api.KindRejection, Status: 401, Error: "invalid_signature", RequestID: "rej_1", Source: "inbound", ClientIP: "203.0.113.7",
		},
		"08:00:00.005Z  rejection  404 unknown_source  rej_2  at -": {
			Kind: api.KindRejection, Status: 404, Error: "unknown_source", RequestID: "rej_2",
		},
		"08:00:00.005Z  gap        17 happenings were missed: this reader is too slow": {Kind: api.KindGap, Missed: 17},
	} {
		h.Time = at
		if got := happening(h); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
