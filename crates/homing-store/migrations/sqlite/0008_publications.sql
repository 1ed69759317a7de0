-- Requests to publish events that had an idempotency key and were answered.
CREATE TABLE publications (
    -- SHA-256 of the key in base64.
    key TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the request in base64.
    fingerprint TEXT NOT NULL,
    published_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX publications_by_time ON publications (published_ms);
