package sender

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pintle/pintle/app/webhook"
)

// A tarpit holds every connection for as long as the other side does.
type tarpit struct {
	address string
	taken   atomic.Int32 // connections in all
	held    atomic.Int32
}

// newTarpit is given each connection before it holds it.
func newTarpit(t *testing.T, begin func(net.Conn)) *tarpit {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pit := &tarpit{address: l.Addr().String()}
	var running sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(running.Wait)
	t.Cleanup(end)
	t.Cleanup(func() { l.Close() })
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			pit.taken.Add(1)
			pit.held.Add(1)
			running.Go(func() {
				defer pit.held.Add(-1)
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				begin(conn)
			})
		}
	})
	return pit
}

// empties fails unless soon nothing is held any more.
func (p *tarpit) empties(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); p.held.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still held", p.held.Load())
		}
	}
}

// TestDialThatNobodyWaitsForEnds calls one that takes connections and never shakes
// hands: the transport goes on with it after the request has timed out.
func TestDialThatNobodyWaitsForEnds(t *testing.T) {
	pit := newTarpit(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	for name, proxy := range map[string]*url.URL{"receiver": nil, "proxy": {Scheme: "https", Host: pit.address}} {
		t.Run(name, func(t *testing.T) {
			hasty := usualPatience
			hasty.dial = 100 * time.Millisecond
			transport := newTransport(loopback(), 1, proxy, &tls.Config{}, hasty)
			s := New(Options{Transport: transport, Timeout: 10 * time.Millisecond})
			to := &webhook.Subscriber{URL: "https://" + pit.address, Secret: "s"}
			if proxy != nil {
				to.URL = "https://93.184.216.34/"
			}
			for range 5 {
				if got := s.Send(t.Context(), work(to)).Attempt; got.Outcome != webhook.Timeout {
					t.Errorf("the attempt is %s: %s", got.Outcome, got.Error)
				}
			}
			pit.empties(t)
		})
	}
}

// TestConnectionThatTakesNothingIsClosed speaks HTTP/2, promises to take all that
// there is, and takes none of it: requests that have timed out stay in its
// connection with their bodies, until it is closed.
func TestConnectionThatTakesNothingIsClosed(t *testing.T) {
	authority := certify(t, nil, nil)
	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	certificate := certify(t, &authority, nil).tls()
	ended := make(chan struct{})
	pit := newTarpit(t, func(conn net.Conn) {
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Error(err)
		}
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
		if _, err := io.ReadFull(secured, make([]byte, len(http2.ClientPreface))); err != nil {
			return // the request has timed out before
		}
		framer := http2.NewFramer(secured, nil)
		const all = 1<<31 - 1
		if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: all}); err != nil {
			t.Error(err)
		}
		if err := framer.WriteWindowUpdate(0, all-65535); err != nil {
			t.Error(err)
		}
		<-ended
	})
	hasty := usualPatience
	hasty.write = 200 * time.Millisecond
	s := New(Options{Transport: newTransport(loopback(), 1, nil, &tls.Config{RootCAs: roots}, hasty), Timeout: 50 * time.Millisecond})
	w := work(&webhook.Subscriber{URL: "https://" + pit.address, Secret: "s"})
	w.Job.Event.Data = []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	defer close(ended)
	defer s.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); pit.taken.Load() < 3; s.Send(t.Context(), w) {
		if time.Now().After(deadline) {
			t.Fatal("all requests go to a connection that takes nothing")
		}
	}
}

// TestSwitchOfProtocolsIsAnAnswerWithoutBody has a receiver and a token endpoint
// switch protocols and say no more: no timeout ends that.
func TestSwitchOfProtocolsIsAnAnswerWithoutBody(t *testing.T) {
	pit := newTarpit(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			t.Error(err)
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(io.Discard, conn)
	})
	s := New(Options{Transport: newTransport(loopback(), 1, nil, &tls.Config{}, usualPatience), Timeout: 5 * time.Second})
	for _, to := range []webhook.Subscriber{
		{URL: "http://" + pit.address, Secret: "s"},
		{URL: "http://127.0.0.1:1", Secret: "s", OAuth2: webhook.OAuth2{TokenURL: "http://" + pit.address, ClientID: "c", ClientSecret: "hush"}},
	} {
		done := make(chan webhook.Attempt, 1)
		go func() { done <- s.Send(t.Context(), work(&to)).Attempt }()
		select {
		case got := <-done:
			if got.Code != 101 && got.Error != "oauth2 token: the server answered 101" || got.Outcome == webhook.OK {
				t.Errorf("the attempt is %s %d: %s", got.Outcome, got.Code, got.Error)
			}
		case <-time.After(10 * time.Second):
			t.Error("the attempt does not end")
		}
	}
	pit.empties(t)
}
