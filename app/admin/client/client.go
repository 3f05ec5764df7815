// Package client is the Go client of the admin API. The command line and the
// dashboard know a running appliance through it, and in no other way.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
)

// ErrNotRunning says that nothing answers on the socket: no appliance runs
// there.
var ErrNotRunning = errors.New("no appliance is running")

// An Error is a refusal by the API.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code names the condition; empty where the answer is not the API's own.
	Code string
	// Message is a sentence for people.
	Message string
	// RequestID is what the appliance's log calls the request.
	RequestID webhook.RejectionID
	// Fields names every fault of the input by its field.
	Fields map[string]string
}

// Error tells the message, or the faults of the fields where there are any.
func (e *Error) Error() string {
	text := strings.TrimSuffix(e.Message, ".")
	if len(e.Fields) > 0 {
		faults := make([]string, 0, len(e.Fields))
		for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
			faults = append(faults, field+": "+e.Fields[field])
		}
		text = strings.Join(faults, "; ")
	}
	if text == "" {
		text = http.StatusText(e.Status)
	}
	switch {
	case e.Code == "":
		return fmt.Sprintf("%s (status %d)", text, e.Status)
	case e.Status >= 500:
		return fmt.Sprintf("%s (%s, request %s)", text, e.Code, e.RequestID)
	}
	return fmt.Sprintf("%s (%s)", text, e.Code)
}

// Refused reports that this is an answer of the appliance, as opposed to there
// being none.
func (e *Error) Refused() bool { return true }

// Faults returns Fields, for those who know this type by what it can do.
func (e *Error) Faults() map[string]string { return e.Fields }

// NotFound reports whether the appliance knows no such thing.
func (e *Error) NotFound() bool { return e.Status == http.StatusNotFound }

// Options say where the appliance is: at Server if it is given, else at Socket.
type Options struct {
	// Socket is the path of the Unix socket.
	Socket string
	// Server is the URL of a remote one's admin API, without a path.
	Server string
	// Token is sent to Server as a bearer token, if it is not empty.
	Token string
}

// A Client speaks to one appliance. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a client. It connects to nothing yet.
func New(o Options) (*Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	c := &Client{
		token: o.Token,
		http: &http.Client{
			Transport: transport,
			// A redirect would carry the token to another server.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if o.Server == "" {
		c.base, c.token = "http://pintle", ""
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", o.Socket)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
				return nil, fmt.Errorf("%w at %s: %w", ErrNotRunning, o.Socket, err)
			}
			return conn, err
		}
		return c, nil
	}
	u, err := url.Parse(o.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("server %q is not a URL such as https://pintle.example.com:8081", o.Server)
	}
	c.base = u.Scheme + "://" + u.Host
	return c, nil
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call makes a request and reads the answer into out, unless it is nil. The
// query and the body may be nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	response, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return refused(response.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read answer of %s: %w", path, err)
	}
	return nil
}

// do makes a request. The body of its answer is the caller's to close.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		b, err := api.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		reader = bytes.NewReader(b)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Accept", "application/json, text/event-stream")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	var wrapped *url.Error
	if errors.As(err, &wrapped) && errors.Is(err, ErrNotRunning) {
		// What is around it only repeats the made-up host.
		return nil, wrapped.Err
	}
	return response, err
}

// refused reads an answer other than 2xx.
func refused(status int, body []byte) *Error {
	var wire api.Error
	if err := json.Unmarshal(body, &wire); err != nil || wire.Code == "" {
		return &Error{Status: status, Message: http.StatusText(status)}
	}
	return &Error{Status: status, Code: wire.Code, Message: wire.Message, RequestID: wire.RequestID, Fields: wire.Fields}
}

// values writes the fields of filters that are set as a query, under the names
// that the API gives them.
func values(filters ...any) url.Values {
	query := url.Values{}
	for _, filter := range filters {
		v := reflect.ValueOf(filter)
		for i := range v.NumField() {
			if field := v.Field(i); !field.IsZero() {
				query.Set(v.Type().Field(i).Tag.Get("query"), fmt.Sprint(field.Interface()))
			}
		}
	}
	return query
}
