package dbfile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pintle/pintle/app/webhook"
)

const (
	// Installation is the one setting that is no secret: views read it.
	Installation = "installation"
	// SealCheck is the setting that tells whether secrets are sealed, and whether
	// a key opens them, be there secrets or not.
	SealCheck = "seal_check"
)

// SettingPlace is what a setting is sealed for; see [webhook.Sealer].
func SettingPlace(name string) string { return "settings/" + name }

// ReadSealCheck returns the text by which a key is known, and nothing where
// secrets are not sealed.
func ReadSealCheck(ctx context.Context, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (check string, err error) {
	err = db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, SealCheck).Scan(&check)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return check, Translate(err)
}

// admit refuses a file whose secrets the sealer cannot open. It changes nothing.
func admit(ctx context.Context, path string, sealer webhook.Sealer) error {
	db, err := OpenAsItIs(path)
	if err != nil {
		return err
	}
	defer db.Close()
	check, err := ReadSealCheck(ctx, db)
	if err != nil {
		return err
	}
	return opens(check, sealer)
}

// opens returns [ErrSealed] where the check is sealed under a key that the sealer
// does not have; nil for a sealer is none.
func opens(check string, sealer webhook.Sealer) error {
	switch {
	case check == "":
		return nil
	case sealer == nil:
		return fmt.Errorf("%w: storage.encryption_key or storage.encryption_key_file is missing", ErrSealed)
	}
	if _, _, err := sealer.Open(SettingPlace(SealCheck), check); err != nil {
		return fmt.Errorf("%w under another key than storage.encryption_key or storage.encryption_key_file has: %w", ErrSealed, err)
	}
	return nil
}
