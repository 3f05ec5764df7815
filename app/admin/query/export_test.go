package query

import (
	"strings"
	"unicode"
)

// String writes the query so that it is read as the same again.
func (q Query) String() string {
	var terms []string
	for _, k := range q.keys() {
		if *k.field != "" {
			terms = append(terms, k.names[0]+":"+quote(*k.field))
		}
	}
	if q.Event != "" {
		terms = append(terms, "event:"+quote(q.Event))
	}
	for _, id := range []string{q.Delivery, q.Rejection} {
		if id != "" {
			terms = append(terms, id)
		}
	}
	if q.Text != "" {
		terms = append(terms, `"`+escape(q.Text)+`"`)
	}
	return strings.Join(terms, " ")
}

// quote writes a value in quotes where it could be read as something else.
func quote(value string) string {
	if strings.HasPrefix(value, `"`) || strings.ContainsFunc(value, unicode.IsSpace) || strings.HasPrefix(value, "//") {
		return `"` + escape(value) + `"`
	}
	return value
}

func escape(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }
