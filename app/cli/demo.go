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
)

func newDemo(g *globals) *cobra.Command {
	var length time.Duration
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: an appliance on scratch data with receivers and sample traffic",
		Long: "Run an appliance on a scratch database with four subscribers, one healthy, one\n" +
			"slow, one flaky and one dead, and several senders that post signed events to it.\n" +
			"Each line is a request that has arrived at a subscriber. There is nothing to\n" +
			"configure, and nothing is left behind.",
		Example: "pintle demo\npintle demo --for 30s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if length < 0 {
				return fmt.Errorf("--for %s is negative", length)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if length > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, length)
				defer cancel()
			}
			return failed(g.demo(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	c.Flags().DurationVar(&length, "for", 0, "end after so long (default: when interrupted)")
	return c
}

// demoSubscribers are the receivers of the demo.
var demoSubscribers = []struct {
	name     string
	events   []webhook.Pattern
	faults   sandbox.Faults
	schedule []api.Duration
}{
	{name: "healthy", events: []webhook.Pattern{"*"}},
	{name: "slow", events: []webhook.Pattern{"order.*", "invoice.*"}, faults: sandbox.Faults{Delay: 800 * time.Millisecond}},
	{name: "flaky", events: []webhook.Pattern{"order.**"}, faults: sandbox.Faults{FailRate: 0.3, Status: http.StatusServiceUnavailable}},
	{name: "dead", events: []webhook.Pattern{"user.*"}, faults: sandbox.Faults{Reset: true},
		schedule: []api.Duration{api.Duration(500 * time.Millisecond), api.Duration(time.Second)}},
}

// demoSenders post at these rates, in events per second.
var demoSenders = []float64{1, 2, 3}

func (g *globals) demo(ctx context.Context, out, log io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "pintle-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := demoConfig(dir)
	if err != nil {
		return err
	}
	a, err := g.start(ctx, c, newLogger(log, slog.LevelWarn, "text"), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop(context.WithoutCancel(ctx))) }()
	admin, err := client.New(client.Options{Socket: c.Socket()})
	if err != nil {
		return err
	}

	d := &demo{out: out, arrivals: map[string]int{}}
	for _, s := range demoSubscribers {
		secret := webhook.NewSecret()
		url, stop, err := d.receive(s.name, secret, s.faults)
		if err != nil {
			return err
		}
		defer stop()
		reveal := secret.Reveal()
		change := api.SubscriberChange{URL: &url, Secret: &reveal, Events: &s.events, Description: &s.name}
		if s.schedule != nil {
			change.Schedule = &s.schedule
		}
		if _, err := admin.AddSubscriber(ctx, change); err != nil {
			return err
		}
	}

	d.printf("An appliance with %d subscribers is running; events are posted to %s.\n", len(demoSubscribers), a.InboundURL(c.Inbound.Path))
	d.printf("Look at it from another terminal with: pintle events list --db %s\n\n", c.Storage.Path)
	secret, _ := a.Secret()
	var senders sync.WaitGroup
	counts := make([]sandbox.Counts, len(demoSenders))
	for i, rate := range demoSenders {
		senders.Go(func() {
			counts[i] = (&sandbox.Traffic{URL: a.InboundURL(c.Inbound.Path), Secret: secret, Rate: rate, Seed: uint64(i)}).Run(ctx)
		})
	}
	senders.Wait()
	return d.summary(counts, admin)
}

// demoConfig is a configuration of its own, whatever file and environment this
// machine has.
func demoConfig(dir string) (*config.Config, error) {
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return nil, err
	}
	return config.Load(config.Options{File: file, Set: []string{
		"storage.path=" + filepath.Join(dir, "pintle.db"), "inbound.listen=127.0.0.1:0",
	}})
}

// demo prints what its receivers see.
type demo struct {
	mu       sync.Mutex
	out      io.Writer
	arrivals map[string]int
}

// printf ignores that nobody may be reading any more.
func (d *demo) printf(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format, args...)
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
				d.printf("%s  %-8s %-5s  %-16s attempt %d  %s  %s\n", a.Time.Format("15:04:05.000"),
					name, answer, clean(a.Event), a.Attempt, clean(a.Delivery), a.Verdict)
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
	received := 0
	for _, c := range counts {
		received += c.Received
	}
	dead := 0
	for _, err := range admin.DeadLetters(context.Background(), api.DeliveryFilter{}, 0) {
		if err != nil {
			return err
		}
		dead++
	}
	d.printf("\n%d events were accepted.\n", received)
	for _, s := range demoSubscribers {
		d.mu.Lock()
		n := d.arrivals[s.name]
		d.mu.Unlock()
		d.printf("  %-8s saw %d requests\n", s.name, n)
	}
	d.printf("%d deliveries are dead letters.\n", dead)
	return nil
}
