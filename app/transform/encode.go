package transform

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep a value that is made may be nested. Who receives it may
// have a bound of its own, and walks along it on its stack.
const maxDepth = 1000

// appendValue appends the value of an expression as JSON, at most so many bytes
// of it. A value may hold another many times over: a few words of memory can be
// an endless text, so that what is written is counted as it is written.
func appendValue(b []byte, value any, most int) ([]byte, error) {
	e := encoder{buffer: b, most: len(b) + most, bound: most}
	if err := e.value(value, 0); err != nil {
		return nil, err
	}
	return e.buffer, nil
}

type encoder struct {
	buffer []byte
	most   int // bytes in the buffer
	bound  int // of them made here
	// names are those of the objects that are being written, one inside the other.
	names []string
}

func (e *encoder) value(value any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("made a value nested deeper than %d", maxDepth)
	}
	switch v := value.(type) {
	case nil:
		e.buffer = append(e.buffer, "null"...)
	case bool:
		e.buffer = strconv.AppendBool(e.buffer, v)
	case int:
		e.buffer = strconv.AppendInt(e.buffer, int64(v), 10)
	case float64:
		e.float(v)
	case *big.Int:
		// Its text takes a third of a byte for each bit, and time with it.
		if v.BitLen() > 4*e.bound {
			return e.tooLong()
		}
		e.buffer = v.Append(e.buffer, 10)
	case json.Number:
		e.buffer = append(e.buffer, v...)
	case string:
		if err := e.string(v); err != nil {
			return err
		}
	case []any:
		return e.array(v, depth)
	case map[string]any:
		return e.object(v, depth)
	default:
		return fmt.Errorf("made a %T, which JSON does not have", value)
	}
	return e.check()
}

// check returns an error when there is too much already.
func (e *encoder) check() error {
	if len(e.buffer) > e.most {
		return e.tooLong()
	}
	return nil
}

func (e *encoder) tooLong() error {
	return fmt.Errorf("made more than %s", size(int64(e.bound)))
}

func (e *encoder) array(values []any, depth int) error {
	e.buffer = append(e.buffer, '[')
	for i, v := range values {
		if i > 0 {
			e.buffer = append(e.buffer, ',')
		}
		if err := e.value(v, depth+1); err != nil {
			return err
		}
	}
	e.buffer = append(e.buffer, ']')
	return e.check()
}

func (e *encoder) object(members map[string]any, depth int) error {
	e.buffer = append(e.buffer, '{')
	first := len(e.names)
	for name := range members {
		e.names = append(e.names, name)
	}
	slices.Sort(e.names[first:])
	defer func() { e.names = e.names[:first] }()
	for i := range len(members) {
		name := e.names[first+i]
		if i > 0 {
			e.buffer = append(e.buffer, ',')
		}
		if err := e.string(name); err != nil {
			return err
		}
		e.buffer = append(e.buffer, ':')
		if err := e.value(members[name], depth+1); err != nil {
			return err
		}
	}
	e.buffer = append(e.buffer, '}')
	return e.check()
}

// float writes a number as jq does: what JSON has no word for is null, or the
// largest number.
func (e *encoder) float(f float64) {
	if math.IsNaN(f) {
		e.buffer = append(e.buffer, "null"...)
		return
	}
	f = min(max(f, -math.MaxFloat64), math.MaxFloat64)
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && abs < 1e-6 || abs >= 1e21 {
		format = 'e'
	}
	b := strconv.AppendFloat(e.buffer, f, format, -1, 64)
	if n := len(b); format == 'e' && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // 1e-07 is 1e-7
		b = b[:n-1]
	}
	e.buffer = b
}

// string writes a string, in which whatever is not UTF-8 becomes U+FFFD.
func (e *encoder) string(s string) error {
	if len(e.buffer)+len(s) > e.most {
		return e.tooLong()
	}
	const hex = "0123456789abcdef"
	b := append(e.buffer, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		start = i
	}
	e.buffer = append(append(b, s[start:]...), '"')
	return e.check()
}
