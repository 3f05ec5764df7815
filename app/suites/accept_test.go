package suites

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
)

// TestWhatIsRightAtTheEdgeOfWrongIsAccepted has the neighbours of the refusals.
func TestWhatIsRightAtTheEdgeOfWrongIsAccepted(t *testing.T) {
	a := start(t, abusedConfig(t), nil)
	number := 0
	unique := func(offset int64) string {
		number++
		return strings.Replace(event(offset), `"n":1`, fmt.Sprintf(`"n":"edge-%d"`, number), 1)
	}
	plain := func(body string, lines ...string) message {
		return message{body: body, header: append(lines, signed(body))}
	}
	typed := func(contentType string) message {
		body := unique(0)
		return message{bare: true, body: body, header: head("Content-Type: "+contentType, fmt.Sprintf("Content-Length: %d", len(body)), signed(body))}
	}
	inBody := func(sign func(body, signature string) string) message {
		body := unique(0)
		return message{body: sign(body, `"signature":"`+signature.SignAgent(senderSecret, []byte(body))+`"`)}
	}
	chunked, expecting := unique(0), unique(0)
	upper := unique(0)
	listed := func(source string, lines ...string) message {
		body := unique(0)
		return message{line: to(source), body: body, header: append(lines, signed(body))}
	}
	rows := []struct {
		name string
		from string
		message
	}{
		{"295 seconds behind", "", plain(unique(-295))},
		{"300 seconds ahead", "", plain(unique(300))},
		{"another case of a known name", "", plain(strings.Replace(unique(0), "{", `{"EVENT":"other","Data":1,`, 1))},
		{"unknown members, twice", "", plain(strings.Replace(unique(0), "{", `{"x":1,"x":[2],`, 1))},
		{"a parameter of the type", "", typed("application/json; charset=utf-8")},
		{"UTF-8 in capitals and quotes", "", typed(`application/json; charset="UTF-8"`)},
		{"a structured type", "", typed("application/vnd.example.event+json")},
		{"the other header", "", message{body: upper, header: []string{"X-Signature: " + signature.SignAgent(senderSecret, []byte(upper))}}},
		{"digits in capitals", "", func() message {
			body := unique(0)
			return message{body: body, header: []string{"X-Agent-Signature: sha256=" + strings.ToUpper(signature.SignAgent(senderSecret, []byte(body))[len("sha256="):])}}
		}()},
		{"signed in the body, last", "", inBody(func(body, s string) string { return strings.TrimSuffix(body, "}") + "," + s + "}" })},
		{"signed in the body, first", "", inBody(func(body, s string) string { return "{" + s + " ,\n" + body[1:] })},
		{"signed in the body, between", "", inBody(func(body, s string) string { return strings.Replace(body, `,"data"`, " , "+s+`,"data"`, 1) })},
		{"chunked", "", message{bare: true, header: head(asJSON, "Transfer-Encoding: chunked", signed(chunked)), body: fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(chunked), chunked)}},
		{"the body only when asked for", "", message{header: []string{"Expect: 100-continue", signed(expecting)}, body: expecting}},
		{"a listed address behind the proxy", proxy, listed("listed", "X-Forwarded-For: 203.0.113.9, 192.0.2.7")},
		{"an IPv6 one, with a port", proxy, listed("listed", "X-Forwarded-For: [2001:db8::7]:1234")},
		{"an IPv4 one, written as IPv6", proxy, listed("listed", "X-Forwarded-For: ::ffff:192.0.2.7")},
		{"a listed system", listedASN, listed("autonomous")},
		{"a listed system behind the proxy", proxy, listed("autonomous", "X-Forwarded-For: "+listedASN)},
	}
	var types []string
	for _, row := range rows {
		got, err := exchange(t.Context(), row.from, a.inbound, row.bytes())
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if got.status != http.StatusOK || got.Status != "received" {
			t.Errorf("%s: %d %s %s", row.name, got.status, got.Error, got.Message)
		}
		types = append(types, row.name)
	}
	stored := a.events(t)
	if len(stored) != len(types) {
		t.Errorf("%d events are stored of %d", len(stored), len(types))
	}
	for _, e := range stored {
		if e.Type != "abuse.case" {
			t.Errorf("an event has the type %s", e.Type)
		}
	}
}

// TestReplayIsStoredAndDeliveredOnce sends one request a hundred times, sixteen
// at a time.
func TestReplayIsStoredAndDeliveredOnce(t *testing.T) {
	const times, atOnce = 100, 16
	a := start(t, abusedConfig(t), nil)
	r := subscribe(t, a.admin)
	body := event(0)
	m := message{body: body, header: []string{signed(body)}}.bytes()
	var mu sync.Mutex
	answers := map[string]int{}
	ids := map[webhook.EventID]bool{}
	turns := make(chan struct{}, times)
	for range times {
		turns <- struct{}{}
	}
	close(turns)
	var senders sync.WaitGroup
	for range atOnce {
		senders.Go(func() {
			for range turns {
				got, err := exchange(t.Context(), "", a.inbound, m)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				answers[fmt.Sprint(got.status, " ", got.Status)]++
				ids[got.ID] = true
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	if len(ids) != 1 || answers["200 received"] != 1 || answers["200 duplicate"] != times-1 {
		t.Errorf("answers %v with %d ids", answers, len(ids))
	}
	r.await(t, 1)
	if stored := a.events(t); len(stored) != 1 {
		t.Errorf("%d events are stored", len(stored))
	}
	checkDeliveries(t, a, 1)
}

func checkDeliveries(t *testing.T, a *appliance, want int) {
	t.Helper()
	got := 0
	for _, err := range a.admin.Deliveries(t.Context(), api.DeliveryFilter{}, 500) {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if got != want {
		t.Errorf("%d deliveries were made, want %d", got, want)
	}
}

// TestTwoRequestsAtTheSameInstantMakeOneEvent holds back the last byte of each
// request until all are otherwise there.
func TestTwoRequestsAtTheSameInstantMakeOneEvent(t *testing.T) {
	const rounds = 25
	a := start(t, abusedConfig(t), nil)
	for round := range rounds {
		body := strings.Replace(event(0), `"n":1`, fmt.Sprintf(`"n":"race-%d"`, round), 1)
		request := message{body: body, header: []string{signed(body)}}.bytes()
		var connections [2]net.Conn
		for i := range connections {
			c, err := dial(t.Context(), "", a.inbound)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := c.Write(request[:len(request)-1]); err != nil {
				t.Fatal(err)
			}
			connections[i] = c
		}
		now := make(chan struct{})
		var answers [len(connections)]answer
		var both sync.WaitGroup
		for i, c := range connections {
			both.Go(func() {
				<-now
				_, err := c.Write(request[len(request)-1:])
				if err == nil {
					answers[i], err = readAnswer(bufio.NewReader(c), http.MethodPost)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		close(now)
		both.Wait()
		statuses := []string{answers[0].Status, answers[1].Status}
		slices.Sort(statuses)
		if !slices.Equal(statuses, []string{"duplicate", "received"}) || answers[0].ID != answers[1].ID {
			t.Errorf("round %d: %v, %s and %s", round, statuses, answers[0].ID, answers[1].ID)
		}
	}
	if stored := a.events(t); len(stored) != rounds {
		t.Errorf("%d events are stored", len(stored))
	}
}

// TestStrangersBurnNoID has one who cannot sign, or who signs what is stale, use
// an id before its owner does.
func TestStrangersBurnNoID(t *testing.T) {
	a := start(t, abusedConfig(t), nil)
	for _, in := range []string{"Idempotency-Key: mine", "webhook-id: mine-too", ""} {
		body, stale := event(0), event(-3600)
		if in == "" {
			body = strings.Replace(body, "{", `{"id":"my-own",`, 1)
			stale = strings.Replace(stale, "{", `{"id":"my-own",`, 1)
		}
		header := func(lines ...string) []string {
			if in == "" {
				return lines
			}
			return append(lines, in)
		}
		other := strings.Replace(body, `"n":1`, `"n":2`, 1)
		for _, step := range []struct {
			name, is string
			message
		}{
			{"unsigned", "missing_signature", message{body: other, header: header()}},
			{"wrongly signed", "invalid_signature", message{body: other, header: header(signed(body))}},
			{"stale", "invalid_timestamp", message{body: stale, header: header(signed(stale))}},
			{"its owner's", "received", message{body: body, header: header(signed(body))}},
			{"again", "duplicate", message{body: body, header: header(signed(body))}},
			{"another body under the id", "duplicate", message{body: other, header: header(signed(other))}},
			{"unsigned again", "missing_signature", message{body: body, header: header()}},
		} {
			if got := a.post(t, step.message); got.Status+got.Error != step.is {
				t.Errorf("%q, %s: %d %s%s", in, step.name, got.status, got.Status, got.Error)
			}
		}
	}
	stored := a.events(t)
	if len(stored) != 3 {
		t.Errorf("%d events are stored", len(stored))
	}
	for _, e := range stored {
		whole, err := a.store.Event(t.Context(), e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if string(whole.Data) != `{"n":1}` {
			t.Errorf("%s is stored as %s", e.SenderKey, whole.Data)
		}
	}
}

// TestIDBelongsToItsSource: what one source calls its event says nothing of
// another's.
func TestIDBelongsToItsSource(t *testing.T) {
	a := start(t, abusedConfig(t), nil)
	body := event(0)
	lines := []string{"Idempotency-Key: same", signed(body)}
	for _, step := range []struct{ line, is string }{{"", "received"}, {to("narrow"), "received"}, {to("narrow"), "duplicate"}, {"", "duplicate"}} {
		if got := a.post(t, message{line: step.line, body: body, header: lines}); got.Status != step.is {
			t.Errorf("%q: %s %s, want %s", step.line, got.Status, got.Message, step.is)
		}
	}
}
