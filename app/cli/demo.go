package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui"
	"github.com/pintle/pintle/tui/text"
)

func newDemo(g *globals) *cobra.Command {
	var (
		length time.Duration
		plain  bool
	)
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: an appliance on scratch data with receivers and sample traffic",
		Long: "Run an appliance on a scratch database with subscribers of every temper, healthy,\n" +
			"slow, flaky, dead and gone, with senders and agents that hand events over, and a\n" +
			"stranger who does not know the secret. On a terminal it opens the dashboard on\n" +
			"it, until that is left with q; otherwise, or with --plain, each line is a\n" +
			"request that has arrived at a subscriber. There is nothing to configure, and\n" +
			"nothing is left behind.",
		Example: "pintle demo\npintle demo --plain --for 30s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if length < 0 {
				return fmt.Errorf("--for %s is negative", length)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			if length > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, length)
				defer cancel()
			}
			d := &demo{out: cmd.OutOrStdout(), screen: !plain && hasScreen(cmd), arrivals: map[string]int{}}
			return failed(d.run(ctx, g, cmd.ErrOrStderr()))
		},
	}
	c.Flags().DurationVar(&length, "for", 0, "end after so long (default: when it is left or interrupted)")
	c.Flags().BoolVar(&plain, "plain", false, "print lines in place of the dashboard")
	return c
}

// A demoSubscriber is a receiver of the demo.
type demoSubscriber struct {
	name     string
	client   string
	events   []webhook.Pattern
	faults   sandbox.Faults
	schedule []api.Duration
}

func demoSubscribers() []demoSubscriber {
	soon := []api.Duration{api.Duration(500 * time.Millisecond), api.Duration(2 * time.Second), api.Duration(5 * time.Second)}
	return []demoSubscriber{
		{name: "acme-billing", client: "acme", events: []webhook.Pattern{"order.*", "invoice.*"}},
		{name: "acme-warehouse", client: "acme", events: []webhook.Pattern{"order.paid", "stock.**"}},
		{name: "globex-crm", client: "globex", events: []webhook.Pattern{"user.*", "order.created"},
			faults: sandbox.Faults{Delay: 800 * time.Millisecond}},
		{name: "globex-analytics", client: "globex", events: []webhook.Pattern{"*"},
			faults: sandbox.Faults{FailRate: 0.3, Status: http.StatusServiceUnavailable}, schedule: soon},
		{name: "initech-ledger", events: []webhook.Pattern{"invoice.*"},
			faults: sandbox.Faults{FailRate: 0.1, Reset: true, Delay: 120 * time.Millisecond}, schedule: soon},
		{name: "hooli-search", events: []webhook.Pattern{"user.*"}, faults: sandbox.Faults{Reset: true}, schedule: soon[:2]},
		// It answers that it is gone, and is paused at once.
		{name: "umbrella-archive", events: []webhook.Pattern{"order.cancelled"}, faults: sandbox.Faults{Status: http.StatusGone}},
	}
}

// A demoSender hands sample events over: a system that posts them to the
// inbound endpoint, or, where an agent is named, one that publishes them.
type demoSender struct {
	agent, client string
	rate          float64 // events per second
	types         []string
	signing       sandbox.Signing // empty: in the header
}

func demoSenders() []demoSender {
	return []demoSender{
		{rate: 2, types: []string{"order.created", "order.paid", "order.shipped", "order.cancelled"}},
		{rate: 1, types: []string{"invoice.created", "invoice.paid", "invoice.overdue"}, signing: sandbox.SignBody},
		{agent: "support-agent", client: "globex", rate: 1, types: []string{"user.created", "user.updated"}},
		{agent: "onboarding-agent", rate: 0.5, types: []string{"user.created"}},
		{agent: "stock-agent", client: "acme", rate: 0.4, types: []string{"stock.low"}},
		{rate: 0.15, types: []string{"order.paid"}, signing: sandbox.SignWrong},
	}
}

// demo counts, and without a dashboard prints, what its receivers see.
type demo struct {
	screen bool

	mu       sync.Mutex
	out      io.Writer
	arrivals map[string]int
}

func (d *demo) run(ctx context.Context, g *globals, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "pintle-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := demoConfig(dir)
	if err != nil {
		return err
	}
	if d.screen {
		// Nothing may be written over the dashboard.
		log, err := os.Create(filepath.Join(dir, "pintle.log"))
		if err != nil {
			return err
		}
		defer log.Close()
		stderr = log
	}
	a, err := g.start(ctx, c, newLogger(stderr, slog.LevelWarn, "text"), nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop(context.WithoutCancel(ctx))) }()
	admin, err := client.New(client.Options{Socket: c.Socket()})
	if err != nil {
		return err
	}
	defer admin.Close()
	for _, s := range demoSubscribers() {
		stop, err := d.subscribe(ctx, admin, s)
		if err != nil {
			return err
		}
		defer stop()
	}

	url := a.InboundURL(c.Inbound.Path)
	d.line("An appliance with %d subscribers is running; events are posted to %s.\n", len(demoSubscribers()), url)
	d.line("Look at it from another terminal with: pintle tui --db %s\n\n", c.Storage.Path)
	sending, enough := context.WithCancel(ctx)
	defer enough()
	secret, _ := a.Secret()
	var senders sync.WaitGroup
	counts := make([]sandbox.Counts, len(demoSenders()))
	for i, s := range demoSenders() {
		traffic := sandbox.Traffic{URL: url, Secret: secret, Rate: s.rate, Types: s.types, Seed: uint64(i), Post: s.post(url, secret, admin)}
		senders.Go(func() { counts[i] = traffic.Run(sending) })
	}
	if d.screen {
		err = tui.Run(ctx, tui.Options{Client: admin, Version: g.build.Version, Address: "demo",
			Leaving: "The demo ends, and nothing of it stays.",
			ASCII:   tui.WantsASCII(os.Environ())})
		enough()
	}
	senders.Wait()
	if err != nil {
		return err
	}
	return d.summary(counts, admin)
}

// post returns how the sender hands one event over; nil: as traffic does.
func (s demoSender) post(url string, secret webhook.Secret, admin *client.Client) func(context.Context, sandbox.Event) (sandbox.Answer, error) {
	switch {
	case s.agent != "":
		return func(ctx context.Context, e sandbox.Event) (sandbox.Answer, error) {
			_, err := admin.Publish(ctx, api.Publish{Event: e.Type, Data: e.Data, ClientID: s.client, AgentID: s.agent})
			return sandbox.Answer{StatusCode: http.StatusAccepted}, err
		}
	case s.signing != "":
		return func(ctx context.Context, e sandbox.Event) (sandbox.Answer, error) {
			return sandbox.Send(ctx, http.DefaultClient, url, secret, e, sandbox.Signed(s.signing))
		}
	}
	return nil
}

// demoConfig is a configuration of its own, whatever file and environment this
// machine has.
func demoConfig(dir string) (*config.Config, error) {
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return nil, err
	}
	return config.Load(config.Options{File: file, Set: []string{
		"storage.path=" + filepath.Join(dir, "pintle.db"), "inbound.listen=127.0.0.1:0", "admin.listen=",
	}})
}

// line prints for people who have no dashboard. It ignores that nobody may be
// reading any more.
func (d *demo) line(format string, args ...any) {
	if d.screen {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format, args...)
}

// subscribe adds a subscriber and starts its receiver.
func (d *demo) subscribe(ctx context.Context, admin *client.Client, s demoSubscriber) (stop func(), err error) {
	secret := webhook.NewSecret()
	url, stop, err := d.receive(s.name, secret, s.faults)
	if err != nil {
		return nil, err
	}
	reveal := secret.Reveal()
	change := api.SubscriberChange{URL: &url, Secret: &reveal, Events: &s.events, Description: &s.name, ClientID: &s.client}
	if s.schedule != nil {
		change.Schedule = &s.schedule
	}
	if _, err := admin.AddSubscriber(ctx, change); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// receive starts a receiver and returns its URL.
func (d *demo) receive(name string, secret webhook.Secret, faults sandbox.Faults) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: sandbox.NewReceiver(sandbox.ReceiverOptions{
			Secrets: []webhook.Secret{secret}, Faults: faults,
			OnArrival: func(a sandbox.Arrival) {
				answer := "reset"
				if a.Status != 0 {
					answer = fmt.Sprint(a.Status)
				}
				d.line("%s  %-16s %-5s  %-16s attempt %d  %s  %s\n", a.Time.Format("15:04:05.000"),
					name, answer, text.Clean(a.Event), a.Attempt, text.Clean(a.Delivery), a.Verdict)
				d.mu.Lock()
				d.arrivals[name]++
				d.mu.Unlock()
			},
		}),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(l) // ends with Close
	}()
	return "http://" + l.Addr().String() + "/", func() { server.Close(); <-ended }, nil
}

func (d *demo) summary(counts []sandbox.Counts, admin *client.Client) error {
	stats, err := admin.Stats(context.Background())
	if err != nil {
		return err
	}
	received, refused := 0, 0
	for _, c := range counts {
		received += c.Received
		refused += c.Refused
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "\n%d events were accepted, and %d refused.\n", received, refused)
	for _, s := range demoSubscribers() {
		fmt.Fprintf(d.out, "  %-16s saw %d requests\n", s.name, d.arrivals[s.name])
	}
	fmt.Fprintf(d.out, "%d deliveries are dead letters.\n", stats.Totals.Deliveries[webhook.Dead])
	return nil
}
