package config_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/webhook"
)

func TestSourceHasTheChecksOfInboundUnlessItHasItsOwn(t *testing.T) {
	c, err := config.Load(config.Options{
		File: write(t, `
[inbound]
max_body = 1000
allow_ips = ["10.0.0.0/8"]
allow_asns = [64500]
asn_database = "asn.mmdb"
[[sources]]
name = "plain"
secrets = ["a"]
[[sources]]
name = "own-1"
path = "/hooks/own"
scheme = "hmac"
secrets = ["a", "b"]
client_id = "acme"
event_prefix = "own:"
type_from = "header:X-Type"
id_from = "body:meta.id"
time_from = "body:created"
enabled = false
validate_signature = false
max_clock_skew = 0
max_body = "2KiB"
allow_ips = []
allow_asns = ["as64501", "64502", 64503]
rate_limit = 2.5
hmac = { header = "X-Sig", algorithm = "sha1", encoding = "base64", prefix = "v0=", template = "v0:{timestamp}\n{id}.{body}", timestamp_header = "X-Time", id_header = "X-Id" }
`),
		// What inbound has in the end counts.
		Environ: []string{"PINTLE_INBOUND_RATE_LIMIT=7"}, Set: []string{"inbound.max_clock_skew=1m"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want := []webhook.Source{{
		Name: "inbound", Path: "/webhook/inbound", Scheme: webhook.SchemeAgent, Secrets: []webhook.Secret{"made"}, Enabled: true, ValidateSignature: true,
		MaxClockSkew: time.Minute, MaxBody: 1000, AllowIPs: ten, AllowASNs: []uint32{64500}, RateLimit: 7,
	}, {
		Name: "plain", Path: "/webhook/plain", Scheme: webhook.SchemeAgent, Secrets: []webhook.Secret{"a"}, Enabled: true, ValidateSignature: true,
		MaxClockSkew: time.Minute, MaxBody: 1000, AllowIPs: ten, AllowASNs: []uint32{64500}, RateLimit: 7,
	}, {
		Name: "own-1", Path: "/hooks/own", Scheme: webhook.SchemeHMAC, Secrets: []webhook.Secret{"a", "b"}, ClientID: "acme", EventPrefix: "own:",
		TypeFrom: "header:X-Type", IDFrom: "body:meta.id", TimeFrom: "body:created", MaxBody: 2048, AllowASNs: []uint32{64501, 64502, 64503}, RateLimit: 2.5,
		Form: webhook.SignatureForm{Header: "X-Sig", Algorithm: "sha1", Encoding: "base64", Prefix: "v0=", Template: "v0:{timestamp}\n{id}.{body}", TimestampHeader: "X-Time", IDHeader: "X-Id"},
	}}
	if diff := cmp.Diff(want, c.Endpoints("made"), compareConfigs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSourceOfTheFileIsSetFromOutside(t *testing.T) {
	text := "[[sources]]\nname = 'git-hub_2'\nscheme = 'github'\n[[sources]]\nname = 'b'\nscheme = 'hmac'\nsecrets = ['x']\n"
	c, err := config.Load(config.Options{
		File:    write(t, text),
		Environ: []string{"PINTLE_SOURCES_GIT_HUB_2_SECRETS=one, two", "PINTLE_SOURCES_B_HMAC_HEADER=X-Env", "PINTLE_SOURCES_B_RATE_LIMIT=3", "PINTLE_SOURCES_B_PATH=/env"},
		Set:     []string{"sources.b.hmac.encoding=base64", "sources.b.rate_limit=4", "sources.git-hub_2.enabled=false"},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Sources[0], c.Sources[1]
	if !slices.Equal(a.Secrets, []webhook.Secret{"one", "two"}) || a.Enabled || b.Form.Header != "X-Env" || b.Form.Encoding != "base64" || b.RateLimit != 4 || b.Path != "/env" {
		t.Errorf("sources are %+v", c.Sources)
	}
}

func TestSettingOfNoSourceIsAFault(t *testing.T) {
	outside := func(text string) []string {
		_, err := config.Load(config.Options{
			File:    write(t, text),
			Environ: []string{"PINTLE_SOURCES_GIHUB_SECRETS=hush", "PINTLE_SOURCES_GITHUB_NAME=x", "PINTLE_SOURCES_GITHUB_MAX_BODY=much"},
			Set:     []string{"sources.github.secret=hush", "sources.github.secrets=hush,\x00", "sources=1"},
		})
		if err == nil {
			t.Fatal("all of it is accepted")
		}
		return strings.Split(err.Error(), "\n")
	}
	want := []string{
		"PINTLE_SOURCES_GIHUB_SECRETS: no key of a source in the file has this variable; did you mean PINTLE_SOURCES_GITHUB_SECRETS?",
		`PINTLE_SOURCES_GITHUB_MAX_BODY: must be a size such as "1MiB" or "500KB", or whole bytes`,
		"PINTLE_SOURCES_GITHUB_NAME: no key of a source in the file has this variable",
		"--set sources.github.secret: no source in the file has this key; did you mean sources.github.secrets?",
		"--set sources.github.secrets=***: entry 2 must not have control characters",
		"--set sources: unknown key",
	}
	got := outside("[[sources]]\nname = 'github'\nscheme = 'github'\nsecrets = ['x']\n")
	for _, i := range []int{2, 5} { // what is nearest to these is of no account
		got[i], _, _ = strings.Cut(got[i], "; did")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := outside(""); len(got) != 6 || got[0] != "PINTLE_SOURCES_GIHUB_SECRETS: no key of a source in the file has this variable" ||
		got[4] != "--set sources.github.secrets: no source in the file has this key" {
		t.Errorf("without sources: %q", got)
	}
	// Of a file that cannot be read nobody knows which sources it has.
	if got := outside("[[sources"); len(got) != 2 {
		t.Errorf("of a broken file: %q", got)
	}
}

func TestFaultOfASourceNamesItAndItsLine(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"each where it stands", "[[sources]]\nname = 'a'\nscheme = 'x'\n\n[[sources]]\nscheme = 'y'\nname = 'b'\n[log]\nlevl = 1\n[[ sources ]]\n\nscheme = 'z'\n", []string{
			"3: sources.a.scheme: must be agent, standard, stripe, github, gitlab, shopify, slack, hmac or none",
			"6: sources.b.scheme: must be agent, standard, stripe, github, gitlab, shopify, slack, hmac or none",
			"9: log.levl: unknown key; did you mean log.level?",
			"10: sources[2].name: is missing; every source has a name",
			"12: sources[2].scheme: must be agent, standard, stripe, github, gitlab, shopify, slack, hmac or none"}},
		{"unknown keys", "[[sources]]\nname = 'a'\nsecret = 'hush'\n[[sources]]\nsecret = 'hush'\nname = 'b'\nhmac = { headr = 1 }\n[sources.hmax]\nx = 1\n", []string{
			"3: sources.a.secret: unknown key; did you mean sources.a.secrets?",
			"5: sources.b.secret: unknown key; did you mean sources.b.secrets?",
			"7: sources.b.hmac.headr: unknown key; did you mean sources.b.hmac.header?",
			"8: sources.b.hmax: unknown key; did you mean sources.b.path?"}},
		{"a form of each", "[[sources]]\nname = 'a'\n[sources.hmac]\nencoding = 'x'\n[[sources]]\nname = 'b'\nhmac.algorithm = 'md5'\n[[sources]]\nname = 'c'\nhmac = 1\n", []string{
			"4: sources.a.hmac.encoding: must be hex or base64",
			"7: sources.b.hmac.algorithm: must be sha256, sha1 or sha512",
			`10: sources.c.hmac: is a table; write hmac = { header = "X-Signature" }`}},
		{"written in another way before", "[[sources]]\nname = 'a'\n[sources.t]\n[[sources]]\nname = 'b'\nt.x = 1\n", []string{
			"3: sources.a.t: unknown key; did you mean sources.a.path?", "6: sources.b.t: unknown key; did you mean sources.b.path?"}},
		{"the same name", "[[sources]]\nname = 'a_b'\n[[sources]]\n# x\nname = 'a-b'\n[[sources]]\nname = 'a_b'\n", []string{
			"5: sources[1].name: a-b is another source's, and - and _ are alike", "7: sources[2].name: a_b is another source's, and - and _ are alike"}},
		{"names", "[[sources]]\nname = 'inbound'\n[[sources]]\nname = 'Git'\n[[sources]]\nname = '-a'\n[[sources]]\nname = 1\n", []string{
			"2: sources[0].name: inbound is the name of a source that every installation has", "4: sources[1].name: must be 1 to 64 of a–z 0–9 _ -, a letter or digit first",
			"6: sources[2].name: must be 1 to 64 of a–z 0–9 _ -, a letter or digit first", "8: sources[3].name: must be a string"}},
		{"names that Pintle has", "[[sources]]\nname = 'admin'\n[[sources]]\nname = 'pintle'\n", []string{
			"2: sources[0].name: admin is the name of a source that every installation has", "4: sources[1].name: pintle is the name of a source that every installation has"}},
		{"a table", "[sources]\nname = 'a'\n", []string{"1: sources: is a list of tables; write [[sources]] for each source, and its name and other keys below it"}},
		{"a table of tables", "\n[sources.github]\nscheme = 'github'\n", []string{"2: sources: is a list of tables; write [[sources]] for each source, and its name and other keys below it"}},
		{"an inline list", "sources = [{name = 'a'}]\n", []string{"1: sources: is a list of tables; write [[sources]] for each source, and its name and other keys below it"}},
		{"nearly", "[[source]]\nname = 'a'\n", []string{"1: source: unknown section; did you mean sources?"}},
		{"too many", strings.Repeat("[[sources]]\n", 257), []string{"257: sources: are 257, and at most 256"}},
	} {
		got := faults(t, c.text)
		if c.name == "unknown keys" { // what is nearest to hmax is of no account
			got[3], _, _ = strings.Cut(got[3], "; did")
			c.want[3], _, _ = strings.Cut(c.want[3], "; did")
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if got := faults(t, "sources = []\n"); got != nil {
		t.Errorf("an empty list: %q", got)
	}
}

// TestLinesHoldInEverySource places unknown keys in sources among all that could
// mislead one who counts lines.
func TestLinesHoldInEverySource(t *testing.T) {
	between := []string{"", "# [[sources]]", "x = '''\n[[sources]]\n'''", "x = [\n[1], # ]]\n\n]", "hmac.header = 'a'", "hmac = { header = 'a' }", "[x%d]", "[sources.hmac]\nheader = 'a'", "  [ 'sources' . hmac ]"}
	rapid.Check(t, func(rt *rapid.T) {
		var text strings.Builder
		var want []string
		line := 1
		emit := func(s string) {
			text.WriteString(s + "\n")
			line += 1 + strings.Count(s, "\n")
		}
		for i := range rapid.IntRange(1, 5).Draw(rt, "sources") {
			emit(rapid.SampledFrom([]string{"[[sources]]", " [[ \"sources\" ]] # [[sources]]"}).Draw(rt, "header"))
			if rapid.Bool().Draw(rt, "key") {
				want = append(want, fmt.Sprintf("%d: sources[%d].k: unknown key", line, i))
				emit("k = 1")
			}
			if rapid.Bool().Draw(rt, "dotted") {
				want = append(want, fmt.Sprintf("%d: sources[%d].d: unknown key", line, i))
				emit("d.d = 1")
			}
			emit(strings.ReplaceAll(rapid.SampledFrom(between).Draw(rt, "between"), "%d", strconv.Itoa(i)))
			want = append(want, fmt.Sprintf("%d: sources[%d].t: unknown key", line, i))
			emit("[sources.t]")
		}
		got := "\n" + strings.Join(faults(t, text.String()), "\n")
		for _, fault := range want {
			if !strings.Contains(got, "\n"+fault) {
				rt.Fatalf("no fault %q of:\n%s\ngot %s", fault, text.String(), got)
			}
		}
	})
}

func TestKeysOfASourceFitTogether(t *testing.T) {
	const hmac = "scheme = 'hmac'\nsecrets = ['x']\n"
	for text, want := range map[string]string{
		"secrets = ['x']":                  "",
		"":                                 "2: sources.a.secrets: needs at least one, here or in PINTLE_SOURCES_A_SECRETS",
		"secrets = []":                     "2: sources.a.secrets: needs at least one, here or in PINTLE_SOURCES_A_SECRETS",
		"secrets = ['x', '']":              "2: sources.a.secrets: must not be empty",
		"validate_signature = false":       "",
		"scheme = 'none'":                  "",
		"scheme = 'none'\nsecrets = ['x']": `2: sources.a.secrets: are not used with scheme = "none"; leave them out, or name the scheme`,
		"secrets = ['x']\nid_from = 'header:X-Id'":                     `2: sources.a.id_from: is not used with scheme = "agent", whose requests say it in members of their own; leave it out`,
		"secrets = ['x']\nallow_asns = [1]":                            "2: sources.a.allow_asns: needs inbound.asn_database, which says whose an address is",
		"secrets = ['x']\npath = '/webhook/inbound'":                   "2: sources.a.path: /webhook/inbound is also the path of inbound",
		"secrets = ['x']\nhmac.header = 'X'":                           `2: sources.a.hmac: goes with scheme = "hmac", and this one is agent`,
		"secrets = ['x']\nhmac = {}":                                   `2: sources.a.hmac: goes with scheme = "hmac", and this one is agent`,
		hmac:                                                           `2: sources.a.hmac.header: is missing; with scheme = "hmac" it names the header that carries the signature`,
		hmac + "hmac.header = 'X'":                                     "",
		hmac + "[sources.hmac]\nheader = 'X'\ntemplate = '{id}{body}'": "2: sources.a.hmac.id_header: is missing; hmac.template has {id}",
		hmac + "hmac = { header = 'X', timestamp_header = 'Y' }":       "2: sources.a.hmac.timestamp_header: is for {timestamp}, which hmac.template does not have",
		hmac + "[sources.hmac]\nheader = 'X'\ntimestamp_header = 'X'\ntemplate = '{timestamp}.{body}'": "2: sources.a.hmac: one header, X, cannot carry two things",
	} {
		if got := strings.Join(faults(t, "\n[[sources]]\nname = 'a'\n"+text+"\n"), "\n"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	got := faults(t, "[[sources]]\nname = 'a'\nscheme = 'none'\n[[sources]]\nname = 'b'\nscheme = 'none'\npath = '/webhook/a'\n")
	if diff := cmp.Diff([]string{"4: sources.b.path: /webhook/a is also the path of sources.a"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestImpossibleValuesOfASourceAreRefused(t *testing.T) {
	text := "[[sources]]\nname = 'a'\nscheme = 'hmac'\nsecrets = ['x']\nhmac.header = 'X'\n"
	for _, setting := range []string{
		"path=x", "path=/readyz", "scheme=", "scheme=GitHub", "secrets=***", "secrets=x,***", "client_id=" + strings.Repeat("a", 129), "event_prefix=a b",
		"event_prefix=" + strings.Repeat("a", 65), "type_from=X-Type", "type_from=header:", "type_from=header:a b", "type_from=body:", "type_from=body:a..b", "type_from=const:",
		"type_from=const:a b", "type_from=Body:a", "id_from=const:x", "time_from=const:1", "time_from=query:x", "enabled=maybe", "max_clock_skew=-1s", "max_body=0", "allow_ips=x",
		"allow_asns=0", "rate_limit=-1", "hmac.header=", "hmac.header=X:", "hmac.algorithm=md5", "hmac.encoding=", "hmac.prefix=" + strings.Repeat("a", 65), "hmac.prefix= a", "hmac.template=",
		"hmac.template={timestamp}", "hmac.template={body}{body}", "hmac.template={body}{url}", "hmac.template={body}{}", "hmac.template={body}\x00", "hmac.timestamp_header=a b", "hmac.id_header=é",
	} {
		if _, err := config.Load(config.Options{File: write(t, text), Set: []string{"sources.a." + setting}}); err == nil || !strings.HasPrefix(err.Error(), "--set sources.a.") {
			t.Errorf("%s: got %v", setting, err)
		}
	}
	load(t, text, "sources.a.hmac.template={\"a\": {body}}", "sources.a.type_from=const:a.b", "sources.a.hmac.prefix=HMAC ", "sources.a.id_from=header:X", "sources.a.time_from=body:a.b")
}

func TestShownSourcesLoadAndHideSecrets(t *testing.T) {
	c := load(t, "[[sources]]\nname = 'a'\nscheme = 'none'\nrate_limit = 2\n[[sources]]\nname = 'b'\nscheme = 'hmac'\nsecrets = ['hush']\nallow_ips = ['10.0.0.0/8']\nallow_asns = [1]\n"+
		"hmac = { header = 'X', template = \"{body}\\n\" }\n[[sources]]\nname = 'c'\nscheme = 'github'\nsecrets = ['hush', 'hush']\n[inbound]\nasn_database = 'x'\n")
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%s %+v %#v %v", text, c, c, c.Values()); strings.Contains(shown, "hush") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	again := load(t, strings.ReplaceAll(string(text), "***", "hush"))
	c.File, again.File = "", ""
	if diff := cmp.Diff(c, again, compareConfigs); diff != "" {
		t.Errorf("(-loaded +shown):\n%s\n%s", diff, text)
	}
	sources := c.Values()["sources"].([]map[string]any)
	if _, ok := sources[0]["hmac"]; ok || len(sources) != 3 || sources[1]["hmac"].(map[string]any)["header"] != "X" {
		t.Errorf("sources are %v", sources)
	}
	if got := slices.Sorted(maps.Keys(sources[0])); len(got) != 16 {
		t.Errorf("a source has the keys %q", got)
	}
}

func TestUncheckedSourceIsWarnedOf(t *testing.T) {
	c := load(t, `
[inbound]
trusted_proxies = ["0.0.0.0/0", "10.0.0.0/8"]
[[sources]]
name = "a"
scheme = "none"
[[sources]]
name = "b"
scheme = "github"
max_clock_skew = 0
validate_signature = false
[[sources]]
name = "c"
scheme = "stripe"
secrets = ["x"]
max_clock_skew = 0
`)
	want := []string{
		"sources.a.scheme is none: anyone who reaches /webhook/a is believed",
		"sources.b.validate_signature is off: anyone who reaches /webhook/b is believed",
		"sources.c.max_clock_skew is 0: the clock is not checked, and old requests can be sent again",
		"inbound.trusted_proxies has 0.0.0.0/0: anyone can claim any address",
	}
	if diff := cmp.Diff(want, c.Warnings()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoFaultRepeatsASecretOfASource(t *testing.T) {
	for _, text := range []string{
		"secrets = hush", "secrets = [hush]", "secrets = ['a', hush]", "secrets = 'hush", "secrets = [\"a\\qhush\"]", "secrets = 'hush'", "secrets = ['a', { x = 'hush' }]", "secret = hush",
		"secret = 'hush'", "secrets = [\"hush\\u0000\"]", "secrets = ['hush']\nsecrets = ['hush']", "hmac.secret = hush", "hmac = { secret = hush }", "hmac = 'hush'",
	} {
		for _, text := range []string{"[[sources]]\n" + text, "[[sources]]\nname = 'a'\n" + text, "sources = [{ " + text + " }]", "sources = " + text} {
			if got := strings.Join(faults(t, text+"\n"), "\n"); strings.Contains(got, "hush") || got == "" {
				t.Errorf("%q: %q", text, got)
			}
		}
	}
}
