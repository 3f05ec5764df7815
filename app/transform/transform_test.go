package transform_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pintle/pintle/app/transform"
)

// TestMain makes the test the child of the pools that it tests, and what else they
// may have to do with.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case transform.WorkerCommand:
			os.Exit(transform.Serve())
		case "liar":
			lie(os.Args[2])
			os.Exit(0)
		case "parent":
			beParent()
		}
	}
	goleak.VerifyTestMain(m)
}

// beParent has a child that computes, prints what it is, and waits.
func beParent() {
	p := transform.New(transform.Options{Timeout: time.Hour})
	go func() {
		_, _ = p.Filter(context.Background(), "owner", `last(range(infinite))`, transform.Input{Body: []byte("{}")})
	}()
	for len(p.ChildPIDs()) == 0 {
		runtime.Gosched()
	}
	fmt.Println(p.ChildPIDs()[0])
	select {}
}

func newPool(t testing.TB, o transform.Options) *transform.Pool {
	t.Helper()
	p := transform.New(o)
	t.Cleanup(p.Close)
	return p
}

const order = `{"event":"order.paid","timestamp":"2026-11-25T10:00:00Z","data":{"id":9007199254740993,"total":1.10,"huge":1e400,"items":[{"sku":"a","n":2},{"sku":"b","n":1}],"note":"<café>"}}`

var input = transform.Input{Body: []byte(order), ID: "evt_1", Source: "shop", ClientID: "client"}

func one(source string) []transform.Expression {
	return []transform.Expression{{Name: "transform", Source: source}}
}

func TestATransformMakesTheBody(t *testing.T) {
	p := newPool(t, transform.Options{})
	for _, test := range []struct{ source, want string }{
		{".", `{"data":{"huge":1e400,"id":9007199254740993,"items":[{"n":2,"sku":"a"},{"n":1,"sku":"b"}],"note":"<café>","total":1.10},"event":"order.paid","timestamp":"2026-11-25T10:00:00Z"}`},
		{"{text: .data.note}", `{"text":"<café>"}`},
		{"[$id, $source, $client_id]", `["evt_1","shop","client"]`},
		{".data.id", `9007199254740993`},
		{".data.id + 1", `9007199254740994`},
		{".data.total", `1.10`},
		{".data.total * 2", `2.2`},
		{".data.huge", `1e400`},
		{".data.huge + 1", `1.7976931348623157e+308`},
		{"-infinite", `-1.7976931348623157e+308`},
		{"nan", `null`},
		{"[nan, infinite] | tojson", `"[null,1.7976931348623157e+308]"`},
		{"1e-7, -1e-10, 1.5e300 | [.] | select(. == [1e-7])", `[1e-7]`},
		{`"\u0000\u001f\u007f\u2028\"\\"`, "\"\\u0000\\u001f\\u007f\u2028\\\"\\\\\""},
		{`[55357] | implode`, "\"\ufffd\""},
		{`"gA==" | @base64d`, "\"\ufffd\""},
		{"[.data.items[].n] | add", `3`},
		{"first(.data.items[].sku)", `"a"`},
		{"$ENV | length", `0`},
		{"env | length", `0`},
		{`0 | strflocaltime("%Z")`, `"UTC"`},
		{"[limit(3; repeat(1))]", `[1,1,1]`},
		{"1, halt", `1`},
		{`now | type`, `"number"`},
		{`null`, `null`},
	} {
		body, err := p.Transform(t.Context(), "owner", one(test.source), input)
		if err != nil || string(body) != test.want {
			t.Errorf("%s makes %s, %v; want %s", test.source, body, err, test.want)
		}
	}
}

func TestAFilterIsTrueForOneValueNeitherFalseNorNull(t *testing.T) {
	p := newPool(t, transform.Options{})
	for source, want := range map[string]bool{
		"true": true, "false": false, "null": false, "empty": false, "0": true, `""`: true, "[]": true,
		`.data.total > 1`: true, `.data.items | length > 2`: false, `any(.data.items[]; .sku == "b")`: true,
		`.event | startswith("order.")`: true, `.data.none.at.all`: false, "halt": false,
	} {
		got, err := p.Filter(t.Context(), "owner", source, input)
		if err != nil || got != want {
			t.Errorf("%s is %t, %v", source, got, err)
		}
	}
}

func TestAFailureNamesTheExpressionAndTheReason(t *testing.T) {
	p := newPool(t, transform.Options{})
	chain := []transform.Expression{{"transforms[0]", ".data"}, {"transforms[1]", ".id | .x"}, {"transform", "."}}
	for _, test := range []struct {
		run        func() error
		name, want string
	}{
		{func() error { _, err := p.Filter(t.Context(), "o", ".data.items[].sku", input); return err }, "filter", "made several values: say any(…) or first(…)"},
		{func() error { _, err := p.Filter(t.Context(), "o", "error(\"no\")", input); return err }, "filter", "no"},
		{func() error { _, err := p.Transform(t.Context(), "o", chain, input); return err }, "transforms[1]", "expected an object but got: number (9007199254740993)"},
		{func() error { _, err := p.Transform(t.Context(), "o", one("empty"), input); return err }, "transform", "made no value"},
		{func() error { _, err := p.Transform(t.Context(), "o", one("1, 2"), input); return err }, "transform", "made several values"},
		{func() error { _, err := p.Transform(t.Context(), "o", one(".["), input); return err }, "transform", "line 1, column 3: unexpected EOF"},
		{func() error {
			_, err := p.Transform(t.Context(), "o", one("."), transform.Input{Body: []byte("{} x")})
			return err
		}, "transform", "the body is not JSON"},
	} {
		var e *transform.Error
		if err := test.run(); !errors.As(err, &e) || e.Expression != test.name || !strings.Contains(e.Reason, test.want) || e.Exhausted {
			t.Errorf("%#v; want %s: %s", err, test.name, test.want)
		}
	}
}
