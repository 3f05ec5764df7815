package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

func newTail(g *globals) *cobra.Command {
	var (
		query api.TailQuery
		kinds []string
	)
	c := &cobra.Command{
		Use:   "tail",
		Short: "Follow what happens: events, attempts and rejections",
		Long: "tail prints a line for each event that is accepted, each attempt that ends and\n" +
			"each inbound request that is refused, from now on. It runs until it is\n" +
			"interrupted; when the connection ends, it says so and fails.",
		Example: "pintle tail\n" +
			"pintle tail --kind attempt --subscriber 'acme-*'\n" +
			"pintle tail --event-type 'order.*' --output json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, kind := range kinds {
				if !slices.Contains(api.Kinds(), api.Kind(kind)) {
					return fmt.Errorf("--kind is one of %v, not %q", api.Kinds(), kind)
				}
				query.Kinds = append(query.Kinds, api.Kind(kind))
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return g.withClient(func(c *client.Client) error { return g.tail(ctx, cmd.OutOrStdout(), c, query) })
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&kinds, "kind", nil, "of these kinds only: "+fmt.Sprint(api.Kinds())+"; repeat or separate by commas")
	flags.StringVar(&query.Subscriber, "subscriber", "", "attempts for this subscriber only: its id, or its name with * for any part")
	flags.StringVar((*string)(&query.EventType), "event-type", "", "of events of this type only: order.created, order.* or order.**")
	flags.StringVar(&query.ClientID, "client-id", "", "of this client's events only")
	return c
}

// tail prints happenings until the context ends, as it is meant to, or there is
// an error, which is the last thing that a tail yields.
func (g *globals) tail(ctx context.Context, out io.Writer, c *client.Client, query api.TailQuery) error {
	for h, err := range c.Tail(ctx, query) {
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return failed(hint(errors.New("the connection to the appliance has ended"), "it may have been stopped; start pintle tail again once it runs"))
		}
		if err != nil {
			return workError(fmt.Errorf("follow: %w", err))
		}
		if g.output == "json" {
			err = printJSON(out, h)
		} else {
			_, err = fmt.Fprintln(out, happening(h))
		}
		if err != nil {
			return failed(err)
		}
	}
	return nil
}

// happening writes one line for people.
func happening(h api.Happening) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch h.Kind {
	case api.KindEvent:
		add("%-16s  %s  from %s", h.EventType, h.EventID, h.Source)
		if h.ClientID != "" {
			add("client %s", h.ClientID)
		}
		if h.Duplicate {
			add("a duplicate")
		} else {
			add("%s", deliveriesText(h.Deliveries))
		}
	case api.KindAttempt:
		add("%-16s  %s  to %s  #%d", h.EventType, h.DeliveryID, orDash(h.SubscriberName), h.Attempt)
		add("%s in %s", lastResult(api.Delivery{LastOutcome: h.Outcome, LastCode: h.Code}), shownMillis(h.DurationMS))
		if h.Error != "" {
			add("%s", shorten(h.Error, shownBody))
		}
		if h.State == webhook.Pending && !h.NextAttemptAt.IsZero() {
			add("next at %s", h.NextAttemptAt.UTC().Format("15:04:05Z"))
		} else {
			add("%s", h.State)
		}
	case api.KindRejection:
		add("%d %s  %s  at %s", h.Status, h.Error, h.RequestID, orDash(h.Source))
		if h.ClientIP != "" {
			add("from %s", h.ClientIP)
		}
	case api.KindGap:
		add("%d happenings were missed: this reader is too slow", h.Missed)
	}
	return text.Clean(fmt.Sprintf("%s  %-9s  %s", h.Time.UTC().Format("15:04:05.000Z"), h.Kind, strings.Join(parts, ", ")))
}

func deliveriesText(n int) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}
