package cli

import (
	"fmt"
	"regexp"

	mango "github.com/muesli/mango-cobra"
	"github.com/muesli/roff"
	"github.com/spf13/cobra"
)

// shortFlag is how the library writes a flag with a short name: "--o --output".
var shortFlag = regexp.MustCompile(`\\fB--(\w) (--[\w-]+)\\fP`)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man",
		Short:   "Print the manual page",
		Example: "pintle man > pintle.1\nman ./pintle.1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			page, err := mango.NewManPage(1, cmd.Root())
			if err != nil {
				return failed(fmt.Errorf("make manual page: %w", err))
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), shortFlag.ReplaceAllString(page.Build(roff.NewDocument()), `\fB-$1\fP, \fB$2\fP`))
			return failed(err)
		},
	}
}
