package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/tui/text"
)

// target says where the appliance is: at what --server or $PINTLE_SERVER names,
// or else at the socket beside the database of the configuration in force.
func (g *globals) target() (client.Options, error) {
	if server := cmp.Or(g.server, os.Getenv("PINTLE_SERVER")); server != "" {
		return client.Options{Server: server, Token: cmp.Or(g.token, os.Getenv("PINTLE_TOKEN"))}, nil
	}
	cfg, err := g.load()
	if err != nil {
		return client.Options{}, err
	}
	return client.Options{Socket: cfg.Socket()}, nil
}

// client returns a client of the appliance.
func (g *globals) client() (*client.Client, error) {
	target, err := g.target()
	if err != nil {
		return nil, err
	}
	return client.New(target)
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
	shown := errors.New(text.Clean(err.Error()))
	if errors.Is(err, client.ErrNotRunning) {
		return failed(hint(shown, "start it with pintle serve, or name its database with --db, or another one with --server URL"))
	}
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		return failed(hint(shown, "give one with --token or $PINTLE_TOKEN; pintle tokens create makes one where the appliance runs"))
	}
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" {
		return failed(hint(shown, "is the appliance running there, and is that its admin.listen?"))
	}
	return failed(shown)
}

// listError is [workError] for a list, of which all that is sent is what was
// written: a word of a query that is refused is wrong usage, as the flag for it
// would be.
func listError(err error) error {
	var refused *client.Error
	if errors.As(err, &refused) && refused.Code == "invalid_request" {
		return errors.New(text.Clean(err.Error()))
	}
	return workError(err)
}

// confirm asks a person whether to go on, unless --yes has said so already.
// What is to be done is a phrase such as "remove sub_…".
func (g *globals) confirm(cmd *cobra.Command, what string) error {
	if g.yes {
		return nil
	}
	in := cmd.InOrStdin()
	if !isTerminal(in) {
		return hint(fmt.Errorf("%s: not confirmed, and there is no terminal to ask on", text.Clean(what)), "add --yes to do it without a question")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s? [y/N] ", text.Clean(what))
	// An end of the input is an answer too: no.
	line, _ := bufio.NewReader(in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return failed(errors.New("not confirmed; nothing was changed"))
}

// isTerminal reports whether a person is at the other end of the stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
