//go:build suites

package suites

import (
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// h2spec is the tool, as the go command names it. It has no go.mod, which is
// why the version is called incompatible.
const h2spec = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

// knownFailures are where net/http departs from RFC 9113, or from what h2spec
// takes for it, in Go 1.26.
func knownFailures() []string {
	return []string{
		// The frame is larger than the default, and no larger than what
		// net/http offers to read.
		"http2/4.2 Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
		// It hangs up on a SETTINGS frame that says something twice.
		"http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
		// It ignores header fields that have a meaning in HTTP/1.1 only.
		"http2/8.1.2.2 Sends a HEADERS frame that contains the connection-specific header field",
		"http2/8.1.2.2 Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"",
	}
}

// racingFailures fail when the answer is there before what h2spec sends next: the
// stream is closed then, and what comes on it is ignored, as it should be.
func racingFailures() []string {
	return []string{
		"http2/6.9.1 Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
	}
}

// install builds a tool in a folder of its own, so that it runs as no child of
// the go command, and returns its file.
func install(t *testing.T, tool string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", tool)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v\n%s", tool, err, out)
	}
	name, _, _ := strings.Cut(path.Base(tool), "@")
	return filepath.Join(dir, name)
}

// TestHTTP2ConformsAsFarAsNetHTTPDoes runs h2spec against the TLS listener.
func TestHTTP2ConformsAsFarAsNetHTTPDoes(t *testing.T) {
	cert, key := certificate(t)
	p := serve(t, build(t), fmt.Sprintf("secret = %q\ntls_cert = %q\ntls_key = %q\n[log]\nlevel = \"warn\"\n", senderSecret.Reveal(), cert, key))
	host, port, err := net.SplitHostPort(p.inbound)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "junit.xml")
	// It ends with status 1 when a case fails; which do is in the file.
	out, _ := run(t, install(t, h2spec), "-h", host, "-p", port, "-t", "-k", "-P", inboundPath, "-o", "3", "-j", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("h2spec has not told what came of it: %v\n%s", err, out)
	}
	var result struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	cases := 0
	var failed []string
	for _, suite := range result.Suites {
		for _, c := range suite.Cases {
			cases++
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, c.Package+" "+c.Name)
			}
		}
	}
	t.Logf("h2spec: %d cases, %d passed", cases, cases-len(failed))
	if cases != 145 {
		t.Errorf("there are %d cases", cases)
	}
	for _, name := range failed {
		if !slices.Contains(knownFailures(), name) && !slices.Contains(racingFailures(), name) {
			t.Errorf("%s: failed", name)
		}
	}
	for _, name := range knownFailures() {
		if !slices.Contains(failed, name) {
			t.Errorf("%s: passed, and is no longer a known failure", name)
		}
	}
}
