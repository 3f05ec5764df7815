package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

// What a command works on is selected by words and by flags. The words, joined,
// are a query in the one grammar that the dashboard and the API take too; each
// flag is a field of the filter. An item must pass both.

// queryHelp tells of the words in the help of a command.
const queryHelp = "\n\nThe words are a query, as in the dashboard: sub:acme-* status:dead code:503\n" +
	"since:2h, and any other word is looked for as text. A flag does what the word of\n" +
	"its name does. A query of several words may be quoted for the shell as one."

// eventFlags adds a flag for each field of the filter.
func eventFlags(cmd *cobra.Command, f *api.EventFilter) {
	flags := cmd.Flags()
	flags.StringVar((*string)(&f.Type), "type", "", "events of this type only: order.created, order.* or order.**")
	flags.StringVar(&f.Source, "source", "", "events that this source accepted only")
	ownerFlags(cmd, "received", &f.ClientID, &f.Since, &f.Until)
}

// deliveryFlags adds a flag for each field of the filter but the state, which
// dead letters do not differ in, and refuses what no delivery can match.
func deliveryFlags(cmd *cobra.Command, f *api.DeliveryFilter) {
	flags := cmd.Flags()
	flags.StringVar(&f.Subscriber, "subscriber", "", "deliveries to this subscriber only: its id, or its name with * for any part")
	flags.StringVar((*string)(&f.EventType), "event-type", "", "deliveries of events of this type only: order.created, order.* or order.**")
	flags.StringVar((*string)(&f.EventID), "event-id", "", "deliveries of this event only")
	flags.StringVar((*string)(&f.Outcome), "outcome", "", "whose last attempt came out like this: "+fmt.Sprint(webhook.Outcomes()))
	flags.IntVar(&f.Code, "code", 0, "whose last attempt was answered with this HTTP status")
	flags.StringVar(&f.Fingerprint, "fingerprint", "", "dead letters with this fingerprint, as pintle dead groups shows it")
	ownerFlags(cmd, "made", &f.ClientID, &f.Since, &f.Until)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case f.State != "" && !slices.Contains(webhook.States(), f.State):
			return fmt.Errorf("--state is one of %v, not %q", webhook.States(), f.State)
		case f.Outcome != "" && !slices.Contains(webhook.Outcomes(), f.Outcome):
			return fmt.Errorf("--outcome is one of %v, not %q", webhook.Outcomes(), f.Outcome)
		case cmd.Flags().Changed("code") && (f.Code < 100 || f.Code > 999):
			return fmt.Errorf("--code is an HTTP status between 100 and 999, not %d", f.Code)
		}
		return nil
	}
}

// ownerFlags adds the flags that events and deliveries share.
func ownerFlags(cmd *cobra.Command, began string, clientID, since, until *string) {
	cmd.Flags().StringVar(clientID, "client-id", "", "of this client's events only")
	timeFlags(cmd, began, since, until)
}

// timeFlags adds the flags that bound when things began.
func timeFlags(cmd *cobra.Command, began string, since, until *string) {
	flags := cmd.Flags()
	flags.StringVar(since, "since", "", began+" at or after: 2h (ago), RFC 3339, or Unix seconds")
	flags.StringVar(until, "until", "", began+" before: 2h (ago), RFC 3339, or Unix seconds")
}

// newList makes c a command that lists. Its words go to the query; nil: it takes
// none.
func newList[T any](g *globals, c *cobra.Command, query *string, shown columns[T],
	items func(ctx context.Context, c *client.Client, limit int) iter.Seq2[T, error]) *cobra.Command {
	var length length
	length.flags(c)
	c.Args = cobra.NoArgs
	if query != nil {
		c.Args = cobra.ArbitraryArgs
	}
	c.RunE = func(cmd *cobra.Command, words []string) error {
		limit, err := length.max()
		if err != nil {
			return err
		}
		if query != nil {
			*query = strings.Join(words, " ")
		}
		return g.withClient(func(c *client.Client) error {
			return printList(g, cmd, items(cmd.Context(), c, limit), limit, shown)
		})
	}
	return c
}

// length are the flags that say how much of a list is shown.
type length struct {
	limit int
	all   bool
	// given tells whether a flag was given.
	given func(flag string) bool
}

func (l *length) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&l.limit, "limit", api.DefaultLimit, "show at most so many")
	cmd.Flags().BoolVar(&l.all, "all", false, "show all, however many there are")
	l.given = cmd.Flags().Changed
}

// max returns how many items are wanted; zero: all.
func (l *length) max() (int, error) {
	switch {
	case l.all && l.given("limit"):
		return 0, errors.New("--limit and --all contradict each other; give one of them")
	case l.all:
		return 0, nil
	case l.limit < 1:
		return 0, fmt.Errorf("--limit %d: show at least one", l.limit)
	}
	return l.limit, nil
}

// bulk are the flags of a command that changes all that is selected.
type bulk struct {
	all    bool
	dryRun bool
	rate   float64
}

// flags adds the flags; the things are what is selected, such as "dead
// letters".
func (b *bulk) flags(cmd *cobra.Command, things string) {
	cmd.Flags().BoolVar(&b.all, "all", false, "all "+things)
	cmd.Flags().BoolVar(&b.dryRun, "dry-run", false, "only count them")
}

// rateFlag adds the flag --rate.
func (b *bulk) rateFlag(cmd *cobra.Command) {
	cmd.Flags().Float64Var(&b.rate, "rate", 0, "send so many in a second at most (default: all at once)")
}

// checkRate refuses what is no number of things in a second.
func checkRate(rate float64) error {
	if !(rate >= 0) || math.IsInf(rate, 1) {
		return fmt.Errorf("--rate %v is no number from 0 on", rate)
	}
	return nil
}

// selected reads the words: they are ids where all of them begin with the
// prefix, and a query otherwise. There must be ids, or a filter, or --all, so
// that a forgotten word never means everything.
func selected[F comparable](b *bulk, things, prefix string, words []string, filter *F, query *string) (ids []string, err error) {
	if err := checkRate(b.rate); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(words, func(word string) bool { return !strings.HasPrefix(word, prefix) }) {
		*query = strings.Join(words, " ")
	} else {
		ids = words
	}
	var everything F
	filtered := *filter != everything
	switch {
	case len(ids) > 0 && (filtered || b.all), filtered && b.all:
		return nil, fmt.Errorf("%s are named, or filtered, or --all; give one of them", things)
	case len(ids) == 0 && !filtered && !b.all:
		return nil, hint(fmt.Errorf("say which %s", things), "name them, give a query or a flag such as --since, or --all")
	}
	return ids, nil
}

// A tally is what came of a bulk change, or would.
type tally struct {
	matched, done int
	// answer is what programs get.
	answer any
	// note is what people should know beside the numbers; may be empty.
	note string
}

// run counts what is selected, asks, and only then does it. The verb is such as
// "replay", and the thing such as "dead letter".
func (b *bulk) run(g *globals, cmd *cobra.Command, verb, thing string, do func(dryRun bool) (tally, error)) error {
	if !b.dryRun && !g.yes {
		found, err := do(true)
		if err != nil {
			return workError(fmt.Errorf("count %s: %w", plural(thing), err))
		}
		if found.matched > 0 {
			if err := g.confirm(cmd, verb+" "+counted(found.matched, thing)); err != nil {
				return err
			}
		}
	}
	t, err := do(b.dryRun)
	if err != nil {
		return workError(fmt.Errorf("%s %s: %w", verb, plural(thing), err))
	}
	if t.note != "" {
		g.note(cmd, "%s", t.note)
	}
	done := strings.ToUpper(strings.TrimSuffix(verb, "e") + "ed")
	if verb == "cancel" {
		done = "CANCELLED"
	}
	return printOne(g, cmd, t.answer, []string{"MATCHED", done}, strconv.Itoa(t.matched), strconv.Itoa(t.done))
}

// counted writes how many there are of a thing.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + plural(thing)
}

func plural(thing string) string {
	if stem, ok := strings.CutSuffix(thing, "y"); ok {
		return stem + "ies"
	}
	return thing + "s"
}

// forEach does the work of a command for each of its arguments, and prints what
// comes of it. After a fault it goes no further, but what was done before is
// done, and must be seen.
func forEach[T any](g *globals, cmd *cobra.Command, verb string, ids []string, shown columns[T],
	work func(ctx context.Context, c *client.Client, id string) (T, error)) error {
	return g.withClient(func(c *client.Client) error {
		return printList(g, cmd, func(yield func(T, error) bool) {
			for _, id := range ids {
				done, err := work(cmd.Context(), c, id)
				if err != nil {
					err = fmt.Errorf("%s %s: %w", verb, id, err)
				}
				if !yield(done, err) || err != nil {
					return
				}
			}
		}, 0, shown)
	})
}
