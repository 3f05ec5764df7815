package cli

import "testing"

func TestCleanMakesWhatATerminalObeysVisible(t *testing.T) {
	for s, want := range map[string]string{
		"plain text, é 日本 さくら 👍": "plain text, é 日本 さくら 👍",
		`{"a":"\n"}`:             `{"a":"\n"}`,
		"\x1b[31m":               `\x1b[31m`,
		"\u009b2J":               `\u009b2J`,
		"\x9b2J":                 `\x9b2J`,
		"a\r\nb\tc\x00\x7f":      `a\r\nb\tc\x00\x7f`,
		"\u202eevil\u2066":       `\u202eevil\u2066`,
		"zero\u200bwidth":        `zero\u200bwidth`,
		"soft\u00adhyphen":       `soft\u00adhyphen`,
		"tag\U000e0041":          `tag\U000e0041`,
		"\u2028":                 `\u2028`,
	} {
		if got := clean(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
