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
    -- The number of the transaction that added it: an action takes none that was added after it began.
    added bigint NOT NULL,
    -- An action has it until then, by the clock of the database.
    claimed_until_ms bigint NOT NULL DEFAULT 0,
    -- The action that claimed it last.
    claimed_by bytea CHECK (length(claimed_by) = 16),
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
    -- The key that encrypts it: no version of homing can forget it meanwhile.
    key_id text COLLATE "C" NOT NULL REFERENCES homing.encryption_keys (id),
    payload bytea NOT NULL
);

CREATE INDEX parked_messages_by_key ON homing.parked_messages (key_id, id);

-- Messages that were added and may still be in the queue that they came from.
CREATE TABLE homing.parked_unacked (
    -- That of the message when it came last.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    queue text COLLATE "C" NOT NULL,
    -- The batch in which it came last.
    intake bytea NOT NULL CHECK (length(intake) = 16),
    batch bigint NOT NULL,
    -- SHA-256 of the message; NULL: it is not known when it comes again.
    digest bytea CHECK (length(digest) = 32),
    noted_ms bigint NOT NULL
);

CREATE INDEX parked_unacked_by_digest ON homing.parked_unacked (digest, queue);
CREATE INDEX parked_unacked_by_batch ON homing.parked_unacked (intake, batch);
CREATE INDEX parked_unacked_by_age ON homing.parked_unacked (noted_ms);

-- Messages that a keeper could not add, and that are still in their queue.
CREATE TABLE homing.parked_refused (
    keeper bytea NOT NULL PRIMARY KEY CHECK (length(keeper) = 16),
    messages bigint NOT NULL CHECK (messages > 0),
    noted_ms bigint NOT NULL
);

-- How much there is: it is never counted.
CREATE TABLE homing.parked_totals (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    deliveries bigint NOT NULL CHECK (deliveries >= 0),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    -- The bound that kept out the last batch: rows or bytes.
    reached text,
    -- Transactions that added something; it only grows.
    added bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

INSERT INTO homing.parked_totals (id, deliveries, bytes) VALUES (1, 0, 0);
