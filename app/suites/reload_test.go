package suites

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// turning is the configuration of a generation. Each secret is valid in two of
// them, the one before it is used and the one in which it is; so is a source,
// beside one that stays. Limits change too, where they are not reached.
func turning(generation int) string {
	secrets := fmt.Sprintf("[%q, %q]", secretOf(generation), secretOf(generation+1))
	return fmt.Sprintf(`[inbound]
secret = %[1]q
max_clock_skew = "%[2]ds"
rate_limit = %[3]d
allow_ips = ["127.0.0.0/8", "10.0.0.%[4]d"]
[[sources]]
name = "stays"
scheme = "agent"
secrets = %[5]s
[[sources]]
name = %[6]q
scheme = "agent"
secrets = %[5]s
[[sources]]
name = %[7]q
scheme = "agent"
secrets = %[5]s
`, senderSecret.Reveal(), 300+generation, generation%2*1_000_000, generation, secrets, sourceOf(generation), sourceOf(generation+1))
}

func secretOf(generation int) string { return "turning-secret-" + strconv.Itoa(generation) }
func sourceOf(generation int) string { return "turn-" + strconv.Itoa(generation) }

// A turner sends while the configuration changes.
type turner struct {
	number int
	// done is the generation that was in force before its last whole round.
	done atomic.Int64
	// sent are the events that were received.
	sent []webhook.EventID
	// old is an event of an earlier round, and id what became of it.
	old string
	id  webhook.EventID
}

// TestReloadUnderLoadLosesNothing reloads fifty times under requests, each
// signed with the secret that is valid before and after the next reload.
func TestReloadUnderLoadLosesNothing(t *testing.T) {
	const reloads, senders = 50, 4
	a := start(t, turning(0), nil)
	var generation atomic.Int64
	stop := make(chan struct{})
	turners := make([]*turner, senders)
	var all sync.WaitGroup
	finish := sync.OnceFunc(func() {
		close(stop)
		all.Wait()
	})
	defer finish()
	for i := range turners {
		turners[i] = &turner{number: i}
		turners[i].done.Store(-1)
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					turners[i].round(t, a, int(generation.Load()), n)
				}
			}
		})
	}
	for g := range reloads {
		// A request spans one reload at most, so that what it is signed with
		// is valid however long it takes.
		until(t, "a round of every sender", func() bool {
			for _, s := range turners {
				if s.done.Load() < int64(g) && !t.Failed() {
					return false
				}
			}
			return true
		})
		restart, err := a.Reload(t.Context(), configure(t, a.dir, turning(g+1)))
		if err != nil || len(restart) != 0 {
			t.Fatalf("reload %d: %v; for a restart: %v", g, err, restart)
		}
		generation.Store(int64(g + 1))
	}
	finish()

	stored := map[webhook.EventID]bool{}
	for _, e := range a.events(t) {
		stored[e.ID] = true
	}
	received := 0
	for _, s := range turners {
		received += len(s.sent)
		for _, id := range s.sent {
			if !stored[id] {
				t.Errorf("%s was acknowledged and is not stored", id)
			}
		}
	}
	if received != len(stored) {
		t.Errorf("%d events were acknowledged and %d are stored", received, len(stored))
	}
	if received < reloads*senders {
		t.Errorf("only %d events were sent: that was no load", received)
	}
	// The oldest secret and source are gone.
	body := event(0)
	sign := func(secret string) []string {
		return []string{"X-Agent-Signature: " + signature.SignAgent(webhook.Secret(secret), []byte(body))}
	}
	if got := a.post(t, message{line: to("stays"), body: body, header: sign(secretOf(0))}); got.Error != "invalid_signature" {
		t.Errorf("the first secret: %d %s%s", got.status, got.Status, got.Error)
	}
	if got := a.post(t, message{line: to(sourceOf(0)), body: body, header: sign(secretOf(reloads))}); got.Error != "unknown_source" {
		t.Errorf("the first source: %d %s%s", got.status, got.Status, got.Error)
	}
}

// round sends an event to the source that stays, one to a source that comes
// with the next reload if it has not come yet, and repeats one of before.
func (s *turner) round(t *testing.T, a *appliance, generation, n int) {
	secret := webhook.Secret(secretOf(generation + 1))
	post := func(source, body, want string) webhook.EventID {
		m := message{line: to(source), body: body, header: []string{"X-Agent-Signature: " + signature.SignAgent(secret, []byte(body))}}
		got, err := exchange(t.Context(), "", a.inbound, m.bytes())
		if err != nil || got.status != http.StatusOK || got.Status != want {
			t.Errorf("generation %d, %s: %d %s %s, want %s: %v", generation, source, got.status, got.Status, got.Message, want, err)
		}
		return got.ID
	}
	unique := func(what string) string {
		return strings.Replace(event(0), `"n":1`, fmt.Sprintf(`"n":"%s-%d-%d"`, what, s.number, n), 1)
	}
	body := unique("stays")
	id := post("stays", body, "received")
	s.sent = append(s.sent, id, post(sourceOf(generation+1), unique("turns"), "received"))
	if s.old != "" {
		if again := post("stays", s.old, "duplicate"); again != s.id {
			t.Errorf("%s came again as %s", s.id, again)
		}
	}
	// It is kept for as long as several reloads take.
	if n%50 == 0 {
		s.old, s.id = body, id
	}
	s.done.Store(int64(generation))
}
