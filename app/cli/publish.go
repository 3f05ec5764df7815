package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newPublish(g *globals) *cobra.Command {
	var (
		p         api.Publish
		timestamp int64
	)
	c := &cobra.Command{
		Use:   "publish TYPE [JSON|@FILE|-]",
		Short: "Hand an event to the running appliance",
		Long: "publish hands an event to the running appliance through its admin API, without\n" +
			"a signature. The data is JSON on the command line, @FILE, or - for standard\n" +
			"input; without it, {}. It returns once the event and all its deliveries are\n" +
			"durable.\n\n" +
			"Every publish is an event of its own, unless --id names it: a second one with\n" +
			"the same id is a duplicate, and changes nothing.",
		Example: "pintle publish order.created '{\"order_id\":\"A12345\"}'\n" +
			"pintle publish invoice.paid @invoice.json --id inv-17\n" +
			"date +'{\"now\":%s}' | pintle publish clock.tick -",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !webhook.ValidType(args[0]) {
				return fmt.Errorf("TYPE is 1 to 128 of the characters A-Z a-z 0-9 . _ - : /, not %q", args[0])
			}
			p.Event, p.Data = args[0], []byte("{}")
			if len(args) == 2 {
				var err error
				if p.Data, err = eventData(cmd.InOrStdin(), args[1]); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("timestamp") {
				p.Timestamp = &timestamp
			}
			return g.withClient(func(c *client.Client) error {
				published, err := c.Publish(cmd.Context(), p)
				if err != nil {
					return workError(fmt.Errorf("publish %s: %w", p.Event, err))
				}
				return g.printPublished(cmd, published)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&p.ID, "id", "", "your own id of the event; a second one with the same id is a duplicate")
	flags.StringVar(&p.ClientID, "client-id", "", "only this client's subscribers receive the event")
	flags.StringVar(&p.AgentID, "agent-id", "", "sent as X-Agent-ID (default: outbound.agent_id)")
	flags.Int64Var(&timestamp, "timestamp", 0, "time of the event in Unix seconds (default: now)")
	return c
}

// printPublished prints an event that was handed over.
func (g *globals) printPublished(cmd *cobra.Command, p api.Published) error {
	return printOne(g, cmd, p, []string{"EVENT", "STATUS", "DELIVERIES"}, string(p.ID), p.Status, strconv.Itoa(len(p.Deliveries)))
}
