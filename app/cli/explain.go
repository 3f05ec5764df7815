package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui"
	"github.com/pintle/pintle/tui/text"
)

func newDeliveriesExplain(g *globals) *cobra.Command {
	var subscriber string
	c := &cobra.Command{
		Use:   "explain DELIVERY|EVENT",
		Short: "Say why something was delivered, was not, or waits",
		Long: "explain tells what each gate between an event and a subscriber says: whether the\n" +
			"event is one for it at all, and, while a delivery is pending, what it waits for.\n" +
			"Of a delivery it tells the story too, and what is planned. Of an event it tells\n" +
			"about every subscriber, those included that it did not reach, or about the one\n" +
			"that --subscriber names.",
		Example: "pintle deliveries explain dlv_…\n" +
			"pintle deliveries explain evt_…\n" +
			"pintle deliveries explain evt_… --subscriber sub_…",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ofEvent := strings.HasPrefix(args[0], webhook.EventPrefix)
			if subscriber != "" && !ofEvent {
				return errors.New("--subscriber goes with an event; a delivery has its own")
			}
			signs := gateSigns(tui.WantsASCII(os.Environ()))
			return g.withClient(func(c *client.Client) error {
				if ofEvent {
					x, err := c.ExplainEvent(cmd.Context(), webhook.EventID(args[0]), webhook.SubscriberID(subscriber))
					if err != nil {
						return workError(fmt.Errorf("explain event %s: %w", args[0], err))
					}
					return g.print(cmd, x, func(w io.Writer) error { return printEventExplanation(w, x, signs) })
				}
				x, err := c.ExplainDelivery(cmd.Context(), webhook.DeliveryID(args[0]))
				if err != nil {
					return workError(fmt.Errorf("explain delivery %s: %w", args[0], err))
				}
				return g.print(cmd, x, func(w io.Writer) error { return printDeliveryExplanation(w, x, signs) })
			})
		},
	}
	c.Flags().StringVar(&subscriber, "subscriber", "", "of an event, for this subscriber only")
	return c
}

// gateSigns are how verdicts are drawn.
func gateSigns(ascii bool) map[webhook.Verdict]string {
	if ascii {
		return map[webhook.Verdict]string{webhook.Passes: "+", webhook.Stops: "x", webhook.Waits: "~", webhook.Unknown: "?"}
	}
	return map[webhook.Verdict]string{webhook.Passes: "✓", webhook.Stops: "✗", webhook.Waits: "…", webhook.Unknown: "?"}
}

// A part is one of the paragraphs of what is printed.
type part func(io.Writer) error

// printParts prints paragraphs with an empty line between them.
func printParts(w io.Writer, parts ...part) error {
	for i, print := range parts {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := print(w); err != nil {
			return err
		}
	}
	return nil
}

func linePart(line string) part {
	return func(w io.Writer) error {
		_, err := fmt.Fprintln(w, text.Clean(line))
		return err
	}
}

func fieldsPart(fields ...field) part {
	return func(w io.Writer) error { return printFields(w, fields...) }
}

// gateFields are a line for each gate, in the order in which an event comes to
// them.
func gateFields(gates []api.Gate, signs map[webhook.Verdict]string) []field {
	lines := make([]field, len(gates))
	for i, gate := range gates {
		lines[i] = field{signs[gate.Verdict] + " " + text.Clean(string(gate.Name)), gate.Reason}
	}
	return lines
}

func printDeliveryExplanation(w io.Writer, x api.DeliveryExplanation, signs map[webhook.Verdict]string) error {
	fields := []field{{"EVENT", string(x.EventID) + " " + x.EventType}, {"SUBSCRIBER", subscriberText(x.Explanation)}}
	if x.Delivery != nil {
		fields = append(fields, field{"DELIVERY", string(x.Delivery.ID) + " " + string(x.Delivery.State)})
	}
	parts := []part{linePart(x.Summary), fieldsPart(fields...)}
	if len(x.Gates) > 0 {
		parts = append(parts, fieldsPart(gateFields(x.Gates, signs)...))
	}
	return printParts(w, append(parts, func(w io.Writer) error { return printStory(w, x.Story) })...)
}

func printStory(w io.Writer, story []api.Moment) error {
	return printTable(w, story, columns[api.Moment]{
		[]string{"TIME", "ATTEMPT", "WHAT"},
		func(m api.Moment) []string {
			when, attempt := m.At.UTC().Format("2006-01-02 15:04:05.000Z"), ""
			if m.Planned {
				when = "~ " + shownTime(m.At) // about then, and perhaps not at all
			}
			if m.Attempt > 0 {
				attempt = strconv.Itoa(m.Attempt)
			}
			return []string{when, attempt, m.What}
		},
	})
}

// printEventExplanation prints what became of an event for each subscriber. Of
// one that was asked for all gates are shown, and of many only those that say
// something.
func printEventExplanation(w io.Writer, x api.EventExplanation, signs map[webhook.Verdict]string) error {
	parts := []part{linePart(x.Summary), fieldsPart(field{"EVENT", string(x.EventID) + " " + x.EventType})}
	for _, s := range x.Subscribers {
		fields := []field{{"SUBSCRIBER", subscriberText(s)}}
		if s.Delivery != nil {
			fields = append(fields, field{"DELIVERY", string(s.Delivery.ID) + " " + string(s.Delivery.State)})
		}
		if len(x.Subscribers) > 1 {
			fields = append(fields, field{"WHY", s.Summary})
			s.Gates = slices.DeleteFunc(slices.Clone(s.Gates), func(g api.Gate) bool { return g.Verdict == webhook.Passes })
		}
		parts = append(parts, fieldsPart(append(fields, gateFields(s.Gates, signs)...)...))
	}
	if x.Partial {
		parts = append(parts, linePart("There are more subscribers; --subscriber explains one of them."))
	}
	return printParts(w, parts...)
}

func subscriberText(x api.Explanation) string {
	if x.URL == "" {
		return string(x.SubscriberID) + " (removed)"
	}
	return string(x.SubscriberID) + " " + x.SubscriberName
}
