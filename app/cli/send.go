package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/sandbox"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

const (
	// sendTimeout bounds one request.
	sendTimeout = 30 * time.Second
	// shownMessage is how many characters of an answer stand in an error.
	shownMessage = 300
)

func newSend(g *globals) *cobra.Command {
	s := &sender{g: g}
	c := &cobra.Command{
		Use:   "send TYPE [JSON|@FILE|-]",
		Short: "Post a signed event to an inbound endpoint, as an external system would",
		Long: "send makes an event of the type with the data given, signs it and posts it to\n" +
			"the inbound endpoint. The data is JSON on the command line, @FILE, or - for\n" +
			"standard input; without it, {}.\n\n" +
			"The endpoint and its secret are those of the configuration in force; a secret\n" +
			"that the appliance made itself is asked for over its admin API. Two events that\n" +
			"are the same in every byte are one event to the endpoint, so each of several\n" +
			"(--count) gets an Idempotency-Key of its own, unless --id or --idempotency-key\n" +
			"is given.\n\n" +
			"With --source it posts to another source of the configuration, as its senders\n" +
			"do: signed under its scheme with its first secret. Save under the scheme agent,\n" +
			"the data is the whole body. The type, as the sender calls it, and the id go\n" +
			"where the source reads them, if that is a header or a member of the body; one\n" +
			"that the data has already, and what lies deeper in it, stay as they are.",
		Example: "pintle send order.created '{\"order_id\":\"A12345\"}'\n" +
			"pintle send invoice.paid @invoice.json --id inv-17\n" +
			"pintle send user.created --skew=-10m\n" +
			"pintle send order.paid --signature wrong\n" +
			"pintle send push @push.json --source github\n" +
			"pintle send order.created --count 100 --rate 20",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args) },
	}
	flags := c.Flags()
	flags.StringVar(&s.source, "source", webhook.SourceInbound, "as the senders of this source of the configuration do")
	flags.StringVar(&s.url, "url", "", "inbound endpoint (default: that of the configuration)")
	flags.StringVar(&s.secret, "secret", "", "secret to sign with (default: that of the configuration, else the one that the running appliance made)")
	flags.StringVar(&s.id, "id", "", "the sender's own id of the event")
	flags.StringVar(&s.idempotencyKey, "idempotency-key", "", "the header Idempotency-Key")
	flags.Int64Var(&s.timestamp, "timestamp", 0, "time of the event in Unix seconds (default: now)")
	flags.DurationVar(&s.skew, "skew", 0, "shift the timestamp, as a wrong clock would: 10m, -10m")
	flags.StringVar(&s.signing, "signature", string(sandbox.SignHeader), "where the signature stands: header, body, none or wrong")
	flags.IntVar(&s.count, "count", 1, "send N events")
	flags.Float64Var(&s.rate, "rate", 0, "with --count, so many events in a second (default: as fast as they are answered)")
	return c
}

// sender is one run of the command send.
type sender struct {
	g              *globals
	source         string
	url            string
	secret         string
	id             string
	idempotencyKey string
	timestamp      int64
	skew           time.Duration
	signing        string
	count          int
	rate           float64
}

func (s *sender) run(cmd *cobra.Command, args []string) error {
	if !slices.Contains(sandbox.Signings(), sandbox.Signing(s.signing)) {
		return fmt.Errorf("--signature is header, body, none or wrong, not %q", s.signing)
	}
	if err := checkRate(s.rate); err != nil {
		return err
	}
	switch {
	case s.count < 1:
		return fmt.Errorf("--count %d: send at least one", s.count)
	case s.rate > 0 && s.count == 1:
		return errors.New("--rate goes with --count")
	}
	event := sandbox.Event{Type: args[0], ID: s.id, Timestamp: s.timestamp}
	if len(args) == 2 {
		var err error
		if event.Data, err = eventData(cmd.InOrStdin(), args[1]); err != nil {
			return err
		}
	}
	to, err := s.target(cmd)
	if err != nil {
		return err
	}
	if sandbox.Signing(s.signing) == sandbox.SignBody && to.source.Scheme != webhook.SchemeAgent {
		return fmt.Errorf("--signature body is of the scheme agent; that of %s is %s", to.source.Name, to.source.Scheme)
	}

	// A redirect would carry the signed event to another server.
	client := &http.Client{
		Timeout:       sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var tick <-chan time.Time
	if s.rate > 0 {
		ticker := time.NewTicker(max(time.Duration(float64(time.Second)/s.rate), 1))
		defer ticker.Stop()
		tick = ticker.C
	}
	for i := range s.count {
		if i > 0 && tick != nil {
			select {
			case <-tick:
			case <-cmd.Context().Done():
				return failed(cmd.Context().Err())
			}
		}
		options := []sandbox.Option{
			sandbox.ToSource(&to.source), sandbox.Signed(sandbox.Signing(s.signing)),
			sandbox.Skewed(s.skew), sandbox.WithIdempotencyKey(s.idempotencyKey),
		}
		if s.count > 1 && s.id == "" && s.idempotencyKey == "" {
			options = append(options, sandbox.WithIdempotencyKey(rand.Text()))
		}
		answer, err := sandbox.Send(cmd.Context(), client, to.url, to.secret, event, options...)
		if err != nil {
			return failed(unanswered(event.Type, err))
		}
		if err := s.print(cmd.OutOrStdout(), answer); err != nil {
			return failed(err)
		}
		if !answer.Accepted() {
			return failed(s.refusal(answer))
		}
	}
	return nil
}

// unanswered is the error of an event that nobody answered.
func unanswered(eventType string, err error) error {
	err = fmt.Errorf("send %s: %w", text.Clean(eventType), err)
	var network *url.Error
	if !errors.As(err, &network) {
		return err
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return hint(err, "use a name that the certificate has; $SSL_CERT_FILE names a file with an authority of your own")
	}
	return hint(err, "is the appliance running? start it with pintle serve, or name it with --url")
}

// A sendTarget is where to send to, and as whose sender.
type sendTarget struct {
	url    string
	secret webhook.Secret
	source webhook.Source
}

// target reads the configuration, and asks the running appliance, only for what
// the flags leave open.
func (s *sender) target(cmd *cobra.Command) (sendTarget, error) {
	to := sendTarget{url: s.url, secret: webhook.Secret(s.secret), source: webhook.Source{Name: webhook.SourceInbound, Scheme: webhook.SchemeAgent}}
	if s.url != "" {
		u, err := url.Parse(s.url)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return to, fmt.Errorf("--url %s is not an http or https URL", text.Clean(s.url))
		}
	}
	unsigned := sandbox.Signing(s.signing) == sandbox.SignNone
	if s.source == webhook.SourceInbound && to.url != "" && (to.secret != "" || unsigned) {
		return to, nil
	}
	cfg, err := s.g.load()
	if err != nil {
		return to, err
	}
	if to.source, err = sourceNamed(cfg, s.source); err != nil {
		return to, err
	}
	if to.url == "" {
		scheme := "http://"
		if cfg.Inbound.TLSCert != "" || len(cfg.Inbound.ACMEDomains) > 0 {
			scheme = "https://"
		}
		to.url = scheme + reachable(cfg.Inbound.Listen) + to.source.Path
	}
	if to.secret == "" && len(to.source.Secrets) > 0 {
		to.secret = to.source.Secrets[0]
	}
	if to.secret != "" || unsigned || to.source.Scheme == webhook.SchemeNone {
		return to, nil
	}
	to.secret, err = s.g.askSecret(cmd.Context(), to.source.Name)
	return to, err
}

// inboundSecret returns the secret of the inbound endpoint: that of the
// configuration, else the one that the running appliance made.
func (g *globals) inboundSecret(ctx context.Context, cfg *config.Config) (webhook.Secret, error) {
	if cfg.Inbound.Secret != "" {
		return cfg.Inbound.Secret, nil
	}
	return g.askSecret(ctx, webhook.SourceInbound)
}

// askSecret asks the running appliance for the secret of a source.
func (g *globals) askSecret(ctx context.Context, source string) (webhook.Secret, error) {
	admin, err := g.client()
	if err != nil {
		return "", err
	}
	defer admin.Close()
	secret, err := admin.SourceSecret(ctx, source)
	if err != nil {
		return "", failed(hint(fmt.Errorf("ask the appliance for the secret of the source %s: %w", source, err),
			"start it with pintle serve, or give the secret with --secret"))
	}
	return secret, nil
}

// sourceNamed finds a source of the configuration.
func sourceNamed(cfg *config.Config, name string) (webhook.Source, error) {
	all := cfg.Endpoints(cfg.Inbound.Secret)
	names := make([]string, len(all))
	for i := range all {
		if names[i] = all[i].Name; names[i] == name {
			return all[i], nil
		}
	}
	return webhook.Source{}, hint(fmt.Errorf("--source %s is not in the configuration", text.Clean(name)), "the sources are %s", strings.Join(names, ", "))
}

// print prints an answer; of a refusal only for programs, as people get it as
// an error.
func (s *sender) print(w io.Writer, a sandbox.Answer) error {
	var line []byte
	switch {
	case s.g.output == "json":
		line = answerJSON(a)
	case !a.Accepted():
		return nil
	case a.Status == "":
		// Not an appliance, but it took the event.
		line = fmt.Appendf(nil, "%d %s", a.StatusCode, http.StatusText(a.StatusCode))
	default:
		line = fmt.Appendf(nil, "%s %s %s", shorten(a.Status, shownType), shorten(string(a.ID), shownID), shorten(a.Event, shownType))
	}
	_, err := w.Write(append(bytes.TrimSpace(line), '\n'))
	return err
}

// answerJSON is the answer's own JSON on one line, or, where it is none, what
// it is wrapped in JSON.
func answerJSON(a sandbox.Answer) []byte {
	var b bytes.Buffer
	if utf8.Valid(a.Body) && json.Compact(&b, a.Body) == nil {
		return cleanJSON(b.Bytes())
	}
	wrapped, err := json.Marshal(struct {
		Code int    `json:"code"`
		Body string `json:"body"`
	}{a.StatusCode, string(a.Body)})
	if err != nil {
		panic(err) // a number and a string always have a JSON form
	}
	return cleanJSON(wrapped)
}

// refusal is the error that an answer other than 2xx stands for. The endpoint of
// the configuration keeps why; another one's refusals are not ours to show.
func (s *sender) refusal(a sandbox.Answer) error {
	message := cmp.Or(a.Message, strings.TrimSpace(string(a.Body)), http.StatusText(a.StatusCode))
	reason := fmt.Sprintf("refused with %d", a.StatusCode)
	if a.Error != "" {
		reason += " " + shorten(a.Error, shownType)
	}
	if message != "" {
		reason += ": " + shorten(message, shownMessage)
	}
	if a.RequestID == "" {
		return errors.New(reason)
	}
	id := shorten(string(a.RequestID), shownID)
	err := errors.New(reason + " (request " + id + ")")
	if s.url != "" {
		return err
	}
	return hint(err, "see pintle rejections show %s", id)
}

// eventData reads the data of an event as the command line names it: JSON,
// @FILE, or - for standard input.
func eventData(stdin io.Reader, arg string) ([]byte, error) {
	var data []byte
	var err error
	from := "the data"
	switch file, isFile := strings.CutPrefix(arg, "@"); {
	case isFile:
		from = text.Clean(file)
		data, err = os.ReadFile(file)
	case arg == "-":
		from = "standard input"
		data, err = io.ReadAll(stdin)
	default:
		data = []byte(arg)
	}
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSpace(data)
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s is not UTF-8", from)
	}
	var value json.RawMessage
	if err := json.Unmarshal(data, &value); err != nil {
		err = fmt.Errorf("%s is not JSON: %s", from, text.Clean(err.Error()))
		if from == "the data" {
			return nil, hint(err, `quote it for the shell, as in '{"order_id":"A12345"}'; @FILE reads a file, - standard input`)
		}
		return nil, err
	}
	return data, nil
}
