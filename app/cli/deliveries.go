package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newDeliveries(g *globals) *cobra.Command {
	return noun("deliveries", "See deliveries and why they failed, and send them again",
		"pintle deliveries list --state pending\npintle deliveries show dlv_…\npintle deliveries resend dlv_…",
		newDeliveriesList(g), newDeliveriesShow(g), newDeliveriesResend(g))
}

// deliveryFlags adds a flag for each field of the filter but the state, which
// dead letters do not differ in.
func deliveryFlags(cmd *cobra.Command, filter *api.DeliveryFilter) {
	flags := cmd.Flags()
	flags.StringVar((*string)(&filter.Subscriber), "subscriber", "", "deliveries to this subscriber only")
	flags.StringVar(&filter.EventType, "event-type", "", "deliveries of events of this type only")
	flags.StringVar((*string)(&filter.EventID), "event-id", "", "deliveries of this event only")
	flags.StringVar((*string)(&filter.Outcome), "outcome", "", "whose last attempt came out like this: "+fmt.Sprint(webhook.Outcomes()))
	flags.IntVar(&filter.Code, "code", 0, "whose last attempt was answered with this HTTP status")
	flags.StringVar(&filter.Since, "since", "", "made at or after: 2h (ago), RFC 3339, or Unix seconds")
	flags.StringVar(&filter.Until, "until", "", "made before: 2h (ago), RFC 3339, or Unix seconds")
}

// checkDeliveryFlags refuses what no delivery can match.
func checkDeliveryFlags(cmd *cobra.Command, filter api.DeliveryFilter) error {
	switch {
	case filter.State != "" && !slices.Contains(webhook.States(), filter.State):
		return fmt.Errorf("--state is one of %v, not %q", webhook.States(), filter.State)
	case filter.Outcome != "" && !slices.Contains(webhook.Outcomes(), filter.Outcome):
		return fmt.Errorf("--outcome is one of %v, not %q", webhook.Outcomes(), filter.Outcome)
	case cmd.Flags().Changed("code") && (filter.Code < 100 || filter.Code > 999):
		return fmt.Errorf("--code is an HTTP status between 100 and 999, not %d", filter.Code)
	}
	return nil
}

func deliveryHeadings() []string {
	return []string{"DELIVERY", "CREATED", "TYPE", "EVENT", "SUBSCRIBER", "STATE", "ATTEMPTS", "OUTCOME", "CODE"}
}

func deliveryCells(d api.Delivery) []string {
	return []string{
		string(d.ID), shownTime(d.CreatedAt), d.EventType, string(d.EventID), string(d.SubscriberID), string(d.State),
		strconv.Itoa(d.AttemptCount), string(d.LastOutcome), shownCode(d.LastCode),
	}
}

func printDeliveries(w io.Writer, deliveries []api.Delivery) error {
	t := newTable(w, deliveryHeadings()...)
	for _, d := range deliveries {
		if err := t.row(deliveryCells(d)...); err != nil {
			return err
		}
	}
	return t.flush()
}

func newDeliveriesList(g *globals) *cobra.Command {
	var (
		filter api.DeliveryFilter
		length length
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List deliveries, the newest first",
		Example: "pintle deliveries list --subscriber sub_… --state pending\n" +
			"pintle deliveries list --outcome timeout --since 2h\n" +
			"pintle deliveries list --event-id evt_… --output json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limit, err := length.max()
			if err == nil {
				err = checkDeliveryFlags(cmd, filter)
			}
			if err != nil {
				return err
			}
			return g.withClient(func(c *client.Client) error {
				return printList(g, cmd, c.Deliveries(cmd.Context(), filter, limit), limit, deliveryHeadings(), deliveryCells)
			})
		},
	}
	deliveryFlags(c, &filter)
	c.Flags().StringVar((*string)(&filter.State), "state", "", "in this state only: "+fmt.Sprint(webhook.States()))
	length.flags(c)
	return c
}

func newDeliveriesShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "show DELIVERY",
		Short:   "Show a delivery and what came of each attempt",
		Example: "pintle deliveries show dlv_…\npintle deliveries show dlv_… --output json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				d, err := c.Delivery(cmd.Context(), webhook.DeliveryID(args[0]))
				if err != nil {
					return workError(fmt.Errorf("show delivery %s: %w", args[0], err))
				}
				if g.output == "json" {
					return failed(printJSON(cmd.OutOrStdout(), d))
				}
				return failed(printDelivery(cmd.OutOrStdout(), d))
			})
		},
	}
}

func printDelivery(w io.Writer, d api.DeliveryDetail) error {
	err := printFields(w,
		field{"DELIVERY", string(d.ID)},
		field{"EVENT", string(d.EventID)},
		field{"TYPE", d.EventType},
		field{"SUBSCRIBER", string(d.SubscriberID)},
		field{"STATE", string(d.State)},
		field{"ATTEMPTS", strconv.Itoa(d.AttemptCount)},
		field{"CREATED", shownTime(d.CreatedAt)},
		field{"NEXT ATTEMPT", shownTime(d.NextAttemptAt)},
		field{"FINISHED", shownTime(d.FinishedAt)})
	if err != nil || len(d.Attempts) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := newTable(w, "ATTEMPT", "STARTED", "DURATION", "OUTCOME", "CODE", "ERROR")
	for _, a := range d.Attempts {
		why := a.Error
		if a.Outcome != webhook.OK {
			// Where the receiver answered, its own words are the reason.
			why = cmp.Or(why, shorten(a.ResponseBody, shownBody))
		}
		err := t.row(strconv.Itoa(a.Number), shownTime(a.StartedAt), shownMillis(a.DurationMS), string(a.Outcome), shownCode(a.Code), why)
		if err != nil {
			return err
		}
	}
	return t.flush()
}

func newDeliveriesResend(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "resend DELIVERY…",
		Short: "Send deliveries again",
		Long: "resend makes deliveries due at once, whatever state they are in, with their whole\n" +
			"schedule before them. A receiver recognises the event by its webhook-id, which\n" +
			"stays the same.",
		Example: "pintle deliveries resend dlv_…",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				resent := make([]api.Delivery, 0, len(args))
				var fault error
				for _, id := range args {
					d, err := c.Resend(cmd.Context(), webhook.DeliveryID(id))
					if err != nil {
						fault = workError(fmt.Errorf("resend delivery %s: %w", id, err))
						break
					}
					resent = append(resent, d)
				}
				// What was resent before a fault is resent, and must be seen.
				if len(resent) > 0 {
					if err := printResent(g, cmd.OutOrStdout(), resent); err != nil && fault == nil {
						fault = failed(err)
					}
				}
				return fault
			})
		},
	}
}

func printResent(g *globals, w io.Writer, resent []api.Delivery) error {
	if g.output != "json" {
		return printDeliveries(w, resent)
	}
	for _, d := range resent {
		if err := printJSON(w, d); err != nil {
			return err
		}
	}
	return nil
}
