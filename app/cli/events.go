package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newEvents(g *globals) *cobra.Command {
	return noun("events", "See the events that were accepted, and deliver them anew",
		"pintle events list type:order.* since:2h\npintle events show evt_…\npintle events replay evt_…",
		newEventsList(g), newEventsShow(g), newEventsReplay(g))
}

func newEventsList(g *globals) *cobra.Command {
	var filter api.EventFilter
	c := &cobra.Command{
		Use:   "list [QUERY…]",
		Short: "List events, the newest first",
		Long:  "list shows the events that were accepted, and what has become of their deliveries." + queryHelp,
		Example: "pintle events list\npintle events list type:order.* since:2h A12345\n" +
			"pintle events list --type order.created --all --output json",
	}
	eventFlags(c, &filter)
	shown := columns[api.Event]{
		[]string{"EVENT", "RECEIVED", "TYPE", "SOURCE", "CLIENT", "SIZE", "DELIVERIES"},
		func(e api.Event) []string {
			return []string{string(e.ID), shownTime(e.ReceivedAt), e.Type, e.Source, e.ClientID, shownBytes(int64(e.Size)), fanout(e)}
		},
	}
	return newList(g, c, &filter.Q, shown, func(ctx context.Context, c *client.Client, limit int) iter.Seq2[api.Event, error] {
		return c.Events(ctx, filter, limit)
	})
}

// fanout writes how many of the deliveries of an event are in each state:
// "5 delivered, 1 pending".
func fanout(e api.Event) string {
	var parts []string
	for _, state := range []webhook.State{webhook.Delivered, webhook.Pending, webhook.Dead, webhook.Cancelled} {
		if n := e.Fanout[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if e.FanoutPartial {
		parts = append(parts, "and more")
	}
	return strings.Join(parts, ", ")
}

func newEventsShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "show EVENT",
		Short:   "Show an event with its data and its deliveries",
		Example: "pintle events show evt_…\npintle events show evt_… --output json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				e, err := c.Event(cmd.Context(), webhook.EventID(args[0]))
				if err != nil {
					return workError(fmt.Errorf("show event %s: %w", args[0], err))
				}
				return g.print(cmd, e, func(w io.Writer) error { return printEvent(w, e) })
			})
		},
	}
}

func printEvent(w io.Writer, e api.EventDetail) error {
	err := printFields(w,
		field{"EVENT", string(e.ID)},
		field{"TYPE", e.Type},
		field{"TIMESTAMP", strconv.FormatInt(e.Timestamp, 10)},
		field{"SOURCE", e.Source},
		field{"CLIENT", e.ClientID},
		field{"AGENT", e.AgentID},
		field{"SENDER KEY", e.SenderKey},
		field{"RECEIVED", shownTime(e.ReceivedAt)})
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, e.Data, "", "  "); err != nil {
		return fmt.Errorf("read data of the event: %w", err)
	}
	if err := printLines(w, "\nDATA", indented.String()); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printTable(w, e.Deliveries, deliveryColumns())
}

func newEventsReplay(g *globals) *cobra.Command {
	var (
		b      bulk
		replay api.EventReplay
		to     string
	)
	c := &cobra.Command{
		Use:   "replay [EVENT…|QUERY…]",
		Short: "Deliver events anew",
		Long: "replay makes new deliveries of stored events, for the subscribers that receive\n" +
			"such events now: of those that are named, those that a query and the flags\n" +
			"select, or --all. --to limits it to one subscriber; an event that is named goes\n" +
			"there whatever the subscriber's patterns. It says how many events they are, and\n" +
			"asks, before it does so." + queryHelp,
		Example: "pintle events replay evt_…\n" +
			"pintle events replay evt_… --to sub_…\n" +
			"pintle events replay type:order.* since:2h --to sub_… --rate 10\n" +
			"pintle events replay --source inbound --since 24h --dry-run",
		RunE: func(cmd *cobra.Command, words []string) error {
			replay.Subscriber = webhook.SubscriberID(to)
			ids, err := selected(&b, "events", webhook.EventPrefix, words, &replay.Filter, &replay.Filter.Q)
			if err != nil {
				return err
			}
			if len(ids) > 0 && b.rate > 0 {
				return errors.New("--rate goes with a query, a filter or --all")
			}
			replay.Rate = b.rate
			return g.withClient(func(c *client.Client) error {
				return b.run(g, cmd, "replay", "event", func(dryRun bool) (tally, error) {
					replay.DryRun = dryRun
					replayed, err := replayEvents(cmd.Context(), c, ids, replay)
					return tally{matched: replayed.Matched, done: replayed.Replayed, answer: replayed}, err
				})
			})
		},
	}
	eventFlags(c, &replay.Filter)
	b.flags(c, "events")
	b.rateFlag(c)
	c.Flags().StringVar(&to, "to", "", "to this subscriber only")
	return c
}

// replayEvents replays those that are named, or else those that are selected.
func replayEvents(ctx context.Context, c *client.Client, ids []string, replay api.EventReplay) (api.Replayed, error) {
	if len(ids) == 0 {
		return c.ReplayEvents(ctx, replay)
	}
	sum := api.Replayed{Matched: len(ids)}
	for _, id := range ids {
		var one api.Replayed
		var err error
		if replay.DryRun {
			_, err = c.Event(ctx, webhook.EventID(id))
		} else {
			one, err = c.ReplayEvent(ctx, webhook.EventID(id), replay.Subscriber)
		}
		if err != nil {
			return sum, fmt.Errorf("%s: %w", id, err)
		}
		sum.Replayed += one.Replayed
	}
	return sum, nil
}
