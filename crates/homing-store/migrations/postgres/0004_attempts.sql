-- The attempt log: one row for each attempt, and for each time that a delivery was held or parked without one. UUIDs are
-- 16 bytes here: there may be a million rows.
CREATE TABLE homing.attempts (
    -- A UUIDv7 of the instant at which it began: ids sort by time, and a row that is written twice is kept once.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    event text NOT NULL,
    topic text NOT NULL,
    subscription bytea CHECK (length(subscription) = 16),
    delivery bytea CHECK (length(delivery) = 16),
    url text,
    step bigint NOT NULL,
    replays bigint NOT NULL,
    class text NOT NULL CHECK (class IN ('accepted', 'refused', 'timed_out', 'unreachable', 'not_attempted')),
    attempt bigint CHECK ((attempt IS NULL) = (class = 'not_attempted')),
    duration_ms bigint CHECK ((duration_ms IS NULL) = (attempt IS NULL)),
    outcome text CHECK ((outcome IS NULL) = (attempt IS NULL)),
    status bigint,
    -- The beginning of the response's body, and whether there was more.
    response bytea,
    cut bigint NOT NULL CHECK (cut IN (0, 1)),
    -- Why there was no attempt, or no complete answer.
    cause text,
    sequel text NOT NULL CHECK (sequel IN ('delivered', 'waits', 'parked')),
    due_ms bigint CHECK ((due_ms IS NOT NULL) = (sequel = 'waits')),
    reason text CHECK ((reason IS NOT NULL) = (sequel = 'parked')),
    CHECK ((delivery IS NULL) = (subscription IS NULL))
);

-- The one index whose entries come in no order; a second one, by delivery, would double what is written.
CREATE INDEX attempts_by_event ON homing.attempts (event);
CREATE INDEX attempts_by_subscription ON homing.attempts (subscription, id);
CREATE INDEX attempts_by_url ON homing.attempts (url, id);
-- Costs nothing as long as all is well.
CREATE INDEX attempts_that_failed ON homing.attempts (id, class, status) WHERE class <> 'accepted';

-- What the log has lost: so many rows of what began between these instants.
CREATE TABLE homing.attempt_gaps (
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    from_ms bigint NOT NULL,
    until_ms bigint NOT NULL CHECK (until_ms >= from_ms),
    missed bigint NOT NULL CHECK (missed > 0)
);

-- How many rows the log has: it is never counted. The one row is locked by whoever changes that number.
CREATE TABLE homing.attempt_rows (
    id bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    count bigint NOT NULL CHECK (count >= 0)
) WITH (fillfactor = 10);

INSERT INTO homing.attempt_rows (id, count) VALUES (1, 0);
