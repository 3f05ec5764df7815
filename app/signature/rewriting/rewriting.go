// Package rewriting writes a JSON body in the ways in which other programs
// would: compact, indented, sorted, escaped more or less. A sender that signs
// what one library wrote and sends what another did is found in this way.
package rewriting

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxNested bounds how deep a body that is rewritten may be.
	maxNested = 64
	// maxWritten bounds the bytes that are written of all its variants.
	maxWritten = 2 << 20
)

// A Body is a JSON body, taken apart. That of the zero value is no JSON.
type Body struct{ root node }

// Read takes a body apart. The result points into it. What is no JSON, or is
// nested too deep, is the zero Body.
func Read(body []byte) Body {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	n, err := readNode(d, body, 0)
	if err != nil {
		return Body{}
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return Body{}
	}
	return Body{n}
}

// Member returns the value of a member as it stands in the body; nil if the body
// is no object that has it.
func (b Body) Member(name string) []byte {
	for _, m := range b.root.members {
		if m.name == name {
			return m.value.raw
		}
	}
	return nil
}

// A node is a JSON value, taken apart so that it can be written in the manner
// of other programs. Numbers keep their spelling and members their order.
type node struct {
	raw     jsontext.Value
	kind    jsontext.Kind
	text    string // of a string
	members []nodeMember
	items   []node
}

type nodeMember struct {
	name  string
	value node
}

func readNode(d *jsontext.Decoder, body []byte, depth int) (node, error) {
	n := node{kind: d.PeekKind()}
	if n.kind != '{' && n.kind != '[' {
		value, err := d.ReadValue()
		if err != nil {
			return n, err
		}
		end := int(d.InputOffset())
		n.raw = body[end-len(value) : end]
		if n.kind == '"' {
			var text []byte
			text, err = jsontext.AppendUnquote(nil, n.raw)
			n.text = string(text)
		}
		return n, err
	}
	if depth > maxNested {
		return n, errors.New("nested too deep")
	}
	if _, err := d.ReadToken(); err != nil {
		return n, err
	}
	start := int(d.InputOffset()) - 1
	for k := d.PeekKind(); k != '}' && k != ']'; k = d.PeekKind() {
		name := ""
		if n.kind == '{' {
			token, err := d.ReadToken()
			if err != nil {
				return n, err
			}
			name = token.String()
		}
		below, err := readNode(d, body, depth+1)
		if err != nil {
			return n, err
		}
		if n.kind == '{' {
			n.members = append(n.members, nodeMember{name, below})
		} else {
			n.items = append(n.items, below)
		}
	}
	_, err := d.ReadToken()
	n.raw = body[start:int(d.InputOffset())]
	return n, err
}

// sorted returns the node with the members of all objects in the order of their
// names.
func (n node) sorted() node {
	n.members, n.items = slices.Clone(n.members), slices.Clone(n.items)
	for i := range n.members {
		n.members[i].value = n.members[i].value.sorted()
	}
	for i := range n.items {
		n.items[i] = n.items[i].sorted()
	}
	slices.SortStableFunc(n.members, func(a, b nodeMember) int { return cmp.Compare(a.name, b.name) })
	return n
}

// A manner is how a program writes JSON.
type manner struct {
	comma, colon string
	indent       string // empty: on one line
	// escaped says what else than JSON demands is escaped in strings.
	slashes, unicode, html bool
}

func (w manner) append(dst []byte, n node, line string) []byte {
	switch n.kind {
	case '"':
		return w.appendString(dst, n.text)
	case '{', '[':
	default:
		return append(dst, n.raw...)
	}
	open, end, count := byte('{'), byte('}'), len(n.members)
	if n.kind == '[' {
		open, end, count = '[', ']', len(n.items)
	}
	dst = append(dst, open)
	if count == 0 {
		return append(dst, end)
	}
	inner := line
	if w.indent != "" {
		inner = line + w.indent
	}
	for i := range count {
		if i > 0 {
			dst = append(dst, w.comma...)
		}
		if w.indent != "" {
			dst = append(dst, inner...)
		}
		if n.kind == '[' {
			dst = w.append(dst, n.items[i], inner)
			continue
		}
		dst = append(w.appendString(dst, n.members[i].name), w.colon...)
		dst = w.append(dst, n.members[i].value, inner)
	}
	if w.indent != "" {
		dst = append(dst, line...)
	}
	return append(dst, end)
}

func (w manner) appendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	unit := func(dst []byte, u uint16) []byte {
		return append(dst, '\\', 'u', digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	dst = append(dst, '"')
	for _, r := range s {
		switch short := strings.IndexRune("\b\f\n\r\t", r); {
		case r == '"' || r == '\\' || r == '/' && w.slashes:
			dst = append(dst, '\\', byte(r))
		case short >= 0:
			dst = append(dst, '\\', "bfnrt"[short])
		case r < ' ' || w.html && strings.ContainsRune("<>&\u2028\u2029", r):
			dst = unit(dst, uint16(r))
		case r >= utf8.RuneSelf && w.unicode:
			for _, u := range utf16.Encode([]rune{r}) {
				dst = unit(dst, u)
			}
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// All are the ways to write the body, with what they are called, such as "compact
// JSON with its members sorted". Several may be the same bytes. It ends once a
// few megabytes have been written.
func (b Body) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if b.root.raw == nil {
			return
		}
		type order struct {
			node node
			name string
		}
		orders := []order{{b.root, ""}, {b.root.sorted(), " with its members sorted"}}
		// JavaScript reads numbers and writes them in its own way; PHP drops a
		// fraction of zero as it does.
		numbers := jsontext.Value(bytes.Clone(b.root.raw))
		if numbers.Format(jsontext.CanonicalizeRawFloats(true), jsontext.CanonicalizeRawInts(true), jsontext.AllowDuplicateNames(true)) == nil {
			orders = append(orders, order{Read(numbers).root, " with its numbers as JavaScript writes them"})
		}
		written := 0
		for _, order := range orders {
			for _, layout := range []struct {
				manner manner
				name   string
			}{
				{manner{comma: ",", colon: ":"}, "compact JSON"},
				{manner{comma: ", ", colon: ": "}, "JSON with spaces after commas and colons, as Python writes it"},
				{manner{comma: ",", colon: ": ", indent: "  "}, "JSON indented by two spaces"},
				{manner{comma: ",", colon: ": ", indent: "    "}, "JSON indented by four spaces"},
				{manner{comma: ",", colon: ": ", indent: "\t"}, "JSON indented by tabs"},
			} {
				for _, escapes := range []struct {
					slashes, unicode, html bool
					name                   string
				}{
					{name: ""},
					{slashes: true, unicode: true, name: ", slashes and non-ASCII escaped, as PHP writes it"},
					{unicode: true, name: ", non-ASCII escaped"},
					{slashes: true, name: ", slashes escaped"},
					{html: true, name: ", < > & escaped, as Go writes it"},
				} {
					w := layout.manner
					w.slashes, w.unicode, w.html = escapes.slashes, escapes.unicode, escapes.html
					text := w.append(nil, order.node, "\n")
					if written += len(text); written > maxWritten || !yield(layout.name+order.name+escapes.name, text) {
						return
					}
				}
			}
		}
	}
}
