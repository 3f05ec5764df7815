package cli

import (
	"context"
	"iter"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newDead(g *globals) *cobra.Command {
	return noun("dead", "See dead letters, replay them and delete them",
		"pintle dead groups\npintle dead list since:24h\npintle dead replay sub:acme-* code:503\npintle dead replay --fingerprint 'dial tcp …: connect: connection refused' --rate 10",
		newDeadList(g), newDeadGroups(g), newDeadReplay(g), newDeadPurge(g))
}

func newDeadList(g *globals) *cobra.Command {
	var filter api.DeliveryFilter
	c := &cobra.Command{
		Use:   "list [QUERY…]",
		Short: "List dead letters, the newest first",
		Long: "list shows the deliveries whose retries are used up, or whose answer was final.\n" +
			"pintle deliveries show tells why." + queryHelp,
		Example: "pintle dead list\npintle dead list sub:acme-* since:2h timeout\npintle dead list --subscriber sub_… --code 500",
	}
	deliveryFlags(c, &filter)
	return newList(g, c, &filter.Q, deliveryColumns(), func(ctx context.Context, c *client.Client, limit int) iter.Seq2[api.Delivery, error] {
		return c.DeadLetters(ctx, filter, limit)
	})
}

func newDeadGroups(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "groups",
		Short: "Count dead letters by subscriber and cause, the largest group first",
		Long: "groups counts the dead letters that share a subscriber and a cause. The FINGERPRINT\n" +
			"of a group is what its errors have in common; --fingerprint selects by it.",
		Example: "pintle dead groups\npintle dead groups --output json\n" +
			"pintle dead replay sub:acme-* --fingerprint 'dial tcp …: connect: connection refused'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withClient(func(c *client.Client) error {
				groups, err := c.DeadGroups(cmd.Context())
				return printList(g, cmd, listed(groups, err), 0, columns[api.DeadGroup]{
					[]string{"SUBSCRIBER", "NAME", "OUTCOME", "CODE", "COUNT", "OLDEST", "NEWEST", "FINGERPRINT"},
					func(d api.DeadGroup) []string {
						return []string{
							string(d.SubscriberID), d.SubscriberName, string(d.Outcome), shownCode(d.Code),
							strconv.FormatInt(d.Count, 10), shownTime(d.Oldest), shownTime(d.Newest), d.Fingerprint,
						}
					},
				})
			})
		},
	}
}

func newDeadReplay(g *globals) *cobra.Command {
	var (
		b      bulk
		replay api.DeadReplay
	)
	c := newDeadBulk(g, &b, &replay.DeadFilter, "replay", func(ctx context.Context, c *client.Client) (tally, error) {
		replay.Rate = b.rate
		replayed, err := c.ReplayDeadLetters(ctx, replay)
		t := tally{matched: replayed.Matched, done: replayed.Replayed, answer: replayed}
		if gone := t.matched - t.done; gone > 0 && !replay.DryRun {
			t.note = counted(gone, "dead letter") + " not replayed: the subscriber has been removed"
		}
		return t, err
	})
	b.rateFlag(c)
	c.Short = "Send dead letters again"
	c.Long = "replay makes dead letters pending again, with their whole schedule before them:\n" +
		"those that are named, those that a query and the flags select, or --all. It says\n" +
		"how many they are, and asks, before it does so." + queryHelp
	c.Example = "pintle dead replay sub:acme-* since:24h\n" +
		"pintle dead replay --code 503 --dry-run\n" +
		"pintle dead replay sub:acme-* --fingerprint 'dial tcp …: connect: connection refused'\n" +
		"pintle dead replay dlv_…\n" +
		"pintle dead replay --all --rate 10 --yes"
	return c
}

func newDeadPurge(g *globals) *cobra.Command {
	var (
		b     bulk
		purge api.DeadFilter
	)
	c := newDeadBulk(g, &b, &purge, "purge", func(ctx context.Context, c *client.Client) (tally, error) {
		purged, err := c.PurgeDeadLetters(ctx, purge)
		return tally{matched: purged.Matched, done: purged.Purged, answer: purged}, err
	})
	c.Short = "Delete dead letters for good"
	c.Long = "purge deletes dead letters with their attempts: those that are named, those that a\n" +
		"query and the flags select, or --all. The events stay, and can be replayed. It\n" +
		"says how many they are, and asks, before it does so." + queryHelp
	c.Example = "pintle dead purge sub:acme-* code:410\n" +
		"pintle dead purge --until 720h --dry-run\n" +
		"pintle dead purge --all --yes"
	return c
}

// newDeadBulk makes a command that changes the dead letters which are selected.
// The work reads the filter, which is complete by then.
func newDeadBulk(g *globals, b *bulk, filter *api.DeadFilter, verb string, work func(context.Context, *client.Client) (tally, error)) *cobra.Command {
	c := &cobra.Command{
		Use: verb + " [DELIVERY…|QUERY…]",
		RunE: func(cmd *cobra.Command, words []string) error {
			ids, err := selected(b, "dead letters", webhook.DeliveryPrefix, words, &filter.Filter, &filter.Filter.Q)
			if err != nil {
				return err
			}
			for _, id := range ids {
				filter.IDs = append(filter.IDs, webhook.DeliveryID(id))
			}
			return g.withClient(func(c *client.Client) error {
				return b.run(g, cmd, verb, "dead letter", func(dryRun bool) (tally, error) {
					filter.DryRun = dryRun
					return work(cmd.Context(), c)
				})
			})
		},
	}
	deliveryFlags(c, &filter.Filter)
	b.flags(c, "dead letters")
	return c
}
