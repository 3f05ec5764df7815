package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newEvents(g *globals) *cobra.Command {
	return noun("events", "See the events that were accepted",
		"pintle events list --type order.created --since 2h\npintle events show evt_…",
		newEventsList(g), newEventsShow(g))
}

func newEventsList(g *globals) *cobra.Command {
	var (
		filter api.EventFilter
		length length
	)
	c := &cobra.Command{
		Use:     "list",
		Short:   "List events, the newest first",
		Example: "pintle events list\npintle events list --type order.created --since 2h\npintle events list --all --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limit, err := length.max()
			if err != nil {
				return err
			}
			return g.withClient(func(c *client.Client) error {
				return printList(g, cmd, c.Events(cmd.Context(), filter, limit), limit,
					[]string{"EVENT", "RECEIVED", "TYPE", "SOURCE", "CLIENT"},
					func(e api.Event) []string {
						return []string{string(e.ID), shownTime(e.ReceivedAt), e.Type, e.Source, e.ClientID}
					})
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&filter.Type, "type", "", "events of this type only")
	flags.StringVar(&filter.Source, "source", "", "events that this source accepted only")
	flags.StringVar(&filter.ClientID, "client-id", "", "events of this client only")
	flags.StringVar(&filter.Since, "since", "", "received at or after: 2h (ago), RFC 3339, or Unix seconds")
	flags.StringVar(&filter.Until, "until", "", "received before: 2h (ago), RFC 3339, or Unix seconds")
	length.flags(c)
	return c
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
				if g.output == "json" {
					return failed(printJSON(cmd.OutOrStdout(), e))
				}
				return failed(printEvent(cmd.OutOrStdout(), e))
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
	if _, err := fmt.Fprintln(w, "\nDATA"); err != nil {
		return err
	}
	for line := range strings.Lines(indented.String()) {
		if _, err := fmt.Fprintln(w, clean(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printDeliveries(w, e.Deliveries)
}
