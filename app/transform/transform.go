// Package transform runs jq expressions of others, hostile or merely wrong,
// without harm: filters, which decide whether a subscriber gets an event, and
// transforms, which make the body that it gets.
//
// # Why a process of its own
//
// No expression engine for Go bounds the memory of an expression, and an
// expression of forty characters can ask for a gigabyte within a second. So
// expressions run in children of this program, a few of them, each of which has
// a bound on its address space and is killed when it does not answer in time. A
// child that dies is replaced; whoever waited for it gets an [*Error].
//
// A child is started when there is something to run, and ended when there has
// been nothing for a minute. It has no environment and no descriptor but the two
// pipes to its parent, works in /, may open almost nothing and write no file, and
// dies with its parent.
//
// # The language
//
// Expressions are those of jq, as gojq has them. Nothing reads or writes anything
// but the value: there are no modules, no input, no debug and no stderr; env and
// $ENV are empty, and the local time is UTC. The time can be asked for by now.
//
// A number of the body that no expression computes with comes out as it went in,
// whatever its size: 9007199254740993, 1.10 and 1e400 stay what they are.
// Whatever is computed is an integer of any size or a 64-bit float, of which NaN
// comes out as null and the infinities as the largest floats. Integers stay exact
// when they are computed with. The members of objects come out sorted by name; of
// a name that stands twice the last value counts.
package transform

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"time"
)

// WorkerCommand is the hidden argument that makes this program a child.
const WorkerCommand = "transform-worker"

// Options say how expressions are run. Zero values stand for the defaults.
type Options struct {
	// Command starts a child: the program and its arguments; nil: this program
	// with [WorkerCommand]. The program has to call [Serve].
	Command []string
	// Workers is how many children run at a time; zero: 2.
	Workers int
	// Timeout bounds one expression over one event; zero: 50 ms. It is the time of
	// the processor that counts, so that an honest expression does not fail on a
	// machine that has more to do; by the clock it may take twenty times as long.
	// What it takes to read the body, to compile an expression for the first time and
	// to write the value has bounds of its own.
	Timeout time.Duration
	// Memory bounds what an expression may take, in bytes; zero: 64 MiB.
	Memory int64
	// MaxOutput bounds the body that a transform makes, in bytes; zero: 1 MiB.
	MaxOutput int
	// Logger is told of children that cannot be started or die; nil: nobody is.
	Logger *slog.Logger
	// Observe is told of each call how long it took, its wait for its turn
	// included, and of its error; nil: nobody is.
	Observe func(took time.Duration, err error)
}

// withDefaults returns the options with every value set.
func (o Options) withDefaults() (Options, error) {
	o.Workers = cmp.Or(o.Workers, 2)
	o.Timeout = cmp.Or(o.Timeout, 50*time.Millisecond)
	o.Memory = cmp.Or(o.Memory, 64<<20)
	o.MaxOutput = cmp.Or(o.MaxOutput, 1<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Command != nil {
		return o, nil
	}
	if len(os.Args) > 1 && os.Args[1] == WorkerCommand {
		// Or else a program that does not know the command would start itself
		// again and again.
		return o, errors.New("a child has no children")
	}
	program, err := ownProgram()
	o.Command = []string{program, WorkerCommand}
	return o, err
}

// An Input is an event as expressions see it.
type Input struct {
	// Body is the value ".": the type, the timestamp and the data, as subscribers
	// receive it.
	Body []byte
	// ID, Source and ClientID are the variables $id, $source and $client_id.
	ID, Source, ClientID string
}

// An Expression is one of those that make a body, with the name that an [Error]
// calls it by, such as transform or transforms[2].
type Expression struct{ Name, Source string }

// ErrClosed is what a pool answers after its end.
var ErrClosed = errors.New("the pool of expressions is closed")

// An Error says why an expression gave no answer.
type Error struct {
	// Expression is which one it was: filter, or the name of the [Expression].
	Expression string
	// Exhausted says that it ran out of time, memory or room: that it may do so
	// again, at the same cost.
	Exhausted bool
	// Reason is for people: one line or more, of jq or of this package, of about a
	// KiB at most.
	Reason string
}

// Error says which expression failed, and why.
func (e *Error) Error() string { return e.Expression + ": " + e.Reason }

// Filter reports whether the filter lets the event pass: whether its one value is
// neither false nor null. No value at all does not let it pass. The owner, such as
// the id of a subscriber, is whose turn it takes: what one owner runs keeps no
// other waiting for long.
//
// The error is an [*Error], that of the context, or [ErrClosed].
func (p *Pool) Filter(ctx context.Context, owner, filter string, in Input) (bool, error) {
	answer, err := p.run(ctx, owner, request{filter: true, expressions: []Expression{{"filter", filter}}, in: in})
	return answer.passes, err
}

// Transform makes a body, by each expression out of what the one before made;
// without expressions it is the body that was. The owner and the error are as with
// Filter.
func (p *Pool) Transform(ctx context.Context, owner string, expressions []Expression, in Input) ([]byte, error) {
	if len(expressions) == 0 {
		return in.Body, nil
	}
	answer, err := p.run(ctx, owner, request{expressions: expressions, in: in})
	return answer.body, err
}
