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

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/tui/text"
)

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
		cells[i] = orDash(text.Clean(cell))
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
			fmt.Fprintf(t, "%s\t%s\n", f.name, text.Clean(f.value))
		}
	}
	return t.Flush()
}

// columns are what people see of the items of a list.
type columns[T any] struct {
	headings []string
	cells    func(T) []string
}

// printList prints a list as it comes: a table for people, or a line of JSON
// for each item. The limit is the one that the list was asked with; zero: none.
func printList[T any](g *globals, cmd *cobra.Command, items iter.Seq2[T, error], limit int, shown columns[T]) error {
	out := cmd.OutOrStdout()
	if g.output == "json" {
		for item, err := range items {
			if err != nil {
				return listError(err)
			}
			if err := printJSON(out, item); err != nil {
				return failed(err)
			}
		}
		return nil
	}
	t := newTable(out, shown.headings...)
	for item, err := range items {
		if err == nil {
			err = t.row(shown.cells(item)...)
		}
		if err != nil {
			if t.rows > 0 {
				// What is known already is worth showing; the error that
				// follows says that it is not all.
				_ = t.flush()
			}
			return listError(err)
		}
	}
	if err := t.flush(); err != nil {
		return failed(err)
	}
	if limit > 0 && t.rows == limit {
		g.note(cmd, "these are the newest %d; --limit N or --all shows more", limit)
	}
	return nil
}

// printTable prints rows that are at hand for people.
func printTable[T any](w io.Writer, items []T, shown columns[T]) error {
	t := newTable(w, shown.headings...)
	for _, item := range items {
		if err := t.row(shown.cells(item)...); err != nil {
			return err
		}
	}
	return t.flush()
}

// printOne prints an answer: a table of one row for people.
func printOne(g *globals, cmd *cobra.Command, answer any, headings []string, cells ...string) error {
	return g.print(cmd, answer, func(w io.Writer) error {
		return printTable(w, [][]string{cells}, columns[[]string]{headings, func(cells []string) []string { return cells }})
	})
}

// print prints one thing: as the API writes it for programs, and as show does
// for people.
func (g *globals) print(cmd *cobra.Command, v any, show func(io.Writer) error) error {
	if g.output == "json" {
		return failed(printJSON(cmd.OutOrStdout(), v))
	}
	return failed(show(cmd.OutOrStdout()))
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

// shownBytes writes a number of bytes.
func shownBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return strconv.FormatInt(n, 10) + " B"
	}
	scaled, prefix := float64(n)/unit, 0
	for scaled >= unit && prefix < len("KMGTPE")-1 {
		scaled /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", scaled, "KMGTPE"[prefix])
}

// shownShare writes the share of the attempts that did not fail; it is empty
// where there were none.
func shownShare(attempts, failed int64) string {
	if attempts == 0 {
		return ""
	}
	// Rounded down: 100 % means that none failed.
	return fmt.Sprintf("%d%%", 100*(attempts-failed)/attempts)
}

// printLines prints text of several lines under a heading.
func printLines(w io.Writer, heading, body string) error {
	if _, err := fmt.Fprintln(w, heading); err != nil {
		return err
	}
	for line := range strings.Lines(body) {
		if _, err := fmt.Fprintln(w, text.Clean(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

// listed makes a list of what came all at once.
func listed[T any](items []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}
