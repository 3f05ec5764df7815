package cli

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/tui/text"
)

// subscriberFlags are the fields of a subscriber as the command line gives
// them.
type subscriberFlags struct {
	texts       []string // in the order of textFields
	events      []string
	active      bool
	header      []string
	headers     []string
	timeout     string
	concurrency int
	schedule    []string
	finalOn4xx  bool
	rateLimit   float64
	scheme      string
	ordered     string
	onDead      string
	scopes      []string
	hold        bool
	autoPause   bool
}

// fileHelp tells of the flags whose value can come from a file.
const fileHelp = "\n\nThe value of --filter, of --transform, of --tls-… and of a password or secret may be\n" +
	"@FILE, to read it from there, or @- for standard input; one that begins with an @\n" +
	"itself has another @ before it. A filter and a transform are written in the language\n" +
	"of jq, about the body that is sent: {\"event\":…,\"timestamp\":…,\"data\":…}."

// maxFlagFile bounds what is read from a file for a flag, in bytes; no field is as
// long.
const maxFlagFile = 1 << 20

// A textField is a field that is text. Its value may come from a file where people
// would not want to write it on the command line.
type textField struct {
	flag     string
	mayBeIn  bool // a file
	usage    string
	ofChange func(*api.SubscriberChange) **string
}

func textFields() []textField {
	type change = api.SubscriberChange
	return []textField{
		{"url", false, "where deliveries are posted", func(c *change) **string { return &c.URL }},
		{"client-id", false, "receives this client's events beside those of nobody in particular", func(c *change) **string { return &c.ClientID }},
		{"description", false, "free text for people", func(c *change) **string { return &c.Description }},
		{"secret", true, "signs the deliveries (default for a new one: it is made)", func(c *change) **string { return &c.Secret }},
		{"filter", true, "jq expression: only events for which it is true are delivered: '.data.amount > 100'", func(c *change) **string { return &c.Filter }},
		{"transform", true, "jq expression that makes the body that is sent: '{text: .data.message}'", func(c *change) **string { return &c.Transform }},
		{"basic-username", false, "user name of HTTP basic authentication", func(c *change) **string { return &c.BasicUsername }},
		{"basic-password", true, "password of HTTP basic authentication", func(c *change) **string { return &c.BasicPassword }},
		{"oauth2-token-url", false, "where bearer tokens are got, by the client credentials grant", func(c *change) **string { return &c.OAuth2TokenURL }},
		{"oauth2-client-id", false, "who asks for the tokens", func(c *change) **string { return &c.OAuth2ClientID }},
		{"oauth2-client-secret", true, "secret of who asks for the tokens", func(c *change) **string { return &c.OAuth2ClientSecret }},
		{"oauth2-audience", false, "whom the tokens are for, which some servers want to know", func(c *change) **string { return &c.OAuth2Audience }},
		{"tls-cert", true, "certificate chain shown to the receiver, in PEM", func(c *change) **string { return &c.TLSCert }},
		{"tls-key", true, "private key of --tls-cert, in PEM", func(c *change) **string { return &c.TLSKey }},
		{"tls-ca", true, "authorities that the receiver's certificate must come from, in PEM (default: those of the system)", func(c *change) **string { return &c.TLSCA }},
	}
}

func (f *subscriberFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	fields := textFields()
	f.texts = make([]string, len(fields))
	for i, field := range fields {
		flags.StringVar(&f.texts[i], field.flag, "", field.usage)
	}
	flags.StringSliceVar(&f.events, "events", nil, "patterns of the types received: order.created, order.*, order.**; repeat or separate by commas (default for a new one: *)")
	flags.BoolVar(&f.active, "active", true, "--active=false pauses it")
	flags.StringArrayVar(&f.headers, "headers", nil, "header sent with every delivery, 'Name: value'; repeat for more")
	flags.StringArrayVar(&f.header, "header", nil, "the same as --headers")
	flags.StringVar(&f.timeout, "timeout", "", "time for a whole request, at most 60s (default: outbound.timeout)")
	flags.IntVar(&f.concurrency, "concurrency", 0, "requests in flight at most (default: outbound.concurrency)")
	flags.Float64Var(&f.rateLimit, "rate-limit", 0, "requests per second that begin at most (default: no bound)")
	flags.StringSliceVar(&f.schedule, "schedule", nil, "the wait before each retry: 1s,5s,30s (default: outbound.schedule)")
	flags.BoolVar(&f.finalOn4xx, "final-on-4xx", false, "an answer 4xx is final, save 408, 425 and 429, and 401 under OAuth2")
	flags.StringVar(&f.scheme, "scheme", "", "form of X-Agent-Signature: plain or stripe (default: plain)")
	flags.StringVar(&f.ordered, "ordered", "", "deliver the events of one key in order: the jq path of the key, such as .data.order_id, or true for all events (default: no order)")
	flags.StringVar(&f.onDead, "on-dead", "", "with --ordered, what a dead letter does to the later events of its key: block or skip (default: block)")
	flags.StringSliceVar(&f.scopes, "oauth2-scopes", nil, "what the tokens are to allow; repeat or separate by commas")
	flags.BoolVar(&f.hold, "hold", true, "deliveries wait through an outage without spending retries; --hold=false sends them all the same")
	flags.BoolVar(&f.autoPause, "auto-pause", true, "it is paused when an outage has lasted for outbound.pause_after; --auto-pause=false never does")
}

// change returns the fields that were given.
func (f *subscriberFlags) change(cmd *cobra.Command) (api.SubscriberChange, error) {
	var c api.SubscriberChange
	given := cmd.Flags().Changed
	var fromInput string
	for i, field := range textFields() {
		if field.mayBeIn {
			var err error
			if f.texts[i] == "@-" {
				if fromInput != "" {
					return c, fmt.Errorf("--%s and --%s cannot both come from standard input", fromInput, field.flag)
				}
				fromInput = field.flag
			}
			if f.texts[i], err = fromFile(cmd, f.texts[i]); err != nil {
				return c, fmt.Errorf("--%s: %w", field.flag, err)
			}
		}
		pick(field.ofChange(&c), &f.texts[i], given(field.flag))
	}
	pick(&c.Active, &f.active, given("active"))
	pick(&c.Concurrency, &f.concurrency, given("concurrency"))
	pick(&c.FinalOn4xx, &f.finalOn4xx, given("final-on-4xx"))
	pick(&c.RateLimit, &f.rateLimit, given("rate-limit"))
	pick(&c.Scheme, (*webhook.Signing)(&f.scheme), given("scheme"))
	pick(&c.OnDead, (*webhook.OnDead)(&f.onDead), given("on-dead"))
	pick(&c.OAuth2Scopes, &f.scopes, given("oauth2-scopes"))
	pick(&c.Hold, &f.hold, given("hold"))
	pick(&c.AutoPause, &f.autoPause, given("auto-pause"))
	if given("ordered") {
		ordered := api.Ordered(f.ordered)
		if ordered == "false" {
			ordered = ""
		}
		c.Ordered = &ordered
	}
	return c, f.lists(&c, given)
}

// fromFile reads the value of a flag which names a file.
func fromFile(cmd *cobra.Command, value string) (string, error) {
	name, named := strings.CutPrefix(value, "@")
	if !named || strings.HasPrefix(name, "@") {
		return name, nil
	}
	var in io.Reader = cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, maxFlagFile+1))
	if err == nil && len(b) > maxFlagFile {
		err = fmt.Errorf("%s is larger than %s", name, shownBytes(maxFlagFile))
	}
	// A file of text ends with a line feed, which is no part of a secret.
	return strings.TrimRight(string(b), "\r\n"), err
}

// lists reads the fields whose flags are not written as the API takes them.
func (f *subscriberFlags) lists(c *api.SubscriberChange, given func(flag string) bool) error {
	if given("events") {
		patterns := make([]webhook.Pattern, len(f.events))
		for i, event := range f.events {
			patterns[i] = webhook.Pattern(strings.TrimSpace(event))
		}
		c.Events = &patterns
	}
	if given("headers") || given("header") {
		headers := map[string]string{}
		for _, header := range slices.Concat(f.headers, f.header) {
			if header == "" {
				continue // --headers '' takes all away
			}
			name, value, found := strings.Cut(header, ":")
			name = strings.TrimSpace(name)
			if _, twice := headers[name]; !found || name == "" || twice {
				return fmt.Errorf("--headers %s is not one header 'Name: value', each name once", text.Clean(strconv.Quote(header)))
			}
			headers[name] = strings.TrimSpace(value)
		}
		c.Headers = &headers
	}
	if given("timeout") {
		c.Timeout = new(api.Duration)
		if err := c.Timeout.UnmarshalText([]byte(f.timeout)); err != nil {
			return fmt.Errorf("--timeout: %w", err)
		}
	}
	if given("schedule") {
		schedule := make([]api.Duration, len(f.schedule))
		for i, wait := range f.schedule {
			if err := schedule[i].UnmarshalText([]byte(strings.TrimSpace(wait))); err != nil {
				return fmt.Errorf("--schedule: %w", err)
			}
		}
		c.Schedule = &schedule
	}
	return nil
}

func pick[T any](field **T, value *T, given bool) {
	if given {
		*field = value
	}
}

// printSubscriber prints one subscriber.
func (g *globals) printSubscriber(cmd *cobra.Command, s api.Subscriber) error {
	return g.print(cmd, s, func(w io.Writer) error { return printFields(w, subscriberFields(s)...) })
}

func subscriberFields(s api.Subscriber) []field {
	fields := []field{
		{"SUBSCRIBER", string(s.ID)},
		{"URL", s.URL},
		{"SECRET", s.Secret},
		{"OLD SECRET UNTIL", shownTime(s.OldSecretUntil)},
		{"EVENTS", patterns(s.Events)},
		{"FILTER", s.Filter},
		{"STATE", standingSince(s)},
		{"REASON", s.PausedReason},
		{"CLIENT", s.ClientID},
		{"DESCRIPTION", s.Description},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		fields = append(fields, field{"HEADER", name + ": " + s.Headers[name]})
	}
	fields = append(fields, termFields(s)...)
	fields = append(fields, accessFields(s)...)
	fields = append(fields, field{"CREATED", shownTime(s.CreatedAt)}, field{"UPDATED", shownTime(s.UpdatedAt)})
	if h := s.Health; h != nil {
		fields = append(fields, field{"BACKLOG", fmt.Sprintf("%d pending (%d retrying), %d dead", h.Pending, h.Retrying, h.Dead)})
		if h.Attempts > 0 {
			fields = append(fields, field{"LAST HOUR", fmt.Sprintf("%s, %s ok, p50 %s, p95 %s", counted(int(h.Attempts), "attempt"),
				shownShare(h.Attempts, h.Failed), shownMillis(h.P50MS), shownMillis(h.P95MS))})
		}
	}
	return fields
}

// termFields are the terms of a subscriber that are its own.
func termFields(s api.Subscriber) []field {
	var fields []field
	add := func(set bool, name, value string) {
		if set {
			fields = append(fields, field{name, value})
		}
	}
	waits := make([]string, len(s.Schedule))
	for i, wait := range s.Schedule {
		waits[i] = wait.String()
	}
	add(s.Timeout != 0, "TIMEOUT", s.Timeout.String())
	add(s.Concurrency != 0, "CONCURRENCY", strconv.Itoa(s.Concurrency))
	add(s.RateLimit != 0, "RATE LIMIT", strconv.FormatFloat(s.RateLimit, 'f', -1, 64)+" per second")
	add(len(waits) > 0, "SCHEDULE", strings.Join(waits, ","))
	add(s.FinalOn4xx, "FINAL ON 4XX", "yes")
	add(s.Ordered == webhook.OrderedStrictly, "ORDERED", "all events")
	add(s.Ordered != "" && s.Ordered != webhook.OrderedStrictly, "ORDERED", "by "+string(s.Ordered))
	add(s.Ordered != "", "ON DEAD", string(s.OnDead))
	add(!s.Hold, "HOLD", "no")
	add(!s.AutoPause, "AUTO PAUSE", "no")
	add(s.Transform != "", "TRANSFORM", s.Transform)
	add(s.Scheme != "" && s.Scheme != webhook.SigningPlain, "SCHEME", string(s.Scheme))
	return fields
}

// accessFields are what a subscriber is shown of Pintle: credentials, which are
// hidden, and certificates.
func accessFields(s api.Subscriber) []field {
	basic := ""
	if s.BasicUsername != "" {
		basic = s.BasicUsername + ":" + s.BasicPassword
	}
	return []field{
		{"BASIC AUTH", basic},
		{"OAUTH2 TOKEN URL", s.OAuth2TokenURL},
		{"OAUTH2 CLIENT", strings.TrimSpace(s.OAuth2ClientID + " " + s.OAuth2ClientSecret)},
		{"OAUTH2 SCOPES", strings.Join(s.OAuth2Scopes, ",")},
		{"OAUTH2 AUDIENCE", s.OAuth2Audience},
		{"TLS CERT", certificates(s.TLSCert)},
		{"TLS KEY", s.TLSKey},
		{"TLS CA", certificates(s.TLSCA)},
	}
}

// certificates says whose a chain of certificates is, by its first.
func certificates(chain string) string {
	var shown []string
	for rest := []byte(chain); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			shown = append(shown, fmt.Sprintf("%s until %s", cert.Subject, shownTime(api.Time{Time: cert.NotAfter})))
		}
	}
	switch more := len(shown) - 1; {
	case chain == "":
		return ""
	case more < 0:
		return shownBytes(int64(len(chain)))
	case more > 0:
		return fmt.Sprintf("%s, and %d more", shown[0], more)
	}
	return shown[0]
}

// standingOf says in one word how a subscriber stands.
func standingOf(active, held bool, failingSince api.Time) string {
	switch {
	case active && held:
		return "held"
	case active && !failingSince.IsZero():
		return "failing"
	case active:
		return "active"
	}
	return "paused"
}

// standingSince says how a subscriber stands, and since when.
func standingSince(s api.Subscriber) string {
	standing := standingOf(s.Active, s.Held, s.FailingSince)
	if !s.FailingSince.IsZero() && s.Active {
		standing += " since " + shownTime(s.FailingSince)
	}
	if !s.ProbeAt.IsZero() {
		standing += ", next probe " + shownTime(s.ProbeAt)
	}
	return standing
}

// patterns writes patterns as the flag --events takes them.
func patterns(list []webhook.Pattern) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = string(p)
	}
	return strings.Join(texts, ",")
}
