package cli

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/signature"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

func newSign(g *globals) *cobra.Command {
	var (
		s         signing
		secret    string
		id        string
		timestamp int64
	)
	c := &cobra.Command{
		Use:   "sign [BODY|@FILE|-]",
		Short: "Make the signature of a body under any scheme",
		Long: "sign prints the headers that a sender of the scheme puts on the body, one on a\n" +
			"line. The body is what stands on the command line, @FILE, or - for standard\n" +
			"input, byte for byte: a newline at its end is signed too. Without it, the body\n" +
			"is empty.\n\n" + secretHelp,
		Example: "pintle sign '{\"event\":\"order.created\"}' --secret s\n" +
			"pintle sign @push.json --scheme github --secret-file key | curl -H @- --data-binary @push.json http://127.0.0.1:8080/hooks/github\n" +
			"pintle sign @event.json --scheme standard --secret whsec_… --id msg_1\n" +
			"pintle sign @event.json --scheme hmac --signature-header X-Sig --template '{timestamp}.{body}' --timestamp-header X-Time",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(cmd); err != nil {
				return err
			}
			if cmd.Flags().Changed("secret") {
				s.given = []string{secret}
			}
			body, err := s.body(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			secrets, err := s.secrets(g, cmd)
			if err != nil {
				return err
			}
			var key webhook.Secret
			switch len(secrets) {
			case 0:
			case 1:
				key = secrets[0]
			default:
				return fmt.Errorf("%d secrets are given; sign makes one signature with one of them", len(secrets))
			}
			if !cmd.Flags().Changed("timestamp") {
				timestamp = time.Now().Unix()
			}
			if !cmd.Flags().Changed("id") {
				id = "msg_" + rand.Text()
			}
			header, err := signature.Sign(s.scheme(), s.form, key, id, timestamp, body)
			if err != nil {
				return err
			}
			single := make(map[string]string, len(header))
			for name, values := range header {
				single[name] = values[0]
			}
			return g.print(cmd, single, func(w io.Writer) error {
				for _, name := range slices.Sorted(maps.Keys(single)) {
					if _, err := fmt.Fprintf(w, "%s: %s\n", name, single[name]); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	flags := c.Flags()
	s.flags(c)
	flags.StringVar(&secret, "secret", "", "secret to sign with; - reads it from standard input")
	flags.StringVar(&id, "id", "", "id of the message, where the scheme signs one (default: a new one)")
	flags.Int64Var(&timestamp, "timestamp", 0, "time of the message in Unix seconds, where the scheme signs one (default: now)")
	return c
}

// secretHelp tells where a secret comes from.
const secretHelp = "A secret on the command line can be seen by other users of the machine; --secret\n" +
	"-, --secret-file and $PINTLE_SECRET keep it from them. One newline at the end of\n" +
	"a file or of standard input is not a part of it. Without any, the scheme agent\n" +
	"takes that of the inbound endpoint, which the running appliance is asked for\n" +
	"where the configuration has none."

// signing is what sign and verify share: a scheme, secrets and a body.
type signing struct {
	name       string
	form       webhook.SignatureForm
	secretFile string
	// given are the secrets on the command line.
	given []string
	// usesStdin says what standard input was read for; empty: nothing yet.
	usesStdin string
}

func (s *signing) flags(c *cobra.Command) {
	var names []string
	for _, scheme := range webhook.Schemes() {
		names = append(names, string(scheme))
	}
	flags := c.Flags()
	flags.StringVar(&s.name, "scheme", string(webhook.SchemeAgent), "how it is signed: "+strings.Join(names, ", "))
	flags.StringVar(&s.secretFile, "secret-file", "", "file with the secret (default: $PINTLE_SECRET)")
	flags.StringVar(&s.form.Header, "signature-header", "", "for hmac: header of the signature")
	flags.StringVar(&s.form.Algorithm, "algorithm", "sha256", "for hmac: sha256, sha1 or sha512")
	flags.StringVar(&s.form.Encoding, "encoding", "hex", "for hmac: hex or base64")
	flags.StringVar(&s.form.Prefix, "prefix", "", "for hmac: what stands before the signature, such as sha256=")
	flags.StringVar(&s.form.Template, "template", "{body}", "for hmac: what is signed, of {body}, {timestamp}, {id} and other text")
	flags.StringVar(&s.form.TimestampHeader, "timestamp-header", "", "for hmac: header of the {timestamp}")
	flags.StringVar(&s.form.IDHeader, "id-header", "", "for hmac: header of the {id}")
}

func (s *signing) scheme() webhook.Scheme { return webhook.Scheme(s.name) }

// check refuses flags that do not go together.
func (s *signing) check(cmd *cobra.Command) error {
	if !slices.Contains(webhook.Schemes(), s.scheme()) {
		return fmt.Errorf("--scheme is one of %v, not %q", webhook.Schemes(), s.name)
	}
	for _, name := range []string{"signature-header", "algorithm", "encoding", "prefix", "template", "timestamp-header", "id-header"} {
		if cmd.Flags().Changed(name) && s.scheme() != webhook.SchemeHMAC {
			return fmt.Errorf("--%s goes with --scheme hmac", name)
		}
	}
	if s.scheme() == webhook.SchemeHMAC && s.form.Header == "" {
		return errors.New("--scheme hmac needs --signature-header")
	}
	return nil
}

// read reads standard input, for one thing only.
func (s *signing) read(stdin io.Reader, what string) ([]byte, error) {
	if s.usesStdin != "" {
		return nil, fmt.Errorf("both %s and %s are to be read from standard input", s.usesStdin, what)
	}
	s.usesStdin = what
	return io.ReadAll(stdin)
}

// body returns the body that the argument names, byte for byte.
func (s *signing) body(stdin io.Reader, args []string) ([]byte, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if file, ok := strings.CutPrefix(args[0], "@"); ok {
		return os.ReadFile(file)
	}
	if args[0] == "-" {
		return s.read(stdin, "the body")
	}
	return []byte(args[0]), nil
}

// secrets returns the secrets from where they are given.
func (s *signing) secrets(g *globals, cmd *cobra.Command) ([]webhook.Secret, error) {
	var all []webhook.Secret
	for _, secret := range s.given {
		if secret == "-" {
			read, err := s.read(cmd.InOrStdin(), "the secret")
			if err != nil {
				return nil, err
			}
			secret = withoutNewline(read)
		}
		all = append(all, webhook.Secret(secret))
	}
	if s.secretFile != "" {
		read, err := os.ReadFile(s.secretFile)
		if err != nil {
			return nil, err
		}
		all = append(all, webhook.Secret(withoutNewline(read)))
	}
	if env := os.Getenv("PINTLE_SECRET"); len(all) == 0 && env != "" {
		all = append(all, webhook.Secret(env))
	}
	switch {
	case slices.Contains(all, ""):
		return nil, errors.New("the secret is empty")
	case len(all) > 0 || s.scheme() == webhook.SchemeNone:
		return all, nil
	case s.scheme() != webhook.SchemeAgent:
		return nil, hint(fmt.Errorf("there is no secret for the scheme %s", text.Clean(s.name)), "give it with --secret, --secret-file or $PINTLE_SECRET")
	}
	cfg, err := g.load()
	if err != nil {
		return nil, err
	}
	secret, err := g.inboundSecret(cmd.Context(), cfg)
	return []webhook.Secret{secret}, err
}

// withoutNewline takes off the one newline that editors and echo put at the end.
func withoutNewline(secret []byte) string {
	secret = bytes.TrimSuffix(secret, []byte("\n"))
	return string(bytes.TrimSuffix(secret, []byte("\r")))
}
