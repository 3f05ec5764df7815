-- A file of version 2 as text: its schema, and what a small installation had
-- in it. It is frozen: that version is released.

PRAGMA application_id = 1347310668; -- "PNTL"
PRAGMA user_version = 2;

-- What the appliance keeps for itself.
--   installation    the ten hexadecimal digits that end every id
--   inbound_secret  the secret made at first start
CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who receives events. A removed subscriber is gone from here; its deliveries
-- stay, under its number.
CREATE TABLE webhook_subscribers (
  number        INTEGER PRIMARY KEY,             -- the sequence number in id
  id            TEXT    NOT NULL UNIQUE,         -- sub_…
  client_id     TEXT    NOT NULL,                -- '': receives only events of no client
  url           TEXT    NOT NULL,
  secret        TEXT    NOT NULL,
  events        TEXT    NOT NULL CHECK (json_type(events) = 'array'),   -- patterns
  active        INTEGER NOT NULL CHECK (active IN (0, 1)),              -- 0: paused, deliveries wait
  paused_reason TEXT    NOT NULL,                -- '' while active
  description   TEXT    NOT NULL,
  headers       TEXT    NOT NULL CHECK (json_type(headers) = 'object'), -- name to value
  timeout       INTEGER NOT NULL,                -- milliseconds; 0: outbound.timeout
  concurrency   INTEGER NOT NULL,                -- requests in flight; 0: outbound.concurrency
  schedule      TEXT    NOT NULL CHECK (json_type(schedule) = 'array'), -- milliseconds; []: outbound.schedule
  final_on_4xx  INTEGER NOT NULL CHECK (final_on_4xx IN (0, 1)),
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  old_secrets   TEXT    NOT NULL DEFAULT '[]' CHECK (json_type(old_secrets) = 'array') -- {"secret","until"}, the newest first
) STRICT;

-- What happened, accepted once and never changed.
CREATE TABLE events (
  id          INTEGER PRIMARY KEY,
  source      TEXT    NOT NULL,                  -- the name of the source
  type        TEXT    NOT NULL,
  timestamp   INTEGER NOT NULL,                  -- the sender's, in Unix seconds
  client_id   TEXT    NOT NULL,                  -- '': for the subscribers of every client
  agent_id    TEXT    NOT NULL,                  -- '': outbound.agent_id
  sender_key  TEXT    NOT NULL,                  -- the idempotency key as the sender named it, or ''
  dedupe_key  BLOB    NOT NULL CHECK (length(dedupe_key) = 16),
  received_at INTEGER NOT NULL,
  data        TEXT    NOT NULL                   -- JSON, byte for byte as it came
) STRICT;

-- Which event was the first with its key. A table of its own, narrow, since its
-- rows come in random order: that is the dearest part of accepting an event.
CREATE TABLE dedupe (
  key      BLOB    PRIMARY KEY,                  -- digest of source and idempotency key
  event_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One event for one subscriber. Its id tells when it was made.
CREATE TABLE deliveries (
  id              INTEGER PRIMARY KEY,
  event_id        INTEGER NOT NULL REFERENCES events (id),
  subscriber_id   INTEGER NOT NULL,              -- webhook_subscribers.number, also after its removal
  state           TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'dead', 'cancelled')),
  attempts        INTEGER NOT NULL,              -- made in all
  spent           INTEGER NOT NULL,              -- of those, how many count against the present schedule
  next_attempt_at INTEGER,
  finished_at     INTEGER,
  last_outcome    TEXT,                          -- of the last attempt; NULL before the first
  last_code       INTEGER,                       -- HTTP status of the last attempt; NULL without an answer
  CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
  CHECK ((state = 'pending') = (finished_at IS NULL))
) STRICT;

-- The next deliveries of one subscriber, in the order in which they fall due;
-- and the list of what is pending, while that is little enough to be sorted.
CREATE INDEX deliveries_due ON deliveries (subscriber_id, next_attempt_at) WHERE state = 'pending';
-- The deliveries of one event, by age; and how many of them are in each state.
CREATE INDEX deliveries_by_event ON deliveries (event_id);
-- The deliveries of one subscriber, by age.
CREATE INDEX deliveries_by_subscriber ON deliveries (subscriber_id);
-- The dead letters, by age.
CREATE INDEX deliveries_dead ON deliveries (state) WHERE state = 'dead';
-- The oldest and the newest dead letter of one subscriber and cause; and the
-- list of a subscriber's, while they are few enough to be sorted.
CREATE INDEX deliveries_dead_by_cause ON deliveries (subscriber_id, last_outcome, last_code) WHERE state = 'dead';

-- One HTTP try of a delivery.
CREATE TABLE attempts (
  delivery_id     INTEGER NOT NULL REFERENCES deliveries (id),
  number          INTEGER NOT NULL,              -- counts from 1
  started_at      INTEGER NOT NULL,
  duration        INTEGER NOT NULL,              -- microseconds
  outcome         TEXT    NOT NULL,              -- ok, http_status, timeout, …
  code            INTEGER,                       -- HTTP status; NULL without an answer
  error           TEXT,                          -- what went wrong; NULL if nothing did
  response_body   BLOB,                          -- the beginning of the answer; NULL if it was empty
  remote_addr     TEXT,                          -- address and port; NULL without a connection
  request_header  TEXT,                          -- lines "Name: value", credentials hidden
  response_header TEXT,                          -- likewise; NULL without an answer
  dns             INTEGER,                       -- microseconds, as are the next three; NULL if it did not take place
  connect         INTEGER,
  tls             INTEGER,
  wait            INTEGER,                       -- from the request being written to the first byte of the answer
  PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

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

INSERT INTO settings (name, value) VALUES
  ('inbound_secret', 'whsec_aW5ib3VuZA=='),
  ('installation', 'db802c3a21');
INSERT INTO webhook_subscribers (number, id, client_id, url, secret, events, active, paused_reason, description, headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at, old_secrets) VALUES
  (3651851990768093136, 'sub_32adfc098a0907d0db802c3a21', '', 'https://example.com/hook', 'whsec_c2VjcmV0', '["order.*","user.**"]', 1, '', '', '{"X-Key":"v"}', 0, 0, '[1000,60000]', 0, 1741338725456, 1741338725456, '[]'),
  (3651851990768093137, 'sub_32adfc098a0907d1db802c3a21', 'acme', 'https://example.com/hook', 'whsec_c2VjcmV0', '["order.*","user.**"]', 0, 'maintenance', 'it''s theirs', '{"X-Key":"v"}', 0, 0, '[1000,60000]', 0, 1741338725456, 1741338725456, '[{"secret":"whsec_b2xk","until":1741425125456}]');
INSERT INTO events (id, source, type, timestamp, client_id, agent_id, sender_key, dedupe_key, received_at, data) VALUES
  (3651851990768093141, 'inbound', 'order.created', 1741338725, '', '', '0', X'37FE7B6DD497CFA75A983BE482A7D9C3', 1741338725456, '{"n": 0, "it''s":"é"}'),
  (3651852043197169195, 'inbound', 'user.a.b', 1741338750, '', '', '1', X'616B60419D568486F9DECD60F0A61742', 1741338750456, '{"n": 1, "it''s":"é"}'),
  (3651852095625129647, 'inbound', 'order.created', 1741338775, '', '', '2', X'80975ACB7E472DA78DCDCDB42A04B928', 1741338775456, '{"n": 2, "it''s":"é"}'),
  (3651852148054316885, 'inbound', 'user.a.b', 1741338800, '', '', '3', X'BB69AE76C60400CDB2BC46A7BD0F5049', 1741338800456, '{"n": 3, "it''s":"é"}'),
  (3651852200483649058, 'inbound', 'order.created', 1741338825, '', '', '4', X'A8373C917BE70956AED59D9E888FDB6E', 1741338825456, '{"n": 4, "it''s":"é"}'),
  (3651852252912507686, 'inbound', 'user.a.b', 1741338850, '', '', '5', X'D523032FABA013092142989CF4C83ABD', 1741338850456, '{"n": 5, "it''s":"é"}');
INSERT INTO dedupe (key, event_id) VALUES
  (X'37FE7B6DD497CFA75A983BE482A7D9C3', 3651851990768093141),
  (X'616B60419D568486F9DECD60F0A61742', 3651852043197169195),
  (X'80975ACB7E472DA78DCDCDB42A04B928', 3651852095625129647),
  (X'A8373C917BE70956AED59D9E888FDB6E', 3651852200483649058),
  (X'BB69AE76C60400CDB2BC46A7BD0F5049', 3651852148054316885),
  (X'D523032FABA013092142989CF4C83ABD', 3651852252912507686);
INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at, finished_at, last_outcome, last_code) VALUES
  (3651851990768093142, 3651851990768093141, 3651851990768093136, 'delivered', 1, 1, NULL, 1741338725456, 'ok', 200),
  (3651851990768093143, 3651851990768093141, 3651851990768093137, 'dead', 2, 2, NULL, 1741338785468, 'http_status', 410),
  (3651851990768093144, 3651851990768093141, 3651851990768093138, 'cancelled', 0, 0, NULL, 1741342325456, NULL, NULL),
  (3651852043197169196, 3651852043197169195, 3651851990768093136, 'pending', 1, 1, 1741338810456, NULL, 'connect', NULL),
  (3651852043197169197, 3651852043197169195, 3651851990768093137, 'dead', 1, 1, NULL, 1741338820456, 'http_status', 503),
  (3651852043197169198, 3651852043197169195, 3651851990768093138, 'cancelled', 1, 1, NULL, 1741342325456, 'interrupted', NULL),
  (3651852095625129648, 3651852095625129647, 3651851990768093136, 'delivered', 1, 1, NULL, 1741338775501, 'ok', 204),
  (3651852095625129650, 3651852095625129647, 3651851990768093138, 'cancelled', 0, 0, NULL, 1741342325456, NULL, NULL),
  (3651852148054316886, 3651852148054316885, 3651851990768093136, 'delivered', 2, 2, NULL, 1741338860789, 'ok', 200),
  (3651852148054316887, 3651852148054316885, 3651851990768093137, 'pending', 0, 0, 1741338800456, NULL, NULL, NULL),
  (3651852148054316888, 3651852148054316885, 3651851990768093138, 'cancelled', 0, 0, NULL, 1741342325456, NULL, NULL),
  (3651852200483649059, 3651852200483649058, 3651851990768093136, 'pending', 0, 0, 1741338825456, NULL, NULL, NULL),
  (3651852200483649060, 3651852200483649058, 3651851990768093137, 'cancelled', 0, 0, NULL, 1741339325456, NULL, NULL),
  (3651852200483649061, 3651852200483649058, 3651851990768093138, 'cancelled', 0, 0, NULL, 1741342325456, NULL, NULL),
  (3651852252912507687, 3651852252912507686, 3651851990768093136, 'pending', 0, 0, 1741338850456, NULL, NULL, NULL),
  (3651852252912507688, 3651852252912507686, 3651851990768093137, 'pending', 0, 0, 1741338850456, NULL, NULL, NULL),
  (3651852252912507689, 3651852252912507686, 3651851990768093138, 'cancelled', 0, 0, NULL, 1741342325456, NULL, NULL),
  (3651859540515058714, 3651851990768093141, 3651851990768093136, 'pending', 0, 0, 1741342325456, NULL, NULL, NULL);
INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code, error, response_body, remote_addr, request_header, response_header, dns, connect, tls, wait) VALUES
  (3651851990768093142, 1, 1741338725456, 900, 'ok', 200, NULL, NULL, '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 450),
  (3651851990768093143, 1, 1741338725456, 5000000, 'timeout', NULL, 'timeout', X'6F6F7073FF', NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3651851990768093143, 2, 1741338785456, 12000, 'http_status', 410, 'http_status', X'6F6F7073FF', '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 6000),
  (3651852043197169196, 1, 1741338750456, 300, 'connect', NULL, 'connect', X'6F6F7073FF', NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3651852043197169197, 1, 1741338750456, 70000000, 'http_status', 503, 'http_status', X'6F6F7073FF', '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 35000000),
  (3651852043197169198, 1, 1741338750456, 1500000, 'interrupted', NULL, 'interrupted', X'6F6F7073FF', NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3651852095625129648, 1, 1741338775456, 45000, 'ok', 204, NULL, NULL, '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 22500),
  (3651852148054316886, 1, 1741338800456, 150000, 'http_status', 503, 'http_status', X'6F6F7073FF', '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 75000),
  (3651852148054316886, 2, 1741338860456, 333000, 'ok', 200, NULL, NULL, '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 166500);
INSERT INTO tokens (id, name, role, hash, created_at, revoked_at) VALUES
  (3651851990768093139, 'ci', 'operator', X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED', 1741338725456, NULL),
  (3651851990768093140, 'screen', 'viewer', X'3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3', 1741338725456, 1741342325456);
INSERT INTO tallies (state, subscriber_id, outcome, code, count) VALUES
  ('cancelled', 0, '', 0, 7),
  ('cancelled', 3651851990768093137, '', 0, 1),
  ('cancelled', 3651851990768093138, '', 0, 6),
  ('dead', 0, 'http_status', 410, 1),
  ('dead', 0, 'http_status', 500, 0),
  ('dead', 0, 'http_status', 503, 1),
  ('dead', 3651851990768093137, 'http_status', 410, 1),
  ('dead', 3651851990768093137, 'http_status', 500, 0),
  ('dead', 3651851990768093137, 'http_status', 503, 1),
  ('delivered', 0, '', 0, 3),
  ('delivered', 3651851990768093136, '', 0, 3),
  ('pending', 0, '', 0, 5),
  ('pending', 0, 'connect', 0, 1),
  ('pending', 0, 'http_status', 503, 0),
  ('pending', 0, 'interrupted', 0, 0),
  ('pending', 0, 'timeout', 0, 0),
  ('pending', 3651851990768093136, '', 0, 3),
  ('pending', 3651851990768093136, 'connect', 0, 1),
  ('pending', 3651851990768093136, 'http_status', 503, 0),
  ('pending', 3651851990768093137, '', 0, 2),
  ('pending', 3651851990768093137, 'timeout', 0, 0),
  ('pending', 3651851990768093138, '', 0, 0),
  ('pending', 3651851990768093138, 'interrupted', 0, 0);
INSERT INTO counters (name, value) VALUES
  ('attempts', 10),
  ('events', 6);
INSERT INTO rollups (minute, subscriber_id, events, attempts, failed, delivered, dead, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, last_at, last_outcome, last_code) VALUES
  (29022312, 0, 3, 6, 3, 2, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 1, 0, 0, 0, 1741338777456, 'http_status', 500),
  (29022312, 3651851990768093136, 0, 3, 1, 2, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1741338775501, 'ok', 204),
  (29022312, 3651851990768093137, 0, 2, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1741338777456, 'http_status', 500),
  (29022312, 3651851990768093138, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1741338751956, 'interrupted', 0),
  (29022313, 0, 2, 3, 3, 0, 2, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1741338820456, 'http_status', 503),
  (29022313, 3651851990768093136, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1741338800606, 'http_status', 503),
  (29022313, 3651851990768093137, 0, 2, 2, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1741338820456, 'http_status', 503),
  (29022314, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1741338860789, 'ok', 200),
  (29022314, 3651851990768093136, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1741338860789, 'ok', 200);
