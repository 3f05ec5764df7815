-- Version 3 keeps what was refused.

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
