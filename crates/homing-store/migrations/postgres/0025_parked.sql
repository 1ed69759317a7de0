-- Parked deliveries, one row each; an event that was parked before its fan-out is one row, too.
CREATE TABLE homing.parked (
    -- Sorts by the time of parking: 6 bytes of milliseconds, 8 random bytes of the message, 2 bytes that number the deliveries of
    -- the message. So the rows of a message are neighbours.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    event text COLLATE "C" NOT NULL,
    topic text COLLATE "C",
    subscription bytea CHECK (length(subscription) = 16),
    delivery bytea CHECK (length(delivery) = 16),
    -- That of the subscription when it was parked.
    url text COLLATE "C",
    reason text COLLATE "C" NOT NULL,
    -- The HTTP status of the last attempt.
    status bigint,
    attempts bigint NOT NULL,
    replays bigint NOT NULL,
    parked_ms bigint,
    received_ms bigint,
    first_failure_ms bigint,
    last_outcome text COLLATE "C",
    content_type text COLLATE "C" NOT NULL,
    content_encoding text COLLATE "C",
    body_bytes bigint NOT NULL,
    -- Another process acts on it until then.
    claimed_until_ms bigint NOT NULL DEFAULT 0,
    CHECK ((delivery IS NULL) = (subscription IS NULL))
) WITH (fillfactor = 90);

CREATE INDEX parked_by_event ON homing.parked (event, id);
CREATE INDEX parked_by_delivery ON homing.parked (delivery, id);
CREATE INDEX parked_by_subscription ON homing.parked (subscription, id);
CREATE INDEX parked_by_url ON homing.parked (url, id);
CREATE INDEX parked_by_topic ON homing.parked (topic, id);
CREATE INDEX parked_by_reason ON homing.parked (reason, id);
CREATE INDEX parked_by_status ON homing.parked (status, id);
CREATE INDEX parked_by_last_outcome ON homing.parked (last_outcome, id);

-- The messages, as they came: compressed, then encrypted.
CREATE TABLE homing.parked_messages (
    -- The id of its first delivery.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    bytes bigint NOT NULL,
    -- The key that encrypts it.
    key_id text COLLATE "C" NOT NULL,
    payload bytea NOT NULL
);

CREATE INDEX parked_messages_by_key ON homing.parked_messages (key_id, id);

-- Messages that were written and may still be in the queue that they came from: one that comes again is known by its digest.
CREATE TABLE homing.parked_unacked (
    -- The id of the message.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    queue text COLLATE "C" NOT NULL,
    -- SHA-256 of the message.
    digest bytea NOT NULL CHECK (length(digest) = 32)
);

-- How much there is: it is never counted.
CREATE TABLE homing.parked_totals (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    deliveries bigint NOT NULL CHECK (deliveries >= 0),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    -- The bound that kept out the last batch: rows or bytes.
    reached text,
    -- Messages that were refused and are still in their queue.
    refused bigint NOT NULL DEFAULT 0 CHECK (refused >= 0)
) WITH (fillfactor = 10);

INSERT INTO homing.parked_totals (id, deliveries, bytes) VALUES (1, 0, 0);
