package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A reason is why a request is refused: its status and its code. This is the
// one table of them; the same code stands in answers, logs and metrics.
type reason struct {
	status int
	code   string
}

var (
	methodNotAllowed     = reason{http.StatusMethodNotAllowed, "method_not_allowed"}
	unsupportedMediaType = reason{http.StatusUnsupportedMediaType, "unsupported_media_type"}
	payloadTooLarge      = reason{http.StatusRequestEntityTooLarge, "payload_too_large"}
	requestTimeout       = reason{http.StatusRequestTimeout, "request_timeout"}
	emptyBody            = reason{http.StatusBadRequest, "empty_body"}
	invalidJSON          = reason{http.StatusBadRequest, "invalid_json"}
	invalidEvent         = reason{http.StatusBadRequest, "invalid_event"}
	invalidTimestamp     = reason{http.StatusBadRequest, "invalid_timestamp"}
	invalidData          = reason{http.StatusBadRequest, "invalid_data"}
	invalidID            = reason{http.StatusBadRequest, "invalid_id"}
	missingSignature     = reason{http.StatusUnauthorized, "missing_signature"}
	invalidSignature     = reason{http.StatusUnauthorized, "invalid_signature"}
	outsideWindow        = reason{http.StatusUnprocessableEntity, "invalid_timestamp"}
	unknownSource        = reason{http.StatusNotFound, "unknown_source"}
	inboundDisabled      = reason{http.StatusNotFound, "inbound_disabled"}
	internalError        = reason{http.StatusInternalServerError, "internal_error"}
	overloaded           = reason{http.StatusServiceUnavailable, "overloaded"}
	storageFull          = reason{http.StatusInsufficientStorage, "storage_full"}
)

// retryAfter is what senders are told when the fault is ours.
const retryAfter = 5 * time.Second

// A rejection refuses a request.
type rejection struct {
	reason
	message string
	err     error // what happened, for the log only; may be nil
}

func (r *rejection) Error() string { return r.message }
func (r *rejection) Unwrap() error { return r.err }

func reject(why reason, format string, args ...any) *rejection {
	return &rejection{reason: why, message: fmt.Sprintf(format, args...)}
}

// rejectionOf finds the refusal that an error stands for.
func rejectionOf(err error) *rejection {
	var r *rejection
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, webhook.ErrOverloaded):
		return &rejection{overloaded, "too many requests wait to be stored; nothing was stored, try again", err}
	case errors.Is(err, webhook.ErrClosed):
		return &rejection{overloaded, "the appliance is stopping; nothing was stored, try again", err}
	case errors.Is(err, webhook.ErrStorageFull):
		return &rejection{storageFull, "there is no room to store the event; nothing was stored, try again", err}
	}
	return &rejection{internalError, "the event could not be stored; try again", err}
}

// write answers with the rejection.
func (r *rejection) write(w http.ResponseWriter, id webhook.RejectionID) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	switch r.reason {
	case methodNotAllowed:
		header.Set("Allow", http.MethodPost)
	case overloaded, storageFull:
		header.Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	case payloadTooLarge, requestTimeout:
		// The rest of the body is not worth reading.
		header.Set("Connection", "close")
	}
	w.WriteHeader(r.status)
	// An answer that does not arrive is the sender's to notice.
	json.NewEncoder(w).Encode(struct {
		Error     string              `json:"error"`
		Message   string              `json:"message"`
		RequestID webhook.RejectionID `json:"request_id"`
	}{r.code, r.message, id})
}
