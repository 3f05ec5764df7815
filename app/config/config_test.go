package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
)

var compareConfigs = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, text string, set ...string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Options{File: write(t, text), Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readExample returns the example with its keys uncommented, the sections and
// the sources apart, and how often each key stands in it. The keys of sources
// count where they stand first.
func readExample(t *testing.T) (sections, sources string, seen map[string]int) {
	t.Helper()
	example, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	keyLine, header := regexp.MustCompile(`^# ([a-z_]+) = `), regexp.MustCompile(`^(# )?(\[+[a-z.]+\]+)$`)
	var texts [2]strings.Builder
	seen = map[string]int{}
	part, section := 0, ""
	for line := range strings.Lines(string(example)) {
		line = strings.TrimSuffix(line, "\n")
		if m := header.FindStringSubmatch(line); m != nil {
			section = strings.Trim(m[2], "[]")
			if line = m[2]; m[1] != "" {
				part = 1
			}
		} else if m := keyLine.FindStringSubmatch(line); m != nil {
			seen[section+"."+m[1]]++
			line = strings.TrimPrefix(line, "# ")
		} else if !strings.HasPrefix(line, "#") && line != "" {
			t.Errorf("the example sets something: %s", line)
		}
		texts[part].WriteString(line + "\n")
	}
	return texts[0].String(), texts[1].String(), seen
}

func TestExampleShowsEveryKeyAtItsDefault(t *testing.T) {
	sections, _, seen := readExample(t)
	got := load(t, sections)
	want := config.Default()
	want.File = got.File
	if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
		t.Errorf("the example is not the default (-default +example):\n%s", diff)
	}
	for section, keys := range config.Default().Values() {
		keys, ok := keys.(map[string]any)
		if !ok {
			continue // a list of tables
		}
		for key := range keys {
			if n := seen[section+"."+key]; n != 1 {
				t.Errorf("%s.%s stands %d times in the example", section, key, n)
			}
			delete(seen, section+"."+key)
		}
	}
	for name := range seen {
		if !strings.HasPrefix(name, "sources.") && !strings.HasPrefix(name, "transforms.") {
			t.Errorf("the example has %s, which does not exist", name)
		}
	}
}

func TestExampleShowsEveryKeyOfASourceAtItsDefault(t *testing.T) {
	_, text, seen := readExample(t)
	c, err := config.Load(config.Options{File: write(t, text), Environ: []string{"PINTLE_SOURCES_GITHUB_SECRETS=x"}})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]webhook.Source{}
	for _, s := range c.Sources {
		byName[s.Name] = s
	}
	want := load(t, "[[sources]]\nname = 'example'\nsecrets = ['change me']\n[[sources]]\nname = 'billing'\nscheme = 'hmac'\nsecrets = ['change me']\n"+
		"hmac.header = 'X-Billing-Signature'\ntype_from = 'body:type'\nid_from = 'header:X-Billing-Id'\n").Sources
	if diff := cmp.Diff(want, []webhook.Source{byName["example"], byName["billing"]}, compareConfigs); diff != "" {
		t.Errorf("the example is not the default (-default +example):\n%s", diff)
	}
	if byName["github"].Scheme != webhook.SchemeGitHub || byName["stripe"].Scheme != webhook.SchemeStripe {
		t.Errorf("sources are %+v", c.Sources)
	}
	for _, source := range c.Values()["sources"].([]map[string]any) {
		for key, value := range source {
			inner, nested := value.(map[string]any)
			if !nested {
				inner, key = map[string]any{key: nil}, ""
			}
			for name := range inner {
				name = strings.TrimPrefix(key+"."+name, ".")
				if seen["sources."+name] == 0 {
					t.Errorf("sources.%s does not stand in the example", name)
				}
			}
		}
	}
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	o := config.Options{File: write(t, "[outbound]\nretries = 1\ntimeout = 1\nagent_id = 'file'\n")}
	o.Environ = []string{"PINTLE_OUTBOUND_RETRIES=2", "PINTLE_OUTBOUND_TIMEOUT=2s", "PINTLE_SERVER=http://x", "PINTLE_TOKEN=x", "PINTLE_LISTEN_SECRET=x", "HOME=/x"}
	o.Set = []string{"outbound.retries=3"}
	c, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	if c.Outbound.Retries != 3 || c.Outbound.Timeout != 2*time.Second || c.Outbound.AgentID != "file" {
		t.Errorf("outbound is %+v", c.Outbound)
	}
}

func TestEveryKindOfValueIsRead(t *testing.T) {
	c := load(t, `
storage.path = "a b.db"
[inbound]
enabled = false
secret = 's=c"r#t'
max_body = "512KB"
max_clock_skew = 0
[outbound]
schedule = [
  1,      # a comment
  "1.5s",
]
jitter = 1
allow_networks = ["10.0.0.0/8", "127.0.0.1", "::ffff:192.168.0.0/112", "fc00::/7"]
[log]
level = "debug"
`, "outbound.agent_id=a=b", "admin.socket=/run/x.sock", "admin.hosts=a.example, B-2")
	if c.Storage.Path != "a b.db" || c.Inbound.Enabled || c.Inbound.Secret != `s=c"r#t` || c.Inbound.MaxBody != 512_000 || c.Inbound.MaxClockSkew != 0 ||
		c.Outbound.Jitter != 1 || c.Log.Level.String() != "DEBUG" || c.Outbound.AgentID != "a=b" || c.Socket() != "/run/x.sock" {
		t.Errorf("read %+v", c)
	}
	if diff := cmp.Diff(webhook.Schedule{time.Second, 1500 * time.Millisecond}, c.Outbound.Schedule); diff != "" {
		t.Error(diff)
	}
	if got := fmt.Sprint(c.Outbound.AllowNetworks); got != "[10.0.0.0/8 127.0.0.1/32 192.168.0.0/16 fc00::/7]" {
		t.Errorf("networks are %s", got)
	}
	if diff := cmp.Diff([]string{"a.example", "B-2"}, c.Admin.Hosts); diff != "" {
		t.Error(diff)
	}
	c = load(t, "", "outbound.schedule=1s, 2m,3", "outbound.allow_networks=", "inbound.max_body=2048", "storage.path=x.db")
	if got := fmt.Sprintf("%v %d %d %s", c.Outbound.Schedule, len(c.Outbound.AllowNetworks), c.Inbound.MaxBody, c.Socket()); got != "[1s 2m0s 3s] 0 2048 x.db.sock" {
		t.Errorf("from flags: %s", got)
	}
}

func TestFaultsNameTheirPlaceAndTheNearestKey(t *testing.T) {
	text := `# a comment
[outbound]
retrys = 3
schedule = [
  "1s",
  "soon",
]
timeout = true

[inbund]
path = "/x"
[inbound]
# another
max_body = "much"
secret = 5
"path" = "no slash"
[storage]
path = "postgres://db"
synchronous = "off"
[log.more]
x = 1
`
	file := write(t, text)
	_, err := config.Load(config.Options{
		File:    file,
		Environ: []string{"PINTLE_OUTBOUND_RETRYS=1", "PINTLE_LOG_LEVEL=loud"},
		Set:     []string{"outbound.jiter=1", "outbound.jitter=2", "nonsense"},
	})
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want faults", err)
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), file, "config.toml"), "\n")
	want := []string{
		"config.toml:3: outbound.retrys: unknown key; did you mean outbound.retries?",
		`config.toml:4: outbound.schedule: entry 2 must be a duration such as "5s" or "2m", or whole seconds`,
		`config.toml:8: outbound.timeout: must be a duration such as "5s" or "2m", or whole seconds`,
		"config.toml:10: inbund: unknown section; did you mean inbound?",
		`config.toml:14: inbound.max_body: must be a size such as "1MiB" or "500KB", or whole bytes`,
		"config.toml:15: inbound.secret: must be a string",
		"config.toml:16: inbound.path: must be a path that begins with / and has none of ? # % nor a space",
		"config.toml:18: storage.path: postgres:// is reserved for the shared engine, which this version does not have",
		"config.toml:19: storage.synchronous: must be full or normal",
		"config.toml:20: log.more: unknown key; did you mean log.level?",
		"PINTLE_LOG_LEVEL: must be debug, info, warn or error",
		"PINTLE_OUTBOUND_RETRYS: no key has this variable; did you mean PINTLE_OUTBOUND_RETRIES?",
		"--set outbound.jiter: unknown key; did you mean outbound.jitter?",
		"--set outbound.jitter=2: must be between 0 and 1",
		"--set nonsense: give section.key=value",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBrokenFileNamesLineAndColumnButNoSecret(t *testing.T) {
	file := write(t, "[inbound]\nsecret = \"hush\" hush\n")
	_, err := config.Load(config.Options{File: file})
	if err == nil || !strings.HasPrefix(err.Error(), file+":2:") || strings.Contains(err.Error(), "hush") {
		t.Errorf("got %v", err)
	}
}

func TestImpossibleValuesAreRefused(t *testing.T) {
	for _, setting := range []string{
		"storage.path=", "inbound.listen=8080", "inbound.listen=localhost:http", "inbound.listen=:99999", "inbound.path=/a?b", "inbound.path=/healthz",
		"inbound.max_clock_skew=-1s", "inbound.max_body=0", "inbound.max_body=1TiB", "inbound.max_body=-1", "inbound.enabled=maybe",
		"outbound.retries=-1", "outbound.retries=1.5", "outbound.schedule=", "outbound.schedule=-1s", "outbound.jitter=NaN", "outbound.jitter=-0.1",
		"outbound.timeout=0", "outbound.timeout=61s", "outbound.concurrency=0", "outbound.max_in_flight=0", "outbound.user_agent=",
		"outbound.agent_id=a\nb", "outbound.allow_networks=10.0.0.1/8", "outbound.allow_networks=localhost", "outbound.allow_networks=fe80::1%eth0",
		"outbound.allow_networks=::ffff:0:0/90", "storage.max_size=0", "storage.max_size=1023KiB", "storage.max_size=-1", "inbound.allow_ips=10.0.0.1/8", "inbound.allow_asns=0", "inbound.allow_asns=AS",
		"inbound.allow_asns=4294967296", "inbound.allow_asns=-1", "inbound.allow_asns=1.5", "inbound.trusted_proxies=proxy", "inbound.rate_limit=-1", "inbound.rate_limit=1000001",
		"inbound.rate_limit=NaN", "inbound.max_connections=0", "inbound.max_connections_per_address=-1", "inbound.acme_domains=*.example.com", "inbound.acme_domains=192.0.2.1",
		"inbound.acme_domains=::1", "inbound.acme_domains=a..b", "inbound.acme_domains=-a.example", "inbound.acme_domains=a:443", "inbound.acme_domains=a_b.example", "inbound.acme_email=me",
		"inbound.acme_email=Me <me@example.com>", "inbound.acme_directory=", "inbound.acme_directory=http://ca.example", "inbound.acme_directory=https:///x", "inbound.acme_directory=https://u:p@ca.example",
		"backup.every=30s", "backup.every=-1s", "backup.every=1h", "backup.keep=0", "backup.encrypt_to=age1", "backup.encrypt_to=AGE-SECRET-KEY-1",
		"storage.encryption_key=short", "storage.encryption_key=" + key(1) + ",", "storage.encryption_key=" + key(1) + "," + key(1),
		"outbound.proxy=proxy:3128", "outbound.proxy=ftp://proxy", "outbound.proxy=http://", "outbound.proxy=http://:3128", "outbound.proxy=http://proxy/path", "outbound.proxy=http://proxy?a=b",
		"outbound.proxy=http://proxy:port", "outbound.proxy=http://proxy:99999", "outbound.proxy=http://***@proxy", "outbound.proxy=http://***:x@proxy",
		"outbound.hold=perhaps", "outbound.hold_failures=0", "outbound.hold_failures=-1", "outbound.hold_after=-1s", "outbound.hold_after=25h", "outbound.pause_after=-1s",
		"outbound.pause_after=9000h", "outbound.transform_timeout=0", "outbound.transform_timeout=6s", "outbound.transform_memory=15MiB", "outbound.transform_memory=1TiB",
		"outbound.transform_max_output=1", "outbound.transform_max_output=17MiB", "outbound.transform_workers=0", "outbound.transform_workers=65", "transforms=.", "transforms.0.transform=.",
		"admin.listen=8081", "admin.listen=localhost", "admin.hosts=http://a", "admin.hosts=a:8081", "admin.hosts=a,,b", "log.format=xml", "log.level=INFO",
	} {
		if _, err := config.Load(config.Options{File: write(t, ""), Set: []string{setting}}); err == nil {
			t.Errorf("%s is accepted", setting)
		}
	}
}

func TestNamedFileMustExist(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	if _, err := config.Load(config.Options{File: missing}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("--config: %v", err)
	}
	if _, err := config.Load(config.Options{Environ: []string{"PINTLE_CONFIG=" + missing}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("PINTLE_CONFIG: %v", err)
	}
	t.Chdir(t.TempDir())
	if c, err := config.Load(config.Options{}); err != nil || c.File != "" && c.File != "/etc/pintle/config.toml" {
		t.Errorf("without any: %v", err)
	}
	if err := os.WriteFile("config.toml", []byte("[outbound]\nretries = 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(config.Options{}); err != nil || c.File != "config.toml" || c.Outbound.Retries != 9 {
		t.Errorf("in the working directory: %+v, %v", c, err)
	}
}

func TestShownConfigurationLoadsAndHidesSecrets(t *testing.T) {
	c := load(t, "[inbound]\nsecret = 'hush'\n[outbound]\nallow_networks = ['10.0.0.0/8']\nschedule = ['90s', '1h']\njitter = 0\n")
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hush") || strings.Contains(fmt.Sprintf("%+v %#v", c, c), "hush") {
		t.Errorf("the secret is shown:\n%s", text)
	}
	again := load(t, strings.Replace(string(text), "secret = \"***\"", "secret = \"hush\"", 1))
	c.File, again.File, c.Inbound.Secret, again.Inbound.Secret = "", "", "", ""
	if diff := cmp.Diff(c, again, compareConfigs); diff != "" {
		t.Errorf("(-loaded +shown):\n%s", diff)
	}
}

func TestAdminListenerThatOthersReachNeedsTLSOrConsent(t *testing.T) {
	for _, c := range []struct {
		set   []string
		fault string
	}{
		{[]string{"admin.listen="}, ""},
		{[]string{"admin.listen=127.0.0.1:0"}, ""},
		{[]string{"admin.listen=127.1.2.3:8081"}, ""},
		{[]string{"admin.listen=[::1]:8081"}, ""},
		{[]string{"admin.listen=[::ffff:127.0.0.1]:8081"}, ""},
		{[]string{"admin.listen=localhost:8081"}, ""},
		{[]string{"admin.listen=:8081"}, "admin.listen"},
		{[]string{"admin.listen=0.0.0.0:8081"}, "admin.listen"},
		{[]string{"admin.listen=[::]:0"}, "admin.listen"},
		{[]string{"admin.listen=192.0.2.1:8081"}, "admin.listen"},
		{[]string{"admin.listen=localhost.example.com:8081"}, "admin.listen"},
		{[]string{"admin.listen=:8081", "admin.insecure=true"}, ""},
		{[]string{"admin.listen=:8081", "admin.tls_cert=c.pem", "admin.tls_key=k.pem"}, ""},
		{[]string{"admin.tls_cert=c.pem"}, "admin.tls_cert"},
		{[]string{"admin.tls_key=k.pem"}, "admin.tls_cert"},
	} {
		_, err := config.Load(config.Options{File: write(t, ""), Set: c.set})
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), c.fault+": ")) {
			t.Errorf("%v: got %v, want a fault of %q", c.set, err, c.fault)
		}
	}
	if got := load(t, "", "admin.listen=:8081", "admin.insecure=true").Warnings(); len(got) != 1 {
		t.Errorf("tokens in the clear: warned of %q", got)
	}
}

func TestKeysOfStorageAndOutboundFitTogether(t *testing.T) {
	for _, c := range []struct {
		set   []string
		fault string
	}{
		{[]string{"storage.encryption_key=" + key(1) + "," + key(2)}, ""},
		{[]string{"storage.encryption_key=" + key(1) + "\n" + key(2) + "\n"}, ""},
		{[]string{"storage.encryption_key_file=missing"}, ""}, // it is opened at the start
		{[]string{"storage.encryption_key=" + key(1), "storage.encryption_key_file=keys"}, "storage.encryption_key_file"},
		{[]string{"outbound.pause_after=0", "outbound.hold_after=2h"}, ""},
		{[]string{"outbound.pause_after=2h", "outbound.hold_after=2h"}, ""},
		{[]string{"outbound.pause_after=1h", "outbound.hold_after=2h"}, "outbound.pause_after"},
	} {
		_, err := config.Load(config.Options{File: write(t, ""), Set: c.set})
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), c.fault+": ")) {
			t.Errorf("%v: got %v, want a fault of %q", c.set, err, c.fault)
		}
	}
}

// key is one that secrets are sealed under.
func key(b byte) string { return strings.Repeat(fmt.Sprintf("%02x", b), 32) }

func TestEncryptionKeysAndProxyCredentialsAreNeverShown(t *testing.T) {
	lines := "encryption_key = \"\"\"\n" + key(0xab) + "\n" + key(0xcd) + "\"\"\"\n"
	c := load(t, "[storage]\n"+lines+"[outbound]\nproxy = 'socks5://user:hush@proxy.example:1080'\n")
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%s%v%+v%#v", text, c.Values(), c, c)
	if strings.Contains(shown, key(0xab)) || strings.Contains(shown, key(0xcd)) || strings.Contains(shown, "hush") || strings.Contains(shown, "user:") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	if !strings.Contains(string(text), "encryption_key = \"***\"\n") || !strings.Contains(string(text), "proxy = \"socks5://***@proxy.example:1080\"\n") {
		t.Errorf("what is no secret is not shown:\n%s", text)
	}
	if plain, _ := load(t, "outbound.proxy = 'http://proxy.example:3128'\n").TOML(); !strings.Contains(string(plain), "proxy = \"http://proxy.example:3128\"\n") {
		t.Errorf("a proxy without credentials is not shown:\n%s", plain)
	}
	if ring, err := c.Keyring(); err != nil || ring == nil {
		t.Errorf("the keys are not read: %v", err)
	}
	for _, setting := range []string{
		"storage.encryption_key=" + key(0xab)[:62], "storage.encryption_key=" + key(0xab) + " hush", "outbound.proxy=ftp://user:hush@proxy", "outbound.proxy=http://user:hush@proxy:port",
		"outbound.proxy=http://user:hush@", "outbound.proxy=http://user:hu%zz@proxy",
	} {
		_, byFlag := config.Load(config.Options{File: write(t, ""), Set: []string{setting}})
		name, value, _ := strings.Cut(setting, "=")
		_, byFile := config.Load(config.Options{File: write(t, name+" = '"+value+"'\n")})
		_, bySyntax := config.Load(config.Options{File: write(t, name+" = "+value+"\n")})
		for _, err := range []error{byFlag, byFile, bySyntax} {
			if err == nil || strings.Contains(err.Error(), "ababab") || strings.Contains(err.Error(), "hu") {
				t.Errorf("%s: %v", setting, err)
			}
		}
	}
}

func TestKeysComeFromTheEnvironmentOrAFile(t *testing.T) {
	if ring, err := load(t, "").Keyring(); ring != nil || err != nil {
		t.Errorf("without keys: %v, %v", ring, err)
	}
	c, err := config.Load(config.Options{File: write(t, ""), Environ: []string{"PINTLE_STORAGE_ENCRYPTION_KEY=" + key(1) + "," + key(2)}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "# of 2026\n"+key(1)+"\n")
	ring, err := load(t, "", "storage.encryption_key_file="+file).Keyring()
	if err != nil || ring.Newest() != first.Newest() {
		t.Errorf("from a file: %v", err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = load(t, "", "storage.encryption_key_file="+file).Keyring()
	var faults config.Faults
	if !errors.As(err, &faults) || !strings.HasPrefix(err.Error(), "storage.encryption_key_file: ") || !errors.Is(err, security.ErrExposed) {
		t.Errorf("from a file that others can read: %v", err)
	}
}

func TestProxyIsWarnedOf(t *testing.T) {
	if got := load(t, "", "outbound.proxy=http://u:hush@proxy:3128").Warnings(); len(got) != 1 || strings.Contains(got[0], "hush") {
		t.Errorf("warned of %q", got)
	}
}

func TestKeysOfInboundFitTogether(t *testing.T) {
	for _, c := range []struct {
		set   []string
		fault string
	}{
		{[]string{"inbound.tls_cert=c.pem", "inbound.tls_key=k.pem"}, ""},
		{[]string{"inbound.acme_domains=a.example,b.example", "inbound.acme_email=a@example.com", "inbound.listen=:443"}, ""},
		{[]string{"inbound.allow_asns=AS64500,64501", "inbound.asn_database=asn.mmdb"}, ""},
		{[]string{"inbound.trusted_proxies=::/0"}, ""},
		{[]string{"inbound.tls_cert=c.pem"}, "inbound.tls_cert"},
		{[]string{"inbound.tls_key=k.pem"}, "inbound.tls_cert"},
		{[]string{"inbound.tls_cert=c.pem", "inbound.tls_key=k.pem", "inbound.acme_domains=a.example"}, "inbound.acme_domains"},
		{[]string{"inbound.allow_asns=64500"}, "inbound.allow_asns"},
	} {
		_, err := config.Load(config.Options{File: write(t, ""), Set: c.set})
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), c.fault+": ")) {
			t.Errorf("%v: got %v, want a fault of %q", c.set, err, c.fault)
		}
	}
	if got := load(t, "[inbound]\nallow_asns = [1, 'AS4294967295', '64500']\nasn_database = 'x'\n"); fmt.Sprint(got.Inbound.AllowASNs) != "[1 4294967295 64500]" {
		t.Errorf("AS numbers are %v", got.Inbound.AllowASNs)
	}
}

func TestUncheckedInboundIsWarnedOf(t *testing.T) {
	if got := load(t, "").Warnings(); len(got) != 0 {
		t.Errorf("by default: %q", got)
	}
	if got := load(t, "[inbound]\nvalidate_signature = false\nmax_clock_skew = 0\n").Warnings(); len(got) != 2 {
		t.Errorf("warned of %q", got)
	}
}
