package strictjson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/strictjson"
)

func TestMembersStandWhereTheySay(t *testing.T) {
	body := ` { "a" : 1 ,"\u0062":{"x":[1, 2]} , "a":"\ud800" } `
	members, err := strictjson.Object([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ name, value, span string }{
		{"a", `1`, `"a" : 1`}, {"b", `{"x":[1, 2]}`, `"\u0062":{"x":[1, 2]}`}, {"a", `"\ud800"`, `"a":"\ud800"`},
	}
	if len(members) != len(want) {
		t.Fatalf("%d members, want %d", len(members), len(want))
	}
	for i, m := range members {
		if m.Name != want[i].name || string(m.Value) != want[i].value || body[m.Start:m.End] != want[i].span {
			t.Errorf("member %d is %q = %s at %q", i, m.Name, m.Value, body[m.Start:m.End])
		}
	}
}

func TestOnlyOneObjectIsTaken(t *testing.T) {
	deep := func(n int) string {
		return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	for _, good := range []string{`{}`, "\t{}\r\n", deep(strictjson.MaxDepth), `{"a":"` + strings.Repeat(`[{\"\\`, 100) + `"}`} {
		if _, err := strictjson.Object([]byte(good)); err != nil {
			t.Errorf("%.40s: %v", good, err)
		}
	}
	for _, bad := range []string{``, ` `, `null`, `[]`, `"a"`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}{}`, `{} x`, `{a:1}`,
		"\ufeff{}", "{\"\xff\":1}", "{\"a\":\"\xff\"}", `{"a":01}`, `{"a":"\x"}`, deep(strictjson.MaxDepth + 1), strings.Repeat(`{"a":`, 20000)} {
		if _, err := strictjson.Object([]byte(bad)); err == nil {
			t.Errorf("%.40q is accepted", bad)
		}
	}
}

// FuzzObject holds it against encoding/json: it never panics or alters the
// body, and what it takes is JSON whose members it has found.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[{"c":"\ud800"}]}`, `{"\u0061":"\\\""} `, `[]`, `{"a":1}x`, "\ufeff{}", `{"":{"":[[]]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		members, err := strictjson.Object(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was altered")
		}
		if err != nil {
			return
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(body, &object); err != nil {
			t.Fatalf("%q is taken for an object: %v", body, err)
		}
		names := map[string]bool{}
		for _, m := range members {
			names[m.Name] = true
			if span := string(body[m.Start:m.End]); span[0] != '"' || !strings.HasSuffix(span, string(m.Value)) || !json.Valid(m.Value) {
				t.Fatalf("member %q = %q is said to stand at %q", m.Name, m.Value, span)
			}
		}
		// encoding/json replaces unpaired surrogates, so that two names of ours
		// may be one of its.
		if len(names) < len(object) {
			t.Fatalf("%d names of %d were found in %q", len(names), len(object), body)
		}
	})
}

// FuzzWithout inserts a member into a body at every place and
// in the manner of different encoders, and expects the cut to restore the body.
func FuzzWithout(f *testing.F) {
	f.Add(`"a.b"`, "1731602712", `{"x":[1,2]}`, " ", "")
	f.Add(`"a"`, "1", `"},{"`, "\n  ", " ")
	f.Add(`"\"signature\""`, "0", `{"signature":"inner"}`, "", "\t")
	f.Fuzz(func(t *testing.T, event, timestamp, data, before, after string) {
		for _, value := range []string{event, timestamp, data} {
			if !json.Valid([]byte(value)) || value != strings.TrimSpace(value) {
				t.Skip("not a JSON value")
			}
		}
		if strings.Trim(before+after, " \t\r\n") != "" {
			t.Skip("not white space")
		}
		members := []string{`"event"` + after + ":" + before + event, `"timestamp":` + timestamp, `"data":` + data}
		join := func(members []string) string {
			return "{" + before + strings.Join(members, after+","+before) + after + "}"
		}
		want := join(members)
		for place := range len(members) + 1 {
			signed := append(append(append([]string{}, members[:place]...), `"signature":"sha256=00"`), members[place:]...)
			body := []byte(join(signed))
			members, err := strictjson.Object(body)
			if err != nil {
				if _, plain := strictjson.Object([]byte(want)); plain == nil {
					t.Fatalf("%q is refused with a signature: %v", want, err)
				}
				return
			}
			if picked, err := strictjson.Object(body, "signature"); err != nil || len(picked) != 1 {
				t.Fatalf("%q: %v, %v", body, picked, err)
			} else if got := string(strictjson.Without(body, picked[0])); got != want {
				t.Fatalf("signature at place %d, asked for alone: cut to %q, want %q", place, got, want)
			}
			if got := string(strictjson.Without(body, members[place])); got != want {
				t.Fatalf("signature at place %d: cut to %q, want %q", place, got, want)
			}
		}
	})
}

func TestOfNamesThatWereAskedForNoMoreThanTwoAreKept(t *testing.T) {
	body := []byte(`{` + strings.Repeat(`"a":1,"\u0062":2,"":0,`, 1000) + `"c":3}`)
	members, err := strictjson.Object(body, "c", "b")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for _, m := range members {
		got += m.Name + "=" + string(m.Value) + " "
	}
	if got != "b=2 b=2 c=3 " {
		t.Errorf("kept %s", got)
	}
	if made := testing.AllocsPerRun(10, func() { strictjson.Object(body, "c", "b") }); made > 1100 {
		t.Errorf("%g pieces of memory are taken for 3001 members", made)
	}
}

func TestMembersAreCutOutWhicheverWereAskedFor(t *testing.T) {
	for body, want := range map[string]string{
		`{"s":1}`: `{}`, `{ "s":1 , "x":2}`: `{ "x":2}`, `{"x":2 , "s":1 , "y":3}`: `{"x":2 , "y":3}`, `{"x":2, "s":1 }`: `{"x":2 }`,
	} {
		members, err := strictjson.Object([]byte(body), "s")
		if err != nil || len(members) != 1 {
			t.Fatalf("%s: %v, %v", body, members, err)
		}
		if got := string(strictjson.Without([]byte(body), members[0])); got != want {
			t.Errorf("%s: cut to %s, want %s", body, got, want)
		}
	}
}
