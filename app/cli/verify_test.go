package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestCapturedRequestsAreReadByteForByte(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"CRLF", "POST / HTTP/1.1\r\nA: 1\r\n\r\nx\r\ny\r\n", "x\r\ny\r\n"},
		{"LF", "POST / HTTP/1.1\nA: 1\n\nx\n", "x\n"},
		{"HTTP/2", "POST /hook HTTP/2\nA: 1\n\nx", "x"},
		{"no request line", "A: 1\n\nx", "x"},
		{"no body", "A: 1\n\n", ""},
		{"no empty line", "A: 1", ""},
		{"white space around a value", "A: \t1 \n\nx", "x"},
		{"more than its length", "A: 1\nContent-Length: 1\n\nx\n", "x"},
		{"length that is none", "A: 1\nContent-Length: x\n\nx\n", "x\n"},
		{"chunks", "A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2;n=v\r\n\r\n\r\n1\r\nx\r\n0\r\n\r\n", "\r\nx"},
		{"chunks in LF", "A: 1\nTransfer-Encoding: Chunked\n\nA\n0123456789\n0\n\n", "0123456789"},
	} {
		header, body, err := parseRequest([]byte(c.raw))
		if err != nil || string(body) != c.want || header.Get("A") != "1" {
			t.Errorf("%s: %v, %q, %v", c.name, header, body, err)
		}
	}
	for _, raw := range []string{
		"POST / HTTP/1.1\nnonsense\n\nx", "A 1\n\n", ": 1\n\n", "A : 1\n\n", "A: 1\n folded: 2\n\n", "Content-Length: 2\n\nx",
		"Transfer-Encoding: chunked\n\n5\nx", "Transfer-Encoding: chunked\n\nx\n", "Transfer-Encoding: chunked\n\n-1\nx\n", "Transfer-Encoding: chunked\n\n1\nx\n",
	} {
		if header, body, err := parseRequest([]byte(raw)); err == nil {
			t.Errorf("%q is taken for %v, %q", raw, header, body)
		}
	}
}

// FuzzParseRequest writes a request in the ways in which captures come, and
// expects its body back; and nothing makes it panic.
func FuzzParseRequest(f *testing.F) {
	f.Add("X-Signature", "sha256=00", []byte("{}\r\n\n"), []byte("A: 1\n\nx"))
	f.Add("a", "", []byte{}, []byte("Transfer-Encoding: chunked\n\nffffffffffffffff\n"))
	f.Add("b", " c", []byte{0, 0xff}, []byte("Content-Length: -1\r\n\r\n0"))
	f.Fuzz(func(t *testing.T, name, value string, body, raw []byte) {
		parseRequest(raw)
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || name == "" ||
			strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding") || strings.ContainsAny(value, "\r\n") || strings.Contains(value, " HTTP/") {
			return
		}
		for _, end := range []string{"\n", "\r\n"} {
			for _, head := range []string{"", "POST / HTTP/1.1" + end} {
				field := head + name + ": " + value + end
				plain := field + end + string(body)
				length := fmt.Sprintf("%sContent-Length: %d%s%s%s\n", field, len(body), end, end, body)
				half := len(body) / 2
				chunks := field + "Transfer-Encoding: chunked" + end + end
				for _, part := range [][]byte{body[:half], body[half:]} {
					if len(part) > 0 {
						chunks += fmt.Sprintf("%x%s%s%s", len(part), end, part, end)
					}
				}
				chunks += "0" + end + end
				for _, request := range []string{plain, length, chunks} {
					header, got, err := parseRequest([]byte(request))
					if err != nil || !bytes.Equal(got, body) || header[http.CanonicalHeaderKey(name)][0] != strings.Trim(value, " \t") {
						t.Fatalf("%q: %v, %q, %v", request, header, got, err)
					}
				}
			}
		}
	})
}
