package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	"github.com/pintle/pintle/app/admin/api"
)

const (
	// maxTailLine bounds a line of the stream, in bytes; a happening has a few
	// hundred.
	maxTailLine = 64 << 10
	// maxRefusal bounds what is read of an answer that is no stream.
	maxRefusal = 64 << 10
)

// tail asks for the stream and reads it to its end. An end that nobody asked
// for is [io.ErrUnexpectedEOF].
func (c *Client) tail(ctx context.Context, q api.TailQuery) iter.Seq2[api.Happening, error] {
	return func(yield func(api.Happening, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		body, err := c.openTail(ctx, q)
		if err != nil {
			yield(api.Happening{}, err)
			return
		}
		// It was read; there is nothing that a failure to close could lose.
		defer body.Close()
		for h, err := range happenings(body) {
			if err != nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			if !yield(h, err) {
				return
			}
		}
	}
}

func (c *Client) openTail(ctx context.Context, q api.TailQuery) (io.ReadCloser, error) {
	query := url.Values{}
	for _, kind := range q.Kinds {
		query.Add("kind", string(kind))
	}
	q.Kinds = nil
	for name, values := range values(q) {
		query[name] = values
	}
	response, err := c.do(ctx, http.MethodGet, api.Prefix+"/tail", query, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return nil, refused(response.StatusCode, b)
}

// happenings reads a stream of server-sent events as far as this API writes
// them: the data of each stands on one line. An error is the last thing that it
// yields.
func happenings(stream io.Reader) iter.Seq2[api.Happening, error] {
	return func(yield func(api.Happening, error) bool) {
		lines := bufio.NewScanner(stream)
		lines.Buffer(nil, maxTailLine)
		for lines.Scan() {
			data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
			if !ok {
				continue // a comment, the end of an event, or what the data says too
			}
			var h api.Happening
			if err := json.Unmarshal(data, &h); err != nil {
				yield(api.Happening{}, fmt.Errorf("read tail: %w", err))
				return
			}
			if !yield(h, nil) {
				return
			}
		}
		err := lines.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("a line is longer than %d bytes", maxTailLine)
		}
		yield(api.Happening{}, fmt.Errorf("read tail: %w", err))
	}
}
