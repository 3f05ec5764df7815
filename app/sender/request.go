package sender

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// A Target is what the requests to one subscriber have in common.
type Target struct {
	// request lacks what differs: the body and Pintle's own headers.
	request http.Request
	// block shows the subscriber's headers.
	block string
}

// NewTarget makes the target of a subscriber as it is now.
func NewTarget(s *webhook.Subscriber) *Target {
	// The URL was checked when the subscriber was saved; should it not parse,
	// the transport refuses to call nothing.
	address, _ := url.Parse(s.URL)
	if address == nil {
		address = &url.URL{}
	}
	header := http.Header{}
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	if s.Basic.Username != "" {
		pair := s.Basic.Username + ":" + s.Basic.Password.Reveal()
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	return &Target{
		request: http.Request{
			Method: http.MethodPost, URL: address, Host: address.Host,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		},
		block: string(appendHeader(nil, header)),
	}
}

// request signs and addresses the attempt, and shows its header. The header
// names are written as the contract has them. The buffer is only made use of.
func (s *Sender) request(ctx context.Context, w Work, number int, body []byte, bearer string, buffer []byte) (*http.Request, webhook.HeaderBlock) {
	now := time.Now()
	e, secrets := w.Job.Event, w.Subscriber.ValidSecrets(now)
	request := w.Target.request.WithContext(ctx)
	header := make(http.Header, len(request.Header)+11)
	for name, values := range request.Header {
		header[name] = values
	}
	values, block := make([]string, 0, 11), buffer
	set := func(name, value, shown string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
		block, _ = appendLine(block, name, shown)
	}
	show := func(name, value string) { set(name, value, value) }
	show("Content-Type", "application/json")
	show("User-Agent", s.o.UserAgent)
	agent := e.AgentID
	if agent == "" {
		agent = s.o.AgentID
	}
	if agent != "" {
		show("X-Agent-ID", agent)
	}
	show("X-Agent-Event", e.Type)
	show("X-Agent-Delivery", string(w.Job.Delivery))
	show("X-Agent-Attempt", strconv.Itoa(number))
	// This one holds a single signature, so that it is made with the newest.
	if w.Subscriber.Signing == webhook.SigningStripe {
		show("X-Agent-Signature", signature.SignStripe(secrets[0], now.Unix(), body))
	} else {
		show("X-Agent-Signature", signature.SignAgent(secrets[0], body))
	}
	show("webhook-id", string(e.ID))
	show("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	show("webhook-signature", signature.SignStandard(string(e.ID), now.Unix(), body, secrets...))
	if bearer != "" {
		set("Authorization", "Bearer "+bearer, webhook.HiddenValue)
	}
	request.Header, request.ContentLength = header, int64(len(body))
	// So that a request that an idle connection lost before a byte of it was
	// written goes out on another one.
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	request.Body = io.NopCloser(bytes.NewReader(body))
	return request, webhook.HeaderBlock(append(block, w.Target.block...))
}
