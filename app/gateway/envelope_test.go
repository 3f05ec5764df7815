package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzEnvelope holds the parser of inbound bodies against encoding/json: it
// never panics, what it accepts is JSON, and data is the sender's bytes.
func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{
		`{"event":"order.created","timestamp":1731602712,"data":{"order_id":"A12345"}}`,
		`{"signature":"sha256=00","event":"a","timestamp":1,"data":[]}`,
		`{"event":"a","timestamp":1,"data":"\ud800","id":"x","\u0073ignature":"y"}`,
		`{"event":"a","event":"b"}`, `{"data":`, `[]`, `null`, "\ufeff{}", "{\"\xff\":1}", `{} x`, `{"a":1,}`, `{"":{"":[[]]}}`,
		strings.Repeat(`{"data":`, 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		original := bytes.Clone(body)
		e, err := parseEnvelope(body)
		if !bytes.Equal(original, body) {
			t.Fatal("the body was altered")
		}
		if err != nil {
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("accepted what is not JSON in UTF-8: %q", body)
		}
		if !bytes.Contains(body, e.data) || !json.Valid(e.data) {
			t.Fatalf("data %q is not the sender's, of %q", e.data, body)
		}
		if e.signature != nil && !json.Valid(e.unsigned) {
			t.Fatalf("without its signature %q is %q, which is not JSON", body, e.unsigned)
		}
	})
}

func BenchmarkEnvelope(b *testing.B) {
	body := []byte(`{"event":"order.created","timestamp":1731602712,"data":{"text":"` + strings.Repeat("0123456789", 90) + `"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := parseEnvelope(body); err != nil {
			b.Fatal(err)
		}
	}
}
