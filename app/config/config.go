// Package config reads the configuration: defaults, then a TOML file, then the
// environment, then flags, each winning over the ones before.
//
// One table holds all keys, see keys.go, a second one those of a source, see
// sources.go, and a third those of a transform, see transforms.go; loading,
// faults, printing and the test of the example file are all made from them. Every
// fault is reported, with where it stands, and nothing is half-applied: there is a
// configuration without faults, or none.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/pintle/pintle/app/webhook"
)

// Config is a configuration without faults. config.example.toml says what each
// key means.
type Config struct {
	// File is where it was read from; empty: from no file.
	File string

	Storage  Storage
	Backup   Backup
	Inbound  Inbound
	Outbound Outbound
	Admin    Admin
	Log      Log
	// Sources are the endpoints beside that of the section inbound; see
	// [Config.Endpoints].
	Sources []webhook.Source
	// Transforms make the bodies of events other ones, in this order.
	Transforms []webhook.Transform
}

// Storage says where everything is kept.
type Storage struct {
	Path        string
	Synchronous string
	// Retention is how long finished events are kept; zero: for ever.
	Retention time.Duration
	MaxSize   int64 // bytes
	// EncryptionKey has the keys that secrets are sealed under, and
	// EncryptionKeyFile is a file of such; see [Config.Keyring]. One of them is
	// set, or none.
	EncryptionKey     webhook.Secret
	EncryptionKeyFile string
}

// Backup says when backups are made by themselves, and where.
type Backup struct {
	// Directory is a folder; it is not empty if backups are made.
	Directory string
	// Every is zero where none are.
	Every time.Duration
	// Keep is how many there are to be.
	Keep int
	// EncryptTo are public keys of age; empty: backups are not encrypted. See
	// [Backup.Recipients].
	EncryptTo []string
}

// Inbound says who may post events, and where.
type Inbound struct {
	Enabled           bool
	Listen            string
	Path              string
	ValidateSignature bool
	// Secret is empty where the one that was made at the first start holds.
	Secret       webhook.Secret
	MaxClockSkew time.Duration
	MaxBody      int64 // bytes
	// AllowIPs and AllowASNs are who may come in; both empty: anybody.
	AllowIPs  []netip.Prefix
	AllowASNs []uint32
	// ASNDatabase is a file; empty: none.
	ASNDatabase string
	// TrustedProxies are those who are believed about their clients' addresses.
	TrustedProxies []netip.Prefix
	// RateLimit is in requests per second and client address; zero: none.
	RateLimit float64
	// MaxConnections bounds the open connections of all, and
	// MaxConnectionsPerAddress those of one address; zero: only by the former.
	MaxConnections, MaxConnectionsPerAddress int
	// TLSCert and TLSKey are files; both are set, or none.
	TLSCert, TLSKey string
	// ACMEDomains are the names to get a certificate for; empty: ACME is off.
	ACMEDomains []string
	// ACMEEmail is where the authority can write to; may be empty.
	ACMEEmail string
	// ACMEDirectory is the URL of the authority.
	ACMEDirectory string
}

// Outbound says how events are delivered.
type Outbound struct {
	Retries       int
	Schedule      webhook.Schedule
	Jitter        float64
	Timeout       time.Duration
	Concurrency   int
	MaxInFlight   int
	AgentID       string
	UserAgent     string
	AllowNetworks []netip.Prefix
	// Proxy is a URL, secret for the password that may be in it; empty: none.
	Proxy webhook.Secret
	// Hold says when a subscriber is in an outage, and what follows.
	Hold webhook.HoldPolicy
	// What one expression over one event takes at most, in time and in bytes, and
	// how many run at a time.
	TransformTimeout   time.Duration
	TransformMemory    int64
	TransformMaxOutput int64
	TransformWorkers   int
}

// Admin says where the admin API is.
type Admin struct {
	// Listen is the address for those who come with a token; empty: none.
	Listen string
	// Insecure allows an address that others can reach without TLS.
	Insecure bool
	// TLSCert and TLSKey are files; both are set, or none.
	TLSCert, TLSKey string
	// Hosts are further names under which it is reached.
	Hosts []string
	// Socket is empty for the one beside the database; see [Config.Socket].
	Socket string
}

// Log says what is logged.
type Log struct {
	Level  slog.Level
	Format string
}

// Options say where a configuration comes from.
type Options struct {
	// File is the file that was asked for; empty: look for one.
	File string
	// Environ is the environment, as in [os.Environ].
	Environ []string
	// Set are "section.key=value", which win over all else.
	Set []string
}

// Faults are all that is wrong with a configuration, in the order in which it
// was read.
type Faults []error

// Error has a line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, err := range f {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults.
func (f Faults) Unwrap() []error { return f }

// Default returns the configuration that holds where nothing is said.
func Default() *Config {
	return &Config{
		Storage: Storage{Path: "pintle.db", Synchronous: "full", Retention: 720 * time.Hour, MaxSize: 10 << 30},
		Backup:  Backup{Keep: 7},
		Inbound: Inbound{
			Enabled: true, Listen: "127.0.0.1:8080", Path: "/webhook/inbound",
			ValidateSignature: true, MaxClockSkew: 300 * time.Second, MaxBody: 1 << 20,
			MaxConnections: 4096, MaxConnectionsPerAddress: 1024,
			ACMEDirectory: "https://acme-v02.api.letsencrypt.org/directory",
		},
		Outbound: Outbound{
			Retries: 6, Schedule: webhook.DefaultSchedule(), Jitter: 0.1, Timeout: 5 * time.Second,
			Concurrency: 10, MaxInFlight: 256, UserAgent: "AI-Agent-Webhook/1.0",
			Hold:             webhook.HoldPolicy{Hold: true, Failures: 10, After: time.Minute, PauseAfter: 120 * time.Hour},
			TransformTimeout: 50 * time.Millisecond, TransformMemory: 64 << 20, TransformMaxOutput: 1 << 20, TransformWorkers: 2,
		},
		Admin: Admin{Listen: "127.0.0.1:8081"},
		Log:   Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// Load reads a configuration. The error is [Faults] where the configuration is
// wrong.
func Load(o Options) (*Config, error) {
	l := &loader{config: Default(), environ: map[string]string{}}
	for _, entry := range o.Environ {
		name, value, _ := strings.Cut(entry, "=")
		l.environ[name] = value
	}
	l.readFile(o.File)
	l.readEnvironment()
	for _, setting := range o.Set {
		l.readFlag(setting)
	}
	if len(l.faults) == 0 {
		l.finishSources()
		l.checkStorage()
		l.checkBackup()
		l.checkInbound()
		l.checkOutbound()
		l.checkAdmin()
	}
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	return l.config, nil
}

// checkAdmin finds what is wrong with keys of the section admin taken together.
func (l *loader) checkAdmin() {
	a := &l.config.Admin
	switch {
	case a.TLSCert == "" != (a.TLSKey == ""):
		l.fault("admin.tls_cert", "goes with admin.tls_key: set both, or none")
	case a.TLSCert == "" && !a.Insecure && !loopback(a.Listen):
		l.fault("admin.listen", "%s can be reached from other machines, and tokens would travel in the clear; "+
			"set admin.tls_cert and admin.tls_key, or admin.insecure = true", a.Listen)
	}
}

// checkStorage finds what is wrong with keys of the section storage taken
// together.
func (l *loader) checkStorage() {
	if s := &l.config.Storage; s.EncryptionKey != "" && s.EncryptionKeyFile != "" {
		l.fault("storage.encryption_key_file", "keys come from storage.encryption_key or from a file, not from both")
	}
}

// checkBackup finds what is wrong with keys of the section backup taken together.
func (l *loader) checkBackup() {
	if b := &l.config.Backup; b.Every > 0 && b.Directory == "" {
		l.fault("backup.every", "goes with backup.directory, the folder for the backups; best one on another disk")
	}
}

// checkOutbound finds what is wrong with keys of the section outbound taken
// together.
func (l *loader) checkOutbound() {
	if h := &l.config.Outbound.Hold; h.PauseAfter > 0 && h.PauseAfter < h.After {
		l.fault("outbound.pause_after", "is %s, and an outage begins after outbound.hold_after, %s; set 0 for never",
			webhook.FormatDuration(h.PauseAfter), webhook.FormatDuration(h.After))
	}
}

// checkInbound finds what is wrong with keys of the section inbound taken
// together.
func (l *loader) checkInbound() {
	in := &l.config.Inbound
	if in.TLSCert == "" != (in.TLSKey == "") {
		l.fault("inbound.tls_cert", "goes with inbound.tls_key: set both, or none")
	}
	if in.TLSCert != "" && len(in.ACMEDomains) > 0 {
		l.fault("inbound.acme_domains", "a certificate comes from ACME or from inbound.tls_cert, not from both")
	}
	if len(in.AllowASNs) > 0 && in.ASNDatabase == "" {
		l.fault("inbound.allow_asns", needsDatabase)
	}
}

const needsDatabase = "needs inbound.asn_database, which says whose an address is"

// loopback reports whether only this machine can reach the address; one that
// is empty, nobody can.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Socket is the path of the admin API's Unix socket.
func (c *Config) Socket() string {
	if c.Admin.Socket != "" {
		return c.Admin.Socket
	}
	return c.Storage.Path + ".sock"
}

// Warnings are what the operator should know of, though it is allowed.
func (c *Config) Warnings() []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	for _, s := range c.Endpoints("") {
		section := s.Name
		if s.Name != webhook.SourceInbound {
			section = "sources." + s.Name
		}
		switch {
		case s.Scheme == webhook.SchemeNone:
			warn("%s.scheme is none: anyone who reaches %s is believed", section, s.Path)
		case !s.ValidateSignature:
			warn("%s.validate_signature is off: anyone who reaches %s is believed", section, s.Path)
		}
		if s.MaxClockSkew == 0 && hasTime(s) {
			warn("%s.max_clock_skew is 0: the clock is not checked, and old requests can be sent again", section)
		}
	}
	for _, s := range c.Endpoints("") {
		// A request can come twice as long as the skew after it came first.
		if c.Storage.Retention > 0 && hasTime(s) && c.Storage.Retention < 2*s.MaxClockSkew {
			warn("storage.retention is %s, less than twice max_clock_skew of %s: a request is not known again once its event is gone, and can be sent again",
				webhook.FormatDuration(c.Storage.Retention), s.Name)
		}
	}
	for _, p := range c.Inbound.TrustedProxies {
		if p.Bits() == 0 {
			warn("inbound.trusted_proxies has %s: anyone can claim any address", p)
		}
	}
	if c.Outbound.Proxy != "" {
		warn("outbound.proxy is set: what it makes of names is not seen here, so let it refuse private addresses too")
	}
	if c.Admin.Insecure && c.Admin.TLSCert == "" && !loopback(c.Admin.Listen) {
		warn("admin.insecure is on: tokens travel in the clear to admin.listen")
	}
	return warnings
}

// hasTime reports whether the requests of a source say when they were made.
func hasTime(s webhook.Source) bool {
	switch s.Scheme {
	case webhook.SchemeAgent, webhook.SchemeStandard, webhook.SchemeStripe, webhook.SchemeSlack:
		return true
	}
	return s.Form.TimestampHeader != "" || s.TimeFrom != ""
}

// Values are the configuration in force by section and key, as they would stand
// in a file, secrets hidden; below "sources" and "transforms" are lists with the
// keys of each.
func (c *Config) Values() map[string]any {
	values := map[string]any{}
	for _, k := range keys() {
		put(values, k.name, k.get(c))
	}
	list := []map[string]any{}
	for _, s := range c.Sources {
		source := map[string]any{}
		for _, k := range keysOf(&s) {
			put(source, k.name, k.get(&s))
		}
		list = append(list, source)
	}
	values["sources"] = list
	list = []map[string]any{}
	for _, t := range c.Transforms {
		transform := map[string]any{}
		for _, k := range transformKeys() {
			put(transform, k.name, k.get(&t))
		}
		list = append(list, transform)
	}
	values["transforms"] = list
	return values
}

// put places a value under the last part of its name, in the table that the
// part before the dot names.
func put(table map[string]any, name string, value any) {
	section, rest, nested := strings.Cut(name, ".")
	if !nested {
		table[name] = value
		return
	}
	inner, ok := table[section].(map[string]any)
	if !ok {
		inner = map[string]any{}
		table[section] = inner
	}
	inner[rest] = value
}

// TOML is the configuration in force as a file, secrets hidden.
func (c *Config) TOML() ([]byte, error) {
	f := file{last: "[" + sections()[0] + "]"}
	f.text.WriteString(f.last + "\n")
	for _, k := range keys() {
		section, name, _ := strings.Cut(k.name, ".")
		f.under("[" + section + "]")
		f.line(name, k.get(c))
	}
	for _, s := range c.Sources {
		f.last = ""
		f.under("[[sources]]")
		for _, k := range keysOf(&s) {
			name, inner, nested := strings.Cut(k.name, ".")
			if nested {
				f.under("[sources." + name + "]")
				name = inner
			}
			f.line(name, k.get(&s))
		}
	}
	for _, t := range c.Transforms {
		f.last = ""
		f.under("[[transforms]]")
		for _, k := range transformKeys() {
			f.line(k.name, k.get(&t))
		}
	}
	return []byte(f.text.String()), f.err
}

// A file is a file in TOML as it is being written.
type file struct {
	text strings.Builder
	last string
	err  error
}

// under begins a table, unless it is begun already.
func (f *file) under(header string) {
	if header != f.last {
		fmt.Fprintf(&f.text, "\n%s\n", header)
		f.last = header
	}
}

func (f *file) line(name string, value any) {
	line, err := toml.Marshal(map[string]any{name: value})
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("write %s: %w", name, err)
	}
	f.text.Write(line)
}
