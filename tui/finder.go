package tui

import (
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/pintle/pintle/tui/text"
)

// A finder looks for a text in the lines of a pane, in whatever case.
type finder struct {
	sought string
	hit    int // one more than the line that was found last; zero: none
}

// press handles the keys for finding: laid are the lines, and top is the first
// one that is seen.
func (f *finder) press(e *env, name string, laid *[]string, top *int) (tea.Cmd, bool) {
	switch name {
	case "/":
		return e.ask(newPrompt("/", "a text to find below", "", func(line string) tea.Cmd {
			if line != "" {
				f.sought, f.hit = line, 0
			}
			return f.next(*laid, top, 1)
		})), true
	case "n":
		return f.next(*laid, top, 1), true
	case "N":
		return f.next(*laid, top, -1), true
	}
	return nil, false
}

// next goes to the next line with the text, or to the previous one; after the
// last comes the first.
func (f *finder) next(laid []string, top *int, by int) tea.Cmd {
	if f.sought == "" {
		return say(info, "there is nothing to find yet; / asks for it")
	}
	from := f.hit - 1
	if f.hit == 0 && by > 0 {
		from = *top - 1
	} else if f.hit == 0 {
		from = *top
	}
	n := len(laid)
	for i := 1; i <= n; i++ {
		at := ((from+by*i)%n + n) % n
		if !f.matches(laid, at) {
			continue
		}
		f.hit, *top = at+1, max(at-2, 0)
		if (at-from)*by <= 0 {
			return say(info, "there was no further one: this is from the other end")
		}
		return nil
	}
	f.hit = 0
	return say(warn, text.Cut(strconv.Quote(f.sought), 40)+" is not here")
}

// matches reports whether the text begins in the line. It may end in the next
// one, where the line was broken in its midst.
func (f *finder) matches(laid []string, at int) bool {
	sought := strings.ToLower(text.Clean(f.sought))
	line := strings.ToLower(ansi.Strip(laid[at]))
	if strings.Contains(line, sought) {
		return true
	}
	if at+1 == len(laid) {
		return false
	}
	tail := line[max(len(line)-len(sought)+1, 0):]
	next := strings.ToLower(ansi.Strip(laid[at+1]))
	return tail != "" && strings.Contains(tail+next[:min(len(next), len(sought)-1)], sought)
}

// margin is what stands before a line of a pane.
func (f *finder) margin(e *env, at int) string {
	if at+1 == f.hit {
		return e.paint(keyName, e.glyphs.cursor)
	}
	return " "
}
