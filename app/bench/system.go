package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The names of what is measured.
const (
	pintleName = "pintle"
	relayName  = "relay"
)

// usage is what a process has used since its start.
type usage struct {
	// known is false where the system does not tell.
	known bool
	cpu   time.Duration
	// memory is resident now, peak was at most; bytes.
	memory, peak int64
	// written is how many bytes were sent to the disk.
	written int64
}

// A system is the appliance or the relay, running.
type system struct {
	*process
	url string
	// dir holds the database; empty for the relay.
	dir string
}

// secrets of a run. They protect nothing: everything stays on loopback.
const (
	senderSecret     = "bench-sender-secret"
	subscriberSecret = "whsec_YmVuY2gtc3Vic2NyaWJlci1zZWNyZXQtMzItYnl0ZXM="
)

// readyTimeout bounds the start of the appliance.
const readyTimeout = 10 * time.Second

// startRelay starts the relay with these subscribers.
func startRelay(ctx context.Context, o options, subscribers []string) (*system, error) {
	var ready relayReady
	p, err := startRole(ctx, "relay", relayTask{
		Secret: senderSecret, SubscriberSecret: subscriberSecret,
		Subscribers: subscribers, Concurrency: o.concurrency,
	}, &ready)
	if err != nil {
		return nil, err
	}
	return &system{process: p, url: ready.URL}, nil
}

// startPintle starts the appliance on an empty database, with these further
// lines in its section [inbound], and adds the subscribers. The directory is
// the caller's to remove.
func startPintle(ctx context.Context, o options, dir, lines string, subscribers []subscription) (_ *system, err error) {
	inbound, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`[storage]
path = %q
[inbound]
listen = %q
secret = %q
%s[outbound]
allow_networks = ["127.0.0.0/8"]
concurrency = %d
[admin]
listen = ""
socket = %q
`, filepath.Join(dir, databaseName), inbound, senderSecret, lines, o.concurrency, filepath.Join(dir, "s"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("start pintle: %w", err)
	}
	cmd := exec.CommandContext(ctx, o.pintle, "serve", "--config", file)
	cmd.Env = environment()
	p, err := startProcess(pintleName, cmd)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.kill()
		}
	}()
	if err := p.ready(ctx, "http://"+inbound+"/readyz"); err != nil {
		return nil, err
	}
	if err := addSubscribers(ctx, filepath.Join(dir, "s"), subscribers); err != nil {
		return nil, err
	}
	return &system{process: p, url: "http://" + inbound + relayPath, dir: dir}, nil
}

// A subscription is a subscriber as the admin API takes it.
type subscription struct {
	URL       string   `json:"url"`
	Secret    string   `json:"secret"`
	Events    []string `json:"events"`
	Transform string   `json:"transform,omitempty"`
}

// subscriptions are to all events, for receivers at these URLs.
func subscriptions(urls []string, transform string) []subscription {
	list := make([]subscription, len(urls))
	for i, url := range urls {
		list[i] = subscription{URL: url, Secret: subscriberSecret, Events: []string{"*"}, Transform: transform}
	}
	return list
}

// addSubscribers adds the subscribers through the admin API on this socket.
func addSubscribers(ctx context.Context, socket string, subscribers []subscription) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	for _, s := range subscribers {
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/api/v1/subscribers", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		response, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("add subscriber: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		response.Body.Close()
		if err != nil || response.StatusCode/100 != 2 {
			return fmt.Errorf("add subscriber: %s: %.500s", response.Status, text)
		}
	}
	return nil
}

// environment is this process's without what would configure the appliance.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PINTLE_") })
}

// databaseName is the file name of the appliance's database.
const databaseName = "pintle.db"

// ready waits until the appliance says that it can store and deliver.
func (p *process) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s is not ready after %s", p.name, readyTimeout))
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := get(ctx, url, nil)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("%w: %w%s", context.Cause(ctx), err, p.stderr)
		case <-ticker.C:
		}
	}
}

// rest waits until the process has used no CPU time for a while, and returns
// what it has used by then.
func (p *process) rest(ctx context.Context) (usage, error) {
	const (
		quiet  = 100 * time.Millisecond
		bound  = 3 * time.Second
		period = 20 * time.Millisecond
	)
	last, err := readUsage(p.cmd.Process.Pid)
	if err != nil || !last.known {
		return last, err
	}
	begun, since := time.Now(), time.Now()
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for time.Since(since) < quiet && time.Since(begun) < bound {
		select {
		case <-p.done:
			return usage{}, p.ended()
		case <-ctx.Done():
			return usage{}, context.Cause(ctx)
		case <-ticker.C:
		}
		u, err := readUsage(p.cmd.Process.Pid)
		if err != nil {
			return usage{}, err
		}
		if u.cpu != last.cpu {
			since = time.Now()
		}
		last = u
	}
	return last, nil
}

// databaseBytes returns the size of the database and of what SQLite keeps beside
// it.
func databaseBytes(dir string) (int64, error) {
	files, err := filepath.Glob(filepath.Join(dir, databaseName+"*"))
	if err != nil {
		return 0, err
	}
	var bytes int64
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		bytes += info.Size()
	}
	return bytes, nil
}

// freeAddress finds a loopback address that nobody listens on at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// get fetches a URL, which has to answer 200, and hands the body to decode.
func get(ctx context.Context, url string, decode func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", err, cause)
		}
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	if decode == nil {
		return nil
	}
	return decode(response.Body)
}
