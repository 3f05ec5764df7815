package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newStats(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Show rates, latencies, what waits, and what needs attention",
		Long: "stats shows how the appliance does: now, in the last hour and in the last day; what\n" +
			"waits; which subscribers do worst; and what a person should look at.",
		Example: "pintle stats\npintle stats --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withClient(func(c *client.Client) error {
				s, err := c.Stats(cmd.Context())
				if err != nil {
					return workError(fmt.Errorf("read statistics: %w", err))
				}
				return g.print(cmd, s, func(w io.Writer) error { return printStats(w, s) })
			})
		},
	}
}

func printStats(w io.Writer, s api.Stats) error {
	queue := fmt.Sprintf("%d pending (%d retrying), %d of %d requests in flight", s.Queue.Pending, s.Queue.Retrying, s.Queue.InFlight, s.Queue.MaxInFlight)
	if late := s.Now.Sub(s.Queue.OldestDue.Time); !s.Queue.OldestDue.IsZero() && late >= time.Second {
		queue += ", the oldest due for " + shownSpan(late)
	}
	totals := fmt.Sprintf("%d events, %d attempts; %d delivered, %d dead, %d cancelled", s.Totals.Events, s.Totals.Attempts,
		s.Totals.Deliveries[webhook.Delivered], s.Totals.Deliveries[webhook.Dead], s.Totals.Deliveries[webhook.Cancelled])
	storage := fmt.Sprintf("%s, and %s of log", shownBytes(s.Storage.Bytes), shownBytes(s.Storage.LogBytes))
	if s.Storage.FreeBytes > 0 {
		storage += "; " + shownBytes(s.Storage.FreeBytes) + " free"
	}
	err := printFields(w,
		field{"PINTLE", fmt.Sprintf("%s, up %s", s.Version, shownSpan(s.Now.Sub(s.StartedAt.Time)))},
		field{"INBOUND", s.InboundURL},
		field{"RATE", fmt.Sprintf("%.1f events/s, %.1f attempts/s, %.1f failed/s", s.Rate.Events, s.Rate.Attempts, s.Rate.Failed)},
		field{"QUEUE", queue},
		field{"TOTALS", totals},
		field{"SUBSCRIBERS", fmt.Sprintf("%d, %d of them paused", s.Totals.Subscribers, s.Totals.Paused)},
		field{"STORAGE", storage})
	if err != nil {
		return err
	}
	type span struct {
		name string
		api.Span
	}
	err = printSection(w, []span{{"hour", s.LastHour}, {"day", s.LastDay}}, columns[span]{
		[]string{"LAST", "EVENTS", "ATTEMPTS", "FAILED", "DELIVERED", "DEAD", "P50", "P95"},
		func(s span) []string {
			cells := []string{s.name}
			for _, n := range []int64{s.Events, s.Attempts, s.Failed, s.Delivered, s.Dead} {
				cells = append(cells, strconv.FormatInt(n, 10))
			}
			return append(cells, shownMillis(s.P50MS), shownMillis(s.P95MS))
		},
	})
	if err != nil {
		return err
	}
	err = printSection(w, s.Worst, columns[api.SubscriberStats]{
		[]string{"WORST IN 5 MINUTES", "NAME", "STATE", "ATTEMPTS", "OK", "P95", "PENDING", "DEAD"},
		func(s api.SubscriberStats) []string {
			return []string{
				string(s.ID), s.Name, standingOf(s.Active, s.Held, s.FailingSince), strconv.FormatInt(s.Attempts, 10), shownShare(s.Attempts, s.Failed),
				shownMillis(s.P95MS), strconv.FormatInt(s.Pending, 10), strconv.FormatInt(s.Dead, 10),
			}
		},
	})
	if err != nil {
		return err
	}
	return printSection(w, s.Attention, columns[api.Finding]{
		[]string{"ATTENTION", "SUBJECT", "FINDING", "QUERY"},
		func(f api.Finding) []string { return []string{string(f.Severity), f.Subject, f.Text, f.Query} },
	})
}

// printSection prints a table after an empty line, or nothing if it is empty.
func printSection[T any](w io.Writer, items []T, shown columns[T]) error {
	if len(items) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printTable(w, items, shown)
}

// shownSpan writes a span of time in whole seconds.
func shownSpan(d time.Duration) string { return api.Duration(d.Round(time.Second)).String() }
