package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newDead(g *globals) *cobra.Command {
	return noun("dead", "See dead letters and replay them",
		"pintle dead list --since 24h\npintle dead replay --subscriber sub_…",
		newDeadList(g), newDeadReplay(g))
}

func newDeadList(g *globals) *cobra.Command {
	var (
		filter api.DeliveryFilter
		length length
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest first",
		Long: "list shows the deliveries whose retries are used up, or whose answer was final.\n" +
			"pintle deliveries show tells why.",
		Example: "pintle dead list\npintle dead list --subscriber sub_… --code 500",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limit, err := length.max()
			if err == nil {
				err = checkDeliveryFlags(cmd, filter)
			}
			if err != nil {
				return err
			}
			return g.withClient(func(c *client.Client) error {
				return printList(g, cmd, c.DeadLetters(cmd.Context(), filter, limit), limit, deliveryHeadings(), deliveryCells)
			})
		},
	}
	deliveryFlags(c, &filter)
	length.flags(c)
	return c
}

func newDeadReplay(g *globals) *cobra.Command {
	var (
		replay api.Replay
		all    bool
	)
	c := &cobra.Command{
		Use:   "replay [DELIVERY…]",
		Short: "Send dead letters again",
		Long: "replay makes dead letters pending again, with their whole schedule before them:\n" +
			"those that are named, those that the filters select, or --all. It says how many\n" +
			"they are, and asks, before it does so.",
		Example: "pintle dead replay --subscriber sub_… --since 24h\n" +
			"pintle dead replay --code 503 --dry-run\n" +
			"pintle dead replay dlv_…\n" +
			"pintle dead replay --all --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDeliveryFlags(cmd, replay.Filter); err != nil {
				return err
			}
			filtered := replay.Filter != api.DeliveryFilter{}
			switch {
			case len(args) > 0 && (filtered || all), filtered && all:
				return errors.New("dead letters are named, or filtered, or --all; give one of them")
			case len(args) == 0 && !filtered && !all:
				return hint(errors.New("say which dead letters to replay"), "name them, give a filter such as --subscriber, or --all")
			}
			for _, id := range args {
				replay.IDs = append(replay.IDs, webhook.DeliveryID(id))
			}
			return g.withClient(func(c *client.Client) error { return runReplay(g, cmd, c, replay) })
		},
	}
	deliveryFlags(c, &replay.Filter)
	c.Flags().BoolVar(&all, "all", false, "all dead letters")
	c.Flags().BoolVar(&replay.DryRun, "dry-run", false, "only count them")
	return c
}

func runReplay(g *globals, cmd *cobra.Command, c *client.Client, replay api.Replay) error {
	if !replay.DryRun && !g.yes {
		count := replay
		count.DryRun = true
		found, err := c.ReplayDeadLetters(cmd.Context(), count)
		if err != nil {
			return workError(fmt.Errorf("count dead letters: %w", err))
		}
		if found.Matched > 0 {
			if err := g.confirm(cmd, fmt.Sprintf("replay %s", letters(found.Matched))); err != nil {
				return err
			}
		}
	}
	replayed, err := c.ReplayDeadLetters(cmd.Context(), replay)
	if err != nil {
		return workError(fmt.Errorf("replay dead letters: %w", err))
	}
	if g.output == "json" {
		return failed(printJSON(cmd.OutOrStdout(), replayed))
	}
	t := newTable(cmd.OutOrStdout(), "MATCHED", "REPLAYED")
	if err := t.row(strconv.Itoa(replayed.Matched), strconv.Itoa(replayed.Replayed)); err != nil {
		return failed(err)
	}
	if gone := replayed.Matched - replayed.Replayed; gone > 0 && !replay.DryRun {
		g.note(cmd, "%s not replayed: the subscriber has been removed", letters(gone))
	}
	return failed(t.flush())
}

// letters counts dead letters in words.
func letters(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return strconv.Itoa(n) + " dead letters"
}
