package tui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// began is when the clock of the tests starts.
var began = time.Date(2026, 1, 31, 14, 2, 31, 0, time.UTC)

// answered is an answer of the appliance that it will not.
type answered struct{ text string }

func (r answered) Error() string { return r.text }
func (r answered) Refused() bool { return true }

// errSilent is what a request gets that nobody answers.
var errSilent = errors.New("dial unix /run/pintle/admin.sock: connect: connection refused")

// fake is an appliance in memory: as much of it as a dashboard can tell apart.
type fake struct {
	mu          sync.Mutex
	stats       api.Stats
	events      []api.Event    // the newest first
	deliveries  []api.Delivery // the newest first
	data        string         // of every event
	answer      string         // of every receiver
	held        bool           // the subscribers are in an outage
	transformed string         // what a transform has made of every event; empty: there is none
	evil        string         // in place of every sentence of an explanation; empty: none
	subscribers []api.Subscriber
	groups      []api.DeadGroup
	samples     []api.Sample
	rejections  []api.RejectionDetail // the newest first

	// err is what every request gets, and changeErr what a change gets.
	err, changeErr error
	// hang makes requests wait until they are given up.
	hang bool
	// bound is after how many rows a search stops; zero: it does not.
	bound    int
	asked    []string // the requests so far
	changed  []string // those that change something
	ids      *webhook.IDs
	sequence int64
}

func newFake() *fake {
	f := &fake{ids: webhook.NewIDs("00000000aa", 0), sequence: webhook.FirstAt(began.Add(-time.Hour)), data: `{"id":"in_8812","amount":4200,"customer":"株式会社アクメ"}`, answer: "no such hook"}
	f.stats = api.Stats{
		Version: "1.2.3", StartedAt: api.Time{Time: began.Add(-292 * time.Hour)}, Now: api.Time{Time: began}, Role: webhook.Administrator,
		Rate:    api.Rate{Events: 12.4, Attempts: 61.8, Failed: 1.9},
		Queue:   api.Queue{Pending: 1222, Retrying: 1204, InFlight: 24, MaxInFlight: 64, OldestDue: api.Time{Time: began.Add(-1200 * time.Millisecond)}},
		LastDay: api.Span{Events: 1_071_360, Delivered: 5_000_000, Dead: 41},
		Totals:  api.Totals{Deliveries: map[webhook.State]int64{webhook.Dead: 41}},
		Storage: api.Storage{Bytes: 6_100_000_000, LogBytes: 12_000_000, FreeBytes: 80_000_000_000},
		Worst: []api.SubscriberStats{
			{ID: "sub_00000000000000010000000000", Name: "acme-billing", Active: true, Health: api.Health{Attempts: 80, Failed: 80, P95MS: 10000, Pending: 812, LastOutcome: webhook.Timeout}},
			{ID: "sub_00000000000000020000000000", Name: "globex-crm", Active: false, Health: api.Health{Attempts: 900, Failed: 1, P95MS: 212, Pending: 3, LastOutcome: webhook.OK, LastCode: 200}},
		},
		Attention: []api.Finding{
			{Severity: api.Critical, Subject: "acme-billing", Text: "14 min at 0 %, timeouts", SubscriberID: "sub_00000000000000010000000000", Query: "sub:acme-billing"},
			{Severity: api.Warning, Subject: "disk", Text: "29 % used, full in 61 d"},
		},
	}
	for i := range 61 {
		f.stats.Minutes = append(f.stats.Minutes, api.Minute{
			Start: api.Time{Time: began.Truncate(time.Minute).Add(time.Duration(i-60) * time.Minute)},
			Span:  api.Span{Events: int64(700 + 40*(i%11)), Attempts: int64(3600 + 90*(i%7)), Failed: int64(i % 13), P95MS: float64(300 + i)},
		})
	}
	f.subscribers = []api.Subscriber{
		{ID: "sub_00000000000000010000000000", URL: "https://hooks.acme.example/v1/in", Events: []webhook.Pattern{"invoice.*"}, Active: true, Description: "acme-billing", Hold: true, AutoPause: true,
			CreatedAt: api.Time{Time: began.Add(-90 * 24 * time.Hour)}, Health: &f.stats.Worst[0].Health},
		{ID: "sub_00000000000000020000000000", URL: "https://crm.globex.example/hooks", Events: []webhook.Pattern{"*"}, PausedReason: "by hand", Description: "globex-crm", Hold: true, AutoPause: true,
			CreatedAt: api.Time{Time: began.Add(-30 * 24 * time.Hour)}, Health: &f.stats.Worst[1].Health},
	}
	f.groups = []api.DeadGroup{{SubscriberID: "sub_00000000000000010000000000", SubscriberName: "acme-billing", Outcome: webhook.Timeout, Count: 38, Oldest: api.Time{Time: began.Add(-2 * time.Hour)}, Newest: api.Time{Time: began.Add(-time.Minute)}}}
	f.samples = []api.Sample{{Event: "invoice.paid", Data: json.RawMessage(`{"id":"in_1"}`)}}
	f.refuse(12)
	return f
}

// refuse makes so many new rejections, of each kind in turn.
func (f *fake) refuse(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		i := len(f.rejections)
		at := began.Add(time.Duration(i-60) * 10 * time.Minute)
		r := api.RejectionDetail{Method: "POST", Path: "/webhook/github", BodySize: 7324, BodySHA256: strings.Repeat("9f86d081", 8), Header: []api.Header{
			{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "GitHub-Hookshot/044aadd"}, {Name: "X-Hub-Signature-256", Value: "sha256=…, 64 characters"},
		}}
		r.Rejection = api.Rejection{ID: webhook.RejectionID(f.ids.Format("rej_", webhook.FirstAt(at))), At: api.Time{Time: at}, Source: "github", Status: 401, Code: "invalid_signature",
			Message: "the signature does not match", Check: webhook.CheckSignature, ClientIP: "203.0.113.7", PeerIP: "10.0.0.1", ASN: 64500, Organisation: "Example Networks", EventType: "github.push"}
		r.Expected, r.Diagnosis = "X-Hub-Signature-256: sha256= and the hex HMAC-SHA256 of the body", "none of the 2 secrets of the source makes this signature: the sender has another one"
		switch i % 4 {
		case 1:
			r.Source, r.Status, r.Code, r.Check, r.Rule, r.SkewSeconds = "inbound", 422, "invalid_timestamp", webhook.CheckWindow, "inbound.max_clock_skew = 5m0s", new(int64(-412))
			r.Message, r.Path, r.Expected, r.Diagnosis, r.EventType, r.SenderKey = "the timestamp is 412 s behind; 300 s are allowed", "/webhook/inbound", "", "", "order.created", "ord-88"
		case 2:
			r.Source, r.Status, r.Code, r.Check, r.Message, r.Path = "", 404, "unknown_source", webhook.CheckPath, "there is no source at this path", "/wp-login.php"
			r.ClientIP, r.PeerIP, r.ASN, r.Organisation, r.EventType, r.Expected, r.Diagnosis = "2001:db8:1::7", "2001:db8:1::7", 0, "", "", "", ""
			r.BodySize, r.BodySHA256, r.Unkept = 0, "", 1204
		case 3:
			r.Status, r.Code, r.Check, r.Message, r.Expected, r.Diagnosis = 507, "storage_full", webhook.CheckStorage, "the store is full; try again later", "", ""
			r.SkewSeconds = new(int64(2))
		}
		checks := webhook.Checks()
		r.Passed = checks[:slices.Index(checks, r.Check)]
		f.rejections = append([]api.RejectionDetail{r}, f.rejections...)
	}
}

// grow makes so many new events, each with a delivery.
func (f *fake) grow(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	types := []string{"invoice.paid", "user.updated", "order.shipped", "支付.完成"}
	names := []string{"acme-billing", "globex-crm", "initech-erp"}
	for range n {
		f.sequence += 1 << 21 // a millisecond
		i := int(f.sequence >> 21)
		at := api.Time{Time: webhook.MadeAt(f.sequence)}
		event := api.Event{ID: webhook.EventID(f.ids.Format("evt_", f.sequence)), Source: "inbound", Type: types[i%4], Timestamp: at.Unix(), ReceivedAt: at, Size: 412,
			SenderKey: fmt.Sprintf("inv-%d", i%10000), Fanout: map[webhook.State]int{webhook.Delivered: 5, webhook.Dead: i % 2}}
		d := api.Delivery{ID: webhook.DeliveryID(f.ids.Format("dlv_", f.sequence)), EventID: event.ID, EventType: event.Type, CreatedAt: at,
			SubscriberID: f.subscribers[i%len(f.subscribers)].ID, SubscriberName: names[i%3],
			SubscriberPaused: !f.subscribers[i%len(f.subscribers)].Active}
		switch i % 5 {
		case 0:
			d.State, d.AttemptCount, d.LastOutcome, d.LastError, d.LastDurationMS = webhook.Pending, 2, webhook.Timeout, "timeout", 10000
			d.NextAttemptAt = api.Time{Time: began.Add(102 * time.Second)}
		case 1:
			d.State, d.AttemptCount, d.LastOutcome, d.LastCode, d.LastDurationMS = webhook.Dead, 6, webhook.HTTPStatus, 503, 212
			d.FinishedAt = at
		case 2:
			d.State, d.NextAttemptAt = webhook.Pending, api.Time{Time: began}
		default:
			d.State, d.AttemptCount, d.LastOutcome, d.LastCode, d.LastDurationMS = webhook.Delivered, 1, webhook.OK, 200, 41.5
			d.FinishedAt = api.Time{Time: at.Add(time.Second)}
		}
		f.events = append([]api.Event{event}, f.events...)
		f.deliveries = append([]api.Delivery{d}, f.deliveries...)
	}
}

// spoil puts hostile text wherever text can stand.
func (f *fake) spoil(r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	evil := func() string {
		parts := []string{"\x1b]52;c;ZXZpbA==\a", "\x1b[31m", "\u202e", "a\nb", "\r", "\t", "\x9b2J", "\u009b2J", "支付", "👨\u200d👩\u200d👧", "Z\u0335\u0301\u0301\u0301\u0301\u0301\u0301",
			"🇩", "\x1bP$q", "\x1b_G", "ordinary", strings.Repeat("long ", 40), "", "\ufe0f", "ｱ", "\xff", "\u0d4e", "'", `"`, "\u1100\u1161"}
		var b strings.Builder
		for range r.IntN(6) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		return b.String()
	}
	f.data, f.answer, f.evil, f.transformed, f.held = evil(), evil(), evil(), evil(), r.IntN(2) == 0
	f.stats.Version, f.stats.Role = evil(), webhook.Role(evil())
	if r.IntN(2) == 0 {
		f.stats.Role = webhook.Administrator
	}
	f.stats.Minutes = f.stats.Minutes[:r.IntN(len(f.stats.Minutes)+1)]
	for i := range f.stats.Worst {
		f.stats.Worst[i].Name = evil()
		f.stats.Worst[i].LastOutcome = webhook.Outcome(evil())
	}
	for i := range f.stats.Attention {
		f.stats.Attention[i].Subject, f.stats.Attention[i].Text = evil(), evil()
	}
	for i := range f.events {
		f.events[i].Type, f.events[i].Source, f.events[i].SenderKey, f.events[i].ClientID, f.events[i].AgentID = evil(), evil(), evil(), evil(), evil()
	}
	for i := range f.deliveries {
		d := &f.deliveries[i]
		d.OrderKey, d.Fingerprint = evil(), evil()
		d.EventType, d.SubscriberName, d.LastError, d.LastOutcome = evil(), evil(), evil(), webhook.Outcome(evil())
	}
	for i := range f.subscribers {
		s := &f.subscribers[i]
		s.URL, s.Description, s.PausedReason, s.ClientID, s.Events = evil(), evil(), evil(), evil(), []webhook.Pattern{webhook.Pattern(evil())}
		s.Headers = map[string]string{evil(): evil()}
		s.Filter, s.Transform, s.Ordered, s.Scheme, s.RateLimit = evil(), evil(), api.Ordered(evil()), webhook.Signing(evil()), r.NormFloat64()*1e9
		s.BasicUsername, s.OAuth2TokenURL, s.OAuth2ClientID, s.OAuth2Scopes, s.OAuth2Audience = evil(), evil(), evil(), []string{evil(), evil()}, evil()
		s.TLSCert, s.TLSCA = evil(), evil()
		s.Held, s.FailingSince, s.ProbeAt = r.IntN(2) == 0, api.Time{Time: began.Add(-time.Duration(r.Int64N(1 << 60)))}, api.Time{Time: began.Add(time.Duration(r.Int64N(1 << 60)))}
	}
	for i := range f.groups {
		f.groups[i].Fingerprint = evil()
		f.groups[i].SubscriberName, f.groups[i].Outcome = evil(), webhook.Outcome(evil())
	}
	for i := range f.samples {
		f.samples[i].Event = evil()
	}
	for i := range f.rejections {
		d := &f.rejections[i]
		d.Source, d.Code, d.Message, d.ClientIP, d.PeerIP, d.Organisation, d.EventType, d.SenderKey = evil(), evil(), evil(), evil(), evil(), evil(), evil(), evil()
		d.Rule, d.Expected, d.Diagnosis, d.Method, d.Path, d.BodySHA256 = "inbound.max_clock_skew = "+evil(), evil(), evil(), evil(), evil(), evil()
		d.Check, d.Passed, d.Header = webhook.Check(evil()), []webhook.Check{webhook.Check(evil()), "path"}, []api.Header{{Name: evil(), Value: evil()}}
		d.Status, d.Unkept, d.SkewSeconds = r.IntN(1<<40), r.IntN(1<<50), new(r.Int64()-r.Int64())
	}
	if r.IntN(4) == 0 {
		f.err = errors.New(evil())
	}
}

// ask notes a request and is what becomes of all of them.
func (f *fake) ask(ctx context.Context, what string, change bool) error {
	f.mu.Lock()
	f.asked = append(f.asked, what)
	if change {
		f.changed = append(f.changed, what)
	}
	err, hang := f.err, f.hang
	if change && err == nil {
		err = f.changeErr
	}
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return errors.Join(err, ctx.Err())
}

// page is a part of a list of which the query selects some.
func page[T any](f *fake, all []T, q api.PageQuery, id func(*T) string, selects func(*T) bool) api.List[T] {
	limit := q.Limit
	if limit == 0 {
		limit = 50
	}
	items, looked := []T{}, 0
	for i := range all {
		if q.Cursor != "" && id(&all[i]) >= q.Cursor {
			continue
		}
		if looked++; f.bound > 0 && looked > f.bound {
			return api.List[T]{Items: items, NextCursor: id(&all[i-1])}
		}
		if !selects(&all[i]) {
			continue
		}
		if len(items) == limit {
			return api.List[T]{Items: items, NextCursor: id(&items[limit-1])}
		}
		items = append(items, all[i])
	}
	return api.List[T]{Items: items}
}

func (f *fake) Stats(ctx context.Context) (api.Stats, error) {
	err := f.ask(ctx, "stats", false)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats, err
}

func (f *fake) EventsPage(ctx context.Context, filter api.EventFilter, q api.PageQuery) (api.List[api.Event], error) {
	if err := f.ask(ctx, "events "+filter.Q, false); err != nil {
		return api.List[api.Event]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return page(f, f.events, q, func(v *api.Event) string { return string(v.ID) }, func(v *api.Event) bool {
		return strings.Contains(v.Type+" "+string(v.ID), filter.Q)
	}), nil
}

func (f *fake) DeliveriesPage(ctx context.Context, filter api.DeliveryFilter, q api.PageQuery) (api.List[api.Delivery], error) {
	if err := f.ask(ctx, "deliveries "+filter.Q, false); err != nil {
		return api.List[api.Delivery]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	held := map[webhook.SubscriberID]bool{}
	for i := range f.subscribers {
		held[f.subscribers[i].ID] = f.subscribers[i].Held
	}
	return page(f, f.deliveries, q, func(d *api.Delivery) string { return string(d.ID) }, func(d *api.Delivery) bool {
		d.SubscriberHeld = held[d.SubscriberID]
		if filter.State != "" && d.State != filter.State {
			return false
		}
		for word := range strings.FieldsSeq(filter.Q) {
			key, value, found := strings.Cut(word, ":")
			switch {
			case found && key == "status" && value == "retrying":
				if d.State != webhook.Pending || d.AttemptCount == 0 {
					return false
				}
			case found && key == "status" && string(d.State) != value, found && key == "sub" && d.SubscriberName != value && string(d.SubscriberID) != value:
				return false
			case !found && !strings.Contains(d.EventType+" "+string(d.ID)+" "+string(d.EventID), word):
				return false
			}
		}
		return true
	}), nil
}

func (f *fake) RejectionsPage(ctx context.Context, filter api.RejectionFilter, q api.PageQuery) (api.List[api.Rejection], error) {
	if err := f.ask(ctx, "rejections "+filter.Q, false); err != nil {
		return api.List[api.Rejection]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := make([]api.Rejection, len(f.rejections))
	for i := range f.rejections {
		rows[i] = f.rejections[i].Rejection
	}
	return page(f, rows, q, func(r *api.Rejection) string { return string(r.ID) }, func(r *api.Rejection) bool {
		for word := range strings.FieldsSeq(filter.Q) {
			key, value, _ := strings.Cut(word, ":")
			if key == "source" && r.Source != value || key == "ip" && r.ClientIP != value || key == "status" && fmt.Sprint(r.Status) != value {
				return false
			}
		}
		return true
	}), nil
}

func (f *fake) Rejection(ctx context.Context, id webhook.RejectionID) (api.RejectionDetail, error) {
	if err := f.ask(ctx, "rejection", false); err != nil {
		return api.RejectionDetail{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rejections {
		if r.ID == id {
			return r, nil
		}
	}
	return api.RejectionDetail{}, answered{"there is no such rejection"}
}

func (f *fake) Event(ctx context.Context, id webhook.EventID) (detail api.EventDetail, err error) {
	if err := f.ask(ctx, "event", false); err != nil {
		return detail, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.events {
		if f.events[i].ID == id {
			detail = api.EventDetail{Event: f.events[i], Data: json.RawMessage(f.data)}
			for _, d := range f.deliveries {
				if d.EventID == id {
					detail.Deliveries = append(detail.Deliveries, d)
				}
			}
			return detail, nil
		}
	}
	return detail, answered{"there is no such event"}
}

func (f *fake) Delivery(ctx context.Context, id webhook.DeliveryID) (detail api.DeliveryDetail, err error) {
	if err := f.ask(ctx, "delivery", false); err != nil {
		return detail, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.deliveries {
		if d.ID != id {
			continue
		}
		detail = api.DeliveryDetail{Delivery: d, URL: f.subscribers[0].URL, Spent: d.AttemptCount,
			Schedule:    []api.Duration{api.Duration(time.Second), api.Duration(time.Minute), api.Duration(10 * time.Minute), api.Duration(time.Hour), api.Duration(time.Hour)},
			RequestBody: `{"event":"` + d.EventType + `","timestamp":1769868000,"data":` + f.data + `}`}
		if f.transformed != "" {
			detail.RequestBody, detail.Transformed = f.transformed, true
		}
		for n := range d.AttemptCount {
			detail.Attempts = append(detail.Attempts, api.Attempt{ID: id.Attempt(n + 1), Number: n + 1, StartedAt: api.Time{Time: d.CreatedAt.Add(time.Duration(n) * time.Second)},
				DurationMS: d.LastDurationMS, Outcome: d.LastOutcome, Code: d.LastCode, Error: d.LastError, RemoteAddr: "203.0.113.20:443",
				RequestHeader:  []api.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Agent-Event", Value: d.EventType}},
				ResponseHeader: []api.Header{{Name: "Server", Value: f.answer}}, ResponseBody: f.answer,
				Timing: api.Timing{DNS: 4, Connect: 11, TLS: 38, Wait: 157}})
		}
		return detail, nil
	}
	return detail, answered{"there is no such delivery"}
}

func (f *fake) ReplayEvent(ctx context.Context, id webhook.EventID, _ webhook.SubscriberID) (api.Replayed, error) {
	return api.Replayed{Matched: 1, Replayed: 1}, f.ask(ctx, "replay "+string(id), true)
}

func (f *fake) ReplayEvents(ctx context.Context, r api.EventReplay) (api.Replayed, error) {
	return api.Replayed{Matched: len(f.events)}, f.ask(ctx, "replay all", !r.DryRun)
}

func (f *fake) Resend(ctx context.Context, id webhook.DeliveryID) (api.Delivery, error) {
	return api.Delivery{ID: id}, f.ask(ctx, "resend "+string(id), true)
}

func (f *fake) Cancel(ctx context.Context, id webhook.DeliveryID) (api.Delivery, error) {
	return api.Delivery{ID: id}, f.ask(ctx, "cancel "+string(id), true)
}

func (f *fake) CancelDeliveries(ctx context.Context, c api.Cancel) (api.Cancelled, error) {
	return api.Cancelled{Matched: 1222, Cancelled: 1222}, f.ask(ctx, fmt.Sprintf("cancel all %+v", c.Filter), !c.DryRun)
}

func (f *fake) SubscribersPage(ctx context.Context, q api.PageQuery) (api.List[api.Subscriber], error) {
	if err := f.ask(ctx, "subscribers", false); err != nil || q.Cursor != "" {
		return api.List[api.Subscriber]{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return api.List[api.Subscriber]{Items: append([]api.Subscriber(nil), f.subscribers...)}, nil
}

func (f *fake) Subscriber(ctx context.Context, id webhook.SubscriberID) (api.Subscriber, error) {
	if err := f.ask(ctx, "subscriber", false); err != nil {
		return api.Subscriber{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.subscribers {
		if s.ID == id {
			return s, nil
		}
	}
	return api.Subscriber{}, answered{"there is no such subscriber"}
}

func (f *fake) AddSubscriber(ctx context.Context, _ api.SubscriberChange) (api.Subscriber, error) {
	return api.Subscriber{ID: "sub_00000000000000030000000000", Secret: "whsec_new"}, f.ask(ctx, "add", true)
}

func (f *fake) UpdateSubscriber(ctx context.Context, id webhook.SubscriberID, _ api.SubscriberChange) (api.Subscriber, error) {
	return api.Subscriber{ID: id}, f.ask(ctx, "update", true)
}

func (f *fake) RemoveSubscriber(ctx context.Context, _ webhook.SubscriberID) error {
	return f.ask(ctx, "remove", true)
}

func (f *fake) PauseSubscriber(ctx context.Context, id webhook.SubscriberID, _ string) (api.Subscriber, error) {
	return api.Subscriber{ID: id}, f.ask(ctx, "pause "+string(id), true)
}

func (f *fake) ResumeSubscriber(ctx context.Context, id webhook.SubscriberID) (api.Subscriber, error) {
	return api.Subscriber{ID: id}, f.ask(ctx, "resume "+string(id), true)
}

func (f *fake) RotateSecret(ctx context.Context, id webhook.SubscriberID, _ api.Rotation) (api.Subscriber, error) {
	return api.Subscriber{ID: id}, f.ask(ctx, "rotate", true)
}

func (f *fake) SubscriberSecret(ctx context.Context, _ webhook.SubscriberID) (webhook.Secret, error) {
	return "whsec_old", f.ask(ctx, "secret", false)
}

func (f *fake) TestSubscriber(ctx context.Context, _ webhook.SubscriberID) (api.Published, error) {
	return api.Published{ID: "evt_00000000000000030000000000", Status: api.StatusReceived}, f.ask(ctx, "test", true)
}

func (f *fake) DeadGroups(ctx context.Context) ([]api.DeadGroup, error) {
	err := f.ask(ctx, "groups", false)
	return append([]api.DeadGroup(nil), f.groups...), err
}

func (f *fake) ReplayDeadLetters(ctx context.Context, r api.DeadReplay) (api.Replayed, error) {
	return api.Replayed{Matched: 38}, f.ask(ctx, "replay dead", !r.DryRun)
}

func (f *fake) PurgeDeadLetters(ctx context.Context, p api.DeadFilter) (api.Purged, error) {
	return api.Purged{Matched: 38}, f.ask(ctx, "purge", !p.DryRun)
}

func (f *fake) Samples(ctx context.Context) ([]api.Sample, error) {
	return f.samples, f.ask(ctx, "samples", false)
}

func (f *fake) SandboxSend(ctx context.Context, _ api.SandboxSend) (api.SandboxAnswer, error) {
	return api.SandboxAnswer{}, f.ask(ctx, "send", true)
}
