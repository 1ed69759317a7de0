-- The ledger: what each worker delivered, by subscription and hour.
CREATE TABLE ledger (
    subscription BLOB NOT NULL CHECK (length(subscription) = 16),
    hour_ms INTEGER NOT NULL CHECK (hour_ms % 3600000 = 0),
    worker BLOB NOT NULL CHECK (length(worker) = 16),
    number INTEGER NOT NULL,
    -- Both are unsigned, and here their bits as a signed number.
    xor INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (subscription, hour_ms, worker)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_by_hour ON ledger (hour_ms);

-- The hours in which each worker delivered. One is opened before it begins, and closed when all that was delivered in it is
-- written: an open one of a worker that is not seen any more is not provable.
CREATE TABLE ledger_hours (
    hour_ms INTEGER NOT NULL CHECK (hour_ms % 3600000 = 0),
    worker BLOB NOT NULL CHECK (length(worker) = 16),
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, worker)
) STRICT, WITHOUT ROWID;

-- Hours whose events are published, or are due again at an instant if they are not until then.
CREATE TABLE ledger_announcements (
    hour_ms INTEGER NOT NULL PRIMARY KEY,
    due_ms INTEGER NOT NULL
) STRICT;
