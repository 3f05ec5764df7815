package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/strictjson"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

func newVerify(g *globals) *cobra.Command {
	var (
		v       verification
		secrets []string
		headers []string
	)
	c := &cobra.Command{
		Use:   "verify [BODY|@FILE|-]",
		Short: "Check a signature under any scheme, and say why it does not match",
		Long: "verify checks the signature of a request: of the body on the command line, in\n" +
			"@FILE, or - for standard input, byte for byte, with the headers given; or of a\n" +
			"whole request as it was captured. Where the signature does not match, it looks\n" +
			"for the reason among what is known to go wrong.\n\n" +
			"A timestamp that the scheme signs must be near the clock, or near --at; under\n" +
			"the scheme agent, that is the one in the body.\n\n" + secretHelp,
		Example: "pintle verify @push.json --scheme github --secret-file key -H 'X-Hub-Signature-256: sha256=…'\n" +
			"pintle verify --request captured.http --scheme standard --secret whsec_… --tolerance 0\n" +
			"pintle verify --request - --scheme stripe --secret whsec_… --at 2026-08-01T12:00:00Z <captured.http",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v.given = secrets
			return v.run(g, cmd, args, headers)
		},
	}
	flags := c.Flags()
	v.flags(c)
	flags.StringArrayVar(&secrets, "secret", nil, "secret to verify with; several may be valid; - reads it from standard input")
	flags.StringArrayVarP(&headers, "header", "H", nil, "a header of the request: 'Name: value'")
	flags.StringVar(&v.request, "request", "", "file with the whole request, headers and body; - for standard input")
	flags.StringVar(&v.at, "at", "", "when it came, in RFC 3339 or Unix seconds (default: now)")
	flags.DurationVar(&v.tolerance, "tolerance", 5*time.Minute, "how far the timestamp may be off, either way; 0: any")
	return c
}

// verification is one run of the command verify.
type verification struct {
	signing
	request   string
	at        string
	tolerance time.Duration
}

// A verdict is what programs get.
type verdict struct {
	OK bool `json:"ok"`
	// Error is missing, malformed, mismatch or stale.
	Error     string   `json:"error,omitempty"`
	Reasons   []string `json:"reasons,omitempty"`
	Timestamp int64    `json:"timestamp,omitempty"`
	// Age is in seconds, negative where the timestamp is ahead of the clock.
	Age *int64 `json:"age,omitempty"`
	ID  string `json:"id,omitempty"`
}

func (v *verification) run(g *globals, cmd *cobra.Command, args, headers []string) error {
	if err := v.check(cmd); err != nil {
		return err
	}
	now, err := v.now()
	if err != nil {
		return err
	}
	m, err := v.message(cmd.InOrStdin(), args, headers)
	if err != nil {
		return err
	}
	secrets, err := v.secrets(g, cmd)
	if err != nil {
		return err
	}
	verifier, err := signature.NewVerifier(v.scheme(), v.form, secrets)
	if err != nil {
		return err
	}
	proof, err := verifier.Verify(m)
	if err != nil {
		return v.refuse(g, cmd, err, verifier.Explain(m, now), "expected "+verifier.Expects())
	}
	timestamp := proof.Timestamp
	if v.scheme() == webhook.SchemeAgent {
		timestamp = agentTimestamp(m.Body)
	}
	result := verdict{OK: true, Timestamp: timestamp, ID: proof.ID}
	sentence := fmt.Sprintf("verified: the %s signature of %s", v.name, counted(len(m.Body), "byte"))
	switch v.scheme() {
	case webhook.SchemeNone:
		sentence = "verified: the scheme none believes anyone"
	case webhook.SchemeGitLab:
		sentence = "verified: the gitlab token"
	}
	if timestamp != 0 {
		age := now.Unix() - timestamp
		result.Age = &age
		if limit := int64(v.tolerance / time.Second); v.tolerance > 0 && max(age, -age) > limit {
			return v.refuse(g, cmd, errStale,
				[]string{fmt.Sprintf("the signature is good, but the timestamp %d is %s, and %d s are allowed", timestamp, shownAge(age), limit)},
				"--at TIME says when the request came; --tolerance 0 does not look at the clock")
		}
		sentence += ", " + shownAge(age)
	}
	if proof.ID != "" {
		sentence += ", id " + text.Clean(proof.ID)
	}
	return g.print(cmd, result, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, sentence)
		return err
	})
}

// errStale says that the signed timestamp is too far from the clock.
var errStale = errors.New("stale timestamp")

// refuse says why the request is not to be believed.
func (v *verification) refuse(g *globals, cmd *cobra.Command, err error, reasons []string, next string) error {
	kind := "stale"
	switch {
	case errors.Is(err, signature.ErrMissing):
		kind = "missing"
	case errors.Is(err, signature.ErrMalformed):
		kind = "malformed"
	case errors.Is(err, signature.ErrMismatch):
		kind = "mismatch"
	}
	lines := []string{text.Clean(err.Error())}
	for i := range reasons {
		reasons[i] = text.Clean(reasons[i])
		lines = append(lines, "  "+reasons[i])
	}
	if g.output == "json" {
		if err := printJSON(cmd.OutOrStdout(), verdict{Error: kind, Reasons: reasons}); err != nil {
			return failed(err)
		}
	}
	return failed(hint(errors.New(strings.Join(lines, "\n")), "%s", next))
}

// shownAge writes an age in seconds for people.
func shownAge(seconds int64) string {
	if seconds < 0 {
		return strconv.FormatInt(-seconds, 10) + " s ahead of the clock"
	}
	return strconv.FormatInt(seconds, 10) + " s old"
}

// now is the time that the request is judged at.
func (v *verification) now() (time.Time, error) {
	if v.tolerance < 0 {
		return time.Time{}, fmt.Errorf("--tolerance %s is negative", v.tolerance)
	}
	if v.at == "" {
		return time.Now(), nil
	}
	if seconds, err := strconv.ParseInt(v.at, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, v.at)
	if err != nil {
		return time.Time{}, hint(fmt.Errorf("--at %s is not a time", text.Clean(v.at)), "write it as 2026-08-01T12:00:00Z, or in Unix seconds")
	}
	return at, nil
}

// message puts the request together.
func (v *verification) message(stdin io.Reader, args, headers []string) (signature.Message, error) {
	m := signature.Message{Header: http.Header{}}
	var err error
	switch {
	case v.request != "" && len(args) > 0:
		return m, errors.New("--request has a body; give none beside it")
	case v.request == "-":
		var raw []byte
		if raw, err = v.read(stdin, "the request"); err == nil {
			m.Header, m.Body, err = parseRequest(raw)
		}
	case v.request != "":
		var raw []byte
		if raw, err = os.ReadFile(v.request); err == nil {
			m.Header, m.Body, err = parseRequest(raw)
		}
	default:
		m.Body, err = v.body(stdin, args)
	}
	if err != nil {
		return m, err
	}
	for _, line := range headers {
		if err := addHeader(m.Header, line); err != nil {
			return m, fmt.Errorf("-H %w", err)
		}
	}
	if v.scheme() == webhook.SchemeAgent {
		m.Member, m.Unsigned = signatureMember(m.Body)
	}
	return m, nil
}

// parseRequest takes a captured request apart: a request line, which may be
// missing, headers, an empty line, and the body. Lines may end in LF, since
// editors and terminals make it of CRLF.
func parseRequest(raw []byte) (http.Header, []byte, error) {
	header := http.Header{}
	for first := true; ; first = false {
		line, rest, found := bytes.Cut(raw, []byte("\n"))
		raw = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		isRequestLine := first && bytes.Contains(line, []byte(" HTTP/"))
		switch {
		case len(line) == 0:
			body, err := decodeBody(header, raw)
			return header, body, err
		case !isRequestLine:
			if err := addHeader(header, string(line)); err != nil {
				return nil, nil, fmt.Errorf("the request: %w", err)
			}
		}
		if !found {
			return header, nil, nil
		}
	}
}

// decodeBody undoes the framing of a captured body.
func decodeBody(header http.Header, raw []byte) ([]byte, error) {
	if strings.EqualFold(header.Get("Transfer-Encoding"), "chunked") {
		return joinChunks(raw)
	}
	length, err := strconv.Atoi(header.Get("Content-Length"))
	switch {
	case err != nil || length < 0 || length == len(raw):
		return raw, nil
	case length > len(raw):
		return nil, fmt.Errorf("the request: Content-Length is %d, but only %s of body follow", length, counted(len(raw), "byte"))
	}
	// What captured it put something behind it, as a rule a newline.
	return raw[:length], nil
}

// joinChunks undoes the chunked transfer coding. Unlike the standard library it
// takes lines that end in LF.
func joinChunks(raw []byte) ([]byte, error) {
	var body []byte
	for {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		digits, _, _ := strings.Cut(strings.TrimSuffix(string(line), "\r"), ";")
		size, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 31)
		if err != nil || int(size) > len(rest) {
			return nil, errors.New("the request: its chunks are not whole")
		}
		if size == 0 {
			return body, nil
		}
		body = append(body, rest[:size]...)
		raw = bytes.TrimPrefix(rest[size:], []byte("\r"))
		raw = bytes.TrimPrefix(raw, []byte("\n"))
	}
}

// addHeader adds a line "Name: value".
func addHeader(header http.Header, line string) error {
	name, value, ok := strings.Cut(line, ":")
	name = textproto.CanonicalMIMEHeaderKey(name)
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return fmt.Errorf("%s is not a header; write it as Name: value", strconv.Quote(shorten(line, shownID)))
	}
	header[name] = append(header[name], strings.Trim(value, " \t"))
	return nil
}

// signatureMember returns the body's signature, and the body without it, as the
// endpoint reads it. A body that the endpoint refuses has none.
func signatureMember(body []byte) (member *string, unsigned []byte) {
	members, err := strictjson.Object(body)
	if err != nil {
		return nil, nil
	}
	for _, m := range members {
		if m.Name != "signature" {
			continue
		}
		if member != nil {
			return nil, nil
		}
		value, _ := strictjson.String(m.Value) // one that is no string matches nothing
		member, unsigned = &value, strictjson.Without(body, m)
	}
	return member, unsigned
}

// agentTimestamp returns the timestamp in a body of the agent scheme; zero if
// there is none.
func agentTimestamp(body []byte) int64 {
	members, err := strictjson.Object(body)
	if err != nil {
		return 0
	}
	for _, m := range members {
		if m.Name == "timestamp" {
			seconds, err := strconv.ParseInt(string(m.Value), 10, 64)
			if err != nil || seconds < 0 {
				return 0
			}
			return seconds
		}
	}
	return 0
}
