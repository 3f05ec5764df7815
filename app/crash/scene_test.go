package crash

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
)

// arriveWithin bounds the wait for what has to happen by itself once a fault is
// over.
const arriveWithin = 20 * time.Second

// A scene is an installation with one subscriber, to which a fault is to happen.
type scene struct {
	*installation
	inbox *inbox
	// promised are the ids of what was acknowledged, by the key of the sender.
	promised map[string]string
	// keys are those of promised, in their order.
	keys []string
	// ahead is how much the senders' clock, which is the appliance's, is ahead.
	ahead time.Duration
}

func newScene(t *testing.T, dir string) *scene {
	t.Helper()
	s := &scene{installation: install(t, binary(t), dir), inbox: &inbox{counts: map[string]int{}}, promised: map[string]string{}}
	s.inbox.open()
	server := httptest.NewServer(s.inbox)
	s.inbox.url = server.URL
	t.Cleanup(func() {
		s.inbox.open()
		server.Close()
	})
	return s
}

// begin starts the first appliance, and adds the subscriber.
func (s *scene) begin(t *testing.T) *appliance {
	t.Helper()
	a := s.start(t)
	a.ready(t)
	if _, err := s.command(t.Context(), "subscribers", "add", s.inbox.url, "--secret", subscriberSecret, "--events", "*"); err != nil {
		t.Fatal(err)
	}
	return a
}

// An inbox is a subscriber that counts what arrives, by the event's id. While it is
// closed, its requests wait; and what it is told to fail gets 503.
type inbox struct {
	url string

	mu      sync.Mutex
	counts  map[string]int
	at      []time.Time
	order   []string
	failing bool
	gate    chan struct{} // closed: the inbox is open
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || verify(r.Header, body) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	in.mu.Lock()
	in.at = append(in.at, time.Now())
	gate, failing := in.gate, in.failing
	in.mu.Unlock()
	select {
	case <-gate:
	case <-r.Context().Done():
		return
	}
	if failing {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	id := r.Header.Get("webhook-id")
	if in.counts[id]++; in.counts[id] == 1 {
		in.order = append(in.order, id)
	}
}

func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.gate = make(chan struct{})
}

func (in *inbox) open() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.gate == nil {
		in.gate = make(chan struct{})
	}
	select {
	case <-in.gate:
	default:
		close(in.gate)
	}
}

func (in *inbox) fail(failing bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.failing = failing
}

// requests is how many have come, whatever they were answered.
func (in *inbox) requests() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.at)
}

func (in *inbox) count(id string) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.counts[id]
}

// A reply is what the appliance answered to an event; without a status it did not.
type reply struct {
	status int
	header http.Header
	// Status and ID are of one that was accepted, Error and Message of one that was
	// not.
	Status, ID, Error, Message string
}

// post posts an event with so many bytes of data under the sender's key, and notes
// what is promised for it.
func (s *scene) post(t *testing.T, key string, size int) reply {
	t.Helper()
	return s.postAt(t, key, size, time.Now().Add(s.ahead))
}

func (s *scene) postAt(t *testing.T, key string, size int, at time.Time) reply {
	t.Helper()
	body := fmt.Appendf(nil, `{"event":"fault.sent","id":%q,"timestamp":%d,"data":{"pad":%q}}`, key, at.Unix(), strings.Repeat("x", size))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.inbound+"/webhook/inbound", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Agent-Signature", signature.SignAgent(senderSecret, body))
	client := &http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(req)
	if err != nil {
		return reply{}
	}
	defer response.Body.Close()
	r := reply{status: response.StatusCode, header: response.Header}
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return reply{}
	}
	if r.status == http.StatusOK {
		if first, ok := s.promised[key]; ok && (first != r.ID || r.Status != "duplicate") {
			t.Errorf("%s was acknowledged as %s, and again as %s with the status %s", key, first, r.ID, r.Status)
		} else if !ok {
			s.promised[key] = r.ID
			s.keys = append(s.keys, key)
		}
	}
	return r
}

// accept posts events, all of which are to be accepted.
func (s *scene) accept(t *testing.T, prefix string, events, size int) {
	t.Helper()
	for n := range events {
		if r := s.post(t, fmt.Sprintf("%s-%d", prefix, n), size); r.status != http.StatusOK {
			t.Fatalf("%s-%d: answer %d %s: %s", prefix, n, r.status, r.Error, r.Message)
		}
	}
}

// remembered posts again what was acknowledged under keys that begin like this: all
// of it is known as what it was.
func (s *scene) remembered(t *testing.T, prefix string, size int) {
	t.Helper()
	for _, key := range slices.Clone(s.keys) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if r := s.post(t, key, size); r.Status != "duplicate" {
			t.Errorf("%s, acknowledged before, got the answer %d %s%s", key, r.status, r.Status, r.Error)
		}
	}
}

// answers waits until the appliance answers or has ended.
func (s *scene) answers(t *testing.T, a *appliance) {
	t.Helper()
	until(t, readyWithin, "the start to come to something", func() bool {
		select {
		case <-a.done:
			return true
		default:
			status, _ := s.readiness(t)
			return status != 0
		}
	})
}

// arrived waits until all that was promised has.
func (s *scene) arrived(t *testing.T) {
	t.Helper()
	until(t, arriveWithin, "all that was acknowledged to arrive", func() bool { return s.missing() == 0 })
}

func (s *scene) missing() (n int) {
	for _, id := range s.promised {
		if s.inbox.count(id) == 0 {
			n++
		}
	}
	return n
}

// repeats is how often something arrived that had arrived before.
func (s *scene) repeats() (n int) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	for _, count := range s.inbox.counts {
		n += count - 1
	}
	return n
}

// readiness is what /readyz says.
func (s *scene) readiness(t *testing.T) (status int, text string) {
	t.Helper()
	client := &http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + s.inbound + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

// notReady waits until /readyz says 503, since it may remember for a moment that all
// was well, and looks for the words in its reasons.
func (s *scene) notReady(t *testing.T, words string) {
	t.Helper()
	var text string
	until(t, arriveWithin, "the appliance not to be ready", func() bool {
		status, said := s.readiness(t)
		text = said
		return status == http.StatusServiceUnavailable
	})
	t.Logf("not ready: %s", strings.TrimSpace(text))
	if !strings.Contains(text, words) {
		t.Errorf("it does not say %q", words)
	}
}

// refused starts an appliance that is to end by itself with exit status 1, and an
// error that has all of these words.
func (s *scene) refused(t *testing.T, words ...string) {
	t.Helper()
	before, err := os.ReadFile(s.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	a := s.start(t)
	select {
	case <-a.done:
	case <-time.After(readyWithin):
		t.Fatal("the appliance runs")
	}
	if exit := (*exec.ExitError)(nil); !errors.As(a.err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the appliance ended with %v, want exit status 1", a.err)
	}
	all, err := os.ReadFile(s.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	said := string(all[len(before):])
	t.Logf("it said: %s", strings.TrimSpace(said))
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("it does not say %q", word)
		}
	}
}

// until asks again and again for what another process does.
func until(t *testing.T, within time.Duration, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	late := time.After(within)
	for !done() {
		select {
		case <-ticker.C:
		case <-late:
			t.Fatalf("gave up waiting for %s after %s", what, within)
		}
	}
}

// digests are those of all files in the directory, but for the lock.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".lock") {
			return err
		}
		content, err := os.ReadFile(path)
		sums[filepath.Base(path)] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// copyDatabase copies what the file in the one directory consists of to another.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		content, err := os.ReadFile(filepath.Join(from, "pintle.db"+suffix))
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(filepath.Join(to, "pintle.db"+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, "pintle.db"+suffix), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
