package transform

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/itchyny/gojq"

	"github.com/pintle/pintle/app/webhook"
)

// A SyntaxError says what is wrong with an expression or a path, and where.
type SyntaxError struct {
	// Line and Column are where, counted from one, the column in characters. They
	// are zero where the place is not known.
	Line, Column int
	// Reason is what is wrong.
	Reason string
}

// Error says where, and what.
func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
}

// faultAt is a fault at so many bytes of the source.
func faultAt(source string, offset int, reason string) *SyntaxError {
	before := source[:max(0, min(offset, len(source)))]
	line := strings.Count(before, "\n") + 1
	start := strings.LastIndexByte(before, '\n') + 1
	return &SyntaxError{Line: line, Column: utf8.RuneCountInString(before[start:]) + 1, Reason: reason}
}

// Check says what is wrong with an expression: a [*SyntaxError], or nil. It does
// not run it.
func Check(expression string) error {
	_, err := compile(expression)
	return err
}

func checkSize(expression string) error {
	if len(expression) > webhook.MaxExpression {
		return &SyntaxError{Reason: fmt.Sprintf("at most %s", size(webhook.MaxExpression))}
	}
	return nil
}

// compile reads an expression.
//
// The parser keeps its own stack. The compiler goes down as deep as the source is
// nested, with a few KiB and more than a few microseconds for each level, so that
// this is bounded too. Where the library is wrong about itself it panics.
func compile(source string) (code *gojq.Code, err error) {
	defer func() {
		if p := recover(); p != nil {
			code, err = nil, &SyntaxError{Reason: fmt.Sprintf("jq itself failed: %v", p)}
		}
	}()
	if err := checkSize(source); err != nil {
		return nil, err
	}
	for i, r := range source {
		if _, n := utf8.DecodeRuneInString(source[i:]); r == utf8.RuneError && n == 1 {
			return nil, faultAt(source, i, "not UTF-8")
		}
	}
	query, err := gojq.Parse(source)
	if err != nil {
		return nil, parseFault(source, err)
	}
	if !shallow(reflect.ValueOf(query), maxNesting) {
		return nil, &SyntaxError{Reason: fmt.Sprintf("nested too deep, or with more than %d alternatives of ?//", maxAlternatives)}
	}
	code, err = gojq.Compile(query, gojq.WithVariables([]string{"$id", "$source", "$client_id"}))
	if err != nil {
		return nil, compileFault(source, err)
	}
	return code, nil
}

// maxNesting bounds how deep the syntax tree of an expression is. Parentheses take
// two levels, and so does each of a row of operands, such as the values of a list.
const maxNesting = 4000

// maxAlternatives bounds the patterns of one binding: each of them clears the
// variables of all.
const maxAlternatives = 50

// shallow reports whether a syntax tree is at most so deep, and no binding in it
// too wide. It goes no deeper itself.
func shallow(tree reflect.Value, most int) bool {
	if most < 0 {
		return false
	}
	switch tree.Kind() {
	case reflect.Pointer:
		switch {
		case tree.IsNil():
			return true
		case tree.Type() == reflect.TypeFor[*gojq.Query]():
			most--
		case tree.Type() == reflect.TypeFor[*gojq.Term]():
			// Each suffix holds what is before it.
			most -= 1 + 2*tree.Elem().FieldByName("SuffixList").Len()
		}
		return shallow(tree.Elem(), most)
	case reflect.Struct:
		if patterns := tree.FieldByName("Patterns"); patterns.IsValid() && patterns.Len() > maxAlternatives {
			return false
		}
		for i := range tree.NumField() {
			if !shallow(tree.Field(i), most) {
				return false
			}
		}
	case reflect.Slice:
		for i := range tree.Len() {
			if !shallow(tree.Index(i), most) {
				return false
			}
		}
	}
	return true
}

func parseFault(source string, err error) error {
	var parse *gojq.ParseError
	if !errors.As(err, &parse) {
		return &SyntaxError{Reason: readable(err.Error())}
	}
	return faultAt(source, parse.Offset-len(parse.Token), readable(parse.Error()))
}

// compileFault finds the place of a fault that the compiler names without one.
func compileFault(source string, err error) error {
	reason := readable(err.Error())
	var names []string
	if _, name, found := strings.Cut(reason, "not defined: "); found {
		name, _, _ = strings.Cut(name, "/")
		names = []string{name}
	} else if strings.HasPrefix(reason, "cannot load module") {
		names = []string{"import", "include"}
	} else if strings.HasPrefix(reason, "input(s)/0") {
		names = []string{"input", "inputs"}
	}
	first := -1
	for _, name := range names {
		if offset := firstUse(source, name); offset >= 0 && (first < 0 || offset < first) {
			first = offset
		}
	}
	if first < 0 {
		return &SyntaxError{Reason: reason}
	}
	return faultAt(source, first, reason)
}

// firstUse returns where the name of a function or a variable stands first in the
// source as a word of its own; negative: nowhere.
func firstUse(source, name string) int {
	for from := 0; ; {
		i := strings.Index(source[from:], name)
		if i < 0 || name == "" {
			return -1
		}
		i += from
		end := i + len(name)
		before, after := source[:i], source[end:]
		if !strings.HasSuffix(before, ".") && !strings.HasSuffix(before, "$") && !strings.HasSuffix(before, "::") && !strings.HasPrefix(after, "::") &&
			(before == "" || !wordByte(before[i-1])) && (after == "" || !wordByte(after[0])) {
			return i
		}
		from = end
	}
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// A cache keeps what was compiled, by its source: as much as fits into a share of
// the memory, and of the rest what was used last.
type cache struct {
	most int64
	cost int64
	lru  *simplelru.LRU[string, *gojq.Code]
}

// cacheEntries bounds the entries of a cache whatever they cost.
const cacheEntries = 4096

func newCache(most int64) *cache {
	c := &cache{most: most}
	// It fails for a size that is not positive only.
	c.lru, _ = simplelru.NewLRU(cacheEntries, func(source string, _ *gojq.Code) { c.cost -= costOf(source) })
	return c
}

// costOf estimates from above what the code of a source takes, in bytes: the
// definitions of jq that it uses, and about a hundred times its text.
func costOf(source string) int64 { return 8<<10 + 128*int64(len(source)) }

// compiled returns the code of the source.
func (c *cache) compiled(source string) (*gojq.Code, error) {
	if code, ok := c.lru.Get(source); ok {
		return code, nil
	}
	code, err := compile(source)
	if err != nil {
		return nil, err
	}
	c.lru.Add(source, code)
	c.cost += costOf(source)
	for c.cost > c.most && c.lru.Len() > 1 {
		c.lru.RemoveOldest()
	}
	return code, nil
}

func (c *cache) clear() { c.lru.Purge() }
