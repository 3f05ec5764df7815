package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
)

// client returns a client of the appliance that --server or $PINTLE_SERVER
// names, or else of the one whose socket stands beside the database of the
// configuration in force.
func (g *globals) client() (*client.Client, error) {
	if server := cmp.Or(g.server, os.Getenv("PINTLE_SERVER")); server != "" {
		return client.New(client.Options{Server: server, Token: cmp.Or(g.token, os.Getenv("PINTLE_TOKEN"))})
	}
	cfg, err := g.load()
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Socket: cfg.Socket()})
}

// withClient runs the work of a command against the running appliance. An error
// of making the client is one of usage or configuration.
func (g *globals) withClient(work func(*client.Client) error) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return work(c)
}

// workError marks an error as one of the work. Its text may come from another
// machine, so it is made safe to print.
func workError(err error) error {
	if err == nil {
		return nil
	}
	shown := errors.New(clean(err.Error()))
	if errors.Is(err, client.ErrNotRunning) {
		return failed(hint(shown, "start it with pintle serve, or name one with --server URL"))
	}
	return failed(shown)
}

// confirm asks a person whether to go on, unless --yes has said so already.
// What is to be done is a phrase such as "remove sub_…".
func (g *globals) confirm(cmd *cobra.Command, what string) error {
	if g.yes {
		return nil
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !isatty.IsTerminal(in.Fd()) && !isatty.IsCygwinTerminal(in.Fd()) {
		return hint(fmt.Errorf("%s: not confirmed, and there is no terminal to ask on", clean(what)), "add --yes to do it without a question")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s? [y/N] ", clean(what))
	// An end of the input is an answer too: no.
	line, _ := bufio.NewReader(in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return failed(errors.New("not confirmed; nothing was changed"))
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
