-- Failed attempts, counted by what failed. The text of the endpoint is encrypted.
CREATE TABLE homing.error_groups (
    -- A digest of URL, outcome and text by the primary key of that time.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    url text NOT NULL,
    class text NOT NULL CHECK (class IN ('refused', 'timed_out', 'unreachable')),
    outcome text NOT NULL,
    status bigint,
    key_id text NOT NULL,
    content bytea NOT NULL,
    count bigint NOT NULL CHECK (count > 0),
    first_ms bigint NOT NULL,
    last_ms bigint NOT NULL,
    -- The record of the last of them.
    example bytea NOT NULL CHECK (length(example) = 16)
);

CREATE INDEX error_groups_by_time ON homing.error_groups (last_ms);
CREATE INDEX error_groups_by_url ON homing.error_groups (url, last_ms);
