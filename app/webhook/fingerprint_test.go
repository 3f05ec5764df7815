package webhook_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/webhook"
)

// dialed is the error of a connection to an address.
func dialed(address string, errno syscall.Errno) error {
	to := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))
	return &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: os.NewSyscallError("connect", errno)}
}

func TestFingerprintsOfWhatGoGivesAreStable(t *testing.T) {
	expired := x509.CertificateInvalidError{
		Cert: &x509.Certificate{NotAfter: time.Unix(1731602712, 0)}, Reason: x509.Expired, Detail: "current time 2025-01-01T00:00:00Z is after 2024-11-14T16:45:12Z",
	}
	host := x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"a.example", "intranet"}}, Host: "b.example"}
	authority := x509.UnknownAuthorityError{Cert: &x509.Certificate{Subject: pkix.Name{CommonName: "their own"}}}
	verification := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	for _, tt := range []struct {
		outcome webhook.Outcome
		fault   any
		want    string
	}{
		{webhook.OK, "", ""},
		{webhook.HTTPStatus, "the body cannot be read: unexpected EOF", ""},
		{webhook.Interrupted, "pintle is stopping", ""},
		{webhook.Connect, "", ""},
		{webhook.Connect, dialed("192.0.2.7:443", syscall.ECONNREFUSED), "dial tcp …: connect: connection refused"},
		{webhook.Connect, dialed("[2001:db8::1]:8443", syscall.EHOSTUNREACH), "dial tcp …: connect: no route to host"},
		{webhook.Connect, &url.Error{Op: "Post", URL: "https://example.com/hook?a=b", Err: dialed("192.0.2.7:443", syscall.ECONNREFUSED)}, "post …: dial tcp …: connect: connection refused"},
		{webhook.DNS, &net.DNSError{Err: "no such host", Name: "receiver", Server: "127.0.0.53:53", IsNotFound: true}, "lookup … on …: no such host"},
		{webhook.DNS, &net.DNSError{Err: "no such host", Name: "receiver", IsNotFound: true}, "lookup …: no such host"},
		{webhook.DNS, &net.DNSError{Err: "server misbehaving", Name: "hooks.example.com", Server: "192.0.2.53:53", IsTemporary: true}, "lookup … on …: server misbehaving"},
		{webhook.TLS, verification(authority), "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{webhook.TLS, verification(expired), "x509: certificate has expired or is not yet valid: current time … is after …"},
		{webhook.TLS, verification(host), "tls: failed to verify certificate: x509: certificate is valid for another name"},
		{webhook.Connect, "oauth2 token: the server answered 400: invalid_client: try 17 other words", "oauth2 token: the server answered …: invalid_client"},
		{webhook.Connect, "oauth2 token: the server answered 400: words of its own: and more", "oauth2 token: the server answered …"},
		{webhook.Connect, "oauth2 token: the server answered 502", "oauth2 token: the server answered …"},
		{webhook.TLS, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "tls: first record does not look like a tls handshake"},
		{webhook.TLS, &net.OpError{Op: "remote error", Err: tls.AlertError(40)}, "remote error: tls: handshake failure"},
		{webhook.TLS, &net.OpError{Op: "remote error", Err: tls.AlertError(116)}, "remote error: tls: certificate required"},
		{webhook.Reset, io.EOF, "eof"},
		{webhook.Reset, io.ErrUnexpectedEOF, "unexpected eof"},
		{webhook.Reset, fmt.Errorf("read tcp 10.0.0.1:51234->192.0.2.7:443: read: %w", syscall.ECONNRESET), "read tcp …: read: connection reset by peer"},
		{webhook.Reset, `net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH_9.6"`, "net/http: http/1.x transport connection broken: malformed http response …"},
		{webhook.Reset, "net/http: HTTP/1.x transport connection broken: malformed MIME header line: anything at all", "net/http: http/1.x transport connection broken: malformed mime header line: …"},
		{webhook.Reset, `http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug="go away"`, "http2: server sent goaway and closed the connection; …"},
		{webhook.Timeout, "no answer within 15s", "no answer within …"},
		{webhook.Blocked, `address is not allowed: 10.0.0.7 is private or reserved; "10.0.0.7/32" in outbound.allow_networks would allow it`, "address is not allowed: … is private or reserved; … in … would allow it"},
		{webhook.TooLarge, "net/http: server response headers exceeded 65536 bytes; aborted", "net/http: server response headers exceeded … bytes; aborted"},
		{webhook.Transformation, "transform: expected an object but got: number (5)", "transform: expected an object but got: number …"},
		{webhook.Transformation, `transform: cannot iterate over: string ("it's theirs")`, "transform: cannot iterate over: string …"},
		{webhook.Transformation, "transform: error: customer is unknown to us", "transform: error: …"},
		{webhook.Transformation, "filter: out of time: 50ms", "filter: out of time: …"},
	} {
		if got := webhook.Fingerprint(tt.outcome, fmt.Sprint(tt.fault)); got != tt.want {
			t.Errorf("%s, %v:\n got %q\nwant %q", tt.outcome, tt.fault, got, tt.want)
		}
	}
}

// TestReceiversDoNotChooseFingerprints has what a receiver can choose in every
// place of which the standard library tells.
func TestReceiversDoNotChooseFingerprints(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 1)
	var server sync.WaitGroup
	defer server.Wait()
	defer listener.Close()
	server.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprint(conn, <-answers)
			}
			conn.Close()
		}
	})
	asked := func(answer string) string {
		answers <- answer
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + listener.Addr().String())
		if err == nil {
			_, err = io.ReadAll(response.Body)
			response.Body.Close()
		}
		if err == nil {
			return ""
		}
		return err.Error()
	}
	seen := map[string]map[string]bool{}
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringMatching(`[a-zA-Z0-9 "':.%\\-]{0,30}`).Draw(r, "text")
		host := rapid.StringMatching(`[a-z]{1,30}(\.[a-z]{2,5})?`).Draw(r, "host")
		for where, fault := range map[string]string{
			"first line":  asked("x" + text + "\r\n\r\n"),
			"status":      asked("HTTP/1.1 x" + text + "\r\n\r\n"),
			"header":      asked("HTTP/1.1 200 OK\r\n?" + text + "\r\n\r\n"),
			"length":      asked("HTTP/1.1 200 OK\r\nContent-Length: x" + text + "\r\n\r\n"),
			"encoding":    asked("HTTP/1.1 200 OK\r\nTransfer-Encoding: x" + text + "\r\n\r\n"),
			"chunk":       asked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx" + text + "\r\n"),
			"certificate": x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{host, text}}, Host: host}.Error(),
			"authority":   x509.UnknownAuthorityError{Cert: &x509.Certificate{Subject: pkix.Name{CommonName: text}}}.Error(),
			"name":        (&net.DNSError{Err: "no such host", Name: host, Server: "127.0.0.1:53"}).Error(),
			"location":    (&url.Error{Op: "Post", URL: "https://" + host + "/" + text, Err: errors.New("EOF")}).Error(),
		} {
			if seen[where] == nil {
				seen[where] = map[string]bool{}
			}
			seen[where][webhook.Fingerprint(webhook.Reset, fault)] = true
			if len(seen[where]) > 4 {
				r.Fatalf("in the %s it chose %v", where, seen[where])
			}
		}
	})
}

func FuzzFingerprintIsBoundedAndPrintable(f *testing.F) {
	for _, fault := range []string{"", "dial tcp 192.0.2.7:443: connect: connection refused", `a "b\" c" d 'e f`, "“x”: y", "\x00\xff\u2028", strings.Repeat("word ", 100), strings.Repeat("é", 300), `it's`, "(((", "…"} {
		f.Add(fault)
	}
	f.Fuzz(func(t *testing.T, fault string) {
		print := webhook.Fingerprint(webhook.Connect, fault)
		if len(print) > 80 || !utf8.ValidString(print) {
			t.Fatalf("%q has %d bytes", print, len(print))
		}
		for _, r := range print {
			if (r < ' ' || r > '~') && r != '…' || r >= 'A' && r <= 'Z' {
				t.Fatalf("%q of %q has %q", print, fault, r)
			}
		}
		if again := webhook.Fingerprint(webhook.Connect, fault); again != print {
			t.Fatalf("%q and then %q", print, again)
		}
	})
}
