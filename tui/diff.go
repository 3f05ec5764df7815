package tui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pintle/pintle/tui/text"
)

const (
	// maxCompared bounds the work of a comparison, in pairs of lines.
	maxCompared = 1 << 20
	// maxDiff bounds how many lines of a comparison are laid out.
	maxDiff = 5000
)

// A change is a line of a comparison: one that is gone, one that has come, or
// one that is in both.
type change struct {
	sign byte // '-', '+' or ' '
	line string
}

// sortedJSON writes JSON with a line for each member and the members sorted, so
// that their order makes no difference. What is no JSON, or nested too deep to
// be indented, stays as it is.
func sortedJSON(body string) string {
	if depth(body) > maxIndented {
		return body
	}
	var value any
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber() // a number is to stay as it was written
	if dec.Decode(&value) != nil || dec.More() {
		return body
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if enc.Encode(value) != nil {
		return body
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// compare returns what makes one text of the other, line by line. The comma
// after a member says only that there is another one, and counts as nothing.
func compare(before, after []string) []change {
	same := func(i, j int) bool {
		return strings.TrimSuffix(before[i], ",") == strings.TrimSuffix(after[j], ",")
	}
	var changes []change
	first, n, m := 0, len(before), len(after)
	for first < n && first < m && same(first, first) {
		changes = append(changes, change{' ', after[first]})
		first++
	}
	for n > first && m > first && same(n-1, m-1) {
		n--
		m--
	}
	// common[i][j] is how many lines before[i:n] and after[j:m] have in common.
	// Where that is too much to find out, nothing between is.
	var common [][]int32
	if (n-first)*(m-first) <= maxCompared {
		common = make([][]int32, n-first+1)
		for i := range common {
			common[i] = make([]int32, m-first+1)
		}
		for i := n - 1; i >= first; i-- {
			for j := m - 1; j >= first; j-- {
				here := max(common[i-first+1][j-first], common[i-first][j-first+1])
				if same(i, j) {
					here = common[i-first+1][j-first+1] + 1
				}
				common[i-first][j-first] = here
			}
		}
	}
	i, j := first, first
	for i < n || j < m {
		switch {
		case common != nil && i < n && j < m && same(i, j):
			changes = append(changes, change{' ', after[j]})
			i++
			j++
		case i < n && (common == nil || j == m || common[i-first+1][j-first] >= common[i-first][j-first+1]):
			changes = append(changes, change{'-', before[i]})
			i++
		default:
			changes = append(changes, change{'+', after[j]})
			j++
		}
	}
	for ; m < len(after); m++ {
		changes = append(changes, change{' ', after[m]})
	}
	return changes
}

// diffLines lays out what a transform has made of an event.
func diffLines(e *env, event, sent string, w int, wrap bool) []string {
	if max(len(event), len(sent)) > text.MaxShown {
		return []string{e.paint(dim, text.Cut("The bodies are too long to be compared.", w))}
	}
	changes := compare(strings.Split(sortedJSON(event), "\n"), strings.Split(sortedJSON(sent), "\n"))
	lines := []string{e.paint(dim, text.Cut("- is the event's, + what is sent in its place; the members are sorted", w)), ""}
	for i, c := range changes {
		if i == maxDiff {
			return append(lines, "", e.paint(warn, text.Cut(fmt.Sprintf("%s lines more are not shown.", text.Count(int64(len(changes)-i))), w)))
		}
		r := map[byte]role{'-': bad, '+': good, ' ': dim}[c.sign]
		sign := string(c.sign) + " "
		for _, line := range text.Lines(c.line, max(w-2, 1), wrap) {
			lines = append(lines, cutPainted(e.paint(r, sign+line), w))
			sign = "  "
		}
	}
	return lines
}
