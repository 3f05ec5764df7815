package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pintle/pintle/app/webhook"
	"github.com/pintle/pintle/storage/sqlite"
)

// frozen makes the file that the text in testdata describes.
func frozen(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pintle.db")
	edit(t, path, `PRAGMA journal_mode = wal`, string(text))
	return path
}

// edit changes a file past the store.
func edit(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
}

// rows reads a query as one line of text for each row.
func rows(t *testing.T, path, query string) []string {
	t.Helper()
	db := reader(t, path)
	defer db.Close()
	return lines(t, db, query)
}

func reader(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func lines(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	found, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for found.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		if err := found.Scan(values...); err != nil {
			t.Fatal(err)
		}
		line := make([]string, len(values))
		for i, v := range values {
			if s := v.(*sql.NullString); s.Valid {
				line[i] = s.String
			} else {
				line[i] = "NULL"
			}
		}
		lines = append(lines, strings.Join(line, "|"))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// shape describes all that a file's schema says of tables, columns, indexes and
// views.
func shape(t *testing.T, path string) []string {
	t.Helper()
	lines := rows(t, path, `PRAGMA user_version`)
	lines = append(lines, rows(t, path, `PRAGMA application_id`)...)
	lines = append(lines, rows(t, path, `SELECT * FROM pragma_table_list WHERE schema = 'main' ORDER BY name`)...)
	lines = append(lines, rows(t, path, `SELECT t.name, c.* FROM pragma_table_list t, pragma_table_xinfo(t.name) c WHERE t.schema = 'main' ORDER BY t.name, c.cid`)...)
	lines = append(lines, rows(t, path, `SELECT t.name, i.* FROM pragma_table_list t, pragma_foreign_key_list(t.name) i WHERE t.schema = 'main' ORDER BY t.name, i.id`)...)
	return append(lines, rows(t, path, `SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type <> 'table' ORDER BY name`)...)
}

func backups(t *testing.T, path string) []string {
	t.Helper()
	copies, err := filepath.Glob(path + ".v*")
	if err != nil {
		t.Fatal(err)
	}
	return copies
}

func TestUpgradedFileHasTheShapeOfAFreshOne(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	upgrade(t, fresh)
	for _, name := range []string{"v1.sql", "v2.sql", "v3.sql"} {
		old := frozen(t, name)
		upgrade(t, old)
		if diff := cmp.Diff(shape(t, fresh), shape(t, old)); diff != "" {
			t.Errorf("fresh and upgraded from %s (-fresh +upgraded):\n%s", name, diff)
		}
	}
	if copies := backups(t, fresh); len(copies) > 0 {
		t.Errorf("a fresh file was copied: %v", copies)
	}
}

// upgrade opens the file and closes it.
func upgrade(t *testing.T, path string) {
	t.Helper()
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUpgradeLeavesEveryRow(t *testing.T) {
	tables := []string{"settings", "webhook_subscribers", "events", "dedupe", "deliveries", "attempts", "tokens", "tallies", "counters", "rollups", "webhook_logs"}
	for name, tables := range map[string][]string{"v2.sql": tables, "v3.sql": append(tables, "rejections")} {
		path := frozen(t, name)
		columns := map[string]string{}
		for _, table := range tables {
			columns[table] = strings.Join(rows(t, path, fmt.Sprintf("SELECT name FROM pragma_table_xinfo('%s') ORDER BY cid", table)), ", ")
		}
		all := func() (all []string) {
			for _, table := range tables {
				query := "SELECT " + columns[table] + " FROM " + table
				if table == "tallies" {
					query = "SELECT state, subscriber_id, outcome, code, sum(count) FROM tallies GROUP BY 1, 2, 3, 4 HAVING sum(count) > 0"
				}
				lines := rows(t, path, query)
				if len(lines) == 0 {
					t.Errorf("%s has nothing in %s", name, table)
				}
				all = append(append(all, table), lines...)
			}
			return all
		}
		before := all()
		upgrade(t, path)
		if diff := cmp.Diff(before, all()); diff != "" {
			t.Errorf("rows of %s (-before +after):\n%s", name, diff)
		}
		if kept := rows(t, path, `SELECT * FROM rejections`); name == "v2.sql" && len(kept) > 0 {
			t.Errorf("the upgraded file has rejections: %v", kept)
		}
		// One attempt of the files was deleted after it was counted.
		checkCounts(t, path, map[string]int{"v2.sql": 1}[name])
	}
}

func TestUpgradeGroupsTheDeadLettersByFingerprint(t *testing.T) {
	s, err := open(t, frozen(t, "v3.sql"))
	if err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats(t.Context(), webhook.StatsQuery{DeadGroups: true})
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, g := range stats.DeadGroups {
		groups = append(groups, fmt.Sprintf("%d %s %d %s", g.Count, g.Outcome, g.Code, g.Fingerprint))
	}
	want := []string{
		"2 connect 0 dial tcp …: connect: connection refused",
		"1 http_status 410 ",
		"1 tls 0 tls: failed to verify certificate: x509: certificate signed by unknown authority",
		"1 tls 0 x509: certificate has expired or is not yet valid: current time … is after …",
	}
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestUpgradeKeepsAndCountsWhatWasThere(t *testing.T) {
	path := frozen(t, "v1.sql")
	const everything = `SELECT id, state, attempts, spent, next_attempt_at, finished_at, last_outcome, last_code FROM deliveries ORDER BY id`
	before := rows(t, path, everything)
	s, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, rows(t, path, everything)); diff != "" {
		t.Errorf("deliveries (-before +after):\n%s", diff)
	}
	checkCounts(t, path, 0)
	ctx := context.Background()
	subscribers, err := s.Subscribers(ctx)
	if err != nil || len(subscribers) != 2 || subscribers[0].OldSecrets != nil {
		t.Errorf("subscribers are %+v, %v", subscribers, err)
	}
	start := time.Date(2024, 11, 14, 16, 38, 0, 0, time.UTC)
	stats, err := s.Stats(ctx, webhook.StatsQuery{MinutesFrom: start, MinutesTo: start.Add(time.Hour), ActivityFrom: start, DeadGroups: true})
	if err != nil {
		t.Fatal(err)
	}
	total := webhook.Traffic{}
	var events int64
	for _, m := range stats.Minutes {
		total.Add(&m.Traffic)
		events += m.Events
	}
	if events != 8 || total.Attempts != 10 || total.Failed != 5 || total.Delivered != 4 || total.Dead != 2 {
		t.Errorf("the minutes count %d events and %+v", events, total)
	}
	var latency webhook.Histogram
	for _, d := range []int{900, 5_000_000, 12_000, 300, 70_000_000, 1_500_000, 45_000, 150_000, 333_000, 8_000} {
		latency[webhook.Bucket(time.Duration(d)*time.Microsecond)]++
	}
	if total.Latency != latency {
		t.Errorf("latency is %v, want %v", total.Latency, latency)
	}
	if stats.Retrying != 1 || len(stats.DeadGroups) != 2 || len(stats.Activity) != 3 {
		t.Errorf("statistics are %+v", stats)
	}
}

func TestUpgradeLeavesACopyOfTheOldFile(t *testing.T) {
	path := frozen(t, "v1.sql")
	// An open reader keeps the log from being emptied: the copy must have it.
	reader, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := reader.Exec(`INSERT INTO settings (name, value) VALUES ('in the log', 'x')`); err != nil {
		t.Fatal(err)
	}
	var told []string
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: path, Schema: schema(t), Synchronous: "full",
		OnUpgrade: func(from, to int, copied string) { told = append(told, fmt.Sprint(from, to, copied)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	copies := backups(t, path)
	if want := []string{fmt.Sprint(1, 4, copies[0])}; !cmp.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	if len(copies) != 1 || !strings.HasPrefix(copies[0], path+".v1-") || !strings.HasSuffix(copies[0], ".backup") {
		t.Fatalf("copies are %v", copies)
	}
	info, err := os.Stat(copies[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	if version := rows(t, copies[0], `PRAGMA user_version`); version[0] != "1" {
		t.Errorf("the copy has version %v", version)
	}
	if found := rows(t, copies[0], `SELECT value FROM settings WHERE name = 'in the log'`); len(found) != 1 {
		t.Error("the copy lacks what was in the write-ahead log")
	}
	if _, err := open(t, copies[0]); err != nil {
		t.Errorf("open the copy: %v", err)
	}
}

func TestUpgradeTakesAwayTheHalfCopyOfOneThatWasKilled(t *testing.T) {
	path := frozen(t, "v1.sql")
	// What a kill leaves: the beginning of a database.
	half, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".backup.partial", half[:len(half)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path); err != nil {
		t.Fatal(err)
	}
	copies := backups(t, path)
	if len(copies) != 1 || rows(t, copies[0], `PRAGMA integrity_check`)[0] != "ok" {
		t.Errorf("the copies are %v", copies)
	}
	if _, err := os.Stat(path + ".backup.partial"); !os.IsNotExist(err) {
		t.Errorf("the half copy is still there: %v", err)
	}
}

func TestUpgradeThatFailsLeavesTheOldVersion(t *testing.T) {
	path := frozen(t, "v1.sql")
	edit(t, path, `PRAGMA foreign_keys = 0`, `DELETE FROM events WHERE id = (SELECT min(id) FROM events)`)
	before := shape(t, path)
	if _, err := open(t, path); err == nil || !strings.Contains(err.Error(), "broken references") {
		t.Fatalf("open: %v, want broken references", err)
	}
	if diff := cmp.Diff(before, shape(t, path)); diff != "" {
		t.Errorf("the failed upgrade left (-before +after):\n%s", diff)
	}
	if copies := backups(t, path); len(copies) > 0 {
		t.Errorf("the failed upgrade left copies of what has not changed: %v", copies)
	}
	edit(t, path, `DELETE FROM attempts WHERE delivery_id NOT IN (SELECT d.id FROM deliveries d JOIN events e ON e.id = d.event_id)`,
		`DELETE FROM deliveries WHERE event_id NOT IN (SELECT id FROM events)`)
	if _, err := open(t, path); err != nil {
		t.Fatalf("open after repair: %v", err)
	}
	checkCounts(t, path, 0)
}

func TestNewerFileWhoseVersionIsInTheLogIsRefused(t *testing.T) {
	path := frozen(t, "v1.sql")
	writer, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.Exec(`PRAGMA user_version = 99`); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path); err == nil || !strings.Contains(err.Error(), "newer Pintle") {
		t.Fatalf("open: %v, want newer Pintle", err)
	}
	if copies := backups(t, path); len(copies) > 0 {
		t.Errorf("the refused file was copied: %v", copies)
	}
	if version := rows(t, path, `PRAGMA user_version`); fmt.Sprint(version) != "[99]" {
		t.Errorf("the refused file has version %v", version)
	}
}
