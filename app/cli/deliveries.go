package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newDeliveries(g *globals) *cobra.Command {
	resend := newDeliveriesChange(g, "resend", (*client.Client).Resend)
	resend.Short = "Send deliveries again"
	resend.Long = "resend makes deliveries due at once, whatever state they are in, with their whole\n" +
		"schedule before them. A receiver recognises the event by its webhook-id, which\n" +
		"stays the same."
	return noun("deliveries", "See deliveries and why they failed, and send them again",
		"pintle deliveries list sub:acme-* status:pending\npintle deliveries explain dlv_…\npintle deliveries resend dlv_…",
		newDeliveriesList(g), newDeliveriesShow(g), newDeliveriesExplain(g), resend, newDeliveriesCancel(g))
}

func deliveryColumns() columns[api.Delivery] {
	return columns[api.Delivery]{
		[]string{"DELIVERY", "CREATED", "TYPE", "EVENT", "SUBSCRIBER", "NAME", "STATE", "ATTEMPTS", "OUTCOME", "CODE"},
		func(d api.Delivery) []string {
			return []string{
				string(d.ID), shownTime(d.CreatedAt), d.EventType, string(d.EventID), string(d.SubscriberID),
				d.SubscriberName, string(d.State), strconv.Itoa(d.AttemptCount), string(d.LastOutcome), shownCode(d.LastCode),
			}
		},
	}
}

func newDeliveriesList(g *globals) *cobra.Command {
	var filter api.DeliveryFilter
	c := &cobra.Command{
		Use:   "list [QUERY…]",
		Short: "List deliveries, the newest first",
		Long:  "list shows deliveries, whatever has become of them." + queryHelp,
		Example: "pintle deliveries list sub:acme-* status:dead since:2h timeout\n" +
			"pintle deliveries list --subscriber sub_… --state pending\n" +
			"pintle deliveries list --event-id evt_… --output json",
	}
	deliveryFlags(c, &filter)
	c.Flags().StringVar((*string)(&filter.State), "state", "", "in this state only: "+fmt.Sprint(webhook.States()))
	return newList(g, c, &filter.Q, deliveryColumns(), func(ctx context.Context, c *client.Client, limit int) iter.Seq2[api.Delivery, error] {
		return c.Deliveries(ctx, filter, limit)
	})
}

// newDeliveriesChange makes a command that changes each of the deliveries which
// it names.
func newDeliveriesChange(g *globals, verb string, change func(*client.Client, context.Context, webhook.DeliveryID) (api.Delivery, error)) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " DELIVERY…",
		Example: "pintle deliveries " + verb + " dlv_…",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return forEach(g, cmd, verb+" delivery", args, deliveryColumns(),
				func(ctx context.Context, c *client.Client, id string) (api.Delivery, error) {
					return change(c, ctx, webhook.DeliveryID(id))
				})
		},
	}
}

func newDeliveriesCancel(g *globals) *cobra.Command {
	var (
		b      bulk
		cancel api.Cancel
	)
	c := &cobra.Command{
		Use:   "cancel [DELIVERY…|QUERY…]",
		Short: "Give up pending deliveries",
		Long: "cancel gives up deliveries that are pending: they are not tried again, unless they\n" +
			"are resent. A request that is under way is not called back. It takes those that\n" +
			"are named, those pending ones that a query and the flags select, or --all; unless\n" +
			"they are named, it says how many they are, and asks, before it does so." + queryHelp,
		Example: "pintle deliveries cancel dlv_…\n" +
			"pintle deliveries cancel sub:acme-* type:order.* --dry-run\n" +
			"pintle deliveries cancel --subscriber sub_… --until 24h --yes",
		RunE: func(cmd *cobra.Command, words []string) error {
			ids, err := selected(&b, "deliveries", webhook.DeliveryPrefix, words, &cancel.Filter, &cancel.Filter.Q)
			switch {
			case err != nil:
				return err
			case len(ids) > 0 && b.dryRun:
				return errors.New("--dry-run goes with a query, a filter or --all")
			case len(ids) > 0:
				return forEach(g, cmd, "cancel delivery", ids, deliveryColumns(),
					func(ctx context.Context, c *client.Client, id string) (api.Delivery, error) {
						return c.Cancel(ctx, webhook.DeliveryID(id))
					})
			}
			return g.withClient(func(c *client.Client) error {
				return b.run(g, cmd, "cancel", "pending delivery", func(dryRun bool) (tally, error) {
					cancel.DryRun = dryRun
					cancelled, err := c.CancelDeliveries(cmd.Context(), cancel)
					return tally{matched: cancelled.Matched, done: cancelled.Cancelled, answer: cancelled}, err
				})
			})
		},
	}
	deliveryFlags(c, &cancel.Filter)
	b.flags(c, "pending deliveries")
	return c
}

func newDeliveriesShow(g *globals) *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:   "show DELIVERY",
		Short: "Show a delivery and what came of each attempt",
		Long: "show tells what came of each attempt of a delivery, and what happens next. With\n" +
			"--verbose it shows what was sent and answered each time, and where the time went.",
		Example: "pintle deliveries show dlv_…\npintle deliveries show dlv_… --verbose\npintle deliveries show dlv_… --output json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				d, err := c.Delivery(cmd.Context(), webhook.DeliveryID(args[0]))
				if err != nil {
					return workError(fmt.Errorf("show delivery %s: %w", args[0], err))
				}
				return g.print(cmd, d, func(w io.Writer) error { return printDelivery(w, d, verbose) })
			})
		},
	}
	c.Flags().BoolVar(&verbose, "verbose", false, "show requests and answers too")
	return c
}

func printDelivery(w io.Writer, d api.DeliveryDetail, verbose bool) error {
	err := printFields(w,
		field{"DELIVERY", string(d.ID)},
		field{"EVENT", string(d.EventID)},
		field{"TYPE", d.EventType},
		field{"SUBSCRIBER", strings.TrimSpace(string(d.SubscriberID) + " " + d.SubscriberName)},
		field{"URL", d.URL},
		field{"ORDER KEY", d.OrderKey},
		field{"STATE", string(d.State)},
		field{"WHY", standing(d, time.Now())},
		field{"ATTEMPTS", strconv.Itoa(d.AttemptCount)},
		field{"CREATED", shownTime(d.CreatedAt)},
		field{"NEXT ATTEMPT", shownTime(d.NextAttemptAt)},
		field{"FINISHED", shownTime(d.FinishedAt)},
		field{"FINGERPRINT", d.Fingerprint})
	if err != nil {
		return err
	}
	if verbose {
		heading := "\nREQUEST BODY"
		if d.Transformed {
			heading += " (transformed)"
		}
		if err := printLines(w, heading, d.RequestBody+"\n"); err != nil {
			return err
		}
	}
	if len(d.Attempts) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	err = printTable(w, d.Attempts, columns[api.Attempt]{
		[]string{"ATTEMPT", "STARTED", "DURATION", "OUTCOME", "CODE", "ERROR"},
		func(a api.Attempt) []string {
			return []string{
				strconv.Itoa(a.Number), shownTime(a.StartedAt), shownMillis(a.DurationMS), string(a.Outcome), shownCode(a.Code), attemptError(a),
			}
		},
	})
	for i := 0; verbose && err == nil && i < len(d.Attempts); i++ {
		err = printAttempt(w, d.Attempts[i])
	}
	return err
}

// attemptError says in one line why an attempt failed: where the receiver
// answered, in its own words.
func attemptError(a api.Attempt) string {
	if a.Outcome == webhook.OK {
		return a.Error
	}
	return cmp.Or(a.Error, shorten(a.ResponseBody, shownBody))
}

// printAttempt prints what was sent and answered.
func printAttempt(w io.Writer, a api.Attempt) error {
	if _, err := fmt.Fprintf(w, "\nATTEMPT %d\n", a.Number); err != nil {
		return err
	}
	err := printFields(w,
		field{"STARTED", a.StartedAt.String()},
		field{"REMOTE", a.RemoteAddr},
		field{"TIMING", timing(a)},
		field{"OUTCOME", strings.TrimSpace(string(a.Outcome) + " " + shownCode(a.Code))},
		field{"ERROR", a.Error})
	for _, part := range []struct{ heading, text string }{
		{"REQUEST HEADER", headerText(a.RequestHeader)},
		{"RESPONSE HEADER", headerText(a.ResponseHeader)},
		{"RESPONSE BODY", a.ResponseBody},
	} {
		if err == nil && part.text != "" {
			err = printLines(w, part.heading, part.text)
		}
	}
	return err
}

// timing says where the time of an attempt went.
func timing(a api.Attempt) string {
	text := shownMillis(a.DurationMS)
	separator := ": "
	for _, part := range []struct {
		name string
		ms   float64
	}{{"dns", a.Timing.DNS}, {"connect", a.Timing.Connect}, {"tls", a.Timing.TLS}, {"wait", a.Timing.Wait}} {
		if part.ms > 0 {
			text += separator + part.name + " " + shownMillis(part.ms)
			separator = ", "
		}
	}
	return text
}

func headerText(header []api.Header) string {
	var b strings.Builder
	for _, h := range header {
		b.WriteString(h.Name + ": " + h.Value + "\n")
	}
	return b.String()
}

// standing says why the delivery is where it is, and what happens next.
func standing(d api.DeliveryDetail, now time.Time) string {
	tries := len(d.Schedule) + 1
	switch d.State {
	case webhook.Delivered:
		return fmt.Sprintf("attempt %d was answered with %d", d.AttemptCount, d.LastCode)
	case webhook.Cancelled:
		return "a person gave it up, its subscriber was removed, or its filter said no"
	case webhook.Dead:
		if d.Spent >= tries {
			return fmt.Sprintf("all %d attempts of its schedule failed, the last one with %s", tries, lastResult(d.Delivery))
		}
		return fmt.Sprintf("%s was final", lastResult(d.Delivery))
	case webhook.Pending:
		next := fmt.Sprintf("attempt %d of %d is due", min(d.Spent+1, tries), tries)
		if wait := d.NextAttemptAt.Sub(now).Round(time.Second); wait > 0 {
			next += " in " + api.Duration(wait).String()
		} else {
			next += " now; pintle deliveries explain tells what it waits for"
		}
		if d.LastOutcome == "" {
			return next
		}
		return fmt.Sprintf("the last attempt ended with %s; %s", lastResult(d.Delivery), next)
	}
	return ""
}

// lastResult is what the last attempt came to: its status, or else its outcome.
func lastResult(d api.Delivery) string {
	if d.LastOutcome == webhook.HTTPStatus {
		return "status " + strconv.Itoa(d.LastCode)
	}
	return cmp.Or(string(d.LastOutcome), "no attempt")
}
