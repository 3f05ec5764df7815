package crash

import (
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

var (
	rounds = flag.Int("rounds", 20, "how often the appliance is killed")
	seed   = flag.Uint64("seed", 0, "repeats the moments of the kills of another run; 0: draw one")
)

const (
	// finishWithin bounds the wait for the sender's last acknowledgements.
	finishWithin = 30 * time.Second
	// settleWithin bounds the wait for the last deliveries.
	settleWithin = time.Minute
	// recordWithin bounds the wait for the last outcomes to be recorded.
	recordWithin = 15 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(senderEnvironment) == "" {
		os.Exit(run(m))
	}
	if err := send(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pb")
	if err == nil {
		err = os.Chmod(dir, 0o755) // some appliances run as another user
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.dir = dir
	return m.Run()
}

func TestNothingAcknowledgedIsLost(t *testing.T) {
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("repeat with -rounds %d -seed %d", *rounds, chosen)
	random := rand.New(rand.NewPCG(chosen, 0))

	receivers := []*receiver{
		{}, {slow: 5 * time.Millisecond}, {failing: 0.2},
		// A failure holds up its key, while all senders go on. It takes so long that
		// later ones of the key wait in memory by then.
		{terms: terms{ordered: true}, slow: 2 * time.Millisecond, failing: 0.02, failure: 60 * time.Millisecond},
		{terms: terms{transformed: true}, failing: 0.2},
		{terms: terms{filtered: true}, failing: 0.2},
	}
	var all []terms
	for _, r := range receivers {
		all = append(all, r.terms)
	}
	l := newLedger(all...)
	i := install(t, binary(t), t.TempDir())
	a := i.start(t)
	slowest := a.ready(t)
	for n, r := range receivers {
		r.ledger, r.number = l, n
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		add := []string{"subscribers", "add", server.URL, "--secret", subscriberSecret, "--events", "*"}
		if _, err := i.command(t.Context(), append(add, r.flags()...)...); err != nil {
			t.Fatal(err)
		}
	}
	sending := startSending(t, orderToSend{URL: "http://" + i.inbound + "/webhook/inbound", Seed: chosen, Pause: pause}, l)

	for round := range *rounds {
		// Most kills are under load, and some meet the appliance while it
		// recovers from the one before.
		moment := 20*time.Millisecond + time.Duration(random.Int64N(int64(380*time.Millisecond)))
		early := random.IntN(8) == 0
		switch {
		case round == 0:
		case early:
			moment = time.Until(a.started.Add(time.Duration(random.Int64N(int64(60 * time.Millisecond)))))
		default:
			slowest = max(slowest, a.ready(t))
		}
		select {
		case <-time.After(moment):
		case <-a.done:
			t.Fatalf("round %d: the appliance ended by itself: %v", round, a.err)
		case <-sending.done:
			t.Fatalf("round %d: the sender ended by itself: %v", round, sending.err)
		case <-l.faulty:
			t.Fatalf("round %d: %s", round, strings.Join(l.balance().faults, "\n"))
		}
		if !a.kill() {
			t.Fatalf("round %d: the appliance had ended by itself: %v", round, a.err)
		}
		a = i.start(t)
	}
	slowest = max(slowest, a.ready(t))
	resumed := time.Now()

	sending.finish(t, l)
	settled := time.Since(resumed)
	nonePending(t, i)
	if dead, err := i.command(t.Context(), "deliveries", "list", "--state", "dead"); err != nil || dead != "" {
		t.Errorf("dead deliveries: %v\n%s", err, dead)
	}
	a.stop(t)
	if left := running(t, i.binary); len(left) > 0 {
		t.Errorf("processes of the appliance outlive it: %d", left)
	}
	checkIntegrity(t, i.database)

	b := l.balance()
	t.Logf("rounds %d, acknowledged %d, delivered %d, repeats %d; slowest start %s, all delivered %s after the last one",
		*rounds, b.acknowledged, b.delivered, b.repeats, slowest.Round(time.Millisecond), settled.Round(time.Millisecond))
	report(t, "faults", b.faults)
	report(t, "lost", b.lost)
	report(t, "strangers", b.strangers)
	if most := *rounds * len(receivers) * open; b.repeats > most {
		t.Errorf("%d deliveries came again; open at %d kills were at most %d", b.repeats, *rounds, most)
	}
	if b.acknowledged < *rounds {
		t.Errorf("only %d events were acknowledged: there was no load that a kill could have hurt", b.acknowledged)
	}
}

// flags are those that a subscriber is added with, so that the receiver gets what
// its terms say.
func (t terms) flags() (flags []string) {
	if t.ordered {
		flags = append(flags, "--ordered", ".data.key")
	}
	if t.transformed {
		flags = append(flags, "--transform", "{made: now, of: .}")
	}
	if t.filtered {
		flags = append(flags, "--filter", passing)
	}
	return flags
}

// report fails the test if there are sentences, and shows the first of them.
func report(t *testing.T, what string, sentences []string) {
	t.Helper()
	if len(sentences) > 0 {
		t.Errorf("%s: %d\n%s", what, len(sentences), strings.Join(sentences[:min(len(sentences), 20)], "\n"))
	}
}

// nonePending waits until no delivery is pending: an outcome is recorded soon
// after its answer, not before.
func nonePending(t *testing.T, i *installation) {
	t.Helper()
	late := time.After(recordWithin)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		pending, err := i.command(t.Context(), "deliveries", "list", "--state", "pending")
		if err != nil {
			t.Fatal(err)
		}
		if pending == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-late:
			t.Errorf("still pending %s after the last arrival:\n%.2000s", recordWithin, pending)
			return
		}
	}
}

// checkIntegrity has SQLite read the whole file, of which it changes nothing.
func checkIntegrity(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %q, %v", verdict, err)
	}
	rows, err := db.QueryContext(t.Context(), "PRAGMA foreign_key_check")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if rows.Next() {
		t.Error("foreign_key_check finds rows without their parents")
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

func TestAFileHasOneAppliance(t *testing.T) {
	bin, dir := binary(t), t.TempDir()
	one, other := install(t, bin, dir), install(t, bin, dir)
	first := one.start(t)
	first.ready(t)

	second := other.start(t)
	select {
	case <-second.done:
	case <-time.After(readyWithin):
		t.Fatalf("a second appliance runs on the file of the first")
	}
	if exit, ok := second.err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("the second appliance ended with %v, want exit status 1", second.err)
	}
	if log := other.logEnd(); !strings.Contains(log, "in use") {
		t.Errorf("the second appliance does not say that the file is in use:\n%s", log)
	}
	select {
	case <-first.done:
		t.Fatalf("the first appliance ended: %v", first.err)
	default:
	}
	if _, err := one.command(t.Context(), "subscribers", "list"); err != nil {
		t.Errorf("the first appliance does not answer any more: %v", err)
	}

	first.kill()
	heir := other.start(t)
	heir.ready(t)
	heir.stop(t)
}
