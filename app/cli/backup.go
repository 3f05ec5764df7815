package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/pintle/pintle/app/admin/api"
	"github.com/pintle/pintle/app/backup"
	"github.com/pintle/pintle/app/config"
	"github.com/pintle/pintle/app/security"
	"github.com/pintle/pintle/storage"
)

func newBackup(g *globals) *cobra.Command {
	var to, files []string
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Make a backup of the database, also while the appliance runs",
		Long: "backup writes a consistent copy of the database in force, with all that was\n" +
			"acknowledged before it began, whether the appliance runs or not. It reads the copy\n" +
			"through, and only a good one gets the name FILE. A file that exists is never\n" +
			"overwritten. - writes to standard output.\n\n" +
			"The copy can be read by whoever has it, as the database can: secrets that are\n" +
			"sealed stay sealed. --encrypt-to encrypts it to a public key of age\n" +
			"(age-encryption.org), whose private key pintle restore --identity takes.\n\n" +
			"The section [backup] of the configuration has the appliance make backups by itself.",
		Example: "pintle backup /backups/pintle.db\n" +
			"pintle backup /backups/pintle.db.age --encrypt-to age1…\n" +
			"pintle backup - --encrypt-to age1… | ssh other 'cat > pintle.db.age'",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			to = split(to)
			for _, file := range split(files) {
				keys, err := security.ReadRecipients(file)
				if err != nil {
					return fmt.Errorf("--recipients-file: %w", err)
				}
				to = append(to, keys...)
			}
			recipients, err := security.ParseRecipients(to)
			if err != nil {
				return fmt.Errorf("--encrypt-to: %w", err)
			}
			return g.backup(cmd, backup.Options{Database: c.Storage.Path, Recipients: recipients}, args[0])
		},
	}
	c.Flags().StringArrayVar(&to, "encrypt-to", nil, "encrypt to this public key of age; can be repeated")
	c.Flags().StringArrayVar(&files, "recipients-file", nil, "encrypt to the public keys of age in this file, one on a line")
	return c
}

func (g *globals) backup(cmd *cobra.Command, o backup.Options, file string) error {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	if file == "-" {
		if isTerminal(cmd.OutOrStdout()) {
			return hint(errors.New("a backup is nothing to look at"), "send it on with | or >, or name a file")
		}
		made, err := backup.Stream(ctx, o, cmd.OutOrStdout())
		if err != nil {
			return failed(backupError(err, o.Database))
		}
		g.note(cmd, "written: %s, events: %d, the newest: %s", shownBytes(made.Bytes), made.Events, orDash(string(made.Newest)))
		return nil
	}
	if file == "" {
		return errors.New("the name of the file is empty")
	}
	made, err := backup.Write(ctx, o, file)
	if err != nil {
		return failed(backupError(err, o.Database))
	}
	g.note(cmd, "written, flushed and read through in %s", made.Took.Round(time.Millisecond))
	return g.printCopy(cmd, copyOf(made.Contents, file, made.Bytes, made.Encrypted))
}

func newRestore(g *globals) *cobra.Command {
	var files []string
	var force bool
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the database",
		Long: "restore makes a backup the database in force. It reads the backup through first,\n" +
			"and touches nothing if that is damaged, not Pintle's, or written by a newer one; one\n" +
			"of an older schema is upgraded at the next start. The appliance must not run.\n\n" +
			"A database that is there is moved aside, with its write-ahead log, under a name\n" +
			"with the time, once you have confirmed it. - reads from standard input.\n\n" +
			"What was accepted after the backup was made is not in it. Deliveries that were\n" +
			"made after it are made again: receivers know them by their webhook-id.",
		Example: "pintle restore /backups/pintle.db\n" +
			"pintle restore /backups/pintle.db.age --identity key.txt --yes",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			identities, err := readIdentities(files)
			if err != nil {
				return err
			}
			forced := *g
			forced.yes = g.yes || force
			return forced.restore(cmd, c, args[0], identities)
		},
	}
	c.Flags().StringArrayVarP(&files, "identity", "i", nil, "decrypt with the private keys of age in this file; can be repeated")
	c.Flags().BoolVar(&force, "force", false, "move a database that is there aside without a question, as --yes does")
	return c
}

func (g *globals) restore(cmd *cobra.Command, c *config.Config, file string, identities []age.Identity) (err error) {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	database := c.Storage.Path
	if info, err := os.Stat(filepath.Dir(database)); err != nil || !info.IsDir() {
		return failed(hint(fmt.Errorf("the folder %s does not exist", filepath.Dir(database)), "make it, or name another database with --db"))
	}
	var r *backup.Restoration
	if file == "-" {
		r, err = backup.PrepareFrom(ctx, database, cmd.InOrStdin(), identities)
	} else {
		r, err = backup.Prepare(ctx, database, file, identities)
	}
	if err != nil {
		return restoreError(err, file)
	}
	defer func() { err = errors.Join(err, failed(r.Close())) }()
	if err := g.warnOfSeal(ctx, cmd, c, r); err != nil {
		return failed(err)
	}
	if r.Replaces {
		if err := g.confirm(cmd, "move "+database+" aside and put this backup in its place"); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return failed(ctx.Err())
	}
	aside, err := r.Commit(time.Now())
	if err != nil {
		return failed(fmt.Errorf("restore: %w", err))
	}
	if aside != "" {
		g.note(cmd, "what was there is now %s", aside)
	}
	return g.printCopy(cmd, copyOf(r.Contents, database, r.Contents.Bytes, false))
}

// warnOfSeal tells that the next start will need a key that the configuration does
// not have.
func (g *globals) warnOfSeal(ctx context.Context, cmd *cobra.Command, c *config.Config, r *backup.Restoration) error {
	info, err := r.Info(ctx)
	if err != nil {
		return err
	}
	keys, err := c.Keyring()
	switch {
	case err != nil:
	case keys == nil:
		err = info.Opens(nil)
	default:
		err = info.Opens(keys)
	}
	if err != nil {
		g.note(cmd, "warning: the appliance will not start on this database yet: %v", err)
	}
	return nil
}

func newCheck(g *globals) *cobra.Command {
	var files []string
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read the database or a backup through; exit 1 on a fault",
		Long: "check reads all of the database in force, or of a backup, and compares tables,\n" +
			"indexes and references. It changes nothing, and the appliance can run meanwhile.\n" +
			"An encrypted backup is decrypted into the temporary folder ($TMPDIR).",
		Example: "pintle check\npintle check /backups/pintle.db.age --identity key.txt",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var file string
			if len(args) > 0 {
				file = args[0]
			} else {
				c, err := g.load()
				if err != nil {
					return err
				}
				file = c.Storage.Path
			}
			identities, err := readIdentities(files)
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			checked, err := backup.Check(ctx, file, identities)
			if len(args) == 0 && errors.Is(err, fs.ErrNotExist) {
				return failed(backupError(err, file))
			}
			if err != nil {
				return restoreError(err, file)
			}
			g.note(cmd, "it was read through, and nothing in it is damaged")
			return g.printCopy(cmd, copyOf(checked.Contents, file, checked.Bytes, checked.Encrypted))
		},
	}
	c.Flags().StringArrayVarP(&files, "identity", "i", nil, "decrypt with the private keys of age in this file; can be repeated")
	return c
}

// untilSignal ends what it is given when somebody wants the command to end: what it
// was making is then removed.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// split reads lists with commas. Unlike those of pflag they keep what is empty, such as
// "$KEY" of a variable that is not set: a backup must not go out unencrypted for that.
func split(lists []string) (list []string) {
	for _, l := range lists {
		list = append(list, strings.Split(l, ",")...)
	}
	return list
}

func readIdentities(files []string) (identities []age.Identity, err error) {
	for _, file := range split(files) {
		read, err := security.ReadIdentities(file)
		if err != nil {
			return nil, fmt.Errorf("--identity: %w", err)
		}
		identities = append(identities, read...)
	}
	return identities, nil
}

// backupError gives what kept a backup from being made its next step.
func backupError(err error, database string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted; nothing was written")
	case errors.Is(err, backup.ErrExists):
		return hint(err, "name another file, or remove this one")
	case errors.Is(err, fs.ErrNotExist):
		if _, missing := os.Stat(database); missing != nil {
			return hint(fmt.Errorf("there is no database %s", database), "name it with --db, or its configuration with --config")
		}
		return hint(err, "the folder must exist")
	}
	return err
}

// restoreError gives what is wrong with a backup its next step. What the command
// lacks is wrong usage.
func restoreError(err error, file string) error {
	named := err
	if path := (*fs.PathError)(nil); !errors.As(err, &path) {
		named = fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return failed(errors.New("interrupted; nothing was changed"))
	case errors.Is(err, backup.ErrNeedsIdentity):
		return hint(named, "give the file of its private key with --identity FILE")
	case errors.Is(err, backup.ErrOtherIdentity):
		return failed(hint(named, "the key that is needed is that of --encrypt-to or backup.encrypt_to when it was made"))
	case errors.Is(err, backup.ErrHasLog):
		return failed(hint(err, "it is a database in use or of a crash: make a backup of it with pintle backup --db %s NEW", file))
	case errors.Is(err, storage.ErrInUse):
		return failed(hint(err, "stop the appliance first"))
	}
	return failed(named)
}

// A databaseCopy is what is told of a database or a backup.
type databaseCopy struct {
	File         string   `json:"file"`
	Bytes        int64    `json:"bytes"`
	Encrypted    bool     `json:"encrypted"`
	Events       int64    `json:"events"`
	NewestEvent  string   `json:"newest_event,omitempty"`
	ReceivedAt   api.Time `json:"newest_event_received_at,omitzero"`
	Schema       int      `json:"schema"`
	Sealed       bool     `json:"sealed"`
	Installation string   `json:"installation"`
}

func copyOf(c storage.Contents, file string, bytes int64, encrypted bool) databaseCopy {
	return databaseCopy{
		File: file, Bytes: bytes, Encrypted: encrypted, Events: c.Events, NewestEvent: string(c.Newest),
		ReceivedAt: api.Time{Time: c.NewestAt}, Schema: c.Schema, Sealed: c.Sealed, Installation: c.Installation,
	}
}

func (g *globals) printCopy(cmd *cobra.Command, c databaseCopy) error {
	yesNo := map[bool]string{true: "yes", false: "no"}
	return g.print(cmd, c, func(w io.Writer) error {
		return printFields(w, field{"FILE", c.File}, field{"SIZE", shownBytes(c.Bytes)}, field{"ENCRYPTED", yesNo[c.Encrypted]},
			field{"EVENTS", strconv.FormatInt(c.Events, 10)}, field{"NEWEST", c.NewestEvent}, field{"RECEIVED", shownTime(c.ReceivedAt)},
			field{"SCHEMA", strconv.Itoa(c.Schema)}, field{"SEALED", yesNo[c.Sealed]})
	})
}
