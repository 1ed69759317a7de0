-- A source that was never paused, stopped or reset has no row: it is read.
CREATE TABLE sources (
    name TEXT NOT NULL PRIMARY KEY,
    standing TEXT NOT NULL CHECK (standing IN ('running', 'paused', 'stopped')),
    since_ms INTEGER NOT NULL,
    -- What the service answered, and the fingerprint of the settings that it was asked with.
    reason TEXT CHECK ((reason IS NOT NULL) = (standing = 'stopped')),
    fingerprint TEXT CHECK ((fingerprint IS NOT NULL) = (standing = 'stopped')),
    -- What the next connect asks for.
    reset TEXT CHECK (reset IN ('smallest', 'largest'))
) STRICT;

-- Each connection that a source may have at once, as its holder last told of it.
CREATE TABLE source_slots (
    source TEXT NOT NULL,
    slot INTEGER NOT NULL CHECK (slot BETWEEN 1 AND 255),
    holder TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('free', 'waiting', 'connecting', 'connected')),
    since_ms INTEGER NOT NULL,
    not_before_ms INTEGER,
    detail TEXT,
    records INTEGER NOT NULL CHECK (records >= 0),
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (source, slot)
) STRICT;
