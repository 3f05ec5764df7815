// Package config reads the configuration: defaults, then a TOML file, then the
// environment, then flags, each winning over the ones before.
//
// One table holds all keys, see keys.go; loading, faults, printing and the test
// of the example file are all made from it. Every fault is reported, with where
// it stands, and nothing is half-applied: there is a configuration without
// faults, or none.
package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/pintle/pintle/app/spelling"
	"github.com/pintle/pintle/app/webhook"
)

// Config is a configuration without faults. config.example.toml says what each
// key means.
type Config struct {
	// File is where it was read from; empty: from no file.
	File string

	Storage  Storage
	Inbound  Inbound
	Outbound Outbound
	Admin    Admin
	Log      Log
}

// Storage says where everything is kept.
type Storage struct {
	Path        string
	Synchronous string
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
		Storage: Storage{Path: "pintle.db", Synchronous: "full"},
		Inbound: Inbound{
			Enabled: true, Listen: "127.0.0.1:8080", Path: "/webhook/inbound",
			ValidateSignature: true, MaxClockSkew: 300 * time.Second, MaxBody: 1 << 20,
		},
		Outbound: Outbound{
			Retries: 6, Schedule: webhook.DefaultSchedule(), Jitter: 0.1, Timeout: 5 * time.Second,
			Concurrency: 10, MaxInFlight: 256, UserAgent: "AI-Agent-Webhook/1.0",
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
	if !c.Inbound.ValidateSignature {
		warnings = append(warnings, "inbound.validate_signature is off: anyone who reaches the endpoint is believed")
	}
	if c.Inbound.MaxClockSkew == 0 {
		warnings = append(warnings, "inbound.max_clock_skew is 0: the clock is not checked, and old requests can be sent again")
	}
	if c.Admin.Insecure && c.Admin.TLSCert == "" && !loopback(c.Admin.Listen) {
		warnings = append(warnings, "admin.insecure is on: tokens travel in the clear to admin.listen")
	}
	return warnings
}

// Values are the configuration in force by section and key, as they would stand
// in a file, secrets hidden.
func (c *Config) Values() map[string]map[string]any {
	values := map[string]map[string]any{}
	for _, k := range keys() {
		section, name, _ := strings.Cut(k.name, ".")
		if values[section] == nil {
			values[section] = map[string]any{}
		}
		values[section][name] = k.get(c)
	}
	return values
}

// TOML is the configuration in force as a file, secrets hidden.
func (c *Config) TOML() ([]byte, error) {
	var b strings.Builder
	last := ""
	for _, k := range keys() {
		section, name, _ := strings.Cut(k.name, ".")
		if section != last {
			if last != "" {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "[%s]\n", section)
			last = section
		}
		line, err := toml.Marshal(map[string]any{name: k.get(c)})
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", k.name, err)
		}
		b.Write(line)
	}
	return []byte(b.String()), nil
}

// A loader gathers what it reads, and the faults of it.
type loader struct {
	config  *Config
	environ map[string]string
	faults  Faults
}

func (l *loader) fault(where, format string, args ...any) {
	l.faults = append(l.faults, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

// variable is the name of the environment variable that sets the key.
func variable(key string) string {
	return "PINTLE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// readEnvironment takes the variables of all sections that exist. Others that
// begin with PINTLE_ belong to commands.
func (l *loader) readEnvironment() {
	known := keys()
	byVariable := map[string]key{}
	for _, k := range known {
		byVariable[variable(k.name)] = k
	}
	var names []string
	for name := range l.environ {
		if slices.ContainsFunc(sections(), func(section string) bool {
			return strings.HasPrefix(name, "PINTLE_"+strings.ToUpper(section)+"_")
		}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		k, ok := byVariable[name]
		if !ok {
			var variables []string
			for _, k := range known {
				variables = append(variables, variable(k.name))
			}
			l.fault(name, "no key has this variable%s", suggest(name, variables))
			continue
		}
		if err := k.setText(l.config, l.environ[name]); err != nil {
			l.fault(name, "%v", err)
		}
	}
}

func (l *loader) readFlag(setting string) {
	name, text, ok := strings.Cut(setting, "=")
	if !ok {
		// What is no part of a key is not repeated: it may be a secret.
		end := strings.IndexFunc(name, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz_.", r) })
		if end >= 0 {
			name = name[:end]
		}
		l.fault("--set "+name, "give section.key=value")
		return
	}
	known := keys()
	k, ok := known.find(name)
	if !ok {
		l.fault("--set "+printable(name), "unknown key%s", suggest(name, known.names()))
		return
	}
	if err := k.setText(l.config, text); err != nil {
		l.fault("--set "+name+"="+k.repeat(text), "%v", err)
	}
}

// repeat returns a refused text as a fault may show it: short, on one line,
// without what is secret or may be a password in a URL.
func (k key) repeat(text string) string {
	if k.secret {
		return webhook.Secret(text).String()
	}
	if scheme, _, url := strings.Cut(text, "://"); url {
		text = scheme + "://…"
	}
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:60]) + "…"
	}
	return printable(text)
}

// printable returns the text as it is, or quoted if it has what cannot be seen
// or what a terminal would obey.
func printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsGraphic(r) }) {
		return s
	}
	return strconv.QuoteToGraphic(s)
}

// suggest names the candidate that is nearest to the name, whatever its case. A
// name without a section is also compared with the candidates' last parts.
func suggest(name string, candidates []string) string {
	name = strings.ToLower(name)
	best, least := "", math.MaxInt
	for _, candidate := range candidates {
		d := spelling.Distance(name, strings.ToLower(candidate))
		if _, last, ok := strings.Cut(candidate, "."); ok && !strings.Contains(name, ".") {
			d = min(d, spelling.Distance(name, last))
		}
		if d < least {
			best, least = candidate, d
		}
	}
	return "; did you mean " + best + "?"
}
