-- The ledger: what each worker delivered, by subscription and hour.
CREATE TABLE homing.ledger (
    subscription bytea NOT NULL CHECK (length(subscription) = 16),
    hour_ms bigint NOT NULL CHECK (hour_ms % 3600000 = 0),
    worker bytea NOT NULL CHECK (length(worker) = 16),
    number bigint NOT NULL,
    -- Both are unsigned, and here their bits as a signed number.
    xor bigint NOT NULL,
    sum bigint NOT NULL,
    PRIMARY KEY (subscription, hour_ms, worker)
);

CREATE INDEX ledger_by_hour ON homing.ledger (hour_ms);

-- The hours in which each worker delivered. One is opened before it begins, and closed when all that was delivered in it is
-- written: an open one of a worker that is not seen any more is not provable.
CREATE TABLE homing.ledger_hours (
    hour_ms bigint NOT NULL CHECK (hour_ms % 3600000 = 0),
    worker bytea NOT NULL CHECK (length(worker) = 16),
    open bigint NOT NULL CHECK (open IN (0, 1)),
    seen_ms bigint NOT NULL,
    PRIMARY KEY (hour_ms, worker)
);

-- Hours whose events are published, or are due again at an instant if they are not until then.
CREATE TABLE homing.ledger_announcements (
    hour_ms bigint NOT NULL PRIMARY KEY,
    due_ms bigint NOT NULL
);
