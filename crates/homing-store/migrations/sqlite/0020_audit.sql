-- The audit: one row for each change that someone made, written in the transaction of the change where that is in the store.
CREATE TABLE audit (
    -- A UUIDv7 of the instant of the change: ids sort by time.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    via TEXT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT,
    request TEXT,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    action TEXT NOT NULL,
    -- An object in JSON, secrets masked.
    difference TEXT NOT NULL,
    result TEXT NOT NULL,
    -- An event about it is due from this instant on; the greatest number: no more.
    announce_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_object ON audit (object, id);
CREATE INDEX audit_by_actor ON audit (actor, id);
CREATE INDEX audit_by_action ON audit (action, id);
CREATE INDEX audit_to_announce ON audit (id) WHERE announce_ms < 9223372036854775807;
