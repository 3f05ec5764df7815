package sender

import (
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/pintle/pintle/app/webhook"
)

// maxBlock bounds the header that is kept of a request and of an answer.
const maxBlock = 8 << 10

// appendLine appends a line of a [webhook.HeaderBlock]. It reports false, and
// appends nothing, where the block would grow beyond its bound.
func appendLine(block []byte, name, value string) ([]byte, bool) {
	name, value = oneLine(name), oneLine(value)
	if len(block)+len(name)+len(value)+len(": \n") > maxBlock {
		return block, false
	}
	block = append(block, name...)
	block = append(block, ": "...)
	block = append(block, value...)
	return append(block, '\n'), true
}

// appendHeader appends the lines of a header, sorted by name, as far as there is
// room. Credentials are hidden.
func appendHeader(block []byte, header http.Header) []byte {
	var buffer [32]string
	names := buffer[:0]
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	ok := true
	for _, name := range names {
		secret := webhook.CredentialHeader(name)
		for _, value := range header[name] {
			if secret {
				value = webhook.HiddenValue
			}
			if block, ok = appendLine(block, name, value); !ok {
				return block
			}
		}
	}
	return block
}

// oneLine returns s as text without control characters, as which foreign bytes
// may come.
func oneLine(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return strings.Map(func(r rune) rune {
				if unicode.IsControl(r) {
					return ' '
				}
				return r // what is not UTF-8 comes as U+FFFD
			}, s)
		}
	}
	return s
}
