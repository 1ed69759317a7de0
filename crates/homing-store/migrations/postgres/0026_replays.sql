-- Replays of the archive: events of a window that are sent again. A worker claims one, and writes how far it is after what it sent.
CREATE TABLE homing.replays (
    -- A UUIDv7 of its creation: ids sort by time.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- That of the installation.
    prefix text COLLATE "C" NOT NULL,
    -- An object in JSON.
    selection text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'running', 'stopped', 'done', 'failed')),
    actor text COLLATE "C" NOT NULL,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    -- The positions of the window in the archive; NULL: no worker has begun.
    first_offset bigint,
    end_offset bigint,
    next_offset bigint,
    events_read bigint NOT NULL DEFAULT 0,
    sent bigint NOT NULL DEFAULT 0,
    unreadable bigint NOT NULL DEFAULT 0,
    gone bigint NOT NULL DEFAULT 0,
    -- Set where the window begins before the archive.
    archive_begins_ms bigint,
    note text COLLATE "C",
    -- The worker that has it until then, by the clock of the database.
    claimed_by bytea CHECK (length(claimed_by) = 16),
    claimed_until_ms bigint NOT NULL DEFAULT 0
);

CREATE INDEX replays_unended ON homing.replays (prefix, id) WHERE state IN ('waiting', 'running');
