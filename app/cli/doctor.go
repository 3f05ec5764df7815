package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/doctor"
	"github.com/pintle/pintle/tui"
	"github.com/pintle/pintle/tui/text"
)

func newDoctor(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Diagnose the installation; exit 1 on a fault",
		Long: "doctor looks at the configuration, the database and its disk, the appliance if it\n" +
			"is running and its addresses if not, certificates, the ASN database, secrets and\n" +
			"the keys that they are sealed with, the proxy, the process that runs filters and\n" +
			"transforms, subscribers and the clock. It changes nothing. A warning is worth a look; with a fault something\n" +
			"does not work, or will not after the next start, and the exit status is 1.",
		Example: "pintle doctor\npintle doctor --config /etc/pintle/config.toml --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			marks := map[doctor.Severity]string{doctor.OK: "✓", doctor.Warning: "!", doctor.Fault: "✗"}
			if tui.WantsASCII(os.Environ()) {
				marks[doctor.OK], marks[doctor.Fault] = "+", "x"
			}
			out := cmd.OutOrStdout()
			lines := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			counts := map[doctor.Severity]int{}
			var broken error
			doctor.Examine(cmd.Context(), doctor.Options{Load: g.load, Version: g.build.Version, Now: time.Now()}, func(f doctor.Finding) {
				counts[f.Severity]++
				if g.output == "json" {
					line, err := json.Marshal(f)
					if err == nil {
						_, err = out.Write(append(cleanJSON(line), '\n'))
					}
					broken = errors.Join(broken, err)
					return
				}
				// The writer keeps its first error for Flush.
				fmt.Fprintf(lines, "%s %s\t%s\n", marks[f.Severity], f.Check, text.Clean(f.Text))
				if f.Hint != "" {
					fmt.Fprintf(lines, "\thint: %s\n", text.Clean(f.Hint))
				}
			})
			if err := errors.Join(broken, lines.Flush()); err != nil {
				return failed(err)
			}
			if n := counts[doctor.Fault]; n > 0 {
				return failed(fmt.Errorf("faults: %d, warnings: %d", n, counts[doctor.Warning]))
			}
			g.note(cmd, "faults: 0, warnings: %d", counts[doctor.Warning])
			return nil
		},
	}
}
