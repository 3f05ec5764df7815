package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

const (
	// listenGrace bounds how long an answer may take to go out once the
	// receiver is to end.
	listenGrace = 5 * time.Second
	// maxListenHeader bounds a request's header.
	maxListenHeader = 64 << 10
	// shownBody, shownType and shownID are how many characters of outside text
	// stand on one line.
	shownBody = 160
	shownType = 128
	shownID   = 64
)

func newListen(g *globals) *cobra.Command {
	var (
		address string
		secrets []string
		count   int
		options sandbox.ReceiverOptions
	)
	c := &cobra.Command{
		Use:   "listen",
		Short: "A receiver for tests: print and verify what arrives, and misbehave on request",
		Long: "listen takes deliveries as a subscriber's server would, and prints a line for\n" +
			"each: the time, the status that it answers, the event's type, the delivery's id,\n" +
			"the number of the attempt, what the signature is worth, and the body. With a\n" +
			"secret it verifies X-Agent-Signature and the Standard Webhooks signature, and\n" +
			"answers 401 where one is wrong.\n\n" +
			"It fails every request if it is only told how to fail (--status, --reset,\n" +
			"--garbage, --hang), and those that --fail or --fail-rate picks otherwise;\n" +
			"--delay and what is said of the answer's header and body apply to all.\n" +
			"It runs until it is interrupted, or until --count requests have come.",
		Example: "pintle listen --secret whsec_…\n" +
			"pintle listen --fail 2 --status 503 --retry-after 10s\n" +
			"pintle listen --fail-rate 0.1 --delay 2s\n" +
			"pintle listen --addr :0 --count 1 --output json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(address); err != nil {
				return hint(fmt.Errorf("--addr %s is not an address", text.Clean(address)), "give host:port, as in 127.0.0.1:9000, or :0 for a free port")
			}
			if cmd.Flags().Changed("status") && options.Faults.Status == 0 {
				return errors.New("status 0: the status of an answer is between 200 and 999")
			}
			if err := options.Faults.Validate(); err != nil {
				return err
			}
			if count < 0 {
				return fmt.Errorf("--count %d is negative", count)
			}
			// An environment variable rather than a default of the flag: help
			// prints defaults.
			if env := os.Getenv("PINTLE_LISTEN_SECRET"); len(secrets) == 0 && env != "" {
				secrets = []string{env}
			}
			for _, s := range secrets {
				if s == "" {
					return errors.New("the secret is empty")
				}
				options.Secrets = append(options.Secrets, webhook.Secret(s))
			}
			if !cmd.Flags().Changed("seed") {
				options.Seed = rand.Uint64()
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			l := &listening{
				options: options, count: count, full: make(chan struct{}),
				out: cmd.OutOrStdout(), json: g.output == "json",
			}
			return failed(l.run(ctx, address, func(url string) {
				if !g.quiet {
					fmt.Fprintf(cmd.ErrOrStderr(), "listening on %s\n", url)
				}
			}))
		},
	}
	flags := c.Flags()
	flags.StringVar(&address, "addr", "127.0.0.1:9000", "address to listen on; port 0 takes a free one")
	flags.StringArrayVar(&secrets, "secret", nil, "verify with this secret; several may be valid (default: $PINTLE_LISTEN_SECRET, else nothing is verified)")
	flags.IntVar(&options.Faults.Status, "status", 0, "answer with this status (default: 200, and 500 for what is to fail)")
	flags.IntVar(&options.Faults.FailFirst, "fail", 0, "fail the first N tries of each event")
	flags.Float64Var(&options.Faults.FailRate, "fail-rate", 0, "fail this share of the requests, from 0 to 1")
	flags.Uint64Var(&options.Seed, "seed", 0, "make --fail-rate pick the same requests each time (default: another each time)")
	flags.DurationVar(&options.Faults.Delay, "delay", 0, "wait so long before every answer")
	flags.BoolVar(&options.Faults.Reset, "reset", false, "close the connection in place of an answer")
	flags.BoolVar(&options.Faults.Garbage, "garbage", false, "answer with bytes that are not HTTP")
	flags.BoolVar(&options.Faults.Hang, "hang", false, "never answer")
	flags.DurationVar(&options.Faults.RetryAfter, "retry-after", 0, "send Retry-After with an answer that fails")
	flags.BoolVar(&options.Faults.RetryAfterDate, "retry-after-date", false, "send Retry-After as a date in place of seconds")
	flags.StringVar(&options.Faults.Location, "location", "", "redirect there with an answer that fails; goes with --status 3xx")
	flags.IntVar(&options.Faults.HeaderSize, "header-size", 0, "answer with a header that has so many bytes too many")
	flags.Int64Var(&options.Faults.BodySize, "body-size", 0, "answer with a body of so many bytes")
	flags.DurationVar(&options.Faults.BodyTime, "body-time", 0, "send the body of every answer piece by piece, over so long a time")
	flags.IntVar(&count, "count", 0, "end after N requests (default: never)")
	return c
}

// listening is a receiver that prints what arrives.
type listening struct {
	options sandbox.ReceiverOptions
	// count is how many arrivals end it; zero: none does.
	count int
	out   io.Writer
	json  bool

	mu      sync.Mutex
	arrived int
	err     error // the first one of printing
	// full is closed when no further arrival is printed.
	full chan struct{}
	done bool // full is closed
}

// run serves until the context ends, the last arrival that is wanted has been
// answered, or its output is gone. It calls ready with its URL first.
func (l *listening) run(ctx context.Context, address string, ready func(url string)) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return hint(err, "choose another address with --addr; port 0 takes a free one")
	}
	l.options.OnArrival = l.arrival
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{
		Handler:           sandbox.NewReceiver(l.options),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    maxListenHeader,
		// What the server logs are the faults that the receiver was asked for.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	ready("http://" + reachable(listener.Addr().String()))

	select {
	case <-ctx.Done():
	case err := <-served:
		return err
	case <-l.full:
		// The last answers are still to go out, unless there is none.
		if !l.options.Faults.Hang {
			l.shutdown(ctx, server, l.options.Faults.Delay+l.options.Faults.BodyTime+listenGrace)
		}
	}
	// What waits or hangs is cut short, and only then can the server end.
	cut()
	l.shutdown(context.WithoutCancel(ctx), server, listenGrace)
	server.Close()
	<-served
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// shutdown waits until the server has answered what it is at, or until the
// time is over; the caller closes it in either case.
func (l *listening) shutdown(ctx context.Context, server *http.Server, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	_ = server.Shutdown(ctx)
}

// arrival prints one arrival.
func (l *listening) arrival(a sandbox.Arrival) {
	line := l.line(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return
	}
	if _, err := l.out.Write(line); err != nil {
		l.err = fmt.Errorf("print: %w", err)
	}
	l.arrived++
	if l.err != nil || l.arrived == l.count {
		l.done = true
		close(l.full)
	}
}

// line is what is printed of an arrival.
func (l *listening) line(a sandbox.Arrival) []byte {
	if l.json {
		return arrivalJSON(a)
	}
	status := strconv.Itoa(a.Status)
	if a.Status == 0 {
		status = "hang"
		switch {
		case l.options.Faults.Reset:
			status = "reset"
		case l.options.Faults.Garbage:
			status = "junk"
		}
	}
	attempt := "-"
	if a.Attempt > 0 {
		attempt = "#" + strconv.Itoa(a.Attempt)
	}
	return fmt.Appendf(nil, "%s  %-5s  %-16s  %-30s  %-3s  %s  %s\n",
		a.Time.Local().Format("15:04:05.000"), status, orDash(shorten(a.Event, shownType)),
		orDash(shorten(a.Delivery, shownID)), attempt, a.Verdict, shorten(string(a.Body), shownBody))
}

// arrivalJSON is an arrival for programs, on one line.
func arrivalJSON(a sandbox.Arrival) []byte {
	line := struct {
		Time      time.Time         `json:"time"`
		Status    int               `json:"status"`
		Path      string            `json:"path"`
		Event     string            `json:"event"`
		Delivery  string            `json:"delivery"`
		Attempt   int               `json:"attempt"`
		WebhookID string            `json:"webhook_id"`
		Seen      int               `json:"seen"`
		Signature string            `json:"signature"`
		Headers   map[string]string `json:"headers"`
		Body      string            `json:"body"`
		// BodyBase64 is the body where it is not UTF-8, which JSON cannot hold.
		BodyBase64 []byte `json:"body_base64,omitempty"`
	}{
		Time: a.Time.UTC().Truncate(time.Millisecond), Status: a.Status, Path: a.Path, Event: a.Event,
		Delivery: a.Delivery, Attempt: a.Attempt, WebhookID: a.WebhookID, Seen: a.Seen,
		Signature: a.Verdict.String(), Headers: map[string]string{}, Body: string(a.Body),
	}
	for name, values := range a.Header {
		switch name {
		case "Accept-Encoding", "Connection", "Content-Length", "Transfer-Encoding":
			// These belong to the connection, not to the delivery.
		default:
			line.Headers[name] = strings.Join(values, ", ")
		}
	}
	if !utf8.Valid(a.Body) {
		line.BodyBase64 = a.Body
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		panic(err) // strings, numbers and a time in this era always have a JSON form
	}
	return append(cleanJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), '\n')
}

// cleanJSON escapes, in JSON on one line, every character that a terminal
// might obey: those can only stand in strings, where the escape means the same.
func cleanJSON(text []byte) []byte {
	out := make([]byte, 0, len(text)+64)
	for _, r := range string(text) {
		switch {
		case strconv.IsGraphic(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// shorten makes text from outside fit to be part of a line: harmless, and at
// most n characters long.
func shorten(s string, n int) string {
	// Cut before it is cleaned: a body may be much longer than what is shown.
	cut := len(s) > 4*n
	if cut {
		s = s[:4*n]
	}
	runes := []rune(text.Clean(s))
	if len(runes) > n {
		runes, cut = runes[:n-1], true
	}
	if cut {
		return string(runes) + "…"
	}
	return string(runes)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// reachable is an address at which a listener on this one can be called from
// the same machine.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
