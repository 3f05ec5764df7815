package suites

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/pintle/pintle/app/strictjson"
)

// A jsonCase is a text that is JSON, or is not. Those that RFC 8259 leaves to
// the parser are among them, with what Pintle has decided.
type jsonCase struct {
	name string
	text string
	good bool
	// object says that a good text is an object, as the body of a request has
	// to be.
	object bool
}

// jsonCases are the classes of nst/JSONTestSuite: structure, whitespace,
// numbers, strings, encodings, nesting.
func jsonCases() []jsonCase {
	var cases []jsonCase
	add := func(texts []string, good bool) {
		for _, text := range texts {
			object := strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{")
			cases = append(cases, jsonCase{fmt.Sprintf("%.60q", text), text, good, object})
		}
	}
	add(goodJSON(), true)
	add(badJSON(), false)
	return cases
}

// nested returns the text so many levels deep.
func nested(open, inner, shut string, depth int) string {
	return strings.Repeat(open, depth) + inner + strings.Repeat(shut, depth)
}

func goodJSON() []string {
	good := []string{
		// Structure.
		`{}`, `[]`, `null`, `true`, `false`, `""`, `0`, `[null]`, `[[]]`, `[[],[[]]]`, `{"a":[]}`, `{"":0}`,
		`{"a":{"b":{"c":[1,{"d":null}]}}}`, `[1,null,null,null,2]`, `{"min":-1.0e+28,"max":1.0e+28}`,
		`{"a":"b","a":"c"}`, `{"a":"b","a":"b"}`, `{"title":"\u041f\u043e\u043b"}`, `{"foo\u0000bar":42}`, `["a","b","c","d"]`,
		// Whitespace.
		" []", "[] ", "\t{\n\"a\"\r:\t1 ,\n\"b\":2}\r\n", "[ 4]", "[1\n]", " \r\n\t1 ", "{ }", "[ ]", "\n\n\"a\"",
		// Numbers.
		`-0`, `-1`, `-123`, `123`, `0.1`, `-0.1`, `0e1`, `0e+1`, `0E-2`, `1E22`, `1e-2`, `1E+2`, `123.456e78`, `[1e1]`,
		`-0.0`, `1234567890123456789012345678901234567890`, `0.3333333333333333333333333333333333333`,
		`-0.000000000000000000000000000000000000000000000000000000000000000000000000000001`,
		// Numbers that no float64 holds are left to whoever reads them.
		`1e400`, `-1e9999`, `123123e100000`, `0.4e006699999999999999999999999999999999999999`, `1e-10000000000000`, `-237462374673276894279832749832423479823246327846`,
		// Strings.
		`"a"`, `"\"\\\/\b\f\n\r\t"`, `"\u0000"`, `"\u001F"`, `"\u0022"`, `"\u005C"`, `"\uABCD\uabcd"`, `"\\u0000"`, `"a\/*b*\/c"`, `" "`,
		"\"\x7f\"", `"é"`, `"日本"`, `"😀"`, `"\uD83D\uDE00"`, `"\uDBFF\uDFFF"`, `"\uFFFF"`, `"\uFDD0"`, `"\u200B\u2064"`, "\"\u2028\u2029\"", "\"\ufeff\"",
		"\"\U0010ffff\"", "\"\uffff\"", "\"new\u00a0line\"", `"\u0061\u30af\u30EA\u30b9"`,
		// Unpaired surrogates are escapes like any other, so long as nobody
		// decodes them, as is done with the names of the body's own members.
		`"\uD800"`, `"\uDC00"`, `"\uD800\n"`, `"\uD800\uD800"`, `"\uDFAAabc"`, `"\uD888\u1234"`, `[{"\uDFAA":0}]`, `"\uDd1e\uD834"`,
		// Nesting up to the bound.
		nested("[", "", "]", strictjson.MaxDepth), nested(`{"a":`, "0", "}", strictjson.MaxDepth),
		"[" + strings.Repeat("[],", 1000) + "[]]",
	}
	for _, letter := range `"\/bfnrt` {
		good = append(good, fmt.Sprintf(`["\%c"]`, letter))
	}
	return good
}

func badJSON() []string {
	bad := []string{
		// Structure.
		`{`, `}`, `[`, `]`, `{]`, `[}`, `{}}`, `[]]`, `{{}}`, `[,]`, `[1,]`, `[,1]`, `[1,,2]`, `[1 2]`, `["a" "b"]`, `["a":1]`, `[1`, `[1,`, `[[1]`, `[""`, `["",`,
		`{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1,,"b":2}`, `{"a" 1}`, `{"a"::1}`, `{"a":1 "b":2}`, `{:1}`, `{a:1}`, `{'a':1}`, `{1:1}`, `{null:1}`, `{[]:1}`,
		`{"a":1`, `{"a":`, `{"a`, `{"a":"b`, `{"a":1]`, `[{"a":1]}`, `{"a":/**/1}`, `{"a":1}/**/`, `{"a":1}//`, `# {}`, `<a>`, `[<null>]`, `*`, `:`, `...`, `[*]`, `[...]`, `[[],`,
		`{"a":"b"}#`, `{"a":true} x`, `{} {}`, `[] 1`, `1 2`, `nullnull`, `"a" "b"`, `"a"b`, `{"a":true}}`, `{"asd":"asd"`,
		// Literals.
		`nul`, `tru`, `fals`, `nulll`, `True`, `NULL`, `undefined`, `[nul]`, `[truth]`, `{"a":TRUE}`, `None`,
		// Numbers.
		`+1`, `01`, `-01`, `00`, `-`, `--1`, `-+1`, `.1`, `-.1`, `1.`, `-1.`, `1.e1`, `1e`, `1e+`, `1E-`, `1ee2`, `1e1.5`, `0x1`, `0b1`, `1_000`, `1,000.0`,
		`NaN`, `-NaN`, `Infinity`, `-Infinity`, `Inf`, `1a`, `-a`, `1.2a`, `1.2.3`, `1+2`, `1 000`, `２`, `[1.]`, `[-]`, `[+1]`, `[.5]`, `[012]`, `[0.1.2]`, `[0e+]`, `[1e+-2]`, `(1)`,
		// Strings.
		`"`, `"a`, `'a'`, `"\`, `"\"`, `"\x00"`, `"\a"`, `"\'"`, `"\0"`, `"\ "`, `"\u"`, `"\u0"`, `"\u00"`, `"\u00A"`, `"\u00G0"`, `"\U0000"`, `"\u{41}"`, `"\uD800\u"`, `"\uD800\u1"`, `"\uD800\"`,
		`"\😀"`, "\"\\\n\"", "\"\\\x00\"", `["a]`, `[a]`, `["\u00A"]`, `{"\u":1}`, "`a`", `“a”`, `"a""`, `"""`,
		// Whitespace that is none in JSON.
		"[\f]", "[\v1]", "\u00a0[]", "[\u2060]", "[]\u0085", "\u2028{}", "{}\u3000", "[\x1b]", "{}\x00", "\x00{}", "[]\x1a",
		// Bytes that are not UTF-8, wherever they stand.
		"\xff", "[\xff]", "{\"\xff\":1}", "\"\xff\"", "\"\x80\"", "\"\xc3\"", "\"\xc0\xaf\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"", "\"\xf0\x80\x80\xaf\"", "\"\xf4\xbf\xbf\xbf\"",
		"\"\xfc\x83\xbf\xbf\xbf\xbf\"", "\"\xe6\x97\"", "\"\xe9\"", "{}\xff", "\xe5{}", "[1\xe5]", "\"\\\xe5\"", "\"\\u\xe5\"", "1e1\xe5", "0\xe5", "-\xe5",
		// Other encodings, and marks of the byte order.
		"\ufeff{}", "\ufeff[]", "\ufeff", "\xef\xbb{}", "{\ufeff}", utf16Text(`{"a":"é"}`, true, false), utf16Text(`{"a":"é"}`, true, true), utf16Text(`{}`, false, false), utf16Text(`["é"]`, false, true),
		// Nesting past the bound, ended or not. The body itself is a level more.
		nested("[", "", "]", strictjson.MaxDepth+2), nested(`{"a":`, "0", "}", strictjson.MaxDepth+2), nested("[", "", "]", 100_000), strings.Repeat("[", 100_000),
		strings.Repeat(`[{"":`, 50_000), strings.Repeat(`{"a":`, 100_000), nested("[", "", "]", 500),
	}
	for c := range 0x20 {
		bad = append(bad, fmt.Sprintf("\"a%cb\"", c))
	}
	// Whatever a text is cut off after, it is not whole.
	const whole = `{"a":[1.5e3,true,null,"x\u00e9\n"],"b":{}}`
	for n := 1; n < len(whole); n++ {
		bad = append(bad, whole[:n])
	}
	return bad
}

// utf16Text encodes a text with or without a byte order mark.
func utf16Text(s string, mark, little bool) string {
	units := utf16.Encode([]rune(s))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	var b strings.Builder
	for _, u := range units {
		if little {
			u = u<<8 | u>>8
		}
		b.WriteByte(byte(u >> 8))
		b.WriteByte(byte(u))
	}
	return b.String()
}

// TestBodyIsJSONOrIsRefusedAsNone posts each text as a whole body. What is JSON
// is never refused for not being JSON; that it is no event is another matter.
func TestBodyIsJSONOrIsRefusedAsNone(t *testing.T) {
	a := start(t, "[inbound]\nsecret = \""+senderSecret.Reveal()+"\"\n", nil)
	for _, c := range jsonCases() {
		got := a.post(t, message{body: c.text, header: []string{signed(c.text)}})
		if is := got.Error == "invalid_json"; got.status != http.StatusBadRequest || is == (c.good && c.object) {
			t.Errorf("%s: %d %s %s", c.name, got.status, got.Error, got.Message)
		}
	}
	if stored := a.events(t); len(stored) != 0 {
		t.Errorf("%d events are stored, and none was one", len(stored))
	}
}

// TestDataIsDeliveredByteForByteOrRefused posts each text as the data of an
// event whose signature is good.
func TestDataIsDeliveredByteForByteOrRefused(t *testing.T) {
	a := start(t, "[inbound]\nsecret = \""+senderSecret.Reveal()+"\"\n", nil)
	r := subscribe(t, a.admin)
	want := map[string]string{}
	for n, c := range jsonCases() {
		now := time.Now().Unix()
		body := fmt.Sprintf(`{"id":"json-%d","event":"json.case","timestamp":%d,"data":%s}`, n, now, c.text)
		got := a.post(t, message{body: body, header: []string{signed(body)}})
		switch {
		case c.good && (got.status != http.StatusOK || got.Status != "received"):
			t.Errorf("%s: %d %s %s", c.name, got.status, got.Error, got.Message)
		case c.good:
			want[string(got.ID)] = fmt.Sprintf(`{"event":"json.case","timestamp":%d,"data":%s}`, now, strings.Trim(c.text, " \t\r\n"))
		case got.status != http.StatusBadRequest || got.Error != "invalid_json":
			t.Errorf("%s: %d %s %s", c.name, got.status, got.Error, got.Message)
		}
	}
	r.await(t, len(want))
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, arrivals := range r.arrivals {
		for _, arrived := range arrivals {
			if string(arrived.Body) != want[string(id)] || !arrived.Verdict.OK() {
				t.Errorf("arrived as %.200q, %s; sent was %.200q", arrived.Body, arrived.Verdict, want[string(id)])
			}
		}
	}
	if len(r.arrivals) != len(want) {
		t.Errorf("%d events arrived of %d", len(r.arrivals), len(want))
	}
}
