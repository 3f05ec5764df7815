package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// sinkTask says what the receivers are.
type sinkTask struct {
	// Subscribers is how many receivers there are, each on an address of its own.
	Subscribers int
	// Secret is the one that all deliveries are signed with.
	Secret string
	// Hanging is how many of the receivers, the first ones, never answer.
	Hanging int
	// Shared says that each event is for one receiver only: that whose place is
	// the event's number modulo the number of receivers. Else all get each.
	Shared bool
}

// sinkReady tells where they are.
type sinkReady struct {
	// URLs are the receivers, Control the address of the sink's own endpoints:
	// GET /wait?arrivals=N answers when so many deliveries, repeats not
	// counted, have arrived in all, and GET /report?first=A&events=N tells of
	// the events with these numbers.
	URLs    []string
	Control string
}

// sinkReport tells what arrived of a range of events.
type sinkReport struct {
	// Missing counts the deliveries that did not arrive.
	Missing int
	// Repeats counts the deliveries that arrived again, and Invalid those that
	// were not what the appliance was to send; both since the sink's start.
	Repeats, Invalid int
	// Repeat and Fault describe the first of each.
	Repeat, Fault string
	// LastArrival is when the last one of the range came.
	LastArrival time.Time
	// Latencies run from the sending of an event to its arrival.
	P50, P99, Max time.Duration
}

// verifyEvery is the part of the deliveries whose signatures the sink checks:
// enough to know that they are made, too little to be seen in the figures.
const verifyEvery = 64

func playSink(ctx context.Context, task sinkTask, answer func(any) error) error {
	s := &sink{task: task, secret: webhook.Secret(task.Secret), arrivals: make([][]arrival, task.Subscribers)}
	var ready sinkReady
	var servers []*http.Server
	defer func() {
		for _, server := range servers {
			server.Close()
		}
	}()
	serve := func(h http.Handler) (string, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		server := &http.Server{Handler: h}
		servers = append(servers, server)
		go server.Serve(l)
		return "http://" + l.Addr().String(), nil
	}
	for i := range task.Subscribers {
		url, err := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.receive(w, r, i) }))
		if err != nil {
			return err
		}
		ready.URLs = append(ready.URLs, url+"/")
	}
	control := http.NewServeMux()
	control.HandleFunc("GET /wait", s.serveWait)
	control.HandleFunc("GET /report", s.serveReport)
	url, err := serve(control)
	if err != nil {
		return err
	}
	ready.Control = url
	if err := answer(ready); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// A sink answers every delivery with 200 and remembers when it came.
type sink struct {
	task   sinkTask
	secret webhook.Secret

	mu sync.Mutex
	// arrivals are by subscriber and by number of the event.
	arrivals [][]arrival
	distinct int
	repeats  int
	repeat   string
	invalid  int
	fault    string
	waiting  []waiter
}

type arrival struct {
	at      time.Time
	latency time.Duration
	// attempt is its number as the header has it.
	attempt string
}

// A waiter is told when so many deliveries have arrived.
type waiter struct {
	arrivals int
	there    chan struct{}
}

func (s *sink) receive(w http.ResponseWriter, r *http.Request, subscriber int) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		// The sender has gone away in the middle; it will have to come again.
		return
	}
	number, sent, err := parseEvent(body)
	if err == nil && number%verifyEvery == 0 {
		err = s.verify(r.Header, body)
	}
	if subscriber < s.task.Hanging {
		<-r.Context().Done()
		return
	}
	s.record(subscriber, number, sent, now, r.Header, err)
	w.WriteHeader(http.StatusOK)
}

func (s *sink) verify(h http.Header, body []byte) error {
	if err := signature.VerifyAgent(h.Get("X-Agent-Signature"), body, s.secret); err != nil {
		return err
	}
	timestamp, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return fmt.Errorf("webhook-timestamp: %w", err)
	}
	return signature.VerifyStandard(h.Get("webhook-signature"), h.Get("webhook-id"), timestamp, body, s.secret)
}

func (s *sink) record(subscriber, number int, sent, now time.Time, h http.Header, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault != nil {
		s.invalid++
		if s.fault == "" {
			s.fault = fault.Error()
		}
		return
	}
	list := s.arrivals[subscriber]
	if number >= len(list) {
		list = append(list, make([]arrival, number+1-len(list))...)
		s.arrivals[subscriber] = list
	}
	attempt := h.Get("X-Agent-Attempt")
	if first := list[number]; !first.at.IsZero() {
		s.repeats++
		if s.repeat == "" {
			s.repeat = fmt.Sprintf("%s as attempt %s, and as attempt %s %s later",
				h.Get("X-Agent-Delivery"), first.attempt, attempt, now.Sub(first.at).Round(time.Microsecond))
		}
		return
	}
	list[number] = arrival{at: now, latency: now.Sub(sent), attempt: attempt}
	s.distinct++
	s.waiting = slices.DeleteFunc(s.waiting, func(w waiter) bool {
		if s.distinct < w.arrivals {
			return false
		}
		close(w.there)
		return true
	})
}

func (s *sink) serveWait(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("arrivals"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	there := make(chan struct{})
	s.mu.Lock()
	if s.distinct >= n {
		close(there)
	} else {
		s.waiting = append(s.waiting, waiter{n, there})
	}
	s.mu.Unlock()
	select {
	case <-there:
		w.WriteHeader(http.StatusOK)
	case <-r.Context().Done():
	}
}

func (s *sink) serveReport(w http.ResponseWriter, r *http.Request) {
	first, err1 := strconv.Atoi(r.FormValue("first"))
	events, err2 := strconv.Atoi(r.FormValue("events"))
	if err := errors.Join(err1, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// An error here is the client's: it has gone away.
	_ = json.NewEncoder(w).Encode(s.report(first, events))
}

func (s *sink) report(first, events int) sinkReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	report := sinkReport{Repeats: s.repeats, Repeat: s.repeat, Invalid: s.invalid, Fault: s.fault}
	var latencies []time.Duration
	for i, list := range s.arrivals {
		if i < s.task.Hanging {
			continue
		}
		for n := first; n < first+events; n++ {
			if s.task.Shared && n%len(s.arrivals) != i {
				continue
			}
			if n >= len(list) || list[n].at.IsZero() {
				report.Missing++
				continue
			}
			latencies = append(latencies, list[n].latency)
			if list[n].at.After(report.LastArrival) {
				report.LastArrival = list[n].at
			}
		}
	}
	slices.Sort(latencies)
	report.P50, report.P99, report.Max = quantile(latencies, 0.5), quantile(latencies, 0.99), quantile(latencies, 1)
	return report
}
