-- "hmng": marks the file as homing's, so that another program's database is not taken for ours.
PRAGMA application_id = 0x686d6e67;

CREATE TABLE subscriptions (
    -- A UUID in lower case, so that ids sort by creation and every row can be named.
    id TEXT NOT NULL PRIMARY KEY CHECK (
        id LIKE '________-____-____-____-____________'
        AND length(replace(id, '-', '')) = 32
        AND id NOT GLOB '*[^-0-9a-f]*'
    ),
    -- SHA-256 in base64 of what must be unique: same events to the same URL.
    fingerprint TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    topics TEXT NOT NULL,
    filters TEXT NOT NULL,
    filter_connector TEXT NOT NULL,
    auth_token TEXT,
    secrets TEXT NOT NULL,
    headers TEXT NOT NULL,
    schedule TEXT,
    -- Requests per second.
    rate_limit INTEGER CHECK (rate_limit > 0),
    description TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

-- Rises with every change of the table named.
CREATE TABLE versions (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT;

INSERT INTO versions (name, version) VALUES ('subscriptions', 0);

-- Triggers, so that workers also notice what a person changes with the sqlite3 shell.
CREATE TRIGGER subscription_inserted AFTER INSERT ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
END;

CREATE TRIGGER subscription_updated AFTER UPDATE ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
END;

CREATE TRIGGER subscription_removed AFTER DELETE ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
END;

-- Wait queues that were ever declared and not yet deleted.
CREATE TABLE queues (
    name TEXT NOT NULL PRIMARY KEY,
    first_declared_ms INTEGER NOT NULL
) STRICT;
