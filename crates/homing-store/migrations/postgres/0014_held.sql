-- Held queues, by installation and number, and the URL whose deliveries each holds; NULL: none. One row for each that was ever taken.
CREATE TABLE homing.held_slots (
    prefix text COLLATE "C" NOT NULL,
    slot bigint NOT NULL CHECK (slot BETWEEN 0 AND 65535),
    url text COLLATE "C",
    -- When it was taken or given back.
    since_ms bigint NOT NULL,
    PRIMARY KEY (prefix, slot),
    UNIQUE (prefix, url)
);

-- Whether the delivery waits for its endpoint since, in a held queue: `due_ms` is then when it is given up, and not when it is attempted.
ALTER TABLE homing.attempts ADD COLUMN held bigint NOT NULL DEFAULT 0;

-- A probe that is due sooner is news, too.
DROP TRIGGER circuit_updated ON homing.circuits;
CREATE TRIGGER circuit_updated AFTER UPDATE ON homing.circuits
FOR EACH ROW WHEN
    (OLD.state <> NEW.state OR OLD.url <> NEW.url OR NEW.probe_at_ms < OLD.probe_at_ms)
EXECUTE FUNCTION homing.raise_version('circuits');
