package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stopTimeout bounds the clean stop of a process.
const stopTimeout = 20 * time.Second

// A process is one that this program has started, and that ends with it: at the
// latest when the context of its start does.
type process struct {
	name   string
	cmd    *exec.Cmd
	stderr *tail
	// stdin is open as long as a role is to live; nil for the appliance.
	stdin io.Closer
	// done is closed when the process has ended, and err then says how.
	done chan struct{}
	err  error
}

// startProcess starts the command, whose standard error it keeps the end of.
func startProcess(name string, cmd *exec.Cmd) (*process, error) {
	p, err := spawn(name, cmd)
	if err == nil {
		go p.wait()
	}
	return p, err
}

// spawn starts the command; the caller has to let wait run.
func spawn(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, stderr: &tail{}, done: make(chan struct{})}
	cmd.Stderr = p.stderr
	cmd.WaitDelay = time.Second
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// stop asks the process to end and waits until it has. A process that had ended
// before, that does not end in time or that ends with a fault is an error.
func (p *process) stop() error {
	select {
	case <-p.done:
		return p.ended()
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.kill()
		return fmt.Errorf("stop %s: still there after %s%s", p.name, stopTimeout, p.stderr)
	}
	if p.err != nil {
		return fmt.Errorf("stop %s: %w%s", p.name, p.err, p.stderr)
	}
	return nil
}

// kill ends the process, if it has not ended, and waits until it has.
func (p *process) kill() {
	// An error says that it has ended already.
	_ = p.cmd.Process.Kill()
	<-p.done
}

// ended describes a process that ended unasked.
func (p *process) ended() error {
	if p.err == nil {
		return fmt.Errorf("%s ended by itself%s", p.name, p.stderr)
	}
	return fmt.Errorf("%s ended: %w%s", p.name, p.err, p.stderr)
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte
}

// tailBytes is how much of a process's standard error an error shows.
const tailBytes = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, b...)
	if n := len(t.bytes) - tailBytes; n > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[n:]...)
	}
	return len(b), nil
}

// String is the tail as an error's last lines, empty for nothing.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := bytes.TrimSpace(t.bytes)
	if len(text) == 0 {
		return ""
	}
	return ":\n" + string(text)
}

// startRole starts this program in a role. The task goes to its standard input,
// which then stays open: its end is the end of the role, so that no role
// outlives this process however that comes to its end. What the role answers
// first is decoded into answer.
func startRole(ctx context.Context, role string, task, answer any) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	cmd := exec.CommandContext(ctx, self, "-role", role)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	p, err := spawn(role, cmd)
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	err = json.NewEncoder(stdin).Encode(task)
	if err == nil {
		err = json.NewDecoder(stdout).Decode(answer)
	}
	// Waiting closes the pipe, so it begins when the answer has been read; a
	// role says nothing more.
	go p.wait()
	if err != nil {
		stdin.Close()
		<-p.done
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, p.ended()
	}
	return p, nil
}

// play is the other side: it reads the task, carries it out, and ends when it is
// told to or when its standard input does.
func play[T any](ctx context.Context, stdin io.Reader, stdout io.Writer, role func(context.Context, T, func(any) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := json.NewDecoder(stdin)
	var task T
	if err := d.Decode(&task); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	return role(ctx, task, func(v any) error { return json.NewEncoder(stdout).Encode(v) })
}
