package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/admin/query"
	"github.com/pintle/pintle/app/webhook"
)

// shownWhy is how many characters of a reason a list has room for.
const shownWhy = 40

func newRejections(g *globals) *cobra.Command {
	return noun("rejections", "See the inbound requests that were refused, and why",
		"pintle rejections list code:invalid_signature since:2h\npintle rejections show rej_…",
		newRejectionsList(g), newRejectionsShow(g))
}

func newRejectionsList(g *globals) *cobra.Command {
	var filter api.RejectionFilter
	c := &cobra.Command{
		Use:   "list [QUERY…]",
		Short: "List refused requests, the newest first",
		Long: "list shows inbound requests that were refused. The answer to each has its id as\n" +
			"request_id. They are kept within bounds in number, size and rate: (+12) before a\n" +
			"reason stands for twelve more of the same source, client and code, just before\n" +
			"it.\n\n" +
			"The words are a query, as in the dashboard: code:invalid_signature status:4xx\n" +
			"source:inbound ip:203.0.113.0/24 since:2h, and any other word is looked for as\n" +
			"text. A flag does what the word of its name does. A query of several words may\n" +
			"be quoted for the shell as one.",
		Example: "pintle rejections list\n" +
			"pintle rejections list code:invalid_signature ip:203.0.113.0/24 since:2h\n" +
			"pintle rejections list --source github --status 4xx --output json",
	}
	flags := c.Flags()
	flags.StringVar(&filter.Source, "source", "", "refused by this source only")
	flags.StringVar(&filter.Code, "code", "", "answered with this error only: invalid_signature, rate_limited, …")
	flags.StringVar(&filter.Status, "status", "", "answered with this HTTP status only, or with one of a class: 401, 4xx")
	flags.StringVar(&filter.IP, "ip", "", "from this client only, or from those of a range: 203.0.113.7, 2001:db8::/32")
	timeFlags(c, "refused", &filter.Since, &filter.Until)
	c.PreRunE = func(*cobra.Command, []string) error {
		_, faults := query.Rejections(filter, time.Now())
		if len(faults) == 0 {
			return nil
		}
		first := slices.Min(slices.Collect(maps.Keys(faults)))
		return fmt.Errorf("--%s: %s", first, faults[first])
	}
	shown := columns[api.Rejection]{
		[]string{"AT", "STATUS", "CODE", "SOURCE", "CLIENT", "ASN", "WHY", "REJECTION"},
		func(r api.Rejection) []string {
			return []string{
				shownTime(r.At), shownCode(r.Status), r.Code, r.Source, r.ClientIP, shownASN(r.ASN), shownReason(r), string(r.ID),
			}
		},
	}
	return newList(g, c, &filter.Q, shown, func(ctx context.Context, c *client.Client, limit int) iter.Seq2[api.Rejection, error] {
		return c.Rejections(ctx, filter, limit)
	})
}

// shownReason says in a list why a request was refused, and of how many like it
// that is said.
func shownReason(r api.Rejection) string {
	if r.Unkept == 0 {
		return shorten(r.Message, shownWhy)
	}
	return fmt.Sprintf("(+%d) %s", r.Unkept, shorten(r.Message, shownWhy))
}

// shownASN writes the number of an autonomous system; zero, for none, is empty.
func shownASN(n uint32) string {
	if n == 0 {
		return ""
	}
	return "AS" + strconv.FormatUint(uint64(n), 10)
}

func newRejectionsShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "show REJECTION",
		Short: "Show why a request was refused, and what is known of it",
		Long: "show tells which checks a refused request passed and which one refused it, the\n" +
			"setting behind that, which signature was expected in which form, and the head of\n" +
			"the request, without its credentials and signatures.",
		Example: "pintle rejections show rej_…\npintle rejections show rej_… --output json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				r, err := c.Rejection(cmd.Context(), webhook.RejectionID(args[0]))
				if err != nil {
					return workError(fmt.Errorf("show rejection %s: %w", args[0], err))
				}
				return g.print(cmd, r, func(w io.Writer) error { return printRejection(w, r) })
			})
		},
	}
}

func printRejection(w io.Writer, r api.RejectionDetail) error {
	peer := r.PeerIP
	if peer == r.ClientIP {
		peer = ""
	}
	err := printFields(w,
		field{"REJECTION", string(r.ID)},
		field{"AT", shownTime(r.At)},
		field{"ANSWER", shownCode(r.Status) + " " + r.Code},
		field{"WHY", r.Message},
		field{"CHECKS", ladder(r)},
		field{"RULE", r.Rule},
		field{"EXPECTED", r.Expected},
		field{"DIAGNOSIS", r.Diagnosis},
		field{"SKEW", shownSkew(r.SkewSeconds)},
		field{"SOURCE", r.Source},
		field{"CLIENT", strings.Join(strings.Fields(r.ClientIP+" "+shownASN(r.ASN)+" "+r.Organisation), " ")},
		field{"PROXY", peer},
		field{"TYPE", r.EventType},
		field{"SENDER KEY", r.SenderKey},
		field{"REQUEST", strings.TrimSpace(r.Method + " " + r.Path)},
		field{"BODY", shownRead(r)},
		field{"NOT KEPT", shownUnkept(r.Unkept)})
	if err == nil && len(r.Header) > 0 {
		err = printLines(w, "\nREQUEST HEADER", headerText(r.Header))
	}
	return err
}

// ladder writes the checks that the request came to, in their order.
func ladder(r api.RejectionDetail) string {
	var b strings.Builder
	for _, check := range r.Passed {
		b.WriteString(string(check) + " ✓ ")
	}
	return b.String() + string(r.Check) + " ✗"
}

// shownSkew says how far a timestamp was off; nil, for none to measure, is empty.
func shownSkew(seconds *int64) string {
	switch {
	case seconds == nil:
		return ""
	case *seconds == 0:
		return "none"
	case *seconds == -1:
		return "1 second behind our clock"
	case *seconds == 1:
		return "1 second ahead of our clock"
	case *seconds < 0:
		// The smallest number has no positive counterpart as a signed one.
		return strconv.FormatUint(-uint64(*seconds), 10) + " seconds behind our clock"
	}
	return strconv.FormatInt(*seconds, 10) + " seconds ahead of our clock"
}

// shownRead says what was read of the body; of none, nothing.
func shownRead(r api.RejectionDetail) string {
	if r.BodySHA256 == "" {
		return ""
	}
	return fmt.Sprintf("%d bytes, SHA-256 %s", r.BodySize, r.BodySHA256)
}

// shownUnkept says how many rejections a kept one stands for beside itself.
func shownUnkept(n int) string {
	if n == 0 {
		return ""
	}
	return counted(n, "rejection") + " of the same source, client and code, just before it"
}
