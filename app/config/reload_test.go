package config_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/config"
)

// changes has another value for every key, and whether it can change live.
var changes = []struct {
	key, value string
	live       bool
}{
	{"storage.path", "other.db", false},
	{"storage.synchronous", "normal", false},
	{"storage.retention", "1h", true},
	{"storage.max_size", "1MiB", false},
	{"storage.encryption_key", key(1), false},
	{"storage.encryption_key_file", "keys", false},
	{"backup.directory", "/backups", true},
	{"backup.every", "1h", true},
	{"backup.keep", "1", true},
	{"backup.encrypt_to", "age1nnkyk2t9r2gvf0geux52p0m36pgn8h0j6jys53hxafy747zpc33s9xm733", true},
	{"inbound.enabled", "false", true},
	{"inbound.listen", "127.0.0.1:1", false},
	{"inbound.path", "/x", true},
	{"inbound.validate_signature", "false", true},
	{"inbound.secret", "hush", true},
	{"inbound.max_clock_skew", "1s", true},
	{"inbound.max_body", "1KiB", true},
	{"inbound.allow_ips", "10.0.0.0/8", true},
	{"inbound.allow_asns", "64500", true},
	{"inbound.asn_database", "other.mmdb", true},
	{"inbound.trusted_proxies", "10.0.0.1", true},
	{"inbound.rate_limit", "0.5", true},
	{"inbound.max_connections", "5", false},
	{"inbound.max_connections_per_address", "0", false},
	{"inbound.tls_cert", "other.pem", true},
	{"inbound.tls_key", "other.pem", true},
	{"inbound.acme_domains", "a.example", false},
	{"inbound.acme_email", "a@example.com", false},
	{"inbound.acme_directory", "https://ca.example/", false},
	{"outbound.retries", "1", false},
	{"outbound.schedule", "1s", false},
	{"outbound.jitter", "0.2", false},
	{"outbound.timeout", "1s", false},
	{"outbound.concurrency", "1", false},
	{"outbound.max_in_flight", "1", false},
	{"outbound.agent_id", "x", false},
	{"outbound.user_agent", "x", false},
	{"outbound.allow_networks", "10.0.0.0/8", false},
	{"outbound.proxy", "http://proxy:3128", false},
	{"outbound.hold", "false", false},
	{"outbound.hold_failures", "3", false},
	{"outbound.hold_after", "0", false},
	{"outbound.pause_after", "0", false},
	{"outbound.transform_timeout", "1s", false},
	{"outbound.transform_memory", "1GiB", false},
	{"outbound.transform_max_output", "2KiB", false},
	{"outbound.transform_workers", "1", false},
	{"admin.listen", "127.0.0.1:1", false},
	{"admin.insecure", "true", false},
	{"admin.tls_cert", "other.pem", false},
	{"admin.tls_key", "other.pem", false},
	{"admin.hosts", "a.example", false},
	{"admin.socket", "x.sock", false},
	{"log.level", "debug", true},
	{"log.format", "json", false},
}

// TestReloadTakesWhatIsLiveAndNamesTheRest changes every key alone.
func TestReloadTakesWhatIsLiveAndNamesTheRest(t *testing.T) {
	known := map[string]bool{}
	for _, change := range changes {
		known[change.key] = true
		base := "backup.directory = 'backups'\ninbound.asn_database = 'asn.mmdb'\nadmin.tls_cert = 'c.pem'\nadmin.tls_key = 'k.pem'\n"
		if change.key != "inbound.acme_domains" {
			base += "inbound.tls_cert = 'c.pem'\ninbound.tls_key = 'k.pem'\n"
		}
		running, next := load(t, base), load(t, base, change.key+"="+change.value)
		merged, restart := config.Reload(running, next)
		want, named := next, []string(nil)
		if !change.live {
			want, named = running, []string{change.key}
		}
		running.File, next.File, merged.File = "", "", ""
		if diff := cmp.Diff(want, merged, compareConfigs); diff != "" {
			t.Errorf("%s (-want +in force):\n%s", change.key, diff)
		}
		if diff := cmp.Diff(named, restart); diff != "" {
			t.Errorf("%s needs a restart (-want +got):\n%s", change.key, diff)
		}
		if cmp.Equal(running, next, compareConfigs) {
			t.Errorf("%s has not changed", change.key)
		}
	}
	for section, keys := range config.Default().Values() {
		keys, ok := keys.(map[string]any)
		if !ok {
			continue // a list of tables
		}
		for key := range keys {
			if !known[section+"."+key] {
				t.Errorf("whether %s.%s can change is not tested", section, key)
			}
		}
	}
}

func TestReloadTakesSourcesAndLeavesTheRunningConfigurationAlone(t *testing.T) {
	running := load(t, "[[sources]]\nname = 'a'\nscheme = 'none'\n[[sources]]\nname = 'b'\nscheme = 'none'\n")
	before := fmt.Sprintf("%+v", running)
	next := load(t, "log.format = 'json'\noutbound.retries = 1\n[[sources]]\nname = 'b'\nscheme = 'github'\nsecrets = ['x']\n[inbound]\nmax_body = 5\n")
	merged, restart := config.Reload(running, next)
	if diff := cmp.Diff([]string{"outbound.retries", "log.format"}, restart); diff != "" {
		t.Errorf("in the order of the table (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(next.Sources, merged.Sources, compareConfigs); diff != "" || merged.Sources[0].MaxBody != 5 || merged.File != next.File {
		t.Errorf("in force is %+v", merged)
	}
	if got := fmt.Sprintf("%+v", running); got != before {
		t.Errorf("what ran has become %s", got)
	}
}

func TestReloadTurnsTLSNeitherOnNorOff(t *testing.T) {
	plain, files := "", "inbound.tls_cert = 'c.pem'\ninbound.tls_key = 'k.pem'\n"
	for _, c := range []struct{ running, next string }{{plain, files}, {files, plain}} {
		running := load(t, c.running)
		merged, restart := config.Reload(running, load(t, c.next))
		if diff := cmp.Diff([]string{"inbound.tls_cert", "inbound.tls_key"}, restart); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if merged.Inbound.TLSCert != running.Inbound.TLSCert || merged.Inbound.TLSKey != running.Inbound.TLSKey {
			t.Errorf("in force is %+v", merged.Inbound)
		}
	}
}
