-- Ids of the keys with which values in this database are encrypted.
CREATE TABLE encryption_keys (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 16 AND id NOT GLOB '*[^0-9a-f]*'),
    first_used_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE api_tokens (
    name TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the token in base64; the token itself is kept nowhere.
    digest TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write')),
    created_ms INTEGER NOT NULL
) STRICT;
