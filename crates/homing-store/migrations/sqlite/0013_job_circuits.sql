-- A job that calls no URL has a key in its place: `job:KEY`. SQLite cannot change a CHECK, so the table is made anew.
DROP TRIGGER circuit_inserted;
DROP TRIGGER circuit_updated;
DROP TRIGGER circuit_removed;
DROP INDEX circuits_by_state;
ALTER TABLE circuits RENAME TO circuits_of_urls;

CREATE TABLE circuits (
    -- The normalised URL, or the key: ASCII, so that every row can be named.
    url TEXT NOT NULL PRIMARY KEY
        CHECK ((url GLOB 'http*://*' OR url GLOB 'job:?*') AND url NOT GLOB '*[^ -~]*'),
    state TEXT NOT NULL CHECK (state IN ('closed', 'open', 'frozen')),
    probe_at_ms INTEGER CHECK ((probe_at_ms IS NOT NULL) = (state = 'open')),
    since_ms INTEGER NOT NULL,
    -- Why it is in this state, in JSON.
    reason TEXT,
    window_attempts INTEGER NOT NULL CHECK (window_attempts >= 0),
    window_failures INTEGER NOT NULL CHECK (window_failures BETWEEN 0 AND window_attempts),
    failures_in_a_row INTEGER NOT NULL CHECK (failures_in_a_row >= 0),
    successes INTEGER NOT NULL CHECK (successes >= 0),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    first_attempt_ms INTEGER,
    last_success_ms INTEGER,
    last_outcome TEXT,
    last_outcome_ms INTEGER CHECK ((last_outcome_ms IS NULL) = (last_outcome IS NULL)),
    created_ms INTEGER NOT NULL,
    -- When it was last written, for whatever reason.
    touched_ms INTEGER NOT NULL
) STRICT;

INSERT INTO circuits (
    url, state, probe_at_ms, since_ms, reason, window_attempts, window_failures, failures_in_a_row,
    successes, failures, first_attempt_ms, last_success_ms, last_outcome, last_outcome_ms,
    created_ms, touched_ms
)
SELECT
    url, state, probe_at_ms, since_ms, reason, window_attempts, window_failures, failures_in_a_row,
    successes, failures, first_attempt_ms, last_success_ms, last_outcome, last_outcome_ms,
    created_ms, touched_ms
FROM circuits_of_urls;

DROP TABLE circuits_of_urls;

CREATE INDEX circuits_by_state ON circuits (state, url);

-- Rises with every change of state, not with every count. A URL without a circuit is closed.
CREATE TRIGGER circuit_inserted AFTER INSERT ON circuits WHEN NEW.state <> 'closed' BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'circuits';
END;

CREATE TRIGGER circuit_updated AFTER UPDATE ON circuits
WHEN OLD.state <> NEW.state OR OLD.url <> NEW.url BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'circuits';
END;

CREATE TRIGGER circuit_removed AFTER DELETE ON circuits WHEN OLD.state <> 'closed' BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'circuits';
END;
