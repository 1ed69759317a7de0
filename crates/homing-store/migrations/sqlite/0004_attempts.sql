-- The attempt log: one row for each attempt, and for each time that a delivery was held or parked without one. UUIDs are
-- 16 bytes here: there may be a million rows.
CREATE TABLE attempts (
    -- A UUIDv7 of the instant at which it began: ids sort by time, and a row that is written twice is kept once.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    event TEXT NOT NULL,
    topic TEXT NOT NULL,
    subscription BLOB CHECK (length(subscription) = 16),
    delivery BLOB CHECK (length(delivery) = 16 AND (delivery IS NULL) = (subscription IS NULL)),
    url TEXT,
    step INTEGER NOT NULL,
    replays INTEGER NOT NULL,
    class TEXT NOT NULL CHECK (class IN ('accepted', 'refused', 'timed_out', 'unreachable', 'not_attempted')),
    attempt INTEGER CHECK ((attempt IS NULL) = (class = 'not_attempted')),
    duration_ms INTEGER CHECK ((duration_ms IS NULL) = (attempt IS NULL)),
    outcome TEXT CHECK ((outcome IS NULL) = (attempt IS NULL)),
    status INTEGER,
    -- The beginning of the response's body, and whether there was more.
    response BLOB,
    cut INTEGER NOT NULL CHECK (cut IN (0, 1)),
    -- Why there was no attempt, or no complete answer.
    cause TEXT,
    sequel TEXT NOT NULL CHECK (sequel IN ('delivered', 'waits', 'parked')),
    due_ms INTEGER CHECK ((due_ms IS NOT NULL) = (sequel = 'waits')),
    reason TEXT CHECK ((reason IS NOT NULL) = (sequel = 'parked'))
) STRICT;

-- The one index whose entries come in no order; a second one, by delivery, would double what is written.
CREATE INDEX attempts_by_event ON attempts (event);
CREATE INDEX attempts_by_subscription ON attempts (subscription, id);
CREATE INDEX attempts_by_url ON attempts (url, id);
-- Costs nothing as long as all is well.
CREATE INDEX attempts_that_failed ON attempts (id, class, status) WHERE class <> 'accepted';

-- What the log has lost: so many rows of what began between these instants.
CREATE TABLE attempt_gaps (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL CHECK (until_ms >= from_ms),
    missed INTEGER NOT NULL CHECK (missed > 0)
) STRICT;

-- How many rows the log has: it is never counted.
CREATE TABLE attempt_rows (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL CHECK (count >= 0)
) STRICT;

INSERT INTO attempt_rows (id, count) VALUES (1, 0);
