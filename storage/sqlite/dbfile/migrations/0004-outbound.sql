-- Version 4 has each subscriber's own terms: rate, scheme, expressions, order,
-- credentials, and how it does; and for a delivery its place in an order, its
-- body where a transform made one, and the fingerprint of what killed it.

ALTER TABLE webhook_subscribers ADD COLUMN rate_limit REAL NOT NULL DEFAULT 0;
ALTER TABLE webhook_subscribers ADD COLUMN scheme TEXT NOT NULL DEFAULT 'plain' CHECK (scheme IN ('plain', 'stripe'));
ALTER TABLE webhook_subscribers ADD COLUMN filter TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN transform TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN ordered TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN on_dead TEXT NOT NULL DEFAULT 'block' CHECK (on_dead IN ('block', 'skip'));
ALTER TABLE webhook_subscribers ADD COLUMN basic_username TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN basic_password TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN oauth2 TEXT NOT NULL DEFAULT '{}' CHECK (json_type(oauth2) = 'object');
ALTER TABLE webhook_subscribers ADD COLUMN tls_cert TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN tls_key TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN tls_ca TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_subscribers ADD COLUMN hold INTEGER NOT NULL DEFAULT 1 CHECK (hold IN (0, 1));
ALTER TABLE webhook_subscribers ADD COLUMN auto_pause INTEGER NOT NULL DEFAULT 1 CHECK (auto_pause IN (0, 1));
ALTER TABLE webhook_subscribers ADD COLUMN failing_since INTEGER;

ALTER TABLE deliveries ADD COLUMN order_key TEXT;
ALTER TABLE deliveries ADD COLUMN unjudged INTEGER NOT NULL DEFAULT 0 CHECK (unjudged IN (0, 1));
ALTER TABLE deliveries ADD COLUMN fingerprint TEXT;

DROP INDEX deliveries_due;
DROP INDEX deliveries_dead_by_cause;

-- The next deliveries of one subscriber, those that have spent nothing of their
-- schedule and the retries, each in the order in which they fall due; and the
-- list of what is pending, while that is little enough to be sorted.
CREATE INDEX deliveries_due ON deliveries (subscriber_id, (spent > 0), next_attempt_at) WHERE state = 'pending';
-- The next deliveries of an ordered subscriber: the keys, and those of each key
-- by age.
CREATE INDEX deliveries_ordered ON deliveries (subscriber_id, order_key) WHERE state = 'pending' AND order_key IS NOT NULL;
-- Those of an ordered subscriber that have no key, in the order in which they
-- fall due.
CREATE INDEX deliveries_unkeyed ON deliveries (subscriber_id, next_attempt_at) WHERE state = 'pending' AND order_key = '';
-- The first dead letter of a key, which blocks the later ones.
CREATE INDEX deliveries_dead_ordered ON deliveries (subscriber_id, order_key) WHERE state = 'dead' AND order_key IS NOT NULL;
-- The oldest and the newest dead letter of one subscriber and cause; and the
-- list of a subscriber's, while they are few enough to be sorted.
CREATE INDEX deliveries_dead_by_cause ON deliveries (subscriber_id, last_outcome, last_code, fingerprint) WHERE state = 'dead';

-- The bodies that transforms made. Where a delivery has one, its attempts send
-- it in place of what its event says.
CREATE TABLE bodies (
  delivery_id INTEGER PRIMARY KEY REFERENCES deliveries (id),
  body        TEXT NOT NULL
) STRICT;

CREATE TABLE tallies_4 (
  state         TEXT    NOT NULL,
  subscriber_id INTEGER NOT NULL,
  outcome       TEXT    NOT NULL,                -- that of the last attempt if pending or dead, else ''
  code          INTEGER NOT NULL,                -- likewise; 0 without an answer
  fingerprint   TEXT    NOT NULL DEFAULT '',     -- that of the delivery if dead, else ''
  count         INTEGER NOT NULL,
  PRIMARY KEY (state, subscriber_id, outcome, code, fingerprint)
) STRICT, WITHOUT ROWID;

-- What is dead is counted anew, once it has its fingerprints: SQL cannot make
-- those.
INSERT INTO tallies_4 (state, subscriber_id, outcome, code, count)
SELECT state, subscriber_id, outcome, code, count FROM tallies WHERE state <> 'dead';
DROP TABLE tallies;
ALTER TABLE tallies_4 RENAME TO tallies;

DROP VIEW webhook_logs;

-- One row per attempt, with what was sent and what came back.
CREATE VIEW webhook_logs AS
SELECT
  format('att_%016x%s-%d', a.delivery_id, i.value, a.number) AS id,
  format('dlv_%016x%s', a.delivery_id, i.value)              AS delivery_id,
  format('evt_%016x%s', e.id, i.value)                       AS event_id,
  format('sub_%016x%s', d.subscriber_id, i.value)            AS subscriber_id,
  e.type                                                     AS event,
  CASE WHEN a.outcome <> 'transform' THEN
    coalesce(b.body, '{"event":"' || e.type || '","timestamp":' || e.timestamp || ',"data":' || e.data || '}')
  END                                                        AS request_body, -- NULL: nothing was sent
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
LEFT JOIN bodies b ON b.delivery_id = d.id
JOIN settings i ON i.name = 'installation';
