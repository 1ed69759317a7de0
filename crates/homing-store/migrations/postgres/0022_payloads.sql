-- What attempts sent and received, compressed, then encrypted: all but the bodies that were sent.
CREATE TABLE homing.payloads (
    -- The id of the attempt's record.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- The body that it sent.
    body bytea NOT NULL CHECK (length(body) = 16),
    bytes bigint NOT NULL,
    -- The key that encrypts it.
    key_id text NOT NULL,
    content bytea NOT NULL
);

-- Bodies that were sent, each once.
CREATE TABLE homing.payload_bodies (
    -- A digest of the body by the primary key of that time.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- The attempts with which it was written, and the last one that sent it: it goes with that.
    first_attempt bytea NOT NULL CHECK (length(first_attempt) = 16),
    last_attempt bytea NOT NULL CHECK (length(last_attempt) = 16),
    bytes bigint NOT NULL,
    key_id text NOT NULL,
    content bytea NOT NULL
);

CREATE INDEX payload_bodies_by_last ON homing.payload_bodies (last_attempt);

-- How much there is: it is never counted.
CREATE TABLE homing.payload_totals (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    payloads bigint NOT NULL,
    bytes bigint NOT NULL
) WITH (fillfactor = 10);

INSERT INTO homing.payload_totals (id, payloads, bytes) VALUES (1, 0, 0);

-- Whether the attempt's payload was kept (1) or given up (2); 0: none was wanted.
ALTER TABLE homing.attempts ADD COLUMN payload bigint NOT NULL DEFAULT 0 CHECK (payload IN (0, 1, 2));
