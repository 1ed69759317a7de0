-- Workers as they told of themselves last; one that stops politely takes its row away.
CREATE TABLE workers (
    -- A UUID made at its start.
    id TEXT NOT NULL PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    in_flight INTEGER NOT NULL CHECK (in_flight >= 0)
) STRICT, WITHOUT ROWID;

-- What each worker did in each of the last minutes. A row is written as a whole, so that writing it twice counts once.
CREATE TABLE worker_minutes (
    start_ms INTEGER NOT NULL,
    worker TEXT NOT NULL,
    events INTEGER NOT NULL CHECK (events >= 0),
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0),
    timed_out INTEGER NOT NULL CHECK (timed_out >= 0),
    unreachable INTEGER NOT NULL CHECK (unreachable >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    parked INTEGER NOT NULL CHECK (parked >= 0),
    PRIMARY KEY (start_ms, worker)
) STRICT, WITHOUT ROWID;

-- When something that waits comes due: one of each slice of time, so that a wait has few rows.
CREATE TABLE dues (
    wait_ms INTEGER NOT NULL CHECK (wait_ms > 0),
    slice INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    PRIMARY KEY (wait_ms, slice)
) STRICT, WITHOUT ROWID;

-- A page about an endpoint names the subscriptions that go there.
CREATE INDEX subscriptions_by_url ON subscriptions (url, id);
