-- A certificate and its key, an object in JSON, encrypted; NULL: none of its own.
ALTER TABLE subscriptions ADD COLUMN client_certificate TEXT;
-- When it expires, so that it is found in time.
ALTER TABLE subscriptions ADD COLUMN certificate_expires_ms INTEGER;

CREATE INDEX subscriptions_by_certificate_expiry ON subscriptions (certificate_expires_ms)
WHERE certificate_expires_ms IS NOT NULL;
