-- Held queues, by installation and number, and the URL whose deliveries each holds; NULL: none. One row for each that was ever taken.
CREATE TABLE held_slots (
    prefix TEXT NOT NULL,
    slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 65535),
    url TEXT,
    -- When it was taken or given back.
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (prefix, slot),
    UNIQUE (prefix, url)
) STRICT;

-- Whether the delivery waits for its endpoint since, in a held queue: `due_ms` is then when it is given up, and not when it is attempted.
ALTER TABLE attempts ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1));

-- A probe that is due sooner is news, too.
DROP TRIGGER circuit_updated;
CREATE TRIGGER circuit_updated AFTER UPDATE ON circuits
WHEN OLD.state <> NEW.state OR OLD.url <> NEW.url OR NEW.probe_at_ms < OLD.probe_at_ms BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'circuits';
END;
