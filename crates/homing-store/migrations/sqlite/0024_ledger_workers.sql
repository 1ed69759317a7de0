-- Workers that count. Each has counted all that it delivered in the hours from `from_ms` to before `closed_ms`, and
-- delivers nothing from `ended_ms` on, the greatest number while it runs. What a worker delivers that is not seen any
-- more, nobody knows.
CREATE TABLE ledger_workers (
    worker BLOB NOT NULL PRIMARY KEY CHECK (length(worker) = 16),
    -- Names it in `workers` and `worker_minutes`; several that count may be the same process.
    process TEXT NOT NULL,
    from_ms INTEGER NOT NULL CHECK (from_ms % 3600000 = 0),
    closed_ms INTEGER NOT NULL CHECK (closed_ms % 3600000 = 0),
    ended_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_workers_by_process ON ledger_workers (process);

-- Hours of which not everything was counted.
CREATE TABLE ledger_gaps (
    hour_ms INTEGER NOT NULL PRIMARY KEY CHECK (hour_ms % 3600000 = 0)
) STRICT;

INSERT INTO ledger_workers (worker, process, from_ms, closed_ms, ended_ms, seen_ms)
    SELECT worker, '', min(hour_ms), max(hour_ms) + 3600000, max(hour_ms) + 3600000, max(seen_ms)
    FROM ledger_hours GROUP BY worker;
INSERT INTO ledger_gaps SELECT DISTINCT hour_ms FROM ledger_hours WHERE open = 1;
DROP TABLE ledger_hours;

-- Hours before this instant are deleted, a part at a time.
CREATE TABLE ledger_kept (
    since_ms INTEGER NOT NULL
) STRICT;

INSERT INTO ledger_kept VALUES (0);

-- The state that was announced.
ALTER TABLE ledger_announcements ADD COLUMN state TEXT NOT NULL DEFAULT 'complete';
