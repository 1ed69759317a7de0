-- Parked deliveries, one row each; an event that was parked before its fan-out is one row, too.
CREATE TABLE parked (
    -- Sorts by the time of parking: 6 bytes of milliseconds, 8 random bytes of the message, 2 bytes that number the deliveries of
    -- the message. So the rows of a message are neighbours.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    event TEXT NOT NULL,
    topic TEXT,
    subscription BLOB CHECK (length(subscription) = 16),
    delivery BLOB CHECK (length(delivery) = 16 AND (delivery IS NULL) = (subscription IS NULL)),
    -- That of the subscription when it was parked.
    url TEXT,
    reason TEXT NOT NULL,
    -- The HTTP status of the last attempt.
    status INTEGER,
    attempts INTEGER NOT NULL,
    replays INTEGER NOT NULL,
    parked_ms INTEGER,
    received_ms INTEGER,
    first_failure_ms INTEGER,
    last_outcome TEXT,
    content_type TEXT NOT NULL,
    content_encoding TEXT,
    body_bytes INTEGER NOT NULL,
    -- The number of the transaction that added it: an action takes none that was added after it began.
    added INTEGER NOT NULL,
    -- An action has it until then, by the clock of the database.
    claimed_until_ms INTEGER NOT NULL DEFAULT 0,
    -- The action that claimed it last.
    claimed_by BLOB CHECK (length(claimed_by) = 16)
) STRICT;

CREATE INDEX parked_by_event ON parked (event, id);
CREATE INDEX parked_by_delivery ON parked (delivery, id);
CREATE INDEX parked_by_subscription ON parked (subscription, id);
CREATE INDEX parked_by_url ON parked (url, id);
CREATE INDEX parked_by_topic ON parked (topic, id);
CREATE INDEX parked_by_reason ON parked (reason, id);
CREATE INDEX parked_by_status ON parked (status, id);
CREATE INDEX parked_by_last_outcome ON parked (last_outcome, id);

-- The messages, as they came: compressed, then encrypted.
CREATE TABLE parked_messages (
    -- The id of its first delivery.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    bytes INTEGER NOT NULL,
    -- The key that encrypts it: no version of homing can forget it meanwhile.
    key_id TEXT NOT NULL REFERENCES encryption_keys (id),
    payload BLOB NOT NULL
) STRICT;

CREATE INDEX parked_messages_by_key ON parked_messages (key_id, id);

-- Messages that were added and may still be in the queue that they came from.
CREATE TABLE parked_unacked (
    -- That of the message when it came last.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    queue TEXT NOT NULL,
    -- The batch in which it came last.
    intake BLOB NOT NULL CHECK (length(intake) = 16),
    batch INTEGER NOT NULL,
    -- SHA-256 of the message; NULL: it is not known when it comes again.
    digest BLOB CHECK (length(digest) = 32),
    noted_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX parked_unacked_by_digest ON parked_unacked (digest, queue);
CREATE INDEX parked_unacked_by_batch ON parked_unacked (intake, batch);
CREATE INDEX parked_unacked_by_age ON parked_unacked (noted_ms);

-- Messages that a keeper could not add, and that are still in their queue.
CREATE TABLE parked_refused (
    keeper BLOB NOT NULL PRIMARY KEY CHECK (length(keeper) = 16),
    messages INTEGER NOT NULL CHECK (messages > 0),
    noted_ms INTEGER NOT NULL
) STRICT;

-- How much there is: it is never counted.
CREATE TABLE parked_totals (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    deliveries INTEGER NOT NULL CHECK (deliveries >= 0),
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    -- The bound that kept out the last batch: rows or bytes.
    reached TEXT,
    -- Transactions that added something; it only grows.
    added INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO parked_totals (id, deliveries, bytes) VALUES (1, 0, 0);
