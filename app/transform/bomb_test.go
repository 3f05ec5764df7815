package transform_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pintle/pintle/app/transform"
)

// bombs ask for more time or memory than there is. It is chance which bound they
// meet first.
var bombs = []string{
	`reduce range(60) as $i ("x"; . + .)`,
	`reduce range(60) as $i ([1]; . + .)`,
	`try (reduce range(60) as $i ("x"; . + .)) catch .`,
	`[limit(1000000000; repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))]`,
	`"x" * 2000000000`,
	`"\("x" * 900000000)\("y" * 900000000)"`,
	`def f: f; f`,
	`def f: 1 + f; f`,
	`def f: [f]; f`,
	`def f: try error("x") catch f; f`,
	`def f: f, f; f`,
	`last(range(infinite))`,
	`[range(infinite)]`,
	`[range(0; 1; 1e-300)]`,
	`first(repeat(empty))`,
	`until(false; .)`,
	`[.[]?, (label $out | foreach repeat(1) as $i (0; . + 1; .))]`,
	`limit(1e18; range(1e18)) | select(. < 0)`,
	`1, last(range(infinite))`,
	`error(reduce range(40) as $i ([1]; [., .]))`,
	`reduce range(40) as $i ([1]; [., .]) | tojson | length`,
	`reduce range(10000000) as $i (0; [.])`,
	`("a" * 100000) as $s | [range(100000)] | map($s + tostring)`,
	`("a" * 1000000) | test("(a*)*(a*)*(a*)*b")`,
	`("a" * 1000000) | test("(.*)(.*)(.*)(.*)(.*)[^a]{1000}$")`,
	`("a" * 1000000) | [match("a"; "g")] | length`,
	`("a" * 1000000) | gsub("a"; "bb") | length`,
	`[range(1000000)] | sort_by(-.)`,
	`[range(300)] | [combinations(4)]`,
	`[range(2000) | . as $x | range(2000) | $x]`,
	`reduce range(30) as $i (9; . * .)`,
	`[1e8 | range(.) | tostring] | join(",")`,
	`{} | .[(range(10000000) | tostring)] = 1`,
	`null | .[100000000] = 1`,
	`"x" | until(length > 1e10; . + .)`,
	`[range(100000)] | tojson | until(false; . + .)`,
	`[paths] | until(false; . + .)`,
	`0 | strftime("%Y" * 100000000)`,
	`[range(1000000)] | implode | explode | map(tostring) | unique`,
}

func TestABombIsStoppedAndThePoolGoesOn(t *testing.T) {
	p := newPool(t, transform.Options{Workers: 1})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, source := range bombs {
		_, err := p.Transform(t.Context(), "bomber", one(source), input)
		var e *transform.Error
		if !errors.As(err, &e) || !e.Exhausted || !strings.HasPrefix(e.Reason, "took more than") {
			t.Errorf("%s: %#v", source, err)
		}
		if ok, err := p.Filter(t.Context(), "honest", "true", input); !ok || err != nil {
			t.Fatalf("after %s the pool does not go on: %v", source, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 16<<20 {
		t.Errorf("%d bombs took %d KiB of the parent's memory", len(bombs), grown>>10)
	}
}

// unhurried leaves expressions the time to meet another bound.
const unhurried = 20 * time.Second

func TestABodyHasABound(t *testing.T) {
	p := newPool(t, transform.Options{Workers: 1, Timeout: unhurried})
	for source, want := range map[string]string{
		`reduce range(40) as $i ([1]; [., .])`:                "made more than 1 MiB",
		`reduce range(40) as $i ({"a": 1}; {"a": ., "b": .})`: "made more than 1 MiB",
		`"x" * 2000000`:                        "made more than 1 MiB",
		`"\u0000" * 200000`:                    "made more than 1 MiB",
		`{("x" * 2000000): 1}`:                 "made more than 1 MiB",
		`[range(300000)]`:                      "made more than 1 MiB",
		`reduce range(22) as $i (99; . * .)`:   "made more than 1 MiB",
		`reduce range(2000) as $i (0; [.])`:    "made a value nested deeper than 1000",
		`reduce range(2000) as $i (0; {a: .})`: "made a value nested deeper than 1000",
	} {
		_, err := p.Transform(t.Context(), "owner", one(source), input)
		var e *transform.Error
		if !errors.As(err, &e) || !e.Exhausted || e.Reason != want {
			t.Errorf("%s: %#v, want %s", source, err, want)
		}
	}
	for source, want := range map[string]int{`"x" * 1048574`: 1 << 20, `reduce range(1000) as $i (0; [.])`: 2001} {
		if body, err := p.Transform(t.Context(), "owner", one(source), input); err != nil || len(body) != want {
			t.Errorf("%s makes %d bytes, %v; want %d", source, len(body), err, want)
		}
	}
}

// TestOddValuesAreNoHarm: whatever an expression makes of them is an answer.
func TestOddValuesAreNoHarm(t *testing.T) {
	p := newPool(t, transform.Options{Workers: 1, Timeout: unhurried})
	for _, source := range []string{
		`[-1, 1114112, 55296, nan] | implode`,
		`"x" * -1`,
		`"x" * nan`,
		`"x" * 1e300`,
		`[nan] | sort | tojson`,
		`getpath(["data", 0, "x"])`,
		`setpath([]; 1)`,
		`delpaths([[]])`,
		`path(1)`,
		`[limit(-1; 1)]`,
		`@sh "\(.)"`,
		`ltrimstr(1)`,
		`"a" | test("(((a{0,30}){0,30}){0,30}){0,30}")`,
		`"a" | test("(")`,
		`error`,
		`error(null)`,
		`halt_error`,
		`"a" | halt_error(1)`,
		`modulemeta`,
		`builtins | length`,
		`$__loc__`,
		`input_line_number`,
		`splits("")`,
		`tojson | fromjson`,
		`"[" * 20000 | fromjson`,
		`"1" * 100000 | tonumber`,
		`"{}" | fromjson | tojson`,
		`1e999999999`,
		`9e999 - 9e999 | tostring`,
		`localtime, gmtime, mktime`,
		`1e300 | todate`,
		`"\uD800" | @json`,
		`.. |= .`,
		`limit(0; error)`,
		`label $f | break $f`,
		`[.[] as [$a] ?// {$b} | [$a, $b]]`,
		`[range(70000)] | .[1:] = [1] | length`,
		`reduce .data.items[] as {sku: $s} ([]; . + [$s])`,
	} {
		_, err := p.Transform(t.Context(), "owner", one(source), input)
		var e *transform.Error
		if err != nil && (!errors.As(err, &e) || e.Exhausted || len(e.Reason) > 1<<10) {
			t.Errorf("%s: %#v", source, err)
		}
	}
}

// TestABombDoesNotSlowOthers has one owner send bombs without pause, each of which
// takes far longer than any honest expression, while another asks for filters. No
// filter may wait for a bomb, and nearly all take about what they take without.
func TestABombDoesNotSlowOthers(t *testing.T) {
	const bomb, calls = `reduce range(60) as $i ("x"; . + .) | last(range(infinite))`, 300
	const timeout = 500 * time.Millisecond
	// Most bombs end by the bound on memory, which is far.
	p := newPool(t, transform.Options{Timeout: timeout, Memory: 512 << 20})
	honest := func() (p99, longest time.Duration) {
		took := make([]time.Duration, calls)
		for i := range took {
			began := time.Now()
			if ok, err := p.Filter(t.Context(), "honest", `.data.total > 1`, input); !ok || err != nil {
				t.Fatal(err)
			}
			if took[i] = time.Since(began); took[i] > timeout {
				t.Fatalf("an honest filter took %v: it has waited for a bomb of %v", took[i], timeout)
			}
		}
		slices.Sort(took)
		return took[calls*99/100], took[calls-1]
	}
	honest()
	without, _ := honest()
	// From the first on it is known for one that is exhausted.
	if _, err := p.Filter(t.Context(), "bomber", `last(range(infinite))`, input); err == nil {
		t.Fatal("the bomb has not gone off")
	}
	stop, bombed := make(chan struct{}), 0
	var mu sync.Mutex
	var bombers sync.WaitGroup
	for _, source := range []string{bomb, `last(range(infinite))`, bomb} {
		bombers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-t.Context().Done():
					return
				default:
				}
				_, err := p.Transform(t.Context(), "bomber", one(source), input)
				var e *transform.Error
				if t.Context().Err() == nil && (!errors.As(err, &e) || !e.Exhausted) {
					t.Errorf("a bomb ends with %v", err)
				}
				mu.Lock()
				bombed++
				mu.Unlock()
			}
		})
	}
	var with, longest time.Duration
	for enough := false; !enough; {
		w, l := honest()
		with, longest = max(with, w), max(longest, l)
		mu.Lock()
		enough = bombed >= 2
		mu.Unlock()
	}
	close(stop)
	bombers.Wait()
	t.Logf("p99 %v without bombs, %v with %d of them; the longest %v", without, with, bombed, longest)
	if bound := max(50*without, timeout/4); with > bound {
		t.Errorf("the p99 is %v with bombs, %v without", with, without)
	}
}
