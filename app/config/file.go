package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxFile bounds the file, in bytes. Nobody writes such a configuration by
// hand; a device or a log that was named by mistake is that long.
const maxFile = 256 << 10

// readFile reads the file that was asked for, or the first of the usual places
// that has one.
func (l *loader) readFile(asked string) {
	by := "--config"
	if asked == "" {
		asked, by = l.environ["PINTLE_CONFIG"], "PINTLE_CONFIG"
	}
	places := []string{asked}
	if asked == "" {
		places, by = []string{"config.toml", "/etc/pintle/config.toml"}, "configuration"
	}
	for _, place := range places {
		text, err := readBounded(place)
		if errors.Is(err, fs.ErrNotExist) && asked == "" {
			continue
		}
		if err != nil {
			l.faults = append(l.faults, fmt.Errorf("%s: %w", by, err))
			return
		}
		l.config.File = place
		l.readTOML(place, text)
		return
	}
}

func readBounded(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is longer than %s", file, writeSize(maxFile))
	}
	return string(text), err
}

// A document is a file that the TOML library has read.
type document struct {
	text string
	meta toml.MetaData
	// faults are what is wrong in it, with the line of each.
	faults []lineFault
}

type lineFault struct {
	line    int
	key     string
	message string
}

func (l *loader) readTOML(file, text string) {
	text = strings.TrimPrefix(text, "\ufeff")
	if !utf8.ValidString(text) {
		l.fault(file, "is not UTF-8")
		return
	}
	d := &document{text: text}
	var top map[string]toml.Primitive
	var err error
	d.meta, err = toml.Decode(text, &top)
	var syntax toml.ParseError
	switch {
	case errors.As(err, &syntax):
		line, column := position(text, syntax.Position.Start)
		l.fault(fmt.Sprintf("%s:%d:%d", file, line, column), "%s", syntaxMessage(syntax))
		return
	case err != nil:
		l.fault(file, "%v", err)
		return
	}
	for name, p := range top {
		d.readSection(l.config, name, p)
	}
	slices.SortFunc(d.faults, func(a, b lineFault) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.key, b.key))
	})
	for _, f := range d.faults {
		l.fault(fmt.Sprintf("%s:%d: %s", file, f.line, f.key), "%s", f.message)
	}
}

// readSection takes what stands at the top of the file: a section, if it is
// right.
func (d *document) readSection(c *Config, name string, p toml.Primitive) {
	value := d.value(p)
	_, table := value.(map[string]any)
	_, tables := value.([]map[string]any)
	line := func() int { return max(1, d.line(p)) }
	switch known := slices.Contains(sections(), name); {
	case known && !table:
		d.fault(line(), toml.Key{name}, "is a section; write [%s] once, and its keys below it", name)
		return
	case !known && (table || tables):
		d.fault(line(), toml.Key{name}, "unknown section%s", suggest(name, sections()))
		return
	case !known:
		d.fault(line(), toml.Key{name}, "unknown key%s", suggest(name, keys().names()))
		return
	}
	for key, p := range d.parts(p) {
		path := toml.Key{name, key}
		line := func() int { return cmp.Or(d.line(p), line()) }
		k, ok := keys().find(name + "." + key)
		if !ok {
			d.fault(line(), path, "unknown key%s", suggest(name+"."+key, keys().names()))
		} else if err := k.set(c, d.value(p)); err != nil {
			d.fault(line(), path, "%v", err)
		}
	}
}

func (d *document) fault(line int, path toml.Key, format string, args ...any) {
	d.faults = append(d.faults, lineFault{line, printable(path.String()), fmt.Sprintf(format, args...)})
}

func (d *document) value(p toml.Primitive) (v any) {
	// A value of any type fits, so there is no error to hear of.
	_ = d.meta.PrimitiveDecode(p, &v)
	return v
}

// parts returns the entries of a table, and nothing of another value.
func (d *document) parts(p toml.Primitive) map[string]toml.Primitive {
	var parts map[string]toml.Primitive
	if _, table := d.value(p).(map[string]any); table {
		_ = d.meta.PrimitiveDecode(p, &parts) // cannot fail; see value
	}
	return parts
}

// line returns the line on which a key stands, or zero where the library does
// not know. A table that only dotted keys have made, or the headers of tables
// below it, stands where its first part does.
func (d *document) line(p toml.Primitive) int {
	err := d.meta.PrimitiveDecode(p, new(probe))
	var at toml.ParseError
	if errors.As(err, &at) && at.Position.Line > 0 {
		// Position.Line is where the value ends; a value of many lines belongs
		// to the line on which it begins, as its key does.
		line, _ := position(d.text, at.Position.Start)
		return line
	}
	first := 0
	for _, part := range d.parts(p) {
		if line := d.line(part); line > 0 && (first == 0 || line < first) {
			first = line
		}
	}
	return first
}

// A probe refuses every value. The library then says where the value stands,
// which it does in no other way.
type probe struct{}

var errProbe = errors.New("probe")

// UnmarshalTOML returns an error, always.
func (*probe) UnmarshalTOML(any) error { return errProbe }

// position turns an offset in bytes into a line and a column in characters,
// both from one.
func position(text string, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[start:])
}

// syntaxMessage is what is wrong with the syntax. The library quotes the value
// in some of its messages; so they are passed on only where the value is that
// of a known key and no secret, or where there is none yet.
func syntaxMessage(err toml.ParseError) string {
	k, known := keys().find(err.LastKey)
	switch {
	case known && !k.secret, err.LastKey == "", slices.Contains(sections(), err.LastKey),
		strings.HasSuffix(err.Message, "has already been defined."):
		return printable(err.Message)
	}
	return printable(err.LastKey) + ": not a value of TOML; a string stands in quotes"
}
