package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/pintle/pintle/app/admin/board"
	"github.com/pintle/pintle/app/backup"
	"github.com/pintle/pintle/app/config"
)

// late is for how many backups in a row there may be none before that is a fault of
// theirs, and not of a machine that was off.
const late = 2

// backups looks at those that are made by a schedule.
func backups(ctx context.Context, c *config.Config, now time.Time) []Finding {
	l := list{check: "backups"}
	b := &c.Backup
	if b.Every == 0 {
		l.add(OK, "", "none are made by themselves: backup.every is 0")
		return l.findings
	}
	switch info, err := os.Stat(b.Directory); {
	case err != nil || !info.IsDir():
		l.add(Fault, "mount or make it, or set backup.directory", "the folder %s does not exist", b.Directory)
		return l.findings
	case !writable(b.Directory):
		l.add(Fault, "pintle serve must be able to create files in it", "the folder %s cannot be written to", b.Directory)
		return l.findings
	}
	newest, err := backup.Newest(ctx, c.Storage.Path, b.Directory, now)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.add(OK, "", "there is no database yet")
	case err != nil:
		l.add(Fault, "", "%v", err)
	case newest.IsZero():
		l.add(Warning, "the appliance makes the first one as it starts; its log has more", "there is none in %s yet", b.Directory)
	case now.Sub(newest) > late*b.Every:
		l.add(Warning, "the log of the appliance has more", "the newest in %s is of %s, and backup.every is %s", b.Directory, newest.Format(time.RFC3339), b.Every)
	default:
		l.add(OK, "", "the newest in %s is of %s", b.Directory, newest.Format(time.RFC3339))
	}
	if free, size := board.Room(b.Directory); size != 0 {
		if info, err := os.Stat(c.Storage.Path); err == nil && free < info.Size() {
			l.add(Warning, "make room, or lower backup.keep", "%s has %d MiB free, and a backup needs about %d MiB", b.Directory, free/mib, info.Size()/mib)
		}
	}
	return l.findings
}
