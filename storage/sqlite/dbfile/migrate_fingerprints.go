package dbfile

import (
	"context"
	"database/sql"

	"github.com/pintle/pintle/app/webhook"
)

// migrateFingerprints is the part of the migration to version 4 that SQL cannot
// do: it gives the dead letters their fingerprints, and counts them by those.
func migrateFingerprints(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `CREATE TEMP TABLE fingerprints (outcome TEXT, error TEXT, fingerprint TEXT, PRIMARY KEY (outcome, error));
		INSERT INTO temp.fingerprints SELECT DISTINCT a.outcome, a.error, NULL
			FROM deliveries d JOIN attempts a ON a.delivery_id = d.id AND a.number = d.attempts WHERE d.state = 'dead' AND a.error IS NOT NULL`); err != nil {
		return err
	}
	prints, err := fingerprints(ctx, tx)
	if err != nil {
		return err
	}
	for rowid, fingerprint := range prints {
		if _, err := tx.ExecContext(ctx, `UPDATE temp.fingerprints SET fingerprint = ? WHERE rowid = ?`, fingerprint, rowid); err != nil {
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

// fingerprints are those of the errors in the temporary table, by its rowids; an
// error without one is left out.
func fingerprints(ctx context.Context, tx *sql.Tx) (map[int64]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT rowid, outcome, error FROM temp.fingerprints`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	prints := map[int64]string{}
	for rows.Next() {
		var (
			rowid         int64
			outcome, text string
		)
		if err := rows.Scan(&rowid, &outcome, &text); err != nil {
			return nil, err
		}
		if fingerprint := webhook.Fingerprint(webhook.Outcome(outcome), text); fingerprint != "" {
			prints[rowid] = fingerprint
		}
	}
	return prints, rows.Err()
}
