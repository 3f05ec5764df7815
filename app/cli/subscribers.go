package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

func newSubscribers(g *globals) *cobra.Command {
	return noun("subscribers", "Manage who receives events",
		"pintle subscribers add https://example.com/hooks --events 'order.*'\npintle subscribers list",
		newSubscribersAdd(g), newSubscribersList(g), newSubscribersShow(g), newSubscribersEdit(g),
		newSubscribersPause(g), newSubscribersResume(g), newSubscribersRotateSecret(g),
		newSubscribersTest(g), newSubscribersRemove(g))
}

func newSubscribersAdd(g *globals) *cobra.Command {
	var f subscriberFlags
	c := &cobra.Command{
		Use:   "add URL",
		Short: "Add a subscriber, and print it with its secret",
		Long: "add makes a subscriber that receives events from now on: all of them, unless\n" +
			"--events says which. It prints the subscriber with the secret that its\n" +
			"deliveries are signed with." + fileHelp,
		Example: "pintle subscribers add https://example.com/hooks\n" +
			"pintle subscribers add https://example.com/hooks --events 'order.*,user.**' --timeout 10s\n" +
			"pintle subscribers add https://example.com/hooks --header 'Authorization: Bearer …'\n" +
			"pintle subscribers add https://example.com/hooks --filter '.data.amount > 100' --transform @text.jq\n" +
			"pintle subscribers add https://example.com/hooks --ordered .data.order_id --rate-limit 5",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := f.change(cmd)
			if err != nil {
				return err
			}
			switch {
			case len(args) == 1 && change.URL != nil:
				return errors.New("the URL is given twice: as an argument and as --url")
			case len(args) == 1:
				change.URL = &args[0]
			case change.URL == nil:
				return hint(errors.New("the URL of the subscriber is missing"), "pintle subscribers add https://example.com/hooks")
			}
			if change.Events == nil {
				change.Events = &[]webhook.Pattern{"*"}
			}
			return g.withClient(func(c *client.Client) error {
				added, err := c.AddSubscriber(cmd.Context(), change)
				if err != nil {
					return workError(fmt.Errorf("add subscriber: %w", err))
				}
				return g.printSubscriber(cmd, added)
			})
		},
	}
	f.register(c)
	return c
}

func newSubscribersList(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List subscribers, the newest first",
		Long: "list shows the subscribers. The STATE of one is active; failing, if nothing has\n" +
			"succeeded for a while; held, if its deliveries wait until that is over; or paused.\n" +
			"OK and P95 are the share of attempts that succeeded in the last hour, and how long\n" +
			"95 % of them took at most.",
		Example: "pintle subscribers list\npintle subscribers list --all --output json",
	}
	shown := columns[api.Subscriber]{
		[]string{"SUBSCRIBER", "STATE", "PENDING", "DEAD", "OK", "P95", "URL", "EVENTS", "CLIENT", "DESCRIPTION"},
		func(s api.Subscriber) []string {
			var h api.Health
			if s.Health != nil {
				h = *s.Health
			}
			p95 := ""
			if h.Attempts > 0 {
				p95 = shownMillis(h.P95MS)
			}
			return []string{
				string(s.ID), standingOf(s.Active, s.Held, s.FailingSince), strconv.FormatInt(h.Pending, 10), strconv.FormatInt(h.Dead, 10),
				shownShare(h.Attempts, h.Failed), p95, s.URL, patterns(s.Events), s.ClientID, s.Description,
			}
		},
	}
	return newList(g, c, nil, shown, func(ctx context.Context, c *client.Client, limit int) iter.Seq2[api.Subscriber, error] {
		return c.Subscribers(ctx, limit)
	})
}

// subscriberWork is what a command does with one subscriber.
type subscriberWork func(context.Context, *client.Client, webhook.SubscriberID) (api.Subscriber, error)

// oneSubscriber makes c a command that works on the subscriber which it names,
// and prints it.
func oneSubscriber(g *globals, verb string, c *cobra.Command, work subscriberWork) *cobra.Command {
	c.Use = verb + " SUBSCRIBER"
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return g.withClient(func(c *client.Client) error {
			s, err := work(cmd.Context(), c, webhook.SubscriberID(args[0]))
			if err != nil {
				return workError(fmt.Errorf("%s subscriber %s: %w", verb, args[0], err))
			}
			return g.printSubscriber(cmd, s)
		})
	}
	return c
}

func newSubscribersShow(g *globals) *cobra.Command {
	var reveal bool
	c := oneSubscriber(g, "show", &cobra.Command{
		Short:   "Show a subscriber",
		Example: "pintle subscribers show sub_…\npintle subscribers show sub_… --secret",
	}, func(ctx context.Context, c *client.Client, id webhook.SubscriberID) (api.Subscriber, error) {
		s, err := c.Subscriber(ctx, id)
		if err == nil && reveal {
			var secret webhook.Secret
			secret, err = c.SubscriberSecret(ctx, id)
			s.Secret = secret.Reveal()
		}
		return s, err
	})
	c.Flags().BoolVar(&reveal, "secret", false, "show the secret too")
	return c
}

func newSubscribersEdit(g *globals) *cobra.Command {
	var (
		f      subscriberFlags
		change api.SubscriberChange
	)
	c := oneSubscriber(g, "edit", &cobra.Command{
		Short: "Change fields of a subscriber",
		Long: "edit changes the fields whose flags are given, and leaves the others. An empty\n" +
			"value, or 0, gives a field its default. A secret is replaced at once;\n" +
			"rotate-secret keeps the old one valid for a while." + fileHelp,
		Example: "pintle subscribers edit sub_… --url https://example.com/new\n" +
			"pintle subscribers edit sub_… --events 'order.*,user.**' --timeout 10s\n" +
			"pintle subscribers edit sub_… --filter @filter.jq --transform ''\n" +
			"pintle subscribers edit sub_… --tls-cert @client.pem --tls-key @client.key\n" +
			"pintle subscribers edit sub_… --hold=false --auto-pause=false",
	}, func(ctx context.Context, c *client.Client, id webhook.SubscriberID) (api.Subscriber, error) {
		return c.UpdateSubscriber(ctx, id, change)
	})
	c.PreRunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if change, err = f.change(cmd); err != nil {
			return err
		}
		if change == (api.SubscriberChange{}) {
			return hint(errors.New("say what to change"), "give a field as a flag, such as --events 'order.*'")
		}
		return nil
	}
	f.register(c)
	return c
}

func newSubscribersPause(g *globals) *cobra.Command {
	var reason string
	c := oneSubscriber(g, "pause", &cobra.Command{
		Short:   "Pause a subscriber: its deliveries are made, and wait",
		Example: "pintle subscribers pause sub_… --reason 'maintenance until noon'",
	}, func(ctx context.Context, c *client.Client, id webhook.SubscriberID) (api.Subscriber, error) {
		return c.PauseSubscriber(ctx, id, reason)
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever looks later")
	return c
}

func newSubscribersResume(g *globals) *cobra.Command {
	return oneSubscriber(g, "resume", &cobra.Command{
		Short:   "Resume a paused subscriber: what waited is sent",
		Example: "pintle subscribers resume sub_…",
	}, func(ctx context.Context, c *client.Client, id webhook.SubscriberID) (api.Subscriber, error) {
		return c.ResumeSubscriber(ctx, id)
	})
}

func newSubscribersRotateSecret(g *globals) *cobra.Command {
	var (
		rotation api.Rotation
		overlap  time.Duration
	)
	c := oneSubscriber(g, "rotate-secret", &cobra.Command{
		Short: "Replace the secret of a subscriber, and print it",
		Long: "rotate-secret gives a subscriber a new secret and prints it. Until the overlap is\n" +
			"over, webhook-signature has a signature under the old secret too, so that the\n" +
			"receiver can change over in its own time; X-Agent-Signature, which has room for\n" +
			"one, is made with the new secret at once.",
		Example: "pintle subscribers rotate-secret sub_…\n" +
			"pintle subscribers rotate-secret sub_… --overlap 1h\n" +
			"pintle subscribers rotate-secret sub_… --secret whsec_… --overlap 0",
	}, func(ctx context.Context, c *client.Client, id webhook.SubscriberID) (api.Subscriber, error) {
		return c.RotateSecret(ctx, id, rotation)
	})
	c.PreRunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case overlap < 0:
			return fmt.Errorf("--overlap %s is negative", overlap)
		case cmd.Flags().Changed("secret") && rotation.Secret == "":
			return errors.New("--secret is empty")
		}
		rotation.Overlap = (*api.Duration)(&overlap)
		return nil
	}
	c.Flags().StringVar(&rotation.Secret, "secret", "", "the new secret (default: one is made)")
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old secret signs too; 0: not at all")
	return c
}

const (
	// testPatience is how long the end of a test is waited for, and testPoll
	// how often it is asked for.
	testPatience = 30 * time.Second
	testPoll     = 100 * time.Millisecond
)

func newSubscribersTest(g *globals) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:   "test SUBSCRIBER",
		Short: "Send a test event to one subscriber",
		Long: "test sends an event of the type pintle.test to one subscriber, whatever its\n" +
			"patterns and its filter. With --wait it waits up to 30 seconds for the end of the delivery,\n" +
			"shows what came of it, and fails if the event was not delivered.",
		Example: "pintle subscribers test sub_…\npintle subscribers test sub_… --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				published, err := c.TestSubscriber(cmd.Context(), webhook.SubscriberID(args[0]))
				if err != nil {
					return workError(fmt.Errorf("test subscriber %s: %w", args[0], err))
				}
				if !wait || len(published.Deliveries) == 0 {
					return g.printPublished(cmd, published)
				}
				d, err := awaitEnd(cmd.Context(), c, published.Deliveries[0].ID)
				if err != nil {
					return workError(fmt.Errorf("wait for the test: %w", err))
				}
				if err := g.print(cmd, d, func(w io.Writer) error { return printDelivery(w, d, false) }); err != nil {
					return err
				}
				if d.State != webhook.Delivered {
					return failed(fmt.Errorf("the test was not delivered: it is %s", d.State))
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait for what comes of it")
	return c
}

// awaitEnd returns the delivery once it has ended, or as it is when no more
// patience is left.
func awaitEnd(ctx context.Context, c *client.Client, id webhook.DeliveryID) (api.DeliveryDetail, error) {
	ticker := time.NewTicker(testPoll)
	defer ticker.Stop()
	deadline := time.After(testPatience)
	for {
		d, err := c.Delivery(ctx, id)
		if err != nil || d.State != webhook.Pending {
			return d, err
		}
		select {
		case <-ticker.C:
		case <-deadline:
			return d, nil
		case <-ctx.Done():
			return d, ctx.Err()
		}
	}
}

func newSubscribersRemove(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "remove SUBSCRIBER",
		Aliases: []string{"rm"},
		Short:   "Remove a subscriber and cancel what waits for it",
		Long: "remove takes a subscriber out and cancels its pending deliveries. Its history\n" +
			"stays. It asks first, unless --yes is given.",
		Example: "pintle subscribers remove sub_…\npintle subscribers remove sub_… --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				id := webhook.SubscriberID(args[0])
				s, err := c.Subscriber(cmd.Context(), id)
				if err != nil {
					return workError(fmt.Errorf("remove subscriber %s: %w", id, err))
				}
				if err := g.confirm(cmd, fmt.Sprintf("remove %s (%s) and cancel what waits for it", id, s.URL)); err != nil {
					return err
				}
				if err := c.RemoveSubscriber(cmd.Context(), id); err != nil {
					return workError(fmt.Errorf("remove subscriber %s: %w", id, err))
				}
				g.note(cmd, "removed %s", text.Clean(string(id)))
				return nil
			})
		},
	}
}
