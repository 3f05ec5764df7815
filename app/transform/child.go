package transform

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

const (
	// startTimeout is how long a child may take to say that it is ready.
	startTimeout = 10 * time.Second
	// wallFactor is how much longer than its bound an expression may take by the
	// clock.
	wallFactor = 20
	// grace is what a child may take for all that is around its expressions.
	grace = 5 * time.Second
)

// A child is a process that runs expressions, as its parent holds it. One
// goroutine at a time speaks with it.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	reader *bufio.Reader
	bounds bounds
	buffer []byte
	// deadline is when the answer has to be there.
	deadline time.Time
	// disturbed tells who waits that the context had it stop.
	disturbed chan struct{}
	// dead is closed when the process has ended and its parent knows how.
	dead chan struct{}
}

// spawn starts a child that is not yet ready.
func spawn(command []string, b bounds) (*child, error) {
	theirIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stdout, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), stdin.Close())
	}
	cmd := &exec.Cmd{
		Path: command[0],
		// The name by which this program was called may say what it is to be.
		Args:        append([]string{os.Args[0]}, command[1:]...),
		Env:         []string{},
		Dir:         "/",
		Stdin:       theirIn,
		Stdout:      theirOut,
		SysProcAttr: processAttributes(),
	}
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		stdin.Close()
		stdout.Close()
		return nil, err
	}
	c := &child{cmd: cmd, stdin: stdin, stdout: stdout, reader: bufio.NewReader(stdout), bounds: b, disturbed: make(chan struct{}, 1), dead: make(chan struct{})}
	go func() {
		// How it ended is in its ProcessState.
		_ = cmd.Wait()
		close(c.dead)
	}()
	return c, nil
}

// greet tells the child its bounds and waits until it is ready.
func (c *child) greet() error {
	deadline := time.Now().Add(startTimeout)
	err := errors.Join(c.stdin.SetWriteDeadline(deadline), c.stdout.SetReadDeadline(deadline))
	if err != nil {
		return err
	}
	if _, err := c.stdin.Write(c.bounds.appendFrame(nil)); err != nil {
		return err
	}
	// What does not know the command writes what it likes, and at once.
	word := make([]byte, len(greeting))
	if _, err := io.ReadFull(c.reader, word); err != nil {
		return fmt.Errorf("it does not greet: %w", err)
	}
	if string(word) != greeting {
		return errors.New("it does not greet: it is another program, or does not know the command")
	}
	complaint, err := readFrame(c.reader, nil, maxReason)
	if err != nil {
		return err
	}
	if len(complaint) > 0 {
		return errors.New(readable(string(complaint)))
	}
	return nil
}

// errDetached says that the answer is not waited for any more, and will come.
var errDetached = errors.New("detached")

// send sends a request in its frame. An error means that the child cannot be used
// any more, here and with what follows.
func (c *child) send(frame []byte, expressions int) error {
	// The body is read, each expression is compiled and run, and the value written.
	steps := time.Duration(2 + 2*expressions)
	most := steps*(c.bounds.timeout+compileTimeout) + allowance(len(frame)+c.bounds.maxOutput)
	c.deadline = time.Now().Add(wallFactor*most + grace)
	if err := c.stdin.SetWriteDeadline(c.deadline); err != nil {
		return err
	}
	if err := c.stdout.SetReadDeadline(c.deadline); err != nil {
		return err
	}
	_, err := c.stdin.Write(frame)
	return err
}

// await waits until the answer comes, or the context is done: the error is
// errDetached then.
func (c *child) await(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		// The one who waits finds out if it failed: by waiting on.
		_ = c.stdout.SetReadDeadline(time.Unix(1, 0))
		c.disturbed <- struct{}{}
	})
	_, err := c.reader.Peek(1)
	if stop() {
		return err
	}
	<-c.disturbed
	if deadlineErr := c.stdout.SetReadDeadline(c.deadline); deadlineErr != nil {
		return deadlineErr
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errDetached
	}
	return err
}

// receive reads the answer to the request.
func (c *child) receive(to *request) (answer, error) {
	reply, err := readFrame(c.reader, c.buffer, c.bounds.maxOutput+2*maxReason)
	if err != nil {
		return answer{}, err
	}
	if c.buffer = reply[:0]; cap(c.buffer) > keptBuffer {
		c.buffer = nil
	}
	got, err := parseAnswer(reply, to)
	if err == nil && c.reader.Buffered() > 0 {
		err = errors.New("it says more than it was asked")
	}
	return got, err
}

// end ends the child and waits until it is gone.
func (c *child) end() {
	// An error says that it has ended already.
	_ = c.cmd.Process.Kill()
	<-c.dead
	c.stdin.Close()
	c.stdout.Close()
}

// failedStatus is what a child ends with that has nothing more to say. A higher one
// is that of a Go program that the kernel gives no memory.
const failedStatus = 1

// epitaph says in the words of an [Error] how the child came to its end, after it
// has, and after the error of who spoke with it.
func (c *child) epitaph(err error) string {
	switch status := c.cmd.ProcessState; {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "took too long and was killed"
	case status.ExitCode() > failedStatus:
		return fmt.Sprintf("took more than %s of memory", size(c.bounds.memory))
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("its process has died: %s", status)
	default:
		return fmt.Sprintf("its process made no sense: %v", err)
	}
}

// size prints a number of bytes as the configuration has it.
func size(bytes int64) string {
	switch {
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// A starter starts children, all on one thread that lives as long as the pool:
// the kernel ends a child when the thread that made it ends.
type starter struct {
	command []string
	bounds  bounds

	once   sync.Once
	orders chan chan<- started
	done   chan struct{}
}

type started struct {
	child *child
	err   error
}

// start returns a child that has yet to be greeted.
func (s *starter) start() (*child, error) {
	s.once.Do(func() {
		s.orders, s.done = make(chan chan<- started), make(chan struct{})
		go s.run()
	})
	order := make(chan started, 1)
	s.orders <- order
	got := <-order
	return got.child, got.err
}

// run starts children until there are no more orders.
func (s *starter) run() {
	defer close(s.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for order := range s.orders {
		c, err := spawn(s.command, s.bounds)
		order <- started{c, err}
	}
}

// stop ends the thread, if there is one, after the last order.
func (s *starter) stop() {
	s.once.Do(func() {})
	if s.orders != nil {
		close(s.orders)
		<-s.done
	}
}
