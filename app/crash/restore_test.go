package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
)

const (
	// enough is how many events are acknowledged before the backup is begun, and
	// large how long each is: the copy then takes many steps.
	enough = 300
	large  = 20 << 10
)

// An acknowledged event is one that the appliance has promised to keep.
type acknowledged struct {
	id   string
	body []byte
}

// A load sends events until it is stopped, whatever becomes of the appliance.
type load struct {
	end context.CancelFunc
	wg  sync.WaitGroup

	mu   sync.Mutex
	acks []acknowledged
	more chan struct{} // closed when enough are acknowledged
}

func startLoad(t *testing.T, url string) *load {
	ctx, end := context.WithCancel(t.Context())
	l := &load{end: end, more: make(chan struct{})}
	client := &http.Client{Timeout: answerWithin, Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	for n := range senders {
		s := &sender{url: url, client: client}
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				body := fmt.Appendf(nil, `{"event":"drill","timestamp":%d,"data":{"id":"%d-%d","pad":%q}}`, time.Now().Unix(), n, i, strings.Repeat("x", large))
				status, text, err := s.try(body)
				var a answer
				if err != nil || status != http.StatusOK || json.Unmarshal(text, &a) != nil {
					continue // nothing was promised
				}
				l.mu.Lock()
				if l.acks = append(l.acks, acknowledged{a.ID, body}); len(l.acks) == enough {
					close(l.more)
				}
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.end()
	l.wg.Wait()
}

// soFar are the events that have been acknowledged.
func (l *load) soFar() []acknowledged {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks[:len(l.acks):len(l.acks)]
}

// A gate is a receiver that takes nothing until it is opened, and then tells of
// each event that arrives.
type gate struct {
	open    chan struct{}
	arrived chan string
}

func (g *gate) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body) // what cannot be read is sent again
	select {
	case <-g.open:
		select {
		case g.arrived <- req.Header.Get("webhook-id"):
		case <-req.Context().Done():
		}
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// TestALostDatabaseIsRestored is the drill: the disk with the database is lost under
// load, and a backup of before takes its place.
func TestALostDatabaseIsRestored(t *testing.T) {
	i := install(t, binary(t), t.TempDir())
	a := i.start(t)
	a.ready(t)
	g := &gate{open: make(chan struct{}), arrived: make(chan string)}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	command := func(args ...string) string {
		t.Helper()
		out, err := i.command(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	command("subscribers", "add", server.URL, "--secret", subscriberSecret, "--events", "*")
	url := "http://" + i.inbound + "/webhook/inbound"
	l := startLoad(t, url)
	select {
	case <-l.more:
	case <-time.After(finishWithin):
		t.Fatalf("%d events were acknowledged after %s", len(l.soFar()), finishWithin)
	}

	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	// On another disk, as it were.
	safe := t.TempDir()
	file, identity := filepath.Join(safe, "b.age"), filepath.Join(safe, "key")
	if err := os.WriteFile(identity, []byte(key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := l.soFar()
	out := command("backup", file, "--encrypt-to", key.Recipient().String())
	after := l.soFar()
	if len(after) <= len(before) {
		t.Error("nothing was accepted while the backup was made: there was no load")
	}
	a.kill()
	l.stop()
	for _, part := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(i.database + part); err != nil {
			t.Fatal(err)
		}
	}

	command("restore", file, "--identity", identity)
	a = i.start(t)
	a.ready(t)
	s := &sender{url: url, client: http.DefaultClient}
	missing := map[string]bool{}
	for _, e := range before {
		missing[e.id] = true
		status, text, err := s.try(e.body)
		var got answer
		if err != nil || status != http.StatusOK || json.Unmarshal(text, &got) != nil || got.Status != "duplicate" || got.ID != e.id {
			t.Fatalf("%s, acknowledged before the backup, is answered %d %s, %v", e.id, status, text, err)
		}
	}
	close(g.open)
	for late := time.After(settleWithin); len(missing) > 0; {
		select {
		case id := <-g.arrived:
			delete(missing, id)
		case <-late:
			t.Fatalf("%d of %d events that were acknowledged before the backup have not been delivered", len(missing), len(before))
		}
	}
	// Those that still arrive are not waited for, but must not wait either.
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case <-g.arrived:
			case <-ended:
				return
			}
		}
	}()
	t.Logf("acknowledged before the backup %d, while it was made %d; %s", len(before), len(after)-len(before), strings.TrimSpace(out))

	// Nothing takes the place of a database in use, and one that is replaced can
	// be had back, with what only its log has.
	if _, err := i.command(t.Context(), "restore", file, "--identity", identity, "--yes"); err == nil {
		t.Error("a backup was restored under a running appliance")
	}
	a.kill()
	command("restore", file, "--identity", identity, "--yes")
	aside, err := filepath.Glob(i.database + ".replaced-*Z")
	if err != nil || len(aside) != 1 {
		t.Fatalf("moved aside are %q, %v", aside, err)
	}
	if out := command("check", aside[0]); !strings.Contains(out, `"events":`) {
		t.Errorf("check says %s", out)
	}
	a = i.start(t)
	a.ready(t)
	a.stop(t)
	checkIntegrity(t, i.database)
}
