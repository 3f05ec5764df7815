package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
)

// clean makes text from outside safe to print: every character that a terminal
// could obey or that cannot be seen, from escape sequences to marks that turn
// the direction of writing, becomes a visible escape such as \x1b or \u202e.
// Letters of every script stay as they are.
func clean(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsGraphic(r):
			b.WriteString(s[:size])
		default:
			quoted := strconv.QuoteRuneToGraphic(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// printJSON prints a value of the admin API as the API writes it, on one line.
func printJSON(w io.Writer, v any) error {
	b, err := api.Marshal(v)
	if err != nil {
		return err
	}
	// An event's data may stand on several lines.
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return err
	}
	_, err = w.Write(append(cleanJSON(line.Bytes()), '\n'))
	return err
}

// flushRows is after how many rows a table is aligned and written, so that a
// list of any length costs the same memory and begins to appear at once.
const flushRows = 500

// A table aligns cells under headings. Whatever stands in a cell is made safe
// to print; an empty cell is a dash.
type table struct {
	w    *tabwriter.Writer
	rows int
}

func newTable(w io.Writer, headings ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.line(headings)
	return t
}

func (t *table) line(cells []string) {
	// The writer keeps its first error for Flush.
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) row(cells ...string) error {
	for i, cell := range cells {
		cells[i] = orDash(clean(cell))
	}
	t.line(cells)
	if t.rows++; t.rows%flushRows == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *table) flush() error { return t.w.Flush() }

// A field is one line of what is shown of a single thing.
type field struct{ name, value string }

// printFields prints a line for each field that has a value.
func printFields(w io.Writer, fields ...field) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		if f.value != "" {
			fmt.Fprintf(t, "%s\t%s\n", f.name, clean(f.value))
		}
	}
	return t.Flush()
}

// printList prints a list as it comes: a table for people, or a line of JSON
// for each item. The limit is the one that the list was asked with; zero: none.
func printList[T any](g *globals, cmd *cobra.Command, items iter.Seq2[T, error], limit int, headings []string, cells func(T) []string) error {
	out := cmd.OutOrStdout()
	if g.output == "json" {
		for item, err := range items {
			if err == nil {
				err = printJSON(out, item)
			}
			if err != nil {
				return workError(err)
			}
		}
		return nil
	}
	t := newTable(out, headings...)
	for item, err := range items {
		if err == nil {
			err = t.row(cells(item)...)
		}
		if err != nil {
			if t.rows > 0 {
				// What is known already is worth showing; the error that
				// follows says that it is not all.
				_ = t.flush()
			}
			return workError(err)
		}
	}
	if err := t.flush(); err != nil {
		return failed(err)
	}
	if t.rows == limit {
		g.note(cmd, "these are the newest %d; --limit N or --all shows more", limit)
	}
	return nil
}

// note tells people something beside the result.
func (g *globals) note(cmd *cobra.Command, format string, args ...any) {
	if !g.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
	}
}

// shownTime writes a time for people, in UTC; the zero time is empty.
func shownTime(t api.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// shownMillis writes a duration that is given in milliseconds.
func shownMillis(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Microsecond).String()
}

// shownCode writes an HTTP status; zero, for no answer, is empty.
func shownCode(code int) string {
	if code == 0 {
		return ""
	}
	return strconv.Itoa(code)
}
