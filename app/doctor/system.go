package doctor

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pintle/pintle/app/config"
)

// listeners opens the addresses of an appliance that is not running, and closes
// them again. All are open at once, as they will be.
func listeners(c *config.Config) []Finding {
	l := list{check: "addresses"}
	for _, address := range []struct{ key, listen string }{{"inbound.listen", c.Inbound.Listen}, {"admin.listen", c.Admin.Listen}} {
		if address.listen == "" {
			continue
		}
		opened, err := net.Listen("tcp", address.listen)
		if err == nil {
			defer opened.Close()
			l.add(OK, "", "%s %s is free", address.key, address.listen)
			continue
		}
		hint := "set " + address.key
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			hint = "end what listens there, or set " + address.key
		case errors.Is(err, fs.ErrPermission):
			hint = "a port below 1024 needs the capability CAP_NET_BIND_SERVICE"
		}
		l.add(Fault, hint, "%s %s cannot be opened: %v", address.key, address.listen, reason(err))
	}
	return l.findings
}

// reason is the last part of an error of the network: what is before it repeats
// the address.
func reason(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// clockSlack is how far ahead of the clock a file may be: of another machine's,
// on a disk that is shared, that is nothing unusual.
const clockSlack = time.Minute

// clock judges the clock by what is known on this machine. Requests are refused,
// by us and by receivers, when it is wrong by minutes.
func clock(path string, now time.Time) []Finding {
	l := list{check: "clock"}
	const hint = "run a time service such as chrony or systemd-timesyncd"
	if info, err := os.Stat(path); err == nil && info.ModTime().Sub(now) > clockSlack {
		l.add(Warning, hint, "it says %s, and the database was written at %s", now.UTC().Format(time.RFC3339), info.ModTime().UTC().Format(time.RFC3339))
	}
	switch synchronised, known := synchronised(); {
	case known && synchronised:
		l.add(OK, "", "a time service keeps it right")
	case known:
		l.add(Warning, hint, "the kernel knows of no time service that keeps it right")
	}
	return l.findings
}
