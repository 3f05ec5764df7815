package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// readyWithin is the time that the appliance has to be back after a kill.
	readyWithin = 5 * time.Second
	// stopWithin bounds an orderly stop.
	stopWithin = 20 * time.Second
	// commandWithin bounds a command.
	commandWithin = 30 * time.Second
	// concurrency is how many requests are in flight to one subscriber.
	concurrency = 10
	// open is how many attempts to one subscriber may have begun without being
	// recorded: those are what a kill has made again.
	open = 128
)

// lifePrefix stands before the number of a life in X-Agent-ID.
const lifePrefix = "life-"

const (
	senderSecret     = "crash-sender-secret"
	subscriberSecret = "whsec_Y3Jhc2gtc3Vic2NyaWJlci1zZWNyZXQtMzItYnl0ZXM="
)

// binary returns the binary under test.
func binary(t *testing.T) string {
	t.Helper()
	if file := os.Getenv("PINTLE_BIN"); file != "" {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		file, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	// The test's result is that of sources which it does not import. The go
	// command keeps a result for as long as the directories that the test has
	// read are unchanged, so it has to read them.
	err := filepath.WalkDir("../..", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && strings.Trim(d.Name(), ".") != "" {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	built.Do(func() { built.file, built.err = build(built.dir) })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.file
}

// built is the binary of all tests, in a directory that TestMain makes and removes.
var built struct {
	sync.Once
	dir, file string
	err       error
}

// build builds the binary into the directory.
func build(dir string, flags ...string) (string, error) {
	file := filepath.Join(dir, "pintle")
	cmd := exec.Command("go", append(append([]string{"build", "-o", file}, flags...), "github.com/pintle/pintle")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build pintle: %w\n%s", err, out)
	}
	return file, nil
}

// openDir is a directory that other users can reach, unlike that of a test.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// An installation is a configuration and its database, on which one appliance
// after the other is started.
type installation struct {
	binary   string
	config   string
	database string
	inbound  string
	log      *os.File
	// prepare, if not nil, changes how a process is started.
	prepare func(*exec.Cmd)
	// retention is that of the configuration.
	retention string
	// lives counts the appliances started so far.
	lives int
}

// install writes a configuration for the database in the directory. Listener
// and socket are its own, so that two installations of one database have only
// the file to contend for.
func install(t *testing.T, binary, dir string) *installation {
	t.Helper()
	// A socket's path has to fit into 108 bytes, and t.TempDir's may not.
	short, err := os.MkdirTemp("", "pc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	log, err := os.Create(filepath.Join(short, "log"))
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{
		binary: binary, config: filepath.Join(short, "config.toml"), database: filepath.Join(dir, "pintle.db"),
		inbound: freeAddress(t), log: log, retention: "720h",
	}
	t.Cleanup(func() {
		log.Close()
		if t.Failed() {
			t.Logf("the end of the appliance's log:\n%s", i.logEnd())
		}
	})
	i.configure(t, "")
	return i
}

// configure writes the configuration, with lines of TOML behind it.
func (i *installation) configure(t *testing.T, more string) {
	t.Helper()
	text := fmt.Sprintf(`[storage]
path = %q
retention = %q
[inbound]
listen = %q
secret = %q
[outbound]
allow_networks = ["127.0.0.0/8"]
concurrency = %d
schedule = ["100ms", "200ms", "500ms"]
retries = 90
[admin]
listen = ""
socket = %q
%s`, i.database, i.retention, i.inbound, senderSecret, concurrency, i.socket(), more)
	if err := os.WriteFile(i.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// socket is that of the admin API.
func (i *installation) socket() string { return filepath.Join(filepath.Dir(i.config), "s") }

func (i *installation) logEnd() string {
	text, err := os.ReadFile(i.log.Name())
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	return string(text[max(0, len(text)-most):])
}

// command returns what a command prints.
func (i *installation) command(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, i.binary, append(args, "--config", i.config, "--output", "json")...)
	cmd.Env = environment()
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("pintle %s: %w\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

// An appliance is a running process.
type appliance struct {
	*installation
	cmd *exec.Cmd
	// started is when the process was.
	started time.Time
	// done is closed when it has ended, and err then says how.
	done chan struct{}
	err  error
}

// start starts an appliance, which the end of the test kills if nothing else
// has. It sends the number of its life as X-Agent-ID, so that receivers can tell
// what came before a kill from what came after.
func (i *installation) start(t *testing.T) *appliance {
	t.Helper()
	i.lives++
	a := &appliance{installation: i, done: make(chan struct{}), started: time.Now()}
	a.cmd = exec.Command(i.binary, "serve", "--config", i.config)
	a.cmd.Env = append(environment(), fmt.Sprintf("PINTLE_OUTBOUND_AGENT_ID=%s%d", lifePrefix, i.lives))
	// A file, and no pipe: nothing but the process itself can then delay its
	// end.
	a.cmd.Stdout, a.cmd.Stderr = i.log, i.log
	dieWithParent(a.cmd)
	if i.prepare != nil {
		i.prepare(a.cmd)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		a.err = a.cmd.Wait()
		close(a.done)
	}()
	t.Cleanup(func() { a.kill() })
	return a
}

// ready waits until the appliance can store and deliver, and returns how long
// that took from its start. Not being ready in time fails the test.
func (a *appliance) ready(t *testing.T) time.Duration {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), a.started.Add(readyWithin))
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.inbound+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(req)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return time.Since(a.started)
			}
			err = errors.New(response.Status)
		}
		select {
		case <-a.done:
			t.Fatalf("the appliance ended while it started: %v", a.err)
		case <-ctx.Done():
			t.Fatalf("not ready %s after its start: %v", readyWithin, err)
		case <-ticker.C:
		}
	}
}

// kill ends the appliance as a crash would, and waits until it is gone. It
// reports false if it had ended before.
func (a *appliance) kill() bool {
	err := a.cmd.Process.Kill()
	<-a.done
	return err == nil
}

// stop ends the appliance in order.
func (a *appliance) stop(t *testing.T) {
	t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stop: %v (%v)", err, a.err)
	}
	select {
	case <-a.done:
	case <-time.After(stopWithin):
		t.Fatalf("still running %s after SIGTERM", stopWithin)
	}
	if a.err != nil {
		t.Fatalf("stop: %v", a.err)
	}
}

// environment is this process's without what would configure an appliance.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PINTLE_") })
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
