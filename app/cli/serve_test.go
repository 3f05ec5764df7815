package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestReloadWithoutItsFileChangesNothing: the defaults would drop the sources and
// let in whom the file keeps out.
func TestReloadWithoutItsFileChangesNothing(t *testing.T) {
	schema, err := os.ReadFile("../../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	text := "[inbound]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n" +
		"[[sources]]\nname = \"github\"\nscheme = \"github\"\nsecrets = [\"s\"]\nallow_ips = [\"192.0.2.1\"]\n"
	write := func() {
		t.Helper()
		if err := os.WriteFile("config.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	g := &globals{build: Build{Version: "test", Schema: string(schema)}}
	c, err := g.load()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	a, err := g.start(t.Context(), c, logger, func(slog.Level) {}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(t.Context())
	status := func() int {
		t.Helper()
		response, err := http.Post(a.InboundURL("/webhook/github"), "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if got := status(); got != http.StatusForbidden {
		t.Fatalf("before: %d", got)
	}
	if err := os.Remove("config.toml"); err != nil {
		t.Fatal(err)
	}
	file := g.reload(t.Context(), a, c.File, logger)
	if got := status(); got != http.StatusForbidden || file != c.File {
		t.Errorf("without the file: %d, in force is %q", got, file)
	}
	if !strings.Contains(log.String(), "not reloaded") || !strings.Contains(log.String(), "config.toml") {
		t.Errorf("the log says\n%s", &log)
	}
	text = strings.ReplaceAll(text, "192.0.2.1", "127.0.0.1")
	write()
	file = g.reload(t.Context(), a, file, logger)
	// It is let in, and refused for what it says.
	if got := status(); got != http.StatusBadRequest || file != c.File {
		t.Errorf("with the file again: %d, in force is %q", got, file)
	}
}

// TestLogShowsWhatATerminalWouldFollow logs what a receiver has chosen.
func TestLogShowsWhatATerminalWouldFollow(t *testing.T) {
	const hostile = "a\x1b[2J\u009b31m\x7f\u202e\u200b é"
	for _, format := range []string{"json", "text"} {
		for _, said := range []any{hostile, errors.New(hostile)} {
			var b bytes.Buffer
			newLogger(&b, slog.LevelInfo, format).Info("failed", "error", said)
			if line := strings.TrimSuffix(b.String(), "\n"); strings.ContainsAny(line, "\x1b\u009b\u202e\u200b") || !strings.Contains(line, "é") ||
				format == "json" && strings.Contains(line, "\x7f") {
				t.Errorf("%s: %q", format, line)
			}
		}
	}
}
