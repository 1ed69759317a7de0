-- Replays of the archive: events of a window that are sent again. A worker claims one, and writes how far it is after what it sent.
CREATE TABLE replays (
    -- A UUIDv7 of its creation: ids sort by time.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- That of the installation.
    prefix TEXT NOT NULL,
    -- An object in JSON.
    selection TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'stopped', 'done', 'failed')),
    actor TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    -- The positions of the window in the archive; NULL: no worker has begun.
    first_offset INTEGER,
    end_offset INTEGER,
    next_offset INTEGER,
    events_read INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    unreadable INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0,
    -- Set where the window begins before the archive.
    archive_begins_ms INTEGER,
    note TEXT,
    -- The worker that has it until then, by the clock of the database.
    claimed_by BLOB CHECK (length(claimed_by) = 16),
    claimed_until_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX replays_unended ON replays (prefix, id) WHERE state IN ('waiting', 'running');
