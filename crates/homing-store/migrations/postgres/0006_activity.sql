-- Workers as they told of themselves last; one that stops politely takes its row away.
CREATE TABLE homing.workers (
    -- A UUID made at its start.
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    started_ms bigint NOT NULL,
    seen_ms bigint NOT NULL,
    in_flight bigint NOT NULL CHECK (in_flight >= 0)
);

-- What each worker did in each of the last minutes. A row is written as a whole, so that writing it twice counts once.
CREATE TABLE homing.worker_minutes (
    start_ms bigint NOT NULL,
    worker text COLLATE "C" NOT NULL,
    events bigint NOT NULL CHECK (events >= 0),
    accepted bigint NOT NULL CHECK (accepted >= 0),
    refused bigint NOT NULL CHECK (refused >= 0),
    timed_out bigint NOT NULL CHECK (timed_out >= 0),
    unreachable bigint NOT NULL CHECK (unreachable >= 0),
    held bigint NOT NULL CHECK (held >= 0),
    parked bigint NOT NULL CHECK (parked >= 0),
    PRIMARY KEY (start_ms, worker)
);

-- When something that waits comes due: one of each slice of time, so that a wait has few rows.
CREATE TABLE homing.dues (
    wait_ms bigint NOT NULL CHECK (wait_ms > 0),
    slice bigint NOT NULL,
    due_ms bigint NOT NULL,
    PRIMARY KEY (wait_ms, slice)
);

-- A page about an endpoint names the subscriptions that go there.
CREATE INDEX subscriptions_by_url ON homing.subscriptions (url, id);
