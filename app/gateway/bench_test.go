package gateway_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/gateway"
	"github.com/pintle/pintle/app/webhook"
)

// nowhere takes every event.
type nowhere struct{}

func (nowhere) Publish(_ context.Context, e webhook.Event, _ webhook.DedupeKey) (webhook.Accepted, []webhook.NewDelivery, error) {
	return webhook.Accepted{ID: "evt_00000000000000000000000000", Type: e.Type, ReceivedAt: time.Now()}, nil, nil
}

// BenchmarkReceive is the way of a request of about a kilobyte through the
// checks, without network and store.
func BenchmarkReceive(b *testing.B) {
	text := body(time.Now().Unix(), `{"text":"`+strings.Repeat("0123456789", 90)+`"}`)
	agent := webhook.Source{
		Name: "inbound", Path: "/webhook/inbound", Scheme: webhook.SchemeAgent, Secrets: []webhook.Secret{secret},
		Enabled: true, ValidateSignature: true, MaxClockSkew: time.Hour, MaxBody: 1 << 20,
	}
	off := agent
	off.ValidateSignature, off.MaxClockSkew = false, 0
	all := agent
	all.AllowIPs, all.RateLimit = prefixes("10.0.0.0/8", "192.0.2.0/24", "127.0.0.0/8"), 1e6
	github := agent
	github.Scheme = webhook.SchemeGitHub
	for _, bench := range []struct {
		name   string
		source webhook.Source
		rules  gateway.Rules
	}{
		{"off", off, gateway.Rules{}}, {"default", agent, gateway.Rules{}},
		{"all", all, gateway.Rules{TrustedProxies: prefixes("127.0.0.1/32")}}, {"github", github, gateway.Rules{}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			bench.rules.Sources = []webhook.Source{bench.source}
			g, err := gateway.New(gateway.Options{
				Publisher: nowhere{}, IDs: webhook.NewIDs("0123456789", 0), Logger: slog.New(slog.DiscardHandler),
				Ready: func(context.Context) error { return nil },
			}, bench.rules)
			if err != nil {
				b.Fatal(err)
			}
			header := http.Header{
				"Content-Type": {"application/json"}, "X-Agent-Signature": {sign(text)}, "X-Forwarded-For": {"192.0.2.7"},
				"X-Hub-Signature-256": {sign(text)}, "X-Github-Event": {"push"}, "X-Github-Delivery": {"1"},
			}
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequest(http.MethodPost, "/webhook/inbound", strings.NewReader(text))
				if err != nil {
					b.Fatal(err)
				}
				r.RemoteAddr, r.Header = "127.0.0.1:40000", header
				w := &recorder{header: http.Header{}}
				if g.ServeHTTP(w, r); w.status != http.StatusOK {
					b.Fatalf("%d %s", w.status, w.Bytes())
				}
			}
		})
	}
}
