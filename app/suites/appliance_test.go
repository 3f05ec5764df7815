package suites

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pintle/pintle/app"
	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

const (
	inboundPath      = "/webhook/inbound"
	senderSecret     = webhook.Secret("suites-sender-secret")
	subscriberSecret = webhook.Secret("whsec_c3VpdGVzLXN1YnNjcmliZXItc2VjcmV0LTMyLWJ5dGU=")
	// answerWithin bounds the wait for an answer.
	answerWithin = 30 * time.Second
	// settleWithin bounds the wait for what follows an answer: deliveries, and
	// rejections, which are written down afterwards.
	settleWithin = 20 * time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An appliance runs in this process, on listeners and a file of its own.
type appliance struct {
	*app.App
	dir string
	// store is the engine that the appliance writes to.
	store webhook.Store
	admin *client.Client
	// inbound is the address of the inbound listener.
	inbound string
}

// configure reads a configuration. The paths and the addresses are those of the
// directory, whatever the text says.
func configure(t *testing.T, dir, text string) *config.Config {
	t.Helper()
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: file, Set: []string{
		"storage.path=" + filepath.Join(dir, "pintle.db"), "inbound.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs an appliance until the end of the test. A store that is to fail is
// put around the engine by wrap, which may be nil.
func start(t *testing.T, text string, wrap func(webhook.Store) webhook.Store) *appliance {
	t.Helper()
	// A socket's path has to fit into 108 bytes, and t.TempDir's may not.
	dir, err := os.MkdirTemp("", "ps")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := configure(t, dir, text)
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	a := &appliance{dir: dir}
	a.App, err = app.Start(t.Context(), app.Options{
		Config: c, Version: "test", Logger: slog.New(slog.DiscardHandler), Dev: true,
		Open: func(ctx context.Context, onCommit func(int, time.Duration), expired func() time.Time) (webhook.Store, error) {
			store, err := storage.Open(ctx, storage.Options{
				Path: c.Storage.Path, Schema: string(schema), Synchronous: "normal",
				MaxSize: c.Storage.MaxSize, OnCommit: onCommit, Expired: expired,
			})
			a.store = store
			if err == nil && wrap != nil {
				store = wrap(store)
			}
			return store, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	_, a.inbound, _ = strings.Cut(a.InboundURL(""), "://")
	if a.admin, err = client.New(client.Options{Socket: c.Socket()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.admin.Close)
	return a
}

// events returns what is stored, the newest first.
func (a *appliance) events(t *testing.T) []webhook.EventSummary {
	t.Helper()
	var all []webhook.EventSummary
	page := webhook.Page{Limit: 500}
	for {
		list, err := a.store.Events(t.Context(), webhook.EventFilter{}, page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list.Items...)
		if list.Next == "" {
			return all
		}
		page.Before = list.Next
	}
}

// A receiver is a subscriber of everything. It verifies what arrives, and keeps
// it by the event's id.
type receiver struct {
	mu       sync.Mutex
	arrivals map[webhook.EventID][]sandbox.Arrival
}

// subscribe starts a receiver and makes it a subscriber.
func subscribe(t *testing.T, admin *client.Client) *receiver {
	t.Helper()
	r := &receiver{arrivals: map[webhook.EventID][]sandbox.Arrival{}}
	server := httptest.NewServer(sandbox.NewReceiver(sandbox.ReceiverOptions{
		Secrets: []webhook.Secret{subscriberSecret},
		OnArrival: func(a sandbox.Arrival) {
			r.mu.Lock()
			defer r.mu.Unlock()
			id := webhook.EventID(a.WebhookID)
			r.arrivals[id] = append(r.arrivals[id], a)
		},
	}))
	t.Cleanup(server.Close)
	secret := subscriberSecret.Reveal()
	_, err := admin.AddSubscriber(t.Context(), api.SubscriberChange{
		URL: &server.URL, Secret: &secret, Events: &[]webhook.Pattern{"*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// await waits until so many events have arrived.
func (r *receiver) await(t *testing.T, events int) {
	t.Helper()
	until(t, fmt.Sprintf("the arrival of %d events", events), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.arrivals) >= events
	})
}

// until asks again and again for what another goroutine or process does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(settleWithin)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("gave up waiting for %s after %s", what, settleWithin)
		}
	}
}

// A message is a request down to its bytes, so that it can be one which no
// client would send.
type message struct {
	// line is the request line; empty: POST to the inbound endpoint.
	line string
	// header are lines that go beside Host, Content-Type and Content-Length;
	// bare leaves these away.
	header []string
	bare   bool
	body   string
}

func (m message) bytes() []byte {
	lines := []string{m.line}
	if m.line == "" {
		lines[0] = "POST " + inboundPath + " HTTP/1.1"
	}
	if !m.bare {
		lines = append(lines, "Host: 127.0.0.1", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(m.body)))
	}
	lines = append(lines, m.header...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + m.body)
}

// to makes the request line of a POST to a source.
func to(source string) string { return "POST /webhook/" + source + " HTTP/1.1" }

// signed is the header line that signs the body for the inbound endpoint.
func signed(body string) string {
	return "X-Agent-Signature: " + signature.SignAgent(senderSecret, []byte(body))
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	// continued says that a 100 came before it.
	continued bool
	// closes says that the connection ends with it.
	closes bool
	// The members of an answer 200, and those of a refusal.
	Status    string
	ID        webhook.EventID
	Error     string
	Message   string
	RequestID webhook.RejectionID `json:"request_id"`
}

// dial connects to the listener from an address of this machine's loopback
// network; empty: any.
func dial(ctx context.Context, from, inbound string) (net.Conn, error) {
	d := net.Dialer{Timeout: answerWithin}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.DialContext(ctx, "tcp", inbound)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(answerWithin))
}

// exchange sends bytes over a connection of their own, and reads the answer
// while it does, since a refusal may come before their end.
func exchange(ctx context.Context, from, inbound string, request []byte) (answer, error) {
	c, err := dial(ctx, from, inbound)
	if err != nil {
		return answer{}, err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		// A connection that is closed early tells so by its answer.
		_, _ = c.Write(request)
	}()
	defer func() {
		c.Close()
		<-written
	}()
	method, _, _ := strings.Cut(string(request[:min(len(request), 16)]), " ")
	return readAnswer(bufio.NewReader(c), method)
}

func readAnswer(r *bufio.Reader, method string) (a answer, err error) {
	for {
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return a, fmt.Errorf("read answer: %w", err)
		}
		if response.StatusCode == http.StatusContinue {
			a.continued = true
			continue
		}
		a.status, a.header, a.closes = response.StatusCode, response.Header, response.Close
		if a.body, err = io.ReadAll(response.Body); err != nil {
			return a, fmt.Errorf("read answer: %w", err)
		}
		break
	}
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") && len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &a); err != nil {
			return a, fmt.Errorf("answer %q: %w", a.body, err)
		}
	}
	return a, nil
}

// post sends a message to the appliance, from any address.
func (a *appliance) post(t *testing.T, m message) answer {
	t.Helper()
	got, err := exchange(t.Context(), "", a.inbound, m.bytes())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// decodeStrictly decodes one JSON value with nothing behind it.
func decodeStrictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%q: something comes after it", text)
	}
	return nil
}
