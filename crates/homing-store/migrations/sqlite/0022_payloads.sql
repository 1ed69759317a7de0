-- What attempts sent and received, compressed, then encrypted: all but the bodies that were sent.
CREATE TABLE payloads (
    -- The id of the attempt's record.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- The body that it sent.
    body BLOB NOT NULL CHECK (length(body) = 16),
    bytes INTEGER NOT NULL,
    -- The key that encrypts it.
    key_id TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT;

-- Bodies that were sent, each once.
CREATE TABLE payload_bodies (
    -- A digest of the body by the primary key of that time.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- The attempts with which it was written, and the last one that sent it: it goes with that.
    first_attempt BLOB NOT NULL CHECK (length(first_attempt) = 16),
    last_attempt BLOB NOT NULL CHECK (length(last_attempt) = 16),
    bytes INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT;

CREATE INDEX payload_bodies_by_last ON payload_bodies (last_attempt);

-- How much there is: it is never counted.
CREATE TABLE payload_totals (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    payloads INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

INSERT INTO payload_totals (id, payloads, bytes) VALUES (1, 0, 0);

-- Whether the attempt's payload was kept (1) or given up (2); 0: none was wanted.
ALTER TABLE attempts ADD COLUMN payload INTEGER NOT NULL DEFAULT 0 CHECK (payload IN (0, 1, 2));
