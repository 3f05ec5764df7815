package sender

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

// withoutSwitch closes the connection of an answer that switches protocols, which
// nobody has asked for. In place of a body it would hold the connection itself, to
// read from which no context bounds.
func withoutSwitch(response *http.Response) {
	if response.StatusCode == http.StatusSwitchingProtocols {
		// What is left of the connection is nobody's.
		_ = response.Body.Close()
		response.Body = http.NoBody
	}
}

// readAnswer returns the beginning of the body. It reads further, so that the
// connection can be used again, but not without bound.
func readAnswer(body io.ReadCloser, buffer []byte) (kept []byte, err error) {
	defer body.Close()
	n := 0
	for n < len(buffer) && err == nil {
		var read int
		read, err = body.Read(buffer[n:])
		n += read
	}
	if n > 0 {
		kept = bytes.Clone(buffer[:n])
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, body, maxRead-maxKept)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return kept, err
}

// retryAfter reads the header in both of its forms, RFC 9110 section 10.2.3.
// What makes no sense is no hint.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return min(time.Duration(min(seconds, 1<<30))*time.Second, webhook.MaxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), webhook.MaxRetryAfter)
	}
	return 0
}

// clip returns the beginning of a text that is too long, in memory of its own.
func clip(s string) string {
	if len(s) <= maxError {
		return s
	}
	return strings.ToValidUTF8(s[:maxError], "") + "…"
}

// outcomeOf tells what an error of a request means, which was made within the
// limited one of both contexts.
func outcomeOf(ctx, limited context.Context, err error) webhook.Outcome {
	var (
		dns      *net.DNSError
		op       *net.OpError
		timeout  net.Error
		proxy    *proxyError
		token    *tokenError
		material *materialError
		record   tls.RecordHeaderError
		verify   *tls.CertificateVerificationError
		alert    tls.AlertError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
	)
	switch {
	case interrupted(ctx, limited):
		return webhook.Interrupted
	case errors.Is(err, security.ErrBlocked):
		return webhook.Blocked
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return webhook.Timeout
	case errors.As(err, &dns):
		return webhook.DNS
	case errors.As(err, &proxy), errors.As(err, &token):
		return webhook.Connect
	case errors.As(err, &record), errors.As(err, &verify), errors.As(err, &alert), errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &material), errors.Is(err, http.ErrSchemeMismatch):
		return webhook.TLS
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return webhook.Reset
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "connect" || op.Op == "proxyconnect" || op.Op == "socks connect"):
		return webhook.Connect
	case strings.Contains(err.Error(), "server response headers exceeded"), strings.Contains(err.Error(), "response header list larger than"):
		// net/http has no type for these.
		return webhook.TooLarge
	case strings.Contains(err.Error(), "tls: "):
		return webhook.TLS
	}
	return webhook.Reset
}
