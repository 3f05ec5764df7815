package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/webhook"
)

func TestExampleShowsEveryKeyOfATransformAtItsDefault(t *testing.T) {
	_, text, seen := readExample(t)
	got, err := config.Load(config.Options{File: write(t, text), Environ: []string{"PINTLE_SOURCES_GITHUB_SECRETS=x"}})
	if err != nil {
		t.Fatal(err)
	}
	want := load(t, "[[transforms]]\ntransform = '.'\n")
	if len(got.Transforms) != 2 {
		t.Fatalf("transforms are %v", got.Transforms)
	}
	if diff := cmp.Diff(want.Transforms, got.Transforms[:1]); diff != "" {
		t.Errorf("the example is not the default (-default +example):\n%s", diff)
	}
	for key := range want.Values()["transforms"].([]map[string]any)[0] {
		if seen["transforms."+key] == 0 {
			t.Errorf("transforms.%s does not stand in the example", key)
		}
	}
}

func TestTransformsAreReadInTheirOrderAndShown(t *testing.T) {
	c := load(t, `
[[transforms]]
events = ["order.*", "invoice.**"]
transform = """
.data.a
  | {b: $id}	# why
"""
[[transforms]]
transform = "."
[[sources]]
name = "open"
scheme = "none"
[[transforms]]
events = ["a"]
transform = '{"c": .event}'
`)
	want := []webhook.Transform{
		{Events: []webhook.Pattern{"order.*", "invoice.**"}, Expression: ".data.a\n  | {b: $id}\t# why\n"},
		{Events: []webhook.Pattern{"*"}, Expression: "."},
		{Events: []webhook.Pattern{"a"}, Expression: `{"c": .event}`},
	}
	if diff := cmp.Diff(want, c.Transforms); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	again := load(t, string(text))
	if diff := cmp.Diff(c.Transforms, again.Transforms); diff != "" {
		t.Errorf("(-loaded +shown):\n%s", diff)
	}
}

func TestFaultsOfTransformsNameTheirPlace(t *testing.T) {
	file := write(t, `[[transforms]]
events = []
[[transforms]]
events = ["*.created"]
transform = """
.data
  | nonsense(1)
"""
trnsform = "x"
[[transforms]]
events = "order.*"
transform = ""
[[transforms]]
transform = ".a |"
`)
	_, err := config.Load(config.Options{File: file, Environ: []string{"PINTLE_TRANSFORMS_0_EVENTS=*"}, Set: []string{"transforms.0.events=*"}})
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want faults", err)
	}
	want := []string{
		"config.toml:1: transforms[0].transform: is missing; it is the expression in jq that makes the body",
		`config.toml:2: transforms[0].events: must name at least one; ["*"] is all`,
		`config.toml:4: transforms[1].events: entry 1: "*.created": a wildcard is the whole last segment, as in order.* or order.**`,
		"config.toml:5: transforms[1].transform: line 2, column 5: ",
		"config.toml:9: transforms[1].trnsform: unknown key; did you mean transforms[1].transform?",
		`config.toml:11: transforms[2].events: must be a list of patterns such as ["order.*"]`,
		"config.toml:12: transforms[2].transform: must not be empty; . leaves the body as it is",
		"config.toml:14: transforms[3].transform: line 1, column 5: ",
		"PINTLE_TRANSFORMS_0_EVENTS: transforms have no names, so that they are set in the file only",
		"--set transforms.0.events: transforms have no names, so that they are set in the file only",
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), file, "config.toml"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d faults, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) || !strings.HasSuffix(want[i], ": ") && got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

func TestTransformsAreAListOfAtMost100Tables(t *testing.T) {
	for text, fault := range map[string]string{
		"transforms = []\n": "",
		strings.Repeat("[[transforms]]\ntransform = '.'\n", 100): "",
		strings.Repeat("[[transforms]]\ntransform = '.'\n", 101): "transforms: are 101, and at most 100",
		"[transforms]\ntransform = '.'\n":                        "transforms: is a list of tables",
		"transforms = '.'\n":                                     "transforms: is a list of tables",
	} {
		_, err := config.Load(config.Options{File: write(t, text)})
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%.40q…: got %v, want %q", text, err, fault)
		}
	}
}

func TestReloadTakesTransforms(t *testing.T) {
	running, next := load(t, "[[transforms]]\ntransform = '.'\n"), load(t, "[[transforms]]\ntransform = '{a: .}'\n")
	merged, restart := config.Reload(running, next)
	if diff := cmp.Diff(next.Transforms, merged.Transforms); diff != "" || restart != nil {
		t.Errorf("needs a restart of %q (-want +got):\n%s", restart, diff)
	}
}
