// Package doctor looks at an installation from outside and says what is wrong
// with it, what may go wrong soon, and what to do about it. It changes nothing,
// and works whether the appliance is running or not.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pintle/pintle/app/admin/client"
	"github.com/pintle/pintle/app/config"
)

// A Severity says how bad a finding is.
type Severity string

// The severities.
const (
	OK      Severity = "ok"
	Warning Severity = "warning" // it works, and should be looked at
	Fault   Severity = "fault"   // it does not work, or will not after the next start
)

// A Finding is what one check has to say about one thing.
type Finding struct {
	// Check names the check.
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	// Text is what was found.
	Text string `json:"text"`
	// Hint is the next step; empty where there is none, or none is known.
	Hint string `json:"hint,omitempty"`
}

// Options say what to look at. All fields are needed.
type Options struct {
	// Load reads the configuration.
	Load func() (*config.Config, error)
	// Version is that of this program.
	Version string
	// Now is the time on the clock.
	Now time.Time
}

// Examine makes all checks and tells each of its findings, in their order.
// Without a configuration it cannot say more than what is wrong with that.
func Examine(ctx context.Context, o Options, tell func(Finding)) {
	c, err := o.Load()
	all := func(findings []Finding) {
		for _, f := range findings {
			tell(f)
		}
	}
	all(configuration(c, err))
	if err != nil {
		return
	}
	found, running := appliance(ctx, c, o.Version)
	all(database(ctx, c.Storage.Path, running))
	all(sealing(ctx, c))
	all(disk(c.Storage.Path))
	all(backups(ctx, c, o.Now))
	all(found)
	if !running {
		all(listeners(c))
	}
	all(certificate("inbound", c.Inbound.TLSCert, c.Inbound.TLSKey, o.Now))
	all(certificate("admin", c.Admin.TLSCert, c.Admin.TLSKey, o.Now))
	all(asnDatabase(c, o.Now))
	all(secrets(c))
	all(proxy(ctx, c))
	all(expressions(ctx, c))
	all(subscribers(ctx, c, o.Now))
	all(clock(c.Storage.Path, o.Now))
}

// A list gathers the findings of one check.
type list struct {
	check    string
	findings []Finding
}

func (l *list) add(severity Severity, hint, format string, args ...any) {
	l.findings = append(l.findings, Finding{l.check, severity, fmt.Sprintf(format, args...), hint})
}

// configuration lists the faults one by one, and what is allowed but should be
// known.
func configuration(c *config.Config, err error) []Finding {
	l := list{check: "configuration"}
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		for _, fault := range faults {
			l.add(Fault, "", "%v", fault)
		}
	case err != nil:
		l.add(Fault, "", "%v", err)
	default:
		from := "from no file: the defaults hold"
		if c.File != "" {
			from = "from " + c.File
		}
		l.add(OK, "", "%s", from)
		for _, warning := range c.Warnings() {
			l.add(Warning, "", "%s", warning)
		}
	}
	return l.findings
}

// askFor is how long a running appliance may take to answer.
const askFor = 5 * time.Second

// appliance asks the one that is running, if one is, how it does.
func appliance(ctx context.Context, c *config.Config, version string) (_ []Finding, running bool) {
	l := list{check: "appliance"}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	asked, err := client.New(client.Options{Socket: c.Socket()})
	if err != nil {
		l.add(Fault, "", "%v", err)
		return l.findings, false
	}
	defer asked.Close()
	stats, err := asked.Stats(ctx)
	switch {
	case errors.Is(err, client.ErrNotRunning):
		l.add(OK, "", "is not running")
		return l.findings, false
	case err != nil:
		l.add(Warning, "run this as the user that pintle serve runs as", "cannot be asked at %s: %v", c.Socket(), err)
		// What the socket is of is not known; whoever has the ports may be it.
		return l.findings, true
	}
	ready, err := asked.Ready(ctx)
	if err != nil {
		l.add(Fault, "its log has more", "version %s is running and is not ready: %v", stats.Version, err)
	} else {
		l.add(OK, "", "version %s is running since %s and is ready", stats.Version, stats.StartedAt.UTC().Format(time.RFC3339))
	}
	for _, warning := range ready.Warnings {
		l.add(Warning, "", "%s", warning)
	}
	if stats.Version != version {
		l.add(Warning, "restart it to run this version", "version %s is running, and this program is %s", stats.Version, version)
	}
	return l.findings, true
}

// shortSecret is how few characters make a secret that can be guessed.
const shortSecret = 16

// secrets judges those of the configuration. One that was made at the first
// start is long.
func secrets(c *config.Config) []Finding {
	l := list{check: "secrets"}
	for _, source := range c.Endpoints(c.Inbound.Secret) {
		key := "inbound.secret"
		if source.Name != c.Endpoints("")[0].Name {
			key = "sources." + source.Name + ".secrets"
		}
		for _, secret := range source.Secrets {
			if n := len(secret.Reveal()); n > 0 && n < shortSecret {
				l.add(Warning, "openssl rand -hex 32 makes a good one", "%s has one of %d characters: it can be guessed from one signed request", key, n)
			}
		}
	}
	if l.findings == nil {
		l.add(OK, "", "none is short")
	}
	return l.findings
}
