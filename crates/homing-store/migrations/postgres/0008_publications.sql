-- Requests to publish events that had an idempotency key and were answered.
CREATE TABLE publications (
    -- SHA-256 of the key in base64.
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- SHA-256 of the request in base64.
    fingerprint TEXT NOT NULL,
    published_ms BIGINT NOT NULL
);

CREATE INDEX publications_by_time ON publications (published_ms);
