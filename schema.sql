-- The newest schema of a Pintle database.
--
-- A new file is made from this page; a file of an older version is brought here
-- by the migrations in storage/sqlite. Times are integer Unix milliseconds.
-- Numbers named id are sequence numbers that grow with time; the ids that
-- people see are a prefix, the number in sixteen hexadecimal digits, and the
-- number of the installation: see the views at the end.
--
-- Two names are for everybody to read with plain SQL, whatever stands behind
-- them: webhook_subscribers and webhook_logs.

PRAGMA application_id = 1347310668; -- "PNTL"
PRAGMA user_version = 4;

-- What the appliance keeps for itself.
--   installation    the ten hexadecimal digits that end every id
--   inbound_secret  the secret made at first start
--   acme:…          account, keys and certificates that were got by ACME
--   seal_check      a text that is sealed, if secrets are: every setting but
--                   installation, and what is marked so in webhook_subscribers
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
  secret        TEXT    NOT NULL,                -- secret
  events        TEXT    NOT NULL CHECK (json_type(events) = 'array'),   -- patterns
  active        INTEGER NOT NULL CHECK (active IN (0, 1)),              -- 0: paused, deliveries wait
  paused_reason TEXT    NOT NULL,                -- '' while active
  description   TEXT    NOT NULL,
  headers       TEXT    NOT NULL CHECK (json_type(headers) = 'object'), -- name to value; the values are secret
  timeout       INTEGER NOT NULL,                -- milliseconds; 0: outbound.timeout
  concurrency   INTEGER NOT NULL,                -- requests in flight; 0: outbound.concurrency
  schedule      TEXT    NOT NULL CHECK (json_type(schedule) = 'array'), -- milliseconds; []: outbound.schedule
  final_on_4xx  INTEGER NOT NULL CHECK (final_on_4xx IN (0, 1)),
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  old_secrets   TEXT    NOT NULL DEFAULT '[]' CHECK (json_type(old_secrets) = 'array'), -- {"secret","until"}, the newest first; secret is secret
  rate_limit    REAL    NOT NULL DEFAULT 0,      -- requests per second; 0: no bound
  scheme        TEXT    NOT NULL DEFAULT 'plain' CHECK (scheme IN ('plain', 'stripe')), -- of X-Agent-Signature
  filter        TEXT    NOT NULL DEFAULT '',     -- jq; '': all events of its types
  transform     TEXT    NOT NULL DEFAULT '',     -- jq; '': the body is sent as it is
  ordered       TEXT    NOT NULL DEFAULT '',     -- jq path of the key, or true; '': in no order
  on_dead       TEXT    NOT NULL DEFAULT 'block' CHECK (on_dead IN ('block', 'skip')), -- what a dead letter does to the later ones of its key
  basic_username TEXT   NOT NULL DEFAULT '',     -- of HTTP basic authentication; '': none
  basic_password TEXT   NOT NULL DEFAULT '',     -- secret
  oauth2        TEXT    NOT NULL DEFAULT '{}' CHECK (json_type(oauth2) = 'object'), -- {"token_url","client_id","client_secret","scopes","audience"}, or {}; client_secret is secret
  tls_cert      TEXT    NOT NULL DEFAULT '',     -- client certificates, PEM; '': none
  tls_key       TEXT    NOT NULL DEFAULT '',     -- PEM; secret
  tls_ca        TEXT    NOT NULL DEFAULT '',     -- authorities of the receiver, PEM; '': those of the system
  hold          INTEGER NOT NULL DEFAULT 1 CHECK (hold IN (0, 1)),             -- 1: an outage holds its deliveries
  auto_pause    INTEGER NOT NULL DEFAULT 1 CHECK (auto_pause IN (0, 1)),       -- 1: an outage that lasts pauses it
  failing_since INTEGER                          -- when the present outage began; NULL without one
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
-- rows come in random order, and filled in the order of the keys, many at once: see
-- the counter filed. The keys of later events may be in events alone as yet, and those
-- of events that are gone stay until there are many: they count for nothing.
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
  order_key       TEXT,                          -- events of one key go in order; '': in none; NULL: likewise, as the subscriber had no order
  unjudged        INTEGER NOT NULL DEFAULT 0 CHECK (unjudged IN (0, 1)), -- 1: the filter has not been asked yet
  fingerprint     TEXT,                          -- of the last error of a dead letter; NULL if it has none
  CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
  CHECK ((state = 'pending') = (finished_at IS NULL))
) STRICT;

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
-- The deliveries of one event, by age; and how many of them are in each state.
CREATE INDEX deliveries_by_event ON deliveries (event_id);
-- The deliveries of one subscriber, by age.
CREATE INDEX deliveries_by_subscriber ON deliveries (subscriber_id);
-- The dead letters, by age.
CREATE INDEX deliveries_dead ON deliveries (state) WHERE state = 'dead';
-- The oldest and the newest dead letter of one subscriber and cause; and the
-- list of a subscriber's, while they are few enough to be sorted.
CREATE INDEX deliveries_dead_by_cause ON deliveries (subscriber_id, last_outcome, last_code, fingerprint) WHERE state = 'dead';

-- The bodies that transforms made. Where a delivery has one, its attempts send
-- it in place of what its event says.
CREATE TABLE bodies (
  delivery_id INTEGER PRIMARY KEY REFERENCES deliveries (id),
  body        TEXT NOT NULL
) STRICT;

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
  fingerprint   TEXT    NOT NULL DEFAULT '',     -- that of the delivery if dead, else ''
  count         INTEGER NOT NULL,
  PRIMARY KEY (state, subscriber_id, outcome, code, fingerprint)
) STRICT, WITHOUT ROWID;

-- How many there have been since the file was made, and how many there are.
--   events, attempts, rejected   since then
--   rejections, rejection_bytes  now, in the table rejections
--   filed                        counts nothing: the id of an event up to which the
--                                keys of all are in dedupe; no row: they are of all
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
