package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// firstShare is how much of each body is read out of the budget that large
	// bodies leave alone: most are no larger, so that a few large ones that come
	// slowly keep nobody else waiting. In bytes, as are the next two.
	firstShare = 16 << 10
	// firstBudget bounds the first shares that are held at a time, and
	// restBudget what is read of bodies beyond them.
	firstBudget = 16 << 20
	restBudget  = 64 << 20
	// budgetWait is how long a request waits for room.
	budgetWait = time.Second
)

// memory bounds what is held of bodies, all requests together.
type memory struct{ first, rest *semaphore.Weighted }

func newMemory() *memory {
	return &memory{semaphore.NewWeighted(firstBudget), semaphore.NewWeighted(restBudget)}
}

// A share is the memory that one request holds.
type share struct {
	*memory
	first, rest int64
}

// grow takes so many bytes more out of the budget, and waits for them a moment.
func (s *share) grow(ctx context.Context, n int64) error {
	budget, held := s.memory.rest, &s.rest
	if s.first == 0 {
		budget, held = s.memory.first, &s.first
	}
	if !budget.TryAcquire(n) {
		ctx, cancel := context.WithTimeout(ctx, budgetWait)
		defer cancel()
		if budget.Acquire(ctx, n) != nil {
			return tooMany()
		}
	}
	*held += n
	return nil
}

// tooMany refuses a request that there is no room for.
func tooMany() error {
	refused := reject(crowded, "too many requests are being received; nothing was stored, try again")
	refused.after = retryAfter
	return refused
}

// release gives everything back.
func (s *share) release() {
	s.memory.first.Release(s.first)
	s.memory.rest.Release(s.rest)
}

// readBody reads the whole body. It takes memory as the bytes come, and not for
// what a sender only announces.
func (v *visit) readBody(w http.ResponseWriter) error {
	limit := v.source.MaxBody
	size := v.r.ContentLength
	if size > limit {
		return v.tooLarge()
	}
	expected := size
	if expected < 0 {
		expected = limit
	}
	reader := http.MaxBytesReader(w, v.r.Body, limit)
	room := max(1, min(expected, firstShare))
	if err := v.share.grow(v.r.Context(), room); err != nil {
		return err
	}
	body := make([]byte, 0, room)
	for {
		if len(body) == cap(body) {
			if int64(len(body)) == size {
				break
			}
			more := max(1, min(expected-int64(len(body)), 3*int64(len(body))))
			if err := v.share.grow(v.r.Context(), more); err != nil {
				return err
			}
			body = append(make([]byte, 0, int64(len(body))+more), body...)
		}
		n, err := reader.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return v.unread(err)
		}
	}
	v.body = body
	if len(bytes.TrimSpace(body)) == 0 {
		return reject(emptyBody, "the body is empty")
	}
	return nil
}

// unread is the refusal of a body that was not read to its end.
func (v *visit) unread(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return v.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reject(requestTimeout, "the body did not arrive within %s", ReadTimeout)
	}
	return reject(invalidJSON, "the body could not be read to its end")
}

func (v *visit) tooLarge() error {
	return reject(payloadTooLarge, "the body is larger than %d bytes", v.source.MaxBody).
		by("%s = %d bytes", v.source.setting("max_body"), v.source.MaxBody)
}
