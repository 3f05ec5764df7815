package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// runCommand runs a command as a user types it and returns its error.
func runCommand(t *testing.T, args ...string) error {
	t.Helper()
	_, err := commandOutput(t, "", args...)
	return err
}

// commandOutput runs a command with this standard input and returns its standard
// output too.
func commandOutput(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot(Build{})
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// exitStatus is the one that Main ends with.
func exitStatus(err error) int {
	var failed *failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &failed):
		return exitFailed
	}
	return exitUsage
}

// postedRequest is a request that an endpoint got.
type postedRequest struct {
	path   string
	header http.Header
	body   string
}

// inboundStub answers as an appliance does, and keeps what it gets.
func inboundStub(t *testing.T, status int, answer string) (url string, got *[]postedRequest) {
	t.Helper()
	got = &[]postedRequest{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		*got = append(*got, postedRequest{req.URL.Path, req.Header, string(body)})
		w.WriteHeader(status)
		io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

const receivedAnswer = `{"status":"received","id":"evt_1","event":"order.created","received_at":1731603333}`

func TestSendPrintsTheAnswer(t *testing.T) {
	url, got := inboundStub(t, 200, receivedAnswer)
	out, err := commandOutput(t, "", "send", "order.created", `{"n":1}`, "--url", url, "--secret", "s", "--timestamp", "5", "--id", "A1", "--idempotency-key", "K1")
	if err != nil || out != "received evt_1 order.created\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if len(*got) != 1 {
		t.Fatalf("sent %d requests", len(*got))
	}
	req := (*got)[0]
	if req.body != `{"event":"order.created","timestamp":5,"id":"A1","data":{"n":1}}` || req.header.Get("Idempotency-Key") != "K1" {
		t.Errorf("sent %v", req)
	}
	if err := signature.VerifyAgent(req.header.Get("X-Agent-Signature"), []byte(req.body), "s"); err != nil {
		t.Error(err)
	}
}

func TestSendPrintsTheAnswerAsJSON(t *testing.T) {
	url, _ := inboundStub(t, 200, receivedAnswer+"\n")
	if out, err := commandOutput(t, "", "send", "order.created", "--url", url, "--secret", "s", "-o", "json"); err != nil || out != receivedAnswer+"\n" {
		t.Errorf("got %q, %v", out, err)
	}
	url, _ = inboundStub(t, 200, "taken")
	if out, err := commandOutput(t, "", "send", "order.created", "--url", url, "--secret", "s", "-o", "json"); err != nil || out != `{"code":200,"body":"taken"}`+"\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestSendToAnEndpointOfAnotherKindPrintsItsStatus(t *testing.T) {
	url, _ := inboundStub(t, 202, "taken")
	if out, err := commandOutput(t, "", "send", "order.created", "--url", url, "--secret", "s"); err != nil || out != "202 Accepted\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestSendFailsWhenRefused(t *testing.T) {
	url, _ := inboundStub(t, 401, `{"error":"invalid_signature","message":"the signature is wrong\u001b[31m","request_id":"rej_1"}`)
	out, err := commandOutput(t, "", "send", "order.created", "--url", url, "--secret", "s")
	if out != "" || exitStatus(err) != exitFailed {
		t.Fatalf("got %q, %v, exit status %d", out, err, exitStatus(err))
	}
	if want := `refused with 401 invalid_signature: the signature is wrong\x1b[31m (request rej_1)`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	out, err = commandOutput(t, "", "send", "order.created", "--url", url, "--secret", "s", "-o", "json")
	if !json.Valid([]byte(out)) || exitStatus(err) != exitFailed {
		t.Errorf("as JSON: %q, %v", out, err)
	}

	url, _ = inboundStub(t, 502, "<h1>bad gateway</h1>\n")
	if err := runCommand(t, "send", "order.created", "--url", url, "--secret", "s"); err == nil || err.Error() != "refused with 502: <h1>bad gateway</h1>" {
		t.Errorf("got %v", err)
	}
}

func TestSendFailsWithAHintWhenNobodyAnswers(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	err := runCommand(t, "send", "order.created", "--url", server.URL, "--secret", "s")
	var h *hinted
	if exitStatus(err) != exitFailed || !errors.As(err, &h) {
		t.Errorf("got %v, exit status %d", err, exitStatus(err))
	}
}

func TestSendToACertificateThatIsNotTrustedSaysSo(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	err := runCommand(t, "send", "a.b", "--url", server.URL, "--secret", "s")
	var h *hinted
	if !errors.As(err, &h) || !strings.Contains(h.hint, "SSL_CERT_FILE") || exitStatus(err) != exitFailed {
		t.Errorf("got %v, hint %+v", err, h)
	}
}

func TestSendSaysWhereARefusalOfTheConfiguredEndpointIsKept(t *testing.T) {
	url, _ := inboundStub(t, 401, `{"error":"invalid_signature","message":"no","request_id":"rej_1\u001b"}`)
	t.Chdir(t.TempDir())
	t.Setenv("PINTLE_INBOUND_LISTEN", strings.TrimPrefix(url, "http://"))
	var h *hinted
	if err := runCommand(t, "send", "a", "--secret", "s"); !errors.As(err, &h) || h.hint != `see pintle rejections show rej_1\x1b` {
		t.Errorf("got %v with the hint %+v", err, h)
	}
	if err := runCommand(t, "send", "a", "--secret", "s", "--url", url); exitStatus(err) != exitFailed || errors.As(err, &h) {
		t.Errorf("another endpoint: %v with the hint %+v", err, h)
	}
}

func TestSendReadsTheDataFromWhereItIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data.json")
	if err := os.WriteFile(file, []byte("\n[ 1 ]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, stdin, arg, want string }{
		{"argument", "", `"text"`, `"text"`},
		{"file", "", "@" + file, `[ 1 ]`},
		{"standard input", `{"a": 1}` + "\n", "-", `{"a": 1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, got := inboundStub(t, 200, receivedAnswer)
			if _, err := commandOutput(t, c.stdin, "send", "a", c.arg, "--url", url, "--secret", "s", "--timestamp", "1"); err != nil {
				t.Fatal(err)
			}
			if want := `{"event":"a","timestamp":1,"data":` + c.want + `}`; (*got)[0].body != want {
				t.Errorf("sent %s, want %s", (*got)[0].body, want)
			}
		})
	}
}

func TestSendRefusesWrongUsageBeforeItSends(t *testing.T) {
	url, got := inboundStub(t, 200, receivedAnswer)
	for _, args := range [][]string{
		{},
		{"a", "{}", "more"},
		{"a", "{invalid"},
		{"a", ""},
		{"a", "{} {}"},
		{"a", "\"\xff\""},
		{"a", "@" + filepath.Join(t.TempDir(), "missing.json")},
		{"a", "-"},
		{"a", "--signature", "sideways"},
		{"a", "--count", "0"},
		{"a", "--count", "2", "--rate", "-1"},
		{"a", "--rate", "5"},
		{"a", "--url", "ftp://example.com"},
		{"a", "--url", "localhost:8080"},
	} {
		t.Run(fmt.Sprintf("%q", args), func(t *testing.T) {
			err := runCommand(t, append([]string{"send", "--url", url, "--secret", "s"}, args...)...)
			if exitStatus(err) != exitUsage {
				t.Errorf("got %v, exit status %d", err, exitStatus(err))
			}
		})
	}
	if len(*got) != 0 {
		t.Errorf("sent %d requests", len(*got))
	}
}

func TestSendSeveralMakesEachAnEventOfItsOwn(t *testing.T) {
	url, got := inboundStub(t, 200, receivedAnswer)
	out, err := commandOutput(t, "", "send", "a", "--url", url, "--secret", "s", "--count", "3", "--rate", "1000")
	if err != nil || strings.Count(out, "\n") != 3 {
		t.Fatalf("got %q, %v", out, err)
	}
	keys := map[string]bool{}
	for _, req := range *got {
		keys[req.header.Get("Idempotency-Key")] = true
	}
	if len(keys) != 3 || keys[""] {
		t.Errorf("keys %v", keys)
	}
	// One that is named stays the same, to see it recognised.
	if err := runCommand(t, "send", "a", "--url", url, "--secret", "s", "--count", "2", "--id", "A1"); err != nil {
		t.Fatal(err)
	}
	for _, req := range (*got)[3:] {
		if req.header.Get("Idempotency-Key") != "" || !strings.Contains(req.body, `"id":"A1"`) {
			t.Errorf("sent %v", req)
		}
	}
}

func TestSendShiftsTheClock(t *testing.T) {
	url, got := inboundStub(t, 200, receivedAnswer)
	if err := runCommand(t, "send", "a", "--url", url, "--secret", "s", "--skew", "-10m"); err != nil {
		t.Fatal(err)
	}
	var sent struct{ Timestamp int64 }
	if err := json.Unmarshal([]byte((*got)[0].body), &sent); err != nil {
		t.Fatal(err)
	}
	if skew := time.Since(time.Unix(sent.Timestamp, 0)); skew < 9*time.Minute || skew > 11*time.Minute {
		t.Errorf("shifted by %s", skew)
	}
}

func TestSendSignsWithTheSecretOfTheConfigurationAtItsEndpoint(t *testing.T) {
	url, got := inboundStub(t, 200, receivedAnswer)
	t.Chdir(t.TempDir())
	t.Setenv("PINTLE_INBOUND_SECRET", "configured")
	t.Setenv("PINTLE_INBOUND_LISTEN", strings.TrimPrefix(url, "http://"))
	if err := runCommand(t, "send", "a"); err != nil {
		t.Fatal(err)
	}
	req := (*got)[0]
	if err := signature.VerifyAgent(req.header.Get("X-Agent-Signature"), []byte(req.body), "configured"); err != nil {
		t.Error(err)
	}
}

func TestSendSpeaksAsTheSendersOfTheSourceThatIsNamed(t *testing.T) {
	url, got := inboundStub(t, 200, receivedAnswer)
	t.Chdir(t.TempDir())
	t.Setenv("PINTLE_INBOUND_LISTEN", strings.TrimPrefix(url, "http://"))
	const file = `[[sources]]
name = "github"
scheme = "github"
secrets = ["newest", "older"]
[[sources]]
name = "partner"
scheme = "agent"
secrets = ["theirs"]
[[sources]]
name = "open"
scheme = "none"
validate_signature = false
`
	if err := os.WriteFile("config.toml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"push", `{"ref":"x"}`, "--source", "github"}, {"a", "--source", "partner"}, {"a", "--source", "open"}, {"push", "--source", "github", "--secret", "other"},
	} {
		if err := runCommand(t, append([]string{"send"}, args...)...); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
	}
	signedBy := func(i int, header string, secret webhook.Secret) {
		t.Helper()
		if err := signature.VerifyAgent((*got)[i].header.Get(header), []byte((*got)[i].body), secret); err != nil {
			t.Errorf("%v: %v", (*got)[i], err)
		}
	}
	// What GitHub signs is what an agent would.
	signedBy(0, "X-Hub-Signature-256", "newest")
	signedBy(1, "X-Agent-Signature", "theirs")
	signedBy(3, "X-Hub-Signature-256", "other")
	for i, path := range []string{"/webhook/github", "/webhook/partner", "/webhook/open", "/webhook/github"} {
		if (*got)[i].path != path {
			t.Errorf("request %d went to %s, want %s", i, (*got)[i].path, path)
		}
	}
	if (*got)[0].body != `{"ref":"x"}` || (*got)[0].header.Get("X-GitHub-Event") != "push" {
		t.Errorf("sent %v", (*got)[0])
	}
	for says, args := range map[string][]string{
		"--source gitbuh is not in the configuration": {"a", "--source", "gitbuh"},
		"--signature body is of the scheme agent":     {"push", "--source", "github", "--signature", "body"},
	} {
		if err := runCommand(t, append([]string{"send"}, args...)...); exitStatus(err) != exitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, exit status %d", args, err, exitStatus(err))
		}
	}
}

func TestSendWithoutASignatureNeedsNoSecret(t *testing.T) {
	url, got := inboundStub(t, 200, receivedAnswer)
	t.Chdir(t.TempDir())
	if err := runCommand(t, "send", "a", "--url", url, "--signature", "none"); err != nil {
		t.Fatal(err)
	}
	if (*got)[0].header.Values("X-Agent-Signature") != nil {
		t.Error("it is signed")
	}
}

func TestSendFailsWithAHintWhenNobodyKnowsTheSecret(t *testing.T) {
	t.Chdir(t.TempDir())
	err := runCommand(t, "send", "a")
	var h *hinted
	if exitStatus(err) != exitFailed || !errors.As(err, &h) {
		t.Errorf("got %v, exit status %d", err, exitStatus(err))
	}
}
