package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/config"
)

// faults loads a text and returns what is wrong with it, the file's name taken
// away.
func faults(t *testing.T, text string) []string {
	t.Helper()
	file := write(t, text)
	_, err := config.Load(config.Options{File: file})
	if err == nil {
		return nil
	}
	return strings.Split(strings.ReplaceAll(err.Error(), file+":", ""), "\n")
}

func TestFaultNamesTheLineOnWhichItsKeyBegins(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"dotted key", "# a\noutbound.retrys = 1\n", []string{"2: outbound.retrys: unknown key; did you mean outbound.retries?"}},
		{"quoted key", "[outbound]\n\n\"retrys\" = 1\n'time out' = 1\n", []string{
			"3: outbound.retrys: unknown key; did you mean outbound.retries?", `4: outbound."time out": unknown key; did you mean outbound.timeout?`}},
		{"multi-line string", "[outbound]\nuser_agent = '''\nretrys = 1\n'''\nretrys = 1\n", []string{
			"2: outbound.user_agent: must not have control characters", "5: outbound.retrys: unknown key; did you mean outbound.retries?"}},
		{"multi-line array", "[outbound]\nallow_networks = [ # [log]\n  \"10.0.0.0/8\", # retrys = 1\n  'x',\n]\n", []string{
			`2: outbound.allow_networks: entry 2 is "x", neither an address nor a range such as 10.0.0.0/8`}},
		{"inline table", "outbound = { retrys = 1 }\n", []string{"1: outbound.retrys: unknown key; did you mean outbound.retries?"}},
		{"section in two places", "outbound.retrys = 1\n[log]\nlevl = 1\n", []string{
			"1: outbound.retrys: unknown key; did you mean outbound.retries?", "3: log.levl: unknown key; did you mean log.level?"}},
		{"key as a table", "[log]\n[outbound.retries.x]\ny = 1\n", []string{"2: outbound.retries: must be a whole number"}},
		{"key as tables", "\n[[outbound.retries]]\ny = 1\n", []string{"2: outbound.retries: must be a whole number"}},
		{"unknown section", "\n[outbond]\nretries = 3\n", []string{"2: outbond: unknown section; did you mean outbound?"}},
		{"unknown section of dotted keys", "\n\noutbond.retries = 3\n", []string{"3: outbond: unknown section; did you mean outbound?"}},
		{"section of another case", "[Outbound]\n", []string{"1: Outbound: unknown section; did you mean outbound?"}},
		{"key of another section", "[outbound]\npath = '/'\n", []string{"2: outbound.path: unknown key; did you mean inbound.path?"}},
		{"key without its section", "\nretries = 3\n", []string{"2: retries: unknown key; did you mean outbound.retries?"}},
		{"section as a value", "outbound = 3\n", []string{"1: outbound: is a section; write [outbound] once, and its keys below it"}},
		{"section as a list", "[[outbound]]\nretries = 3\n", []string{"1: outbound: is a section; write [outbound] once, and its keys below it"}},
		{"empty key", "[outbound]\n'' = 1\n", []string{`2: outbound."": unknown key; did you mean outbound.retries?`}},
		{"byte order mark", "\ufeff[outbound]\nretries = 'a'\n", []string{"2: outbound.retries: must be a whole number"}},
		{"line ends of Windows", "[outbound]\r\n\r\nretries = 'a'\r\n", []string{"3: outbound.retries: must be a whole number"}},
		{"no line end", "[outbound]\nretries = 'a'", []string{"2: outbound.retries: must be a whole number"}},
		{"invisible key", "\"\u202e\" = 1\n", []string{`1: "\"\u202e\"": unknown key; did you mean log.level?`}},
	} {
		got := faults(t, c.text)
		if c.name == "empty key" || c.name == "invisible key" { // what is nearest to nothing is of no account
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], "; did")
				c.want[i], _, _ = strings.Cut(c.want[i], "; did")
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestLinesHoldWhateverStandsBetween places unknown keys among all that could
// mislead a reader who counts lines.
func TestLinesHoldWhateverStandsBetween(t *testing.T) {
	between := []string{
		"", "# retries = 1", "x%d = '''\n[log]\n'''", "x%d = \"\"\"a\nb = 1 \\\n  c\"\"\"", "x%d = [\n1, # ]\n\n2]",
		"x%d.y.z = 1", "\"x%d #\" = 'a=b'", "x%d = { a = 1, b.c = [1] }", "x%d = 2024-01-01T00:00:00Z", "  \tx%d = 'é\U0001f600' # é",
	}
	rapid.Check(t, func(t *rapid.T) {
		sections := []string{"[outbound]", "[ log ]", "[\"inbound\"] # [log]"}
		var text strings.Builder
		want := map[string]int{}
		line := 1
		emit := func(s string) {
			text.WriteString(s + "\n")
			line += 1 + strings.Count(s, "\n")
		}
		for _, section := range sections[:rapid.IntRange(1, 3).Draw(t, "sections")] {
			emit(section)
			for i := range rapid.IntRange(0, 6).Draw(t, "keys") {
				s := rapid.SampledFrom(between).Draw(t, "between")
				if strings.Contains(s, "%d") {
					s = fmt.Sprintf(s, i)
				}
				emit(s)
				key := fmt.Sprintf("k%d", i)
				want[strings.Trim(strings.TrimSuffix(section, "# [log]"), "[]\" ")+"."+key] = line
				emit(key + " = 1")
			}
		}
		file := filepath.Join(os.TempDir(), "pintle-lines-"+strconv.Itoa(os.Getpid())+".toml")
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(file)
		_, err := config.Load(config.Options{File: file})
		for name, line := range want {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(":%d: %s: unknown key", line, name)) {
				t.Fatalf("%s is on line %d of:\n%s\ngot %v", name, line, text.String(), err)
			}
		}
	})
}

func TestBrokenFileNamesTheLineAndColumn(t *testing.T) {
	for text, want := range map[string]string{
		"[outbound]\nretries = 3\nretries = 4\n":       "3:1: Key 'outbound.retries' has already been defined.",
		"# é\n[log]\nlevel = loud\n":                   `3:9: expected value but found "loud" instead`,
		"[log\n":                                       "1:5: ",
		"[log]\nformat = '''\n\n'''\nlevel = \"a\\q\"": "5:10: invalid escape",
	} {
		if got := faults(t, text); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%q: got %q, want %s", text, got, want)
		}
	}
}

func TestNoFaultRepeatsASecret(t *testing.T) {
	for _, text := range []string{
		"secret = hushhush", "secret = hush2", "secret = 0712345", "secret = 71234571234571234571", "secret = 7123-45-71", "secret = 71_23__45",
		"secret = \"a\\qhush\"", "secret = \"hush", "secret = 'hush' hush", "secret = 7123", "secret = ['hush']", "secret = { hush = 'hush' }",
		"\"secret\" = hush", "secrt = hush", "secrt = 0712345", "secrt = 'hush'", "secret = '''\nhush\n'''", "secret = 'hush'\nsecret = 'hush'", "secret = 7123.4.5",
	} {
		for _, text := range []string{"[inbound]\n" + text, "inbound." + text, "inbound = { " + text + " }"} {
			for _, fault := range faults(t, text+"\n") {
				if strings.Contains(fault, "hush") && !strings.Contains(fault, "inbound.secret.hush") || strings.Contains(fault, "712") || strings.Contains(fault, "71_") {
					t.Errorf("%q: %s", text, fault)
				}
			}
		}
	}
	_, err := config.Load(config.Options{
		File:    write(t, ""),
		Environ: []string{"PINTLE_INBOUND_SECRET=hush\n", "PINTLE_INBOUND_SECRT=hush", "PINTLE_STORAGE_PATH=postgres://u:hush@h/d"},
		Set:     []string{"inbound.secret=hush\x00", "inbound.secrt=hush", "inbound.secret:hush", "storage.path=postgresql://u:hush@h/d", "inbound.secret HUSH"},
	})
	if err == nil || strings.Contains(strings.ToLower(err.Error()), "hush") || strings.Count(err.Error(), "\n") != 7 {
		t.Errorf("got %v", err)
	}
}

func TestMaskIsNotTakenForASecret(t *testing.T) {
	want := []string{"1: inbound.secret: *** is what a hidden secret is shown as, and no secret"}
	if diff := cmp.Diff(want, faults(t, "inbound.secret = '***'")); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadableFileHidesNoOtherFault(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	_, err := config.Load(config.Options{File: missing, Set: []string{"outbound.retries=x", "log.levl=info"}})
	if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), "\n") != 2 || !strings.Contains(err.Error(), "--set outbound.retries=x: must be a whole number") {
		t.Errorf("got %v", err)
	}
	if _, err := config.Load(config.Options{File: write(t, strings.Repeat("# long\n", 50_000))}); err == nil {
		t.Error("a file without end is read")
	}
	if got := faults(t, "\xff\xfea = 1"); len(got) != 1 || !strings.HasSuffix(got[0], "is not UTF-8") {
		t.Errorf("got %q", got)
	}
}

// loadsAsShown loads what the configuration is shown as, with secrets in place
// of the hidden ones.
func loadsAsShown(t *testing.T, c *config.Config) {
	t.Helper()
	shown, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	secrets := regexp.MustCompile(`(?m)^(secrets?|proxy|encryption_key) = .*$`)
	again := load(t, secrets.ReplaceAllStringFunc(string(shown), func(line string) string { return strings.ReplaceAll(line, "***", key(1)) }))
	if diff := cmp.Diff(c.Values(), again.Values()); diff != "" {
		t.Fatalf("(-loaded +shown):\n%s\n%s", diff, shown)
	}
}

func FuzzFileNeverPanicsAndFaultsHaveLines(f *testing.F) {
	for _, seed := range []string{
		"[outbound]\nretries = 3\n", "a.b.c = [[1, {x = 1}]]\n[[d]]\n'' = 1\n", "[inbound]\nsecret = '''\nx'''\n\"\\u00e9\" = 1\n",
		"[a]\nb.c = 1\n[a.d]\n", "x = \"\"\"\\\n  y\"\"\"", "outbound = { schedule = [1, '2s'], '' = {} }\n",
		"[[sources]]\nname = 'a'\nscheme = 'hmac'\nsecrets = ['x']\nhmac = { header = 'X', template = \"{body}\\n\" }\n[[sources]]\nname = 'b'\nscheme = 'none'\n",
		"[[sources]]\n[sources.hmac]\nx = 1\n[[sources]]\nhmac.y = [2]\n[[sources.z]]\n", "sources = [{name = 'a'}]\n",
		"[[transforms]]\nevents = ['a.*', '*']\ntransform = \"\"\"\n.data |\n {a: .}\"\"\"\n[[transforms]]\ntransform = '(.'\n[[transforms.x]]\n", "transforms = [{transform = '\u2028 | \x07'}]\n",
		"[outbound]\nproxy = 'http://u:p@[::1]:80/'\nhold_after = '2h'\n[storage]\nencryption_key = '" + key(1) + "'\n", "[sources.github]\nname = '-'\n", "[[sources]]\r\nname = \"\\u0061\"\r\npath = '/a'",
	} {
		f.Add(seed)
	}
	file := filepath.Join(f.TempDir(), "config.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Options{File: file})
		var top map[string]any
		_, libraryErr := toml.Decode(text, &top)
		if err == nil {
			if libraryErr != nil {
				t.Fatalf("accepted, though the library says %v", libraryErr)
			}
			loadsAsShown(t, c)
			return
		}
		lines := strings.Count(text, "\n") + 1
		for _, fault := range strings.Split(err.Error(), "\n") {
			where, ok := strings.CutPrefix(fault, file+":")
			if !ok {
				t.Fatalf("fault without the file: %q", fault)
			}
			if where == " is not UTF-8" {
				continue
			}
			digits, _, _ := strings.Cut(where, ":")
			if n, err := strconv.Atoi(digits); err != nil || n < 1 || n > lines {
				t.Fatalf("fault on no line of %d: %q", lines, fault)
			}
		}
		// Every section of the file that does not exist is named.
		for name := range top {
			_, known := config.Default().Values()[name]
			if libraryErr == nil && !known && !strings.Contains(err.Error(), ": unknown ") {
				t.Fatalf("%q is not reported: %v", name, err)
			}
		}
	})
}
