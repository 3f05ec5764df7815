package rewriting_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/signature/rewriting"
)

// TestOtherProgramsAreImitated has what PHP, Python, JavaScript and Go print of
// the same value.
func TestOtherProgramsAreImitated(t *testing.T) {
	const body = `{"u":"https://é/😀","n":1.5,"a":[1,{"z":"<b>","e":{}}],"l":[]}`
	all := map[string]bool{}
	for _, text := range rewriting.Read([]byte(body)).All() {
		all[string(text)] = true
	}
	for program, want := range map[string]string{
		"Python json.dumps":               `{"u": "https://\u00e9/\ud83d\ude00", "n": 1.5, "a": [1, {"z": "<b>", "e": {}}], "l": []}`,
		"Python, ensure_ascii=False":      `{"u": "https://é/😀", "n": 1.5, "a": [1, {"z": "<b>", "e": {}}], "l": []}`,
		"Python, sort_keys, separators":   `{"a":[1,{"e":{},"z":"<b>"}],"l":[],"n":1.5,"u":"https://\u00e9/\ud83d\ude00"}`,
		"Python, indent=4":                "{\n    \"u\": \"https://\\u00e9/\\ud83d\\ude00\",\n    \"n\": 1.5,\n    \"a\": [\n        1,\n        {\n            \"z\": \"<b>\",\n            \"e\": {}\n        }\n    ],\n    \"l\": []\n}",
		"PHP json_encode":                 `{"u":"https:\/\/\u00e9\/\ud83d\ude00","n":1.5,"a":[1,{"z":"<b>","e":{}}],"l":[]}`,
		"PHP, JSON_UNESCAPED_SLASHES":     `{"u":"https://\u00e9/\ud83d\ude00","n":1.5,"a":[1,{"z":"<b>","e":{}}],"l":[]}`,
		"PHP, JSON_UNESCAPED_UNICODE":     `{"u":"https:\/\/é\/😀","n":1.5,"a":[1,{"z":"<b>","e":{}}],"l":[]}`,
		"JavaScript JSON.stringify":       `{"u":"https://é/😀","n":1.5,"a":[1,{"z":"<b>","e":{}}],"l":[]}`,
		"Go json.Marshal of a RawMessage": `{"u":"https://é/😀","n":1.5,"a":[1,{"z":"\u003cb\u003e","e":{}}],"l":[]}`,
		"jq --indent 2":                   "{\n  \"u\": \"https://é/😀\",\n  \"n\": 1.5,\n  \"a\": [\n    1,\n    {\n      \"z\": \"<b>\",\n      \"e\": {}\n    }\n  ],\n  \"l\": []\n}",
	} {
		if !all[want] {
			t.Errorf("%s: nothing is written as\n%s", program, want)
		}
	}
}

func TestNumbersAreImitated(t *testing.T) {
	all := map[string]bool{}
	for _, text := range rewriting.Read([]byte(`{ "a/b": [1.0, 1e2, 0.50, 12345678901234567890] }`)).All() {
		all[string(text)] = true
	}
	for program, want := range map[string]string{
		"JavaScript": `{"a/b":[1,100,0.5,12345678901234567000]}`,
		"as written": `{"a/b":[1.0,1e2,0.50,12345678901234567890]}`,
		"PHP":        `{"a\/b":[1,100,0.5,12345678901234567000]}`,
	} {
		if !all[want] {
			t.Errorf("%s: nothing is written as %s", program, want)
		}
	}
}

func TestMembersAreAsTheyStand(t *testing.T) {
	body := rewriting.Read([]byte(` { "a" : [ 1 , 2 ] , "\u0062" : "\u00e9" } `))
	if got := string(body.Member("a")); got != "[ 1 , 2 ]" {
		t.Errorf("a is %s", got)
	}
	if got := string(body.Member("b")); got != `"\u00e9"` {
		t.Errorf("b is %s", got)
	}
	for _, other := range []string{"", "[]", "null", "{", "{} x", `{"a":1,}`, strings.Repeat("[", 1000)} {
		if got := rewriting.Read([]byte(other)).Member("a"); got != nil {
			t.Errorf("%q has %s", other, got)
		}
	}
}

// FuzzRewriting holds it to one rule: whatever is written means what the body
// does.
func FuzzRewriting(f *testing.F) {
	for _, seed := range []string{`{"a":[1.50,"\u00e9/<\ud83d\ude00\\\"\b"],"a":null}`, `[[],{},[{}]]`, `"x"`, "-0", "1e400", "{", " [1 , 2]\n", `"\u2028\u0000"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want any
		valid := json.Unmarshal(body, &want) == nil
		for name, text := range rewriting.Read(body).All() {
			var got any
			err := json.Unmarshal(text, &got)
			// Of names that stand twice, sorting keeps the order.
			if valid && (err != nil || !reflect.DeepEqual(got, want)) {
				t.Fatalf("%s: %q is not %q: %v", name, text, body, err)
			}
		}
	})
}
