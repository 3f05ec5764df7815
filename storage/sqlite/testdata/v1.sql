-- A file of version 1 as text: its schema, and what a small installation had
-- in it. It is frozen: that version is released.

PRAGMA application_id = 1347310668; -- "PNTL"
PRAGMA user_version = 1;

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
  updated_at    INTEGER NOT NULL
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

-- The next deliveries of one subscriber, in the order in which they fall due.
CREATE INDEX deliveries_due ON deliveries (subscriber_id, next_attempt_at) WHERE state = 'pending';
-- The deliveries of one event.
CREATE INDEX deliveries_by_event ON deliveries (event_id);
-- The deliveries of one subscriber, by age.
CREATE INDEX deliveries_by_subscriber ON deliveries (subscriber_id);
-- The dead letters, by age.
CREATE INDEX deliveries_dead ON deliveries (state) WHERE state = 'dead';

-- One HTTP try of a delivery.
CREATE TABLE attempts (
  delivery_id   INTEGER NOT NULL REFERENCES deliveries (id),
  number        INTEGER NOT NULL,                -- counts from 1
  started_at    INTEGER NOT NULL,
  duration      INTEGER NOT NULL,                -- microseconds
  outcome       TEXT    NOT NULL,                -- ok, http_status, timeout, …
  code          INTEGER,                         -- HTTP status; NULL without an answer
  error         TEXT,                            -- what went wrong; NULL if nothing did
  response_body BLOB,                            -- the beginning of the answer; NULL if it was empty
  PRIMARY KEY (delivery_id, number)
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
  a.started_at                                               AS created_at
FROM attempts a
JOIN deliveries d ON d.id = a.delivery_id
JOIN events e ON e.id = d.event_id
JOIN settings i ON i.name = 'installation';

INSERT INTO settings (name, value) VALUES
  ('inbound_secret', 'whsec_aW5ib3VuZA=='),
  ('installation', 'd2102ab2e7');
INSERT INTO webhook_subscribers (number, id, client_id, url, secret, events, active, paused_reason, description, headers, timeout, concurrency, schedule, final_on_4xx, created_at, updated_at) VALUES
  (3631433252073778154, 'sub_3265714d77662bead2102ab2e7', '', 'https://example.com/hook', 'whsec_c2VjcmV0', '["order.*","user.**"]', 1, '', '', '{"X-Key":"v"}', 0, 0, '[1000,60000]', 0, 1731602312123, 1731602312123),
  (3631433252073778155, 'sub_3265714d77662bebd2102ab2e7', 'acme', 'https://example.com/hook', 'whsec_c2VjcmV0', '["order.*","user.**"]', 1, '', '', '{"X-Key":"v"}', 0, 0, '[1000,60000]', 0, 1731602312123, 1731602312123);
INSERT INTO events (id, source, type, timestamp, client_id, agent_id, sender_key, dedupe_key, received_at, data) VALUES
  (3631433252073778157, 'inbound', 'order.created', 1731602312, '', '', '0', X'37FE7B6DD497CFA75A983BE482A7D9C3', 1731602312123, '{"n": 0, "it''s":"é"}'),
  (3631433304502473322, 'inbound', 'user.a.b', 1731602337, '', '', '1', X'616B60419D568486F9DECD60F0A61742', 1731602337123, '{"n": 1, "it''s":"é"}'),
  (3631433356931968712, 'inbound', 'order.created', 1731602362, '', '', '2', X'80975ACB7E472DA78DCDCDB42A04B928', 1731602362123, '{"n": 2, "it''s":"é"}'),
  (3631433409359808502, 'inbound', 'user.a.b', 1731602387, '', '', '3', X'BB69AE76C60400CDB2BC46A7BD0F5049', 1731602387123, '{"n": 3, "it''s":"é"}'),
  (3631433461789183644, 'inbound', 'order.created', 1731602412, '', '', '4', X'A8373C917BE70956AED59D9E888FDB6E', 1731602412123, '{"n": 4, "it''s":"é"}'),
  (3631433514217556024, 'inbound', 'user.a.b', 1731602437, '', '', '5', X'D523032FABA013092142989CF4C83ABD', 1731602437123, '{"n": 5, "it''s":"é"}'),
  (3631433566646278344, 'inbound', 'order.created', 1731602462, '', '', '6', X'CDC458D2A994B1B3103C72BEEC6F5CEE', 1731602462123, '{"n": 6, "it''s":"é"}'),
  (3631433619075847093, 'inbound', 'user.a.b', 1731602487, '', '', '7', X'C01C8372EA8E23EF797B0623CD2C79B6', 1731602487123, '{"n": 7, "it''s":"é"}');
INSERT INTO dedupe (key, event_id) VALUES
  (X'37FE7B6DD497CFA75A983BE482A7D9C3', 3631433252073778157),
  (X'616B60419D568486F9DECD60F0A61742', 3631433304502473322),
  (X'80975ACB7E472DA78DCDCDB42A04B928', 3631433356931968712),
  (X'A8373C917BE70956AED59D9E888FDB6E', 3631433461789183644),
  (X'BB69AE76C60400CDB2BC46A7BD0F5049', 3631433409359808502),
  (X'C01C8372EA8E23EF797B0623CD2C79B6', 3631433619075847093),
  (X'CDC458D2A994B1B3103C72BEEC6F5CEE', 3631433566646278344),
  (X'D523032FABA013092142989CF4C83ABD', 3631433514217556024);
INSERT INTO deliveries (id, event_id, subscriber_id, state, attempts, spent, next_attempt_at, finished_at, last_outcome, last_code) VALUES
  (3631433252073778158, 3631433252073778157, 3631433252073778154, 'delivered', 1, 1, NULL, 1731602312123, 'ok', 200),
  (3631433252073778159, 3631433252073778157, 3631433252073778155, 'dead', 2, 2, NULL, 1731602372135, 'http_status', 410),
  (3631433252073778160, 3631433252073778157, 3631433252073778156, 'cancelled', 0, 0, NULL, 1731605912123, NULL, NULL),
  (3631433304502473323, 3631433304502473322, 3631433252073778154, 'dead', 1, 1, NULL, 1731602337123, 'connect', NULL),
  (3631433304502473324, 3631433304502473322, 3631433252073778155, 'pending', 1, 1, 1731602397123, NULL, 'http_status', 503),
  (3631433304502473325, 3631433304502473322, 3631433252073778156, 'cancelled', 1, 1, NULL, 1731605912123, 'interrupted', NULL),
  (3631433356931968713, 3631433356931968712, 3631433252073778154, 'delivered', 1, 1, NULL, 1731602362168, 'ok', 204),
  (3631433356931968714, 3631433356931968712, 3631433252073778155, 'pending', 0, 0, 1731602362123, NULL, NULL, NULL),
  (3631433356931968715, 3631433356931968712, 3631433252073778156, 'delivered', 1, 1, NULL, 1731602362131, 'ok', 200),
  (3631433409359808503, 3631433409359808502, 3631433252073778154, 'delivered', 2, 2, NULL, 1731602447456, 'ok', 200),
  (3631433409359808504, 3631433409359808502, 3631433252073778155, 'pending', 0, 0, 1731602387123, NULL, NULL, NULL),
  (3631433409359808505, 3631433409359808502, 3631433252073778156, 'cancelled', 0, 0, NULL, 1731605912123, NULL, NULL),
  (3631433461789183645, 3631433461789183644, 3631433252073778154, 'pending', 0, 0, 1731602412123, NULL, NULL, NULL),
  (3631433461789183646, 3631433461789183644, 3631433252073778155, 'pending', 0, 0, 1731602412123, NULL, NULL, NULL),
  (3631433461789183647, 3631433461789183644, 3631433252073778156, 'cancelled', 0, 0, NULL, 1731605912123, NULL, NULL),
  (3631433514217556025, 3631433514217556024, 3631433252073778154, 'pending', 0, 0, 1731602437123, NULL, NULL, NULL),
  (3631433514217556026, 3631433514217556024, 3631433252073778155, 'pending', 0, 0, 1731602437123, NULL, NULL, NULL),
  (3631433514217556027, 3631433514217556024, 3631433252073778156, 'cancelled', 0, 0, NULL, 1731605912123, NULL, NULL),
  (3631433566646278345, 3631433566646278344, 3631433252073778154, 'pending', 0, 0, 1731602462123, NULL, NULL, NULL),
  (3631433566646278346, 3631433566646278344, 3631433252073778155, 'pending', 0, 0, 1731602462123, NULL, NULL, NULL),
  (3631433566646278347, 3631433566646278344, 3631433252073778156, 'cancelled', 0, 0, NULL, 1731605912123, NULL, NULL),
  (3631433619075847094, 3631433619075847093, 3631433252073778154, 'pending', 0, 0, 1731602487123, NULL, NULL, NULL),
  (3631433619075847095, 3631433619075847093, 3631433252073778155, 'pending', 0, 0, 1731602487123, NULL, NULL, NULL),
  (3631433619075847096, 3631433619075847093, 3631433252073778156, 'cancelled', 0, 0, NULL, 1731605912123, NULL, NULL);
INSERT INTO attempts (delivery_id, number, started_at, duration, outcome, code, error, response_body) VALUES
  (3631433252073778158, 1, 1731602312123, 900, 'ok', 200, NULL, NULL),
  (3631433252073778159, 1, 1731602312123, 5000000, 'timeout', NULL, 'timed out', X'74696D6564206F7574'),
  (3631433252073778159, 2, 1731602372123, 12000, 'http_status', 410, 'gone', X'676F6E65'),
  (3631433304502473323, 1, 1731602337123, 300, 'connect', NULL, 'refused', X'72656675736564'),
  (3631433304502473324, 1, 1731602337123, 70000000, 'http_status', 503, 'busy', X'62757379'),
  (3631433304502473325, 1, 1731602337123, 1500000, 'interrupted', NULL, 'stopped', X'73746F70706564'),
  (3631433356931968713, 1, 1731602362123, 45000, 'ok', 204, NULL, NULL),
  (3631433356931968715, 1, 1731602362123, 8000, 'ok', 200, NULL, NULL),
  (3631433409359808503, 1, 1731602387123, 150000, 'http_status', 503, 'busy', X'62757379'),
  (3631433409359808503, 2, 1731602447123, 333000, 'ok', 200, NULL, NULL);
