-- A file of version 3 as text: its schema, and what a small installation had
-- in it. It is frozen: that version is released.

PRAGMA application_id = 1347310668; -- "PNTL"
PRAGMA user_version = 3;

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

-- Inbound requests that were refused, and why. A bounded number of them, and of
-- bytes, is kept: the oldest go. The list of them is short enough to be read by
-- age, whatever is looked for, so that no index has to be kept.
CREATE TABLE rejections (
  id           INTEGER PRIMARY KEY,
  refused_at   INTEGER NOT NULL,
  bytes        INTEGER NOT NULL,                 -- what the row counts against the bound
  source       TEXT    NOT NULL,                 -- the name of the source; '': none has the path
  status       INTEGER NOT NULL,                 -- HTTP status of the answer
  code         TEXT    NOT NULL,                 -- the code in the answer
  message      TEXT    NOT NULL,                 -- the message in the answer
  failed_check TEXT    NOT NULL,                 -- path, method, media_type, …: it passed those before
  rule         TEXT    NOT NULL,                 -- the setting that refused it; '' if none did
  peer         TEXT    NOT NULL,                 -- address of the other end of the connection; '' if unknown
  client       TEXT    NOT NULL,                 -- address of who sent it, behind trusted proxies; likewise
  client_key   BLOB    NOT NULL,                 -- client in 4 or 16 bytes, which sort as its ranges do; else empty
  asn          INTEGER NOT NULL,                 -- autonomous system of client; 0 if unknown
  organisation TEXT    NOT NULL,                 -- its name; '' if unknown
  skew         INTEGER,                          -- seconds that its timestamp was ahead of our clock; NULL without one
  expected     TEXT    NOT NULL,                 -- the signature that was expected, in which form; never the secret
  diagnosis    TEXT    NOT NULL,                 -- why the signature did not match; '' if that is unknown
  event_type   TEXT    NOT NULL,                 -- that of the request; '' if it was not read
  sender_key   TEXT    NOT NULL,                 -- likewise, its idempotency key
  method       TEXT    NOT NULL,                 -- of the request
  path         TEXT    NOT NULL,                 -- of the request
  header       TEXT    NOT NULL,                 -- lines "Name: value", credentials and signatures hidden
  body_size    INTEGER NOT NULL,                 -- bytes of body that were read
  body_digest  TEXT    NOT NULL,                 -- their SHA-256 in hexadecimal digits; '' if none were read
  unkept       INTEGER NOT NULL                  -- how many like it were refused since the last that was kept
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

-- How many there have been since the file was made, and how many there are.
--   events, attempts, rejected   since then
--   rejections, rejection_bytes  now, in the table rejections
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
  ('acme:acme_account+key', '-----BEGIN EC PRIVATE KEY-----
bm90IG9uZQ==
-----END EC PRIVATE KEY-----
'),
  ('inbound_secret', 'whsec_aW5ib3VuZA=='),
  ('installation', '3d7b966c19');
INSERT INTO webhook_subscribers (number, id, client_id, url, secret, events, active, paused_reason, description, headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at, old_secrets) VALUES
  (3668177755652841900, 'sub_32e7fc3be2ad61ac3d7b966c19', '', 'https://example.com/hook', 'whsec_c2VjcmV0', '["order.*","user.**"]', 1, '', '', '{"X-Key":"v"}', 0, 0, '[]', 0, 1749123456789, 1749123456789, '[]'),
  (3668177755652841901, 'sub_32e7fc3be2ad61ad3d7b966c19', 'acme', 'https://example.com/hook', 'whsec_c2VjcmV0', '["order.*","user.**"]', 0, 'maintenance', 'it''s theirs', '{"X-Key":"v"}', 0, 0, '[1000,60000]', 0, 1749123456789, 1749123456789, '[{"secret":"whsec_b2xk","until":1749209856789}]');
INSERT INTO events (id, source, type, timestamp, client_id, agent_id, sender_key, dedupe_key, received_at, data) VALUES
  (3668177755652841905, 'inbound', 'order.created', 1749123456, '', '', '0', X'37FE7B6DD497CFA75A983BE482A7D9C3', 1749123456789, '{"n": 0, "it''s":"é"}'),
  (3668177808081802919, 'inbound', 'user.a.b', 1749123481, '', '', '1', X'616B60419D568486F9DECD60F0A61742', 1749123481789, '{"n": 1, "it''s":"é"}'),
  (3668177860510470769, 'inbound', 'order.created', 1749123506, '', '', '2', X'80975ACB7E472DA78DCDCDB42A04B928', 1749123506789, '{"n": 2, "it''s":"é"}'),
  (3668177912938797512, 'inbound', 'user.a.b', 1749123531, '', '', '3', X'BB69AE76C60400CDB2BC46A7BD0F5049', 1749123531789, '{"n": 3, "it''s":"é"}'),
  (3668177965367389318, 'inbound', 'order.created', 1749123556, '', '', '4', X'A8373C917BE70956AED59D9E888FDB6E', 1749123556789, '{"n": 4, "it''s":"é"}'),
  (3668178017796900921, 'inbound', 'user.a.b', 1749123581, '', '', '5', X'D523032FABA013092142989CF4C83ABD', 1749123581789, '{"n": 5, "it''s":"é"}');
INSERT INTO dedupe (key, event_id) VALUES
  (X'37FE7B6DD497CFA75A983BE482A7D9C3', 3668177755652841905),
  (X'616B60419D568486F9DECD60F0A61742', 3668177808081802919),
  (X'80975ACB7E472DA78DCDCDB42A04B928', 3668177860510470769),
  (X'A8373C917BE70956AED59D9E888FDB6E', 3668177965367389318),
  (X'BB69AE76C60400CDB2BC46A7BD0F5049', 3668177912938797512),
  (X'D523032FABA013092142989CF4C83ABD', 3668178017796900921);
INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at, finished_at, last_outcome, last_code) VALUES
  (3668177755652841906, 3668177755652841905, 3668177755652841900, 'delivered', 1, 1, NULL, 1749123456791, 'ok', 200),
  (3668177755652841907, 3668177755652841905, 3668177755652841901, 'dead', 2, 2, NULL, 1749123516792, 'http_status', 410),
  (3668177755652841908, 3668177755652841905, 3668177755652841902, 'cancelled', 0, 0, NULL, 1749127056789, NULL, NULL),
  (3668177808081802920, 3668177808081802919, 3668177755652841900, 'pending', 1, 1, 1749123541789, NULL, 'connect', NULL),
  (3668177808081802921, 3668177808081802919, 3668177755652841901, 'dead', 1, 1, NULL, 1749123481796, 'connect', NULL),
  (3668177808081802922, 3668177808081802919, 3668177755652841902, 'cancelled', 1, 1, NULL, 1749127056789, 'interrupted', NULL),
  (3668177860510470770, 3668177860510470769, 3668177755652841900, 'delivered', 1, 1, NULL, 1749123506797, 'ok', 204),
  (3668177860510470771, 3668177860510470769, 3668177755652841901, 'dead', 1, 1, NULL, 1749123506799, 'connect', NULL),
  (3668177860510470772, 3668177860510470769, 3668177755652841902, 'cancelled', 0, 0, NULL, 1749127056789, NULL, NULL),
  (3668177912938797513, 3668177912938797512, 3668177755652841900, 'delivered', 2, 2, NULL, 1749123591799, 'ok', 200),
  (3668177912938797514, 3668177912938797512, 3668177755652841901, 'dead', 1, 1, NULL, 1749123531803, 'tls', NULL),
  (3668177912938797515, 3668177912938797512, 3668177755652841902, 'cancelled', 0, 0, NULL, 1749127056789, NULL, NULL),
  (3668177965367389319, 3668177965367389318, 3668177755652841900, 'pending', 0, 0, 1749123556789, NULL, NULL, NULL),
  (3668177965367389320, 3668177965367389318, 3668177755652841901, 'dead', 1, 1, NULL, 1749123556807, 'tls', NULL),
  (3668177965367389321, 3668177965367389318, 3668177755652841902, 'cancelled', 0, 0, NULL, 1749127056789, NULL, NULL),
  (3668178017796900922, 3668178017796900921, 3668177755652841900, 'pending', 0, 0, 1749123581789, NULL, NULL, NULL),
  (3668178017796900923, 3668178017796900921, 3668177755652841901, 'pending', 0, 0, 1749123581789, NULL, NULL, NULL),
  (3668178017796900924, 3668178017796900921, 3668177755652841902, 'cancelled', 0, 0, NULL, 1749127056789, NULL, NULL);
INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code, error, response_body, remote_addr, request_header, response_header, dns, connect, tls, wait) VALUES
  (3668177755652841906, 1, 1749123456789, 2700, 'ok', 200, NULL, NULL, '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 1000),
  (3668177755652841907, 1, 1749123456789, 3600, 'timeout', NULL, 'no answer within 15s', NULL, NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3668177755652841907, 2, 1749123516789, 3600, 'http_status', 410, NULL, X'6F6F7073FF', '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 1000),
  (3668177808081802920, 1, 1749123481789, 5400, 'connect', NULL, 'dial tcp 192.0.2.7:443: connect: connection refused', NULL, NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3668177808081802921, 1, 1749123481789, 7200, 'connect', NULL, 'dial tcp 192.0.2.7:443: connect: connection refused', NULL, NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3668177808081802922, 1, 1749123481789, 9000, 'interrupted', NULL, 'interrupted', NULL, NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3668177860510470770, 1, 1749123506789, 8100, 'ok', 204, NULL, NULL, '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 1000),
  (3668177860510470771, 1, 1749123506789, 10800, 'connect', NULL, 'dial tcp 192.0.2.9:8443: connect: connection refused', NULL, NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3668177912938797513, 1, 1749123531789, 10800, 'http_status', 503, NULL, X'6F6F7073FF', '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 1000),
  (3668177912938797513, 2, 1749123591789, 10800, 'ok', 200, NULL, NULL, '192.0.2.1:443', 'Content-Type: application/json
X-Key: v
', 'Content-Type: text/plain
', 310, 900, 2000, 1000),
  (3668177912938797514, 1, 1749123531789, 14400, 'tls', NULL, 'tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2025-06-05T11:37:36Z is after 2025-06-01T00:00:00Z', NULL, NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL),
  (3668177965367389320, 1, 1749123556789, 18000, 'tls', NULL, 'tls: failed to verify certificate: x509: certificate signed by unknown authority', NULL, NULL, 'Content-Type: application/json
X-Key: v
', NULL, NULL, NULL, NULL, NULL);
INSERT INTO tokens (id, name, role, hash, created_at, revoked_at) VALUES
  (3668177755652841903, 'ci', 'operator', X'1B158839F8AA339E89BB50B1603E90EC68E0FD5565FE10A7CB32729FDDF7070A', 1749123456789, NULL),
  (3668177755652841904, 'screen', 'viewer', X'4CD6C2914887DD4A68E4C9FFBED8B077F048CF795D6CFA0B801D43E0EA5A1560', 1749123456789, 1749127056789);
INSERT INTO rejections (id, refused_at, bytes, source, status, code, message, failed_check, rule, peer, client, client_key, asn, organisation, skew, expected, diagnosis, event_type, sender_key, method, path, header, body_size, body_digest, unkept) VALUES
  (3668178017796900925, 1749123456789, 251, 'inbound', 401, 'invalid_signature', 'the signature does not match', 'signature', '', '127.0.0.1', '192.0.2.44', X'C000022C', 0, '', -7, '', '', '', '', 'POST', '/webhook/inbound', 'X-Agent-Signature: ***
', 12, '', 0);
INSERT INTO tallies (state, subscriber_id, outcome, code, count) VALUES
  ('cancelled', 0, '', 0, 6),
  ('cancelled', 3668177755652841902, '', 0, 6),
  ('dead', 0, 'connect', 0, 2),
  ('dead', 0, 'http_status', 410, 1),
  ('dead', 0, 'tls', 0, 2),
  ('dead', 3668177755652841901, 'connect', 0, 2),
  ('dead', 3668177755652841901, 'http_status', 410, 1),
  ('dead', 3668177755652841901, 'tls', 0, 2),
  ('delivered', 0, '', 0, 3),
  ('delivered', 3668177755652841900, '', 0, 3),
  ('pending', 0, '', 0, 3),
  ('pending', 0, 'connect', 0, 1),
  ('pending', 0, 'http_status', 503, 0),
  ('pending', 0, 'interrupted', 0, 0),
  ('pending', 0, 'timeout', 0, 0),
  ('pending', 3668177755652841900, '', 0, 2),
  ('pending', 3668177755652841900, 'connect', 0, 1),
  ('pending', 3668177755652841900, 'http_status', 503, 0),
  ('pending', 3668177755652841901, '', 0, 1),
  ('pending', 3668177755652841901, 'timeout', 0, 0),
  ('pending', 3668177755652841902, '', 0, 0),
  ('pending', 3668177755652841902, 'interrupted', 0, 0);
INSERT INTO counters (name, value) VALUES
  ('attempts', 12),
  ('events', 6),
  ('rejected', 1),
  ('rejection_bytes', 251),
  ('rejections', 1);
INSERT INTO rollups (minute, subscriber_id, events, attempts, failed, delivered, dead, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, last_at, last_outcome, last_code) VALUES
  (29152057, 0, 1, 2, 1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123456792, 'timeout', 0),
  (29152057, 3668177755652841900, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123456791, 'ok', 200),
  (29152057, 3668177755652841901, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123456792, 'timeout', 0),
  (29152058, 0, 3, 8, 6, 1, 4, 0, 0, 1, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123531803, 'tls', 0),
  (29152058, 3668177755652841900, 0, 3, 2, 1, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123531799, 'http_status', 503),
  (29152058, 3668177755652841901, 0, 4, 4, 0, 4, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123531803, 'tls', 0),
  (29152058, 3668177755652841902, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123481798, 'interrupted', 0),
  (29152059, 0, 2, 2, 1, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123591799, 'ok', 200),
  (29152059, 3668177755652841900, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123591799, 'ok', 200),
  (29152059, 3668177755652841901, 0, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1749123556807, 'tls', 0);
