package transform_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/pintle/pintle/app/transform"
)

func TestAFaultOfAnExpressionHasAPlaceAndAReason(t *testing.T) {
	for source, want := range map[string]string{
		`.data.x`:                  "",
		`$id + $source`:            "",
		``:                         `missing query (try ".")`,
		`.data.`:                   "line 1, column 7: unexpected EOF",
		`.data.x }`:                `line 1, column 9: unexpected token "}"`,
		"{\n  a: .b,\n  é: 1\n}":   `line 3, column 3: unexpected token "é"`,
		"# é\n\n\"é\" + )":         `line 3, column 7: unexpected token ")"`,
		`"a\q"`:                    `line 1, column 3: invalid escape sequence "\q" in string literal`,
		`"abc`:                     "line 1, column 5: unterminated string literal",
		`1 | 2x`:                   `line 1, column 5: invalid token "2x"`,
		`.foo | foo(1; 2)`:         "line 1, column 8: function not defined: foo/2",
		"1\n| $nope":               "line 2, column 3: variable not defined: $nope",
		`break $out`:               "line 1, column 7: label not defined: $out",
		`@nope`:                    "",
		`debug`:                    "line 1, column 1: function not defined: debug/0",
		`.x | stderr`:              "line 1, column 6: function not defined: stderr/0",
		`{a:$nope}`:                "line 1, column 4: variable not defined: $nope",
		`{nope:nope}`:              "line 1, column 2: function not defined: nope/0",
		`m::nope`:                  "line 1, column 1: function not defined: m::nope/0",
		`input`:                    "line 1, column 1: input(s)/0 is not allowed",
		`.inputs | [inputs]`:       "line 1, column 12: input(s)/0 is not allowed",
		`input_filename`:           "line 1, column 1: function not defined: input_filename/0",
		`include "a"; .`:           `line 1, column 1: cannot load module: "a"`,
		`import "a" as $a; $a`:     `line 1, column 1: cannot load module: "a"`,
		`get_search_list`:          "line 1, column 1: function not defined: get_search_list/0",
		"\"\xff\"":                 "line 1, column 2: not UTF-8",
		strings.Repeat(" ", 16385): "at most 16 KiB",
	} {
		err := transform.Check(source)
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%.40q: %v, want %s", source, err, want)
		}
		var syntax *transform.SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Errorf("%.40q: %T", source, err)
		}
	}
}

// sources are as large as a source may be, and made to be hard to read.
func sources() map[string]string {
	const most = 16 << 10
	repeat := func(before, middle, after string) string {
		n := (most - len(middle)) / (len(before) + len(after))
		return strings.Repeat(before, n) + middle + strings.Repeat(after, n)
	}
	s := map[string]string{}
	for _, parts := range [][3]string{
		{"(", "1", ")"}, {"(", "", ""}, {"[", "", "]"}, {"[", "1", "]"}, {"{a:", "1", "}"}, {"{(", "1", "):1}"}, {`"\(`, "1", `)"`}, {`"\(`, "", ""},
		{"-", "1", ""}, {"-", ".", ""}, {".[", "0", "]"}, {".[", ".", "]"}, {".[", ".", ":1]"}, {".[", ".", ":]"}, {"", ".", ".a"}, {"", ".", "?"}, {"", ".", "[]"}, {"", ".", "[0]"},
		{"", ".", "|."}, {"", ".", ",."}, {"", "1", "+1"}, {"", "1", "//1"}, {"", ".a", "=.a"}, {"", "(.a|=1)", "|(.a|=1)"}, {"", "1", " and 1"}, {"", "1", " or 1"}, {"1<(", "1", ")"},
		{".a|=(", ".", ")"}, {".a+=(", "1", ")"}, {".a//=(", "1", ")"}, {".a=(", "1", ")"}, {"try ", "1", ""}, {"try ", "1", " catch 1"}, {"", "try 1", " catch try 1"}, {"label $a|", "1", ""}, {". as $a|", "1", ""},
		{". as [$a,$b]|", "1", ""}, {". as [$a]?//[$b]|", "1", ""}, {"if 1 then ", "1", " else 1 end"}, {"if ", "1", " then 1 else 1 end"}, {"if 1 then 1 elif ", "1", " then 1 end"}, {"if 1 then 1 ", "", ""},
		{"reduce ", ".", " as $a(1;1)"}, {"reduce . as $a(", "1", ";1)"}, {"reduce . as $a(1;", "1", ")"}, {"foreach . as $a(1;1;", "1", ")"},
		{"def f:", "1", ";f"}, {"def f:1;", "f", ""}, {"def f(g):", "1", ";f(1)"}, {"def f(g):g;", "f(1)", ""}, {"def f: def g:", "1", ";g;f"}, {"f(", "1", ")"}, {"map(", "1", ")"}, {"path(", "1", ")"}, {"first(", "1", ")"}, {"any(", "1", ")"}, {"walk(", ".", ")"}, {"limit(1;", "1", ")"}, {"sub(1;", "1", ")"},
		{"select(", ".", ")"}, {"with_entries(", ".", ")"}, {"", ". as [", "["}, {". as [", "$a", "]|1"}, {"@sh \"\\(", "1", ")\""}, {"#", "\n", "#"}, {"#\\\n", "", ""}, {"9", "", ""}, {"9", ".", "9"}, {"9", "e", "9"}, {"1e9,", "1", ""}, {"a::", "a", ""}, {"$a::", "a", ""}, {"$__loc__,", "1", ""},
		{`"\u0000`, `"`, ""}, {`\u0000`, "", ""}, {"..", "", ""}, {"..|", "..", ""}, {"env|", "1", ""}, {"{a,", "b", "}"}, {"{", "a", ",b:1}"}, {"{$a:", "1", "}"}, {"import \"a\" as a;", "1", ""}, {"module {a:", "1", "};"}, {"module {a:", "1", "}"}, {"module {a:[", "1", "]};1"},
		{"", "{a:1", "|1"}, {"", "{a:1", ",b:1"}, {"", "f(1", ";1"}, {"def f(a", "", ";a"}, {"def f: if . then f else ", "1", " end;f"}, {"", ". as {a:$a", ",a:$a"}, {". as {a:", "$a", "}|1"}, {". as {(", "1", "):$a}|$a"}, {". as {$a:[", "$a", "]}|$a"},
		{"def f: reduce f as $x (", "f", ";f);f"}, {"not|", "not", ""}, {"[.[]|", ".", "]"}, {"{} | .a.b.c |= ", ".", ""},
	} {
		s[parts[0]+" "+parts[1]+" "+parts[2]] = repeat(parts[0], parts[1], parts[2])
	}
	var defs strings.Builder
	for i := 0; defs.Len() < most-40; i++ {
		defs.WriteString("def f" + strings.Repeat("a", i%50) + ":f;")
	}
	s["definitions"] = defs.String() + "."
	var alternatives, variables strings.Builder
	for i := 0; alternatives.Len() < most-20; i++ {
		fmt.Fprintf(&alternatives, "?//$v%d", i)
	}
	for i := 0; variables.Len() < most-700; i++ {
		fmt.Fprintf(&variables, "$v%d,", i)
	}
	s["alternatives"] = ". as " + alternatives.String()[3:] + "|1"
	s["alternatives of many variables"] = ". as [" + variables.String() + "$a]" + strings.Repeat("?//$b", 49) + "|1"
	return s
}

func TestNoSourceIsHardToRead(t *testing.T) {
	for name, source := range sources() {
		runtime.GC() // the stack shrinks
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := transform.Check(source)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 32<<20 || after.StackInuse > 16<<20 {
			t.Errorf("%q allocates %d KiB, and the stack has %d KiB: %.80v", name, allocated>>10, after.StackInuse>>10, err)
		}
	}
}

// FuzzCheck: whatever the source, an answer comes, and of the kind it should be.
func FuzzCheck(f *testing.F) {
	for _, source := range sources() {
		f.Add(source[:min(len(source), 200)])
	}
	f.Fuzz(func(t *testing.T, source string) {
		err := transform.Check(source)
		var syntax *transform.SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Fatalf("%T", err)
		}
		if syntax != nil && (syntax.Line == 0) != (syntax.Column == 0) || err != nil && strings.Contains(err.Error(), "itself") {
			t.Fatal(err)
		}
	})
}
