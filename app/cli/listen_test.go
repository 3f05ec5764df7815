package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

const listenSecret = webhook.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

// receiving is a listen command under way.
type receiving struct {
	url   string
	lines *bufio.Reader
	stop  context.CancelFunc
	ended chan error
}

// line returns the next line on its standard output.
func (r *receiving) line(t *testing.T) string {
	t.Helper()
	line, err := r.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// startListen runs the command, and returns once it listens. Its test reads
// every line that it has made the command print.
func startListen(t *testing.T, args ...string) *receiving {
	t.Helper()
	outReader, out := io.Pipe()
	errReader, errOut := io.Pipe()
	root := newRoot(Build{})
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(append([]string{"listen", "--addr", "127.0.0.1:0"}, args...))
	root.SetOut(out)
	root.SetErr(errOut)
	ctx, stop := context.WithCancel(context.Background())
	r := &receiving{lines: bufio.NewReader(outReader), stop: stop, ended: make(chan error, 1)}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.ended <- root.ExecuteContext(ctx)
		out.Close()
		errOut.Close()
	}()
	t.Cleanup(func() {
		stop()
		outReader.Close()
		errReader.Close()
		<-finished
	})
	first, err := bufio.NewReader(errReader).ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v, %v", first, err, <-r.ended)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if !ok {
		t.Fatalf("it says %q", first)
	}
	r.url = url
	return r
}

// postDelivery posts a delivery, in the background as the answer waits until its
// line has been read, and returns where the status will be; zero: no answer.
func postDelivery(t *testing.T, url, event, body string) <-chan int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	req.Header.Set("User-Agent", "test")
	req.Header.Set("X-Agent-Event", event)
	req.Header.Set("X-Agent-Delivery", "dlv_1")
	req.Header.Set("X-Agent-Attempt", "2")
	req.Header.Set("X-Agent-Signature", signature.SignAgent(listenSecret, []byte(body)))
	req.Header.Set("webhook-id", "evt_1")
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now, 10))
	req.Header.Set("webhook-signature", signature.SignStandard("evt_1", now, []byte(body), listenSecret))
	status := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	return status
}

func TestListenPrintsALineForEachArrival(t *testing.T) {
	r := startListen(t, "--secret", listenSecret.Reveal())
	status := postDelivery(t, r.url, "order.created", `{"event":"order.created"}`)
	line := r.line(t)
	want := regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}  200 +order\.created +dlv_1 +#2 +verified +\{"event":"order\.created"\}$`)
	if !want.MatchString(line) {
		t.Errorf("got %q", line)
	}
	if got := <-status; got != 200 {
		t.Errorf("answered %d", got)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestListenSaysWhyASignatureIsWrong(t *testing.T) {
	t.Setenv("PINTLE_LISTEN_SECRET", "another")
	r := startListen(t)
	status := postDelivery(t, r.url, "order.created", "{}")
	if line := r.line(t); !strings.Contains(line, "X-Agent-Signature: "+signature.ErrMismatch.Error()) {
		t.Errorf("got %q", line)
	}
	if got := <-status; got != 401 {
		t.Errorf("answered %d", got)
	}
}

func TestListenPrintsJSONWithTheWholeBodyAndTheHeaders(t *testing.T) {
	r := startListen(t, "--output", "json", "--count", "1")
	body := `{"text":"` + strings.Repeat("long ", 1000) + "\u009b31m\u202e\U000e0041" + `"}`
	status := postDelivery(t, r.url, "order.created", body)
	line := r.line(t)
	if shown := text.Clean(line); shown != line {
		t.Errorf("it prints %q raw", firstDifference(line, shown))
	}
	var got struct {
		Time      time.Time
		Status    int
		Event     string
		Delivery  string
		Attempt   int
		WebhookID string `json:"webhook_id"`
		Signature string
		Headers   map[string]string
		Body      string
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if got.Body != body || got.Status != 200 || got.Event != "order.created" || got.Delivery != "dlv_1" || got.Attempt != 2 ||
		got.WebhookID != "evt_1" || got.Signature != "not checked" || got.Headers["User-Agent"] != "test" || got.Time.IsZero() {
		t.Errorf("got %+v", got)
	}
	if got := <-status; got != 200 {
		t.Errorf("answered %d", got)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func firstDifference(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return a[i:min(len(a), i+8)]
}

func TestListenKeepsABodyThatIsNotUTF8(t *testing.T) {
	r := startListen(t, "--output", "json")
	postDelivery(t, r.url, "a", "\xff\xfe")
	var got struct {
		BodyBase64 []byte `json:"body_base64"`
	}
	if err := json.Unmarshal([]byte(r.line(t)), &got); err != nil || string(got.BodyBase64) != "\xff\xfe" {
		t.Errorf("got %q, %v", got.BodyBase64, err)
	}
}

func TestListenNeverPrintsWhatATerminalWouldObey(t *testing.T) {
	r := startListen(t)
	postDelivery(t, r.url, "order\u009b2J\u202e", "\x1b]52;c;YQ==\x07\r\n{}")
	line := r.line(t)
	if !strings.Contains(line, `order\u009b2J\u202e`) || !strings.Contains(line, `\x1b]52;c;YQ==\a\r\n{}`) {
		t.Errorf("got %q", line)
	}
}

func TestListenEndsAfterTheCountAndAnswersTheLastOne(t *testing.T) {
	r := startListen(t, "--count", "2", "--status", "503", "--fail", "1", "--quiet=false")
	first := postDelivery(t, r.url, "a", "{}")
	if line := r.line(t); !strings.Contains(line, "  503  ") {
		t.Errorf("got %q", line)
	}
	if got := <-first; got != 503 {
		t.Errorf("answered %d", got)
	}
	last := postDelivery(t, r.url, "a", "{}")
	if line := r.line(t); !strings.Contains(line, "  200  ") {
		t.Errorf("got %q", line)
	}
	if got := <-last; got != 200 {
		t.Errorf("answered %d", got)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if rest, err := io.ReadAll(r.lines); err != nil || len(rest) > 0 {
		t.Errorf("it also prints %q, %v", rest, err)
	}
}

func TestListenEndsWhatHangsWithoutAnAnswer(t *testing.T) {
	r := startListen(t, "--hang")
	status := postDelivery(t, r.url, "a", "{}")
	if line := r.line(t); !strings.Contains(line, "  hang  ") {
		t.Errorf("got %q", line)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if got := <-status; got != 0 {
		t.Errorf("answered %d", got)
	}
}

func TestListenAnswersWithGarbage(t *testing.T) {
	r := startListen(t, "--garbage")
	status := postDelivery(t, r.url, "a", "{}")
	if line := r.line(t); !strings.Contains(line, "  junk   ") {
		t.Errorf("got %q", line)
	}
	if got := <-status; got != 0 {
		t.Errorf("answered %d", got)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestListenEndsCleanlyAtSIGTERM(t *testing.T) {
	r := startListen(t)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestListenRefusesWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--addr", "9000"},
		{"--status", "0"},
		{"--status", "99"},
		{"--fail-rate", "2"},
		{"--fail", "-1"},
		{"--reset", "--hang"},
		{"--retry-after", "5s"},
		{"--location", "/x"},
		{"--garbage", "--status", "500"},
		{"--secret", ""},
		{"--count", "-1"},
		{"--output", "xml"},
		{"argument"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			err := runCommand(t, append([]string{"listen"}, args...)...)
			if status := exitStatus(err); status != exitUsage {
				t.Errorf("got %v, exit status %d", err, status)
			}
		})
	}
}

func TestListenFailsWhenTheAddressIsTaken(t *testing.T) {
	r := startListen(t)
	err := runCommand(t, "listen", "--addr", strings.TrimPrefix(r.url, "http://"))
	if status := exitStatus(err); status != exitFailed || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, exit status %d", err, status)
	}
}

func TestReachableReplacesTheUnspecifiedAddress(t *testing.T) {
	for address, want := range map[string]string{
		":8080":          "127.0.0.1:8080",
		"0.0.0.0:8080":   "127.0.0.1:8080",
		"[::]:8080":      "127.0.0.1:8080",
		"127.0.0.2:8080": "127.0.0.2:8080",
		"[::1]:8080":     "[::1]:8080",
		"localhost:8080": "localhost:8080",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}
