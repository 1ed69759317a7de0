-- Subscriptions whose filters cost more than an event may, and when an event was parked for that last. A change of the subscription ends it:
-- `updated_ms` is that of the subscription whose filters they were.
CREATE TABLE costly_subscriptions (
    id TEXT NOT NULL PRIMARY KEY,
    updated_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL
) STRICT;
