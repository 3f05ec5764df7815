//go:build suites

package suites

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pintle/pintle/app/webhook"
)

var modules = flag.String("modules", "", "the folder in which npm has installed what testdata/package.json names")

// A payload is one that GitHub sends, as it stands in the examples: byte for
// byte, white space included.
type payload struct {
	event string
	body  []byte
}

// payloads reads the examples of @octokit/webhooks-examples.
func payloads(t *testing.T) []payload {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(*modules, "node_modules/@octokit/webhooks-examples/api.github.com/index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name     string
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(text, &events); err != nil {
		t.Fatal(err)
	}
	var all []payload
	for _, e := range events {
		for _, body := range e.Examples {
			all = append(all, payload{e.Name, body})
		}
	}
	return all
}

// octokit has GitHub's library answer each question: the body signed, or whether
// a signature holds.
func octokit[T any](t *testing.T, questions []map[string]string) []T {
	t.Helper()
	script, err := os.ReadFile("testdata/octokit.mjs")
	if err != nil {
		t.Fatal(err)
	}
	// A module finds what it imports from where it stands.
	file := filepath.Join(*modules, "octokit.mjs")
	if err := os.WriteFile(file, script, 0o600); err != nil {
		t.Fatal(err)
	}
	var input, stderr bytes.Buffer
	for _, q := range questions {
		if err := json.NewEncoder(&input).Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", file)
	cmd.Stdin, cmd.Stderr = &input, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	var answers []T
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var one T
		if err := d.Decode(&one); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, one)
	}
	if len(answers) != len(questions) {
		t.Fatalf("node has %d answers to %d questions", len(answers), len(questions))
	}
	return answers
}

// TestGitHubsPayloadsArriveByteForByte posts each payload as GitHub does, signed
// by GitHub's library, and has the same library verify what arrives.
func TestGitHubsPayloadsArriveByteForByte(t *testing.T) {
	all := payloads(t)
	if len(all) != 329 {
		t.Errorf("there are %d payloads", len(all))
	}
	p := serve(t, build(t), fmt.Sprintf("[[sources]]\nname = \"github\"\nscheme = \"github\"\nsecrets = [%q]\nevent_prefix = \"github\"\nmax_body = \"25MiB\"\n", senderSecret.Reveal()))
	r := subscribe(t, p.admin)

	var questions []map[string]string
	for _, one := range all {
		questions = append(questions, map[string]string{"secret": senderSecret.Reveal(), "body": string(one.body)})
	}
	sent := map[webhook.EventID]payload{}
	for n, signature := range octokit[string](t, questions) {
		m := message{line: to("github"), body: string(all[n].body), header: []string{
			"User-Agent: GitHub-Hookshot/044aadd", "X-GitHub-Event: " + all[n].event, fmt.Sprintf("X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-%012d", n),
			"X-GitHub-Hook-ID: 292430182", "X-Hub-Signature-256: " + signature,
		}}
		got, err := exchange(t.Context(), "", p.inbound, m.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got.status != http.StatusOK || got.Status != "received" {
			t.Errorf("%s: %d %s%s %s", all[n].event, got.status, got.Status, got.Error, got.Message)
		}
		sent[got.ID] = all[n]
	}
	r.await(t, len(sent))

	r.mu.Lock()
	defer r.mu.Unlock()
	questions = nil
	identical := 0
	for id, arrivals := range r.arrivals {
		arrived, one := arrivals[0], sent[id]
		_, data, found := bytes.Cut(arrived.Body, []byte(`,"data":`))
		var envelope struct {
			Event     string
			Timestamp int64
		}
		if err := json.Unmarshal(arrived.Body, &envelope); err != nil {
			t.Error(err)
		}
		switch {
		case !found || !bytes.Equal(bytes.TrimSuffix(data, []byte("}")), one.body):
			t.Errorf("%s arrived as %.300s", one.event, arrived.Body)
		case envelope.Event != "github."+one.event || arrived.Event != envelope.Event || envelope.Timestamp == 0:
			t.Errorf("%s arrived as %q, %q at %d", one.event, envelope.Event, arrived.Event, envelope.Timestamp)
		case len(arrivals) != 1 || !arrived.Verdict.OK():
			t.Errorf("%s arrived %d times, %s", one.event, len(arrivals), arrived.Verdict)
		default:
			identical++
		}
		questions = append(questions, map[string]string{
			"secret": subscriberSecret.Reveal(), "body": string(arrived.Body), "signature": arrived.Header.Get("X-Agent-Signature"),
		})
	}
	verified := 0
	for _, holds := range octokit[bool](t, questions) {
		if holds {
			verified++
		}
	}
	t.Logf("payloads: %d sent, %d arrived byte for byte, %d verified by GitHub's library", len(all), identical, verified)
	if identical != len(all) || verified != len(all) {
		t.Error("some did not")
	}
}
