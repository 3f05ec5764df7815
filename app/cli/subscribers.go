package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
)

func newSubscribers(g *globals) *cobra.Command {
	return noun("subscribers", "Manage who receives events",
		"pintle subscribers add https://example.com/hooks --events 'order.*'\npintle subscribers list",
		newSubscribersAdd(g), newSubscribersList(g), newSubscribersShow(g),
		newSubscribersPause(g), newSubscribersResume(g), newSubscribersRemove(g))
}

// subscriberFlags are the fields of a subscriber as the command line gives
// them.
type subscriberFlags struct {
	url         string
	clientID    string
	secret      string
	events      []string
	active      bool
	description string
	header      []string
	headers     []string
	timeout     string
	concurrency int
	schedule    []string
	finalOn4xx  bool
}

func (f *subscriberFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "where deliveries are posted")
	flags.StringVar(&f.clientID, "client-id", "", "receives this client's events beside those of nobody in particular")
	flags.StringVar(&f.secret, "secret", "", "signs the deliveries (default: one is made)")
	flags.StringSliceVar(&f.events, "events", []string{"*"}, "patterns of the types received: order.created, order.*, order.**; repeat or separate by commas")
	flags.BoolVar(&f.active, "active", true, "with --active=false, it begins paused")
	flags.StringVar(&f.description, "description", "", "free text for people")
	flags.StringArrayVar(&f.headers, "headers", nil, "header sent with every delivery, 'Name: value'; repeat for more")
	flags.StringArrayVar(&f.header, "header", nil, "the same as --headers")
	flags.StringVar(&f.timeout, "timeout", "", "time for a whole request, at most 60s (default: outbound.timeout)")
	flags.IntVar(&f.concurrency, "concurrency", 0, "requests in flight at most (default: outbound.concurrency)")
	flags.StringSliceVar(&f.schedule, "schedule", nil, "the wait before each retry: 1s,5s,30s (default: outbound.schedule)")
	flags.BoolVar(&f.finalOn4xx, "final-on-4xx", false, "an answer 4xx is final, save 408, 425 and 429")
}

// change returns the fields that were given.
func (f *subscriberFlags) change(cmd *cobra.Command) (api.SubscriberChange, error) {
	var c api.SubscriberChange
	given := cmd.Flags().Changed
	pick(&c.URL, &f.url, given("url"))
	pick(&c.ClientID, &f.clientID, given("client-id"))
	pick(&c.Secret, &f.secret, given("secret"))
	pick(&c.Active, &f.active, given("active"))
	pick(&c.Description, &f.description, given("description"))
	pick(&c.Concurrency, &f.concurrency, given("concurrency"))
	pick(&c.FinalOn4xx, &f.finalOn4xx, given("final-on-4xx"))
	if given("events") {
		patterns := make([]webhook.Pattern, len(f.events))
		for i, event := range f.events {
			patterns[i] = webhook.Pattern(strings.TrimSpace(event))
		}
		c.Events = &patterns
	}
	if given("headers") || given("header") {
		headers := map[string]string{}
		for _, header := range slices.Concat(f.headers, f.header) {
			name, value, found := strings.Cut(header, ":")
			name = strings.TrimSpace(name)
			if _, twice := headers[name]; !found || name == "" || twice {
				return c, fmt.Errorf("--headers %s is not one header 'Name: value', each name once", clean(strconv.Quote(header)))
			}
			headers[name] = strings.TrimSpace(value)
		}
		c.Headers = &headers
	}
	if given("timeout") {
		c.Timeout = new(api.Duration)
		if err := c.Timeout.UnmarshalText([]byte(f.timeout)); err != nil {
			return c, fmt.Errorf("--timeout: %w", err)
		}
	}
	if given("schedule") {
		schedule := make([]api.Duration, len(f.schedule))
		for i, wait := range f.schedule {
			if err := schedule[i].UnmarshalText([]byte(strings.TrimSpace(wait))); err != nil {
				return c, fmt.Errorf("--schedule: %w", err)
			}
		}
		c.Schedule = &schedule
	}
	return c, nil
}

func pick[T any](field **T, value *T, given bool) {
	if given {
		*field = value
	}
}

func newSubscribersAdd(g *globals) *cobra.Command {
	var f subscriberFlags
	c := &cobra.Command{
		Use:   "add URL",
		Short: "Add a subscriber, and print it with its secret",
		Long: "add makes a subscriber that receives events from now on: all of them, unless\n" +
			"--events says which. It prints the subscriber with the secret that its\n" +
			"deliveries are signed with.",
		Example: "pintle subscribers add https://example.com/hooks\n" +
			"pintle subscribers add https://example.com/hooks --events 'order.*,user.**' --timeout 10s\n" +
			"pintle subscribers add https://example.com/hooks --header 'Authorization: Bearer …'",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := f.change(cmd)
			if err != nil {
				return err
			}
			switch {
			case len(args) == 1 && change.URL != nil:
				return errors.New("the URL is given twice: as an argument and as --url")
			case len(args) == 1:
				change.URL = &args[0]
			case change.URL == nil:
				return hint(errors.New("the URL of the subscriber is missing"), "pintle subscribers add https://example.com/hooks")
			}
			if change.Events == nil {
				change.Events = &[]webhook.Pattern{"*"}
			}
			return g.withClient(func(c *client.Client) error {
				added, err := c.AddSubscriber(cmd.Context(), change)
				if err != nil {
					return workError(fmt.Errorf("add subscriber: %w", err))
				}
				return g.printSubscriber(cmd.OutOrStdout(), added)
			})
		},
	}
	f.register(c)
	return c
}

func newSubscribersList(g *globals) *cobra.Command {
	var length length
	c := &cobra.Command{
		Use:     "list",
		Short:   "List subscribers, the newest first",
		Example: "pintle subscribers list\npintle subscribers list --all --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			limit, err := length.max()
			if err != nil {
				return err
			}
			return g.withClient(func(c *client.Client) error {
				return printList(g, cmd, c.Subscribers(cmd.Context(), limit), limit,
					[]string{"SUBSCRIBER", "STATE", "URL", "EVENTS", "CLIENT", "DESCRIPTION"},
					func(s api.Subscriber) []string {
						return []string{string(s.ID), activity(s), s.URL, patterns(s.Events), s.ClientID, s.Description}
					})
			})
		},
	}
	length.flags(c)
	return c
}

func newSubscribersShow(g *globals) *cobra.Command {
	var reveal bool
	c := &cobra.Command{
		Use:     "show SUBSCRIBER",
		Short:   "Show a subscriber",
		Example: "pintle subscribers show sub_…\npintle subscribers show sub_… --secret",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				id := webhook.SubscriberID(args[0])
				s, err := c.Subscriber(cmd.Context(), id)
				if err == nil && reveal {
					var secret webhook.Secret
					secret, err = c.SubscriberSecret(cmd.Context(), id)
					s.Secret = secret.Reveal()
				}
				if err != nil {
					return workError(fmt.Errorf("show subscriber %s: %w", id, err))
				}
				return g.printSubscriber(cmd.OutOrStdout(), s)
			})
		},
	}
	c.Flags().BoolVar(&reveal, "secret", false, "show the secret too")
	return c
}

func newSubscribersPause(g *globals) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:     "pause SUBSCRIBER",
		Short:   "Pause a subscriber: its deliveries are made, and wait",
		Example: "pintle subscribers pause sub_… --reason 'maintenance until noon'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				s, err := c.PauseSubscriber(cmd.Context(), webhook.SubscriberID(args[0]), reason)
				if err != nil {
					return workError(fmt.Errorf("pause subscriber %s: %w", args[0], err))
				}
				return g.printSubscriber(cmd.OutOrStdout(), s)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever looks later")
	return c
}

func newSubscribersResume(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "resume SUBSCRIBER",
		Short:   "Resume a paused subscriber: what waited is sent",
		Example: "pintle subscribers resume sub_…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				s, err := c.ResumeSubscriber(cmd.Context(), webhook.SubscriberID(args[0]))
				if err != nil {
					return workError(fmt.Errorf("resume subscriber %s: %w", args[0], err))
				}
				return g.printSubscriber(cmd.OutOrStdout(), s)
			})
		},
	}
}

func newSubscribersRemove(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "remove SUBSCRIBER",
		Aliases: []string{"rm"},
		Short:   "Remove a subscriber and cancel what waits for it",
		Long: "remove takes a subscriber out and cancels its pending deliveries. Its history\n" +
			"stays. It asks first, unless --yes is given.",
		Example: "pintle subscribers remove sub_…\npintle subscribers remove sub_… --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				id := webhook.SubscriberID(args[0])
				s, err := c.Subscriber(cmd.Context(), id)
				if err != nil {
					return workError(fmt.Errorf("remove subscriber %s: %w", id, err))
				}
				if err := g.confirm(cmd, fmt.Sprintf("remove %s (%s) and cancel what waits for it", id, s.URL)); err != nil {
					return err
				}
				if err := c.RemoveSubscriber(cmd.Context(), id); err != nil {
					return workError(fmt.Errorf("remove subscriber %s: %w", id, err))
				}
				g.note(cmd, "removed %s", clean(string(id)))
				return nil
			})
		},
	}
}

// printSubscriber prints one subscriber.
func (g *globals) printSubscriber(w io.Writer, s api.Subscriber) error {
	if g.output == "json" {
		return failed(printJSON(w, s))
	}
	fields := []field{
		{"SUBSCRIBER", string(s.ID)},
		{"URL", s.URL},
		{"SECRET", s.Secret},
		{"EVENTS", patterns(s.Events)},
		{"STATE", activity(s)},
		{"REASON", s.PausedReason},
		{"CLIENT", s.ClientID},
		{"DESCRIPTION", s.Description},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		fields = append(fields, field{"HEADER", name + ": " + s.Headers[name]})
	}
	if s.Timeout != 0 {
		fields = append(fields, field{"TIMEOUT", s.Timeout.String()})
	}
	if s.Concurrency != 0 {
		fields = append(fields, field{"CONCURRENCY", strconv.Itoa(s.Concurrency)})
	}
	if len(s.Schedule) > 0 {
		waits := make([]string, len(s.Schedule))
		for i, wait := range s.Schedule {
			waits[i] = wait.String()
		}
		fields = append(fields, field{"SCHEDULE", strings.Join(waits, ",")})
	}
	if s.FinalOn4xx {
		fields = append(fields, field{"FINAL ON 4XX", "yes"})
	}
	fields = append(fields, field{"CREATED", shownTime(s.CreatedAt)}, field{"UPDATED", shownTime(s.UpdatedAt)})
	return failed(printFields(w, fields...))
}

// activity says in one word whether a subscriber is sent to.
func activity(s api.Subscriber) string {
	if s.Active {
		return "active"
	}
	return "paused"
}

// patterns writes patterns as the flag --events takes them.
func patterns(list []webhook.Pattern) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = string(p)
	}
	return strings.Join(texts, ",")
}
