package cli

import (
	"bytes"
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
