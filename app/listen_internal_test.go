package app

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEveryWaitOfTheInboundServerHasAnEnd(t *testing.T) {
	s := inboundServer(http.NotFoundHandler(), nil)
	for name, d := range map[string]time.Duration{
		"ReadHeaderTimeout": s.ReadHeaderTimeout, "ReadTimeout": s.ReadTimeout, "WriteTimeout": s.WriteTimeout, "IdleTimeout": s.IdleTimeout,
		"SendPingTimeout": s.HTTP2.SendPingTimeout, "PingTimeout": s.HTTP2.PingTimeout, "WriteByteTimeout": s.HTTP2.WriteByteTimeout,
	} {
		if d <= 0 || d > time.Minute {
			t.Errorf("%s is %v", name, d)
		}
	}
}

func TestInboundServerSpeaksHTTP2AndBoundsHeaders(t *testing.T) {
	pair := issue(t, "pintle.example", time.Hour)
	certificate, err := tls.X509KeyPair(pair, pair)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	defer serveTLS(t, l, &tls.Config{Certificates: []tls.Certificate{certificate}})()
	for _, tt := range []struct {
		http2  bool
		header int // bytes
		status int // 0: the connection is closed
		body   string
	}{
		{true, 100, 200, "HTTP/2.0"},
		{true, 30 << 10, 200, "HTTP/2.0"},
		{true, 60 << 10, 0, ""},
		{false, 100, 200, "HTTP/1.1"},
		{false, 60 << 10, 431, ""},
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: tt.http2}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		// Several, since one that is larger than all is refused by the client.
		for range 10 {
			r.Header.Add("X-Filler", strings.Repeat("x", tt.header/10))
		}
		response, err := transport.RoundTrip(r)
		if err != nil {
			if tt.status != 0 {
				t.Errorf("HTTP/2 %v, %d bytes of header: %v", tt.http2, tt.header, err)
			}
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		transport.CloseIdleConnections()
		if err != nil || response.StatusCode != tt.status || tt.body != "" && string(body) != tt.body {
			t.Errorf("HTTP/2 %v, %d bytes of header: %s %q, %v; want %d", tt.http2, tt.header, response.Status, body, err, tt.status)
		}
	}
}
