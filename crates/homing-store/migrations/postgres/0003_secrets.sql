-- Ids of the keys with which values in this database are encrypted.
CREATE TABLE encryption_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    first_used_ms BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- SHA-256 of the token in base64; the token itself is kept nowhere.
    digest TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write')),
    created_ms BIGINT NOT NULL
);
