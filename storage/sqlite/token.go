package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pintle/pintle/app/webhook"
)

// Tokens returns all tokens, the newest first.
func (s *Store) Tokens(ctx context.Context) ([]webhook.Token, error) {
	tokens, err := read(ctx, s.readers, `SELECT id, name, role, hash, created_at, revoked_at FROM tokens ORDER BY id DESC`, nil,
		func(rows *sql.Rows) (webhook.Token, error) {
			var (
				t           webhook.Token
				id, created int64
				hash        []byte
				revoked     sql.NullInt64
			)
			err := rows.Scan(&id, &t.Name, &t.Role, &hash, &created, &revoked)
			t.ID = webhook.TokenID(s.ids.Format(webhook.TokenPrefix, id))
			copy(t.Hash[:], hash)
			t.CreatedAt, t.RevokedAt = fromMillis(created), optional(revoked)
			return t, err
		})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return tokens, nil
}

// PutToken stores a token, in place of the one with its id.
func (s *Store) PutToken(_ context.Context, t webhook.Token) error {
	id, ok := s.ids.Parse(webhook.TokenPrefix, string(t.ID))
	if !ok {
		return fmt.Errorf("put token: id %q is not of this installation", t.ID)
	}
	var revoked any
	if !t.RevokedAt.IsZero() {
		revoked = millis(t.RevokedAt)
	}
	return s.writer.do("put token", func(tx *transaction) error {
		_, err := tx.exec(`INSERT OR REPLACE INTO tokens (id, name, role, hash, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)`,
			id, t.Name, string(t.Role), t.Hash[:], millis(t.CreatedAt), revoked)
		return err
	})
}
