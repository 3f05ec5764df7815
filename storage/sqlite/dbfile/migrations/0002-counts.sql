-- Version 2 counts what screens show, keeps more of each attempt, the secrets
-- that a rotation replaced, and tokens.

ALTER TABLE webhook_subscribers ADD COLUMN old_secrets TEXT NOT NULL DEFAULT '[]' CHECK (json_type(old_secrets) = 'array');

ALTER TABLE attempts ADD COLUMN remote_addr TEXT;
ALTER TABLE attempts ADD COLUMN request_header TEXT;
ALTER TABLE attempts ADD COLUMN response_header TEXT;
ALTER TABLE attempts ADD COLUMN dns INTEGER;
ALTER TABLE attempts ADD COLUMN connect INTEGER;
ALTER TABLE attempts ADD COLUMN tls INTEGER;
ALTER TABLE attempts ADD COLUMN wait INTEGER;

-- The oldest and the newest dead letter of one subscriber and cause; and the
-- list of a subscriber's, while they are few enough to be sorted.
CREATE INDEX deliveries_dead_by_cause ON deliveries (subscriber_id, last_outcome, last_code) WHERE state = 'dead';

-- Who may use the admin API. Only a digest of the token is kept.
CREATE TABLE tokens (
  id         INTEGER PRIMARY KEY,
  name       TEXT    NOT NULL,
  role       TEXT    NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  hash       BLOB    NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of what its bearer presents
  created_at INTEGER NOT NULL,
  revoked_at INTEGER                             -- NULL while it is valid
) STRICT;

-- The three tables below count the ones above, so that no screen has to. They
-- change in the transaction that changes what they count.

-- How many deliveries there are now: of each subscriber, and under the
-- subscriber 0 of all. A row may say 0.
CREATE TABLE tallies (
  state         TEXT    NOT NULL,
  subscriber_id INTEGER NOT NULL,
  outcome       TEXT    NOT NULL,                -- that of the last attempt if pending or dead, else ''
  code          INTEGER NOT NULL,                -- likewise; 0 without an answer
  count         INTEGER NOT NULL,
  PRIMARY KEY (state, subscriber_id, outcome, code)
) STRICT, WITHOUT ROWID;

-- How many there have been since the file was made.
--   events, attempts
CREATE TABLE counters (
  name  TEXT    PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened in each minute: to each subscriber, and under the subscriber 0
-- to all. A minute in which nothing did has no row.
CREATE TABLE rollups (
  minute        INTEGER NOT NULL,                -- since 1970
  subscriber_id INTEGER NOT NULL,
  events        INTEGER NOT NULL,                -- accepted; only of the subscriber 0
  attempts      INTEGER NOT NULL,                -- ended
  failed        INTEGER NOT NULL,                -- of those, neither ok nor interrupted
  delivered     INTEGER NOT NULL,                -- deliveries that came to this end
  dead          INTEGER NOT NULL,
  b0            INTEGER NOT NULL,                -- attempts by duration: up to 1 ms
  b1            INTEGER NOT NULL,                -- 2 ms
  b2            INTEGER NOT NULL,                -- 5 ms
  b3            INTEGER NOT NULL,                -- 10 ms
  b4            INTEGER NOT NULL,                -- 20 ms
  b5            INTEGER NOT NULL,                -- 50 ms
  b6            INTEGER NOT NULL,                -- 100 ms
  b7            INTEGER NOT NULL,                -- 200 ms
  b8            INTEGER NOT NULL,                -- 500 ms
  b9            INTEGER NOT NULL,                -- 1 s
  b10           INTEGER NOT NULL,                -- 2 s
  b11           INTEGER NOT NULL,                -- 5 s
  b12           INTEGER NOT NULL,                -- 10 s
  b13           INTEGER NOT NULL,                -- 20 s
  b14           INTEGER NOT NULL,                -- longer
  last_at       INTEGER NOT NULL,                -- when the last attempt ended; 0 if there was none
  last_outcome  TEXT    NOT NULL,
  last_code     INTEGER NOT NULL,
  PRIMARY KEY (minute, subscriber_id)
) STRICT, WITHOUT ROWID;

DROP VIEW webhook_logs;

-- One row per attempt, with what was sent and what came back.
CREATE VIEW webhook_logs AS
SELECT
  format('att_%016x%s-%d', a.delivery_id, i.value, a.number) AS id,
  format('dlv_%016x%s', a.delivery_id, i.value)              AS delivery_id,
  format('evt_%016x%s', e.id, i.value)                       AS event_id,
  format('sub_%016x%s', d.subscriber_id, i.value)            AS subscriber_id,
  e.type                                                     AS event,
  '{"event":"' || e.type || '","timestamp":' || e.timestamp || ',"data":' || e.data || '}' AS request_body,
  a.code                                                     AS response_code,
  CAST(a.response_body AS TEXT)                              AS response_body,
  a.number                                                   AS attempts,
  a.outcome                                                  AS outcome,
  a.error                                                    AS error,
  a.duration                                                 AS duration_us,
  a.remote_addr                                              AS remote_addr,
  a.request_header                                           AS request_header,
  a.response_header                                          AS response_header,
  a.started_at                                               AS created_at
FROM attempts a
JOIN deliveries d ON d.id = a.delivery_id
JOIN events e ON e.id = d.event_id
JOIN settings i ON i.name = 'installation';

-- What there is already is counted as if it had been from the beginning.

INSERT INTO counters (name, value)
SELECT 'events', count(*) FROM events UNION ALL SELECT 'attempts', count(*) FROM attempts;

INSERT INTO tallies (state, subscriber_id, outcome, code, count)
SELECT state, subscriber_id,
  iif(state IN ('pending', 'dead'), coalesce(last_outcome, ''), '') AS outcome,
  iif(state IN ('pending', 'dead'), coalesce(last_code, 0), 0) AS code, count(*)
FROM deliveries GROUP BY 1, 2, 3, 4;
INSERT INTO tallies (state, subscriber_id, outcome, code, count)
SELECT state, 0, outcome, code, sum(count) FROM tallies GROUP BY 1, 2, 3, 4;

-- An attempt is counted in the minute in which it ended. With the only max, the
-- other columns are those of the row that has it.
INSERT INTO rollups
SELECT (a.started_at * 1000 + a.duration) / 60000000, d.subscriber_id, 0, count(*), sum(a.outcome NOT IN ('ok', 'interrupted')), 0, 0,
  sum(a.duration <= 1000),
  sum(a.duration > 1000 AND a.duration <= 2000),
  sum(a.duration > 2000 AND a.duration <= 5000),
  sum(a.duration > 5000 AND a.duration <= 10000),
  sum(a.duration > 10000 AND a.duration <= 20000),
  sum(a.duration > 20000 AND a.duration <= 50000),
  sum(a.duration > 50000 AND a.duration <= 100000),
  sum(a.duration > 100000 AND a.duration <= 200000),
  sum(a.duration > 200000 AND a.duration <= 500000),
  sum(a.duration > 500000 AND a.duration <= 1000000),
  sum(a.duration > 1000000 AND a.duration <= 2000000),
  sum(a.duration > 2000000 AND a.duration <= 5000000),
  sum(a.duration > 5000000 AND a.duration <= 10000000),
  sum(a.duration > 10000000 AND a.duration <= 20000000),
  sum(a.duration > 20000000),
  max(a.started_at + a.duration / 1000), a.outcome, coalesce(a.code, 0)
FROM attempts a JOIN deliveries d ON d.id = a.delivery_id GROUP BY 1, 2;

-- A delivery is counted in the minute in which it came to its end.
INSERT INTO rollups
SELECT finished_at / 60000, subscriber_id, 0, 0, 0, sum(state = 'delivered'), sum(state = 'dead'),
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0
FROM deliveries WHERE state IN ('delivered', 'dead') GROUP BY 1, 2
ON CONFLICT DO UPDATE SET delivered = excluded.delivered, dead = excluded.dead;

INSERT INTO rollups
SELECT minute, 0, 0, sum(attempts), sum(failed), sum(delivered), sum(dead),
  sum(b0), sum(b1), sum(b2), sum(b3), sum(b4), sum(b5), sum(b6), sum(b7),
  sum(b8), sum(b9), sum(b10), sum(b11), sum(b12), sum(b13), sum(b14),
  max(last_at), last_outcome, last_code
FROM rollups GROUP BY minute;

INSERT INTO rollups
SELECT received_at / 60000, 0, count(*), 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0
FROM events WHERE true GROUP BY 1
ON CONFLICT DO UPDATE SET events = excluded.events;
