package sqlite

import (
	"context"
	"database/sql"

	"github.com/pintle/pintle/app/webhook"
)

// migrateFingerprints is the part of the migration to version 4 that SQL cannot
// do: it gives the dead letters their fingerprints, and counts them by those.
func migrateFingerprints(ctx context.Context, tx *sql.Tx) error {
	type fault struct {
		outcome webhook.Outcome
		text    string
	}
	faults, err := list(ctx, tx, `SELECT DISTINCT a.outcome, a.error
		FROM deliveries d JOIN attempts a ON a.delivery_id = d.id AND a.number = d.attempts WHERE d.state = 'dead' AND a.error IS NOT NULL`, nil,
		func(rows *sql.Rows) (f fault, err error) {
			err = rows.Scan(&f.outcome, &f.text)
			return f, err
		})
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `CREATE TEMP TABLE fingerprints (outcome TEXT, error TEXT, fingerprint TEXT, PRIMARY KEY (outcome, error))`); err != nil {
		return err
	}
	for _, f := range faults {
		_, err := tx.ExecContext(ctx, `INSERT INTO temp.fingerprints VALUES (?, ?, ?)`, string(f.outcome), f.text, nullText(webhook.Fingerprint(f.outcome, f.text)))
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE deliveries SET fingerprint = (SELECT f.fingerprint
			FROM attempts a JOIN temp.fingerprints f ON f.outcome = a.outcome AND f.error = a.error
			WHERE a.delivery_id = deliveries.id AND a.number = deliveries.attempts) WHERE state = 'dead';
		DROP TABLE temp.fingerprints;
		INSERT INTO tallies (state, subscriber_id, outcome, code, fingerprint, count)
			SELECT 'dead', subscriber_id, coalesce(last_outcome, ''), coalesce(last_code, 0), coalesce(fingerprint, ''), count(*)
			FROM deliveries WHERE state = 'dead' GROUP BY 2, 3, 4, 5;
		INSERT INTO tallies (state, subscriber_id, outcome, code, fingerprint, count)
			SELECT 'dead', 0, outcome, code, fingerprint, sum(count) FROM tallies WHERE state = 'dead' GROUP BY 3, 4, 5`)
	return err
}
