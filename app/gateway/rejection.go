package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A reason is why a request is refused: its status, its code and the check that
// it did not pass. This is the one table of them; the same code stands in
// answers, logs, metrics and in what is kept.
type reason struct {
	status int
	code   string
	check  webhook.Check
}

var (
	unknownSource        = reason{http.StatusNotFound, "unknown_source", webhook.CheckPath}
	inboundDisabled      = reason{http.StatusNotFound, "inbound_disabled", webhook.CheckPath}
	methodNotAllowed     = reason{http.StatusMethodNotAllowed, "method_not_allowed", webhook.CheckMethod}
	unsupportedMediaType = reason{http.StatusUnsupportedMediaType, "unsupported_media_type", webhook.CheckMediaType}
	ipNotAllowed         = reason{http.StatusForbidden, "ip_not_allowed", webhook.CheckAddress}
	rateLimited          = reason{http.StatusTooManyRequests, "rate_limited", webhook.CheckRate}
	tooManyHeaders       = reason{http.StatusRequestHeaderFieldsTooLarge, "too_many_headers", webhook.CheckSize}
	payloadTooLarge      = reason{http.StatusRequestEntityTooLarge, "payload_too_large", webhook.CheckSize}
	requestTimeout       = reason{http.StatusRequestTimeout, "request_timeout", webhook.CheckSize}
	crowded              = reason{http.StatusServiceUnavailable, "overloaded", webhook.CheckSize}
	emptyBody            = reason{http.StatusBadRequest, "empty_body", webhook.CheckEmpty}
	invalidJSON          = reason{http.StatusBadRequest, "invalid_json", webhook.CheckJSON}
	invalidEvent         = reason{http.StatusBadRequest, "invalid_event", webhook.CheckMembers}
	invalidTimestamp     = reason{http.StatusBadRequest, "invalid_timestamp", webhook.CheckMembers}
	invalidData          = reason{http.StatusBadRequest, "invalid_data", webhook.CheckMembers}
	invalidID            = reason{http.StatusBadRequest, "invalid_id", webhook.CheckMembers}
	missingSignature     = reason{http.StatusUnauthorized, "missing_signature", webhook.CheckSignature}
	invalidSignature     = reason{http.StatusUnauthorized, "invalid_signature", webhook.CheckSignature}
	outsideWindow        = reason{http.StatusUnprocessableEntity, "invalid_timestamp", webhook.CheckWindow}
	internalError        = reason{http.StatusInternalServerError, "internal_error", webhook.CheckStorage}
	overloaded           = reason{http.StatusServiceUnavailable, "overloaded", webhook.CheckStorage}
	storageFull          = reason{http.StatusInsufficientStorage, "storage_full", webhook.CheckStorage}
)

// retryAfter is what senders are told when the fault is ours.
const retryAfter = 5 * time.Second

// A rejection refuses a request.
type rejection struct {
	reason
	message string
	// rule is the setting that refuses it, for the operator; may be empty.
	rule string
	// after is when to try again; zero: nothing is said of it.
	after time.Duration
	err   error // what happened, for the operator only; may be nil
}

func (r *rejection) Error() string { return r.message }
func (r *rejection) Unwrap() error { return r.err }

func reject(why reason, format string, args ...any) *rejection {
	return &rejection{reason: why, message: fmt.Sprintf(format, args...)}
}

// by names the setting that refuses the request.
func (r *rejection) by(format string, args ...any) *rejection {
	r.rule = fmt.Sprintf(format, args...)
	return r
}

// rejectionOf finds the refusal that an error stands for.
func rejectionOf(err error) *rejection {
	var r *rejection
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, webhook.ErrOverloaded):
		return &rejection{reason: overloaded, message: "too many requests wait to be stored; nothing was stored, try again", after: retryAfter, err: err}
	case errors.Is(err, webhook.ErrClosed):
		return &rejection{reason: overloaded, message: "the appliance is stopping; nothing was stored, try again", after: retryAfter, err: err}
	case errors.Is(err, webhook.ErrStorageFull):
		return &rejection{reason: storageFull, message: "there is no room to store the event; nothing was stored, try again", after: retryAfter, err: err}
	}
	return &rejection{reason: internalError, message: "the event could not be stored; try again", err: err}
}

// write answers with the rejection.
func (r *rejection) write(w http.ResponseWriter, id webhook.RejectionID) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.after > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(r.after.Seconds()))))
	}
	switch r.reason {
	case methodNotAllowed:
		header.Set("Allow", http.MethodPost)
	case payloadTooLarge, requestTimeout, tooManyHeaders:
		// The rest of the request is not worth reading.
		header.Set("Connection", "close")
	}
	w.WriteHeader(r.status)
	encode(w, answer{r.code, r.message, id})
}

// An answer is the body of every refusal.
type answer struct {
	Error     string              `json:"error"`
	Message   string              `json:"message"`
	RequestID webhook.RejectionID `json:"request_id"`
}

// OverloadedAnswer is a whole HTTP/1.1 answer for a connection that is closed
// before anything is read from it.
func OverloadedAnswer() []byte {
	body, err := json.Marshal(answer{overloaded.code, "too many connections are open; nothing was stored, try again", ""})
	if err != nil {
		panic(err) // texts always have a JSON form
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nRetry-After: %d\r\nConnection: close\r\n\r\n%s\n",
		overloaded.status, http.StatusText(overloaded.status), len(body)+1, int(retryAfter.Seconds()), body)
}
