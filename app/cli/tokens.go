package cli

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

func newTokens(g *globals) *cobra.Command {
	return noun("tokens", "Let programs and people use the admin API over the network",
		"pintle tokens create grafana --role viewer\npintle tokens list\npintle tokens revoke tok_…",
		newTokensCreate(g), newTokensList(g), newTokensRevoke(g))
}

func newTokensCreate(g *globals) *cobra.Command {
	var token api.NewToken
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token, and print it once",
		Long: "create makes a token for --server, and prints it: only a digest of it is kept. A\n" +
			"viewer reads all but secrets; an operator also publishes, resends, replays,\n" +
			"cancels, pauses and resumes; an admin may do everything.",
		Example: "pintle tokens create grafana --role viewer\n" +
			"PINTLE_TOKEN=pintle_… pintle --server https://pintle.example.com:8081 stats",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(webhook.Roles(), token.Role) {
				return hint(fmt.Errorf("--role is one of %v, not %q", webhook.Roles(), token.Role), "give the least that is enough: --role viewer reads")
			}
			token.Name = args[0]
			return g.withClient(func(c *client.Client) error {
				made, err := c.CreateToken(cmd.Context(), token)
				if err != nil {
					return workError(fmt.Errorf("create token: %w", err))
				}
				g.note(cmd, "the token is shown only now")
				return g.print(cmd, made, func(w io.Writer) error {
					return printFields(w, field{"ID", string(made.ID)}, field{"NAME", made.Name},
						field{"ROLE", string(made.Role)}, field{"TOKEN", made.Token})
				})
			})
		},
	}
	c.Flags().StringVar((*string)(&token.Role), "role", "", "what its bearer may do: "+fmt.Sprint(webhook.Roles()))
	return c
}

func tokenColumns() columns[api.Token] {
	return columns[api.Token]{
		[]string{"ID", "NAME", "ROLE", "CREATED", "REVOKED"},
		func(t api.Token) []string {
			return []string{string(t.ID), t.Name, string(t.Role), shownTime(t.CreatedAt), shownTime(t.RevokedAt)}
		},
	}
}

func newTokensList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List tokens, the newest first, revoked ones too",
		Example: "pintle tokens list\npintle tokens list --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withClient(func(c *client.Client) error {
				tokens, err := c.Tokens(cmd.Context())
				return printList(g, cmd, listed(tokens, err), 0, tokenColumns())
			})
		},
	}
}

func newTokensRevoke(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke TOKEN…",
		Short:   "Make tokens invalid at once, by their ids",
		Example: "pintle tokens revoke tok_…",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withClient(func(c *client.Client) error {
				for _, id := range args {
					if err := c.RevokeToken(cmd.Context(), webhook.TokenID(id)); err != nil {
						return workError(fmt.Errorf("revoke token %s: %w", id, err))
					}
					g.note(cmd, "revoked %s", text.Clean(id))
				}
				return nil
			})
		},
	}
}
