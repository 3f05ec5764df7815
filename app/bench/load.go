package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// loadTask says what the load generator sends.
type loadTask struct {
	URL    string
	Secret string
	// Connections is how many keep-alive connections there are.
	Connections int
	// First is the number of the first event, and Events how many follow it
	// at most.
	First, Events int
	// Size is the length of an event's body.
	Size int
	// Types is of how many types they are, in turns; zero: of one.
	Types int
	// Rate is events per second, sent whatever the answers do; zero: each
	// connection sends its next event as soon as it has its answer.
	Rate float64
	// Header has further lines of every request, each with its end; may be
	// empty.
	Header string
	// Limit ends the sending even if events are left.
	Limit time.Duration
}

// loadResult says what became of it. The events acknowledged are those numbered
// from the task's First, without a gap.
type loadResult struct {
	Acknowledged int
	// Refused counts the answers 429 and 503, after which the same event was
	// sent again.
	Refused int
	// FirstSent is when the first event was sent, LastAck when the last answer
	// was there.
	FirstSent, LastAck time.Time
	// LateP99 is how far behind its fixed rate the generator itself was.
	LateP99 time.Duration
}

// answerTimeout bounds the wait for one answer.
const answerTimeout = 30 * time.Second

// refusedPause is the wait after a refusal: the appliance asks for whole
// seconds, which would measure the pause and nothing else.
const refusedPause = 10 * time.Millisecond

func playLoad(ctx context.Context, task loadTask, answer func(any) error) error {
	result, err := task.run(ctx)
	if err != nil {
		return err
	}
	return answer(result)
}

// A generator carries out one task.
type generator struct {
	task loadTask
	// next counts the events given out, and refused what was sent in vain.
	next, refused atomic.Int64
}

func (task loadTask) run(ctx context.Context) (loadResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g := &generator{task: task}
	connections, err := g.dial(ctx)
	if err != nil {
		return loadResult{}, err
	}
	defer func() {
		for _, c := range connections {
			c.close()
		}
	}()
	started := time.Now()
	var late []time.Duration
	if task.Rate > 0 {
		late = g.open(ctx, cancel, connections)
	} else {
		g.closed(ctx, cancel, connections)
	}
	if err := context.Cause(ctx); err != nil {
		return loadResult{}, fmt.Errorf("send events: %w", err)
	}
	slices.Sort(late)
	return loadResult{
		Acknowledged: min(int(g.next.Load()), task.Events),
		Refused:      int(g.refused.Load()),
		FirstSent:    started,
		LastAck:      time.Now(),
		LateP99:      quantile(late, 0.99),
	}, nil
}

// closed sends on each connection one event after the other.
func (g *generator) closed(ctx context.Context, fail context.CancelCauseFunc, connections []*connection) {
	end := time.Now().Add(g.task.Limit)
	var wg sync.WaitGroup
	for _, c := range connections {
		wg.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				n := int(g.next.Add(1)) - 1
				if n >= g.task.Events {
					return
				}
				if err := g.send(ctx, c, n, time.Now()); err != nil {
					fail(err)
				}
			}
		})
	}
	wg.Wait()
}

// open sends at the task's rate and returns how late each event left. An event
// that finds no connection free waits for one, and that wait counts.
func (g *generator) open(ctx context.Context, fail context.CancelCauseFunc, connections []*connection) []time.Duration {
	free := make(chan *connection, len(connections))
	for _, c := range connections {
		free <- c
	}
	interval := time.Duration(float64(time.Second) / g.task.Rate)
	events := min(g.task.Events, int(g.task.Limit/interval))
	late := make([]time.Duration, 0, events)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := range events {
		due := start.Add(time.Duration(n) * interval)
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return late
		case <-timer.C:
		}
		sent := time.Now()
		late = append(late, sent.Sub(due))
		g.next.Add(1)
		wg.Go(func() {
			select {
			case <-ctx.Done():
			case c := <-free:
				if err := g.send(ctx, c, n, sent); err != nil {
					fail(err)
				}
				free <- c
			}
		})
	}
	return late
}

// send posts the n-th event of the task until it is acknowledged.
func (g *generator) send(ctx context.Context, c *connection, n int, sent time.Time) error {
	for {
		c.body = appendEvent(c.body[:0], typeOf(g.task.First+n, g.task.Types), g.task.First+n, sent, g.task.Size)
		status, answer, err := c.post(signature.SignAgent(webhook.Secret(g.task.Secret), c.body))
		switch {
		case err != nil:
			return fmt.Errorf("event %d: %w", g.task.First+n, err)
		case status == http.StatusOK:
			return nil
		case status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable:
			return fmt.Errorf("event %d: status %d: %.300s", g.task.First+n, status, answer)
		}
		g.refused.Add(1)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(refusedPause):
		}
	}
}

func (g *generator) dial(ctx context.Context) ([]*connection, error) {
	u, err := url.Parse(g.task.URL)
	if err != nil {
		return nil, err
	}
	connections := make([]*connection, 0, g.task.Connections)
	for range g.task.Connections {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", u.Host)
		if err != nil {
			for _, c := range connections {
				c.close()
			}
			return nil, fmt.Errorf("dial %s: %w", u.Host, err)
		}
		connections = append(connections, &connection{
			conn:    c,
			answers: bufio.NewReader(c),
			header: "POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host +
				"\r\nContent-Type: application/json\r\n" + g.task.Header + "X-Agent-Signature: ",
			// A cancelled run does not wait for an answer.
			release: context.AfterFunc(ctx, func() { c.Close() }),
		})
	}
	return connections, nil
}

// A connection posts over one TCP connection. It writes HTTP by itself: a whole
// client would take so much of the machine that less of the difference between
// appliance and relay could be seen.
type connection struct {
	conn    net.Conn
	answers *bufio.Reader
	header  string
	release func() bool
	// body and request are kept from event to event.
	body, request []byte
}

// post sends the connection's body and returns the answer.
func (c *connection) post(sig string) (status int, answer []byte, err error) {
	b := append(c.request[:0], c.header...)
	b = append(b, sig...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(c.body)), 10)
	b = append(b, "\r\n\r\n"...)
	b = append(b, c.body...)
	c.request = b
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(b); err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	if response.Close {
		return 0, nil, errors.New("the connection is not kept open")
	}
	return response.StatusCode, answer, nil
}

func (c *connection) close() {
	c.release()
	c.conn.Close()
}
