package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// senderEnvironment makes the test binary be the sender.
const senderEnvironment = "PINTLE_CRASH_SENDER"

const (
	senders = 16
	// pause is that of an [orderToSend] before a kill: there is to be load at that
	// moment, and not more of it than is needed.
	pause = 15 * time.Millisecond
	// retryPause is how long it waits after an error.
	retryPause = 5 * time.Millisecond
	// answerWithin bounds the wait for an answer.
	answerWithin = 10 * time.Second
	// remembered is how many of its events a sender keeps to send again.
	remembered = 32
	// repeatWithin is how old these are at most, well inside the window in
	// which the appliance takes their timestamps.
	repeatWithin = 2 * time.Minute
	// keys is how many orders the events of a sender stand in. It sends one event
	// after the other, so the places of those of one key say in which order they were
	// accepted.
	keys = 2
	// passing is the filter that [data.passes] agrees with.
	passing = ".data.place % 3 != 0"
)

// data is that of an event.
type data struct {
	ID    string
	Key   string
	Place int
	// At is when it was first sent, in microseconds since 1970.
	At int64
}

func (d data) passes() bool { return d.Place%3 != 0 }

// An orderToSend is what the sender reads before it begins.
type orderToSend struct {
	URL  string
	Seed uint64
	// Pause is how long a sender waits at most before its next event.
	Pause time.Duration
}

// A line is what the sender writes: a promise, or what must never happen.
type line struct {
	Promise promise
	Fault   string
}

// A sending is the sender's process as its parent sees it.
type sending struct {
	// stdin is open for as long as events are to be sent.
	stdin io.Closer
	// done is closed when the process has ended and the ledger knows of all
	// that it was promised.
	done chan struct{}
	err  error
}

// finish waits for the last acknowledgements, and for their deliveries: the balance
// says what is missing.
func (s *sending) finish(t *testing.T, l *ledger) {
	t.Helper()
	s.stdin.Close()
	select {
	case <-s.done:
	case <-time.After(finishWithin):
		t.Fatalf("the sender has no answer to its last events after %s", finishWithin)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	select {
	case <-l.settled:
	case <-time.After(settleWithin):
	}
}

// startSending starts the sender, which tells the ledger of every
// acknowledgement.
func startSending(t *testing.T, order orderToSend, l *ledger) *sending {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), senderEnvironment+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &sending{stdin: stdin, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for d := json.NewDecoder(stdout); ; {
			var line line
			if err := d.Decode(&line); err != nil {
				// The end of the process, which Wait explains.
				break
			}
			if line.Fault != "" {
				l.fault("sender: %s", line.Fault)
			} else {
				l.promise(line.Promise)
			}
		}
		if err := cmd.Wait(); err != nil {
			s.err = fmt.Errorf("sender: %w\n%s", err, &stderr)
		}
		l.noMore()
	}()
	t.Cleanup(func() {
		// An error says that the process has ended.
		_ = cmd.Process.Kill()
		<-s.done
	})
	if err := json.NewEncoder(stdin).Encode(order); err != nil {
		t.Fatal(err)
	}
	return s
}

// send is the sender's process. When its standard input ends, it begins no
// further event, and ends when all that it has begun are acknowledged.
func send(stdin io.Reader, stdout io.Writer) error {
	d := json.NewDecoder(stdin)
	var order orderToSend
	if err := d.Decode(&order); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	client := &http.Client{
		Timeout:   answerWithin,
		Transport: &http.Transport{MaxIdleConnsPerHost: senders},
	}
	out := make(chan line)
	var wg sync.WaitGroup
	for n := range senders {
		s := &sender{url: order.URL, number: n, pause: order.Pause, client: client, out: out, random: rand.New(rand.NewPCG(order.Seed, uint64(n)))}
		wg.Go(func() { s.run(ctx) })
	}
	go func() {
		wg.Wait()
		close(out)
	}()
	// Unbuffered, so that what was acknowledged is told even if the sender is
	// killed.
	encoder := json.NewEncoder(stdout)
	for line := range out {
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// A sender sends one event after the other, and now and then one again.
type sender struct {
	url    string
	number int
	pause  time.Duration
	client *http.Client
	out    chan<- line
	random *rand.Rand
	// sent are the latest events that were acknowledged.
	sent []posted
}

// A posted event is one that was acknowledged.
type posted struct {
	promise promise
	body    []byte
	at      time.Time
}

func (s *sender) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		s.sendNew(n)
		if s.random.IntN(4) == 0 {
			s.sendAgain()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(s.random.Int64N(int64(s.pause)))):
		}
	}
}

// sendNew makes an event and sends it until it is acknowledged.
func (s *sender) sendNew(n int) {
	id := fmt.Sprintf("sender-%d-%d", s.number, n)
	d := data{ID: id, Key: fmt.Sprintf("sender-%d of %d", s.number, n%keys), Place: n/keys + 1, At: time.Now().UnixMicro()}
	now, pad := time.Now(), s.pad()
	e := webhook.Event{
		Type: "crash.sent", Timestamp: now.Unix(),
		Data: fmt.Appendf(nil, `{"id":%q, "key":%q, "place":%d, "at":%d, "pad":%q}`, d.ID, d.Key, d.Place, d.At, pad),
	}
	body := fmt.Appendf(nil, `{"id":%q,"event":%q,"timestamp":%d,"data":%s}`, id, e.Type, e.Timestamp, e.Data)
	canonical := fmt.Appendf(nil, `{"data":{"at":%d,"id":%q,"key":%q,"pad":%q,"place":%d},"event":%q,"timestamp":%d}`,
		d.At, d.ID, d.Key, pad, d.Place, e.Type, e.Timestamp)
	p := promise{Sender: id, Sum: sumOf(e.Body()), Canonical: sumOf(canonical), Passes: d.passes()}
	answer, tries := s.post(body)
	p.ID = answer.ID
	switch {
	case tries == 1 && answer.Status != "received", tries > 1 && answer.Status != "received" && answer.Status != "duplicate":
		s.out <- line{Fault: fmt.Sprintf("%s, sent for the first time in %d tries, has status %q", id, tries, answer.Status)}
	case !strings.HasPrefix(answer.ID, webhook.EventPrefix):
		s.out <- line{Fault: fmt.Sprintf("%s was acknowledged with the id %q", id, answer.ID)}
	}
	s.out <- line{Promise: p}
	s.sent = append(s.sent, posted{p, body, now})
	if len(s.sent) > remembered {
		s.sent = s.sent[1:]
	}
}

// sendAgain repeats an event that was acknowledged, perhaps by an appliance that
// has been killed since: the answer has to be the first one's.
func (s *sender) sendAgain() {
	e := s.sent[s.random.IntN(len(s.sent))]
	if time.Since(e.at) > repeatWithin {
		return
	}
	answer, _ := s.post(e.body)
	if answer.Status != "duplicate" {
		s.out <- line{Fault: fmt.Sprintf("%s, acknowledged before, has status %q", e.promise.Sender, answer.Status)}
	}
	p := e.promise
	p.ID = answer.ID
	s.out <- line{Promise: p}
}

// pad makes events of very different sizes, the largest of which take many
// pages of the database.
func (s *sender) pad() string {
	size := s.random.IntN(2 << 10)
	if s.random.IntN(50) == 0 {
		size = s.random.IntN(100 << 10)
	}
	return strings.Repeat("x", size)
}

// An answer is that of the appliance to an event.
type answer struct {
	Status string
	ID     string
}

// post sends a body until it is acknowledged, and returns how many tries that
// took. Whatever is not an answer 200 promises nothing; an answer that blames
// the sender is a fault.
func (s *sender) post(body []byte) (a answer, tries int) {
	for tries = 1; ; tries++ {
		status, text, err := s.try(body)
		switch {
		case err == nil && status == http.StatusOK:
			err := json.Unmarshal(text, &a)
			if err == nil {
				return a, tries
			}
			s.out <- line{Fault: fmt.Sprintf("answer %q: %v", text, err)}
		case err == nil && status < 500 && status != http.StatusTooManyRequests:
			s.out <- line{Fault: fmt.Sprintf("status %d: %.300s", status, text)}
		}
		<-time.After(retryPause)
	}
}

func (s *sender) try(body []byte) (status int, text []byte, err error) {
	req, err := http.NewRequest(http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Agent-Signature", signature.SignAgent(senderSecret, body))
	response, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, err
	}
	return response.StatusCode, text, nil
}
