-- A source that was never paused, stopped or reset has no row: it is read.
CREATE TABLE homing.sources (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    standing text NOT NULL CHECK (standing IN ('running', 'paused', 'stopped')),
    since_ms bigint NOT NULL,
    -- What the service answered, and the fingerprint of the settings that it was asked with.
    reason text CHECK ((reason IS NOT NULL) = (standing = 'stopped')),
    fingerprint text CHECK ((fingerprint IS NOT NULL) = (standing = 'stopped')),
    -- What the next connect asks for.
    reset text CHECK (reset IN ('smallest', 'largest'))
);

-- Each connection that a source may have at once, as its holder last told of it.
CREATE TABLE homing.source_slots (
    source text COLLATE "C" NOT NULL,
    slot bigint NOT NULL CHECK (slot BETWEEN 1 AND 255),
    holder text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('free', 'waiting', 'connecting', 'connected')),
    since_ms bigint NOT NULL,
    not_before_ms bigint,
    detail text,
    records bigint NOT NULL CHECK (records >= 0),
    seen_ms bigint NOT NULL,
    PRIMARY KEY (source, slot)
);
