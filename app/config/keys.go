package config

import (
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pintle/pintle/app/webhook"
)

// A key is one setting of a C, a configuration, a source or a transform: its name,
// and how it is read and written.
type key[C any] struct {
	name string // section.key
	// set takes a value as TOML has it, and setText one from the environment
	// or a flag. On error the C is as it was.
	set     func(*C, any) error
	setText func(*C, string) error
	// get returns the value as TOML would have it, secrets hidden.
	get func(*C) any
	// copy takes the value from another C.
	copy func(to, from *C)
	// equal reports whether two have the same value.
	equal func(a, b *C) bool
	// secret keeps the value out of faults.
	secret bool
	// live reports whether the value of next can take effect while running
	// runs; nil: it needs a restart.
	live func(running, next *C) bool
	// inherited keys of a source are those of the section inbound, unless the
	// source has its own.
	inherited bool
}

type keyTable[C any] []key[C]

// keys is the one table of all keys, in the order of config.example.toml.
func keys() keyTable[Config] {
	return keyTable[Config]{
		newKey("storage.path", text, storagePath, func(c *Config) *string { return &c.Storage.Path }),
		newKey("storage.synchronous", text, oneOf("full", "normal"), func(c *Config) *string { return &c.Storage.Synchronous }),
		live(newKey("storage.retention", duration, between(0, 100*365*24*time.Hour), func(c *Config) *time.Duration { return &c.Storage.Retention })),
		newKey("storage.max_size", size, sizeBetween(1<<20, 1<<48), func(c *Config) *int64 { return &c.Storage.MaxSize }),
		newKey("storage.encryption_key", secretLines, encryptionKeys, func(c *Config) *webhook.Secret { return &c.Storage.EncryptionKey }),
		newKey("storage.encryption_key_file", text, nil, func(c *Config) *string { return &c.Storage.EncryptionKeyFile }),

		live(newKey("backup.directory", text, nil, func(c *Config) *string { return &c.Backup.Directory })),
		live(newKey("backup.every", duration, backupEvery, func(c *Config) *time.Duration { return &c.Backup.Every })),
		live(newKey("backup.keep", integer, between(1, 10_000), func(c *Config) *int { return &c.Backup.Keep })),
		live(newKey("backup.encrypt_to", recipients, recipientsOfAge, func(c *Config) *[]string { return &c.Backup.EncryptTo })),

		live(newKey("inbound.enabled", boolean, nil, func(c *Config) *bool { return &c.Inbound.Enabled })),
		newKey("inbound.listen", text, hostPort, func(c *Config) *string { return &c.Inbound.Listen }),
		live(newKey("inbound.path", text, urlPath, func(c *Config) *string { return &c.Inbound.Path })),
		live(newKey("inbound.validate_signature", boolean, nil, func(c *Config) *bool { return &c.Inbound.ValidateSignature })),
		live(newKey("inbound.secret", secret, nil, func(c *Config) *webhook.Secret { return &c.Inbound.Secret })),
		live(newKey("inbound.max_clock_skew", duration, clockSkew, func(c *Config) *time.Duration { return &c.Inbound.MaxClockSkew })),
		live(newKey("inbound.max_body", size, bodySize, func(c *Config) *int64 { return &c.Inbound.MaxBody })),
		live(newKey("inbound.allow_ips", networks, nil, func(c *Config) *[]netip.Prefix { return &c.Inbound.AllowIPs })),
		live(newKey("inbound.allow_asns", asns, nil, func(c *Config) *[]uint32 { return &c.Inbound.AllowASNs })),
		live(newKey("inbound.asn_database", text, nil, func(c *Config) *string { return &c.Inbound.ASNDatabase })),
		live(newKey("inbound.trusted_proxies", networks, nil, func(c *Config) *[]netip.Prefix { return &c.Inbound.TrustedProxies })),
		live(newKey("inbound.rate_limit", number, rateLimit, func(c *Config) *float64 { return &c.Inbound.RateLimit })),
		newKey("inbound.max_connections", integer, between(1, 1<<20), func(c *Config) *int { return &c.Inbound.MaxConnections }),
		newKey("inbound.max_connections_per_address", integer, between(0, 1<<20), func(c *Config) *int { return &c.Inbound.MaxConnectionsPerAddress }),
		liveWithTLS(newKey("inbound.tls_cert", text, nil, func(c *Config) *string { return &c.Inbound.TLSCert })),
		liveWithTLS(newKey("inbound.tls_key", text, nil, func(c *Config) *string { return &c.Inbound.TLSKey })),
		newKey("inbound.acme_domains", names, domains, func(c *Config) *[]string { return &c.Inbound.ACMEDomains }),
		newKey("inbound.acme_email", text, emailOrNone, func(c *Config) *string { return &c.Inbound.ACMEEmail }),
		newKey("inbound.acme_directory", text, httpsURL, func(c *Config) *string { return &c.Inbound.ACMEDirectory }),

		newKey("outbound.retries", integer, between(0, 100), func(c *Config) *int { return &c.Outbound.Retries }),
		newKey("outbound.schedule", schedule, webhook.Schedule.Validate, func(c *Config) *webhook.Schedule { return &c.Outbound.Schedule }),
		newKey("outbound.jitter", number, between(0.0, 1.0), func(c *Config) *float64 { return &c.Outbound.Jitter }),
		newKey("outbound.timeout", duration, between(time.Millisecond, webhook.MaxTimeout), func(c *Config) *time.Duration { return &c.Outbound.Timeout }),
		newKey("outbound.concurrency", integer, between(1, 1000), func(c *Config) *int { return &c.Outbound.Concurrency }),
		newKey("outbound.max_in_flight", integer, between(1, 10_000), func(c *Config) *int { return &c.Outbound.MaxInFlight }),
		newKey("outbound.agent_id", text, headerValue(0), func(c *Config) *string { return &c.Outbound.AgentID }),
		newKey("outbound.user_agent", text, headerValue(1), func(c *Config) *string { return &c.Outbound.UserAgent }),
		newKey("outbound.allow_networks", networks, nil, func(c *Config) *[]netip.Prefix { return &c.Outbound.AllowNetworks }),
		newKey("outbound.proxy", proxy, proxyURL, func(c *Config) *webhook.Secret { return &c.Outbound.Proxy }),
		newKey("outbound.hold", boolean, nil, func(c *Config) *bool { return &c.Outbound.Hold.Hold }),
		newKey("outbound.hold_failures", integer, between(1, 10_000), func(c *Config) *int { return &c.Outbound.Hold.Failures }),
		newKey("outbound.hold_after", duration, between(0, 24*time.Hour), func(c *Config) *time.Duration { return &c.Outbound.Hold.After }),
		newKey("outbound.pause_after", duration, between(0, 365*24*time.Hour), func(c *Config) *time.Duration { return &c.Outbound.Hold.PauseAfter }),
		newKey("outbound.transform_timeout", duration, between(time.Millisecond, 5*time.Second), func(c *Config) *time.Duration { return &c.Outbound.TransformTimeout }),
		newKey("outbound.transform_memory", size, sizeBetween(16<<20, 4<<30), func(c *Config) *int64 { return &c.Outbound.TransformMemory }),
		newKey("outbound.transform_max_output", size, sizeBetween(1<<10, 16<<20), func(c *Config) *int64 { return &c.Outbound.TransformMaxOutput }),
		newKey("outbound.transform_workers", integer, between(1, 64), func(c *Config) *int { return &c.Outbound.TransformWorkers }),

		newKey("admin.listen", text, hostPortOrNone, func(c *Config) *string { return &c.Admin.Listen }),
		newKey("admin.insecure", boolean, nil, func(c *Config) *bool { return &c.Admin.Insecure }),
		newKey("admin.tls_cert", text, nil, func(c *Config) *string { return &c.Admin.TLSCert }),
		newKey("admin.tls_key", text, nil, func(c *Config) *string { return &c.Admin.TLSKey }),
		newKey("admin.hosts", names, hosts, func(c *Config) *[]string { return &c.Admin.Hosts }),
		newKey("admin.socket", text, nil, func(c *Config) *string { return &c.Admin.Socket }),

		live(newKey("log.level", level, nil, func(c *Config) *slog.Level { return &c.Log.Level })),
		newKey("log.format", text, oneOf("text", "json"), func(c *Config) *string { return &c.Log.Format }),
	}
}

// live marks a key whose value can change at any time.
func live(k key[Config]) key[Config] {
	k.live = func(_, _ *Config) bool { return true }
	return k
}

// liveWithTLS marks a key whose value can change as long as the inbound
// listener speaks TLS with a certificate from files: the listener stays.
func liveWithTLS(k key[Config]) key[Config] {
	k.live = func(running, next *Config) bool { return running.Inbound.TLSCert != "" && next.Inbound.TLSCert != "" }
	return k
}

func (t keyTable[C]) find(name string) (key[C], bool) {
	for _, k := range t {
		if k.name == name {
			return k, true
		}
	}
	return key[C]{}, false
}

// names are the names of the keys, each with the prefix before it.
func (t keyTable[C]) names(prefix string) []string {
	names := make([]string, len(t))
	for i, k := range t {
		names[i] = prefix + k.name
	}
	return names
}

// sections are the names before the dots, each once.
func sections() []string {
	var list []string
	for _, k := range keys() {
		section, _, _ := strings.Cut(k.name, ".")
		if !slices.Contains(list, section) {
			list = append(list, section)
		}
	}
	return list
}

// lists are the names of the arrays of tables.
func lists() []string { return []string{"sources", "transforms"} }

func newKey[C, T any](name string, c codec[T], check func(T) error, at func(*C) *T) key[C] {
	set := func(target *C, value any) error {
		read, err := c.read(value)
		if err == nil && check != nil {
			err = check(read)
		}
		if err == nil {
			*at(target) = read
		}
		return err
	}
	return key[C]{
		name: name, set: set, secret: isSecret(any(*new(T))),
		setText: func(target *C, s string) error { return set(target, c.text(s)) },
		get:     func(target *C) any { return c.write(*at(target)) },
		copy:    func(to, from *C) { *at(to) = *at(from) },
		equal:   func(a, b *C) bool { return reflect.DeepEqual(*at(a), *at(b)) },
	}
}

func isSecret(value any) bool {
	switch value.(type) {
	case webhook.Secret, []webhook.Secret:
		return true
	}
	return false
}

// Reload takes from next what can change while running runs. It returns the
// configuration that is then in force, and the keys, in the order of the
// example file, that differ but need a restart.
func Reload(running, next *Config) (merged *Config, restart []string) {
	inForce := *running
	inForce.File, inForce.Sources, inForce.Transforms = next.File, next.Sources, next.Transforms
	for _, k := range keys() {
		switch {
		case k.live != nil && k.live(running, next):
			k.copy(&inForce, next)
		case !k.equal(running, next):
			restart = append(restart, k.name)
		}
	}
	return &inForce, restart
}
