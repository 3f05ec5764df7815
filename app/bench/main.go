// Command bench measures the built appliance from outside, against a relay
// that does the same work and stores nothing.
//
//	go run ./app/bench             all of it, in about seven minutes
//	go run ./app/bench -quick      a look, in under a minute
//	go run ./app/bench -only checks    what the inbound checks cost, in half a minute
//	go run ./app/bench -only outbound  what is delivered, with and without a transform
//	go run ./app/bench -only fairness  what receivers that hang do to the others
//	go run ./app/bench -benchfmt new.txt && go tool benchstat old.txt new.txt
//
// Load generator, receivers, relay and appliance are separate processes on
// loopback; all but the appliance are this program, started again in a role.
// Absolute figures belong to the machine and the hour, so the appliance and the
// relay take turns in every round, and the figure to keep is their ratio.
//
// # The relay
//
// The relay is the floor: what any webhook server in Go has to pay before it
// keeps anything. It checks the signature, decodes the envelope, signs each
// request with both outbound schemes and posts it through the same kind of
// transport, with as many requests in flight as the appliance allows itself. It
// answers 200 once the event is in a bounded queue in memory for each
// subscriber: as the appliance, it makes no sender wait for a receiver, unless
// the queue is full.
//
// # The figures
//
// Acknowledged events count from the first POST to the last answer 200;
// deliveries from the first POST to the last arrival. CPU time, memory and bytes
// are those of the appliance's process alone. CPU time runs until the process
// has come to rest after the last arrival, so what it writes down afterwards is
// counted too. Latencies are from just before a POST is made to its arrival at
// the receiver, at a fixed rate that waits for no answer.
//
// # The checks
//
// What the inbound checks cost is measured on the appliance alone, which has no
// subscriber then: the events acknowledged in a second with every check turned
// on, beside those with all turned off, in turns. Both sides are sent the same
// signed requests.
//
// # Outbound
//
// Deliveries per second to one subscriber and to a hundred, as the bodies are and
// with a transform, beside a client that signs and posts as many and does nothing
// else. CPU time is that of the appliance without the children that run transforms.
//
// # Fairness
//
// A thousand subscribers get events at a fixed rate, each event one of them. In
// every other turn a hundred of the receivers never answer. The others' latency
// is what is compared; the first seconds after the start, when nobody knows yet
// who hangs, are told apart.
//
// The exit status is 1 when an event did not arrive, arrived twice or arrived
// with a wrong signature, whatever the figures are. A missed target is shown and
// changes nothing: figures of one machine at one moment are no law.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	// Linux ends a child with the thread that started it, and this thread lives
	// as long as the program does.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// A usageError says that the command line is wrong.
type usageError struct{ error }

// parts are what -only takes.
func parts() []string { return []string{pintleName, relayName, checksName, outboundName, fairnessName} }

// options are the flags.
type options struct {
	role        string
	pintle      string
	dir         string
	only        string
	quick       bool
	rounds      int
	events      int
	connections int
	concurrency int
	timeout     time.Duration
	json        string
	benchfmt    string
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.role, "role", "", "be one of the other processes: load, sink, relay or client (bench uses it itself)")
	flags.StringVar(&o.pintle, "pintle", "", "the binary to measure (default: build it from this module)")
	flags.StringVar(&o.dir, "dir", "", "directory for the databases, on the kind of disk that is meant (default: the temporary directory)")
	flags.StringVar(&o.only, "only", "", "measure only one of pintle, relay, checks, outbound and fairness")
	flags.BoolVar(&o.quick, "quick", false, "one short round")
	flags.IntVar(&o.rounds, "rounds", 0, "rounds, whose medians are shown (default 3, quick 1)")
	flags.IntVar(&o.events, "events", 0, "events for one subscriber; ten get a fifth of them (default 30000, quick 5000)")
	flags.IntVar(&o.connections, "connections", 64, "connections of the load generator")
	flags.IntVar(&o.concurrency, "concurrency", 10, "requests in flight to one subscriber, as outbound.concurrency")
	flags.DurationVar(&o.timeout, "timeout", 25*time.Minute, "give up after this time")
	flags.StringVar(&o.json, "json", "", "write all figures to this file as JSON; - is standard output")
	flags.StringVar(&o.benchfmt, "benchfmt", "", "write all figures to this file for benchstat; - is standard output")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	switch {
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	case o.only != "" && !slices.Contains(parts(), o.only):
		return usageError{fmt.Errorf("-only is one of %s, not %q", strings.Join(parts(), ", "), o.only)}
	case o.rounds < 0 || o.events < 0 || o.connections < 1 || o.concurrency < 1:
		return usageError{errors.New("-rounds, -events, -connections and -concurrency are positive numbers")}
	}
	switch o.role {
	case "":
		ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done after %s (-timeout)", o.timeout))
		defer cancel()
		return measure(ctx, newPlan(o), o, stdout, stderr)
	case "load":
		return play(ctx, stdin, stdout, playLoad)
	case "sink":
		return play(ctx, stdin, stdout, playSink)
	case "relay":
		return play(ctx, stdin, stdout, playRelay)
	case clientSide:
		return play(ctx, stdin, stdout, playClient)
	}
	return usageError{fmt.Errorf("there is no role %q", o.role)}
}
