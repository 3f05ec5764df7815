package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func newConfig(g *globals) *cobra.Command {
	initialise := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration file that shows every key at its default",
		Long: "Write a configuration file that shows every key at its default, commented. The\n" +
			"file is FILE, else the one that --config names, else config.toml. One that\n" +
			"exists is left as it is.",
		Example: "pintle config init\npintle config init /etc/pintle/config.toml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "config.toml"
			if g.config != "" {
				file = g.config
			}
			if len(args) > 0 {
				file = args[0]
			}
			if err := writeNew(file, g.build.ExampleConfig); err != nil {
				return failed(err)
			}
			if !g.quiet {
				fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", file)
			}
			return nil
		},
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and say what is wrong with it",
		Long: "check reads the configuration and says what is wrong with it. The files that it\n" +
			"names, such as certificates and the ASN database, are not opened: pintle\n" +
			"doctor does that.",
		Example: "pintle config check --config /etc/pintle/config.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			for _, warning := range c.Warnings() {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", warning)
			}
			if g.output == "json" {
				return failed(json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"ok": true, "file": c.File}))
			}
			from := c.File
			if from == "" {
				from = "no file, so the defaults"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The configuration is good (%s).\n", from)
			return failed(err)
		},
	}
	show := &cobra.Command{
		Use:     "show",
		Short:   "Print the configuration in force, secrets hidden",
		Long:    "Print the configuration in force: defaults, file, environment and flags together,\nas TOML, secrets hidden.",
		Example: "pintle config show\npintle config show --output json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			if g.output == "json" {
				return failed(json.NewEncoder(cmd.OutOrStdout()).Encode(c.Values()))
			}
			text, err := c.TOML()
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return failed(err)
		},
	}
	return noun("config", "Write, check and show the configuration", "pintle config init\npintle config check", initialise, check, show)
}

// writeNew writes a file that must not exist yet.
func writeNew(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hint(fmt.Errorf("%s exists already; it was left as it is", file), "name another file, or remove this one")
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
