package transform

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/itchyny/gojq"
)

const (
	// stackLimit bounds the stack of a goroutine in a child, which walks along
	// values of any depth.
	stackLimit = 32 << 20
	// compileTimeout is what it may take in addition to compile an expression, which
	// is done once: for the worst that [Check] lets pass it is a fifth of that.
	compileTimeout = 250 * time.Millisecond
	// lifetimeCPU is how many seconds of the processor a child may use in all, for
	// the kernel.
	lifetimeCPU = 600
	// retireCPU is how much of the processor's time a child uses until it ends by
	// itself and another takes its place: long before the kernel ends it.
	retireCPU = lifetimeCPU * time.Second / 2
)

// Serve is what a child does: it answers the requests that come by standard input
// until there is no more of it, and returns the exit status. It changes the whole
// process: a program calls it and nothing else.
func Serve() int {
	// A signal to all processes of a terminal or a service is the parent's to follow:
	// it ends this one when it has what it waits for.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A value of time.Local is how the library knows where it is: it is nowhere.
	time.Local = time.UTC
	// The second processor is for the watchdog and the collector.
	runtime.GOMAXPROCS(2)
	s := &server{in: bufio.NewReader(os.Stdin), out: os.Stdout}
	err := s.begin()
	for err == nil && cpuTime() < retireCPU {
		err = s.answerNext()
	}
	if err == io.EOF {
		return 0
	}
	return failedStatus
}

// A server is the inside of a child.
type server struct {
	in       *bufio.Reader
	out      io.Writer
	bounds   bounds
	cache    *cache
	watchdog *watchdog
	request  request
	frame    []byte
	reply    []byte
}

// begin greets the parent, and lays the bounds that it names on the process.
func (s *server) begin() error {
	frame, err := readFrame(s.in, nil, 64)
	if err != nil {
		return err
	}
	if s.bounds, err = parseBounds(frame); err != nil {
		return err
	}
	// Compiled expressions are kept in a share of their own.
	shelf := s.bounds.memory / 4
	heap := s.bounds.memory + shelf
	s.cache = newCache(shelf)
	s.watchdog = newWatchdog(s.bounds, heap, s.out)
	debug.SetMemoryLimit(heap)
	debug.SetMaxStack(stackLimit)
	complaint := ""
	if err := limitProcess(heap); err != nil {
		complaint = err.Error()
	}
	frame = endFrame(append(newFrame(nil), readable(complaint)...))
	_, err = s.out.Write(append([]byte(greeting), frame...))
	return err
}

// answerNext reads a request and answers it.
func (s *server) answerNext() error {
	frame, err := readFrame(s.in, s.frame, maxRequest)
	if err != nil {
		return err
	}
	s.frame = frame
	if err := parseRequest(frame, &s.request); err != nil {
		return err
	}
	reply := s.run(&s.request)
	s.watchdog.rest()
	if _, err := s.out.Write(reply); err != nil {
		return err
	}
	s.reply = reply
	s.tidy()
	return nil
}

// tidy gives back what a large request has left, while nobody waits.
func (s *server) tidy() {
	if cap(s.frame) > keptBuffer {
		s.frame = nil
	}
	if cap(s.reply) > keptBuffer {
		s.reply = nil
	}
	most := s.bounds.memory / 4
	if s.watchdog.memory() < most {
		return
	}
	runtime.GC()
	if s.watchdog.memory() < most {
		return
	}
	// Expressions grow after they were compiled: they keep the regular expressions
	// that they meet.
	s.cache.clear()
	runtime.GC()
}

// allowance is what it may take in addition to read or write so many bytes of JSON:
// several times what it does take, and nothing that an expression has a hand in.
func allowance(bytes int) time.Duration { return time.Duration(bytes) * 250 * time.Nanosecond }

// errSeveral is a second value where there must be one.
var errSeveral = errors.New("made several values")

// run answers a request.
func (s *server) run(r *request) (reply []byte) {
	index := 0
	defer func() {
		// The library panics where it is wrong about itself.
		if p := recover(); p != nil {
			reply = appendFailure(s.reply, answerFailed, index, fmt.Sprintf("jq itself failed: %v", p))
		}
	}()
	s.watchdog.watch(0, s.bounds.timeout+allowance(len(r.in.Body)))
	value, err := decode(r.in.Body)
	if err != nil {
		return appendFailure(s.reply, answerFailed, 0, "the body is not JSON: "+err.Error())
	}
	some := true
	for i, e := range r.expressions {
		index = i
		s.watchdog.watch(i, s.bounds.timeout+compileTimeout)
		code, err := s.cache.compiled(e.Source)
		if err != nil {
			return appendFailure(s.reply, answerFailed, i, err.Error())
		}
		s.watchdog.watch(i, s.bounds.timeout)
		value, some, err = one(code, value, r)
		switch {
		case errors.Is(err, errSeveral) && r.filter:
			return appendFailure(s.reply, answerFailed, i, "made several values: say any(…) or first(…)")
		case err != nil:
			return appendFailure(s.reply, answerFailed, i, err.Error())
		case !some && !r.filter:
			return appendFailure(s.reply, answerFailed, i, "made no value")
		}
	}
	if r.filter {
		kind := byte(answerPasses)
		if !some || value == nil || value == false {
			kind = answerPassesNot
		}
		return endFrame(append(newFrame(s.reply), kind))
	}
	s.watchdog.watch(index, s.bounds.timeout+allowance(s.bounds.maxOutput))
	frame, err := appendValue(append(newFrame(s.reply), answerBody), value, s.bounds.maxOutput)
	if err != nil {
		return appendFailure(s.reply, answerExhausted, index, err.Error())
	}
	return endFrame(frame)
}

// one runs an expression, and returns its value if it makes one.
func one(code *gojq.Code, input any, r *request) (value any, some bool, err error) {
	values := code.Run(input, r.in.ID, r.in.Source, r.in.ClientID)
	for {
		next, ok := values.Next()
		if !ok {
			return value, some, nil
		}
		if err, failed := next.(error); failed {
			var halt *gojq.HaltError
			if errors.As(err, &halt) && halt.Value() == nil {
				return value, some, nil // halt: there are no more values
			}
			return nil, false, err
		}
		if some {
			return nil, false, errSeveral
		}
		value, some = next, true
	}
}
