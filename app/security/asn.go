package security

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

const (
	// asnPoll is how often the file is looked at.
	asnPoll = 5 * time.Second
	// asnRest is how long a file must not have changed before it is believed to
	// be what it will be: it may be written in place at this moment, and a file
	// system's clock ticks too slowly to tell two changes of one moment apart.
	asnRest = 2 * time.Second
	// maxASNDatabase bounds what is read into memory. The largest known
	// databases of autonomous systems have some tens of megabytes.
	maxASNDatabase = 512 << 20
)

var errChangedWhileRead = errors.New("it changed while it was read")

// An ASNDatabase is a MaxMind database of autonomous systems, kept in memory and
// replaced when its file changes. The file may be replaced, overwritten,
// truncated or taken away at any time: what was read last and was whole stays
// in force. It is not mapped into memory, since a mapped file that shrinks
// kills the process.
//
// A nil *ASNDatabase is one that says nothing.
type ASNDatabase struct {
	path   string
	logger *slog.Logger

	current atomic.Pointer[asnContent]
	failure atomic.Pointer[error]

	// refreshing guards what follows.
	refreshing sync.Mutex
	// seen is the file that was judged last, and seenAt when it was read; nil
	// if it must be looked at again in any case.
	seen   fs.FileInfo
	seenAt time.Time
}

// asnContent is a database that was verified.
type asnContent struct {
	bytes  []byte
	reader *maxminddb.Reader
}

// An asnRecord is what is read of a network's record.
type asnRecord struct {
	Number       uint32 `maxminddb:"autonomous_system_number"`
	Organisation string `maxminddb:"autonomous_system_organization"`
}

// OpenASNDatabase reads a database. The error names the file and says what is
// wrong with it.
func OpenASNDatabase(path string, logger *slog.Logger) (*ASNDatabase, error) {
	d := &ASNDatabase{path: path, logger: logger}
	if err := d.Refresh(); err != nil {
		return nil, err
	}
	return d, nil
}

// Lookup returns the autonomous system that an address is in, and its name; 0
// and "" where the database does not say.
//
// It says nothing of the IPv6 addresses under which such a database keeps those
// of IPv4, ::/96, and repeats them, Teredo (2001::/32) and 6to4 (2002::/16): in
// a Teredo address this would be the network of a server that its owner may
// choose.
func (d *ASNDatabase) Lookup(addr netip.Addr) (asn uint32, organisation string) {
	if d == nil {
		return 0, ""
	}
	addr = plain(addr)
	if addr.Is6() && holdsIPv4(addr) {
		return 0, ""
	}
	var record asnRecord
	if err := d.current.Load().reader.Lookup(addr).Decode(&record); err != nil {
		return 0, "" // of IPv6 in a database of IPv4, or no address
	}
	return record.Number, record.Organisation
}

// holdsIPv4 says whether a database has the records of IPv4 at an address of
// IPv6.
func holdsIPv4(addr netip.Addr) bool {
	b := addr.As16()
	return b[0] == 0x20 && b[1] == 0x02 || // 2002::/16
		b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0 || // 2001::/32
		[12]byte(b[:12]) == [12]byte{} // ::/96
}

// BuiltAt returns when the database in force was built by who made it.
func (d *ASNDatabase) BuiltAt() time.Time {
	if d == nil {
		return time.Time{}
	}
	return d.current.Load().reader.Metadata.BuildTime()
}

// Err returns why the newest file is not in force, and nil if it is. It never
// waits for a file.
func (d *ASNDatabase) Err() error {
	if d == nil {
		return nil
	}
	if err := d.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Watch looks at the file every few seconds until the context ends, takes it
// when it has changed and is at rest, and logs each state of it that cannot be
// taken, once.
func (d *ASNDatabase) Watch(ctx context.Context) {
	if d == nil {
		return
	}
	ticker := time.NewTicker(asnPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err, news := d.refresh(true); err != nil && news {
			d.logger.Error("the changed ASN database is not taken; the one before stays in force", "error", err)
		}
	}
}

// Refresh looks at the file now, and takes it if it has changed and is whole,
// even if it may still be written; Watch then looks at it again. The error says
// why the newest file is not in force; Watch does not log it again.
func (d *ASNDatabase) Refresh() error {
	if d == nil {
		return nil
	}
	err, _ := d.refresh(false)
	return err
}

// refresh leaves a file that changed just now for later, if it may. It says
// also whether the error was not there before.
func (d *ASNDatabase) refresh(later bool) (err error, news bool) {
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	info, err := os.Stat(d.path)
	if err == nil && d.seen != nil && sameFile(d.seen, info) && atRest(info, d.seenAt) {
		return d.Err(), false
	}
	if err == nil && later && !atRest(info, time.Now()) {
		return d.Err(), false
	}
	before, was := d.Err(), d.seen
	d.seen = nil
	if err == nil {
		err = d.load(info)
	}
	if err == nil {
		d.failure.Store(nil)
		return nil, false
	}
	if wrong, ok := errors.AsType[*fs.PathError](err); ok {
		err = wrong.Err // it names the file too
	}
	err = fmt.Errorf("ASN database %s: %w", d.path, err)
	d.failure.Store(&err)
	same := was == nil && d.seen == nil || was != nil && d.seen != nil && sameFile(was, d.seen)
	return err, !same || before == nil || before.Error() != err.Error()
}

// load takes the file, which was found so. It is marked as seen if it was read
// whole, whether it is a database or not.
func (d *ASNDatabase) load(info fs.FileInfo) error {
	now := time.Now()
	content, err := readWhole(d.path, info)
	if err != nil {
		return err
	}
	d.seen, d.seenAt = info, now
	before := d.current.Load()
	if before != nil && bytes.Equal(content, before.bytes) {
		return nil
	}
	reader, err := openASN(content)
	if err != nil {
		return err
	}
	d.current.Store(&asnContent{content, reader})
	if before != nil {
		d.logger.Info("took the changed ASN database", "path", d.path, "built_at", reader.Metadata.BuildTime())
	}
	return nil
}

// readWhole reads a file that must be as info says, before and after.
func readWhole(path string, info fs.FileInfo) ([]byte, error) {
	switch {
	case !info.Mode().IsRegular():
		return nil, errors.New("not a file")
	case info.Size() > maxASNDatabase:
		return nil, fmt.Errorf("larger than %d MiB", maxASNDatabase>>20)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(file, content); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errChangedWhileRead
	} else if err != nil {
		return nil, err
	}
	after, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !sameFile(info, after) {
		return nil, errChangedWhileRead
	}
	return content, nil
}

// sameFile says whether nothing is known to have changed between two looks.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// atRest says whether a file had not changed for a while. A time far ahead of
// the clock is another clock's, and says nothing.
func atRest(info fs.FileInfo, at time.Time) bool { return at.Sub(info.ModTime()).Abs() > asnRest }

// openASN verifies a database. The kind of it is told by what it holds, since
// those who make them name the kinds as they like: a database of cities has no
// record with an autonomous system.
func openASN(content []byte) (*maxminddb.Reader, error) {
	reader, err := maxminddb.OpenBytes(content)
	if err != nil {
		return nil, fmt.Errorf("not a whole MaxMind database: %w", err)
	}
	if err := reader.Verify(); err != nil {
		return nil, fmt.Errorf("not a whole MaxMind database: %w", err)
	}
	for network := range reader.Networks() {
		var record asnRecord
		if err := network.Decode(&record); err != nil {
			return nil, fmt.Errorf("the record of %s: %w", network.Prefix(), err)
		}
		if record.Number != 0 {
			return reader, nil
		}
	}
	return nil, fmt.Errorf("a database of type %q, in which no network has an autonomous_system_number", reader.Metadata.DatabaseType)
}
