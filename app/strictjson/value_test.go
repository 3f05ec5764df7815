package strictjson_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/strictjson"
)

func TestCheckTakesOneValueOfAnyKind(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, good := range []string{`{}`, ` [1] `, `"a"`, `1e400`, `null`, `{"a":1,"a":2}`, `"\ud800"`, deep(64)} {
		if err := strictjson.Check([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{``, ` `, `{`, `[1,]`, `01`, `nul`, `{}{}`, "\ufeff{}", "\"\xff\"", deep(65), `{'a':1}`, "\"\n\""} {
		if strictjson.Check([]byte(bad)) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestFindFollowsNamesThroughObjects(t *testing.T) {
	members, err := strictjson.Object([]byte(`{"a":{"b":{"c":1},"d":[1],"e":1,"e":2},"\u0066":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"f": `"x"`, "a.b.c": `1`, "a.d": `[1]`, "a.d.e": ``, "f.x": ``, "g": ``, "a.b.x": ``} {
		if got, err := strictjson.Find(members, strings.Split(path, ".")...); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
	if got, err := strictjson.Find(members, "a", "e"); !errors.Is(err, strictjson.ErrTwice) {
		t.Errorf("a name that stands twice: %s, %v", got, err)
	}
}
