-- The audit: one row for each change that someone made, written in the transaction of the change where that is in the store.
CREATE TABLE homing.audit (
    -- A UUIDv7 of the instant of the change: ids sort by time.
    id bytea NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    via text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    address text,
    request text,
    kind text COLLATE "C" NOT NULL,
    object text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    -- An object in JSON, secrets masked.
    difference text NOT NULL,
    result text NOT NULL,
    -- An event about it is due from this instant on; the greatest number: no more.
    announce_ms bigint NOT NULL
);

CREATE INDEX audit_by_object ON homing.audit (object, id);
CREATE INDEX audit_by_actor ON homing.audit (actor, id);
CREATE INDEX audit_by_action ON homing.audit (action, id);
CREATE INDEX audit_to_announce ON homing.audit (id) WHERE announce_ms < 9223372036854775807;
