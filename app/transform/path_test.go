package transform_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/itchyny/gojq"

	"github.com/pintle/pintle/app/transform"
)

func TestAPathIsDotsNamesAndPlaces(t *testing.T) {
	const body = `{"event":"e","data":{"id":12345678901234567890,"a b":[10,{"c":true},30],"a b":[1,{"c":true},"z"],"é":"É","n":null,"f":1.0,"o":{"b":[1e2,-0],"a":"\u0041\/"},"s":"` + "\x7f" + `"}}`
	for source, want := range map[string]string{
		`.data.id`:             `12345678901234567890`,
		` .data ["a b"] [0] `:  `1`,
		`.data."a b"[1].c`:     `true`,
		`.data["a b"][-1]`:     `"z"`,
		`.data["a b"][-3]`:     `1`,
		`.data["a b"][-4]`:     `null`,
		`.data["a b"][3]`:      `null`,
		`.data.["a b"].[1]`:    `{"c":true}`,
		`.data["\u00e9"]`:      `"É"`,
		`.data.f`:              `1`,
		`.data.o`:              `{"a":"A/","b":[100,0]}`,
		`.data.n`:              `null`,
		`.data.n.deeper?[0]??`: `null`,
		`.none`:                `null`,
		`.event.x`:             `null`,
		`.event[0]`:            `null`,
		`.["event"]`:           `"e"`,
		`.[0]`:                 `null`,
		`.`:                    "sha256:",
	} {
		path, err := transform.ParsePath(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := path.Key([]byte(body)); got != want && !(want == "sha256:" && strings.HasPrefix(got, want) && len(got) == len(want)+64) {
			t.Errorf("%s is %s, want %s", source, got, want)
		}
	}
}

func TestAFaultOfAPathHasAPlace(t *testing.T) {
	for source, want := range map[string]string{
		``:                            "line 1, column 1: a path begins with a dot",
		`data`:                        "line 1, column 1: a path begins with a dot",
		`.data.`:                      "line 1, column 7: a name, a string or [ belongs here",
		`..`:                          "line 1, column 2: a name, a string or [ belongs here",
		`.data | .x`:                  `line 1, column 7: only .name, ["name"] and [number] make a path`,
		`.data[]`:                     "line 1, column 7: a string or a whole number belongs here",
		`.data[1:2]`:                  "line 1, column 8: ] belongs here",
		`.data[1.5]`:                  "line 1, column 8: ] belongs here",
		`.data["x\(1)"]`:              "line 1, column 9: a path computes nothing",
		`.data["x`:                    "line 1, column 7: the string has no end",
		`.data["\x"]`:                 "line 1, column 7: not a string of JSON",
		"\n .é":                       "line 2, column 3: a name, a string or [ belongs here",
		`.data[99999999999999999999]`: "line 1, column 7: a string or a whole number belongs here",
		`.data. x`:                    "line 1, column 8: a space before the name",
	} {
		_, err := transform.ParsePath(source)
		var syntax *transform.SyntaxError
		if !errors.As(err, &syntax) || err.Error() != want {
			t.Errorf("%q: %v, want %s", source, err, want)
		}
	}
}

func TestEqualValuesHaveEqualKeys(t *testing.T) {
	path, err := transform.ParsePath(".k")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 200)
	for _, same := range [][]string{
		{`1`, `1.0`, `1e0`, `10e-1`},
		{`"A"`, `"\u0041"`},
		{`{"a":1,"b":[ 2 ]}`, `{ "b":[2], "a":1 }`},
		{`"` + long + `"`, `"\u0078` + long[1:] + `"`},
	} {
		for _, other := range same[1:] {
			if a, b := path.Key([]byte(`{"k":`+same[0]+`}`)), path.Key([]byte(`{"k":`+other+`}`)); a != b || a == "null" {
				t.Errorf("%s has key %s, %s has key %s", same[0], a, other, b)
			}
		}
	}
	for _, pair := range [][2]string{{`9007199254740993`, `9007199254740992`}, {`"1"`, `1`}, {`null`, `"null"`}, {`"` + long + `"`, `"` + long + `x"`}} {
		if a, b := path.Key([]byte(`{"k":`+pair[0]+`}`)), path.Key([]byte(`{"k":`+pair[1]+`}`)); a == b {
			t.Errorf("%s and %s have one key, %s", pair[0], pair[1], a)
		}
	}
}

// FuzzPath: a path that is read is one that jq reads too, and finds the value that
// jq finds.
func FuzzPath(f *testing.F) {
	f.Add(`.data.items[0]["a b"]?`, `{"data":{"items":[{"a b":[1,2]}]}}`)
	f.Add(`."x"[-1] . y`, `{"x":[{"y":1,"y":2}]}`)
	f.Add(`.`, `[1e5,{"b":null,"a":"\ud800"}]`)
	f.Add(` . [ -0 ]`, `[0.1]`)
	f.Add(`.[0]`, `"0"`)
	f.Fuzz(func(t *testing.T, source, body string) {
		path, err := transform.ParsePath(source)
		key := path.Key([]byte(body))
		if key == "" {
			t.Fatal("an empty key")
		}
		if err != nil || len(source) > 1000 {
			return
		}
		query, err := gojq.Parse(source)
		if err != nil {
			t.Fatalf("jq does not read %q: %v", source, err)
		}
		d := json.NewDecoder(strings.NewReader(body))
		d.UseNumber()
		var value any
		if !json.Valid([]byte(body)) || d.Decode(&value) != nil {
			return
		}
		found, _ := query.Run(value).Next()
		if _, failed := found.(error); failed || found == nil {
			if key != "null" {
				t.Fatalf("%q of %s is %s; jq finds nothing: %v", source, body, key, found)
			}
			return
		}
		if strings.HasPrefix(key, "sha256:") {
			return
		}
		if s, text := found.(string); text && key == "null" && utf8.RuneCountInString(s) == 1 {
			return // to gojq, unlike to jq, a string has elements
		}
		var ours, theirs any
		encoded, err := gojq.Marshal(found)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(key), &ours); err != nil {
			t.Fatalf("the key %s: %v", key, err)
		}
		if json.Unmarshal(encoded, &theirs) == nil && !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q of %s is %s; jq finds %s", source, body, key, encoded)
		}
	})
}
