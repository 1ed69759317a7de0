-- Workers that count. Each has counted all that it delivered in the hours from `from_ms` to before `closed_ms`, and
-- delivers nothing from `ended_ms` on, the greatest number while it runs. What a worker delivers that is not seen any
-- more, nobody knows.
CREATE TABLE homing.ledger_workers (
    worker bytea NOT NULL PRIMARY KEY CHECK (length(worker) = 16),
    -- Names it in `workers` and `worker_minutes`; several that count may be the same process.
    process text COLLATE "C" NOT NULL,
    from_ms bigint NOT NULL CHECK (from_ms % 3600000 = 0),
    closed_ms bigint NOT NULL CHECK (closed_ms % 3600000 = 0),
    ended_ms bigint NOT NULL,
    seen_ms bigint NOT NULL
);

CREATE INDEX ledger_workers_by_process ON homing.ledger_workers (process);

-- Hours of which not everything was counted.
CREATE TABLE homing.ledger_gaps (
    hour_ms bigint NOT NULL PRIMARY KEY CHECK (hour_ms % 3600000 = 0)
);

INSERT INTO homing.ledger_workers (worker, process, from_ms, closed_ms, ended_ms, seen_ms)
    SELECT worker, '', min(hour_ms), max(hour_ms) + 3600000, max(hour_ms) + 3600000, max(seen_ms)
    FROM homing.ledger_hours GROUP BY worker;
INSERT INTO homing.ledger_gaps SELECT DISTINCT hour_ms FROM homing.ledger_hours WHERE open = 1;
DROP TABLE homing.ledger_hours;

-- Hours before this instant are deleted, a part at a time.
CREATE TABLE homing.ledger_kept (
    since_ms bigint NOT NULL
);

INSERT INTO homing.ledger_kept VALUES (0);

-- The state that was announced.
ALTER TABLE homing.ledger_announcements ADD COLUMN state text NOT NULL DEFAULT 'complete';
