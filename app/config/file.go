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
			l.faults, l.unread = append(l.faults, fmt.Errorf("%s: %w", by, err)), true
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
	// from is where the part begins that is looked at, in bytes.
	from int
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
		l.unread = true
		return
	}
	d, top, err := parse(text)
	var syntax toml.ParseError
	switch {
	case errors.As(err, &syntax):
		line, column := position(text, syntax.Position.Start)
		l.fault(fmt.Sprintf("%s:%d:%d", file, line, column), "%s", syntaxMessage(syntax))
		l.unread = true
		return
	case err != nil:
		l.fault(file, "%v", err)
		l.unread = true
		return
	}
	for name, p := range top {
		switch name {
		case "sources":
			l.readSources(d, p)
		case "transforms":
			l.readTransforms(d, p)
		default:
			d.readSection(l.config, name, p)
		}
	}
	slices.SortFunc(d.faults, func(a, b lineFault) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.key, b.key))
	})
	for _, f := range d.faults {
		l.fault(fmt.Sprintf("%s:%d: %s", file, f.line, f.key), "%s", f.message)
	}
}

func parse(text string) (d *document, top map[string]toml.Primitive, err error) {
	d = &document{text: text}
	d.meta, err = toml.Decode(text, &top)
	return d, top, err
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
		d.fault(line(), quoted(name), "is a section; write [%s] once, and its keys below it", name)
		return
	case !known && (table || tables):
		d.fault(line(), quoted(name), "unknown section%s", suggest(name, append(sections(), lists()...)))
		return
	case !known:
		d.fault(line(), quoted(name), "unknown key%s", suggest(name, keys().names("")))
		return
	}
	for key, p := range d.parts(p) {
		path := quoted(name, key)
		line := func() int { return cmp.Or(d.line(p), line()) }
		k, ok := keys().find(name + "." + key)
		if !ok {
			d.fault(line(), path, "unknown key%s", suggest(name+"."+key, keys().names("")))
		} else if err := k.set(c, d.value(p)); err != nil {
			d.fault(line(), path, "%v", err)
		}
	}
}

func (d *document) fault(line int, key, format string, args ...any) {
	d.faults = append(d.faults, lineFault{line, key, fmt.Sprintf(format, args...)})
}

// quoted joins the parts of a key as TOML writes them.
func quoted(parts ...string) string { return printable(toml.Key(parts).String()) }

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
	if start := d.start(p); start >= 0 {
		line, _ := position(d.text, start)
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

// start returns where a value begins, in bytes, or -1 where the library does not
// know. A value of many lines belongs to the line on which it begins, as its key
// does.
func (d *document) start(p toml.Primitive) int {
	err := d.meta.PrimitiveDecode(p, new(probe))
	var at toml.ParseError
	if errors.As(err, &at) && at.Position.Line > 0 && at.Position.Start >= d.from {
		return at.Position.Start
	}
	return -1
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
	public := known && !k.secret
	if name, ofSource := strings.CutPrefix(err.LastKey, "sources."); ofSource {
		k, known := sourceKeys().find(name)
		public = known && !k.secret
	}
	if name, ofTransform := strings.CutPrefix(err.LastKey, "transforms."); ofTransform {
		_, public = transformKeys().find(name)
	}
	switch {
	case public, err.LastKey == "", slices.Contains(append(sections(), lists()...), err.LastKey),
		strings.HasSuffix(err.Message, "has already been defined."):
		return printable(err.Message)
	}
	return printable(err.LastKey) + ": not a value of TOML; a string stands in quotes"
}
