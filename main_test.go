package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a test waits for what another process does.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pintle": main, "terminal": inTerminal})
}

// inTerminal is a program for the scripts, `terminal CMD…`: it runs the command in a
// terminal that answers nothing, prints what that shows, and ends as the command
// does. testscript's own ttyout closes the terminal without waiting for what has not
// been read.
func inTerminal() {
	command := exec.Command(os.Args[1], os.Args[2:]...)
	screen, tty, err := pty.Open()
	if err == nil {
		command.Stdin, command.Stdout, command.Stderr = tty, tty, tty
		// The terminal does not control the command, whose end would then hang it up
		// and drop what it has just shown.
		command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err = command.Start()
		tty.Close()
	}
	if err == nil {
		_, err = io.Copy(os.Stdout, screen)
	}
	if !errors.Is(err, syscall.EIO) { // how Linux says that all have closed it
		fmt.Fprintln(os.Stderr, "terminal:", err)
		os.Exit(125)
	}
	command.Wait()
	os.Exit(command.ProcessState.ExitCode())
}

// TestCommands types the commands as a user does. Each script has a folder, a
// free address for each of $INBOUND, $ADMIN and $RECEIVER, and the commands beside
// those of testscript:
//
//	ready              waits until the appliance at $INBOUND is ready
//	until PATTERN CMD… repeats the command until its output has the pattern
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "app/cli/testdata",
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"INBOUND", "ADMIN", "RECEIVER"} {
				env.Setenv(name, freeAddress(t))
			}
			env.Setenv("PINTLE_INBOUND_LISTEN", env.Getenv("INBOUND"))
			env.Setenv("PINTLE_ADMIN_LISTEN", env.Getenv("ADMIN"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(poll(func() bool {
					response, err := http.Get("http://" + ts.Getenv("INBOUND") + "/readyz")
					if err != nil {
						return false
					}
					response.Body.Close()
					return response.StatusCode == http.StatusOK
				}))
			},
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				pattern := regexp.MustCompile(args[0])
				if err := poll(func() bool { return ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout")) }); err != nil {
					ts.Fatalf("%q has not come: %v", args[0], err)
				}
			},
		},
	})
}

// TestTheDashboardInATerminal looks at the demo in a real terminal emulator.
func TestTheDashboardInATerminal(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("there is no tmux")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pintle") // short enough for a Unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// Under this name the test is the program.
	if err := os.Symlink(self, filepath.Join(dir, "pintle")); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(tmux, append([]string{"-S", filepath.Join(dir, "tmux"), "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color", "PATH="+dir+":"+os.Getenv("PATH"))
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, output)
		}
		return string(output)
	}
	until := func(want string) {
		t.Helper()
		re, screen := regexp.MustCompile(want), ""
		if err := poll(func() bool { screen = command("capture-pane", "-p"); return re.MatchString(screen) }); err != nil {
			t.Fatalf("%q has not come: %v\n%s", want, err, screen)
		}
	}
	command("new-session", "-d", "-x", "80", "-y", "24", "pintle demo; echo left with $?; read wait")
	t.Cleanup(func() { command("kill-server") })

	until(`1 Overview(?s:.*)live(?s:.*)LAST FAILURES`)
	for _, stop := range []struct{ key, shows string }{
		{"2", `events · FOLLOW`}, {"Tab", `deliveries · FOLLOW`}, {"Tab", `subscribers`}, {"Tab", `dead letters`}, {"Tab", `Type `}, {"1", `QUEUE`},
	} {
		command("send-keys", stop.key)
		until(stop.shows)
	}
	if got := command("display-message", "-p", "#{alternate_on}"); got != "1\n" {
		t.Errorf("the other screen is not used: %q", got)
	}
	command("send-keys", "q")
	until(`Leave the dashboard\?`)
	command("send-keys", "y", "Enter")
	until(`left with 0`)
	if got := command("display-message", "-p", "#{alternate_on}"); got != "0\n" {
		t.Errorf("the terminal is not as it was: %q", got)
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// poll asks again and again, for what another process does cannot be waited on.
func poll(done func() bool) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			return fmt.Errorf("gave up after %s", patience)
		}
	}
	return nil
}

// TestReadmeCommandsWork runs the commands of the README in a copy of the tree,
// in their order and in one shell, as a newcomer would. Only what must be is
// changed: the ports, so that the test can run beside anything; the length of
// the demo; and `make test`, which runs this test, is only looked up.
func TestReadmeCommandsWork(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	inBlock, blocks := false, 0
	for scanner := bufio.NewScanner(strings.NewReader(string(readme))); scanner.Scan(); {
		switch line := scanner.Text(); {
		case line == "```sh":
			inBlock = true
			blocks++
		case line == "```":
			inBlock = false
		case inBlock:
			script.WriteString(line + "\n")
		}
	}
	if blocks < 5 {
		t.Fatalf("the README has %d blocks of commands", blocks)
	}
	inbound, receiver := freeAddress(t), freeAddress(t)
	commands := strings.NewReplacer(
		"make demo ", `make demo DEMO="--for 2s" `,
		"make test ", "make -n test ",
		"127.0.0.1:8080", inbound,
		"127.0.0.1:9000", receiver,
		"pintle listen ", "pintle listen --addr "+receiver+" ",
	).Replace(script.String())
	for _, must := range []string{"make demo DEMO", "make -n test", inbound, receiver, "pintle listen --addr"} {
		if !strings.Contains(commands, must) {
			t.Fatalf("the README has changed: this test does not find where to put %q", must)
		}
	}

	dir := t.TempDir()
	for _, name := range []string{"main.go", "go.mod", "go.sum", "schema.sql", "config.example.toml", "Makefile", "app", "storage", "tui"} {
		copyTree(t, name, filepath.Join(dir, name))
	}
	// The first command builds the program, on a fresh machine with all that it
	// is made of.
	ctx, cancel := context.WithTimeout(context.Background(), 20*patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	shell.Dir = dir
	shell.Env = append(os.Environ(), "PINTLE_INBOUND_LISTEN="+inbound, "PINTLE_ADMIN_LISTEN=127.0.0.1:0")
	// A group of its own, so that nothing of it outlives the test.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.WaitDelay = patience
	output, err := shell.CombinedOutput()
	syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // what a failure left running
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, want := range []string{"deliveries are dead letters", `"status":"received"`, "verified", "delivered", "connection refused", "signature ✗"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err == nil && info.IsDir() {
		err = os.CopyFS(to, os.DirFS(from))
	} else if err == nil {
		var text []byte
		if text, err = os.ReadFile(from); err == nil {
			err = os.WriteFile(to, text, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

const module = "github.com/pintle/pintle"

// mayImport is the import law: which packages of this module a package may
// import. Imports go one way, from the outside to the domain. "…" at the end
// stands for everything below.
var mayImport = map[string][]string{
	".":                       {"app/cli"},
	"app":                     {"app/…"},
	"app/webhook":             {},
	"app/config":              {"app/webhook", "app/spelling", "app/signature", "app/security", "app/transform"},
	"app/signature":           {"app/webhook", "app/signature/rewriting"},
	"app/signature/rewriting": {},
	"app/security":            {"app/webhook"},
	"app/strictjson":          {},
	"app/spelling":            {},
	"app/gateway":             {"app/webhook", "app/signature", "app/security", "app/strictjson"},
	"app/dispatch":            {"app/webhook", "app/sender", "app/security", "app/transform"},
	"app/sender":              {"app/webhook", "app/signature", "app/security", "app/transform"},
	"app/transform":           {"app/webhook"},
	"app/admin/api":           {"app/webhook"},
	"app/admin":               {"app/webhook", "app/admin/api", "app/admin/board", "app/admin/explain", "app/admin/query", "app/feed", "app/strictjson"},
	"app/admin/board":         {"app/webhook", "app/admin/api"},
	"app/admin/explain":       {"app/webhook", "app/admin/api"},
	"app/admin/query":         {"app/webhook", "app/admin/api", "app/spelling"},
	"app/admin/client":        {"app/webhook", "app/admin/api"},
	"app/feed":                {"app/webhook", "app/admin/api"},
	"app/metrics":             {"app/webhook", "app/transform"},
	"app/sandbox":             {"app/webhook", "app/signature"},
	"app/backup":              {"storage"},
	"app/doctor":              {"app/webhook", "app/backup", "app/config", "app/security", "app/transform", "app/admin/api", "app/admin/board", "app/admin/client", "storage"},
	"app/cli":                 {"app/…", "app", "storage", "tui", "tui/text"},
	"app/bench":               {"app/webhook", "app/signature"}, // a program of its own
	"app/crash":               {},
	"docs/pictures":           {}, // likewise
	"tui":                     {"app/webhook", "app/admin/api", "tui/text"},
	"tui/text":                {},
	"storage":                 {"app/webhook", "storage/sqlite", "storage/sqlite/dbfile"},
	"storage/sqlite":          {"app/webhook", "storage/sqlite/dbfile"},
	"storage/sqlite/dbfile":   {"app/webhook"},
	"storage/storagetest":     {"app/webhook"},
	"app/suites":              {},
}

// TestImportsGoOneWay reads the tree itself, since what `go list` says may come
// from the test cache.
func TestImportsGoOneWay(t *testing.T) {
	for dir, files := range goFiles(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		allowed, known := mayImport[dir]
		if !known {
			t.Errorf("%s is not in the import law", dir)
			continue
		}
		for _, file := range files {
			for _, spec := range file.Imports {
				imported, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"/")
				if !ours {
					standard := !strings.Contains(strings.Split(strings.Trim(spec.Path.Value, `"`), "/")[0], ".")
					if dir == "app/webhook" && !standard {
						t.Errorf("%s imports %s; the domain imports the standard library only", dir, spec.Path.Value)
					}
					continue
				}
				if !slices.ContainsFunc(allowed, func(a string) bool {
					below, all := strings.CutSuffix(a, "…")
					return imported == a || all && strings.HasPrefix(imported, below) && imported != "app/cli"
				}) {
					t.Errorf("%s imports %s", dir, imported)
				}
			}
		}
	}
}

// TestEveryPackageSaysWhatItIsFor keeps a doc comment on every package.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for dir, files := range goFiles(t, func(string) bool { return true }) {
		documented := false
		for _, file := range files {
			documented = documented || file.Doc != nil && strings.TrimSpace(file.Doc.Text()) != ""
		}
		if !documented {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// TestNoInitFunctions: what a program does begins in main.
func TestNoInitFunctions(t *testing.T) {
	for dir, files := range goFiles(t, func(string) bool { return true }) {
		for _, file := range files {
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s has an init function", dir)
				}
			}
		}
	}
}

// TestTopLevelHoldsWhatItShould keeps the root as small as the owner wants it.
func TestTopLevelHoldsWhatItShould(t *testing.T) {
	allowed := []string{"main.go", "main_test.go", "app", "storage", "tui", "schema.sql", "config.example.toml",
		"Makefile", "go.mod", "go.sum", "README.md", "LICENSE", "docs", "packaging", "testdata"}
	// What a build or a trial leaves behind, and git does not track.
	ignored := []string{"bin", "tmp", "pintle", "config.toml"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "pintle.db") || slices.Contains(allowed, name) || slices.Contains(ignored, name) {
			continue
		}
		t.Errorf("%s does not belong at the top level", name)
	}
}

// goFiles parses the Go files of the tree, by folder. A folder with a go.mod of
// its own is another module.
func goFiles(t *testing.T, keep func(name string) bool) map[string][]*ast.File {
	t.Helper()
	packages := map[string][]*ast.File{}
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (name != "." && strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" || nestedModule(name)):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(name, ".go") || !keep(name):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(name))
		packages[dir] = append(packages[dir], file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func nestedModule(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "go.mod"))
	return dir != "." && err == nil && info.Mode().IsRegular()
}
