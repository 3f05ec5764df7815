package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pintle/pintle/app/spelling"
	"github.com/pintle/pintle/app/webhook"
)

// A loader gathers what it reads, and the faults of it.
type loader struct {
	config  *Config
	environ map[string]string
	// drafts are the sources of the file.
	drafts []*draft
	// unread is true when the file could not be read: what sources it has is
	// not known.
	unread bool
	faults Faults
}

func (l *loader) fault(where, format string, args ...any) {
	l.faults = append(l.faults, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

// A setting is what a variable or a flag can set.
type setting struct {
	name    string // as a flag has it
	setText func(string) error
	secret  bool
}

// settings are all keys, and those of the sources of the file.
func (l *loader) settings() []setting {
	var list []setting
	for _, k := range keys() {
		list = append(list, setting{k.name, func(s string) error { return k.setText(l.config, s) }, k.secret})
	}
	for _, d := range l.drafts {
		for _, k := range sourceKeys() {
			if d.source.Name != "" && k.name != "name" {
				list = append(list, setting{d.label + "." + k.name, func(s string) error { return d.setText(k, s) }, k.secret})
			}
		}
	}
	return list
}

// variable is the name of the environment variable that sets the key.
func variable(key string) string {
	return "PINTLE_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// ofSources keeps to the settings of sources, or to all others.
func ofSources(settings []setting, yes bool) (names []string) {
	for _, s := range settings {
		if strings.HasPrefix(s.name, "sources.") == yes {
			names = append(names, s.name)
		}
	}
	return names
}

// readEnvironment takes the variables of all sections that exist. Others that
// begin with PINTLE_ belong to commands.
func (l *loader) readEnvironment() {
	settings := l.settings()
	byVariable := map[string]setting{}
	for _, s := range settings {
		byVariable[variable(s.name)] = s
	}
	prefixes := append(sections(), lists()...)
	var found []string
	for name := range l.environ {
		if slices.ContainsFunc(prefixes, func(section string) bool {
			return strings.HasPrefix(name, "PINTLE_"+strings.ToUpper(section)+"_")
		}) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	for _, name := range found {
		s, ok := byVariable[name]
		ofSource := strings.HasPrefix(name, "PINTLE_SOURCES_")
		if !ok && ofSource && l.unread {
			continue
		}
		if strings.HasPrefix(name, "PINTLE_TRANSFORMS_") {
			l.fault(name, "%s", transformsInFile)
			continue
		}
		if !ok {
			var variables []string
			for _, name := range ofSources(settings, ofSource) {
				variables = append(variables, variable(name))
			}
			what := "no key"
			if ofSource {
				what = "no key of a source in the file"
			}
			l.fault(name, "%s has this variable%s", what, suggest(name, variables))
			continue
		}
		if err := s.setText(l.environ[name]); err != nil {
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
	settings := l.settings()
	ofSource := strings.HasPrefix(name, "sources.")
	for _, s := range settings {
		if s.name != name {
			continue
		}
		if err := s.setText(text); err != nil {
			l.fault("--set "+name+"="+s.repeat(text), "%v", err)
		}
		return
	}
	switch {
	case strings.HasPrefix(name, "transforms"):
		l.fault("--set "+printable(name), "%s", transformsInFile)
	case !ofSource:
		l.fault("--set "+printable(name), "unknown key%s", suggest(name, ofSources(settings, false)))
	case !l.unread:
		l.fault("--set "+printable(name), "no source in the file has this key%s", suggest(name, ofSources(settings, true)))
	}
}

// repeat returns a refused text as a fault may show it: short, on one line,
// without what is secret or may be a password in a URL.
func (s setting) repeat(text string) string {
	if s.secret {
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
	if len(candidates) == 0 {
		return ""
	}
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
