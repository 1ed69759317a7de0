-- Failed attempts, counted by what failed. The text of the endpoint is encrypted.
CREATE TABLE error_groups (
    -- A digest of URL, outcome and text by the primary key of that time.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    url TEXT NOT NULL,
    class TEXT NOT NULL CHECK (class IN ('refused', 'timed_out', 'unreachable')),
    outcome TEXT NOT NULL,
    status INTEGER,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    -- The record of the last of them.
    example BLOB NOT NULL CHECK (length(example) = 16)
) STRICT;

CREATE INDEX error_groups_by_time ON error_groups (last_ms);
CREATE INDEX error_groups_by_url ON error_groups (url, last_ms);
