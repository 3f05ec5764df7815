// Package config reads the configuration: defaults, then a TOML file, then the
// environment, then flags, each winning over the ones before.
//
// One table holds all keys, see keys.go; loading, faults, printing and the test
// of the example file are all made from it. Every fault is reported, with where
// it stands, and nothing is half-applied: there is a configuration without
// faults, or none.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
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
		Log: Log{Level: slog.LevelInfo, Format: "text"},
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
	if err := l.readFile(o.File); err != nil {
		return nil, err
	}
	l.readEnvironment()
	for _, setting := range o.Set {
		l.readFlag(setting)
	}
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	return l.config, nil
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

// readFile reads the file that was asked for, or the first of the usual places
// that has one.
func (l *loader) readFile(asked string) error {
	if asked == "" {
		asked = l.environ["PINTLE_CONFIG"]
	}
	places := []string{asked}
	if asked == "" {
		places = []string{"config.toml", "/etc/pintle/config.toml"}
	}
	for _, place := range places {
		text, err := os.ReadFile(place)
		if errors.Is(err, fs.ErrNotExist) && asked == "" {
			continue
		}
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		l.config.File = place
		l.readTOML(place, string(text))
		return nil
	}
	return nil
}

func (l *loader) readTOML(file, text string) {
	var tree map[string]any
	meta, err := toml.Decode(text, &tree)
	var syntax toml.ParseError
	switch {
	case errors.As(err, &syntax):
		// The library's own text quotes the line, which may hold a secret.
		l.fault(fmt.Sprintf("%s:%d:%d", file, syntax.Position.Line, syntax.Position.Col), "%s", syntaxMessage(syntax))
		return
	case err != nil:
		l.fault(file, "%v", err)
		return
	}
	known := keys()
	for _, path := range meta.Keys() {
		name := path.String()
		where := func() string { return fmt.Sprintf("%s:%d: %s", file, lineOf(text, path), name) }
		value := lookUp(tree, path)
		if _, table := value.(map[string]any); table && len(path) == 1 {
			if !slices.Contains(sections(), name) {
				l.fault(where(), "unknown section%s", suggest(name, sections()))
			}
			continue
		}
		if len(path) > 1 && !slices.Contains(sections(), path[0]) {
			continue // the section is the fault
		}
		k, ok := known.find(name)
		if !ok {
			l.fault(where(), "unknown key%s", suggest(name, known.names()))
			continue
		}
		if err := k.set(l.config, value); err != nil {
			l.fault(where(), "%v", err)
		}
	}
}

// syntaxMessage is what is wrong, without what stands there.
func syntaxMessage(err toml.ParseError) string {
	if err.Message != "" {
		return err.Message
	}
	return "not valid TOML"
}

func lookUp(tree map[string]any, path toml.Key) any {
	var value any = tree
	for _, part := range path {
		table, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = table[part]
	}
	return value
}

// lineOf finds the line on which a key stands. The library does not tell, but
// it can be asked which keys the first lines of the file define: the key begins
// behind the longest beginning that can be read and does not define it.
func lineOf(text string, path toml.Key) int {
	begin := 1
	for n, end := 1, 0; end < len(text); n++ {
		if next := strings.IndexByte(text[end:], '\n'); next >= 0 {
			end += next + 1
		} else {
			end = len(text)
		}
		var tree map[string]any
		meta, err := toml.Decode(text[:end], &tree)
		if err != nil {
			continue
		}
		if meta.IsDefined(path...) {
			return begin
		}
		begin = n + 1
	}
	return begin
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
		l.fault("--set "+name, "give section.key=value")
		return
	}
	known := keys()
	k, ok := known.find(name)
	if !ok {
		l.fault("--set "+name, "unknown key%s", suggest(name, known.names()))
		return
	}
	if err := k.setText(l.config, text); err != nil {
		l.fault("--set "+name, "%v", err)
	}
}

// suggest names the candidate that is nearest to the name, if one is near.
func suggest(name string, candidates []string) string {
	best, least := "", max(3, len(name)/4+1)
	for _, candidate := range candidates {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is how many letters must be added, taken out or changed to make one
// word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
