package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// checksName is the comparison of the appliance with all inbound checks on and
// the appliance with all of them off.
const checksName = "checks"

// The sides of the comparison.
const (
	checksOn  = "on"
	checksOff = "off"
)

// checksTarget is the least that the rate with all checks may be of the rate
// without.
const checksTarget = 0.9

// sentFor is the address that the load is said to come from, in no range that
// is listed: its autonomous system is what lets it in.
const (
	sentFor       = "198.51.100.7"
	sentForRange  = "198.51.100.0/24"
	sentForSystem = 64500
)

// checksConfig is what a side has in its section [inbound]. What cannot be
// turned off, such as that no event is stored twice, is on on both.
func checksConfig(side, database string) string {
	if side == checksOff {
		return "validate_signature = false\nmax_clock_skew = 0\n"
	}
	return fmt.Sprintf(`validate_signature = true
max_clock_skew = "300s"
allow_ips = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "203.0.113.0/24", "2001:db8::/32"]
allow_asns = [64496, %d, 64511]
asn_database = %q
trusted_proxies = ["127.0.0.0/8", "::1/128"]
rate_limit = 1000000
`, sentForSystem, database)
}

// writeDatabase makes a database of autonomous systems that knows the sender
// among some thousand others.
func writeDatabase(file string) (err error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "GeoLite2-ASN", Description: map[string]string{"en": "for a measurement"}, IncludeReservedNetworks: true,
	})
	if err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	insert := func(network string, number uint32) error {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			return err
		}
		return tree.Insert(n, mmdbtype.Map{
			"autonomous_system_number":       mmdbtype.Uint32(number),
			"autonomous_system_organization": mmdbtype.String(fmt.Sprintf("Organisation %d", number)),
		})
	}
	errs := []error{insert(sentForRange, sentForSystem)}
	for i := range 5000 {
		errs = append(errs, insert(fmt.Sprintf("%d.%d.0.0/16", 20+i/250, i%250), uint32(1000+i)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = tree.WriteTo(f)
	return err
}

// A CheckedSide is what one side did, by turn.
type CheckedSide struct {
	// Rates are how many events were acknowledged in a second.
	Rates []float64 `json:"acknowledged_per_second"`
	// CPU is what a thousand of them took, in seconds; empty where the system
	// does not tell.
	CPU []float64 `json:"cpu_seconds_per_1000,omitempty"`
}

// Checks compare the appliance with all inbound checks on with itself.
type Checks struct {
	On  CheckedSide `json:"on"`
	Off CheckedSide `json:"off"`
	// Ratio is the median, over the turns, of the rate with checks divided by
	// the rate without in the same turn: what else the machine does in a turn
	// befalls both.
	Ratio float64 `json:"ratio"`
	Bound float64 `json:"bound"`
	Met   bool    `json:"met"`
}

// finish computes the ratio and judges it.
func (c *Checks) finish() {
	ratios := make([]float64, len(c.On.Rates))
	for i, rate := range c.On.Rates {
		ratios[i] = rate / c.Off.Rates[i]
	}
	c.Ratio, c.Bound = median(ratios), checksTarget
	c.Met = c.Ratio >= c.Bound
}

func (c *Checks) write(w io.Writer) {
	verdict := "MISSED"
	if c.Met {
		verdict = "met"
	}
	on, off := median(slices.Clone(c.On.Rates)), median(slices.Clone(c.Off.Rates))
	fmt.Fprintf(w, "\nall checks, %d turns\t%s\t%s\tratio\ttarget\n", len(c.On.Rates), checksOn, checksOff)
	fmt.Fprintf(w, "acknowledged events/s\t%.0f\t%.0f\t%.2f\tratio ≥ %g: %s\n", on, off, c.Ratio, c.Bound, verdict)
	if len(c.On.CPU) > 0 {
		on, off := median(slices.Clone(c.On.CPU)), median(slices.Clone(c.Off.CPU))
		fmt.Fprintf(w, "CPU s per 1,000 events\t%.3f\t%.3f\t%.2f\n", on, off, on/off)
	}
}

// measureChecks has the sides take turns, each as often first as second.
func measureChecks(ctx context.Context, p plan, o options, dir string, progress io.Writer) (*Checks, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	database := filepath.Join(dir, "asn.mmdb")
	if err := writeDatabase(database); err != nil {
		return nil, err
	}
	c := &Checks{}
	for turn := range p.checksTurns {
		sides := []string{checksOff, checksOn}
		if turn%2 == 1 {
			sides = []string{checksOn, checksOff}
		}
		for _, name := range sides {
			side := &c.Off
			if name == checksOn {
				side = &c.On
			}
			if err := side.measure(ctx, p, o, filepath.Join(dir, fmt.Sprintf("%d-%s", turn, name)), checksConfig(name, database)); err != nil {
				if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
					err = fmt.Errorf("%w: %w", cause, err)
				}
				return nil, fmt.Errorf("checks %s: %w", name, err)
			}
			fmt.Fprintf(progress, "bench: turn %d of %d, checks %s: %.0f events/s\n", turn+1, p.checksTurns, name, side.Rates[turn])
		}
	}
	c.finish()
	return c, nil
}

// measure adds a turn: how many events a second are acknowledged by an appliance
// without subscribers. Both sides are sent the same requests.
func (side *CheckedSide) measure(ctx context.Context, p plan, o options, dir, inbound string) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s, err := startPintle(ctx, o, dir, inbound, nil)
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel()
		<-s.done
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	send := func(first, events int) (result loadResult, err error) {
		l, err := startRole(ctx, "load", loadTask{
			URL: s.url, Secret: senderSecret, Connections: o.connections, Size: eventBytes,
			First: first, Events: events, Limit: p.checksTurn, Header: "X-Forwarded-For: " + sentFor + "\r\n",
		}, &result)
		if err != nil {
			return result, err
		}
		<-l.done
		if l.err != nil {
			return result, l.ended()
		}
		return result, nil
	}
	warm, err := send(0, p.warmUp)
	if err != nil {
		return err
	}
	before, err := s.rest(ctx)
	if err != nil {
		return err
	}
	load, err := send(warm.Acknowledged, math.MaxInt32)
	if err != nil {
		return err
	}
	after, err := s.rest(ctx)
	if err != nil {
		return err
	}
	side.Rates = append(side.Rates, float64(load.Acknowledged)/load.LastAck.Sub(load.FirstSent).Seconds())
	if before.known {
		side.CPU = append(side.CPU, (after.cpu-before.cpu).Seconds()/float64(load.Acknowledged)*1000)
	}
	return s.stop()
}
