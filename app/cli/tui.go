package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/tui"
)

func newTUI(g *globals) *cobra.Command {
	var readOnly bool
	c := &cobra.Command{
		Use:   "tui",
		Short: "Open the dashboard on the running appliance",
		Long: "tui opens the dashboard: what comes in, what goes out, what fails and why, and\n" +
			"the keys to put it right. It needs a terminal.",
		Example: "pintle tui\npintle tui --read-only\npintle tui --server https://pintle.example.com:8081 --token pintle_…",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !hasScreen(cmd) {
				return hint(errors.New("the dashboard needs a terminal"),
					"pintle stats, pintle deliveries list and pintle tail print the same")
			}
			target, err := g.target()
			if err != nil {
				return err
			}
			c, err := client.New(target)
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			// Why it cannot be opened belongs on a screen that stays.
			if _, err := c.Stats(ctx); err != nil {
				return workError(fmt.Errorf("open the dashboard: %w", err))
			}
			return failed(tui.Run(ctx, tui.Options{
				Client: c, Version: g.build.Version, Address: cmp.Or(target.Server, target.Socket), ReadOnly: readOnly,
				ASCII: tui.WantsASCII(os.Environ()),
			}))
		},
	}
	c.Flags().BoolVar(&readOnly, "read-only", false, "refuse every key that would change something")
	return c
}

// hasScreen reports whether there is a terminal that can be drawn on.
func hasScreen(cmd *cobra.Command) bool {
	return isTerminal(cmd.InOrStdin()) && isTerminal(cmd.OutOrStdout()) && os.Getenv("TERM") != "dumb"
}
