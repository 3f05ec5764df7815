package transform

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/itchyny/gojq"
)

// FuzzDecode: what is read and written again is what the library would make of it
// with the standard decoder, down to the byte.
func FuzzDecode(f *testing.F) {
	f.Add(`{"a":[1,-0,1.10,1e400,9007199254740993,123456789012345678901234567890],"b":"\u0041\ud800\u2028\u007f\"\\/","a":{"":null,"c":[true,false,{}]}}`)
	f.Add("[\"\xff\",[]] 1")
	f.Add(` 0 `)
	f.Fuzz(func(t *testing.T, body string) {
		ours, err := decode([]byte(body))
		if (err == nil) != json.Valid([]byte(body)) {
			t.Fatalf("%q: %v", body, err)
		}
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(body))
		d.UseNumber()
		var theirs any
		if err := d.Decode(&theirs); err != nil {
			t.Fatal(err)
		}
		want, err := gojq.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := appendValue(nil, ours, len(want))
		if err != nil {
			if strings.Contains(err.Error(), "nested") {
				return
			}
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Fatalf("%q is\n%s, want\n%s", body, got, want)
		}
		if _, err := appendValue(nil, ours, len(want)-1); err == nil {
			t.Fatalf("%d bytes fit into %d", len(want), len(want)-1)
		}
	})
}
