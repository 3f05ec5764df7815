//go:build suites

package suites

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle/pintle/app/admin/client"
)

// stopWithin bounds an orderly stop of the appliance.
const stopWithin = 20 * time.Second

// A process is the built binary, serving.
type process struct {
	cmd *exec.Cmd
	// dir holds its database.
	dir     string
	inbound string
	admin   *client.Client
	done    chan struct{}
	err     error
}

// build builds the binary.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "pintle")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/pintle/pintle")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build pintle: %v\n%s", err, out)
	}
	return binary
}

// serve runs the binary until the end of the test, with what the text adds to
// its configuration. The text begins within the section [inbound].
func serve(t *testing.T, binary, text string) *process {
	t.Helper()
	// A socket's path has to fit into 108 bytes, and t.TempDir's may not.
	dir, err := os.MkdirTemp("", "ps")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	p := &process{dir: dir, inbound: freeAddress(t), done: make(chan struct{})}
	file := filepath.Join(dir, "config.toml")
	text = fmt.Sprintf("[storage]\npath = %q\n[admin]\nlisten = \"\"\nsocket = %q\n[inbound]\nlisten = %q\n%s", filepath.Join(dir, "pintle.db"), socket, p.inbound, text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p.cmd = exec.Command(binary, "serve", "--dev", "--config", file)
	p.cmd.Stdout, p.cmd.Stderr = &log, &log
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PINTLE_") })
	// The kernel ends it with the test, if that runs out of time.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if text := log.String(); t.Failed() {
			t.Logf("the end of the appliance's log:\n%s", text[max(0, len(text)-8<<10):])
		}
	})
	if p.admin, err = client.New(client.Options{Socket: socket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.admin.Close)
	until(t, "the appliance to be ready", func() bool {
		select {
		case <-p.done:
			t.Fatalf("the appliance ended while it started: %v", p.err)
		default:
		}
		_, err := p.admin.Ready(t.Context())
		return err == nil
	})
	return p
}

// stop ends the appliance in order.
func (p *process) stop(t *testing.T) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("the appliance had ended by itself: %v", p.err)
		return
	}
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		t.Errorf("the appliance was still running %s after SIGTERM", stopWithin)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if p.err != nil {
		t.Errorf("the appliance ended with %v", p.err)
	}
}

// memory returns how many bytes of the process are resident, and how many were
// at most.
func (p *process) memory(t *testing.T) (now, peak int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		name, text, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if name == "VmRSS" {
			now = kilobytes << 10
		} else {
			peak = kilobytes << 10
		}
	}
	return now, peak
}

// size returns how many bytes the database has, with what SQLite keeps beside it.
func (p *process) size(t *testing.T) (bytes int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "pintle.db*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

// connections counts those that are open between the inbound listener and an
// address, on the listener's side.
func (p *process) connections(t *testing.T, from string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(p.inbound)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	ip := net.ParseIP(from).To4()
	local, remote := fmt.Sprintf(":%04X", number), fmt.Sprintf("%02X%02X%02X%02X:", ip[3], ip[2], ip[1], ip[0])
	const established, closeWait = "01", "08"
	open := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[1], local) && strings.HasPrefix(f[2], remote) && (f[3] == established || f[3] == closeWait) {
			open++
		}
	}
	return open
}

// run returns what a tool prints. It ends when the test does.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err
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
