-- A certificate and its key, an object in JSON, encrypted; NULL: none of its own.
ALTER TABLE homing.subscriptions ADD COLUMN client_certificate text;
-- When it expires, so that it is found in time.
ALTER TABLE homing.subscriptions ADD COLUMN certificate_expires_ms bigint;

CREATE INDEX subscriptions_by_certificate_expiry ON homing.subscriptions (certificate_expires_ms)
WHERE certificate_expires_ms IS NOT NULL;
