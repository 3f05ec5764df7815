package doctor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pintle/pintle/app/admin/board"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage"
)

const (
	mib = 1 << 20
	day = 24 * time.Hour

	// quickly is the size up to which a database is read through while the
	// appliance needs the disk.
	quickly = 256 * mib
	// largeLog is what a write-ahead log should not grow to.
	largeLog = 256 * mib
	// leastUnused is how much of a database may be unused without a word.
	leastUnused = 64 * mib
	// leastRoom is what a disk must have left, in bytes, and littleRoom what it
	// should have, or else one part in littlePart.
	leastRoom  = 100 * mib
	littleRoom = 1024 * mib
	littlePart = 10

	certificateSoon = 14 * day
	asnOld          = 30 * day
)

// database looks at the file, and reads all of it unless that would disturb the
// appliance that is running.
func database(ctx context.Context, path string, running bool) []Finding {
	l := list{check: "database"}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		l.add(Fault, "make it, or set storage.path", "the folder %s does not exist", dir)
		return l.findings
	}
	if !writable(dir) {
		l.add(Fault, "pintle serve must be able to create files beside the database", "the folder %s cannot be written to", dir)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.add(OK, "", "%s does not exist yet: the first start makes it", path)
		return l.findings
	case err != nil:
		l.add(Fault, "", "%v", err)
		return l.findings
	case !info.Mode().IsRegular():
		l.add(Fault, "set storage.path", "%s is not a file", path)
		return l.findings
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		l.add(Warning, "chmod 600 "+path, "%s has mode %04o: others can get at its secrets", path, mode)
	}
	if !writable(path) {
		l.add(Fault, "run this as the user that pintle serve runs as, or give the file to it", "%s cannot be written to", path)
	}
	store, err := storage.Inspect(ctx, path)
	if err != nil {
		l.add(Fault, "set storage.path to Pintle's own file, and run the newest version", "%s: %v", path, err)
		return l.findings
	}
	switch {
	case store.Schema == 0:
		l.add(OK, "", "%s is empty: the first start fills it", path)
		return l.findings
	case store.Schema < store.Newest:
		l.add(OK, "", "%s has schema %d; the next start copies it and upgrades it to %d", path, store.Schema, store.Newest)
	default:
		l.add(OK, "", "%s has schema %d and %d MiB", path, store.Schema, store.Bytes/mib)
	}
	if store.LogBytes > largeLog {
		l.add(Warning, "something reads the database for very long: end it", "the write-ahead log has grown to %d MiB", store.LogBytes/mib)
	}
	if store.KeepsUnused && store.UnusedBytes > leastUnused && store.UnusedBytes > store.Bytes/4 {
		l.add(OK, "", "%d MiB of it are unused; they are used again, but not given back, since an older version made the file. "+
			"To have them back, stop the appliance and run: sqlite3 %s 'PRAGMA auto_vacuum = incremental; VACUUM'", store.UnusedBytes/mib, path)
	}
	if running && store.Bytes >= quickly {
		return l.findings
	}
	if err := storage.Verify(ctx, path); err != nil {
		l.add(Fault, "stop the appliance, keep a copy of the file and what stands beside it, and restore a backup", "%v", err)
	} else {
		l.add(OK, "", "it was read through, and nothing in it is damaged")
	}
	return l.findings
}

// disk looks at the room beside the database.
func disk(path string) []Finding { return judgeDisk(board.Room(filepath.Dir(path))) }

func judgeDisk(free, size int64) []Finding {
	l := list{check: "disk"}
	const hint = "make room, or lower storage.max_size"
	switch {
	case size == 0: // it cannot be told here
	case free < leastRoom:
		l.add(Fault, hint, "only %d MiB of %d MiB are free", free/mib, size/mib)
	case free < littleRoom || free < size/littlePart:
		l.add(Warning, hint, "only %d MiB of %d MiB are free", free/mib, size/mib)
	default:
		l.add(OK, "", "%d MiB of %d MiB are free", free/mib, size/mib)
	}
	return l.findings
}

// certificate looks at the TLS files of a listener.
func certificate(section, certFile, keyFile string, now time.Time) []Finding {
	l := list{check: section + " certificate"}
	if certFile == "" {
		return nil
	}
	c, err := security.OpenCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		l.add(Fault, "see "+section+".tls_cert and "+section+".tls_key", "%v", err)
		return l.findings
	}
	names := strings.Join(c.Names(), ", ")
	if names == "" {
		names = "no name"
	}
	until := c.NotAfter().UTC().Format(time.RFC3339)
	const hint = "renew it; the appliance takes new files by itself"
	switch left := c.NotAfter().Sub(now); {
	case left <= 0:
		l.add(Fault, hint, "for %s: it expired at %s", names, until)
	case left < certificateSoon:
		l.add(Warning, hint, "for %s: it expires at %s", names, until)
	default:
		l.add(OK, "", "for %s until %s", names, until)
	}
	if info, err := os.Stat(keyFile); err == nil && info.Mode().Perm()&0o007 != 0 {
		l.add(Warning, "chmod o= "+keyFile, "its key %s has mode %04o: everybody on this machine can get at it", keyFile, info.Mode().Perm())
	}
	return l.findings
}

// asnDatabase looks at the file that says whose an address is.
func asnDatabase(c *config.Config, now time.Time) []Finding {
	l := list{check: "ASN database"}
	path := c.Inbound.ASNDatabase
	if path == "" {
		return nil // that no source needs one, the configuration has checked
	}
	needed := slices.ContainsFunc(c.Endpoints(""), func(s webhook.Source) bool { return len(s.AllowASNs) > 0 })
	d, err := security.OpenASNDatabase(path, slog.New(slog.DiscardHandler))
	switch {
	case err != nil && needed:
		l.add(Fault, "download it again; without it those whose ASN is listed cannot be let in", "%v", err)
		return l.findings
	case err != nil:
		l.add(Warning, "download it again; rejections will not tell whose an address is", "%v", err)
		return l.findings
	}
	built := d.BuiltAt()
	if age := now.Sub(built); age > asnOld {
		l.add(Warning, "geoipupdate keeps it up to date", "%s was built %d days ago: addresses have changed hands since", path, age/day)
		return l.findings
	}
	l.add(OK, "", "%s was built at %s", path, built.UTC().Format(time.DateOnly))
	return l.findings
}
