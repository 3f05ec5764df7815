// Package cli is the command line: one file per noun, each command a thin
// layer over the appliance or over the client of its admin API.
//
// What a command was asked for goes to standard output, everything else to
// standard error. The exit status is 0 when it is done, 1 when the work
// failed, and 2 when the usage or the configuration is wrong. An error says
// what is wrong and, where one is known, the next step as a hint.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/transform"
)

// Build is what only the main package knows.
type Build struct {
	// Version is the release, or "dev".
	Version string
	// Schema is schema.sql, the newest schema of the database.
	Schema string
	// ExampleConfig is config.example.toml.
	ExampleConfig string
}

// The exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the command line and returns the exit status.
func Main(build Build, args []string) int {
	if isTransformWorker(args) {
		return transform.Serve()
	}
	root := newRoot(build)
	root.SetArgs(args)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetHelpFunc(help(root, build.Version))
	err := root.Execute()
	if err != nil {
		printError(root.ErrOrStderr(), err)
	}
	var failed *failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &failed):
		return exitFailed
	}
	return exitUsage
}

// help returns how help is printed. For its colours the library asks a terminal
// for its background, and a terminal that does not answer costs seconds. So it
// runs for help only, and not where there are to be no colours.
func help(root *cobra.Command, version string) func(*cobra.Command, []string) {
	plain := root.HelpFunc()
	return func(c *cobra.Command, args []string) {
		if isTerminal(os.Stdout) && (os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb") {
			plain(c, args)
			return
		}
		// The arguments that led here lead to the library's help too. What it
		// may fail with has failed before.
		_ = fang.Execute(context.Background(), root, fang.WithVersion(version), fang.WithoutManpage())
	}
}

// globals are the flags that every command has.
type globals struct {
	build  Build
	config string
	db     string
	output string
	server string
	token  string
	set    []string
	quiet  bool
	yes    bool
}

func newRoot(build Build) *cobra.Command {
	g := &globals{build: build}
	root := &cobra.Command{
		Use:   "pintle",
		Short: "Receive webhooks, store them durably, fan them out, and see why",
		Long: "Pintle is a webhook appliance: one static binary, one SQLite file. It receives\n" +
			"webhooks, stores them durably, fans them out to subscribers with signed\n" +
			"requests, retries, and keeps the whole history.",
		Example: "pintle demo\npintle serve",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if g.output != "table" && g.output != "json" {
				return fmt.Errorf("--output is table or json, not %q", g.output)
			}
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&g.config, "config", "", "configuration file (default: $PINTLE_CONFIG, ./config.toml, /etc/pintle/config.toml)")
	flags.StringVar(&g.db, "db", "", "database file; the same as --set storage.path=FILE")
	flags.StringVarP(&g.output, "output", "o", "table", "table for people or json for programs")
	flags.StringVar(&g.server, "server", "", "URL of the admin API (default: $PINTLE_SERVER, or the socket beside the database)")
	flags.StringVar(&g.token, "token", "", "token for --server (default: $PINTLE_TOKEN)")
	flags.StringArrayVar(&g.set, "set", nil, "override a key of the configuration: --set outbound.timeout=10s")
	flags.BoolVarP(&g.quiet, "quiet", "q", false, "print the result only")
	flags.BoolVarP(&g.yes, "yes", "y", false, "ask nothing")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return seeHelp(c, explainValue(err)) })
	root.AddCommand(
		newServe(g), newDemo(g), newTUI(g), newListen(g), newSend(g), newPublish(g), newSign(g), newVerify(g),
		newSubscribers(g), newEvents(g), newDeliveries(g), newDead(g), newRejections(g),
		newTail(g), newStats(g), newTokens(g), newConfig(g), newDoctor(g), newBackup(g), newRestore(g), newCheck(g), newVersion(g), newMan(),
	)
	root.Version = build.Version
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Example = "source <(pintle completion bash)"
		completion.Args, completion.RunE = cobra.NoArgs, sayWhat
		for _, shell := range completion.Commands() {
			shell.Example = shellExamples[shell.Name()]
		}
	}
	explainArgs(root)
	return root
}

// shellExamples load the completions for the session, by shell.
var shellExamples = map[string]string{
	"bash":       "source <(pintle completion bash)",
	"zsh":        "source <(pintle completion zsh)",
	"fish":       "pintle completion fish | source",
	"powershell": "pintle completion powershell | Out-String | Invoke-Expression",
}

// explainArgs gives the next step to whoever calls this command, or one below
// it, with wrong arguments.
func explainArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				return nil
			}
			if near := nearest(c, args); near != "" {
				return hint(err, "did you mean %s %s?", c.CommandPath(), near)
			}
			return seeHelp(c, err)
		}
	}
	for _, below := range c.Commands() {
		explainArgs(below)
	}
}

// nearest returns the command below this one that the first argument was meant
// to be; empty: none is near.
func nearest(c *cobra.Command, args []string) string {
	if len(args) == 0 {
		return ""
	}
	c.SuggestionsMinimumDistance = 2
	near := c.SuggestionsFor(args[0])
	for _, name := range near {
		if strings.HasPrefix(name, args[0]) {
			return name
		}
	}
	return strings.Join(near[:min(1, len(near))], "")
}

// explainValue says of a flag whose value cannot be read what it should be,
// where the library tells how it tried to.
func explainValue(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag := invalid.GetFlag()
	wanted, known := map[string]string{
		"int": "a whole number", "int64": "a whole number", "float64": "a number", "duration": "a duration such as 5s or 2m", "bool": "true or false",
	}[flag.Value.Type()]
	if !known {
		return err
	}
	return fmt.Errorf("--%s is %s, not %q", flag.Name, wanted, invalid.GetValue())
}

func seeHelp(c *cobra.Command, err error) error { return hint(err, "see %s --help", c.CommandPath()) }

// noun returns a command that only groups others.
func noun(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		RunE: sayWhat,
	}
	c.AddCommand(commands...)
	return c
}

func sayWhat(c *cobra.Command, _ []string) error {
	return seeHelp(c, fmt.Errorf("say what to do with %s", c.Name()))
}

// load reads the configuration in force: defaults, file, environment, flags.
func (g *globals) load() (*config.Config, error) {
	set := g.set
	if g.db != "" {
		set = append(set[:len(set):len(set)], "storage.path="+g.db)
	}
	return config.Load(config.Options{File: g.config, Environ: os.Environ(), Set: set})
}

// A failure is an error of the work itself: the usage was right. Its exit
// status is 1; that of any other error is 2.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed marks an error, if it is one, as a failure of the work.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}

// hinted is an error whose next step is known.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// hint gives an error its next step.
func hint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "pintle: error: %s\n", strings.TrimSpace(err.Error()))
	var h *hinted
	if errors.As(err, &h) {
		fmt.Fprintf(w, "pintle: hint: %s\n", h.hint)
	}
}
