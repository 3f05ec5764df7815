package dbfile

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// checkLog refuses the write-ahead log of another database, which somebody has left
// beside this one: SQLite takes any log that is whole in itself, and would mix both.
// What it goes by is the name of the installation, which is in the log of all but the
// shortest lives, since each question whether the appliance is ready writes it.
func checkLog(ctx context.Context, path string) error {
	if size, err := Size(path + "-wal"); err != nil || size == 0 {
		return err
	}
	without, err := installationIn(ctx, path, "immutable=1")
	if err != nil {
		// The file alone need not make sense: a crash can have come while the log was
		// being moved into it.
		return nil
	}
	with, err := installationIn(ctx, path)
	if err != nil {
		return err
	}
	if with != without {
		return fmt.Errorf("%w: its write-ahead log, %s-wal, is that of another one; both were left as they are", ErrDamaged, path)
	}
	return nil
}

func installationIn(ctx context.Context, path string, parameters ...string) (name string, err error) {
	db, err := sql.Open("sqlite", DSN(path, append(parameters, "mode=ro", "_pragma=busy_timeout(10000)")...))
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = 'installation'`).Scan(&name)
	return name, Translate(err)
}

// checkLength refuses a file that is shorter than it says. With a write-ahead log it
// may be: what is missing is there.
func checkLength(path string) error {
	if size, err := Size(path + "-wal"); err != nil || size > 0 {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// Where the two counters differ an old version of SQLite wrote last, and knew
	// nothing of a length.
	if string(header[24:28]) != string(header[92:96]) {
		return nil
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 65_536
	}
	if want := int64(binary.BigEndian.Uint32(header[28:])) * page; info.Size() < want {
		return fmt.Errorf("%w: it was cut, and %d of its %d bytes are missing; it was left as it is", ErrDamaged, want-info.Size(), want)
	}
	return nil
}
